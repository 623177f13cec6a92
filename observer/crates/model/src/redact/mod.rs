//! What leaves this program: events in, the same out without credentials. Everything that is
//! shown or written is made of events that came through [`event()`], live and from a recording, so
//! no view and no format has a rule of its own.
//!
//! The rule says what is shown, not what is hidden: a part of an argument, a setting or a URL stays
//! when by the way it is made it can be no credential, and is `…` otherwise. Applied to its own
//! result it changes nothing.

use std::ffi::OsString;

mod args;
mod events;
mod programs;
pub mod request;
mod script;
mod settings;
mod shape;
mod text;
mod token;
mod url;

pub use args::{program_name, shown as args};
pub use events::event;
pub use settings::{GODEBUG_KEYS, folders, godebug, goflags, hosts, programs, remedy, variable};
pub use shape::{HIDDEN, commit_at};
pub use text::text;
pub use url::{file, proxies, sumdb};

/// Arguments as text, for [`args()`].
pub fn words(argv: &[OsString]) -> Vec<String> {
    argv.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}
