//! Command lines, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn ask(line: &str) -> Result<(Request, Common), EarlyExit> {
    parse(std::iter::once("goobserve").chain(line.split_ascii_whitespace()).map(OsString::from))
}

fn wrong(line: &str) -> EarlyExit {
    let stop = ask(line).unwrap_err();
    assert_eq!(stop.status, 2, "{line}: {stop:?}");
    assert!(!stop.text.contains('\n') && !stop.hint.contains('\n') && !stop.hint.is_empty(), "{stop:?}");
    stop
}

#[test]
fn watch_is_the_default_and_takes_its_arguments_there() {
    assert_eq!(ask("").unwrap(), ask("watch").unwrap());
    let line = "--duration 10m --record f --output jsonl -q";
    let (request, common) = ask(line).unwrap();
    assert_eq!(request, ask(&format!("watch {line}")).unwrap().0);
    let Request::Watch(options) = request else { panic!("{request:?}") };
    assert_eq!(options.duration, Some(Duration::from_secs(600)));
    assert_eq!((options.record, options.output), (Some(PathBuf::from("f")), WatchOutput::Jsonl));
    assert!(common.quiet);
}

#[test]
fn run_takes_the_commands_own_flags_with_and_without_dashes() {
    for line in ["run go mod download -x --json a", "run -- go mod download -x --json a"] {
        let Request::Run(options) = ask(line).unwrap().0 else { panic!() };
        assert_eq!(options.command, ["go", "mod", "download", "-x", "--json", "a"]);
        assert_eq!(options.json, None);
    }
    let Request::Run(options) = ask("-v run --json a --report none --anonymize -- go").unwrap().0 else {
        panic!()
    };
    assert_eq!((options.json, options.report), (Some(PathBuf::from("a")), RunReport::None));
    assert!(options.anonymize);
    assert_eq!(options.common.verbose, 1);
}

#[test]
fn report_check_completions_and_man_are_understood() {
    let Request::Report(options) = ask("report f --format json --anonymize --color never").unwrap().0 else {
        panic!()
    };
    assert_eq!((options.format, options.common.color), (ReportFormat::Json, ColorChoice::Never));
    for (form, format) in [
        ("markdown", ReportFormat::Markdown),
        ("html", ReportFormat::Html),
        ("perfetto", ReportFormat::Perfetto),
        ("recording", ReportFormat::Recording),
        ("otlp", ReportFormat::Otlp),
    ] {
        let Request::Report(options) = ask(&format!("report f --format {form}")).unwrap().0 else { panic!() };
        assert_eq!(options.format, format);
    }
    let Request::Run(options) = ask("run --report markdown go").unwrap().0 else { panic!() };
    assert_eq!(options.report, RunReport::Markdown);
    assert_eq!(ask("check").unwrap().0, Request::Check);
    assert_eq!(ask("completions bash").unwrap().0, Request::Completions(clap_complete::Shell::Bash));
    assert_eq!(ask("man run").unwrap().0, Request::Man(Some("run".into())));
}

#[test]
fn compare_takes_two_arms_and_what_follows_versus_is_the_others() {
    let arms = |line: &str| {
        let Request::Compare(options) = ask(&format!("compare {line} -- go mod download")).unwrap().0 else {
            panic!()
        };
        assert_eq!(options.command, ["go", "mod", "download"]);
        (options.with.to_string(), options.versus.to_string())
    };
    let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(arms("--with http1 --with concurrency=16"), text("http1 + concurrency=16", "baseline"));
    assert_eq!(
        arms("--with http1 --versus no-mlkem --with concurrency=8"),
        text("http1", "no-mlkem + concurrency=8")
    );
    let Request::Compare(options) = ask("compare --with http1 --runs 3 --cache memory go").unwrap().0 else {
        panic!()
    };
    assert_eq!(options.experiment, ExperimentOptions { runs: Some(3), cache: Cache::Memory });
}

#[test]
fn fix_takes_a_budget_and_enough_runs_for_a_proof() {
    let fix = |line: &str| match ask(line).unwrap().0 {
        Request::Fix(options) => options,
        other => panic!("{other:?}"),
    };
    let usual = fix("fix go mod download -x");
    assert_eq!((usual.budget, usual.experiment), (Duration::from_mins(3), ExperimentOptions::default()));
    assert_eq!(usual.command, ["go", "mod", "download", "-x"]);
    let other = fix("fix --budget 90s --runs 10 --warm --json f -- go");
    assert_eq!((other.budget, other.json), (Duration::from_secs(90), Some(PathBuf::from("f"))));
    assert_eq!(other.experiment, ExperimentOptions { runs: Some(10), cache: Cache::Warm });
    assert!(wrong("fix --runs 5 go").text.contains("takes 6 runs"));
    wrong("fix --budget soon go");
    wrong("fix");
}

#[test]
fn remedies_that_cannot_be_are_wrong_use() {
    assert!(wrong("compare -- go").text.contains("--with"));
    assert!(wrong("compare --with concurrency=x go").text.contains("from 1 to"));
    assert!(wrong("run --with deadline=soon go").text.contains("expected a time"));
    assert!(wrong("run --tui --with deadline go").text.contains("--tui"));
    assert!(wrong("compare --with deadline go").hint.contains("run --with deadline"));
    assert!(wrong("run --with http1 --with env=GODEBUG=a=1 --with http1 go").text.contains("the same thing"));
    assert!(wrong("compare --with env=GOPATH=/x go").hint.contains("--warm"));
    assert!(ask("compare --warm --with env=GOPATH=/x go").is_ok());
    wrong("compare --versus http1 --with no-mlkem go");
    wrong("compare --with http1 --versus http1 go");
    wrong("compare --with http1 --runs 0 go");
    wrong("compare --with http1 --warm --cache disk go");
}

#[test]
fn wrong_use_is_two_lines_and_status_2() {
    assert!(wrong("run").text.contains("<CMD>"));
    assert_eq!(wrong("run").hint, "goobserve run --help");
    let unknown = wrong("run --jsno f go");
    assert!(unknown.text.contains("--jsno") && unknown.hint.contains("--json"), "{unknown:?}");
    wrong("run --report pdf go");
    wrong("report");
    assert!(wrong("report a b").hint.contains("--format html"));
    assert!(ask("report a b --format html").is_ok());
    wrong("fly");
    wrong("--duration never");
    wrong("-q -v check");
    assert!(wrong("--duration 1s run go").text.contains("watch"));
}

#[test]
fn a_go_command_alone_is_answered_with_the_line_that_observes_it() {
    let stop = wrong("go mod download -x");
    assert_eq!(stop.hint, "sudo goobserve run -- go mod download -x");
    assert_eq!(wrong("/bin/sh -c true").hint, "sudo goobserve run -- /bin/sh -c true");
    let secret = "go env -w GOPROXY=https://user:hunter2@proxy.test";
    assert_eq!(wrong(secret).hint, "sudo goobserve run -- CMD");
    assert!(!wrong("rpeort a").hint.contains("run --"), "it is a typing error");
}

#[test]
fn help_explain_schema_and_the_version_for_scripts_are_understood() {
    for (line, part) in [("help", "Commands:"), ("help run", "--record"), ("help gate ab", "--max-runs")] {
        let stop = ask(line).unwrap_err();
        assert!(stop.status == 0 && stop.text.contains(part), "{line}: {stop:?}");
    }
    wrong("help fly");
    assert!(matches!(ask("explain dns-timeout").unwrap().0, Request::Explain { kind: Some(_), .. }));
    assert!(matches!(ask("explain").unwrap().0, Request::Explain { kind: None, .. }));
    assert_eq!(ask("schema recording").unwrap().0, Request::Schema(SchemaName::Recording));
    assert_eq!(ask("schema").unwrap().0, Request::Schema(SchemaName::Report));
    let stop = ask("--version --json").unwrap_err();
    assert!(stop.status == 0 && stop.text.starts_with("{\"arch\""), "{stop:?}");
}

#[test]
fn a_command_of_commands_says_which_there_are() {
    for (line, commands) in [("gate", "record, run, compare, ab"), ("serve", "gateway, dns")] {
        let EarlyExit { status, text, hint, .. } = wrong(line);
        assert!(status == 2 && text.contains(commands), "{text}");
        assert_eq!(hint, format!("goobserve {line} --help"));
    }
}

#[test]
fn help_has_examples_everywhere() {
    for line in [
        "--help",
        "-h",
        "watch -h",
        "run --help",
        "fix -h",
        "report -h",
        "check -h",
        "completions -h",
        "man -h",
        "gate --help",
        "gate ab -h",
    ] {
        let stop = ask(line).unwrap_err();
        assert_eq!(stop.status, 0);
        assert!(stop.text.contains("Examples:\n") && stop.text.contains("--color"), "{line}: {}", stop.text);
    }
    assert_eq!(ask("--version").unwrap_err().text, concat!("goobserve ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_colour_is_known_even_when_the_rest_is_wrong() {
    assert_eq!(wrong("--color=never fly").color, ColorChoice::Never);
    assert_eq!(wrong("--color always fly").color, ColorChoice::Always);
    assert_eq!(wrong("run --nope -- x --color always").color, ColorChoice::Auto);
}

#[test]
fn the_gates_four_ways_are_understood() {
    use stats::gate::{FailOn, Floors};

    use super::options::GateAction;
    let gate = |line: &str| match ask(line).unwrap().0 {
        Request::Gate(options) => options,
        other => panic!("{other:?}"),
    };
    let record = gate("gate record --runs 3 --out b.json --append go mod download -x");
    let command = ["go", "mod", "download", "-x"].map(Into::into).to_vec();
    assert_eq!(record.action, GateAction::Record { out: "b.json".into(), append: true, command });
    assert_eq!((record.experiment.runs, record.max_runs), (Some(3), 3));
    let run = gate("gate run --baseline b.json --max-runs 30 --fail-on regressed,unjudged -- go version");
    assert_eq!((run.experiment.runs, run.max_runs, run.floors), (Some(10), 30, Floors::RECORDINGS));
    let fail_on = FailOn { invalid: false, unjudged: true, ..FailOn::default() };
    assert_eq!(run.fail_on, fail_on);
    let compare = gate("gate compare a.json b.json --floor 7% --floor 1s --junit j.xml");
    assert_eq!(compare.floors, Floors { relative: 0.07, absolute_ns: 1_000_000_000 });
    assert_eq!((compare.outputs.junit, compare.fail_on), (Some("j.xml".into()), FailOn::default()));
    let ab = gate("gate ab --timeout 20m --a one --b two --cache memory");
    assert_eq!(ab.timeout, Some(Duration::from_mins(20)));
    assert_eq!((ab.floors, ab.action), (Floors::PAIRS, GateAction::Ab { a: "one".into(), b: "two".into() }));
}

#[test]
fn a_gate_that_makes_no_sense_is_wrong_use() {
    for line in [
        "gate",
        "gate ab --a one",
        "gate ab --a one --b two --runs 10 --max-runs 5",
        "gate ab --a one --b two --fail-on none,regressed",
        "gate ab --a one --b two --fail-on none,private-name,exact",
        "gate ab --a one --b two --fail-on never",
        "gate ab --a one --b two --fail-on none,exact",
        "gate ab --a one --b two --timeout soon",
        "gate compare a.json b.json --timeout 5m",
        "gate compare a.json b.json --floor wide",
        "gate compare a.json",
        "gate record --out b.json",
        "gate run -- go",
    ] {
        wrong(line);
    }
    assert!(wrong("gate ab --a one --b two --max-runs 5").text.contains("less than --runs 10"));
}
