//! What of a report is not as a scenario expects.

use serde_json::Value;

use super::observe::Ran;
use super::spec::{Expect, Scenario};

/// How far a cost may be from what was injected, share of it.
const TOLERANCE: f64 = 0.1;

/// How much is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// That the injected time is in its phase
    Phases,
    /// The stalls, too
    Stalls,
}

/// How much the suites check.
pub const DEPTH: Depth = Depth::Stalls;

/// Everything that is not as expected; empty when all is.
pub fn check(scenario: &Scenario, ran: &Ran, depth: Depth) -> Vec<String> {
    let mut wrong = exit(scenario, ran);
    for lost in ["kernel_events_lost", "events_undecoded"] {
        if ran.report["loss"][lost] != 0 {
            wrong.push(format!("{lost} is {}", ran.report["loss"][lost]));
        }
    }
    let rtt_ms = ran.rtt.as_secs_f64() * 1e3;
    wrong.extend(report(scenario, &ran.report, rtt_ms, depth));
    wrong
}

fn exit(scenario: &Scenario, ran: &Ran) -> Vec<String> {
    let failed = !ran.status.success();
    let command = &scenario.command;
    let said = || ran.stderr.lines().last().unwrap_or_default().to_owned();
    match (command.fails || command.give_up_s.is_some(), failed) {
        (true, false) => vec!["the command succeeded".to_owned()],
        (false, true) => vec![format!("{}: {}", ran.status, said())],
        _ => Vec::new(),
    }
}

/// The part of [`check`] that needs a report only, so that recordings can be checked, too. The
/// round-trip time is in milliseconds.
pub fn report(scenario: &Scenario, report: &Value, rtt_ms: f64, depth: Depth) -> Vec<String> {
    let [command] = report["commands"].as_array().map_or(&[][..], Vec::as_slice) else {
        return vec![format!("one command was expected: {}", report["commands"])];
    };
    let mut wrong = Vec::new();
    for expect in &scenario.expect {
        let cost = cost_ms(expect, command, rtt_ms);
        if let Some(cost) = cost {
            let phases = command["phases"].as_array().map_or(&[][..], Vec::as_slice);
            let phase = phases.iter().find(|phase| phase["phase"] == *expect.phase);
            let blocked = phase.and_then(|phase| ms(&phase["blocked_ns"])).unwrap_or(0.0);
            if blocked < cost * (1.0 - TOLERANCE) {
                wrong.push(format!("phase {}: {blocked:.0} ms of the injected {cost:.0} ms", expect.phase));
            }
        }
        if depth == Depth::Stalls {
            wrong.extend(stall(expect, command, cost));
        }
    }
    if depth == Depth::Stalls {
        wrong.extend(unexpected(scenario, command));
    }
    wrong
}

/// What the stall must have cost.
fn cost_ms(expect: &Expect, command: &Value, rtt_ms: f64) -> Option<f64> {
    let injected = if expect.until_end { ms(&command["wall_ns"]) } else { expect.cost_ms };
    injected.map(|injected| injected - expect.less_ms + expect.cost_rtts * rtt_ms)
}

fn stall(expect: &Expect, command: &Value, cost: Option<f64>) -> Option<String> {
    let what =
        format!("{} of {} in {}", expect.kind, expect.host.as_deref().unwrap_or("no host"), expect.phase);
    let of_kind: Vec<&Value> = stalls(command).iter().filter(|stall| stall["kind"] == *expect.kind).collect();
    let fits =
        |stall: &&&Value| stall["phase"] == *expect.phase && stall["host"].as_str() == expect.host.as_deref();
    let found: Vec<&&Value> = of_kind.iter().filter(fits).collect();
    if found.is_empty() {
        let reported = if of_kind.is_empty() { stalls(command).iter().collect() } else { of_kind };
        return Some(format!("{what} was not reported, but: {}", list(&reported)));
    }
    let severe =
        |stall: &&&Value| expect.severity.as_ref().is_none_or(|severity| stall["severity"] == **severity);
    if !found.iter().all(severe) {
        let severities: Vec<_> = found.iter().map(|stall| &stall["severity"]).collect();
        return Some(format!("{what} is {severities:?}"));
    }
    let costs: f64 = found.iter().filter_map(|stall| ms(&stall["cost_ns"])).sum();
    let cost = cost?;
    ((costs - cost).abs() > cost * TOLERANCE).then(|| format!("{what} costs {costs:.0} ms, not {cost:.0} ms"))
}

/// Warnings and worse that nobody expected.
fn unexpected(scenario: &Scenario, command: &Value) -> Option<String> {
    let known = |kind: &Value| {
        scenario.expect.iter().any(|expect| *kind == *expect.kind)
            || scenario.also.iter().any(|also| *kind == **also)
    };
    let reported =
        stalls(command).iter().filter(|stall| stall["severity"] != "info" && !known(&stall["kind"]));
    let reported: Vec<&Value> = reported.collect();
    (!reported.is_empty()).then(|| format!("not expected: {}", list(&reported)))
}

fn stalls(command: &Value) -> &[Value] {
    command["stalls"].as_array().map_or(&[], Vec::as_slice)
}

fn list(stalls: &[&Value]) -> String {
    let one = |stall: &&Value| {
        let [kind, phase, host, severity] =
            ["kind", "phase", "host", "severity"].map(|key| stall[key].as_str().unwrap_or("null"));
        format!("{kind}/{phase}/{host}/{severity}/{:.0} ms", ms(&stall["cost_ns"]).unwrap_or(f64::NAN))
    };
    let reported: Vec<String> = stalls.iter().map(one).collect();
    if reported.is_empty() { "nothing".to_owned() } else { reported.join(", ") }
}

fn ms(ns: &Value) -> Option<f64> {
    Some(ns.as_u64()? as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXPECTS: &str = "title = 'x'\nalso = ['tls-slow']\n\
        [[expect]]\nkind = 'dns-slow'\nphase = 'dns'\nhost = 'proxy.test'\ncost_ms = 400\ncost_rtts = 2";

    fn reported(kind: &str, host: &str, severity: &str, cost_ms: u64) -> Value {
        json!({"kind": kind, "phase": "dns", "host": host, "severity": severity, "cost_ns": cost_ms * 1_000_000})
    }

    fn wrong(stalls: &[Value]) -> Vec<String> {
        let scenario: Scenario = toml::from_str(EXPECTS).unwrap();
        let phases = json!([{"phase": "dns", "blocked_ns": 500_000_000}]);
        let of = json!({"commands": [{"wall_ns": 900_000_000, "phases": phases, "stalls": stalls}]});
        report(&scenario, &of, 20.0, Depth::Stalls)
    }

    #[test]
    fn the_expected_stalls_with_their_costs_are_right_also_in_parts() {
        assert_eq!(wrong(&[reported("dns-slow", "proxy.test", "warning", 460)]), [""; 0]);
        let parts = [200, 230].map(|cost| reported("dns-slow", "proxy.test", "warning", cost));
        assert_eq!(wrong(&parts), [""; 0]);
        let also = [
            reported("dns-slow", "proxy.test", "warning", 440),
            reported("tls-slow", "a.test", "critical", 9),
        ];
        assert_eq!(wrong(&also), [""; 0]);
        let beside =
            [reported("dns-slow", "proxy.test", "warning", 440), reported("proxy-slow", "a.test", "info", 9)];
        assert_eq!(wrong(&beside), [""; 0]);
    }

    #[test]
    fn another_host_another_cost_or_another_stall_is_wrong() {
        for stalls in [
            vec![],
            vec![reported("dns-slow", "sumdb.test", "warning", 440)],
            vec![reported("dns-slow", "proxy.test", "warning", 490)],
            vec![reported("dns-slow", "proxy.test", "warning", 390)],
            vec![
                reported("dns-slow", "proxy.test", "warning", 440),
                reported("dns-error", "a.test", "critical", 1),
            ],
        ] {
            assert_eq!(wrong(&stalls).len(), 1, "{stalls:?}");
        }
    }

    #[test]
    fn injected_time_that_is_in_another_phase_is_wrong() {
        let scenario: Scenario = toml::from_str(EXPECTS).unwrap();
        let phases =
            json!([{"phase": "dns", "blocked_ns": 390_000_000}, {"phase": "tls", "blocked_ns": 900_000_000}]);
        let of = json!({"commands": [{"wall_ns": 900_000_000, "phases": phases, "stalls": []}]});
        assert_eq!(report(&scenario, &of, 20.0, Depth::Phases), ["phase dns: 390 ms of the injected 440 ms"]);
    }
}
