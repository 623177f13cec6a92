//! Attribution by counterfactual: a phase is slowed by a known fault, and the time that the command
//! loses must be gained by that phase and by no other. In goes an [`Experiment`] of the
//! [table](experiments::all), out comes its [`Outcome`], with a [row](table) for people and
//! verdicts for machines.
//!
//! A pair is an observed run without and one with the fault, in random order. The share is the
//! median gain of the slowed phase over the median loss of wall time; its interval is that of the
//! pairs' own shares. The noise is the standard error of the mean loss as a share of it. The move
//! is the median gain of the phase, of those that were not slowed, that moved most, as a share of
//! the wall time with the fault.

pub mod experiments;
mod fault;
mod frozen;
mod outcome;
mod run;
pub mod table;
mod workload;

pub use self::experiments::Experiment;
pub use self::frozen::own_mounts;
pub use self::outcome::{Outcome, Run};
pub use self::run::measure;
