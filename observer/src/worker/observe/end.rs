//! The end of an observation: what is still to be reported, files, and the report.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use anyhow::Result;
use diagnose::report::report_of;
use model::blocked::blocked;
use model::event::{Body, End, Event};
use model::id::CommandId;
use model::operations::is_go;
use model::record::Process;
use model::redact;
use model::state::CommandState;
use model::time::SinceStart;
use render::{json, markdown, page, text};

use super::{Binaries, Observer};
use crate::cli::options::RunReport;
use crate::opener::Request;
use crate::say;
use crate::seam::Seam;

impl Observer {
    /// The agent was killed: the recording is kept as far as it came.
    pub(crate) fn cut_off(mut self) -> Result<()> {
        self.settle();
        self.flush();
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.summary(&self.state);
        }
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
        anyhow::bail!("the observation was cut off; the command goes on")
    }

    /// CMD could not be started: no trace is left.
    pub(crate) fn abandon(self) {
        if self.recorder.is_some() {
            self.opener.ask(&Request::Abandon, None);
        }
    }

    /// Everything seen by now is reported, and what was found of it, as the report will have it; the time.
    fn settle(&mut self) -> SinceStart {
        self.correlator.settle(self.settled(), &mut self.events);
        let at_ns = self.now();
        let loss = self.loss();
        self.events.push(Event { at_ns, body: Body::Loss(loss) });
        self.take();
        let reported = self.announcements.diagnose(&self.state, at_ns, &BTreeMap::new(), |_| None);
        self.events.extend(reported.into_iter().map(|body| Event { at_ns, body }));
        self.take();
        at_ns
    }

    /// The observation is over: files and report.
    /// `status`: CMD's, as `waitpid` gives it.
    pub(crate) fn finish(mut self, binaries: &Binaries, status: Option<i32>, seam: &Seam) -> Result<()> {
        if let Some((pid, status)) = self.task.child.zip(status.map(ExitStatus::from_raw)) {
            // Its record may have been lost.
            self.correlator.ended(pid, (status.code(), status.signal()), &mut self.events);
            self.take();
        }
        let at_ns = self.settle();
        let all: Vec<_> = self.state.commands().map(|(id, _)| id).collect();
        self.blocked(&all);
        self.events.push(Event { at_ns, body: Body::End(End { duration_ns: at_ns - SinceStart::ZERO }) });
        self.take();
        self.flush();
        let lost = self.export.take().map_or(0, |export| export.into_inner().finish());
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
        let unsent = || {
            if lost > 0 {
                say::line(&format!("{lost} lines did not reach the exporter: it did not read"));
            }
        };
        if self.task.child.is_none() {
            if let Some(dashboard) = &mut self.dashboard {
                dashboard.summary(&self.state);
            }
            unsent();
            return Ok(());
        }
        let mut report = report_of(&self.state, |id| self.announcements.seen(id));
        // What cannot be written is said behind the report, which may be all there is.
        let mut written = Ok(());
        if let Some(file) = self.json.take() {
            let mut bytes = json::json(&report)?.into_bytes();
            bytes.push(b'\n');
            written = file.finish(&bytes, &self.opener);
        }
        if let Ok(here) = std::env::current_dir() {
            diagnose::from_here(&mut report, &here);
        }
        let output = &self.task.output;
        let reported = match output.report {
            RunReport::None => String::new(),
            RunReport::Markdown => markdown::markdown(&report),
            RunReport::Text => {
                text::text(&report, page::Options { width: usize::from(output.columns), color: output.color })
            }
        };
        // Whoever watched reads it where it is, until it is left; then its first screen stays.
        let mut read = false;
        if let Some(dashboard) = &mut self.dashboard {
            if self.task.output.report == RunReport::Text {
                let plain =
                    text::text(&report, page::Options { width: usize::from(output.columns), color: false });
                read = dashboard.read(&self.state, at_ns, &plain, seam);
            }
            dashboard.summary(&self.state);
        }
        unsent();
        let first = read.then(|| first_screen(&reported, usize::from(output.rows))).flatten();
        say::put(first.as_deref().unwrap_or(&reported)); // to a terminal that has gone it does not matter

        if !self.task.output.quiet {
            self.not_probed(binaries);
        }
        Ok(written?)
    }

    /// What each of these commands waited for, of those that have ended: nothing more comes of them.
    pub(super) fn blocked(&mut self, commands: &[CommandId]) {
        if self.recorder.is_none() && self.stream.is_none() && self.export.is_none() {
            return;
        }
        let at_ns = self.now();
        for id in commands {
            let blocked = self.state.command(*id).filter(|_| self.accounted.insert(*id)).map(blocked);
            let events = blocked.into_iter().flatten().map(|one| Event { at_ns, body: Body::Blocked(one) });
            self.events.extend(events);
        }
        self.take();
    }

    /// Says why requests are missing, when a program could not be probed.
    fn not_probed(&self, binaries: &Binaries) {
        let mut others = 0;
        for (binary, one) in binaries.not_probed().zip(0..) {
            let reason = binary.refused.as_deref().unwrap_or_default();
            let path = redact::file(&binary.path);
            log::info!("{path} is not probed: {reason}");
            if one == 0 {
                say::line(&format!("{path}: not probed: {reason}"));
            }
            others = one;
        }
        if others > 0 {
            let programs = model::human::count(others, "more program");
            say::line(&format!("{programs} not probed either; -v lists them, each with its reason"));
        }
        // A short one has gone before it can be looked at, and one of which records were lost is not known.
        let may_be_go = |command: &CommandState| {
            let is_go = |process: &Process| is_go(&process.comm);
            command.record.as_ref().is_some_and(|record| record.go.version.is_some())
                || command.processes.values().any(is_go)
                || !command.gaps.is_empty()
        };
        // The others were found beforehand, and need not have run.
        let cmd_is_go = binaries.first().is_some_and(|binary| !binary.foreign);
        let go = cmd_is_go || self.state.commands().any(|(_, command)| may_be_go(command));
        let foreign = self.task.argv.first().filter(|_| !go);
        if let Some(name) = foreign {
            say::line(&format!(
                "{name} is not a Go program, and none was seen below it: DNS, TCP and TLS hellos are shown, \
                 requests inside TLS cannot be"
            ));
        }
    }
}

/// As much of a report as fits on a screen, and how the rest is had; `None` where all of it fits.
fn first_screen(report: &str, rows: usize) -> Option<String> {
    // What asks for the next command takes lines, too.
    let most = rows.saturating_sub(3).max(10);
    let lines: Vec<&str> = report.lines().collect();
    let left = lines.len().checked_sub(most).filter(|left| *left > 0)?;
    let shown = lines[..most].join("\n");
    Some(format!("{shown}\n… {left} more lines: --record FILE keeps them for `goobserve report FILE`\n"))
}

#[cfg(test)]
mod tests {
    use super::first_screen;

    #[test]
    fn the_first_screen_says_how_much_is_left_and_a_short_report_is_whole() {
        let long = "line\n".repeat(50);
        let shown = first_screen(&long, 24).unwrap();
        assert_eq!(shown.lines().count(), 22);
        assert!(shown.contains("… 29 more lines: --record FILE"), "{shown}");
        assert_eq!(first_screen(&"line\n".repeat(20), 24), None);
    }
}
