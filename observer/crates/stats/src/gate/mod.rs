//! The regression gate: did it get slower, and whose fault is it. In: recordings of two sides.
//! Out: an [`Outcome`] with a verdict, its reasons and what explains them.
//!
//! # The decision rule
//! Three tiers judge, each for itself ([`verdict::judge`]).
//!
//! **Exact** ([`exact`]): with a complete go.sum a command makes the same requests each time, so
//! one more is a regression, shown by one run; runs of a side that differ make the result invalid.
//! What a change explains is listed instead: modules that a changed go.mod brought ([`modules`]),
//! hosts that have the role of others ([`roles`]).
//!
//! **Bounded** ([`bounded`]): connections, DNS queries, tiles, retransmissions. A count regresses
//! when it is shown to lie more than its floor above the baseline's.
//!
//! **Time** ([`time`]): the total first. Its shift is estimated twice, in nanoseconds and as a
//! ratio (on logarithms), each with an interval. *Regressed*: the intervals lie above both floors.
//! *Passed*: one of them lies below its floor. Else *inconclusive*. Phases and hosts are tested
//! against the same floors; Holm's correction covers all of them together that took longer than
//! the absolute floor in some run of either side: no others can be named. They name the cause and
//! decide nothing: a phase that grew while the total did not is no regression. When go.mod brought
//! modules or versions, a total or a count that grew is not judged: it may be theirs.
//!
//! # What is assumed
//! - `gate ab` runs both sides in pairs, in random order. Under "no difference" the sides of a pair
//!   are exchangeable, so differences lie symmetrically about zero: that is all the Hodges-Lehmann
//!   estimate and the signed-rank test need (Lehmann, Nonparametrics, 1975; Hollander, Wolfe and
//!   Chicken, 2014, ch. 3). Drift of the machine or the network falls on both sides.
//! - Runs of a stored baseline and new runs do not share an hour. Runs of one recording share its
//!   luck, so they count as one figure (their median): ten runs of a bad hour are one bad hour, not
//!   ten. From five recordings on, time is judged: by ranks where both sides have enough, else by
//!   where another recording of the baseline would lie (Student's prediction interval: recordings
//!   are taken as normal with one spread). With fewer it is advice.
//!
//! # The error that is allowed
//! Of gates without any change, at most 5 % say *regressed*: 2.5 % for the time (one side of a
//! 95 % interval) and 2.5 % for the counts together (Holm). In truth it is less, for the floors have
//! to be passed too. A true slowdown beyond both floors says *passed* in at most 5 %: either scale
//! may err on one side. `--max-runs` fixes the looks before the first run, and [`crate::estimators::spending`]
//! divides both errors among them.

pub mod baseline;
pub mod bounded;
pub mod causes;
pub mod estimate;
pub mod exact;
pub mod fail_on;
pub mod measure;
pub mod module;
pub mod modules;
pub mod outcome;
pub mod plan;
pub mod roles;
pub mod time;
pub mod verdict;

pub use fail_on::FailOn;
use model::report::Report;
use model::time::Ns;
pub use outcome::Outcome;

/// How long the command of a report took; with `run` there is one command. Never 0.
pub fn wall_ns(report: &Report) -> Ns {
    report.commands.first().map_or(1, |command| command.wall_ns.max(1))
}

/// What must be exceeded before a difference matters.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Floors {
    /// Share of the baseline's
    pub relative: f64,
    /// Time
    pub absolute_ns: Ns,
}

impl Floors {
    /// Of paired runs: half of a slowdown of a tenth.
    pub const PAIRS: Self = Self { relative: 0.05, absolute_ns: 10_000_000 };
    /// Of recordings: what a spread of 5 % between them lets five of them distinguish from nothing.
    pub const RECORDINGS: Self = Self { relative: 0.30, absolute_ns: 10_000_000 };
}

/// How two sides belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Design {
    /// The n-th runs of both sides ran beside each other
    Pairs,
    /// Recordings of other hours
    Recordings,
}
