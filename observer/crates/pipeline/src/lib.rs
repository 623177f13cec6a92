//! What was seen, as events. In: records of the kernel side ([`decode`] reads their bytes, [`correlate`]
//! joins them to spans), or a recording ([`replay`]). Out: [`model::Event`]s, the same either way, which
//! [`record`] writes down. Pure; untrusted bytes are read with limits.
//! ```
//! use model::event::Body;
//! use model::time::SinceStart;
//! use pipeline::replay::Replay;
//!
//! let recording = concat!(
//!     r#"{"at_ns":0,"type":"session","schema":"goobserve.recording/1","tool":"goobserve","#,
//!     r#""started_unix_ns":1,"machine":{"kernel":"6.18.0","arch":"x86_64","cpus":2,"#,
//!     r#""resolver":{"servers":[],"search":[],"timeout_s":5,"attempts":2}}}"#, "\n",
//!     r#"{"at_ns":9,"type":"end","duration_ns":9}"#, "\n",
//! );
//! let events = Replay::new(recording.as_bytes())?.collect::<Result<Vec<_>, _>>()?;
//! assert!(matches!(events[..], [.., model::Event { at_ns: SinceStart(9), body: Body::End(_) }]));
//! # Ok::<(), pipeline::replay::ReplayError>(())
//! ```

pub mod correlate;
pub mod decode;
pub mod record;
pub mod replay;
