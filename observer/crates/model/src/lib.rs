//! What goobserve knows, and how it is shown. In: events ([`event`]), as they are recorded. Out: a
//! [`State`], how its time splits into phases ([`phases`]), and the records of a report ([`report`]).
//!
//! What may leave the machine is decided here ([`redact`], [`anonymize`]), and so is how figures and
//! foreign words are written ([`human`], [`words`], [`clean`]). Numbers and times have types of
//! their own ([`id`], [`time`]). Pure: time comes from events only.

#[macro_use]
mod plain;

pub mod anonymize;
mod backoff;
pub mod blocked;
pub mod caller;
mod certain;
pub mod clean;
pub mod container;
pub mod doctor;
pub mod event;
pub mod evidence;
pub mod human;
pub mod id;
pub mod json;
pub mod operations;
pub mod phases;
mod preexisting;
pub mod record;
pub mod redact;
pub mod remedy;
pub mod report;
pub mod retention;
pub mod roles;
pub mod shell;
pub mod ssh;
pub mod stall;
pub mod state;
pub mod time;
pub mod tunnel;
pub mod user_error;
pub mod waiting;
pub mod words;

pub use event::Event;
pub use report::Report;
pub use state::State;
