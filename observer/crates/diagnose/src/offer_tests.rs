//! Lines that a shell takes apart, and what is said of a variable.

use model::event::{Body, CommandUpdate, Event};
use model::id::CommandId;
use model::operations::Threads;
use model::state::State;
use model::time::SinceStart;

use super::*;
use crate::report::report as of;

fn offered(offer: Offer, record: Command) -> report::Remedy {
    let mut state = State::new();
    let command = Command { id: CommandId(1), wall_ns: Some(2_000_000_000), ..record };
    let update = CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() };
    state.apply(&Event { at_ns: SinceStart(2_000_000_000), body: Body::Command(update) });
    let case =
        Case::new(state.command(CommandId(1)).unwrap(), SinceStart(2_000_000_000), Threads::Unknown).unwrap();
    offer.remedy(&case, "")
}

fn command(argv: &[&str]) -> Command {
    Command { argv: argv.iter().map(|word| (*word).to_owned()).collect(), ..Command::default() }
}

fn download() -> Command {
    command(&["go", "mod", "download"])
}

/// What a shell makes of a line: `sudo` and `goobserve` print where they are and their words.
fn in_a_shell(line: &str) -> Vec<String> {
    let script =
        format!("goobserve() {{ pwd; printf '%s\\n' \"$@\"; }}; sudo() {{ \"$@\"; }}\nHOME=/root\n{line}");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_line_is_pasted_as_the_command_was() {
    let folder = tempfile::Builder::new().prefix("it's $HOME *").tempdir().unwrap();
    let odd =
        ["go", "get", "a b", "it's", "", "$HOME", "*", "~", "a:~", "=go", "`x`", "\"", "\\", "é", "#;&|<>!"];
    let record = Command { cwd: folder.path().to_str().map(str::to_owned), ..command(&odd) };
    let remedy = offered(Offer::new("resolv=options timeout:2 attempts:5", ""), record);
    let words = in_a_shell(&remedy.attempt);
    assert_eq!(words[0], folder.path().canonicalize().unwrap().to_str().unwrap(), "{}", remedy.attempt);
    let expected = ["compare", "--with", "resolv=options timeout:2 attempts:5", "--"];
    assert_eq!(words[1..], [&expected[..], &odd[..]].concat(), "{}", remedy.attempt);
}

#[test]
fn who_is_no_root_needs_sudo() {
    let line = |uid| offered(Offer::new("http1", ""), Command { uid, ..download() }).attempt;
    assert_eq!(line(Some(1000)), "sudo goobserve compare --with http1 -- go mod download");
    assert_eq!(line(None), "sudo goobserve compare --with http1 -- go mod download");
    assert_eq!(line(Some(0)), "goobserve compare --with http1 -- go mod download");
}

#[test]
fn several_remedies_are_one_line() {
    let with = ["env=GOPRIVATE=a.test,*.b.test", "env=GONOSUMDB=c.test"].map(str::to_owned).to_vec();
    let remedy = offered(Offer::all(with, ""), download());
    assert_eq!(remedy.name, "env=GOPRIVATE=a.test,*.b.test + env=GONOSUMDB=c.test");
    let with = "--with 'env=GOPRIVATE=a.test,*.b.test' --with env=GONOSUMDB=c.test";
    assert_eq!(remedy.attempt, format!("sudo goobserve compare {with} -- go mod download"));
}

#[test]
fn what_is_not_known_whole_is_no_line_but_a_hint() {
    for argv in [&["go", "get", "https://…@git.test/x"][..], &["go", "a\nb"], &["go", "\u{202e}x"], &[]] {
        let remedy = offered(Offer::new("http1", "why"), command(argv));
        assert_eq!(remedy.attempt, "", "{argv:?}");
        assert!(remedy.why.ends_with("repeat it behind goobserve compare --with http1 --"), "{}", remedy.why);
    }
}

#[test]
fn what_a_variable_is_now_is_said() {
    let text = |text: &str| Some(text.to_owned());
    let go = Go {
        gomaxprocs: Some(2),
        goproxy: text("https://…@proxy.test,direct"),
        gosumdb: text("sumdb.test"),
        godebug: text("netdns=go"),
        goprivate: text("a.test"),
        gonosumdb: text(""),
        ..Go::default()
    };
    for (with, said) in [
        ("concurrency=16", "; GOMAXPROCS is 2 now"),
        ("proxy=direct", "; GOPROXY is https://…@proxy.test,direct now"),
        ("sumdb=off", "; GOSUMDB is sumdb.test now"),
        ("no-mlkem", "; GODEBUG is netdns=go now, which is kept"),
        ("env=GOPRIVATE=a.test,b.test", "; GOPRIVATE is a.test now, which is kept"),
        ("env=GONOSUMDB=b.test", "; GONOSUMDB is not set now"),
        ("resolv=options ndots:1", ""),
    ] {
        let record = Command { go: go.clone(), ..download() };
        assert_eq!(offered(Offer::new(with, ""), record).why, said, "{with}");
    }
    assert_eq!(offered(Offer::new("http1", ""), download()).why, "; what GODEBUG holds is kept");
}

#[test]
fn how_often_it_is_run_is_said_of_what_takes_long_or_is_no_download() {
    let why = |argv: &[&str]| offered(Offer::new("resolv=options ndots:1", "why"), command(argv)).why;
    assert_eq!(why(&["go", "mod", "download"]), "why");
    assert_eq!(why(&["go", "test", "./..."]), "why; compare runs the command 13 times");
    let long = Command { start_ns: SinceStart(0), ..download() };
    let mut state = State::new();
    let command = Command { id: CommandId(1), wall_ns: Some(60_000_000_000), ..long };
    let update = CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() };
    state.apply(&Event { at_ns: SinceStart(60_000_000_000), body: Body::Command(update) });
    let case = Case::new(state.command(CommandId(1)).unwrap(), SinceStart(60_000_000_000), Threads::Unknown)
        .unwrap();
    let why = Offer::new("resolv=options ndots:1", "why").remedy(&case, "").why;
    assert!(why.starts_with("why; compare runs the command 13 times, up to "), "{why}");
}

#[test]
fn a_reader_in_the_commands_folder_is_not_sent_there() {
    let record = Command { cwd: Some("/a b".into()), ..download() };
    let mut state = State::new();
    let update = CommandUpdate {
        command: Command { id: CommandId(1), wall_ns: Some(1), ..record },
        idle: Vec::new(),
        gaps: Vec::new(),
    };
    state.apply(&Event { at_ns: SinceStart(1), body: Body::Command(update) });
    let mut report = of(&state);
    let attempt = "cd '/a b' && sudo goobserve compare --with http1 -- go".to_owned();
    let remedy = report::Remedy { name: "http1".into(), why: String::new(), attempt };
    let stall = report::Stall { remedies: vec![remedy], ..crate::tests::no_stall() };
    report.commands[0].stalls = vec![stall];
    from_here(&mut report, Path::new("/a"));
    assert!(report.commands[0].stalls[0].remedies[0].attempt.starts_with("cd "));
    from_here(&mut report, Path::new("/a b"));
    let attempt = &report.commands[0].stalls[0].remedies[0].attempt;
    assert_eq!(attempt, "sudo goobserve compare --with http1 -- go");
}
