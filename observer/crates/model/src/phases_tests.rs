//! Cases worked out by hand, and random ones against a walk nanosecond by nanosecond.

use proptest::prelude::*;

use super::*;
use crate::time::SinceStart;

fn op(phase: Phase, host: &'static str, start_ns: Ns, end_ns: Ns) -> Operation<'static> {
    let (start_ns, end_ns) = (SinceStart(start_ns), SinceStart(end_ns));
    Operation { phase, host: Some(host), start_ns, end_ns, error: false, bytes: None }
}

fn apply(wall: (Ns, Ns), idle: &[(Ns, Ns)], operations: &[Operation<'_>]) -> Split {
    let point = |(from, to): (Ns, Ns)| (SinceStart(from), SinceStart(to));
    let (wall, idle): (_, Vec<_>) = (point(wall), idle.iter().copied().map(point).collect());
    split(&Input { wall, idle: &idle, local: Some(Local::default()), operations, ..Input::default() })
}

fn blocked(split: &Split) -> [Ns; Phase::ALL.len()] {
    split.phases.map(|share| share.blocked_ns)
}

#[test]
fn without_operations_idle_time_is_unexplained_and_the_rest_local() {
    let split = apply((10, 110), &[(20, 50), (60, 70)], &[]);
    assert_eq!(blocked(&split), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 40]);
    assert_eq!(split.wall_ns, 100);
    assert_eq!(split.hosts.len(), 0);
}

#[test]
fn an_operation_is_answerable_only_for_idle_instants_but_busy_in_all() {
    let split = apply((0, 100), &[(20, 60)], &[op(Phase::Proxy, "a", 10, 50)]);
    assert_eq!(blocked(&split), [0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 60, 10]);
    assert_eq!(split.phase(Phase::Proxy).busy_ns, 40);
    assert_eq!(split.phase(Phase::Local).busy_ns, 60);
    assert_eq!(split.phase(Phase::Unexplained).busy_ns, 0);
}

#[test]
fn an_instant_is_split_over_phases_not_over_operations() {
    let ops = [op(Phase::Proxy, "a", 0, 100), op(Phase::Proxy, "a", 0, 100), op(Phase::Sumdb, "b", 0, 100)];
    let split = apply((0, 100), &[(0, 100)], &ops);
    assert_eq!(blocked(&split), [0, 0, 0, 0, 0, 50, 50, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(split.phase(Phase::Proxy).busy_ns, 100);
    assert_eq!(split.phase(Phase::Proxy).count, 2);
}

#[test]
fn remainders_go_to_the_phases_in_table_order() {
    let ops = [op(Phase::Lock, "a", 0, 10), op(Phase::Dns, "b", 0, 10), op(Phase::Tls, "c", 0, 10)];
    let split = apply((0, 10), &[(0, 10)], &ops);
    assert_eq!(blocked(&split), [4, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0]);
}

#[test]
fn rounding_happens_once_however_the_time_is_cut() {
    let ops = [op(Phase::Dns, "a", 0, 20), op(Phase::Tls, "b", 0, 20)];
    let idle: Vec<(Ns, Ns)> = (0..10).map(|n| (2 * n, 2 * n + 1)).collect();
    assert_eq!(blocked(&apply((0, 20), &idle, &ops))[..3], [5, 0, 5]);
}

#[test]
fn a_phases_share_is_split_over_its_hosts_and_their_parts_add_up() {
    let ops = [
        op(Phase::Proxy, "c", 0, 10),
        op(Phase::Proxy, "a", 0, 10),
        op(Phase::Proxy, "a", 0, 10),
        op(Phase::Proxy, "b", 0, 10),
    ];
    let split = apply((0, 10), &[(0, 10)], &ops);
    let parts: Vec<(&str, Ns)> = split.hosts.iter().map(|host| (&*host.host, host.blocked_ns)).collect();
    assert_eq!(parts, [("a", 4), ("b", 3), ("c", 3)]);
}

#[test]
fn an_unknown_host_has_its_share_and_is_not_listed() {
    let unknown = Operation { host: None, ..op(Phase::Proxy, "", 0, 10) };
    let split = apply((0, 10), &[(0, 10)], &[op(Phase::Proxy, "a", 0, 10), unknown]);
    assert_eq!(split.hosts.len(), 1);
    assert_eq!((split.hosts[0].blocked_ns, split.phase(Phase::Proxy).blocked_ns), (5, 10));
}

#[test]
fn a_host_is_listed_with_every_phase_it_took_part_in() {
    let split = apply((0, 10), &[], &[op(Phase::Connect, "a", 0, 3), op(Phase::Tls, "a", 3, 4)]);
    assert_eq!(split.hosts[0].phases, BTreeMap::from([(Phase::Connect, 0), (Phase::Tls, 0)]));
}

#[test]
fn what_lies_outside_the_command_costs_it_nothing() {
    let ops = [op(Phase::Vcs, "a", 0, 500), op(Phase::Dns, "b", 0, 50), op(Phase::Dns, "b", 300, 400)];
    let split = apply((100, 200), &[(0, 120), (180, 900)], &ops);
    assert_eq!(blocked(&split), [0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 0, 60, 0]);
    assert_eq!(split.phase(Phase::Dns).count, 2);
    assert_eq!(split.phase(Phase::Dns).busy_ns, 0);
}

#[test]
fn without_the_scheduler_all_time_counts_as_idle() {
    let ops = [op(Phase::Dns, "a", 0, 30)];
    let split = split(&Input {
        wall: (SinceStart(0), SinceStart(100)),
        idle: &[],
        local: None,
        operations: &ops,
        ..Input::default()
    });
    assert_eq!(blocked(&split), [30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 70]);
    assert_eq!(split.local, None);
}

#[test]
fn local_is_split_exactly_and_accounts_that_are_too_large_are_cut() {
    let of = |runqueue_ns, disk_ns| {
        let local = Some(Local { cpu_ns: 7, runqueue_ns, disk_ns });
        split(&Input {
            wall: (SinceStart(0), SinceStart(100)),
            idle: &[(SinceStart(0), SinceStart(40))],
            local,
            operations: &[],
            ..Input::default()
        })
        .local
        .unwrap()
    };
    assert_eq!(of(10, 5), Local { cpu_ns: 45, runqueue_ns: 10, disk_ns: 5 });
    assert_eq!(of(10, 900), Local { cpu_ns: 0, runqueue_ns: 10, disk_ns: 50 });
    assert_eq!(of(u64::MAX, 1), Local { cpu_ns: 0, runqueue_ns: 60, disk_ns: 0 });
}

#[test]
fn durations_are_nearest_rank_and_unknown_without_operations() {
    let of = |n: Ns| {
        let ops: Vec<_> = (1..=n).map(|length| op(Phase::Dns, "a", 0, length)).collect();
        apply((0, 1000), &[], &ops).phase(Phase::Dns).durations
    };
    assert_eq!(of(0), None);
    assert_eq!(of(1), Some(Durations { p50_ns: 1, p95_ns: 1, p99_ns: 1, max_ns: 1 }));
    assert_eq!(of(100), Some(Durations { p50_ns: 50, p95_ns: 95, p99_ns: 99, max_ns: 100 }));
    assert_eq!(of(5), Some(Durations { p50_ns: 3, p95_ns: 5, p99_ns: 5, max_ns: 5 }));
}

#[test]
fn bytes_are_null_where_they_mean_nothing() {
    let zip = Operation { bytes: Some(7), error: true, ..op(Phase::Proxy, "a", 0, 1) };
    let split = apply((0, 10), &[], &[zip, zip]);
    assert_eq!((split.phase(Phase::Proxy).bytes, split.phase(Phase::Proxy).errors), (Some(14), 2));
    assert_eq!(split.phase(Phase::Sumdb).bytes, Some(0));
    assert_eq!(split.phase(Phase::Dns).bytes, None);
}

#[test]
fn an_interval_that_ends_before_it_begins_is_empty() {
    let split = apply((10, 5), &[(0, 20)], &[op(Phase::Dns, "a", 0, 20)]);
    assert_eq!((split.wall_ns, blocked(&split)), (0, [0; Phase::ALL.len()]));
}

fn child(phase: Phase, start_ns: Ns, end_ns: Ns) -> Operation<'static> {
    Operation { host: None, ..op(phase, "", start_ns, end_ns) }
}

fn with_children(
    wall: (Ns, Ns),
    idle: &[(Ns, Ns)],
    operations: &[Operation<'_>],
    children: &[Operation<'_>],
) -> Split {
    let point = |(from, to): (Ns, Ns)| (SinceStart(from), SinceStart(to));
    let (wall, idle): (_, Vec<_>) = (point(wall), idle.iter().copied().map(point).collect());
    split(&Input {
        wall,
        idle: &idle,
        local: Some(Local::default()),
        operations,
        children,
        ..Input::default()
    })
}

#[test]
fn a_child_is_answerable_while_nothing_else_is_in_flight_credentials_first() {
    let children = [
        child(Phase::Cache, 0, 100),
        child(Phase::Child, 0, 60),
        child(Phase::Vcs, 10, 50),
        child(Phase::Auth, 20, 40),
    ];
    let split = with_children((0, 100), &[(0, 90)], &[op(Phase::Proxy, "a", 25, 30)], &children);
    let blocked = WAITED_FOR.map(|phase| split.phase(phase).blocked_ns);
    // auth 20..25 and 30..40, vcs 10..20 and 40..50, child 0..10 and 50..60, cache 60..90
    assert_eq!((blocked, split.phase(Phase::Proxy).blocked_ns), ([15, 20, 20, 30], 5));
    assert_eq!(split.phase(Phase::Local).blocked_ns, 10);
    assert_eq!(WAITED_FOR.map(|phase| split.phase(phase).busy_ns), [20, 40, 60, 100]);
    assert_eq!(WAITED_FOR.map(|phase| split.phase(phase).count), [1, 0, 1, 1]);
    assert_eq!(split.phase(Phase::Auth).durations.unwrap().max_ns, 20);
}

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

fn operations() -> impl Strategy<Value = Vec<Operation<'static>>> {
    let one = (0..IN_FLIGHT, proptest::option::of(0..HOSTS.len()), 0..120u64, 0..60u64).prop_map(
        |(phase, host, start_ns, length)| Operation {
            phase: Phase::ALL[phase],
            host: host.map(|host| HOSTS[host]),
            start_ns: SinceStart(start_ns),
            end_ns: SinceStart(start_ns + length),
            error: false,
            bytes: None,
        },
    );
    proptest::collection::vec(one, 0..20)
}

fn children() -> impl Strategy<Value = Vec<Operation<'static>>> {
    let one = (0..WAITED_FOR.len(), 0..120u64, 0..60u64)
        .prop_map(|(rank, start, length)| child(WAITED_FOR[rank], start, start + length));
    proptest::collection::vec(one, 0..6)
}

fn intervals() -> impl Strategy<Value = Vec<(Ns, Ns)>> {
    proptest::collection::vec((0..20u64, 1..20u64), 0..8).prop_map(|gaps| {
        let mut at = 0;
        let interval = |(gap, length)| {
            let start = at + gap;
            at = start + length;
            (start, at)
        };
        gaps.into_iter().map(interval).collect()
    })
}

/// Units by phase, and by phase and host, from looking at every nanosecond by itself.
type Units = (BTreeMap<Phase, u128>, BTreeMap<(Phase, Option<&'static str>), u128>);

fn by_nanosecond(
    wall: (Ns, Ns),
    idle: &[(Ns, Ns)],
    operations: &[Operation<'static>],
    children: &[Operation<'static>],
) -> (Units, Ns, Ns) {
    let (mut units, mut local, mut unexplained) = (Units::default(), 0, 0);
    for at in wall.0..wall.1 {
        if !idle.iter().any(|interval| interval.0 <= at && at < interval.1) {
            local += 1;
            continue;
        }
        let mut flying: BTreeMap<Phase, BTreeSet<Option<&'static str>>> = BTreeMap::new();
        for op in operations.iter().filter(|op| op.start_ns.0 <= at && at < op.end_ns.0) {
            flying.entry(op.phase).or_default().insert(op.host);
        }
        if flying.is_empty() {
            let runs = |phase: &Phase| {
                let mut of = children.iter().filter(|child| child.phase == *phase);
                of.any(|child| child.start_ns.0 <= at && at < child.end_ns.0)
            };
            match WAITED_FOR.into_iter().find(runs) {
                Some(phase) => *units.0.entry(phase).or_default() += UNIT,
                None => unexplained += 1,
            }
        }
        for (phase, hosts) in &flying {
            let share = UNIT / flying.len() as u128;
            *units.0.entry(*phase).or_default() += share;
            for host in hosts {
                *units.1.entry((*phase, *host)).or_default() += share / hosts.len() as u128;
            }
        }
    }
    (units, local, unexplained)
}

proptest! {
    #[test]
    fn the_sweep_agrees_with_one_by_nanosecond_and_its_parts_add_up(
        start in 0..50u64, length in 0..150u64, idle in intervals(), ops in operations(),
        children in children()
    ) {
        let wall = (start, start + length);
        let split = with_children(wall, &idle, &ops, &children);
        let (units, local, unexplained) = by_nanosecond(wall, &idle, &ops, &children);
        prop_assert_eq!(split.phases.iter().map(|share| share.blocked_ns).sum::<Ns>(), length);
        prop_assert_eq!(split.phase(Phase::Local).blocked_ns, local);
        prop_assert_eq!(split.phase(Phase::Unexplained).blocked_ns, unexplained);
        let exact: Vec<u128> =
            Phase::ALL.iter().take(IN_FLIGHT).map(|phase| units.0.get(phase).copied().unwrap_or(0)).collect();
        let mut spare = length - local - unexplained - exact.iter().map(|u| (u / UNIT) as Ns).sum::<Ns>();
        for (phase, exact) in Phase::ALL.into_iter().zip(exact) {
            let takes = u64::from(spare > 0 && exact % UNIT > 0);
            spare -= takes;
            prop_assert_eq!(split.phase(phase).blocked_ns, (exact / UNIT) as Ns + takes);
            let busy = (wall.0..wall.1)
                .filter(|at| ops.iter().chain(&children).any(|op| op.phase == phase && op.start_ns.0 <= *at && *at < op.end_ns.0))
                .count();
            prop_assert_eq!(split.phase(phase).busy_ns, busy as Ns);
        }
        prop_assert_eq!(spare, 0);
        for share in &split.hosts {
            prop_assert_eq!(share.blocked_ns, share.phases.values().sum::<Ns>());
            for (phase, ns) in &share.phases {
                let host = HOSTS.into_iter().find(|host| *host == share.host);
                let exact = units.1.get(&(*phase, host)).copied().unwrap_or(0);
                let off = u128::from(*ns).abs_diff(exact / UNIT);
                prop_assert!(off <= 1, "{phase:?} of {}: {ns}, exactly {exact} units", share.host);
            }
        }
        for (phase, share) in Phase::ALL.into_iter().zip(&split.phases).take(IN_FLIGHT) {
            let of = |op: &&Operation<'_>| op.phase == phase;
            let named = ops.iter().chain(&children).filter(of).all(|op| op.host.is_some());
            let listed: Ns = split.hosts.iter().filter_map(|host| host.phases.get(&phase)).sum();
            prop_assert!(listed <= share.blocked_ns);
            prop_assert!(!named || listed == share.blocked_ns);
        }
    }

    #[test]
    fn extreme_times_do_not_overflow(times in proptest::collection::vec(any::<(u64, u64)>(), 0..30)) {
        let ops: Vec<_> =
            times.iter().zip(0..).map(|(t, n)| op(Phase::ALL[n % IN_FLIGHT], HOSTS[n % 4], t.0, t.1)).collect();
        let split = apply((0, u64::MAX), &times, &ops);
        let sum: u128 = split.phases.iter().map(|share| u128::from(share.blocked_ns)).sum();
        prop_assert_eq!(sum, u128::from(u64::MAX));
    }
}
