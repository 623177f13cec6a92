//! What is retransmitted: the first time of a connection or a query is said at once, from then on
//! it is counted.

use std::collections::{HashMap, HashSet};

use model::State;
use model::event::{Body, Event};
use model::id::{CommandId, ConnectionId, DnsId};

/// What was reported.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Retransmits {
    commands: HashMap<CommandId, Of>,
}

/// Of one command.
#[derive(Clone, PartialEq, Debug, Default)]
struct Of {
    /// By connection, and whether they were SYNs
    segments: HashMap<(ConnectionId, bool), u32>,
    /// Queries that were retried
    queries: HashSet<DnsId>,
    total: u64,
}

impl Retransmits {
    /// What is to be said of an event that `state` has taken in; `None` when it is no repetition, or
    /// one of many: the first is reported, then the second, the fourth, and so on.
    pub fn report(&mut self, state: &State, event: &Event) -> Option<String> {
        match &event.body {
            Body::Retransmission(mark) => {
                let of = self.commands.entry(mark.command).or_default();
                of.total += 1;
                let times = of.segments.entry((mark.connection, mark.syn)).or_default();
                *times += 1;
                let what = if mark.syn { "SYN" } else { "segment" };
                let times = times.is_power_of_two().then(|| self::times(*times))?;
                Some(format!("{what} retransmitted{times}{}", to(state, mark.command, mark.connection)))
            }
            Body::Dns(dns) if dns.attempt > 1 && dns.end_ns.is_none() => {
                let of = self.commands.entry(dns.command).or_default();
                if !of.queries.insert(dns.id) {
                    return None;
                }
                of.total += 1;
                let times = dns.attempt - 1;
                let times = times.is_power_of_two().then(|| self::times(times))?;
                Some(format!("query retried{times}: {} ({}) of {}", dns.name, dns.qtype, dns.server))
            }
            _ => None,
        }
    }

    /// How much a command retransmitted.
    pub fn total(&self, command: CommandId) -> u64 {
        self.commands.get(&command).map_or(0, |of| of.total)
    }

    /// Keeps only these commands.
    pub fn keep(&mut self, wanted: impl Fn(CommandId) -> bool) {
        self.commands.retain(|id, _| wanted(*id));
    }
}

fn times(times: u32) -> String {
    if times == 1 { String::new() } else { format!(" {times} times") }
}

/// ` on the connection to HOST`, or nothing when the connection is not known.
pub fn to(state: &State, command: CommandId, connection: ConnectionId) -> String {
    let known = state.command(command).and_then(|command| command.connections.get(&connection));
    known
        .and_then(model::record::Connection::host)
        .map_or_else(String::new, |host| format!(" on the connection to {host}"))
}

#[cfg(test)]
mod tests {
    use model::event::Mark;
    use model::record::{Connection, Dns};

    use super::*;
    use model::time::SinceStart;

    fn reported(bodies: impl IntoIterator<Item = Body>) -> Vec<String> {
        let (mut state, mut again) = (State::new(), Retransmits::default());
        let events = bodies.into_iter().map(|body| Event { at_ns: SinceStart(0), body });
        let report = |event: Event| {
            state.apply(&event);
            again.report(&state, &event)
        };
        events.filter_map(report).collect()
    }

    #[test]
    fn the_first_segment_of_a_connection_is_reported_at_once_and_then_each_doubling() {
        let connection = |id| Connection {
            command: CommandId(1),
            id,
            server_name: Some("proxy.test".into()),
            ..Connection::default()
        };
        let again = |connection, syn| Body::Retransmission(Mark { command: CommandId(1), connection, syn });
        let mut bodies = vec![Body::Connection(connection(ConnectionId(1))), again(ConnectionId(1), true)];
        bodies.extend((0..1000).map(|_| again(ConnectionId(1), false)));
        bodies.push(again(ConnectionId(2), false));
        let reported = reported(bodies);
        assert_eq!(
            reported[..3],
            [
                "SYN retransmitted on the connection to proxy.test",
                "segment retransmitted on the connection to proxy.test",
                "segment retransmitted 2 times on the connection to proxy.test"
            ]
        );
        assert_eq!((reported.len(), reported.last().unwrap().as_str()), (12, "segment retransmitted"));
    }

    #[test]
    fn a_query_is_reported_when_it_is_retried_and_once() {
        let dns = |id, attempt| {
            let server = "192.0.2.53:53".to_owned();
            let (name, qtype) = ("proxy.test".to_owned(), "A".to_owned());
            Body::Dns(Dns { command: CommandId(1), id, attempt, server, name, qtype, ..Dns::default() })
        };
        let reported = reported([dns(DnsId(1), 1), dns(DnsId(2), 2), dns(DnsId(2), 2), dns(DnsId(3), 3)]);
        assert_eq!(
            reported,
            [
                "query retried: proxy.test (A) of 192.0.2.53:53",
                "query retried 2 times: proxy.test (A) of 192.0.2.53:53"
            ]
        );
    }
}
