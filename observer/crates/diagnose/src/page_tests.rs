//! `docs/stalls.md` beside what detectors report. The tests of the detectors are run once more, in a
//! process of their own, and write down every stall: what they never report may not be on the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use model::event::{Body, Event, StallState, StallUpdate};
use model::evidence::Evidence;
use model::id::{CommandId, StallId};
use model::redact;
use model::remedy::Remedy;
use model::report::Stall;
use model::stall::StallKind;
use model::time::SinceStart;

/// Names the file that stalls are written to.
const SEEN: &str = "GOOBSERVE_TEST_STALLS";
/// Two lines of the dashboard at 80 columns.
const ADVICE: usize = 146;
/// Words in place of values of a run.
const PLACES: [&str; 4] = ["ADDRESS", "MODULES", "NAME", "REST"];

/// What every stall that a test finds has; writes them down when somebody wants to know.
pub(crate) fn seen(stalls: &[Stall]) {
    for stall in stalls {
        let length = stall.advice.len();
        assert!((1..=ADVICE).contains(&length), "{}: {length} bytes of advice", stall.kind);
        let text = serde_json::to_string(stall).unwrap();
        let read: Stall = serde_json::from_str(&text).unwrap();
        assert_eq!(read.evidence, stall.evidence, "read back from {text}");
        assert!(
            !read.evidence.iter().any(|fact| matches!(fact, Evidence::Words { .. })),
            "only words in {text}"
        );
        let update =
            StallUpdate { command: CommandId(1), id: StallId(1), state: StallState::Over, stall: read };
        let shown = redact::event(Event { at_ns: SinceStart(0), body: Body::Stall(update) });
        let Body::Stall(shown) = shown.body else { panic!("{shown:?}") };
        assert_eq!(shown.stall.evidence, stall.evidence, "hidden, and no credential");
    }
    let Some(file) = std::env::var_os(SEEN) else { return };
    let lines = stalls.iter().map(|stall| serde_json::to_string(stall).unwrap() + "\n");
    let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(lines.collect::<String>().as_bytes()).unwrap();
}

/// A kind's section: what stands in its first line.
#[derive(Default)]
struct Section {
    phases: BTreeSet<String>,
    remedies: BTreeSet<String>,
}

fn page() -> BTreeMap<String, Section> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/stalls.md");
    let text = fs::read_to_string(file).unwrap();
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    for part in text.split("\n## ").skip(1) {
        let (kind, rest) = part.split_once('\n').unwrap();
        let line = rest.trim_start().lines().next().unwrap();
        let (phases, remedies) = line.split_once(". Remedies: ").unwrap_or_else(|| panic!("{kind}: {line}"));
        assert!(phases.starts_with("Phase `"), "{kind}: {line}");
        let ticked = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let section = Section { phases: ticked(phases), remedies: ticked(remedies) };
        for of in ["You see", "It means", "Check", "Do"] {
            assert!(rest.contains(&format!("\n- **{of}** ")), "{kind} lacks {of:?}");
        }
        assert_eq!(section.remedies.is_empty(), remedies == "none.", "{kind}: {line}");
        let command = rest.lines().any(|line| line.starts_with("sudo "));
        assert_eq!(section.remedies.is_empty(), !command, "{kind}: a remedy, a command");
        assert!(sections.insert(kind.to_owned(), section).is_none(), "{kind} is there twice");
    }
    sections
}

/// Whether a remedy as it was reported is the one on the page.
fn is_remedy(reported: &str, written: &str) -> bool {
    let prefix = PLACES.iter().find_map(|place| written.strip_suffix(place));
    prefix.map_or(reported == written, |prefix| reported.len() > prefix.len() && reported.starts_with(prefix))
}

/// All that the detectors' own tests make them report.
fn reported() -> Vec<Stall> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut tests = Command::new(std::env::current_exe().unwrap());
    let output = tests
        .args(["tests::", "--skip=page_tests", "--test-threads=2"])
        .env(SEEN, file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = fs::read_to_string(file.path()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_page_says_of_each_kind_what_the_detectors_do() {
    let (page, reported) = (page(), reported());
    let of =
        |kind: &str| reported.iter().filter(move |stall| stall.kind.as_str() == kind).collect::<Vec<_>>();
    let kinds: BTreeSet<&str> = reported.iter().map(|stall| stall.kind.as_str()).collect();
    assert_eq!(kinds, page.keys().map(String::as_str).collect(), "kinds reported and kinds on the page");
    assert_eq!(
        kinds,
        StallKind::ALL.iter().map(|kind| kind.name()).collect(),
        "kinds reported and kinds there are"
    );
    let mut wrong = Vec::new();
    for (kind, section) in page {
        let phase = |stall: &&Stall| serde_json::to_value(stall.phase).unwrap().as_str().unwrap().to_owned();
        let phases: BTreeSet<String> = of(&kind).iter().map(phase).collect();
        let known = StallKind::named(&kind).map(StallKind::phases).unwrap_or_default();
        let known: BTreeSet<String> = known.iter().map(|phase| phase.name().to_owned()).collect();
        if phases != section.phases || phases != known {
            wrong.push(format!("{kind} is reported in {phases:?}, and said to be in {known:?}"));
        }
        let offered: BTreeSet<&str> = of(&kind)
            .into_iter()
            .flat_map(|stall| stall.remedies.iter().flat_map(|remedy| remedy.name.split(" + ")))
            .collect();
        for written in &section.remedies {
            if !offered.iter().any(|reported| is_remedy(reported, written)) {
                wrong.push(format!("{kind} never offers {written}"));
            }
        }
        for reported in offered {
            if !section.remedies.iter().any(|written| is_remedy(reported, written)) {
                wrong.push(format!("{kind} offers {reported}, too"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Words of a command line, as a shell takes it apart.
fn words(line: &str) -> Vec<String> {
    let output = Command::new("sh").args(["-c", &format!("printf '%s\\0' {line}")]).output().unwrap();
    let words = output.stdout.strip_suffix(b"\0").unwrap_or_else(|| panic!("{line}: {output:?}"));
    words.split(|byte| *byte == 0).map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
}

/// `goobserve compare --with REMEDY … -- CMD`, or `run --with deadline`; that the command line takes such a line, and those on
/// the page, is tested beside it.
#[test]
fn each_command_that_is_proposed_compares_with_remedies_that_there_are() {
    let lines: BTreeSet<String> =
        reported().into_iter().flat_map(|stall| stall.remedies).map(|remedy| remedy.attempt).collect();
    assert!(lines.len() > 20, "{lines:?}");
    for line in lines {
        let line = line.split_once(" && ").map_or(&*line, |(_cd, line)| line);
        let words = words(line.strip_prefix("sudo ").unwrap_or(line));
        let (options, command) = words.split_at(words.iter().position(|word| word == "--").unwrap());
        let verb = if options.last().is_some_and(|remedy| remedy == "deadline") { "run" } else { "compare" };
        assert!(options.starts_with(&["goobserve".into(), verb.into()]) && command.len() > 1, "{line}");
        for option in options[2..].chunks(2) {
            let [with, remedy] = option else { panic!("{line}") };
            assert!(with == "--with" && remedy.parse::<Remedy>().is_ok(), "{line}");
        }
    }
}
