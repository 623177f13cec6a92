//! The program: joins the command line to what does the work.

use std::path::Path;
use std::process::exit;

use observer::cli::options::{Refusal, ReportOptions, WatchOptions};
use observer::cli::services::Services;

fn main() {
    exit(observer::cli::dispatch::main(std::env::args_os(), &Program))
}

/// What this program can do.
struct Program;

// AGENT: every body below is to be joined to the agent, the target reader and the views.
impl Services for Program {
    fn tracepoints(&self) -> (&[&str], &[&str]) {
        (
            &[
                "sched:sched_process_fork",
                "sched:sched_process_exec",
                "sched:sched_process_exit",
                "sched:sched_switch",
                "sched:sched_wakeup",
                "sched:sched_wakeup_new",
                "syscalls:sys_enter_connect",
                "sock:inet_sock_set_state",
            ],
            &["tcp:tcp_retransmit_skb", "tcp:tcp_probe", "filelock:flock_lock_inode"],
        )
    }

    fn plan(&self, _binary: &Path) -> Result<String, String> {
        Err("this build cannot read Go binaries".into())
    }

    #[cfg(target_os = "linux")]
    fn attach(&self) -> &dyn observer::run::Attach {
        &NoAgent
    }

    fn watch(&self, _options: &WatchOptions) -> Result<(), Refusal> {
        Err(no_agent())
    }

    fn report(&self, options: &ReportOptions) -> Result<(), Refusal> {
        let what = format!("{}: this build has no reports", options.file.display());
        Err(Refusal::new(what, "use a complete build"))
    }
}

/// AGENT: `agent::attach` takes its place.
#[cfg(target_os = "linux")]
struct NoAgent;

#[cfg(target_os = "linux")]
impl observer::run::Attach for NoAgent {
    fn attach(
        &self,
        _options: &observer::cli::options::RunOptions,
        _target: &observer::run::Target<'_>,
    ) -> Result<Box<dyn observer::run::Observation>, Refusal> {
        Err(no_agent())
    }
}

fn no_agent() -> Refusal {
    Refusal::new("this build has no agent", "use a complete build")
}
