//! `--with dns-cache` and `serve dns` with a real go: lost packets, a server that never answers AAAA, names that
//! are there beforehand; the command's resolv.conf, and what is left afterwards.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::dns::DnsFaults;
use tests::go_env::{GoOptions, GoRun};
use tests::lab::{Lab, PROXY_HOST};

/// The checksum database that go asks unless GOSUMDB says otherwise.
const SUMDB: &str = "sum.golang.org";

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let run = lab.go_run(&GoOptions { few: true, go_sum: true, ..GoOptions::default() }).unwrap();
    Some((lab, run))
}

fn with_cache(lab: &Lab, run: &GoRun, command: &[&str]) -> (Output, Duration) {
    let began = Instant::now();
    let arguments = [&["run", "--report", "none", "--with", "dns-cache", "--"], command].concat();
    (lab.goobserve(run, &arguments).unwrap(), began.elapsed())
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_command_has_one_name_server_that_is_gone_with_it() {
    let Some((lab, run)) = ready("the_command_has_one_name_server_that_is_gone_with_it") else { return };
    let script = "cat /etc/resolv.conf; ss -Hlnu sport = 53; ss -Hlnt sport = 53";
    let arguments =
        ["run", "--report", "none", "--with", "dns-cache", "--with", "resolv=options timeout:2", "--"];
    let text = succeeded(&lab.goobserve(&run, &[&arguments[..], &["sh", "-c", script]].concat()).unwrap());
    let address = text.lines().find_map(|line| line.strip_prefix("nameserver ")).unwrap().to_owned();
    assert!(address.starts_with("127."), "{text}");
    assert_eq!(text.matches("nameserver").count(), 1, "{text}");
    assert!(text.contains("options timeout:2"), "{text}");
    let socket = format!("{address}:53 ");
    assert_eq!(text.matches(&socket).count(), 2, "UDP and TCP: {text}");
    let after = succeeded(&lab.output(run.command("sh").args(["-c", script])).unwrap());
    assert!(!after.contains(&address), "{after}");
}

#[test]
fn lost_packets_and_silence_about_aaaa_cost_no_five_seconds() {
    let Some((lab, _)) = ready("lost_packets_and_silence_about_aaaa_cost_no_five_seconds") else { return };
    for (name, faults) in [
        ("lost", DnsFaults { drop_first: 4, ..DnsFaults::default() }),
        ("AAAA", DnsFaults { silent_aaaa: true, ..DnsFaults::default() }),
        ("cut", DnsFaults { truncate: true, ..DnsFaults::default() }),
    ] {
        lab.dns.set_faults(faults);
        let run = lab.go_run(&GoOptions { few: true, go_sum: true, ..GoOptions::default() }).unwrap();
        let (output, took) = with_cache(&lab, &run, &["go", "mod", "download"]);
        succeeded(&output);
        assert!(took < Duration::from_millis(4900), "{name}: {took:?}");
    }
}

#[test]
fn a_server_that_loses_half_of_all_fails_no_download() {
    let Some((lab, _)) = ready("a_server_that_loses_half_of_all_fails_no_download") else { return };
    lab.dns.set_faults(DnsFaults { lose_percent: 50, ..DnsFaults::default() });
    for _ in 0..5 {
        let run = lab.go_run(&GoOptions { few: true, go_sum: true, ..GoOptions::default() }).unwrap();
        succeeded(&with_cache(&lab, &run, &["go", "mod", "download"]).0);
    }
}

#[test]
fn names_of_gos_settings_are_asked_for_once_and_beforehand_and_no_others() {
    let Some((lab, run)) = ready("names_of_gos_settings_are_asked_for_once_and_beforehand_and_no_others")
    else {
        return;
    };
    succeeded(&with_cache(&lab, &run, &["go", "mod", "download"]).0);
    let mut asked: Vec<(String, String)> =
        lab.dns.take_log().into_iter().map(|query| (query.name, query.qtype)).collect();
    asked.sort();
    let expected = [(PROXY_HOST, "A"), (PROXY_HOST, "AAAA"), (SUMDB, "A"), (SUMDB, "AAAA")];
    assert_eq!(asked, expected.map(|(name, qtype)| (name.to_owned(), qtype.to_owned())));
}

#[test]
fn a_server_that_stays_says_where_and_ends_with_what_it_did() {
    let Some((lab, run)) = ready("a_server_that_stays_says_where_and_ends_with_what_it_did") else { return };
    let mut command = run.goobserve().unwrap();
    command.args(["serve", "dns", "--listen", "127.0.0.1:0", "--name", "git.test"]);
    let mut child = lab.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on 127.0.0.1:"), "{line}");
    tests::wait::until("names to be asked for", || {
        lab.dns
            .log()
            .iter()
            .any(|query| query.name == "git.test" && query.answered_ns.is_some())
            .then_some(())
    });
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("queries"), "{text}");
    for listen in ["0.0.0.0:0", "[::]:53"] {
        let output = lab.goobserve(&run, &["serve", "dns", "--listen", listen]).unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
