//! What a gate will cost, in words: before its first run, and when that is known. In: the looks that
//! are planned, the first round. Out: a line each.

use std::time::Duration;

use model::human::{bytes, count, duration};
use model::report::Report;

/// Before anything runs.
pub fn before(looks: &[usize], arms: usize, timeout: Option<Duration>) -> String {
    let most = looks.last().copied().unwrap_or(0);
    let each = if arms > 1 { " of each side" } else { "" };
    let judged = match looks {
        [first, .., _] => format!(", fewer when it is decided after {first}"),
        _ => String::new(),
    };
    let limit = timeout.map_or_else(String::new, |limit| format!("; at most {}", duration(ns(limit))));
    let all = count(((most + 1) * arms) as u64, "run");
    format!("{}{each}{judged}; {all} with what warms up{limit}", count(most as u64, "run"))
}

/// When a round has run, in that time.
pub fn after(looks: &[usize], took: Duration, reports: &[Report]) -> String {
    let (first, most) = (looks.first().copied().unwrap_or(0), looks.last().copied().unwrap_or(0));
    let whole = |rounds: usize| duration(ns(took).saturating_mul(rounds as u64));
    let time = if first == most {
        format!("about {}", whole(most))
    } else {
        format!("about {}, {} at most", whole(first), whole(most))
    };
    let received =
        |report: &Report| report.connections.iter().filter_map(|one| one.bytes_received).sum::<u64>();
    let requests = reports.iter().map(|report| report.requests.len() as u64).max().unwrap_or(0);
    let size = reports.iter().map(received).max().unwrap_or(0);
    format!("{time} to go; each run makes about {} and receives {}", count(requests, "request"), bytes(size))
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_be_run_is_said_before_and_what_it_costs_after_the_first_round() {
        assert_eq!(
            before(&[10, 20, 30], 2, Some(Duration::from_mins(20))),
            "30 runs of each side, fewer when it is decided after 10; 62 runs with what warms up; at most 20 min 00 s"
        );
        assert_eq!(before(&[5], 1, None), "5 runs; 6 runs with what warms up");
        let second = Duration::from_secs(1);
        assert_eq!(
            after(&[10, 30], second, &[Report::default()]),
            "about 10.0 s, 30.0 s at most to go; each run makes about 0 requests and receives 0 B"
        );
    }
}
