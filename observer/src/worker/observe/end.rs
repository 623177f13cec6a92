//! The end of an observation: what is still to be told, files, and the report.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::Result;

use super::{Binaries, Observer};
use crate::cli::options::RunReport;
use crate::model::event::{Body, End, Event};
use crate::model::record::Ns;
use crate::model::report::report;
use crate::view::{json, markdown, page, text};

impl Observer {
    /// The agent was killed: the recording is kept as far as it came.
    pub fn cut_off(mut self) -> Result<()> {
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
    pub fn abandon(self) {
        if let Some(path) = &self.task.output.record {
            let _ = std::fs::remove_file(path); // it was empty
        }
    }

    /// Everything seen by now is told, and what was found of it, as the report will have it; the time.
    fn settle(&mut self) -> Ns {
        self.correlator.flush(self.settled(), &mut self.events);
        let at_ns = self.now();
        let loss = self.correlator.loss(self.kernel_lost);
        self.events.push(Event { at_ns, body: Body::Loss(loss) });
        self.take();
        let told = self.announcements.look(&self.state, at_ns, &BTreeMap::new());
        self.events.extend(told.into_iter().map(|body| Event { at_ns, body }));
        self.take();
        at_ns
    }

    /// The observation is over: files and report.
    pub fn finish(mut self, binaries: &Binaries) -> Result<()> {
        let at_ns = self.settle();
        self.events.push(Event { at_ns, body: Body::End(End { duration_ns: at_ns }) });
        self.take();
        self.flush();
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.summary(&self.state);
        }
        if self.task.child.is_none() {
            return Ok(());
        }
        let mut report = report(&self.state);
        if let Some(file) = self.json.take() {
            let mut bytes = json::json(&report)?.into_bytes();
            bytes.push(b'\n');
            file.finish(&bytes)?;
        }
        if let Ok(here) = std::env::current_dir() {
            crate::diagnose::from_here(&mut report, &here);
        }
        let output = &self.task.output;
        let told = match output.report {
            RunReport::None => String::new(),
            RunReport::Markdown => markdown::markdown(&report),
            RunReport::Text => {
                text::text(&report, page::Options { width: usize::from(output.columns), color: output.color })
            }
        };
        std::io::stderr().write_all(told.as_bytes())?;
        if !self.task.output.quiet {
            self.refusals(binaries);
        }
        Ok(())
    }

    /// Says why requests are missing, when a program could not be probed.
    fn refusals(&self, binaries: &Binaries) {
        for binary in binaries.refusals() {
            let reason = binary.refused.as_deref().unwrap_or_default();
            eprintln!("goobserve: {}: not probed: {reason}", binary.path);
        }
        let go = self
            .state
            .commands()
            .any(|(_, command)| command.record.as_ref().is_some_and(|record| record.go.version.is_some()));
        let no_go = !go && binaries.first().is_none_or(|binary| binary.foreign);
        let foreign = self.task.argv.first().filter(|_| no_go);
        if let Some(name) = foreign {
            eprintln!(
                "goobserve: {name} is not a Go program and started none: DNS, TCP and TLS hellos are shown, \
                 requests inside TLS cannot be"
            );
        }
    }
}
