//! The wire between goobserve's BPF programs and user space: events, map values and limits.
//!
//! Everything is `repr(C)`, made of integers with explicit padding, so that both sides agree on
//! every byte and no byte of kernel stack leaves by accident. User space reads the events with
//! `zerocopy`; enums on the wire are plain integers and are validated by the reader.
#![no_std]

mod event;
pub mod http2;
mod limits;
mod maps;

pub use event::*;
pub use limits::*;
pub use maps::*;
