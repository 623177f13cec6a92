//! Spans in, phases and reports out. Pure: time comes from events only.

pub mod anonymize;
mod certain;
pub mod event;
pub mod json;
pub mod kept;
pub mod late;
pub mod operations;
pub mod phases;
pub mod record;
pub mod report;
pub mod state;
pub mod waiting;

pub use event::Event;
pub use report::{Report, report};
pub use state::State;
