//! Processes, as they began.

use model::human::{duration, duration_or_unknown};
use model::record::{Phase, Process};
use model::roles;
use model::time::SinceStart;
use model::words;
use ratatui::style::Style;

use super::Subject;
use crate::kinds;
use crate::tui::table::{Column, Key, Source, number, text};
use crate::tui::view::Target;

const COLUMNS: [Column; 9] = [
    number("start s", 8, 72),
    number("pid", 8, 50),
    number("parent", 8, 100),
    text("name", 15, 0),
    number("took", 11, 0),
    number("cpu", 9, 46),
    number("exit", 5, 72),
    text("command", 0, 0),
    text("when", 0, 120),
];

/// A command's processes; a row's number is its place among them.
pub(super) struct Processes<'a> {
    subject: Subject<'a>,
    all: Vec<&'a Process>,
}

impl<'a> Processes<'a> {
    /// All of them.
    pub(super) fn new(subject: Subject<'a>) -> Self {
        Self { subject, all: subject.command.processes.values().collect() }
    }

    fn get(&self, row: u64) -> Option<&Process> {
        self.all.get(row as usize).copied()
    }
}

impl Source for Processes<'_> {
    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn usual(&self) -> (usize, bool) {
        // Of a build what cost most, else in the order of their begin.
        if self.all.iter().any(|process| kinds::tool(process) == Some("compile")) {
            (5, true)
        } else {
            (0, false)
        }
    }

    fn rows(&self) -> Vec<u64> {
        (0..self.all.len() as u64).collect()
    }

    fn key(&self, row: u64, column: usize) -> Key {
        let Some(process) = self.get(row) else { return Key::Unknown };
        match column {
            1 => Key::Number(u64::from(process.pid)),
            2 => Key::Number(u64::from(process.ppid)),
            3 => process.comm.as_str().into(),
            4 => Key::Number(self.subject.took(process.start_ns, process.end_ns)),
            5 => process.cpu_ns.into(),
            6 => process.exit_code.map(|code| u64::from(code.unsigned_abs())).into(),
            7 => Key::Text(words::argv(&process.args)),
            _ => Key::Number(process.start_ns.0),
        }
    }

    fn haystack(&self, row: u64) -> String {
        self.get(row).map_or_else(String::new, |process| {
            let status = process.exit_code.map_or_else(String::new, |code| code.to_string());
            format!("{} {} {} status:{status}", process.pid, process.comm, words::argv(&process.args))
        })
    }

    fn end(&self, row: u64) -> Option<SinceStart> {
        self.get(row).and_then(|process| process.end_ns)
    }

    fn target(&self, row: u64) -> Option<Target> {
        self.get(row).map(|process| Target::Process(process.start_ns, process.pid))
    }

    fn took(&self) -> usize {
        4
    }

    fn cells(&self, row: u64, widths: &[u16]) -> Vec<(String, Style)> {
        let Some(process) = self.get(row) else { return Vec::new() };
        let (theme, plain) = (self.subject.theme, Style::new());
        let failed = process.exit_code.is_some_and(|code| code != 0);
        let exit = match (process.exit_code, process.end_ns) {
            (Some(code), _) => code.to_string(),
            (None, Some(_)) => "?".to_owned(),
            (None, None) => "runs".to_owned(),
        };
        vec![
            (self.subject.moment(process.start_ns), theme.dim()),
            (process.pid.to_string(), plain),
            (process.ppid.to_string(), theme.dim()),
            (process.comm.clone(), plain),
            (duration(self.subject.took(process.start_ns, process.end_ns)), plain),
            (duration_or_unknown(process.cpu_ns), plain),
            (exit, if failed { theme.bad() } else { plain }),
            (roles::package(process).map_or_else(|| words::argv(&process.args), str::to_owned), plain),
            (
                self.subject.strip(widths[8], process.start_ns, None, process.end_ns, Phase::Local),
                theme.phase(Phase::Local),
            ),
        ]
    }

    fn detail(&self, row: u64) -> String {
        self.get(row).map_or_else(String::new, |process| {
            format!("pid {}, child of {}: {}", process.pid, process.ppid, words::argv(&process.args))
        })
    }

    fn none(&self) -> &'static str {
        "no process was seen"
    }
}
