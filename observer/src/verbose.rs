//! `-v` and `-vv`: what goobserve's two halves do, a line each on stderr. In: the `log` facade, which
//! aya uses, too. Out: `goobserve agent 0.103 s: …`. Switched off, a line costs the comparison of a number.
//!
//! Lines name processes, files by their numbers, and messages by their names, never what is in
//! them: nothing of a command's can be in a log that a report would not show.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Instant;

use log::{LevelFilter, Log, Metadata, Record};

use crate::say;

/// A logger of one half of the program.
struct Half {
    name: &'static str,
    begun: Instant,
}

/// Begins to log what the agent does. On a terminal that shows the dashboard nothing is logged, for lines
/// would tear it; `2> FILE` has them then, too.
pub(crate) fn of_agent(level: u8, dashboard: bool) {
    if !(dashboard && std::io::stderr().is_terminal()) {
        begin("agent", level);
    }
}

/// Begins to log: with 1 what is done, with more every message between the halves.
pub(crate) fn begin(name: &'static str, level: u8) {
    static HALF: OnceLock<Half> = OnceLock::new();
    if level == 0 {
        return;
    }
    // There is one beginning a process; of another the first stays.
    if log::set_logger(HALF.get_or_init(|| Half { name, begun: Instant::now() })).is_ok() {
        log::set_max_level(if level == 1 { LevelFilter::Info } else { LevelFilter::Debug });
    }
}

/// The option that has another process of ours say as much as this one.
pub(crate) fn option() -> Option<&'static str> {
    match log::max_level() {
        LevelFilter::Off | LevelFilter::Error | LevelFilter::Warn => None,
        LevelFilter::Info => Some("-v"),
        LevelFilter::Debug | LevelFilter::Trace => Some("-vv"),
    }
}

/// What such an option asks for.
pub(crate) fn level(option: &str) -> u8 {
    option
        .strip_prefix('-')
        .map_or(0, |letters| letters.bytes().filter(|letter| *letter == b'v').count() as u8)
}

impl Log for Half {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What aya does with each relocation helps only aya's own authors.
        let ours = metadata.target().starts_with("observer");
        metadata.level() <= if ours { log::max_level() } else { LevelFilter::Info }
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            say::part(self.name, self.begun.elapsed(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_half_says_as_much() {
        assert_eq!((level("-v"), level("-vv"), level(""), level("x")), (1, 2, 0, 0));
        assert_eq!(option(), None, "nothing is logged unless somebody asks for it");
    }
}
