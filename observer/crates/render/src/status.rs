//! The one line of `run` while its command runs: how far it is, what it waits for and why, in so
//! many columns.

use model::clean::{clean, fit, width};
use model::event::Waiting;
use model::human::duration;
use model::time::{Ns, SinceStart};

/// Columns that what is waited for keeps when it is shortened.
const WHAT: usize = 24;

/// The line at `now`: how long it has run, then `facts`, which go where there is no room, then the
/// wait and its reason.
pub fn line(age: Ns, facts: &[String], wait: Option<&Waiting>, now: SinceStart, columns: usize) -> String {
    let age = duration(age);
    let with_facts = facts.iter().fold(age.clone(), |line, fact| format!("{line} · {}", clean(fact)));
    let Some(wait) = wait else { return fit(&with_facts, columns).into_owned() };
    let what = clean(&wait.summary);
    let because = wait.because.as_deref().map(|why| format!(", because {}", clean(why)));
    let because = because.unwrap_or_default();
    let since = format!(" · waiting {} for ", duration(now.saturating_sub(wait.since_ns)));
    for head in [&with_facts, &age] {
        let whole = format!("{head}{since}{what}{because}");
        if width(&whole) <= columns {
            return whole;
        }
    }
    // The reason says more than the end of a path.
    let room = columns.saturating_sub(width(&age) + width(&since));
    let what = fit(&what, room.saturating_sub(width(&because)).max(WHAT.min(room)));
    fit(&format!("{age}{since}{what}{because}"), columns).into_owned()
}

#[cfg(test)]
mod tests {
    use model::record::Phase;

    use super::*;
    use model::id::CommandId;

    const S: Ns = 1_000_000_000;

    fn wait(because: Option<&str>) -> Waiting {
        Waiting {
            command: CommandId(1),
            phase: Phase::Proxy,
            host: None,
            since_ns: SinceStart(S),
            earlier: None,
            summary: "proxy.test: zip example.com/a/long/module/path@v0.40.0".into(),
            because: because.map(str::to_owned),
        }
    }

    #[test]
    fn the_reason_is_reported_and_facts_make_room_for_it() {
        let facts = ["12 requests".to_owned(), "2 connections".to_owned()];
        let why = "proxy.test fell silent: 1 request without a byte for 6.00 s, the connection is alive";
        let wait = wait(Some(why));
        let reported = |columns| line(8 * S, &facts, Some(&wait), SinceStart(7 * S), columns);
        let all = reported(250);
        assert_eq!(
            all,
            format!(
                "8.00 s · 12 requests · 2 connections · waiting 6.00 s for {}, because {why}",
                wait.summary
            )
        );
        assert_eq!(reported(180), format!("8.00 s · waiting 6.00 s for {}, because {why}", wait.summary));
        assert_eq!(
            reported(100),
            "8.00 s · waiting 6.00 s for proxy.test: zip example…, because proxy.test fell silent: 1 request wit…"
        );
        for columns in 0..250 {
            assert!(width(&reported(columns)) <= columns, "{columns}: {}", reported(columns));
        }
    }

    #[test]
    fn without_a_reason_none_is_reported() {
        let reported = line(8 * S, &["1 request".into()], Some(&wait(None)), SinceStart(7 * S), 200);
        assert_eq!(reported, format!("8.00 s · 1 request · waiting 6.00 s for {}", wait(None).summary));
        assert_eq!(line(8 * S, &["1 request".into()], None, SinceStart(7 * S), 12), "8.00 s · 1 …");
    }
}
