//! Reports and events in, what people and programs read out.

pub mod compare;
mod compiled;
pub mod doctor;
pub mod explain;
pub mod fix;
pub mod gate;
pub mod html;
pub mod json;
mod kinds;
pub mod lines;
mod loss;
pub mod markdown;
pub mod markup;
pub mod otlp;
pub mod page;
pub mod perfetto;
mod result;
pub mod retransmits;
pub mod status;
mod table;
pub mod text;
mod tracks;
pub mod tui;
pub mod waterfall;
