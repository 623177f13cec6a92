//! Events in, a recording out: JSON Lines, the session first. A failing disk ends the recording,
//! never the observation.

use std::io::{self, Write};

use model::event::{Body, Event, Session};
use model::json;
use model::time::SinceStart;
use thiserror::Error;

/// A recording's schema.
pub const SCHEMA: &str = "goobserve.recording/3";

/// Earlier ones that are read as well.
pub const EARLIER: [&str; 2] = ["goobserve.recording/2", "goobserve.recording/1"];

/// Bytes gathered before they are written without being asked to.
const BATCH: usize = 64 << 10;

/// Why the recording stopped.
#[derive(Debug, Error)]
#[error("recording to {target} stopped after {lines} whole lines: {cause}")]
pub struct RecordError {
    /// What was written to, as the user named it
    pub target: String,
    /// Lines that were written whole
    pub lines: u64,
    /// What the system said
    #[source]
    pub cause: io::Error,
}

/// Writes a recording. Call [`Recorder::flush`] every 100 ms and at the end.
#[derive(Debug)]
pub struct Recorder<W> {
    out: W,
    target: String,
    pending: Vec<u8>,
    pending_lines: u64,
    lines: u64,
    failure: Option<io::Error>,
    stopped: bool,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording with its session line. `target` is the name for error messages.
    pub fn new(out: W, target: impl Into<String>, session: &Session) -> Self {
        let mut recorder = Self {
            out,
            target: target.into(),
            pending: Vec::new(),
            pending_lines: 0,
            lines: 0,
            failure: None,
            stopped: false,
        };
        recorder.line(&Event { at_ns: SinceStart::ZERO, body: Body::Session(session.clone()) });
        recorder
    }

    /// Takes an event; it is on its way after the next [`Recorder::flush`] at the latest. The
    /// session was written already and is passed over.
    pub fn write(&mut self, event: &Event) {
        if !matches!(event.body, Body::Session(_)) {
            self.line(event);
        }
    }

    /// Writes what was gathered. The first failure, and only that, is returned, once; nothing
    /// is written any more after it.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.drain();
        if !self.stopped
            && let Err(error) = self.out.flush()
        {
            self.fail(error);
        }
        match self.failure.take() {
            None => Ok(()),
            Some(cause) => Err(RecordError { target: self.target.clone(), lines: self.lines, cause }),
        }
    }

    /// True once a failure has ended the recording.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// What it writes to.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn line(&mut self, event: &Event) {
        if self.stopped {
            return;
        }
        match json::append(&mut self.pending, event) {
            Ok(()) => {
                self.pending.push(b'\n');
                self.pending_lines += 1;
            }
            Err(error) => self.fail(error.into()),
        }
        if self.pending.len() >= BATCH {
            self.drain();
        }
    }

    fn drain(&mut self) {
        if self.stopped || self.pending.is_empty() {
            return;
        }
        match self.out.write_all(&self.pending) {
            Ok(()) => self.lines += self.pending_lines,
            Err(error) => self.fail(error),
        }
        self.pending.clear();
        self.pending_lines = 0;
    }

    fn fail(&mut self, error: io::Error) {
        self.stopped = true;
        self.pending = Vec::new();
        self.failure.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests {
    use model::event::End;
    use model::record::Machine;

    use super::*;

    fn session() -> Session {
        let (schema, tool) = (SCHEMA.into(), "goobserve 0.1.0".into());
        Session {
            recording_id: None,
            schema,
            tool,
            started_unix_ns: 5,
            machine: Machine::default(),
            remedies: Vec::new(),
            redacted: false,
        }
    }

    fn end() -> Event {
        Event { at_ns: SinceStart(9), body: Body::End(End { duration_ns: 9 }) }
    }

    /// A disk with room for `0` bytes more.
    struct Disk(usize, Vec<u8>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.0 - self.1.len());
            if n == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_session_is_the_first_line_and_is_written_once() {
        let mut recorder = Recorder::new(Vec::new(), "x", &session());
        recorder.write(&Event { at_ns: SinceStart(0), body: Body::Session(session()) });
        recorder.write(&end());
        recorder.flush().unwrap();
        let text = String::from_utf8(recorder.into_inner()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with(r#"{"at_ns":0,"type":"session","schema":"goobserve.recording/3""#));
        assert_eq!(lines[1], r#"{"at_ns":9,"type":"end","duration_ns":9}"#);
    }

    #[test]
    fn nothing_is_written_before_a_batch_is_due() {
        let mut recorder = Recorder::new(Disk(1 << 20, Vec::new()), "x", &session());
        recorder.write(&end());
        assert_eq!(recorder.out.1, [] as [u8; 0]);
        for _ in 0..BATCH {
            recorder.write(&end());
        }
        assert!(recorder.out.1.len() >= BATCH && recorder.pending.len() < BATCH);
    }

    #[test]
    fn a_full_disk_is_reported_once_and_ends_the_recording() {
        let mut recorder = Recorder::new(Disk(300, Vec::new()), "rec.jsonl", &session());
        recorder.flush().unwrap();
        for _ in 0..10 {
            recorder.write(&end());
        }
        let error = recorder.flush().unwrap_err();
        assert!(error.to_string().starts_with("recording to rec.jsonl stopped after 1 whole lines: "));
        recorder.write(&end());
        recorder.flush().unwrap();
        assert!(recorder.stopped() && recorder.out.1.len() <= 300);
    }
}
