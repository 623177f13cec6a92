//! What `goobserve doctor` prints. In: a group of checks. Out: a line a check, and below what is wrong the proof and
//! the fix.

use anstyle::{AnsiColor, Style};
use model::doctor::{Check, Examination, Group, State};
use model::human::count;

use crate::page::{DIM, HEADING, Options, PLAIN, Page};

/// A group, with `is_quiet` only what is not good; empty where there is nothing to say.
pub fn group(group: &Group, options: Options, is_quiet: bool) -> String {
    let mut page = Page::new(options);
    let shown: Vec<&Check> =
        group.checks.iter().filter(|check| !is_quiet || check.state != State::Good).collect();
    if shown.is_empty() {
        return String::new();
    }
    page.line(0, HEADING, &group.name);
    for check in shown {
        let (sign, style) = match check.state {
            State::Good => ("✓", PLAIN),
            State::Notice => ("!", AnsiColor::Yellow.on_default()),
            State::Wrong => ("✗", AnsiColor::Red.on_default().bold()),
            State::Unknown => ("?", AnsiColor::Yellow.on_default()),
        };
        page.line(2, style, &format!("{sign} {}: {}", check.name, check.what));
        for proof in &check.proof {
            page.line(6, DIM, &format!("seen: {proof}"));
        }
        if let Some(fix) = &check.fix {
            page.line(6, Style::new(), &format!("fix: {fix}"));
        }
    }
    page.finish()
}

/// The last line.
pub fn summary(examination: &Examination) -> String {
    let of = |state| {
        examination.groups.iter().flat_map(|group| &group.checks).filter(move |check| check.state == state)
    };
    let all = examination.groups.iter().map(|group| group.checks.len()).sum::<usize>();
    let mut parts = vec![match examination.wrong {
        0 => "nothing wrong".to_owned(),
        wrong => format!("{wrong} wrong"),
    }];
    let notices = of(State::Notice).count();
    if notices > 0 {
        parts.push(format!("{notices} worth knowing"));
    }
    if examination.unknown > 0 {
        parts.push(format!("{} not known", examination.unknown));
    }
    let took = model::human::duration(examination.took_ns);
    format!("{}: {} in {took}\n", parts.join(", "), count(all as u64, "check"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Group {
        let wrong =
            Check::wrong("tls-untrusted", "tls", "not trusted").proof("it signed itself").fix("trust it");
        let checks =
            vec![Check::good("connect", "192.0.2.1:443"), wrong, Check::unknown("x", "not tried\u{1b}[2J")];
        Group { name: "module proxy https://proxy.test".into(), checks }
    }

    #[test]
    fn a_line_a_check_with_proof_and_fix_below_what_is_wrong() {
        let text = group(&made(), Options::default(), false);
        assert_eq!(
            text,
            "module proxy https://proxy.test\n  ✓ connect: 192.0.2.1:443\n  ✗ tls: not trusted\n      \
             seen: it signed itself\n      fix: trust it\n  ? x: not tried\\x1b[2J\n"
        );
        let quiet = group(&made(), Options::default(), true);
        assert!(!quiet.contains('✓') && quiet.contains('✗') && quiet.contains('?'), "{quiet}");
        let good = Group { checks: vec![Check::good("a", "b")], ..made() };
        assert_eq!(group(&good, Options::default(), true), "");
        assert!(
            group(&made(), Options { color: true, ..Options::default() }, false).contains("\x1b[1m\x1b[31m")
        );
    }

    #[test]
    fn the_last_line_counts_and_says_what_is_not_known() {
        let made = Examination {
            schema: model::doctor::SCHEMA.into(),
            tool: "goobserve".into(),
            started_unix_ns: 0,
            took_ns: 1_500_000_000,
            groups: vec![made()],
            wrong: 1,
            unknown: 1,
        };
        assert_eq!(summary(&made), "1 wrong, 1 not known: 3 checks in 1.50 s\n");
        assert_eq!(made.status(), 1);
    }
}
