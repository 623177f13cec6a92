//! The program goobserve: where the wall time of `go mod download` goes, from the kernel's point of
//! view. In: a command line. Out: what its [`commands`] write, and an exit status.
//!
//! # Two processes
//!
//! The agent keeps root: it loads and attaches, opens files, starts and waits for the command. It
//! parses nothing that comes from an observed process. The worker is the same program started again
//! as nobody, without capabilities, with `no_new_privs`, not dumpable: it has the ring, two
//! read-only maps, and does all parsing and writing. Between them is a socket pair with one JSON
//! message a datagram and descriptors beside it (`seam.rs`). Files are opened for the worker by a third one, the
//! opener, which is the invoking user (`opener/mod.rs`).
//!
//! - Neither waits for the other: what the socket has no room for waits in the sender until it is writable
//!   (`seam/socket.rs`). Requests that can be left out are, when much waits, and are counted.
//! - The end is bounded (`agent/ending.rs`): a worker that does not answer `Ended` is killed, at the
//!   next signal at once. A worker whose agent hangs ends by itself when the dashboard is left.
//! - The worker says `Hardened` first; before that it is reported nothing.
//! - When its output files are open it locks itself in (`worker/sandbox.rs`, seccomp and Landlock): only the system
//!   calls it needs, no file, socket, process, namespace or executable memory. Tests try the others.
//! - It may ask about followed processes only (with `--all-go`: have the caller's own looked at), and
//!   have only files probed that the agent opened, once,
//!   at offsets inside the file. It parses the ELF file; the agent never does.
//! - Paths that a user may have chosen are opened with that user's file rights, and only when a regular
//!   file is there (`run/regular.rs`). The search for go binaries, which walks through file systems that
//!   may hang, is a process of its own (`agent/finder.rs`) that is given up after a second.
//! - Output files are opened by the opener and always new: 0600, without a name (`O_TMPFILE`) until they are
//!   whole, never through a symbolic link or over another user's file; a recording has its name from the
//!   start and grows by whole lines. Pipes are opened without waiting for a reader.
//! - When the worker dies, the agent detaches and goes on waiting for the command. When the agent
//!   dies, the kernel detaches; the worker writes what it has and ends.
//!
//! `run`: fork and hold the child on a pipe → start the worker (it parses what is found meanwhile: the
//! program, and every go that `watch` would find) → load and attach → the child's pid into the maps →
//! the worker is `Ready` → release. The child is in the caller's process group, so the terminal's keys
//! reach it as without goobserve.
//!
//! `run --tui`: the command prints into a memory file instead of on the terminal (nobody has to read it
//! for the command to go on), reads nothing from the terminal, and Ctrl-C reaches it as ever; what it
//! printed appears below the timeline and whole when the dashboard is left. The worker draws; should it
//! be killed, the agent gives the terminal back.
//!
//! `watch`: a `go` that execs outside every tree begins one, in the kernel, at once; the worker then
//! looks whether it is the go command and has it forgotten if not.
//!
//! Binaries are found beforehand (`agent/discover.rs`, in a process of its own that is given up when a file
//! system does not answer, `agent/finder.rs`), or when they run: an exec wakes the worker, which
//! asks for the program before the record's turn has come. The agent opens a program for as long as the
//! worker looks at it and keeps what it was in a table (`agent/table.rs`): number, size and times, for a
//! number may become another file's. It lets go of what was written to (the probes would hit other
//! instructions), deleted, or unmounted. A link of uprobes holds the path that it was made by, so that path
//! is one that nobody wants back (`agent/place.rs`): through a copy of the mount that is nowhere mounted, and
//! of an overlay's file what lies below, where the kernel puts probes anyway, so that the same file below two
//! overlays is probed once. Attaching takes 7 to 14 ms of which all but 0.2 ms is the kernel's own wait (the
//! first uprobe takes the write side of a per-CPU lock, which waits for an RCU grace period).
//!
//! `--hold-exec`, and `run` for the tree of its command, add a third process, the holder (`agent/holder.rs`):
//! it alone has the fanotify group, and answers. What may be a go command and was never asked about waits
//! until the agent says that it is attached to, 20 ms at most (with `run` 250 ms, and processes outside of
//! the tree not at all: the holder looks them up in the kernel side's map); for everything else the kernel is
//! reported not to ask again until the file is written to. It lives in a session of its own, and a timer of the
//! kernel kills it, stopped or not, when it has not looked for 100 ms; the agent starts it again, five times
//! at most. File systems are marked as a whole, those of other mount namespaces within a second; those over a
//! network or FUSE are left out.
//!
//! What runs already (`agent/running.rs`): when all that was found is probed, the agent reports the worker
//! of each process of a tree, enters the process into the maps, then its threads, then looks once more:
//! what begins meanwhile the kernel side reports, what ends is found gone. Threads are entered by a BPF
//! program that is attached to nothing and run by a system call, for only there counters change
//! atomically. Sockets come from the kernel's diagnostics, asked in the process's own network namespace
//! (`agent/sockdiag.rs`). Their cookies go into a map: the kernel side takes a socket for its own at
//! the next event that has that cookie. While such a socket is open the worker has the agent ask again
//! twice a second, for only the kernel knows how long it has been silent; `model::preexisting` says what
//! that means. `--all-go`: the kernel side reports the exec of a program of the caller's that nobody has
//! looked at; the worker judges it, the agent enters the verdict by inode, and follows the process.

#[cfg(target_os = "linux")]
pub mod agent;
#[cfg(target_os = "linux")]
pub mod check;
pub mod cli;
pub mod commands;
#[cfg(target_os = "linux")]
pub mod experiment;
pub mod goenv;
#[cfg(target_os = "linux")]
pub mod kernel;
#[cfg(target_os = "linux")]
pub mod opener;
#[cfg(target_os = "linux")]
pub mod run;
pub mod say;
#[cfg(target_os = "linux")]
mod seam;
#[cfg(target_os = "linux")]
mod unique;
#[cfg(target_os = "linux")]
mod verbose;
#[cfg(target_os = "linux")]
pub mod worker;
