//! `goobserve run`: what surrounds the observation of one command. In: a command line and who
//! called. Out: the command's own exit status, whatever happens to the observation.
//!
//! The order is: know the caller, find the program, hold the command before its first
//! instruction, attach, let it go, wait for it.

pub mod child;
pub mod exporter;
mod gateway;
pub mod inherited;
pub mod invoker;
pub mod job;
mod private;
pub mod procfs;
pub mod program;
pub mod progress;
pub mod regular;
mod resolver;
mod server;
pub mod session;
mod stuck;
pub mod terminal;

pub use child::{ExecFailure, HeldChild};
pub use invoker::Invoker;
pub use session::{Attach, Note, Observation, Target, execute};
