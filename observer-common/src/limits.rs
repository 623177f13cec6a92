//! Sizes that both sides rely on.

/// Ring buffer, bytes. A cold download of 221 modules makes about 5 MB of events in all, so this
/// holds a whole one while the worker is not scheduled. (The reader's memory has it twice.)
pub const RING_BYTES: u32 = 8 << 20;
/// The worker is woken early when this much is waiting, bytes; else it looks on its own clock.
pub const RING_WAKE_BYTES: u64 = 1 << 20;
/// Longest variable part of one event, bytes. A power of two: the verifier needs a mask.
pub const DATA_MAX: usize = 4096;
/// Longest argument block kept of an exec, bytes.
pub const ARGS_MAX: usize = 1024;
/// Longest environment that is copied when a go command begins, bytes; a longer one is read later, if the
/// command lasts.
pub const ENVIRON_MAX: usize = 8 * DATA_MAX;
/// Bytes of a TCP connection kept from each direction for the hellos.
pub const HELLO_MAX: u32 = 4096;
/// Calls looked at in each direction before a hello is given up.
pub const HELLO_CALLS_MAX: u8 = 8;
/// Frames walked in one Read or Write; Go reads one TLS record (16 KB, 9-byte frames) at a time.
pub const FRAMES_MAX: u32 = 2048;
/// Longest payload of one HTTP/2 frame that is copied; a longer one is cut and flagged.
/// Twice the default `SETTINGS_MAX_FRAME_SIZE` header block of go's client is far below it.
pub const FRAME_COPY_MAX: u32 = 16384;
/// Idle and busy intervals shorter than this are not distinguished, nanoseconds.
pub const IDLE_MIN_NS: u64 = 50_000;
/// TCP information of one socket is sent at most this often, nanoseconds.
pub const TCP_INFO_EVERY_NS: u64 = 20_000_000;
/// Threads followed at the same time.
pub const THREADS_MAX: u32 = 16_384;
/// Processes followed at the same time.
pub const PROCESSES_MAX: u32 = 4_096;
/// Sockets followed at the same time.
pub const SOCKETS_MAX: u32 = 4_096;
/// HTTP/2 streams followed at the same time.
pub const STREAMS_MAX: u32 = 8_192;
