use model::phases::{Input, split};
use model::stall::StallKind;

use super::*;

#[test]
fn a_clock_counts_hours_when_there_are_some() {
    assert_eq!(clock(14_290_000_000), "00:14.2");
    assert_eq!(clock(3_723_400_000_000), "1:02:03.4");
}

#[test]
fn the_parts_of_the_bar_fill_the_line() {
    let operations = [];
    let input = Input {
        wall: (SinceStart(0), SinceStart(1000)),
        idle: &[(SinceStart(0), SinceStart(900))],
        local: None,
        operations: &operations,
        ..Input::default()
    };
    let split = split(&input);
    for columns in [2, 10, 79, 80, 200] {
        let parts = parts(&split, columns);
        assert_eq!(parts.iter().map(|(_, _, width)| width).sum::<u16>(), columns);
    }
}

#[test]
fn a_finding_names_host_phase_since_when_and_the_line_to_try() {
    let remedy = model::report::Remedy {
        name: "dns-cache".into(),
        why: "answers from memory".into(),
        attempt: "goobserve compare --with dns-cache --with resolv=options\\ timeout:1 -- go mod download"
            .into(),
    };
    let stall = Stall {
        kind: StallKind::DnsTimeout.into(),
        phase: Phase::Dns,
        host: Some("127.77.1.1:53".into()),
        severity: Severity::Critical,
        start_ns: SinceStart(6_000_000),
        end_ns: SinceStart(5_006_000_000),
        cost_ns: 4_980_000_000,
        summary: "a query was not answered for 5 s and retried".into(),
        evidence: Vec::new(),
        advice: String::new(),
        fatal: false,
        remedies: vec![remedy.clone()],
    };
    let area = Rect::new(0, 0, 80, 9);
    let mut buffer = Buffer::empty(area);
    let subject = Subject {
        command: &CommandState::default(),
        now: SinceStart(9_000_000_000),
        theme: Theme::default(),
    };
    let used = stack(&mut buffer, area, &finding(&stall, 3, subject));
    let row = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    let shown = (0..used).map(row).collect::<Vec<_>>().join(" ");
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["dns-timeout", "cost 4.98 s", "dns ·", "127.77.1.1:53", "0.006 to 5.006 s", "+2 more"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let tried = format!("dns-cache: answers from memory try {}", remedy.attempt);
    assert!(shown.contains(&tried), "{shown}");
    assert!(!shown.contains('…'), "{shown}");
}

#[test]
fn only_what_likely_made_a_command_fail_is_said_to() {
    let mut stall = Stall {
        kind: StallKind::DnsError.into(),
        phase: Phase::Dns,
        host: None,
        severity: Severity::Critical,
        start_ns: SinceStart(5_000_000),
        end_ns: SinceStart(8_000_000),
        cost_ns: 2_000_000,
        summary: "it answered SERVFAIL".into(),
        evidence: Vec::new(),
        advice: "ask its owner".into(),
        fatal: true,
        remedies: Vec::new(),
    };
    let area = Rect::new(0, 0, 80, 5);
    let shown = |stall: &Stall| {
        let mut buffer = Buffer::empty(area);
        let subject = Subject {
            command: &CommandState::default(),
            now: SinceStart(9_000_000),
            theme: Theme::default(),
        };
        stack(&mut buffer, area, &finding(stall, 1, subject));
        buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    let failed = shown(&stall);
    assert!(failed.contains("likely why it failed · dns · at 0.005 s"), "{failed}");
    assert!(failed.contains("do   ask its owner"), "{failed}");
    // A large part of a short run is critical, and no reason to fail.
    stall.fatal = false;
    let large = shown(&stall);
    assert!(large.contains("cost 2.00 ms · dns · 0.005 to 0.008 s"), "{large}");
}

#[test]
fn a_command_that_is_shown_in_part_says_so() {
    let area = Rect::new(0, 0, 80, 9);
    let attempt =
        format!("goobserve compare --with http1 -- go mod download{}", " a.test/m@v1.0.0".repeat(20));
    let remedy = model::report::Remedy { name: "http1".into(), why: "a connection each".into(), attempt };
    let stall = Stall {
        kind: StallKind::H2LossBlocksAll.into(),
        phase: Phase::Proxy,
        host: None,
        severity: Severity::Warning,
        start_ns: SinceStart(0),
        end_ns: SinceStart(1),
        cost_ns: 1,
        summary: "segments were lost".into(),
        evidence: Vec::new(),
        advice: String::new(),
        fatal: false,
        remedies: vec![remedy],
    };
    let mut buffer = Buffer::empty(area);
    let subject = Subject { command: &CommandState::default(), now: SinceStart(9), theme: Theme::default() };
    let used = stack(&mut buffer, area, &finding(&stall, 1, subject));
    let last = (0..80).map(|x| buffer[(x, used - 1)].symbol()).collect::<String>();
    assert!(last.trim_end().ends_with('…'), "{last}");
}
