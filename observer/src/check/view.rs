//! Checks as text. In: checks. Out: a line each, and below what is wrong the fix.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Check, State};

/// A line a check, `✓`, `✗` or `?` first, and a line more with what fixes it. With `quiet` only what
/// is wrong.
pub fn text(checks: &[Check], color: bool, quiet: bool) -> String {
    let mut out = String::new();
    for check in checks.iter().filter(|check| !quiet || check.state != State::Ok) {
        let (sign, color_of_sign) = match check.state {
            State::Ok => ("✓", AnsiColor::Green),
            State::Degraded => ("✗", AnsiColor::Yellow),
            State::Missing => ("✗", AnsiColor::Red),
            State::Unknown => ("?", AnsiColor::Yellow),
        };
        let style = if color { color_of_sign.on_default() } else { Style::new() };
        let _ = writeln!(out, "{style}{sign}{style:#} {}: {}", check.name, check.why);
        for hint in check.hint.iter().flat_map(|hint| hint.lines()) {
            let _ = writeln!(out, "    fix: {hint}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_check_and_the_hint_below() {
        let checks = [Check::ok("kernel", "6.1"), Check::missing("tracefs", "not mounted", "mount it")];
        assert_eq!(text(&checks, false, false), "✓ kernel: 6.1\n✗ tracefs: not mounted\n    fix: mount it\n");
        assert_eq!(text(&checks, false, true), "✗ tracefs: not mounted\n    fix: mount it\n");
        assert!(text(&checks, true, true).starts_with("\x1b[31m✗\x1b[0m "));
    }
}
