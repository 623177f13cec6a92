//! Whether a command got past something that failed: to the next proxy, to compiling, to the same thing
//! from elsewhere. In: what failed and when. Out: yes or no.

use std::collections::HashMap;

use model::id::Pid;
use model::operations::is_go;
use model::record::{Process, Request, RequestOutcome};
use model::time::SinceStart;

use crate::case::Case;
use crate::hosts::{authority, bare, is_database};

/// go's own tools that build; they are started once all that they need is there.
pub(crate) const BUILDERS: [&str; 6] = ["compile", "link", "asm", "cgo", "vet", "cover"];

/// A compiler, linker or the like out of go's folder of tools, at work.
pub(crate) fn builds(process: &Process) -> bool {
    let tool = process.args.first().is_some_and(|program| program.contains("/pkg/tool/"));
    let asks = process.args.iter().any(|argument| argument.starts_with("-V"));
    tool && !asks && BUILDERS.contains(&process.comm.as_str())
}

/// After that moment packages were compiled: what go builds from was there.
pub(crate) fn went_on(case: &Case<'_>, at: SinceStart) -> bool {
    case.command.processes.values().any(|process| process.start_ns > at && builds(process))
}

/// A later entry of GOPROXY answered well after that moment, in the place of `host`.
pub(crate) fn fell_back(case: &Case<'_>, host: &str, since: SinceStart) -> bool {
    let list = case.record.go.goproxy.as_deref().unwrap_or_default();
    let hosts: Vec<&str> = list.split([',', '|']).map(|url| bare(authority(url.trim()))).collect();
    let Some(at) = hosts.iter().position(|one| *one == bare(host)) else { return false };
    let later = &hosts[at + 1..];
    let answers = |request: &Request| {
        request.start_ns >= since
            && is_well(request)
            && request.authority.as_deref().is_some_and(|authority| later.contains(&bare(authority)))
    };
    !is_database(case, host) && case.requests().any(answers)
}

/// A whole answer that is neither an error nor a way elsewhere.
pub(crate) fn is_well(request: &Request) -> bool {
    request.outcome == RequestOutcome::Ok && request.status.is_none_or(|status| status < 300)
}

/// By pid, when a process began, and whether what it asks for is the go command's own.
pub(crate) struct Owners(HashMap<Pid, Vec<(SinceStart, bool)>>);

impl Owners {
    /// Of a command's processes.
    pub(crate) fn new(case: &Case<'_>) -> Self {
        let mut owners: HashMap<Pid, Vec<(SinceStart, bool)>> = HashMap::new();
        for process in case.command.processes.values() {
            let own = process.pid == case.record.pid || is_go(&process.comm);
            owners.entry(process.pid).or_default().push((process.start_ns, own));
        }
        owners.values_mut().for_each(|lives| lives.sort_unstable_by_key(|(start, _)| *start));
        Self(owners)
    }

    /// A go command's own, or that of the program that is observed: not a test's, a compiler's or git's.
    pub(crate) fn is_own(&self, pid: Pid, at: SinceStart) -> bool {
        let Some(lives) = self.0.get(&pid) else { return true };
        let after = lives.partition_point(|(start, _)| *start <= at);
        after.checked_sub(1).is_none_or(|last| lives[last].1)
    }
}
