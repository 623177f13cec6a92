//! Processes in, what they were for out: how many of each kind, what they cost, on which packages. A build
//! of a thousand compilers is a handful of lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use model::human::duration;
use model::id::Pid;
use model::operations::is_go;
use model::record::Process;
use model::roles::{is_test, package, short};
use model::time::{Ns, SinceStart};

/// Compilers and linkers for C, which cgo's packages take.
const C_TOOLS: [&str; 14] = [
    "gcc",
    "g++",
    "cc",
    "c++",
    "clang",
    "clang++",
    "ld",
    "as",
    "ar",
    "ranlib",
    "collect2",
    "cc1",
    "cc1plus",
    "lto-wrapper",
];

/// What a process is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Kind(String);

impl Kind {
    /// Of a process; `None` of go itself.
    pub(crate) fn of(process: &Process) -> Option<Self> {
        tool(process).map(str::to_owned).or_else(|| (!is_go(&process.comm)).then(|| short(process))).map(Self)
    }
}

/// Which step of a build a process is; `None` where it is no tool of a build.
pub(crate) fn tool(process: &Process) -> Option<&'static str> {
    // go asks each tool for its version, to know whether what it made before is still good.
    let asks = || process.args.iter().any(|arg| arg.starts_with("-V"));
    let name = match process.comm.as_str() {
        "compile" => "compile",
        "link" => "link",
        "asm" => "asm",
        "cgo" => "cgo",
        "vet" => "vet",
        "cover" => "cover",
        "pack" => "pack",
        "buildid" => "buildid",
        comm if is_test(comm) => return Some("test"),
        comm if C_TOOLS.contains(&comm) || c_compiler(comm) => return Some("C compiler"),
        _ => return None,
    };
    Some(if asks() { "versions" } else { name })
}

/// `x86_64-linux-gnu-gcc-12`, as the kernel cuts it.
fn c_compiler(comm: &str) -> bool {
    let name = comm.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    name != comm && ["gcc", "g++", "clang", "clang++"].contains(&name) || comm.contains("-linux-gnu-")
}

/// All processes of one kind.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Group<'a> {
    /// `compile`, `link`, `git fetch`
    pub name: String,
    /// It is a step of a build
    pub build: bool,
    /// How many
    pub count: usize,
    /// How many of them failed
    pub failed: usize,
    /// CPU time of all of them that is known
    pub cpu_ns: Ns,
    /// From begin to end, one after the other; what a process of the same kind started counts with that
    pub took_ns: Ns,
    /// Packages (of a test the program) with CPU time and how long, the costliest first
    pub packages: Vec<(&'a str, Ns, Ns)>,
}

impl Group<'_> {
    /// What it cost: CPU time where there is more of it than waiting, else how long it took.
    fn cost(&self) -> Ns {
        if self.build && self.name != "test" { self.cpu_ns } else { self.took_ns.max(self.cpu_ns) }
    }

    /// `compile ×280, 35.0 s CPU`.
    pub(crate) fn words(&self) -> String {
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        format!("{} ×{}, {} CPU{failed}", self.name, self.count, duration(self.cpu_ns))
    }

    /// The costliest packages: `net/http 2.06 s`.
    pub(crate) fn costliest(&self, most: usize) -> Vec<String> {
        let of = |took: Ns, cpu: Ns| duration(if self.name == "test" { took } else { cpu });
        self.packages
            .iter()
            .take(most)
            .map(|(name, cpu, took)| format!("{name} {}", of(*took, *cpu)))
            .collect()
    }
}

/// CPU time and how long, by package.
type ByPackage<'a> = HashMap<&'a str, (Ns, Ns)>;

/// Groups, the costliest first; those that still run count until `until`.
pub(crate) fn groups<'a>(
    processes: impl IntoIterator<Item = &'a Process>,
    until: SinceStart,
) -> Vec<Group<'a>> {
    let all: Vec<(&Process, Kind)> =
        processes.into_iter().filter_map(|process| Some((process, Kind::of(process)?))).collect();
    let folders = folders(all.iter().map(|(process, _)| *process));
    let mut pids: HashMap<&Kind, HashSet<Pid>> = HashMap::new();
    for (process, kind) in &all {
        pids.entry(kind).or_default().insert(process.pid);
    }
    let mut groups: BTreeMap<&Kind, (Group<'a>, ByPackage<'a>)> = BTreeMap::new();
    for (process, kind) in &all {
        let build = tool(process).is_some();
        let (group, packages) = groups.entry(kind).or_insert_with(|| {
            let name = kind.0.clone();
            let empty =
                Group { name, build, count: 0, failed: 0, cpu_ns: 0, took_ns: 0, packages: Vec::new() };
            (empty, HashMap::new())
        });
        let cpu = process.cpu_ns.unwrap_or(0);
        let took = process.end_ns.unwrap_or(until).min(until.max(process.start_ns)) - process.start_ns;
        let below = pids[kind].contains(&process.ppid);
        group.count += usize::from(!below);
        group.failed += usize::from(!below && process.exit_code.is_some_and(|code| code != 0));
        group.cpu_ns = group.cpu_ns.saturating_add(cpu);
        group.took_ns = group.took_ns.saturating_add(if below { 0 } else { took });
        if let Some(name) = about(process, &folders) {
            let of = packages.entry(name).or_default();
            *of = (of.0.saturating_add(cpu), of.1.saturating_add(took));
        }
    }
    let mut groups: Vec<Group<'_>> = groups
        .into_values()
        .map(|(mut group, packages)| {
            let by_took = group.name == "test";
            group.packages = packages.into_iter().map(|(name, (cpu, took))| (name, cpu, took)).collect();
            let cost = |cpu: Ns, took: Ns| Reverse(if by_took { took } else { cpu });
            group.packages.sort_by_key(|(name, cpu, took)| (cost(*cpu, *took), *name));
            group
        })
        .collect();
    groups.sort_by_key(|group| (Reverse(group.cost()), group.name.clone()));
    groups
}

/// Bursts in a few words, the costliest first; how many kinds are left out is said.
pub(crate) fn folded(groups: &[Group<'_>], most: usize) -> Vec<String> {
    let mut words: Vec<String> = groups.iter().take(most).map(Group::words).collect();
    match groups.len().saturating_sub(most) {
        0 => {}
        1 => words.push("1 more kind of process".to_owned()),
        left => words.push(format!("{left} more kinds of processes")),
    }
    words
}

/// go gives each package a folder of its own, which vet and link name instead of the package.
pub(crate) fn folders<'a>(processes: impl Iterator<Item = &'a Process>) -> HashMap<&'a str, &'a str> {
    processes.filter_map(|process| Some((folder(process)?, package(process)?))).collect()
}

/// The package that a tool works on; of a linker and a test the program.
pub(crate) fn about<'a>(process: &'a Process, folders: &HashMap<&str, &'a str>) -> Option<&'a str> {
    let in_folder = || folder(process).and_then(|folder| folders.get(folder).copied());
    match tool(process)? {
        "compile" | "asm" | "cgo" => package(process),
        "vet" => in_folder(),
        "link" => Some(in_folder().unwrap_or("main")),
        "test" => Some(process.comm.as_str()),
        _ => None,
    }
}

/// `b074` of `/tmp/go-build1234/b074/vet.cfg`.
fn folder(process: &Process) -> Option<&str> {
    process.args.iter().find_map(|arg| {
        let (_, rest) = arg.split_once("/go-build")?;
        let mut parts = rest.split('/');
        parts.next()?;
        let folder = parts.next().filter(|folder| folder.starts_with('b'))?;
        parts.next().map(|_| folder)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, ppid: u32, line: &str, seconds: u64, code: i32) -> Process {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let comm = args[0].rsplit('/').next().unwrap().to_owned();
        Process {
            pid: Pid(pid),
            ppid: Pid(ppid),
            comm,
            args,
            end_ns: Some(SinceStart(seconds * 1_000_000_000)),
            cpu_ns: Some(seconds * 500_000_000),
            exit_code: Some(code),
            ..Process::default()
        }
    }

    #[test]
    fn a_build_is_a_handful_of_lines_by_what_they_cost_with_their_packages() {
        let all = [
            process(1, 0, "go build", 20, 0),
            process(2, 1, "compile -V=full", 1, 0),
            process(3, 1, "compile -o /tmp/go-build1/b002/_pkg_.a -p net/http", 6, 0),
            process(4, 1, "compile -o /tmp/go-build1/b003/_pkg_.a -p os", 2, 1),
            process(5, 1, "asm -p os", 1, 0),
            process(6, 1, "gcc -c x.c", 3, 0),
            process(7, 6, "cc1 x.c", 3, 0),
            process(8, 1, "vet /tmp/go-build1/b003/vet.cfg", 1, 0),
            process(9, 1, "git -c x fetch", 1, 0),
        ];
        let groups = groups(&all, SinceStart(20_000_000_000));
        let words: Vec<String> = groups.iter().map(Group::words).collect();
        assert_eq!(
            words,
            [
                "compile ×2, 4.00 s CPU, 1 failed",
                "C compiler ×1, 3.00 s CPU",
                "git fetch ×1, 500 ms CPU",
                "asm ×1, 500 ms CPU",
                "versions ×1, 500 ms CPU",
                "vet ×1, 500 ms CPU",
            ]
        );
        assert_eq!(groups[0].costliest(9), ["net/http 3.00 s", "os 1.00 s"]);
        assert_eq!(groups.iter().find(|group| group.name == "vet").unwrap().costliest(9), ["os 500 ms"]);
        assert_eq!(folded(&groups, 1)[1], "5 more kinds of processes");
    }

    #[test]
    fn compilers_for_c_are_known_by_machine_and_version_too() {
        for comm in ["gcc-12", "x86_64-linux-gnu-gcc", "clang", "cc1"] {
            assert_eq!(tool(&process(1, 0, comm, 1, 0)), Some("C compiler"), "{comm}");
        }
        assert_eq!(tool(&process(1, 0, "gcc-builder", 1, 0)), None);
    }
}
