//! README's pictures, rendered from recordings: frames of the dashboard and a waterfall.
//!
//! `cargo xtask pictures` writes `docs/pictures` anew; the test says whether it shows what the code
//! renders today.

#[path = "pictures/frame.rs"]
mod frame;

use std::path::Path;

use diagnose::report::report;
use model::id::CommandId;
use model::time::SinceStart;
use pipeline::replay::Replay;
use render::html::draw;
use render::tui::replay::Recording;
use render::tui::{self, View};
use render::waterfall::waterfall;

/// A recording up to a moment.
struct Scene {
    recording: &'static str,
    until: SinceStart,
}

const DNS_TIMEOUT: Scene =
    Scene { recording: include_str!("data/download.jsonl"), until: SinceStart(3_400_000_000) };
const WHOLE: Scene = Scene { recording: include_str!("data/download.jsonl"), until: SinceStart::MAX };

impl Scene {
    fn recording(&self) -> Recording {
        let events = Replay::new(self.recording.as_bytes()).unwrap();
        Recording::new(events.collect::<Result<_, _>>().unwrap())
    }

    /// The dashboard of command 1, as a replay shows it at that moment.
    fn dashboard(&self) -> String {
        let mut recording = self.recording();
        let (now, asleep) = (Some(self.until), recording.asleep(self.until));
        let view = View { command: Some(CommandId(1)), now, asleep, ..View::default() };
        frame::svg(&tui::frame(recording.at(self.until), &view, 100, 24), "goobserve")
    }

    fn waterfall(&self) -> String {
        let mut recording = self.recording();
        let state = recording.at(self.until);
        let report = report(state);
        let command = &report.commands[0];
        let of = waterfall(state.command(command.id).unwrap(), state.until(), 2_000);
        draw::file(&of, &command.stalls, "goobserve report --format html: what happened when", 900)
    }
}

#[test]
fn pictures_show_what_the_code_renders() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/pictures");
    let pictures = [("dashboard.svg", DNS_TIMEOUT.dashboard()), ("waterfall.svg", WHOLE.waterfall())];
    for (name, svg) in pictures {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_PICTURES").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &svg).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == svg, "{name} is not what the code renders: run `cargo xtask pictures`, and look");
    }
}
