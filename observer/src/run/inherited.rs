//! The signal dispositions and the signal mask that goobserve was started with, which the
//! command is to have as well. In: nothing. Out: two bit sets.
//!
//! Rust's runtime ignores SIGPIPE before `main`, and then nobody can report any more what it was;
//! so this is looked at before the runtime starts.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc;

/// The highest signal number on Linux.
pub const LAST_SIGNAL: i32 = 64;

static IGNORED: AtomicU64 = AtomicU64::new(0);
static BLOCKED: AtomicU64 = AtomicU64::new(0);

/// What a process was started with. Bit N-1 is signal N.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signals {
    /// Signals that are ignored
    pub ignored: u64,
    /// Signals that are blocked
    pub blocked: u64,
}

impl Signals {
    /// What this program was started with.
    pub fn at_start() -> Self {
        // Keeps the function below in the program, and checks that it did run.
        std::hint::black_box(&AT_START);
        Self { ignored: IGNORED.load(Ordering::Relaxed), blocked: BLOCKED.load(Ordering::Relaxed) }
    }

    /// Whether a signal was ignored at the start, as `nohup` does with SIGHUP.
    pub const fn ignores(self, signal: i32) -> bool {
        has(self.ignored, signal)
    }

    /// Whether a signal was blocked at the start.
    pub const fn blocks(self, signal: i32) -> bool {
        has(self.blocked, signal)
    }
}

const fn has(set: u64, signal: i32) -> bool {
    signal >= 1 && signal <= LAST_SIGNAL && set & (1 << (signal - 1)) != 0
}

extern "C" fn read_inherited() {
    let (mut ignored, mut blocked) = (0u64, 0u64);
    #[expect(unsafe_code, reason = "sigaction and sigprocmask have no safe form that only asks")]
    // SAFETY: both calls only write into the structs they are given, which live on this stack
    // and are valid all-zero; nothing here needs a started runtime.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
        for signal in 1..=LAST_SIGNAL {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
            {
                ignored |= 1 << (signal - 1);
            }
            if libc::sigismember(&raw const mask, signal) == 1 {
                blocked |= 1 << (signal - 1);
            }
        }
    }
    IGNORED.store(ignored, Ordering::Relaxed);
    BLOCKED.store(blocked, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "a link section is the only way to run before the runtime")]
// SAFETY: .init_array holds pointers to functions without arguments that do not unwind; `look`
// is one (the arguments glibc passes are ignored).
#[unsafe(link_section = ".init_array")]
#[used]
static AT_START: extern "C" fn() = read_inherited;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_seen_before_the_runtime_changes_it() {
        // The kernel's word for the same process: SIGPIPE is ignored by now, by Rust.
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let now = u64::from_str_radix(line.trim(), 16).unwrap();
        let pipe = 1 << (libc::SIGPIPE - 1);
        assert_ne!(now & pipe, 0);
        // libc keeps the first real-time signals to itself, and does not report about them.
        let own = 0b111 << 31;
        assert_eq!((Signals::at_start().ignored | pipe) & !own, (now | pipe) & !own);
    }

    #[test]
    fn numbers_that_are_no_signals_are_in_no_set() {
        let all = Signals { ignored: u64::MAX, blocked: u64::MAX };
        assert!(all.ignores(1) && all.ignores(64) && all.blocks(64));
        assert!(!all.ignores(0) && !all.ignores(65) && !all.ignores(-1) && !all.blocks(i32::MAX));
    }
}
