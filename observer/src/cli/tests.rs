//! Command lines, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn ask(line: &str) -> Result<(Request, Common), Stop> {
    parse(std::iter::once("goobserve").chain(line.split_ascii_whitespace()).map(OsString::from))
}

fn wrong(line: &str) -> Stop {
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
fn wrong_use_is_two_lines_and_status_2() {
    assert!(wrong("run").text.contains("<CMD>"));
    assert_eq!(wrong("run").hint, "goobserve run --help");
    let unknown = wrong("run --jsno f go");
    assert!(unknown.text.contains("--jsno") && unknown.hint.contains("--json"), "{unknown:?}");
    wrong("run --report pdf go");
    wrong("report");
    wrong("fly");
    wrong("--duration never");
    wrong("-q -v check");
    assert!(wrong("--duration 1s run go").text.contains("watch"));
}

#[test]
fn help_has_examples_everywhere() {
    for line in
        ["--help", "-h", "watch -h", "run --help", "report -h", "check -h", "completions -h", "man -h"]
    {
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
