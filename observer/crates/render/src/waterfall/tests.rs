//! Waterfalls of states made by hand.

use model::event::{Body, CommandUpdate, Event, Mark, ResetMark};
use model::id::{CommandId, ConnectionId, DnsId, Pid, RequestId};
use model::record::{Class, Command, Connection, Dns, Local, Request, RequestOutcome};
use model::state::State;
use model::time::SinceStart;

use super::*;

const SECOND: Ns = 1_000_000_000;

fn state(bodies: impl IntoIterator<Item = (Ns, Body)>) -> State {
    let mut state = State::new();
    let command = Command {
        id: CommandId(1),
        pid: Pid(7),
        start_ns: SinceStart(SECOND),
        wall_ns: Some(10 * SECOND),
        local: Some(Local::default()),
        ..Command::default()
    };
    let idle = vec![(SinceStart(2 * SECOND), SinceStart(10 * SECOND))];
    state.apply(&Event {
        at_ns: SinceStart(SECOND),
        body: Body::Command(CommandUpdate { command, idle, gaps: Vec::new() }),
    });
    for (at_ns, body) in bodies {
        state.apply(&Event { at_ns: SinceStart(at_ns), body });
    }
    state
}

fn connection(id: u32, start_ns: Ns) -> (Ns, Body) {
    let body = Body::Connection(Connection {
        command: CommandId(1),
        id: ConnectionId(id),
        pid: Pid(7),
        comm: "go".into(),
        remote: "127.0.0.1:443".into(),
        server_name: Some("proxy.test".into()),
        start_ns: SinceStart(start_ns),
        connect_ns: Some(SECOND / 100),
        tls_start_ns: Some(SinceStart(start_ns + SECOND / 100)),
        tls_ns: Some(SECOND / 50),
        requests: 1,
        ..Connection::default()
    });
    (start_ns, body)
}

fn request(id: u32, start_ns: Ns, took: Ns, class: Class) -> (Ns, Body) {
    let body = Body::Request(Request {
        command: CommandId(1),
        id: RequestId(id),
        pid: Pid(7),
        connection: Some(ConnectionId(1)),
        class,
        start_ns: SinceStart(start_ns),
        first_byte_ns: Some(SinceStart(start_ns + took / 2)),
        end_ns: Some(SinceStart(start_ns + took)),
        outcome: RequestOutcome::Ok,
        ..Request::default()
    });
    (start_ns, body)
}

fn drawn(state: &State, most: usize) -> Waterfall {
    waterfall(state.command(CommandId(1)).unwrap(), state.until(), most)
}

#[test]
fn a_connection_is_a_group_with_its_handshakes_requests_and_marks() {
    let mark = Mark { command: CommandId(1), connection: ConnectionId(1), syn: false };
    let reset = ResetMark { command: CommandId(1), connection: ConnectionId(1), received: true };
    let state = state([
        connection(1, 2 * SECOND),
        request(1, 3 * SECOND, SECOND, Class::Zip),
        request(2, 3 * SECOND + 1, SECOND, Class::SumdbTile),
        (4 * SECOND, Body::Retransmission(mark.clone())),
        (4 * SECOND + 9, Body::Retransmission(mark)),
        (8 * SECOND, Body::Reset(reset)),
    ]);
    let waterfall = drawn(&state, 1000);
    assert_eq!((waterfall.start_ns, waterfall.end_ns), (SinceStart(SECOND), SinceStart(11 * SECOND)));
    let [machine, proxy] = waterfall.groups.as_slice() else { panic!("{waterfall:#?}") };
    assert_eq!(machine.title, "this machine");
    let busy: Vec<_> = machine.rows[0].iter().map(|bar| (bar.start_ns, bar.end_ns)).collect();
    assert_eq!(
        busy,
        [(SinceStart(SECOND), SinceStart(2 * SECOND)), (SinceStart(10 * SECOND), SinceStart(11 * SECOND))]
    );
    assert_eq!(proxy.title, "proxy.test");
    let phases: Vec<Vec<Phase>> =
        proxy.rows.iter().map(|row| row.iter().map(|bar| bar.phase).collect()).collect();
    assert_eq!(phases, [vec![Phase::Connect, Phase::Tls, Phase::Proxy], vec![Phase::Sumdb]]);
    let pins: Vec<_> = proxy.pins.iter().map(|pin| (pin.sign, pin.count, pin.note.as_str())).collect();
    assert_eq!(pins, [(Sign::Retransmission, 2, "2 segments retransmitted"), (Sign::Reset, 1, "1 reset")]);
}

#[test]
fn many_marks_become_few_that_count_them_all_and_stay_where_they_were() {
    let mark = Body::Retransmission(Mark { command: CommandId(1), connection: ConnectionId(1), syn: false });
    let marks = (0..1000).map(|n| (SECOND + n * SECOND / 100, mark.clone()));
    let waterfall = drawn(&state([connection(1, SECOND)].into_iter().chain(marks)), 1000);
    let pins = &waterfall.groups[1].pins;
    assert!((20..=60).contains(&pins.len()), "{}", pins.len());
    assert_eq!(pins.iter().map(|pin| pin.count).sum::<usize>(), 1000);
    assert!(pins.last().unwrap().at_ns > SinceStart(10 * SECOND));
}

#[test]
fn ten_thousand_requests_become_few_bars_that_count_them_all() {
    let step = SECOND / 2000;
    let many = (0..10_000_u32).map(|n| {
        let class = if n % 3 == 0 { Class::SumdbTile } else { Class::Mod };
        request(n + 1, 2 * SECOND + u64::from(n) * step, step * 3 / 2, class)
    });
    let state = state([connection(1, SECOND)].into_iter().chain(many));
    for most in [100, 1000, 5000] {
        let waterfall = drawn(&state, most);
        assert!(waterfall.bars() <= most, "{} of {most}", waterfall.bars());
        let bars = waterfall.groups[1].rows.iter().flatten();
        assert_eq!(bars.map(|bar| bar.count).sum::<usize>(), 10_002, "handshakes and requests");
    }
}

#[test]
fn what_has_no_row_or_no_group_is_counted() {
    let many = (0..30_u32).map(|n| request(n + 1, 3 * SECOND, SECOND, Class::Zip));
    let connections = (1..=40).map(|n| connection(n, 2 * SECOND + u64::from(n)));
    let waterfall = drawn(&state(connections.chain(many)), 1000);
    assert_eq!(waterfall.groups.len() + waterfall.more, 41);
    let first = waterfall.groups.iter().find(|group| group.more > 0).unwrap();
    assert_eq!((first.rows.len(), first.more), (12, 18));
}

#[test]
fn bars_of_a_row_do_not_overlap_and_lie_within_the_whole() {
    let many = (0..500_u32).map(|n| {
        let start = SECOND + u64::from(n * 7919 % 500) * SECOND / 50;
        request(n + 1, start, u64::from(n % 17) * SECOND / 100, Class::Info)
    });
    let waterfall = drawn(&state([connection(1, SECOND)].into_iter().chain(many)), 200);
    for row in waterfall.groups.iter().flat_map(|group| &group.rows) {
        assert!(row.windows(2).all(|pair| pair[0].end_ns <= pair[1].start_ns));
    }
}

#[test]
fn queries_and_requests_without_a_connection_have_groups_of_their_own() {
    let dns = Dns {
        command: CommandId(1),
        id: DnsId(1),
        pid: Pid(7),
        server: "127.0.0.53:53".into(),
        name: "proxy.test".into(),
        qtype: "A".into(),
        start_ns: SinceStart(2 * SECOND),
        timed_out: true,
        ..Dns::default()
    };
    let unseen = Request {
        command: CommandId(1),
        id: RequestId(5),
        pid: Pid(7),
        authority: Some("sumdb.test".into()),
        start_ns: SinceStart(3 * SECOND),
        ..Request::default()
    };
    let waterfall = drawn(&state([(7 * SECOND, Body::Dns(dns)), (8 * SECOND, Body::Request(unseen))]), 100);
    let titles: Vec<_> = waterfall.groups.iter().map(|group| group.title.as_str()).collect();
    assert_eq!(titles, ["this machine", "name server 127.0.0.53:53", "requests to sumdb.test"]);
    let query = &waterfall.groups[1].rows[0][0];
    assert!(query.error && query.note.contains("no answer; 5.00 s, from 1.000 s"), "{}", query.note);
    assert!(waterfall.groups[2].rows[0][0].open);
}
