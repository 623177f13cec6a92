//! A recording in, its events out. Bounded, tolerant of added fields and unknown event types; a
//! last line that was cut off is dropped.

use std::io::{self, BufRead, Read as _};

use model::event::{Body, Event, Session};
use model::redact;
use model::time::SinceStart;
use serde::Deserialize;
use thiserror::Error;

use super::record::{EARLIER, SCHEMA};

/// Longest line that is read, its end included, bytes.
pub const LINE_MAX: usize = 1 << 20;

/// Why a recording cannot be read.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Reading failed
    #[error("line {line} cannot be read: {cause}")]
    Io {
        /// The line, from 1
        line: u64,
        /// What the system said
        #[source]
        cause: io::Error,
    },
    /// Empty, or cut off within its first line
    #[error("the recording ends before its first line does: nothing was recorded")]
    Empty,
    /// Something else
    #[error("this is no recording of goobserve: its first line is not a session line")]
    Foreign,
    /// Of another version
    #[error(
        "the recording has the schema {found:?}, this goobserve reads {SCHEMA}, {}: use a matching version",
        EARLIER.join(", ")
    )]
    Schema {
        /// What its first line says
        found: String,
    },
    /// A line that is longer than [`LINE_MAX`]
    #[error("line {line} is longer than {LINE_MAX} bytes: the recording is damaged")]
    TooLong {
        /// The line, from 1
        line: u64,
    },
    /// A whole line that is no event
    #[error("line {line} is broken: {cause}")]
    Broken {
        /// The line, from 1
        line: u64,
        /// What is wrong with it
        #[source]
        cause: serde_json::Error,
    },
}

/// Reads a recording: an iterator over its events, the session first. It ends after an error. What
/// a recording of an earlier version holds of credentials is left out.
#[derive(Debug)]
pub struct Replay<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
    session: Option<Session>,
    /// No credentials were recorded
    redacted: bool,
    skipped: u64,
    cut: bool,
    done: bool,
}

#[derive(Deserialize)]
struct Probe {
    #[serde(rename = "type")]
    kind: Option<String>,
    schema: Option<String>,
}

impl<R: BufRead> Replay<R> {
    /// Reads the session line and refuses what is no recording of this version.
    pub fn new(input: R) -> Result<Self, ReplayError> {
        let mut replay = Self {
            input,
            line: 0,
            buffer: Vec::new(),
            session: None,
            redacted: false,
            skipped: 0,
            cut: false,
            done: false,
        };
        let Some(whole) = replay.read()? else { return Err(ReplayError::Empty) };
        let probe: Probe = match serde_json::from_slice(&replay.buffer) {
            Ok(probe) => probe,
            Err(error) if error.is_eof() && !whole => return Err(ReplayError::Empty),
            Err(_) => return Err(ReplayError::Foreign),
        };
        match (probe.kind.as_deref(), probe.schema) {
            (Some("session"), Some(schema)) if schema == SCHEMA || EARLIER.contains(&&*schema) => {}
            (Some("session"), Some(found)) => return Err(ReplayError::Schema { found }),
            _ => return Err(ReplayError::Foreign),
        }
        let event =
            Event::parse(&replay.buffer).map_err(|cause| ReplayError::Broken { line: replay.line, cause })?;
        if let Some(Event { body: Body::Session(session), .. }) = event {
            replay.redacted = session.redacted;
            replay.session = Some(session);
        }
        Ok(replay)
    }

    /// Events of an unknown type that were passed over so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The last line was cut off and was dropped; known at the end.
    pub fn cut(&self) -> bool {
        self.cut
    }

    /// Reads a line into the buffer: `Some(true)` with its end, `Some(false)` without (it is the
    /// last), `None` after the last.
    fn read(&mut self) -> Result<Option<bool>, ReplayError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let mut limited = self.input.by_ref().take(LINE_MAX as u64 + 1);
        let read =
            limited.read_until(b'\n', &mut self.buffer).map_err(|cause| ReplayError::Io { line, cause })?;
        if read > LINE_MAX {
            return Err(ReplayError::TooLong { line });
        }
        let whole = self.buffer.last() == Some(&b'\n');
        Ok((read > 0).then_some(whole))
    }

    fn event(&mut self) -> Result<Option<Event>, ReplayError> {
        if let Some(session) = self.session.take() {
            return Ok(Some(Event { at_ns: SinceStart::ZERO, body: Body::Session(session) }));
        }
        loop {
            let Some(whole) = self.read()? else { return Ok(None) };
            match Event::parse(&self.buffer) {
                Ok(None) => self.skipped += 1,
                Ok(event) => return Ok(event),
                Err(_) if !whole => {
                    self.cut = true;
                    return Ok(None);
                }
                Err(cause) => return Err(ReplayError::Broken { line: self.line, cause }),
            }
        }
    }
}

impl<R: BufRead> Iterator for Replay<R> {
    type Item = Result<Event, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.event().transpose();
        let shown = |event| if self.redacted { event } else { redact::event(event) };
        let next = next.map(|event| event.map(shown));
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = concat!(
        r#"{"at_ns":0,"type":"session","schema":"goobserve.recording/1","tool":"t","started_unix_ns":1,"#,
        r#""machine":{"kernel":"k","arch":"a","cpus":2,"resolver":"#,
        r#"{"servers":[],"search":[],"timeout_s":5,"attempts":2}}}"#
    );
    const END: &str = r#"{"at_ns":9,"type":"end","duration_ns":9}"#;

    /// Events read, the error that ended it, lines skipped, whether the last line was cut.
    fn read(lines: &[&str]) -> (usize, Option<String>, u64, bool) {
        read_bytes(lines.join("\n").as_bytes())
    }

    fn read_bytes(bytes: &[u8]) -> (usize, Option<String>, u64, bool) {
        let mut replay = match Replay::new(bytes) {
            Ok(replay) => replay,
            Err(error) => return (0, Some(error.to_string()), 0, false),
        };
        let (mut events, mut error) = (0, None);
        for item in &mut replay {
            match item {
                Ok(_) => events += 1,
                Err(e) => error = Some(e.to_string()),
            }
        }
        (events, error, replay.skipped(), replay.cut())
    }

    #[test]
    fn unknown_types_are_passed_over_and_counted() {
        let weather = r#"{"at_ns":3,"type":"weather","command":1}"#;
        assert_eq!(read(&[SESSION, weather, END, ""]), (2, None, 1, false));
    }

    #[test]
    fn added_fields_are_ignored() {
        let end = r#"{"at_ns":9,"type":"end","duration_ns":9,"mood":"good"}"#;
        assert_eq!(read(&[SESSION, end, ""]), (2, None, 0, false));
    }

    #[test]
    fn a_last_line_without_its_end_is_kept_when_it_is_whole_and_dropped_when_cut() {
        assert_eq!(read(&[SESSION, END]), (2, None, 0, false));
        assert_eq!(read(&[SESSION, &END[..20]]), (1, None, 0, true));
        assert_eq!(read(&[SESSION, "\0\0\0\0"]), (1, None, 0, true));
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        let (events, error, ..) = read(&[SESSION, END, &END[..20], END, ""]);
        assert_eq!(events, 2);
        assert!(error.unwrap().starts_with("line 3 is broken: "));
        let (_, error, ..) = read(&[SESSION, r#"{"at_ns":9,"type":"end"}"#, ""]);
        assert!(error.unwrap().starts_with("line 2 is broken: "));
    }

    #[test]
    fn what_is_no_recording_of_this_version_is_refused() {
        let newer = SESSION.replace("recording/1", "recording/4");
        let (_, error, ..) = read(&[&newer, END]);
        let error = error.unwrap();
        assert!(error.contains("goobserve.recording/4") && error.contains(SCHEMA), "{error}");
        for other in ["{}\n", "PNG\n", "[1]\n", END, "\n", "\u{1}\u{2}"] {
            let (_, error, ..) = read(&[other]);
            assert!(error.unwrap().contains("no recording of goobserve"), "{other:?}");
        }
    }

    #[test]
    fn nothing_or_half_a_first_line_says_that_nothing_was_recorded() {
        for cut in [0, 1, 20, SESSION.len() - 1] {
            let (_, error, ..) = read(&[&SESSION[..cut]]);
            assert!(error.unwrap().contains("nothing was recorded"), "{cut}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_read_into_memory() {
        let mut bytes = format!("{SESSION}\n").into_bytes();
        bytes.resize(bytes.len() + 3 * LINE_MAX, b'x');
        let (events, error, ..) = read_bytes(&bytes);
        assert_eq!(events, 1);
        assert!(error.unwrap().starts_with("line 2 is longer than 1048576 bytes"));
    }
}
