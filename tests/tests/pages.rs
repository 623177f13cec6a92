//! Reports for people and other tools, made by the program: the page in a browser, and each form
//! of a command that was observed in the lab.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

use serde_json::{Value, json};
use tests::browser::{browse, complaints};
use tests::go_env::GoOptions;
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::site::Site;
use tests::{paths, skip};

const RECORDING: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../observer/crates/render/tests/data/download.jsonl");

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn report(recording: &str, format: &str) -> String {
    let output = Command::new(binary().unwrap()).args(["report", recording, "--format", format]).output();
    stdout(&output.unwrap())
}

#[test]
fn a_browser_shows_the_page_without_a_complaint_on_a_telephone_and_on_a_screen() {
    let test = "a_browser_shows_the_page_without_a_complaint_on_a_telephone_and_on_a_screen";
    if !skip::has(test, "chromium", "chromium") {
        return;
    }
    let folder = paths::temp("page").unwrap();
    let folder = folder.path();
    fs::write(folder.join("page.html"), report(RECORDING, "html")).unwrap();

    let url = |file: &str| format!("file://{}/{file}", folder.display());
    let shown = browse(folder, &url("page.html"), &["--dump-dom"]);
    assert_eq!(complaints(&shown), [""; 0]);
    let dom = stdout(&shown);
    assert!(dom.starts_with("<!DOCTYPE html>") && dom.trim_end().ends_with("</html>"), "{dom}");
    assert!(dom.contains("77 % of 6.53 s went to waiting for name servers"), "{dom}");

    // How wide it gets in frames of those widths; reported by a page around it, for it has no script.
    let around = "<!DOCTYPE html><title>-</title><body><iframe width=400 height=900></iframe><iframe width=1400 \
        height=900></iframe><script>let wide = []; document.querySelectorAll('iframe').forEach(frame => { \
        frame.onload = () => { let page = frame.contentDocument; wide.push(frame.width + ':' + \
        page.documentElement.scrollWidth + ':' + page.querySelectorAll('svg.draw').length); \
        document.title = wide.sort().join(' ') }; frame.src = 'page.html' })</script>";
    fs::write(folder.join("around.html"), around).unwrap();
    let shown = browse(folder, &url("around.html"), &["--dump-dom", "--virtual-time-budget=10000"]);
    assert_eq!(complaints(&shown), [""; 0]);
    let dom = stdout(&shown);
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap();
    let mut seen = 0;
    for frame in title.split(' ') {
        let [width, content, drawings] =
            frame.split(':').map(|n| n.parse::<u32>().unwrap()).collect::<Vec<_>>()[..]
        else {
            panic!("{title}")
        };
        assert!(content <= width, "{content} pixels of {width} are taken");
        assert_eq!(drawings, 4, "two bars and two waterfalls");
        seen += 1;
    }
    assert_eq!(seen, 2, "{title}");
}

/// What a script that uses the page as a reader does reports of it. With `GOOBSERVE_KEEP=FOLDER` pictures of the
/// page are kept there, for people.
#[test]
fn a_reader_sorts_searches_zooms_and_everybody_can_use_it() {
    let test = "a_reader_sorts_searches_zooms_and_everybody_can_use_it";
    if !skip::has(test, "chromium", "chromium") {
        return;
    }
    let page = report(RECORDING, "html");
    // axe is a script, and the page's policy lets none run but its own.
    let policy = page.find("<meta http-equiv").unwrap();
    let end = policy + page[policy..].find('>').unwrap();
    let judged = format!("{}<script src=\"/axe.min.js\"></script>{}", &page[..policy], &page[end + 1..]);
    let around = include_str!("../src/page.html").to_owned();
    let pages = HashMap::from([("/", around), ("/page.html", page.clone()), ("/judged.html", judged)]);
    let site = Site::start(&paths::tools(), pages).unwrap();
    let folder = paths::temp("reader").unwrap();
    let picture = format!("--screenshot={}", folder.path().join("around.png").display());
    let shown = browse(folder.path(), &site.url("/"), &[&picture, "--window-size=1400,1000"]);
    assert_eq!(complaints(&shown), [""; 0]);
    let reported = site.reported().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&shown.stderr)));
    let reported: Value = serde_json::from_str(&reported).unwrap();
    for (name, width) in [("screen", 1280), ("telephone", 390)] {
        let seen = &reported[name];
        assert!(seen["width"].as_u64().unwrap() <= width, "{reported:#}");
        assert_eq!(seen["longest"], "5.00 s", "{reported:#}");
        assert_eq!(seen["found"], json!([["zip", "golang.org/x/net@v0.40.0"]]), "{reported:#}");
        let details = seen["details"].as_str().unwrap();
        for words in
            ["GET proxy.test/golang.org/x/net/@v/v0.40.0.zip", "200", "until the first byte", "1.90 MB"]
        {
            assert!(details.contains(words), "{words}: {details}");
        }
        assert_eq!((&seen["zoomed"], &seen["closed"]), (&json!(true), &json!(true)), "{reported:#}");
        assert_eq!(seen["hidden"][1], 0, "{reported:#}");
    }
    if let Ok(keep) = env::var("GOOBSERVE_KEEP") {
        fs::write(folder.path().join("page.html"), &page).unwrap();
        let url = format!("file://{}/page.html", folder.path().display());
        for size in ["1280,2400", "390,2400"] {
            let picture = format!("--screenshot={keep}/page-{}.png", size.replace(',', "x"));
            browse(folder.path(), &url, &[&picture, &format!("--window-size={size}"), "--hide-scrollbars"]);
        }
    }
    if !paths::tools().join("axe.min.js").exists() {
        return skip::skipped(test, "needs axe-core, which `cargo xtask setup` could not get");
    }
    let judged = reported["axe"].as_object().unwrap();
    assert_eq!(judged.len(), 2, "{reported:#}");
    assert!(judged.values().all(|violations| *violations == json!([])), "{:#}", reported["axe"]);
}

/// What Perfetto's own UI says of a trace. With `GOOBSERVE_KEEP=FOLDER` its picture is kept there.
fn in_perfetto(test: &str, trace: &str) -> Option<Value> {
    if !skip::has(test, "chromium", "chromium") {
        return None;
    }
    let ui = paths::tools().join("perfetto-ui");
    if !ui.exists() {
        skip::skipped(test, "needs Perfetto's UI, which `cargo xtask setup` could not get");
        return None;
    }
    let page = include_str!("../src/perfetto.html").to_owned();
    let site = Site::start(&ui, HashMap::from([("/", page), ("/trace.json", trace.to_owned())])).unwrap();
    let folder = paths::temp("perfetto").unwrap();
    let picture = format!("--screenshot={}", folder.path().join("picture.png").display());
    let shown = browse(folder.path(), &site.url("/"), &[&picture, "--window-size=1400,900"]);
    let reported = site.reported().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&shown.stderr)));
    if let Ok(keep) = env::var("GOOBSERVE_KEEP") {
        fs::copy(folder.path().join("picture.png"), Path::new(&keep).join(format!("{test}.png"))).unwrap();
    }
    Some(serde_json::from_str(&reported).unwrap())
}

#[test]
fn perfetto_opens_a_trace_and_finds_nothing_wrong() {
    let test = "perfetto_opens_a_trace_and_finds_nothing_wrong";
    let of_scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/data/recordings/h2-goaway.jsonl");
    for (recording, track) in
        [(RECORDING, "connection 1 streams (3)"), (of_scenario, "connection 2 proxy.test h2")]
    {
        let trace = report(recording, "perfetto");
        let Some(reported) = in_perfetto(test, &trace) else { return };
        assert_eq!(reported["errors"], json!([]), "{reported:#}");
        assert_eq!(reported["dialogs"], json!([]), "{reported:#}");

        let trace: Value = serde_json::from_str(&trace).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let of = |ph: &'static str| events.iter().filter(move |event| event["ph"] == ph);
        // An instant has no length.
        let drawn = || of("X").chain(of("i"));
        let ends = drawn().map(|event| event["ts"].as_f64().unwrap() + event["dur"].as_f64().unwrap_or(0.0));
        let first = drawn().map(|event| event["ts"].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
        let length = ((ends.fold(0.0, f64::max) - first) * 1e3).round();
        // A request's parts are one below it.
        assert_eq!(reported["slices"], json!([[drawn().count(), 1, length as u64]]), "{reported:#}");
        let processes = of("M").filter(|event| event["name"] == "process_name").count();
        assert_eq!(reported["processes"].as_array().unwrap().len(), processes, "{reported:#}");
        let has = |list: &str, row: Value| reported[list].as_array().unwrap().contains(&row);
        assert!(has("tracks", json!([track])), "{reported:#}");

        let stalls = of("X").filter(|event| event["cat"] == "stall");
        let mut count = 0;
        for stall in stalls {
            count += 1;
            assert!(has("stalls", json!([stall["name"], stall["args"]["summary"]])), "{stall}: {reported:#}");
        }
        assert!(count > 0, "a stall");
        assert_eq!(reported["stalls"].as_array().unwrap().len(), count, "{reported:#}");
    }
}

#[test]
fn an_observed_command_is_reported_in_every_form() {
    let test = "an_observed_command_is_reported_in_every_form";
    let Some(lab) = Lab::for_test(test) else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let (json, recording) = (run.file("report.json"), run.file("recording.jsonl"));
    let (json, recording) = (json.to_str().unwrap(), recording.to_str().unwrap());
    let args = ["run", "--report", "markdown", "--json", json, "--record", recording, "--", "go", "mod"];
    let observed = lab.goobserve(&run, &[&args[..], &["download"]].concat()).unwrap();
    let reported = String::from_utf8_lossy(&observed.stderr);
    assert!(observed.status.success() && reported.contains("### `go mod download`: "), "{reported}");
    assert!(reported.ends_with(&report(recording, "markdown")), "a recording's report equals the live one");

    let live: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let requests = live["requests"].as_array().unwrap().len();
    assert!(requests > 100, "{requests}");
    let page = report(recording, "html");
    assert!(page.contains(&format!("Slowest of {requests} requests")));
    let trace: Value = serde_json::from_str(&report(recording, "perfetto")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let reported = events.iter().filter(|event| !event["args"]["stream"].is_null()).count();
    assert_eq!(reported, requests);
}
