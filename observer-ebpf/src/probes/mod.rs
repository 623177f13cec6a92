//! One file a subject: scheduling, sockets, the way to their peers, their bytes, locks (raw tracepoints), and Go's crypto/tls (uprobes).

pub mod go_tls;
mod io;
mod lock;
mod sched;
mod sock;
mod way;
