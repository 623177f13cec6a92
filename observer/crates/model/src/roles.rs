//! A command's processes in, what each is to go out: the wrappers above it, go itself, its tools, what it
//! fetches with, helpers for credentials, a build cache, other children; and which of them go waits for.
//!
//! A process is what its name and arguments say, below what started it: what git starts is git's, what
//! a test binary starts is the test binary's, and a helper for credentials is one wherever it runs.

use std::collections::HashMap;

use super::operations::is_go;
use super::record::{AgentWait, Go, Phase, Process};
use super::state::CommandState;
use crate::id::Pid;
use crate::time::{Ns, SinceStart};

/// What a process is to the go command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Above go: a shell, make, CMD itself. Nothing waits for it as such
    Wrapper,
    /// A go command
    Go,
    /// A tool of go's own: compiler, linker, vet, and gcc for cgo
    Tool,
    /// git and its kin with all that they start: `vcs`
    Fetcher,
    /// GOAUTH, credential helpers, askpass, ssh agents, and all that they start: `auth`
    Credentials,
    /// GOCACHEPROG's process and all that it starts: `cache`
    BuildCache,
    /// Anything else that go runs, or that runs beside it: `child`
    Child,
}

impl Role {
    /// The phase of its network; `None` for what is go's own.
    pub const fn phase(self) -> Option<Phase> {
        match self {
            Self::Wrapper | Self::Go => None,
            Self::Fetcher => Some(Phase::Vcs),
            Self::Credentials => Some(Phase::Auth),
            Self::BuildCache => Some(Phase::Cache),
            Self::Tool | Self::Child => Some(Phase::Child),
        }
    }

    /// The phase of a wait for it; `None` for what nobody waits for as such.
    pub const fn waited_for(self) -> Option<Phase> {
        match self {
            Self::Tool => None,
            other => other.phase(),
        }
    }
}

/// Programs that go fetches from version control with, and their transports; `git-…` too.
const FETCHERS: [&str; 10] = ["git", "hg", "chg", "svn", "bzr", "brz", "fossil", "ssh", "scp", "plink"];
/// Tools of go's own; compilers for C with a version or a machine in their name too.
const TOOLS: [&str; 32] = [
    "compile",
    "link",
    "asm",
    "cgo",
    "vet",
    "cover",
    "covdata",
    "pack",
    "buildid",
    "nm",
    "objdump",
    "addr2line",
    "preprofile",
    "test2json",
    "fix",
    "doc",
    "gofmt",
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
    "pkg-config",
    "lto-wrapper",
];
/// Helpers for credentials by the start of their name, as the kernel cuts it.
const CREDENTIALS: [&str; 9] = [
    "git-credential",
    "docker-credenti",
    "ssh-agent",
    "ssh-sk-helper",
    "ssh-pkcs11-help",
    "ssh-add",
    "gpg-agent",
    "pinentry",
    "gnome-keyring",
];
/// What git has a credential helper do: the last word of its command line.
const VERBS: [&str; 3] = ["get", "store", "erase"];
/// Longest name that the kernel keeps of a program.
const COMM_MAX: usize = 15;
/// Parents that are followed, at most.
const DEPTH_MAX: usize = 64;
/// go is at work again so soon after what it waited for has ended.
const SOON_NS: Ns = 50_000_000;
/// A descendant that lives on for less is about to end.
const HELD_NS: Ns = 100_000_000;

/// A process with its role.
#[derive(Clone, Copy, Debug)]
pub struct Life<'a> {
    /// The process
    pub process: &'a Process,
    /// What it is to go
    pub role: Role,
    /// What started it, where that is known: its place among all
    parent: Option<usize>,
}

/// A child that is waited for while nothing else is in flight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Waited<'a> {
    /// The child
    pub process: &'a Process,
    /// Its phase
    pub phase: Phase,
    /// Since when
    pub start_ns: SinceStart,
    /// Until when; `None` while it goes on, or for all that is known
    pub end_ns: Option<SinceStart>,
    /// It outlives its parent, which go or git had started, and holds what that wrote to
    pub held: bool,
}

impl Waited<'_> {
    /// It is not a helper for credentials but asks at the terminal itself.
    pub fn reads_terminal(&self) -> bool {
        self.phase == Phase::Auth && self.process.terminal_ns.contains(&self.start_ns)
    }

    /// It waits for its ssh agent.
    pub fn asks_agent(&self) -> bool {
        let starts = |wait: &AgentWait| wait.start_ns == self.start_ns;
        self.phase == Phase::Auth && self.process.agent_waits.iter().any(starts)
    }
}

/// The roles of a command's processes.
#[derive(Clone, Debug, Default)]
pub struct Roles<'a> {
    /// In order of their starts
    lives: Vec<Life<'a>>,
    by_pid: HashMap<Pid, Vec<usize>>,
    top: Pid,
    /// When fetchers read a terminal or waited for their ssh agent, by their place among all
    asking: Vec<(usize, SinceStart, Option<SinceStart>)>,
}

impl<'a> Roles<'a> {
    /// Of a command's processes.
    pub fn new(command: &'a CommandState) -> Self {
        let record = command.record.as_ref();
        let go = record.map(|record| &record.go);
        let mut roles = Self { top: record.map_or(Pid(0), |record| record.pid), ..Self::default() };
        for process in command.processes.values() {
            roles.by_pid.entry(process.pid).or_default().push(roles.lives.len());
            roles.lives.push(Life { process, role: Role::Child, parent: None });
        }
        for at in 0..roles.lives.len() {
            let process = roles.lives[at].process;
            let parent = roles.at(process.ppid, process.start_ns).filter(|parent| *parent != at);
            // One that was there before may be listed before what started it.
            roles.lives[at].parent = parent.filter(|_| process.pid != roles.top);
        }
        let mut known = vec![false; roles.lives.len()];
        for at in roles.wrappers() {
            (roles.lives[at].role, known[at]) = (Role::Wrapper, true);
        }
        for at in 0..roles.lives.len() {
            roles.decide(at, go, &mut known);
        }
        roles.ask(&command.idle);
        roles
    }

    /// When fetchers read a terminal: as long as the whole command slept then, for nobody ran meanwhile; and
    /// when they waited for their agent.
    fn ask(&mut self, idle: &[(SinceStart, SinceStart)]) {
        for (at, life) in self.lives.iter().enumerate().filter(|(_, life)| life.role == Role::Fetcher) {
            for since in &life.process.terminal_ns {
                let sleep = idle.iter().find(|(from, to)| from <= since && since < to);
                let end = sleep.map(|(_, to)| *to).or(life.process.end_ns);
                self.asking.push((at, *since, end));
            }
            for wait in &life.process.agent_waits {
                self.asking.push((at, wait.start_ns, wait.end_ns.or(life.process.end_ns)));
            }
        }
    }

    /// Above a go command, with none above themselves; and the topmost process, whatever it is.
    fn wrappers(&self) -> Vec<usize> {
        let is_go_at = |at: &usize| is_go(&self.lives[*at].process.comm);
        let mut wrappers = Vec::new();
        for at in 0..self.lives.len() {
            if self.lives[at].process.pid == self.top && !is_go_at(&at) {
                wrappers.push(at);
            }
            if is_go_at(&at) {
                let above: Vec<usize> = self.above(at).collect();
                if !above.iter().any(is_go_at) {
                    wrappers.extend(above);
                }
            }
        }
        wrappers
    }

    /// The roles of a process and of those above it that have none yet.
    fn decide(&mut self, at: usize, go: Option<&Go>, known: &mut [bool]) {
        let mut open: Vec<usize> = std::iter::once(at).chain(self.above(at)).collect();
        let end = open.iter().position(|at| known[*at]).unwrap_or(open.len());
        open.truncate(end);
        for at in open.into_iter().rev() {
            let parent = self.lives[at].parent.map(|parent| &self.lives[parent]);
            self.lives[at].role = role(self.lives[at].process, parent, go);
            known[at] = true;
        }
    }

    /// Those above a process, the nearest first.
    fn above(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.lives[at].parent, |at| self.lives[*at].parent).take(DEPTH_MAX)
    }

    /// The process of that number at that time: the latest that had begun by then, or the first.
    fn at(&self, pid: Pid, at: SinceStart) -> Option<usize> {
        let of = self.by_pid.get(&pid)?;
        let begun = of.partition_point(|life| self.lives[*life].process.start_ns <= at);
        of.get(begun.saturating_sub(1)).copied()
    }

    /// What the process of that number is at that time. `comm`: its name, for one of which no record is.
    pub fn role(&self, pid: Pid, comm: &str, at: SinceStart) -> Role {
        if pid == self.top {
            return if is_go(comm) { Role::Go } else { Role::Wrapper };
        }
        match self.at(pid, at) {
            Some(life) if !self.lives[life].process.comm.is_empty() => self.lives[life].role,
            _ if comm.is_empty() => Role::Go,
            _ => role(&Process { comm: comm.to_owned(), ..Process::default() }, None, None),
        }
    }

    /// All processes.
    pub fn all(&self) -> impl Iterator<Item = Life<'a>> + '_ {
        self.lives.iter().copied()
    }

    /// That process as it was at that time.
    pub fn life(&self, pid: Pid, at: SinceStart) -> Option<Life<'a>> {
        Some(self.lives[self.at(pid, at)?])
    }

    /// What started that process, and what started that, and so on.
    pub fn ancestors(&self, process: &Process) -> impl Iterator<Item = Life<'a>> + '_ {
        let at = self.at(process.pid, process.start_ns);
        at.into_iter().flat_map(|at| self.above(at)).map(|at| self.lives[at])
    }

    /// The child that go itself, or what runs it, started, and that process belongs to.
    pub fn started(&self, process: &Process) -> Option<Life<'a>> {
        let at = self.at(process.pid, process.start_ns)?;
        let own = |at: &usize| self.lives[*at].role.phase().is_some();
        std::iter::once(at).chain(self.above(at)).take_while(own).last().map(|at| self.lives[at])
    }

    /// Whether go itself started that process.
    pub fn is_of_go(&self, process: &Process) -> bool {
        self.ancestors(process).next().is_some_and(|parent| parent.role == Role::Go)
    }

    /// A process with all that it started and what they started, in order of their starts.
    pub fn tree(&self, process: &Process) -> Vec<Life<'a>> {
        let Some(top) = self.at(process.pid, process.start_ns) else { return Vec::new() };
        let within = |at: &usize| *at == top || self.above(*at).any(|above| above == top);
        (0..self.lives.len()).filter(within).map(|at| self.lives[at]).collect()
    }

    /// By process of git's, when a helper for credentials ran that it waited for: its connections wait, too.
    pub fn asking(&self) -> HashMap<Pid, Vec<(SinceStart, Option<SinceStart>)>> {
        let mut asking: HashMap<Pid, Vec<_>> = HashMap::new();
        for (at, life) in self.lives.iter().enumerate() {
            if life.role != Role::Credentials {
                continue;
            }
            let above: Vec<usize> = self.above(at).collect();
            if above.first().is_none_or(|parent| self.lives[*parent].role != Role::Fetcher) {
                continue;
            }
            for parent in above.into_iter().take_while(|parent| self.lives[*parent].role == Role::Fetcher) {
                let span = (life.process.start_ns, life.process.end_ns);
                asking.entry(self.lives[parent].process.pid).or_default().push(span);
            }
        }
        // One that asks itself, what runs it, and the transport that it runs.
        for (at, since, end) in &self.asking {
            let own = |at: &usize| self.lives[*at].role == Role::Fetcher;
            let below = (0..self.lives.len()).filter(|life| self.above(*life).any(|above| above == *at));
            for at in std::iter::once(*at).chain(self.above(*at)).take_while(own).chain(below.filter(own)) {
                asking.entry(self.lives[at].process.pid).or_default().push((*since, *end));
            }
        }
        asking.values_mut().for_each(|spans| spans.sort_unstable());
        asking
    }

    /// Who the helper is, of a child that is waited for: of what it started, the deepest that is named as
    /// one (`git credential fill` starts a shell, and that a helper); and the youngest below that.
    pub fn helper(&self, child: &Process, at: SinceStart) -> Option<(&'a Process, Option<&'a Process>)> {
        let alive =
            |life: &Life<'_>| life.process.start_ns <= at && life.process.end_ns.is_none_or(|end| end >= at);
        let tree: Vec<Life<'a>> = self.tree(child).into_iter().filter(alive).collect();
        let named = tree.iter().rfind(|life| names_credentials(life.process));
        let known = || self.life(child.pid, child.start_ns);
        let helper = named.copied().or_else(|| tree.first().copied()).or_else(known)?.process;
        let leaf = tree.last().map(|life| life.process).filter(|leaf| leaf.pid != helper.pid);
        Some((helper, leaf))
    }

    /// The children that go waits for when nothing else is in flight, in order of their starts. `active`:
    /// when something else went on and whose it was, in order; `until`: the end of what is looked at.
    pub fn waited_for(
        &self,
        active: &[(SinceStart, Pid)],
        until: SinceStart,
        over: Option<SinceStart>,
    ) -> Vec<Waited<'a>> {
        let mut waited = Vec::new();
        for (at, start_ns, end_ns) in &self.asking {
            let process = self.lives[*at].process;
            let (phase, start_ns, end_ns) = (Phase::Auth, *start_ns, *end_ns);
            waited.push(Waited { process, phase, start_ns, end_ns, held: false });
        }
        for (at, life) in self.lives.iter().enumerate() {
            let Some(phase) = life.role.waited_for() else { continue };
            let above: Vec<&Life<'_>> = self
                .above(at)
                .map(|above| &self.lives[above])
                .take_while(|above| above.role.phase().is_some())
                .collect();
            let process = life.process;
            let first_end = above.iter().filter_map(|above| above.process.end_ns).min();
            let left = first_end.filter(|end| process.end_ns.is_none_or(|own| own > *end));
            if above.first().is_none_or(|parent| parent.role != life.role) {
                let end_ns = left.map(|end| end.max(process.start_ns)).or(process.end_ns);
                waited.push(Waited { process, phase, start_ns: process.start_ns, end_ns, held: false });
            }
            let Some(left) = left.filter(|left| *left >= process.start_ns) else { continue };
            if let Some(from) = self.held(at, left, active, until, over) {
                waited.push(Waited { process, phase, start_ns: from, end_ns: process.end_ns, held: true });
            }
        }
        waited
    }

    /// Since when a process that has outlived its parent is waited for: what waits goes on when it ends,
    /// or nothing at all has gone on since the parent ended.
    fn held(
        &self,
        at: usize,
        left: SinceStart,
        active: &[(SinceStart, Pid)],
        until: SinceStart,
        over: Option<SinceStart>,
    ) -> Option<SinceStart> {
        let process = self.lives[at].process;
        let last = process.end_ns.filter(|end| over.is_none_or(|over| *end <= over));
        let end = last.or(over).unwrap_or(until);
        if end.saturating_sub(left) < HELD_NS {
            return None;
        }
        let own = |pid: Pid, time: SinceStart| {
            self.at(pid, time).is_some_and(|of| of == at || self.above(of).any(|above| above == at))
        };
        let from = active.partition_point(|(time, _)| *time <= left);
        let others = || active[from..].iter().filter(|(time, pid)| !own(*pid, *time));
        // Its files are closed a moment before its end is seen.
        let closed = last.map_or(end, |last| last.earlier_by(SOON_NS));
        let meanwhile = others().take_while(|(time, _)| *time < closed).map(|(time, _)| *time).last();
        let goes_on = match last {
            Some(last) => {
                let soon = last + SOON_NS;
                over.is_some_and(|over| over <= soon)
                    || others().any(|(time, _)| (closed..=soon).contains(time))
            }
            // It ended before what waited for it: that was ended.
            None if over.is_some() => self.killed(),
            None => meanwhile.is_none_or(|meanwhile| meanwhile <= left + SOON_NS),
        };
        let from = meanwhile.map_or(left, |meanwhile| meanwhile.max(left));
        (goes_on && end.saturating_sub(from) >= HELD_NS).then_some(from)
    }

    /// A go command of it was ended by a signal.
    fn killed(&self) -> bool {
        let mut gos = self.lives.iter().filter(|life| life.role == Role::Go);
        gos.any(|life| life.process.exit_code.is_some_and(|code| code >= 128))
    }
}

fn role(process: &Process, parent: Option<&Life<'_>>, go: Option<&Go>) -> Role {
    let of = parent.map(|parent| parent.role);
    if let Some(of @ (Role::Credentials | Role::BuildCache)) = of {
        return of;
    }
    if is_go(&process.comm) && of != Some(Role::Fetcher) {
        return Role::Go;
    }
    let by_go = of == Some(Role::Go);
    let set = |setting: fn(&Go) -> Option<&str>| go.and_then(setting).unwrap_or_default();
    match of {
        Some(Role::Child) => Role::Child,
        Some(Role::Fetcher) if is_credentials(process, parent.map(|parent| parent.process)) => {
            Role::Credentials
        }
        Some(Role::Fetcher) => Role::Fetcher,
        _ if names_credentials(process) => Role::Credentials,
        _ if by_go && set(|go| go.goauth.as_deref()).split(';').any(|auth| runs(process, auth)) => {
            Role::Credentials
        }
        _ if by_go && runs(process, set(|go| go.gocacheprog.as_deref())) => Role::BuildCache,
        _ if names(process).any(|name| FETCHERS.contains(&name) || name.starts_with("git-")) => Role::Fetcher,
        Some(Role::Go | Role::Tool) if names(process).any(is_tool) => Role::Tool,
        None if is_tool(&process.comm) => Role::Tool,
        _ => Role::Child,
    }
}

/// The kernel's name of it and the name of its first argument.
fn names(process: &Process) -> impl Iterator<Item = &str> {
    let first = process.args.first().map(|first| base(first));
    std::iter::once(process.comm.as_str()).chain(first)
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_tool(name: &str) -> bool {
    let digits = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    let versioned = |name: &str| {
        name.rsplit_once('-').filter(|(_, rest)| digits(rest)).map_or(name.len(), |at| at.0.len())
    };
    let name = &name[..versioned(name)];
    TOOLS.contains(&name)
        || name.starts_with("ld.")
        || ["-gcc", "-g++", "-cc", "-c++", "-clang", "-ld", "-ar"].iter().any(|end| name.ends_with(end))
}

/// Whether a process runs the program that a setting names first.
fn runs(process: &Process, setting: &str) -> bool {
    let program = setting.trim().split_ascii_whitespace().next().map(base).unwrap_or_default();
    let program = program.trim_matches(['\'', '"']);
    // GOAUTH's own words are no programs; `git` is known by what it is asked.
    if matches!(program, "" | "netrc" | "off" | "git" | "…") {
        return false;
    }
    let cut: String = program.chars().take(COMM_MAX).collect();
    process.comm == cut || process.args.iter().take(2).any(|arg| base(arg) == program)
}

/// Its own name says that it is a helper for credentials.
fn names_credentials(process: &Process) -> bool {
    let named =
        |name: &str| CREDENTIALS.iter().any(|start| name.starts_with(start)) || name.contains("askpass");
    let script = process.args.get(1).map(|arg| base(arg)).filter(|name| name.starts_with("git-credential"));
    names(process).any(named)
        || script.is_some() && process.comm != "git"
        || process.comm == "git"
            && subcommand(&process.args)
                .is_some_and(|word| word == "credential" || word.starts_with("credential-"))
}

/// What git is asked to do: the first word that is no option of git's.
pub fn subcommand(args: &[String]) -> Option<&str> {
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-c" | "-C" | "--git-dir" | "--work-tree" | "--shallow-file" | "--namespace" => drop(args.next()),
            option if option.starts_with('-') => {}
            word => return Some(word),
        }
    }
    None
}

/// It is a helper for credentials by what git asks of it, too: a verb, or a password.
fn is_credentials(process: &Process, parent: Option<&Process>) -> bool {
    let verb = process.args.len() > 1
        && process
            .args
            .last()
            .and_then(|arg| arg.split_ascii_whitespace().last())
            .is_some_and(|word| VERBS.contains(&word));
    // The transport over http starts nothing else that is not git's: GIT_ASKPASS, a program or a script.
    let asks = parent.is_some_and(|parent| parent.comm.starts_with("git-remote-http"))
        && !process.comm.starts_with("git");
    names_credentials(process) || verb || asks
}

/// The name a person knows a process by: its program's, of a script the script's. The kernel cuts it.
pub fn program(process: &Process) -> &str {
    let cut = process.comm.len() >= COMM_MAX;
    let is_it = |name: &&str| *name == process.comm || cut && name.starts_with(process.comm.as_str());
    process.args.iter().take(2).map(|arg| base(arg)).find(is_it).unwrap_or(&process.comm)
}

/// Whether a program is what `go test` makes: `x.test`.
pub fn is_test(program: &str) -> bool {
    program.strip_suffix(".test").is_some()
}

/// What it is called in a sentence: its program, and of git what it is asked to do.
pub fn short(process: &Process) -> String {
    let name = program(process);
    if process.comm != "git" {
        return name.to_owned();
    }
    match subcommand(&process.args) {
        Some("credential") => {
            format!("git credential {}", process.args.last().map_or("", String::as_str)).trim_end().to_owned()
        }
        Some(word) => format!("git {word}"),
        None => name.to_owned(),
    }
}

/// The package that a compiler, or another tool of go's, was at work on, as its arguments say.
pub fn package(process: &Process) -> Option<&str> {
    let flag = match process.comm.as_str() {
        "compile" | "asm" => "-p",
        "cgo" => "-importpath",
        _ => return None,
    };
    let at = process.args.iter().position(|arg| arg == flag)?;
    process.args.get(at + 1).map(String::as_str).filter(|package| !package.is_empty())
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
