//! Reports and events in, what people and programs read out.

pub mod clean;
pub mod compare;
pub mod gate;
pub mod human;
pub mod json;
pub mod lines;
pub mod page;
pub mod table;
pub mod text;
pub mod tui;
pub mod words;
