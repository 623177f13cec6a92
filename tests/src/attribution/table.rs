//! Outcomes as text: a table in Markdown, and each pair for who doubts it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::experiments::Group;
use super::outcome::{Outcome, gain, local_gains, loss};

/// The table's head.
pub const HEAD: &str = "\
| slowed phase, how, what ran | pairs | wall without, with | lost | noise | share of it in the phase | moved most of the others, of wall | |
|---|---:|---:|---:|---:|---:|---:|---|";

/// An experiment's row.
pub fn row(outcome: &Outcome) -> String {
    let seconds = |ms: f64| format!("{:.2} s", ms / 1e3);
    let end = |end: Option<f64>| end.map_or_else(|| "?".to_owned(), |end| format!("{end:.3}"));
    let moved = outcome.largest_move();
    let moved = moved.map_or_else(|| "?".to_owned(), |(name, by)| format!("`{name}` {:+.1} %", 100.0 * by));
    format!(
        "| `{}` {} | {} | {}, {} | {} | {:.1} % | {:.3} ({} to {}) | {moved} | {} |",
        outcome.phase,
        outcome.name.strip_prefix(outcome.phase).unwrap_or(&outcome.name).trim(),
        outcome.pairs.len(),
        seconds(outcome.wall_ms[0]),
        seconds(outcome.wall_ms[1]),
        seconds(outcome.loss_ms),
        100.0 * outcome.noise,
        outcome.share,
        end(outcome.shares.low),
        end(outcome.shares.high),
        if outcome.is_met() { "met" } else { "MISSED" },
    )
}

/// All in a small table: shares by phase and group, from the lowest to the highest, and the largest
/// move of a phase that was not slowed.
pub fn by_phase(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| slowed | few modules | 79 modules, overlapping | beside CPU hogs, slow disks | others moved by |\n\
         |---|---:|---:|---:|---:|\n",
    );
    let mut phases: Vec<&str> = outcomes.iter().map(|outcome| outcome.phase).collect();
    // In the order of the experiments, each once.
    let mut seen = BTreeSet::new();
    phases.retain(|phase| seen.insert(*phase));
    for phase in phases {
        let of_phase = || outcomes.iter().filter(|outcome| outcome.phase == phase);
        let cells = [Group::Small, Group::Sample, Group::Competitor].map(|group| {
            let mut shares: Vec<f64> = of_phase().filter(|o| o.group == group).map(|o| o.share).collect();
            shares.sort_by(f64::total_cmp);
            match shares[..] {
                [] => String::new(),
                [one] => format!("{one:.3}"),
                [low, .., high] => format!("{low:.3} to {high:.3}"),
            }
        });
        let moves = of_phase().filter_map(|outcome| Some(outcome.largest_move()?.1.abs()));
        let moved = moves.fold(f64::NAN, f64::max);
        _ = writeln!(text, "| `{phase}` | {} | {:.1} % |", cells.join(" | "), 100.0 * moved);
    }
    text
}

/// What each phase gained in each pair, milliseconds. Phases that never
/// gained are left out; the parts of `local` and the CPU time come last.
pub fn pairs(outcome: &Outcome) -> String {
    let all = outcome.moves.keys().map(String::as_str);
    let names: Vec<&str> =
        all.filter(|name| outcome.pairs.iter().any(|pair| gain(pair, name).abs() >= 0.05)).collect();
    let mut text = format!("{:>6} {:>9} {:>9} {:>9} {:>7}", "pair", "without", "with", "loss", "share");
    let parts = ["local: cpu", "runqueue", "disk", "CPU time"];
    names.iter().chain(&parts).for_each(|name| _ = write!(text, " {name:>11}"));
    for (number, pair) in outcome.pairs.iter().enumerate() {
        let (loss, share) = (loss(pair), gain(pair, outcome.phase) / loss(pair));
        let (without, with) = (pair.0.wall, pair.1.wall);
        _ = write!(text, "\n{:>6} {without:>9.1} {with:>9.1} {loss:>9.1} {share:>7.3}", number + 1);
        let gains = names.iter().map(|name| gain(pair, name)).chain(local_gains(pair));
        gains.for_each(|gain| _ = write!(text, " {gain:>11.2}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Run;
    use super::*;

    fn outcome(group: Group, gained: f64) -> Outcome {
        let run = |dns: f64| Run {
            wall: 100.0 + dns,
            phases: vec![("dns".to_owned(), dns), ("local".to_owned(), 100.0)],
            local: Some([100.0, 0.0, 0.0]),
            cpu: Some(120.0),
        };
        let with = Run { wall: 200.0, ..run(gained) };
        Outcome::of_pairs("dns answers 100 ms small".to_owned(), "dns", group, vec![(run(0.0), with); 6])
    }

    #[test]
    fn a_phase_has_a_line_with_the_range_of_its_shares() {
        let outcomes =
            [outcome(Group::Small, 98.0), outcome(Group::Small, 101.0), outcome(Group::Competitor, 99.0)];
        let table = by_phase(&outcomes);
        let last = table.lines().last().unwrap_or_default();
        assert_eq!(last, "| `dns` | 0.980 to 1.010 |  | 0.990 | 0.0 % |");
    }

    #[test]
    fn a_row_names_the_experiment_once_and_says_whether_it_meets_the_bar() {
        assert_eq!(
            row(&outcome(Group::Small, 90.0)),
            "| `dns` answers 100 ms small | 6 | 0.10 s, 0.20 s | 0.10 s | 0.0 % | 0.900 (0.900 to 0.900) | \
             `local` +0.0 % | MISSED |"
        );
        assert!(row(&outcome(Group::Small, 98.0)).ends_with("| met |"));
    }
}
