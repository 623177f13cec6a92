//! Spans in, phases and reports out. Pure: time comes from events only.

pub mod event;
pub mod record;

pub use event::Event;
