//! Queries of processes and of the stub resolvers behind them, from bytes to events.

use model::event::Event;
use model::id::{CommandId, Pid};
use model::time::SinceStart;
use observer_common::{
    Header, Ip, LOCAL_RESOLVERS, PAYLOAD_FAILED, PAYLOAD_RECEIVED, PAYLOAD_VARLINK, Payload,
};
use zerocopy::FromZeros as _;

use super::super::preexisting::LocalResolver;
use super::*;

const TIMEOUT: Ns = 1_000_000_000;
const A: u8 = 1;
const AAAA: u8 = 28;

/// A message over UDP with one query.
fn message(id: u16, name: &str, qtype: u8, response: bool) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([if response { 0x81 } else { 1 }, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, qtype, 0, 1]);
    bytes
}

struct World {
    queries: Queries,
    local_resolvers: LocalResolvers,
    events: Vec<Event>,
}

impl World {
    fn new() -> Self {
        let mut local_resolvers = LocalResolvers::default();
        for (pid, address) in [(90, "192.0.2.1"), (91, "192.0.2.7")] {
            let addresses = vec![address.parse().unwrap()];
            local_resolvers.add(LocalResolver { pid: Pid(pid), comm: "dnsmasq".into(), addresses });
        }
        let resolver =
            Resolver { servers: vec!["192.0.2.1".into()], timeout_s: 1, attempts: 2, ..Resolver::default() };
        Self { queries: Queries::new(&resolver), local_resolvers, events: Vec::new() }
    }

    fn payload(server: u8, generation: u32, len: usize) -> Payload {
        let mut payload = Payload::new_zeroed();
        (payload.family, payload.remote_port, payload.generation) = (2, 53, generation);
        payload.len = len as u32;
        payload.remote = Ip::v4(u32::from_le_bytes([192, 0, 2, server]));
        payload
    }

    fn own(&mut self, at_ns: Ns, command: CommandId, name: &str, qtype: u8, response: bool) {
        let owner = Owner { command, pid: Pid(command.0), comm: "go" };
        let bytes = message(command.0 as u16, name, qtype, response);
        let payload = Self::payload(1, u32::from(qtype), bytes.len());
        let flags = if response { PAYLOAD_RECEIVED } else { 0 };
        let mut out = Out { events: &mut self.events, at_ns: SinceStart(at_ns) };
        assert_eq!(self.queries.payload(owner, flags, &payload, &bytes, &mut out), 0);
    }

    fn local_resolver(&mut self, at_ns: Ns, to: (u8, u32), name: &str, qtype: u8, response: bool) {
        self.local_resolver_of(Pid(90), at_ns, to, name, qtype, response);
    }

    fn local_resolver_of(
        &mut self,
        pid: Pid,
        at_ns: Ns,
        to: (u8, u32),
        name: &str,
        qtype: u8,
        response: bool,
    ) {
        let (server, socket) = to;
        let mut header = Header::new_zeroed();
        (header.pid, header.root) = (pid.0, LOCAL_RESOLVERS);
        header.flags = if response { PAYLOAD_RECEIVED } else { 0 };
        let bytes = message(7, name, qtype, response);
        let payload = Self::payload(server, socket, bytes.len());
        let mut out = Out { events: &mut self.events, at_ns: SinceStart(at_ns) };
        assert_eq!(
            self.queries.of_local_resolver(&self.local_resolvers, &header, &payload, &bytes, &mut out),
            0
        );
    }

    /// The latest record of each query of the local resolver.
    fn passed_on(&self) -> Vec<Dns> {
        let mut latest = std::collections::BTreeMap::new();
        for event in &self.events {
            let Body::Dns(dns) = &event.body else { continue };
            if dns.on_behalf_of.is_some() {
                latest.insert(dns.id, dns.clone());
            }
        }
        latest.into_values().collect()
    }
}

#[test]
fn a_local_resolvers_query_is_that_of_the_command_which_waits_for_it() {
    let mut world = World::new();
    world.own(10, CommandId(3), "proxy.test", A, false);
    world.own(11, CommandId(3), "proxy.test", AAAA, false);
    world.local_resolver(20, (9, 1), "PROXY.test", AAAA, false);
    world.local_resolver(40, (9, 1), "proxy.TEST", AAAA, true);
    let [dns] = &world.passed_on()[..] else { panic!("{:?}", world.events) };
    assert_eq!(
        (dns.command, dns.on_behalf_of, dns.pid, dns.comm.as_str()),
        (CommandId(3), Some(DnsId(2)), Pid(90), "dnsmasq")
    );
    assert_eq!(
        (dns.server.as_str(), dns.start_ns, dns.end_ns),
        ("192.0.2.9:53", SinceStart(20), Some(SinceStart(40)))
    );
}

#[test]
fn what_a_local_resolver_asks_for_others_is_dropped() {
    let mut world = World::new();
    world.local_resolver(1, (9, 1), "proxy.test", A, false); // before the command asked
    world.own(10, CommandId(3), "proxy.test", A, false);
    world.local_resolver(20, (9, 2), "other.test", A, false);
    world.local_resolver(21, (9, 3), "proxy.test", AAAA, false);
    world.own(30, CommandId(3), "proxy.test", A, true);
    world.local_resolver(40, (9, 4), "proxy.test", A, false); // after it was answered
    world.local_resolver(50, (9, 4), "proxy.test", A, true);
    assert_eq!(world.passed_on(), []);
}

#[test]
fn a_local_resolver_that_was_not_asked_asks_for_somebody_else() {
    let mut world = World::new();
    world.own(10, CommandId(3), "proxy.test", A, false);
    world.local_resolver_of(Pid(91), 20, (9, 1), "proxy.test", A, false);
    assert_eq!(world.passed_on(), []);
    // Unless the one that was asked asks it.
    world.local_resolver(30, (7, 1), "proxy.test", A, false);
    world.local_resolver_of(Pid(91), 40, (9, 1), "proxy.test", A, false);
    let of: Vec<_> = world.passed_on().iter().map(|dns| (dns.pid, dns.on_behalf_of)).collect();
    assert_eq!(of, [(Pid(90), Some(DnsId(1))), (Pid(91), Some(DnsId(1)))]);
}

#[test]
fn the_oldest_command_that_asks_the_same_is_the_one() {
    let mut world = World::new();
    world.own(10, CommandId(3), "proxy.test", A, false);
    world.own(11, CommandId(4), "proxy.test", A, false);
    world.local_resolver(20, (9, 1), "proxy.test", A, false);
    world.own(30, CommandId(3), "proxy.test", A, true);
    world.local_resolver(40, (9, 2), "proxy.test", A, false);
    let of: Vec<_> = world.passed_on().iter().map(|dns| (dns.command, dns.attempt, dns.timed_out)).collect();
    // The second gives the first one up: it is the same query to the same server.
    assert_eq!(of, [(CommandId(3), 1, true), (CommandId(4), 1, false)]);
}

#[test]
fn a_local_resolver_that_asks_two_servers_waits_for_both() {
    let mut world = World::new();
    world.own(10, CommandId(3), "proxy.test", A, false);
    world.local_resolver(20, (8, 1), "proxy.test", A, false);
    world.local_resolver(21, (9, 2), "proxy.test", A, false);
    world.local_resolver(50, (9, 2), "proxy.test", A, true);
    let of: Vec<_> = world.passed_on().iter().map(|dns| (dns.end_ns, dns.timed_out)).collect();
    assert_eq!(of, [(None, false), (Some(SinceStart(50)), false)]);
    world
        .queries
        .expire(SinceStart(20 + TIMEOUT), &mut Out { events: &mut world.events, at_ns: SinceStart(2000) });
    assert!(world.passed_on()[0].timed_out);
}

#[test]
fn a_forgotten_command_leaves_nothing() {
    let mut world = World::new();
    world.own(10, CommandId(3), "proxy.test", A, false);
    world.local_resolver(20, (8, 1), "proxy.test", A, false);
    world.queries.forget(CommandId(3));
    assert!(world.queries.open.is_empty() && world.queries.asked.is_empty());
}

#[test]
fn a_name_server_that_is_not_there_ends_its_queries_at_once() {
    let mut world = World::new();
    world.own(10, CommandId(3), "proxy.test", A, false);
    let owner = Owner { command: CommandId(3), pid: Pid(3), comm: "go" };
    let payload = World::payload(1, u32::from(A), 111);
    let mut out = Out { events: &mut world.events, at_ns: SinceStart(12) };
    world.queries.payload(owner, PAYLOAD_RECEIVED | PAYLOAD_FAILED, &payload, &[], &mut out);
    let Some(Body::Dns(dns)) = world.events.last().map(|event| &event.body) else { panic!("no query") };
    assert!(dns.refused && dns.rcode.is_none() && !dns.timed_out, "{dns:?}");
    assert_eq!(dns.end_ns, Some(SinceStart(12)));
}

#[test]
fn go_waits_on_behind_an_answer_without_the_query_and_others_do_not() {
    let mut header = message(3, "proxy.test", A, true)[..12].to_vec();
    header[3] = header[3] & 0xf0 | 1;
    header[4..].fill(0);
    let of = |comm: &'static str| {
        let mut world = World::new();
        world.own(10, CommandId(3), "proxy.test", A, false);
        let Some(Body::Dns(_)) = world.events.first().map(|event| &event.body) else { panic!("no query") };
        let owner = Owner { command: CommandId(3), pid: Pid(4), comm };
        let query = message(3, "proxy.test", A, false);
        let payload = World::payload(1, 77, query.len());
        let mut out = Out { events: &mut world.events, at_ns: SinceStart(11) };
        world.queries.payload(owner, 0, &payload, &query, &mut out);
        let payload = World::payload(1, 77, header.len());
        let mut out = Out { events: &mut world.events, at_ns: SinceStart(12) };
        world.queries.payload(owner, PAYLOAD_RECEIVED, &payload, &header, &mut out);
        match world.events.pop().map(|event| event.body) {
            Some(Body::Dns(dns)) => (dns.rcode, dns.unusable, dns.end_ns.is_some()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of("go"), (None, Some("FORMERR".into()), false));
    assert_eq!(of("git-remote-http"), (Some("FORMERR".into()), None, true));
}

#[test]
fn what_resolved_is_asked_over_its_socket_is_a_query_and_what_it_asks_is_behind_it() {
    let mut world = World::new();
    let address = "127.0.0.53".parse().unwrap();
    world.local_resolvers.add(LocalResolver {
        pid: Pid(91),
        comm: "systemd-resolve".into(),
        addresses: vec![address],
    });
    let owner = Owner { command: CommandId(3), pid: Pid(3), comm: "go" };
    let say = |world: &mut World, at_ns: u64, flags: u16, text: &str| {
        let bytes = [text.as_bytes(), b"\0"].concat();
        let payload = World::payload(0, 5, bytes.len());
        let mut out = Out { events: &mut world.events, at_ns: SinceStart(at_ns) };
        world.queries.payload(owner, PAYLOAD_VARLINK | flags, &payload, &bytes, &mut out);
    };
    let call = r#"{"method":"io.systemd.Resolve.ResolveHostname","parameters":{"name":"proxy.test"}}"#;
    say(&mut world, 10, 0, call);
    world.local_resolver_of(Pid(91), 20, (9, 1), "proxy.test", A, false);
    world.local_resolver_of(Pid(91), 30, (9, 1), "proxy.test", A, true);
    say(
        &mut world,
        40,
        PAYLOAD_RECEIVED,
        r#"{"parameters":{"addresses":[{"family":2,"address":[127,0,0,1]}]}}"#,
    );
    let Some(Body::Dns(dns)) = world.events.last().map(|event| &event.body) else { panic!("no query") };
    assert_eq!((dns.transport, dns.server.as_str()), (Transport::Unix, "systemd-resolved"));
    assert_eq!((dns.qtype.as_str(), dns.answers), ("A/AAAA", Some(1)));
    assert_eq!((dns.start_ns, dns.end_ns), (SinceStart(10), Some(SinceStart(40))));
    let [behind] = &world.passed_on()[..] else { panic!("{:?}", world.events) };
    assert_eq!((behind.server.as_str(), behind.on_behalf_of), ("192.0.2.9:53", Some(dns.id)));
}

#[test]
fn after_as_many_attempts_as_resolv_conf_says_it_is_another_lookup() {
    let mut world = World::new();
    for at_ns in 1..=5 {
        world.own(at_ns * TIMEOUT, CommandId(3), "proxy.test", A, false);
    }
    let mut attempts: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Dns(dns) => Some((dns.id, dns.attempt)),
            _ => None,
        })
        .collect();
    attempts.sort_unstable();
    attempts.dedup();
    assert_eq!(attempts.iter().map(|(_, attempt)| *attempt).collect::<Vec<_>>(), [1, 2, 1, 2, 1]);
}
