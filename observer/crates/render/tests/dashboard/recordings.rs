//! The recordings that are kept, each as a replay shows it at a moment.

use std::path::Path;

use diagnose::report::report;
use model::State;
use model::report::{Report, Severity, Stall};
use model::time::SinceStart;
use pipeline::replay::Replay;
use ratatui::buffer::Buffer;
use render::tui::replay::Recording;
use render::tui::{View, frame};

/// One of them.
pub(crate) struct Recorded {
    pub name: String,
    recording: Recording,
}

/// All, by name.
pub(crate) fn all() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/data/recordings");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<Recorded> = files.map(|file| Recorded::open(&file)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

impl Recorded {
    fn open(file: &Path) -> Self {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let events = Replay::new(std::io::BufReader::new(std::fs::File::open(file).unwrap())).unwrap();
        Self { name, recording: Recording::new(events.collect::<Result<_, _>>().unwrap()) }
    }

    /// Its end.
    pub(crate) fn end(&self) -> SinceStart {
        self.recording.end()
    }

    /// What was known at a moment.
    pub(crate) fn state(&mut self, at: SinceStart) -> &State {
        self.recording.at(at)
    }

    /// When its first command began.
    pub(crate) fn began(&mut self) -> SinceStart {
        self.report().commands[0].start_ns
    }

    /// What `goobserve report` says of it.
    pub(crate) fn report(&mut self) -> Report {
        report(self.recording.at(self.end()))
    }

    /// What cost something, the worst first.
    pub(crate) fn stalls(&mut self) -> Vec<Stall> {
        let commands = self.report().commands.into_iter();
        let mut stalls: Vec<_> = commands
            .flat_map(|command| command.stalls)
            .filter(|stall| stall.severity != Severity::Info)
            .collect();
        stalls.sort_by_key(|stall| std::cmp::Reverse((stall.severity, stall.fatal, stall.cost_ns)));
        stalls
    }

    /// The frame of a replay at that moment.
    pub(crate) fn frame(&mut self, at: SinceStart, view: &View, (width, height): (u16, u16)) -> Buffer {
        let view = View { now: Some(at), asleep: self.recording.asleep(at), ..view.clone() };
        frame(self.recording.at(at), &view, width, height)
    }
}
