//! One observation: records in; recording, progress, lines and report out.

mod end;
mod preexisting;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use model::anonymize::Anonymizer;
use model::container::Group;
use model::event::{Body, Event, Session};
use model::id::{CommandId, Pid, Tid, TreeId};
use model::record::{Container, Loss};
use model::retention::{Retained, SHOWN_MAX};
use model::time::{Monotonic, Ns, SinceStart};
use model::waiting::waiting;
use model::{State, human, redact};
use observer_common::{EXEC_ROOT, EXIT_ROOT, LOCAL_RESOLVERS, LOCK_TAKEN, Lock, SINCE_SHIFT, ThreadState};
use pipeline::correlate::{Correlator, Facts};
use pipeline::decode::wire::{self, Body as Wire};
use pipeline::record::{Recorder, SCHEMA};
use render::lines::Lines;
use render::retransmits::Retransmits;
use render::status;

use super::announce::Announcements;
use super::beginnings::Beginnings;
use super::binaries::{Binaries, Binary};
use super::dashboard::{Action, Dashboard};
use super::feed::Feed;
use super::files::Files;
use super::locks;
use super::machine::machine;
use super::probe_queue::{LocalResolverQueue, ProbeQueue};
use super::sandbox;
use super::services::Services;
use super::settings::{cgroup_of, go_of_cmd, read_environ, settings};
use super::terminals::Terminals;
use super::written::{AtomicOutput, Growing};
use crate::kernel::ring::{HOLD_NS, Ring};
use crate::kernel::{RUN, monotonic_ns};
use crate::opener::{Opener, Reply, Request, Tty};
use crate::run::progress::{self, Progress};
use crate::seam::{NotDone, Root, Seam, Task, ToAgent, ToWorker};
use crate::{say, unique};

/// The agent is asked that often about sockets that were there already.
const SOCKETS_TICKS: u32 = 5;
/// … and how often who of those that sleep reads a terminal.
const TERMINAL_TICKS: u32 = 5;
/// The progress line shows so long what was retransmitted; then how much was.
const NOTICE_NS: Ns = 3_000_000_000;
/// Columns of a line of `watch` that goes to no terminal.
const LINE_COLUMNS: usize = 160;
/// Processes of forgotten trees that are let go of at a time; the next ones when they fork again.
const STRAYS_MAX: usize = 64;
/// A gap is that old when its consequences are drawn: later events have come.
const GAP_NS: Ns = 2_000_000_000;

/// Whether a program may be one that starts containers, by the kernel's name of it.
fn is_container_tool(comm: &[u8; 16]) -> bool {
    [&b"docker"[..], b"podman", b"nerdctl"].iter().any(|name| comm.starts_with(name))
}

/// Everything the worker knows, and where it goes.
pub(super) struct Observer {
    task: Task,
    correlator: Correlator,
    state: State,
    anonymizer: Option<Anonymizer>,
    recorder: Option<Recorder<Growing>>,
    stream: Option<Recorder<io::Stdout>>,
    export: Option<Recorder<Feed>>,
    lines: Option<Lines>,
    json: Option<AtomicOutput>,
    progress: Option<Progress>,
    dashboard: Option<Dashboard>,
    kept: Retained,
    /// Commands of which it was recorded what they waited for
    accounted: BTreeSet<CommandId>,
    announcements: Announcements,
    queue: ProbeQueue,
    beginnings: Beginnings,
    local_resolvers: LocalResolverQueue,
    services: Services,
    /// Opens what this process may not
    opener: Opener,
    /// Commands in control groups with a limit of CPU time
    throttles: HashSet<CommandId>,
    kernel_lost: u64,
    /// What the agent knows of the kernel
    not_done: NotDone,
    /// Programs that nobody looked at, of which the report says how many
    unexamined: u64,
    too_large: u64,
    /// When records were lost to a full ring, until the consequences are drawn
    gap_ns: Option<SinceStart>,
    events: Vec<Event>,
    unflushed: bool,
    ticks: u32,
    terminals: Terminals,
    /// The progress line to draw
    line: String,
    /// For it: what is retransmitted, and what was said of that last
    again: Retransmits,
    notice: Option<(SinceStart, String)>,
    /// Time of the latest event that was reported: a recording is in order of time
    emitted_ns: SinceStart,
}

impl Observer {
    /// What was not seen by now.
    fn loss(&self) -> Loss {
        Loss {
            programs_unexamined: self.unexamined + self.too_large,
            program_runs_skipped: self.not_done.runs_skipped,
            tracepoints_unattached: self.not_done.unattached,
            socket_lookups_failed: self.not_done.lookups_failed,
            ..self.correlator.loss(self.kernel_lost)
        }
    }

    /// Has every output opened; nothing has begun yet. `passed`: descriptors that output paths mean.
    pub(super) fn new(task: Task, passed: Vec<OwnedFd>, opener: Opener) -> Result<Self> {
        let machine = machine(task.resolv_conf.as_deref());
        let resolver = machine.resolver.clone();
        let session = Session {
            schema: SCHEMA.to_owned(),
            tool: format!("goobserve {}", env!("CARGO_PKG_VERSION")),
            started_unix_ns: task.started_unix_ns,
            recording_id: Some(format!("{:016x}{:016x}", unique::random(), unique::random())),
            machine,
            remedies: task.remedies.clone(),
            redacted: true, // each event, before it is recorded
        };
        let mut anonymizer = task.output.anonymize.then(Anonymizer::new);
        let mut event = redact::event(Event { at_ns: SinceStart::ZERO, body: Body::Session(session) });
        if let Some(anonymizer) = &mut anonymizer {
            event = anonymizer.event(&event);
        }
        let Body::Session(session) = &event.body else { unreachable!("a session stays one") };
        let mut passed = passed.into_iter();
        let [json, record] = task.output.passed.map(|is| is.then(|| passed.next()).flatten());
        let json =
            task.output.json.as_deref().map(|path| AtomicOutput::open(path, json, &opener)).transpose()?;
        let recorder = match &task.output.record {
            Some(path) => Some(Recorder::new(
                Growing::open(path, record, &opener)?,
                path.display().to_string(),
                session,
            )),
            None => None,
        };
        let export = passed.next().filter(|_| task.output.export);
        let export = export.map(|pipe| Recorder::new(Feed::new(pipe), "the exporter", session));
        let watching = task.child.is_none();
        let stream =
            (watching && task.output.jsonl).then(|| Recorder::new(io::stdout(), "standard output", session));
        // Last of all that can fail: until then messages go to an ordinary terminal.
        let dashboard = match task.output.dashboard.then(|| Dashboard::new(task.output.color, &opener)) {
            Some(Ok(dashboard)) => Some(dashboard),
            Some(Err(error)) => {
                say::line(&format!("no dashboard: the terminal cannot be taken: {error}"));
                None
            }
            None => None,
        };
        let lines =
            (watching && !task.output.jsonl && dashboard.is_none()).then(|| Lines::new(line_columns()));
        let kept = dashboard.as_ref().map_or_else(Retained::default, |_| Retained::showing(SHOWN_MAX));
        let mut state = State::new();
        state.apply(&event);
        let progress = (task.output.progress && dashboard.is_none())
            .then(|| opener.terminal(Tty::Stderr).and_then(Progress::new))
            .flatten();
        let beginnings = Beginnings::new();
        // Everything that is written to is open; nothing that somebody else wrote has been read.
        opener.ask(&Request::Begun, None);
        let locked = sandbox::enter();
        log::info!("{locked}");
        for tried in task.try_in.iter().flat_map(|folder| sandbox::try_all(folder)) {
            say::line(&format!("tried: {tried}"));
        }
        Ok(Self {
            correlator: Correlator::new(task.start_ns, &resolver),
            task,
            state,
            anonymizer,
            recorder,
            stream,
            export,
            lines,
            json,
            progress,
            dashboard,
            kept,
            accounted: BTreeSet::new(),
            announcements: Announcements::default(),
            throttles: HashSet::new(),
            queue: ProbeQueue::default(),
            beginnings,
            local_resolvers: LocalResolverQueue::default(),
            services: Services::default(),
            opener,
            kernel_lost: 0,
            not_done: NotDone::default(),
            unexamined: 0,
            too_large: 0,
            gap_ns: None,
            events: Vec::new(),
            unflushed: true,
            ticks: 0,
            terminals: Terminals::default(),
            line: String::new(),
            again: Retransmits::default(),
            notice: None,
            emitted_ns: SinceStart::ZERO,
        })
    }

    /// A command runs: the ring is to be looked at often.
    pub(super) fn busy(&self) -> bool {
        self.task.child.is_some() || self.kept.expects() || self.correlator.running()
    }

    /// Something waits to be written.
    pub(super) const fn unflushed(&self) -> bool {
        self.unflushed
    }

    /// Until when every record has been taken off the ring and handed on.
    fn settled(&self) -> SinceStart {
        self.now().earlier_by(HOLD_NS)
    }

    fn now(&self) -> SinceStart {
        monotonic_ns().since(self.task.start_ns)
    }

    /// What the agent says about a binary or a process.
    pub(super) fn message(
        &mut self,
        message: ToWorker,
        descriptors: Vec<OwnedFd>,
        seam: &Seam,
        binaries: &mut Binaries,
    ) -> Result<()> {
        let mut descriptors = descriptors.into_iter();
        match message {
            ToWorker::Binary { file, path } => {
                let descriptor = descriptors.next().context("a binary without a descriptor")?;
                binaries.plan(file, &path, descriptor, seam)?;
            }
            ToWorker::NoFacts { .. } => self.queue.answered(self.now(), seam),
            ToWorker::Facts { pid, file, path, cwd, cgroup, cpus, root } => {
                self.queue.answered(self.now(), seam);
                let descriptor = descriptors.next().context("facts without a descriptor")?;
                let binary = binaries.plan(file, &path, descriptor, seam)?;
                // The root comes last.
                let own = matches!(root, Root::Own(_)).then(|| descriptors.next_back()).flatten();
                let files = Files::new(root, own, &self.opener);
                let environ = descriptors.next();
                let environ = environ.and_then(|file| read_environ(pid, &path, file, &self.opener));
                let environ = environ.or_else(|| self.beginnings.environ(pid).map(<[u8]>::to_vec));
                let go = binary.build.as_ref().filter(|build| build.is_go_command());
                let wanted = self.wanted(pid, binary);
                if go.is_none()
                    && !wanted
                    && self.task.child.is_none()
                    && let Some(command) = self.correlator.command_of(pid)
                {
                    // It was called `go` and is something else.
                    seam.send(&ToAgent::Unfollow { pid }, &[])?;
                    self.correlator.forget(command);
                    self.state.clear_command(command);
                    return Ok(());
                }
                let go =
                    go.map(|_| settings(environ.as_deref(), binary, &path, cpus, cwd.as_deref(), &files));
                if let (Some(command), Some(text)) = (self.correlator.command_with(pid), &cgroup)
                    && self.opener.ask(&Request::Quota(command, text.clone()), None).0 == Reply::Yes
                {
                    self.throttles.insert(command);
                }
                let cgroup = cgroup.as_deref().and_then(cgroup_of);
                let container = container(cgroup.as_deref(), pid, &self.opener);
                self.correlator.facts(pid, &Facts { cwd, cgroup, container, go }, &mut self.events);
                self.take();
            }
            ToWorker::Process(process) => self.preexisting(&process),
            ToWorker::PreexistingLocks { root, at_ns, locks } => self.preexisting_locks(root, at_ns, locks),
            ToWorker::PreexistingSockets(reported) => {
                self.correlator.preexisting_sockets(&reported, &mut self.events);
                self.take();
            }
            ToWorker::NotDone(not_done) => self.not_done = not_done,
            ToWorker::Unexamined { programs } => self.unexamined += u64::from(programs),
            ToWorker::Overlooked { processes } => self.correlator.overlooked(processes),
            ToWorker::PreexistingGone { root, pid } => {
                self.correlator.preexisting_gone(root, pid, &mut self.events);
                self.take();
            }
            ToWorker::Candidate { pid, file, path } => {
                let descriptor = descriptors.next().context("a candidate without a descriptor")?;
                let why = preexisting::judge(binaries.plan(file, &path, descriptor, seam)?);
                seam.send(&ToAgent::Judged { pid, why }, &[])?;
            }
            ToWorker::Service { pid, services } => self.services.answer(pid, services),
            ToWorker::LocalResolvers { local_resolvers } => {
                local_resolvers
                    .into_iter()
                    .for_each(|local_resolver| self.correlator.local_resolver(local_resolver));
            }
            ToWorker::AtTerminal { command, since, pids } => self.terminals.read(command, since, pids),
            ToWorker::Terminal { read: false } => {
                if let Some(progress) = &mut self.progress {
                    progress.tick(&self.line, &[]);
                }
            }
            ToWorker::Forgotten { file } => {
                binaries.forget(file);
                self.queue.forget(file);
            }
            ToWorker::Output => {
                let file = descriptors.next().context("an output without a descriptor")?;
                match &mut self.dashboard {
                    Some(dashboard) => dashboard.output(File::from(file)),
                    // It could not take the terminal: what the command prints is passed on.
                    None => self.dashboard = Some(Dashboard::left(File::from(file))),
                }
            }
            ToWorker::Probed { file, error } => binaries.probed(file, error),
            _ => {}
        }
        Ok(())
    }

    /// Takes what the ring has; `all` when nothing more comes.
    pub(super) fn drain(&mut self, ring: &mut Ring, all: bool, seam: &Seam, binaries: &Binaries) {
        let now = self.now();
        let Self { queue, unexamined, services, task, .. } = self;
        let of_run = task.child.is_some();
        // A program that is not known yet cannot wait for its turn: its first handshake comes soon.
        let early = |bytes: &[u8]| {
            let Some((pid, exec)) = wire::exec(bytes) else { return };
            if !binaries.knows(&exec)
                && queue.first(exec.dev, exec.ino)
                && !seam.offer(&ToAgent::Program { pid: Pid(pid) }, &[])
            {
                queue.unasked(exec.dev, exec.ino);
                *unexamined += 1;
            }
            if of_run
                && is_container_tool(&exec.comm)
                && let Ok(record) = wire::record(bytes)
                && let Wire::Exec(_, args) = record.body
            {
                services.begun(Pid(pid), args, now, seam);
            }
            if exec.comm.starts_with(b"go\0") {
                let _ = seam.offer(&ToAgent::LocalResolvers { pid: Pid(pid), asks: false }, &[]);
            }
        };
        // Before the records behind the gap are decoded, not after.
        if let Some((from, to)) = ring.take(all, early) {
            self.correlator.gap(from, to);
            self.gap_ns = Some(self.now());
        }
        let Self {
            correlator,
            events,
            queue,
            local_resolvers,
            task,
            unexamined,
            throttles,
            beginnings,
            opener,
            state,
            ..
        } = self;
        let mut waits = Vec::new();
        let mut begun = None;
        let mut strays = Vec::new();
        ring.release(all, |bytes| match wire::record(bytes) {
            Ok(record) => {
                if let Wire::Lock(lock) = &record.body
                    && record.header.flags & LOCK_TAKEN == 0
                {
                    waits.push((record.header.tid, record.header.pid, *lock));
                }
                if matches!(record.body, Wire::Dns(..)) && local_resolvers.first_query(&record.header, seam) {
                    // A failure shows at the next receive: the agent has gone.
                    let asks = ToAgent::LocalResolvers { pid: Pid(record.header.pid), asks: true };
                    let _ = seam.offer(&asks, &[]);
                }
                correlator.record(&record, events);
                let pid = record.header.pid;
                if let Wire::Fork(fork) = &record.body
                    && task.child.is_none()
                    && strays.len() < STRAYS_MAX
                    && !correlator.follows(&record.header)
                {
                    strays.extend([pid, fork.child]);
                }
                match &record.body {
                    Wire::Exec(..) if record.header.root == LOCAL_RESOLVERS => {}
                    Wire::Exec(exec, _) if record.header.root == 0 => {
                        let unjudged = ToAgent::Unjudged { pid: Pid(pid), dev: exec.dev, ino: exec.ino };
                        *unexamined += u64::from(!seam.offer(&unjudged, &[]));
                    }
                    Wire::Exec(exec, _) => {
                        beginnings.exec(Pid(pid), *exec);
                        let root = record.header.flags & EXEC_ROOT != 0;
                        if root && task.child.is_some() {
                            begun = Some(pid);
                        }
                        // Also one that has become another go by exec: a toolchain switch.
                        let topmost = root || correlator.command_of(Pid(pid)).is_some();
                        let watched = topmost && task.child.is_none();
                        if let Some(go) = binaries.go_command(exec).filter(|_| watched) {
                            // It may be over before it is looked at.
                            let facts = Facts { go: Some(go), ..Facts::default() };
                            correlator.facts(Pid(pid), &facts, events);
                            queue.later(Monotonic(record.header.at_ns).since(task.start_ns), Pid(pid));
                        } else if topmost || exec.comm.starts_with(b"go") {
                            // Below CMD (a script, make) a go command shows what is set.
                            queue.now(Pid(pid));
                        }
                    }
                    Wire::Began(began, part) => {
                        if let Some(mut facts) = beginnings.part(Pid(pid), began, part, binaries, opener) {
                            // CMD's settings are known from its start, also where it sees other files.
                            facts.go = facts.go.filter(|_| task.child != Some(Pid(pid)));
                            facts.container = container(facts.cgroup.as_deref(), Pid(pid), opener);
                            correlator.facts(Pid(pid), &facts, events);
                        }
                    }
                    Wire::Exit(_) => {
                        queue.ended(Pid(pid));
                        if record.header.flags & EXIT_ROOT != 0
                            && let Some(command) = correlator.command_of(Pid(pid))
                            && throttles.remove(&command)
                            && let Reply::Quota(quota) = opener.ask(&Request::QuotaSince(command), None).0
                        {
                            correlator.quota(command, quota, events);
                        }
                    }
                    _ => {}
                }
            }
            Err(_) => correlator.undecoded(),
        });
        if let Some(pid) = begun {
            // A short command has gone before the agent can look at it.
            let facts =
                Facts { cwd: task.cwd.clone(), go: go_of_cmd(task, binaries, opener), ..Facts::default() };
            correlator.facts(Pid(pid), &facts, events);
        }
        let wait = |(_, pid, lock): &(u32, u32, Lock)| {
            locks::wait(Pid(*pid), lock, modules_of(state, correlator, Pid(*pid)))
        };
        let asked: Vec<_> = waits.iter().map(wait).collect();
        for ((tid, ..), facts) in waits.into_iter().zip(locks::facts(&asked, opener)) {
            correlator.lock_facts(Tid(tid), facts, events);
        }
        for pid in strays {
            let _ = seam.offer(&ToAgent::Unfollow { pid: Pid(pid) }, &[]);
        }
        if all {
            self.kernel_lost = ring.lost();
        }
        self.too_large = binaries.too_large();
        self.queue.ask(self.now(), seam);
        self.services.ask(self.now(), seam);
        let Self { services, correlator, events, .. } = self;
        services.hand_over(|pid, service| correlator.service(pid, service, events));
        self.take();
    }

    /// Events go to the state, the recording and the screen.
    fn take(&mut self) {
        if let Some(dashboard) = self.dashboard.as_mut().filter(|_| !self.events.is_empty()) {
            dashboard.dirty();
        }
        for event in std::mem::take(&mut self.events) {
            self.unflushed = true;
            // Behind this line nothing holds a credential: not the state, no file, no screen.
            let event = redact::event(event);
            let mut event = match &mut self.anonymizer {
                Some(anonymizer) => anonymizer.event(&event),
                None => event,
            };
            self.emitted_ns = self.emitted_ns.max(event.at_ns);
            event.at_ns = self.emitted_ns;
            if let Body::Command(update) = &event.body
                && update.command.wall_ns.is_some()
                && self.task.child.is_none()
            {
                self.kept.ended(update.command.id, event.at_ns);
            }
            if let Some(recorder) = &mut self.recorder {
                recorder.write(&event);
            }
            if let Some(stream) = &mut self.stream {
                stream.write(&event);
            }
            if let Some(export) = &mut self.export {
                export.write(&event);
            }
            self.state.apply(&event);
            if let Some(progress) = &mut self.progress
                && let Some(notice) = self.again.report(&self.state, &event)
            {
                self.notice = Some((event.at_ns, notice));
                progress.hurry();
            }
            let lines = self.lines.as_mut().map_or_else(Vec::new, |lines| lines.lines(&self.state, &event));
            if lines.into_iter().any(|line| writeln!(io::stdout(), "{line}").is_err()) {
                std::process::exit(0); // nobody reads any more, as with any filter
            }
        }
    }

    /// Ten times a second: intervals are reported, waits announced, files flushed.
    pub(super) fn tick(&mut self, ring: &Ring, seam: &Seam) {
        let now = self.now();
        self.correlator.flush(self.settled(), &mut self.events);
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(SOCKETS_TICKS) {
            self.ask_for_sockets(seam);
        }
        let sleeps = asleep(&self.correlator, self.task.start_ns, Some(ring));
        for (pid, since) in self.terminals.confirmed(&sleeps) {
            self.correlator.reads_terminal(pid, since, &mut self.events);
        }
        if self.ticks.is_multiple_of(TERMINAL_TICKS) {
            for (command, since) in self.terminals.due(&sleeps, now) {
                let pids = self.correlator.pids(command);
                if pids.len() > 1 {
                    let _ = seam.offer(&ToAgent::AtTerminal { command, since, pids }, &[]);
                }
            }
        }
        let Self { announcements, state, correlator, task, dashboard, .. } = self;
        let asleep = || asleep(correlator, task.start_ns, Some(ring));
        let seen = |command| dashboard.as_ref()?.seen(command);
        let reported = announcements.tick(state, now, asleep, monotonic_ns, seen);
        self.events.extend(reported.into_iter().map(|body| Event { at_ns: now, body }));
        self.kernel_lost = ring.lost();
        let loss = self.loss();
        if loss != self.state.loss() {
            self.events.push(Event { at_ns: now, body: Body::Loss(loss) });
        }
        self.take();
        self.flush();
        self.draw(now, ring, seam);
        self.ends_unseen(now, ring);
        let due = self.kept.due(now);
        self.blocked(&due.over);
        for command in due.over {
            if let Some(root) = self.correlator.preexisting_tree(command) {
                let _ = seam.offer(&ToAgent::Sockets { root }, &[]); // it sees that there are none any more
            }
            // What outlives its command is nobody's, and a go command that it starts is a command.
            for pid in self.correlator.pids(command) {
                let _ = seam.send(&ToAgent::Unfollow { pid }, &[]);
            }
            self.correlator.forget(command);
        }
        for command in due.forgotten {
            self.state.clear_command(command);
            self.accounted.remove(&command);
        }
    }

    /// There is a dashboard, or output to pass on.
    pub(super) const fn has_dashboard(&self) -> bool {
        self.dashboard.is_some()
    }

    /// From now on everything is seen.
    pub(super) fn ready(&mut self) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.ready();
        }
    }

    /// Keys are read, a frame is drawn. True: watching is over, and the agent is reported so.
    pub(super) fn dashboard(&mut self, ring: Option<&Ring>, seam: &Seam) -> bool {
        let now = self.now();
        let runs = self.correlator.running();
        let Self { dashboard, state, correlator, task, opener, .. } = self;
        let Some(dashboard) = dashboard else { return false };
        let asleep = || asleep(correlator, task.start_ns, ring);
        let left = dashboard.turn(state, now, runs, asleep, opener) == Action::Leave;
        if left && task.child.is_some() {
            say::line("the dashboard is closed, the command goes on; Ctrl-C ends it");
            return false;
        }
        if left {
            // A failure shows when no answer comes.
            let _ = seam.send(&ToAgent::Leave, &[]);
        }
        left
    }

    /// Commands whose end was among records that were lost: when they ended, and how, stays unknown.
    fn ends_unseen(&mut self, now: SinceStart, ring: &Ring) {
        if self.task.child.is_some() || self.gap_ns.is_none_or(|gap| now < gap + GAP_NS) {
            return;
        }
        self.gap_ns = None;
        let trees = self.correlator.running_trees().into_iter();
        let gone = trees.filter(|(tree, _)| ring.tree(*tree).is_none());
        for (tree, _) in gone.collect::<Vec<_>>() {
            self.correlator.ended_unseen(tree, &mut self.events);
        }
        self.take();
    }

    fn flush(&mut self) {
        self.unflushed = false;
        if let Some(Err(error)) = self.recorder.as_mut().map(Recorder::flush) {
            if let Some(dashboard) = &mut self.dashboard {
                dashboard.leave();
            }
            if let Some(progress) = &mut self.progress {
                progress.clear();
            }
            let what = format!("{error}; the observation goes on");
            say::with_hint(&what, "free some space, or record to another disk");
        }
        if let Some(Err(error)) = self.export.as_mut().map(Recorder::flush) {
            say::with_hint(
                &format!("{error}; the observation goes on"),
                "the line above may say why it ended",
            );
        }
        if let Some(Err(_)) = self.stream.as_mut().map(Recorder::flush) {
            std::process::exit(0); // nobody reads any more, as with any filter
        }
    }

    /// Prepares the progress line; it is drawn when the agent says that nobody reads the
    /// terminal.
    fn draw(&mut self, now: SinceStart, ring: &Ring, seam: &Seam) {
        if !self.progress.as_ref().is_some_and(Progress::due) {
            return;
        }
        let Some((id, command)) = self.state.commands().next() else { return };
        let ended = command.requests.values().filter(|request| request.end_ns.is_some()).count();
        let begun = command.record.as_ref().map_or(SinceStart::ZERO, |record| record.start_ns);
        let mut facts = vec![
            human::count(ended as u64, "request"),
            human::count(command.connections.len() as u64, "connection"),
        ];
        let notice = self.notice.as_ref().filter(|(at, _)| now < *at + NOTICE_NS);
        facts.extend(match (notice, self.again.total(id)) {
            (Some((_, text)), _) => Some(text.clone()),
            (None, 0) => None,
            (None, total) => Some(format!("{total} retransmitted")),
        });
        // While a thread of it works the command does not wait, whatever is in flight.
        let asleep = ring.tree(TreeId(RUN)).is_some_and(|tree| tree.since & 3 == ThreadState::Asleep as u64);
        let mut wait = waiting(&self.state, id, now).filter(|_| asleep);
        if let Some(wait) = &mut wait {
            wait.because = self.announcements.because(id).map(str::to_owned);
        }
        let columns = self.progress.as_ref().map_or(0, Progress::columns);
        self.line = status::line(now.saturating_sub(begun), &facts, wait.as_ref(), now, columns);
        let _ = seam.offer(&ToAgent::Terminal { pids: self.correlator.pids(id) }, &[]);
    }
}

/// The container of a control group, when it is another one than ours.
fn container(group: Option<&str>, pid: Pid, opener: &Opener) -> Option<Container> {
    // Most are in none, which needs nobody to look.
    let group = group.filter(|group| Group::of(group).is_some_and(|group| group.is_container()))?;
    match opener.ask(&Request::Container(group.to_owned(), pid), None).0 {
        Reply::Container(container) => Some(container),
        _ => None,
    }
}

/// The module cache of the command that a process belongs to.
fn modules_of(state: &State, correlator: &Correlator, pid: Pid) -> Option<PathBuf> {
    let command = state.command(correlator.command_with(pid)?)?;
    command.record.as_ref()?.go.gomodcache.as_ref().map(PathBuf::from)
}

/// Of each command that runs: since when all of it sleeps, where it does.
fn asleep(
    correlator: &Correlator,
    start_ns: Monotonic,
    ring: Option<&Ring>,
) -> BTreeMap<CommandId, Option<SinceStart>> {
    let trees = correlator.running_trees().into_iter();
    let known = trees.filter_map(|(tree, command)| Some((command, ring?.tree(tree)?.since)));
    let of = |since: u64| {
        let asleep = since & 3 == ThreadState::Asleep as u64;
        asleep.then(|| Monotonic(since >> SINCE_SHIFT).since(start_ns))
    };
    known.map(|(command, since)| (command, of(since))).collect()
}

/// Columns of the terminal on stderr; 80 when it is none.
pub fn columns() -> u16 {
    terminal_columns().unwrap_or(80)
}

/// Lines of the terminal on stderr; 24 when it is none.
pub fn rows() -> u16 {
    let tty = io::stderr().as_fd().try_clone_to_owned();
    tty.ok().and_then(|tty| progress::height(&File::from(tty))).unwrap_or(24)
}

fn terminal_columns() -> Option<u16> {
    // A descriptor that is there: the worker may not open another user's terminal by its name.
    let tty = io::stderr().as_fd().try_clone_to_owned().ok()?;
    progress::width(&tty.into())
}

/// Columns of a line that is printed while it goes on; files take wider ones than terminals.
pub(super) fn line_columns() -> usize {
    terminal_columns().map_or(LINE_COLUMNS, usize::from)
}
