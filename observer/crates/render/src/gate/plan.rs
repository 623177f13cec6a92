//! What a gate will cost and what it can find, for people, before it is run.

use model::human::{count, duration};
use stats::gate::Design;
use stats::gate::plan::Basis;

use crate::page::{HEADING, Options, PLAIN, Page};
use crate::table::{Column, Table};

/// The page. `basis` is `None` where nothing is known of the command yet; `from` says where it is from.
pub fn text(basis: Option<&Basis>, from: &str, analyses: &[usize], arms: usize, options: Options) -> String {
    let mut page = Page::new(options);
    let first = analyses.first().copied().unwrap_or(0);
    let most = analyses.last().copied().unwrap_or(0);
    let each = if arms > 1 { " of each side" } else { "" };
    let more = if most > first { format!(", up to {most} while it is inconclusive") } else { String::new() };
    let all = count(((most + 1) * arms) as u64, "run");
    let fewest = count(first as u64, "run");
    page.line(0, HEADING, &format!("{fewest}{each}{more}; {all} at most, with what warms up"));
    let Some(basis) = basis else {
        page.line(2, PLAIN, from);
        return page.finish();
    };
    page.line(
        2,
        PLAIN,
        &format!("a run takes {}, with what is around it ({from})", duration(basis.run_ns as u64)),
    );
    let unit = if basis.design == Design::Pairs { "pairs of runs" } else { "recordings" };
    if let Some(spread) = basis.spread() {
        let floor = basis.floors;
        let floors = format!("{} and {}", percent(floor.relative), duration(floor.absolute_ns));
        page.line(
            2,
            PLAIN,
            &format!(
                "{unit} lie {} apart (standard deviation, of {}); below {floors} nothing matters",
                percent(spread),
                basis.logs.len()
            ),
        );
    }
    let looks = basis.planned(analyses, arms);
    page.heading("What it takes, and what it finds");
    let mut table = Table::new(&[Column::Right, Column::Right, Column::Tail]);
    table.row(["runs", "time", "a slowdown of this is found by four gates of five"].map(Into::into));
    for look in &looks {
        let found = look.detects.map_or_else(|| nothing(basis), percent);
        table.row([look.runs.to_string(), duration(look.took_ns as u64), found]);
    }
    page.table(&table);
    let rounds = basis.rounds_a_minute(arms);
    let what = if arms > 1 { "pairs of runs" } else { "runs" };
    let rounds = if rounds < 10.0 { format!("{rounds:.1}") } else { format!("{rounds:.0}") };
    page.line(2, PLAIN, &format!("a CI minute buys {rounds} {what}"));
    page.finish()
}

fn nothing(basis: &Basis) -> String {
    match basis.design {
        Design::Pairs => "nothing: too few runs for an interval".into(),
        Design::Recordings => {
            let fewest = stats::gate::time::FEWEST_RECORDINGS;
            format!("nothing: {fewest} recordings of the baseline judge time, {} there", basis.logs.len())
        }
    }
}

fn percent(share: f64) -> String {
    if share >= 10.0 {
        return format!("{share:.0} times as long");
    }
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use stats::gate::Floors;

    use super::*;

    #[test]
    fn a_plan_says_runs_time_and_what_is_found() {
        let basis = Basis {
            design: Design::Pairs,
            wall_ns: 1e9,
            run_ns: 1.5e9,
            logs: vec![0.02, -0.03, 0.01, 0.0, -0.01],
            floors: Floors::PAIRS,
            alpha: 0.05,
        };
        let pairs = text(Some(&basis), "5 pairs, run just now", &[10, 20, 30], 2, Options::default());
        let stored = Basis { design: Design::Recordings, logs: vec![0.0; 3], ..basis };
        let stored = text(Some(&stored), "the baseline's last recording", &[10], 1, Options::default());
        let nothing =
            text(None, "how long they take is not known: nothing has run yet", &[10], 1, Options::default());
        insta::with_settings!({ snapshot_path => "../../tests/data/gate", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("plan", [pairs, stored, nothing].join("~~~\n"));
        });
    }
}
