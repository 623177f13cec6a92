//! A command's processes in; the longest of them, and what its tools were at work on, by package, out: the
//! packages that took longest, and which ran back to back until the last of them had ended.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use model::id::Pid;
use model::operations::is_go;
use model::record::Process;
use model::report::{Command, Report};
use model::time::{Ns, SinceStart};

use super::kinds::{self, folders};

/// Between the end of one and the start of the next that waited for it, at most.
const BACK_TO_BACK_NS: Ns = 50_000_000;
/// Steps of the chain, at most.
const STEPS: usize = 64;

/// Work on a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Work<'a> {
    /// The package; of what links or runs it, the program
    pub package: &'a str,
    /// `compile`, `vet`, `link`, `test`
    pub what: &'static str,
    /// From its first process to the end of its last
    pub start_ns: SinceStart,
    /// Likewise
    pub end_ns: SinceStart,
    /// CPU time of all of them
    pub cpu_ns: Ns,
}

impl Work<'_> {
    /// How long it took.
    pub(crate) fn took_ns(&self) -> Ns {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// How long a process took; of one whose end was not seen, until its command's.
pub(crate) fn took(process: &Process, command: &Command) -> Ns {
    let over = command.start_ns.saturating_add(command.wall_ns);
    process.end_ns.unwrap_or(over).saturating_sub(process.start_ns)
}

/// A command's processes other than go, the longest first.
pub(crate) fn longest<'r>(report: &'r Report, command: &Command) -> Vec<&'r Process> {
    let of = report.processes.iter().filter(|process| process.command == command.id);
    let mut others: Vec<&Process> = of.filter(|process| !is_go(&process.comm)).collect();
    others.sort_by_key(|process| (Reverse(took(process, command)), process.start_ns, process.pid));
    others
}

/// The go commands that a command ran which is none itself (a script, a container engine), in order; those
/// that another one ran are its own affair.
pub(crate) fn gos<'r>(report: &'r Report, command: &Command) -> Vec<&'r Process> {
    let program = command.argv.first().map_or("", |path| path.rsplit('/').next().unwrap_or(path));
    if is_go(program) {
        return Vec::new();
    }
    let of = report.processes.iter().filter(|process| process.command == command.id);
    // Before its exec it is called as whoever starts it.
    let mut gos: Vec<&Process> = of.filter(|process| is_go(&process.comm)).collect();
    let pids: HashSet<Pid> = gos.iter().map(|process| process.pid).collect();
    gos.retain(|process| !pids.contains(&process.ppid));
    gos.sort_by_key(|process| (process.start_ns, process.pid));
    gos
}

/// What go's tools worked on, the longest first; nothing where nothing was compiled.
pub(crate) fn packages<'r>(report: &'r Report, command: &Command) -> Vec<Work<'r>> {
    let of = || report.processes.iter().filter(|process| process.command == command.id);
    let folders = folders(of());
    let mut work: BTreeMap<(&str, &'static str), Work<'r>> = BTreeMap::new();
    for process in of() {
        let Some((package, what)) = about(process, &folders) else { continue };
        let end_ns = process.start_ns + took(process, command);
        let one = work.entry((package, what)).or_insert(Work {
            package,
            what,
            start_ns: process.start_ns,
            end_ns,
            cpu_ns: 0,
        });
        one.start_ns = one.start_ns.min(process.start_ns);
        one.end_ns = one.end_ns.max(end_ns);
        one.cpu_ns += process.cpu_ns.unwrap_or(0);
    }
    let mut work: Vec<Work<'_>> = work.into_values().collect();
    if work.iter().all(|work| work.what != "compile") {
        work.clear();
    }
    work.sort_by_key(|work| (Reverse(work.took_ns()), work.package, work.what));
    work
}

/// What ran back to back until the last of it had ended, in order: each began when the one before ended.
pub(crate) fn chain<'a, 'w>(work: &'w [Work<'a>]) -> Vec<&'w Work<'a>> {
    let mut chain: Vec<&Work<'_>> = Vec::new();
    let mut next = work.iter().max_by_key(|work| work.end_ns);
    while let Some(one) = next.filter(|_| chain.len() < STEPS) {
        chain.push(one);
        let before = work.iter().filter(|other| {
            other.end_ns <= one.start_ns
                && one.start_ns - other.end_ns <= BACK_TO_BACK_NS
                && other.start_ns < one.start_ns
        });
        next = before.max_by_key(|other| (other.end_ns, other.took_ns()));
    }
    chain.reverse();
    chain
}

fn about<'r>(process: &'r Process, folders: &HashMap<&str, &'r str>) -> Option<(&'r str, &'static str)> {
    let what = match kinds::tool(process)? {
        "asm" | "cgo" => "compile",
        tool => tool,
    };
    Some((kinds::about(process, folders)?, what))
}

#[cfg(test)]
mod tests {
    use model::id::{CommandId, Pid};

    use super::*;

    fn process(pid: u32, comm: &str, args: &[&str], (start, end): (Ns, Ns)) -> Process {
        Process {
            command: CommandId(1),
            pid: Pid(pid),
            comm: comm.into(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            start_ns: SinceStart(start),
            end_ns: Some(SinceStart(end)),
            cpu_ns: Some(1),
            ..Process::default()
        }
    }

    fn report() -> (Report, Command) {
        let s = 1_000_000_000;
        let processes = vec![
            process(1, "go", &["go", "build"], (0, 9 * s)),
            process(2, "compile", &["compile", "-V=full"], (0, s)),
            process(3, "compile", &["compile", "-o", "/tmp/go-build1/b002/_pkg_.a", "-p", "a"], (0, 2 * s)),
            process(4, "asm", &["asm", "-p", "a"], (2 * s, 3 * s)),
            process(
                5,
                "compile",
                &["compile", "-o", "/tmp/go-build1/b001/_pkg_.a", "-p", "main"],
                (3 * s, 4 * s),
            ),
            process(6, "vet", &["vet", "/tmp/go-build1/b002/vet.cfg"], (3 * s, 3 * s + 5)),
            process(7, "link", &["link", "-o", "/tmp/go-build1/b001/exe/a.out"], (4 * s, 8 * s)),
        ];
        let command = Command { id: CommandId(1), wall_ns: 9 * s, ..Command::default() };
        (Report { processes, ..Report::default() }, command)
    }

    #[test]
    fn packages_are_named_and_the_chain_is_what_ran_back_to_back() {
        let (report, command) = report();
        let all = packages(&report, &command);
        let named: Vec<(&str, &str, u64)> =
            all.iter().map(|work| (work.package, work.what, work.took_ns() / 1_000_000_000)).collect();
        assert_eq!(
            named,
            [("main", "link", 4), ("a", "compile", 3), ("main", "compile", 1), ("a", "vet", 0)]
        );
        let chain: Vec<_> = chain(&all).iter().map(|work| (work.package, work.what)).collect();
        assert_eq!(chain, [("a", "compile"), ("main", "compile"), ("main", "link")]);
    }

    #[test]
    fn the_longest_processes_come_first() {
        let (report, command) = report();
        let pids: Vec<u32> = longest(&report, &command).iter().map(|process| process.pid.0).collect();
        assert_eq!(pids, [7, 3, 2, 4, 5, 6]);
    }
}
