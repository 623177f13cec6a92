//! Output files of a worker that may open none. In: descriptors, from the opener or from the caller. Out: bytes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use model::user_error::UserError;

use crate::opener::output::{Stream, failed, whole};
use crate::opener::{Opener, Out, Reply, Request, done};

/// Where the bytes of an output go.
pub(super) enum Written {
    /// A pipe, a device
    Stream(Stream),
    /// A regular file
    File(File),
    /// One that is made when it is written
    Later,
}

impl Written {
    /// What a FILE argument leads to; `passed`: the descriptor that it means.
    fn open(out: Out, path: &Path, passed: Option<OwnedFd>, opener: &Opener) -> Result<Self, UserError> {
        if let Some(passed) = passed {
            return Ok(Self::Stream(Stream::new(passed.into())));
        }
        match opener.ask(&Request::Open(out, path.as_os_str().as_bytes().to_vec()), None) {
            (Reply::Stream, Some(descriptor)) => Ok(Self::Stream(Stream::new(descriptor.into()))),
            (Reply::File, Some(descriptor)) => Ok(Self::File(descriptor.into())),
            (Reply::Later, _) => Ok(Self::Later),
            (reply, _) => {
                done(reply)?;
                Err(failed(path, &io::ErrorKind::Other.into()))
            }
        }
    }
}

/// A file that is there when it is finished, whole.
pub(super) struct AtomicOutput {
    path: PathBuf,
    to: Written,
}

impl AtomicOutput {
    /// Before anything is done.
    pub(super) fn open(path: &Path, passed: Option<OwnedFd>, opener: &Opener) -> Result<Self, UserError> {
        Ok(Self { path: path.to_path_buf(), to: Written::open(Out::Json, path, passed, opener)? })
    }

    /// Writes all of it and has it named. A reader of a stream that has gone is no failure.
    pub(super) fn finish(self, bytes: &[u8], opener: &Opener) -> Result<(), UserError> {
        let cannot = |error: io::Error| failed(&self.path, &error);
        let mut file = match self.to {
            Written::Stream(mut stream) => return whole(&mut stream, bytes).map_err(cannot),
            Written::File(file) => file,
            Written::Later => match opener.ask(&Request::Make, None) {
                (Reply::File, Some(descriptor)) => descriptor.into(),
                (reply, _) => return done(reply),
            },
        };
        file.write_all(bytes).map_err(cannot)?;
        opener.done(&Request::Name)
    }
}

/// A file that grows while it is written: a recording.
pub(super) struct Growing {
    out: Box<dyn Write>,
}

impl Growing {
    /// Opens it, empty.
    pub(super) fn open(path: &Path, passed: Option<OwnedFd>, opener: &Opener) -> Result<Self, UserError> {
        let out: Box<dyn Write> = match Written::open(Out::Record, path, passed, opener)? {
            Written::Stream(stream) => Box::new(stream),
            Written::File(file) => Box::new(file),
            Written::Later => return Err(failed(path, &io::ErrorKind::Unsupported.into())),
        };
        Ok(Self { out })
    }
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
