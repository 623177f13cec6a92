//! Reports and events in, what people and programs read out.

pub mod again;
pub mod answer;
pub mod compare;
pub mod gate;
pub mod html;
pub mod json;
pub mod lines;
pub mod loss;
pub mod markdown;
pub mod markup;
pub mod page;
pub mod perfetto;
pub mod status;
pub mod table;
pub mod text;
pub mod tracks;
pub mod tui;
pub mod waterfall;
