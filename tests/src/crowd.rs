//! Many go commands at once, by several users in several containers, beside one goobserve. In
//! goes their number; what goobserve reported of each is compared with the server's log of it.
//!
//! Each command has a path of its own in its GOPROXY, by which the log distinguishes them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::containers::Container;
use crate::go_env::{GoOptions, GoRun};
use crate::lab::{Lab, PROXY_HOST};
use crate::proxy::{ConnectionRecord, RequestRecord};
use crate::wait;
use crate::watching::{Reported, Watching};

/// Five users whom nobody else has, not even another crowd of this or any other process.
fn users() -> [u32; 5] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let crowd = NEXT.fetch_add(1, Ordering::Relaxed);
    std::array::from_fn(|nth| 1_000_000 + 100 * std::process::id() + 5 * (crowd % 18) + nth as u32)
}

/// How many containers there are.
pub const CONTAINERS: u8 = 3;
/// For all of them together, on a machine with two CPUs.
const LIMIT: Duration = Duration::from_mins(3);
/// Small modules of the sample.
const MODULES: [&str; 10] = [
    "github.com/google/uuid@v1.6.0",
    "github.com/tidwall/match@v1.1.1",
    "github.com/tidwall/pretty@v1.2.0",
    "github.com/julienschmidt/httprouter@v1.3.0",
    "github.com/mitchellh/go-homedir@v1.1.0",
    "github.com/hashicorp/errwrap@v1.1.0",
    "github.com/felixge/httpsnoop@v1.0.4",
    "github.com/cespare/xxhash/v2@v2.3.0",
    "github.com/fatih/color@v1.18.0",
    "golang.org/x/sync@v0.10.0",
];

/// One command that has ended.
#[derive(Debug, Default)]
struct Member {
    pid: u32,
    prefix: String,
    uid: u32,
    modules: Vec<&'static str>,
}

/// What came of it.
#[derive(Debug)]
pub struct Crowd {
    users: [u32; 5],
    members: Vec<Member>,
    /// What goobserve reported
    pub reported: Reported,
    connections: Vec<ConnectionRecord>,
    requests: Vec<RequestRecord>,
    /// From the first start to the last end
    pub took: Duration,
    /// The most that ran at the same time
    pub at_once: usize,
}

/// Processes of ours, killed when they are dropped before their end.
#[derive(Default)]
struct Children(Vec<Option<Child>>);

impl Children {
    fn running(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Waits for those that have ended; fails when one failed.
    fn reap(&mut self) -> Result<()> {
        for slot in &mut self.0 {
            if let Some(child) = slot
                && let Some(status) = child.try_wait().context("wait for a go command")?
            {
                *slot = None;
                ensure!(status.success(), "a go command ended with {status}");
            }
        }
        Ok(())
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in self.0.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts `count` downloads as fast as the machine allows, watched, and waits for their ends.
/// `deaf`: goobserve's worker does not run meanwhile, and the ring overflows.
pub fn download(lab: &Lab, count: usize, deaf: bool) -> Result<Crowd> {
    let containers: Vec<_> =
        (1..=CONTAINERS).map(|number| Container::start(lab, number)).collect::<Result<_>>()?;
    let users = users();
    let mut commands = (0..count)
        .map(|index| command(lab, index, users[index % users.len()]))
        .collect::<Result<Vec<_>>>()?;
    let watching = Watching::start(lab)?;
    if deaf {
        watching.stop_worker()?;
    }
    let begun = Instant::now();
    let (mut children, mut members, mut at_once) = (Children::default(), Vec::new(), 0);
    // One thread a container would compete with the commands: these are started in their turns.
    for (index, (_run, command, member)) in commands.iter_mut().enumerate() {
        let container = &containers[index % containers.len()];
        let child = container.inside(|| command.spawn())?.context("start a go command")?;
        members.push(Member { pid: child.id(), ..std::mem::take(member) });
        children.0.push(Some(child));
        children.reap()?;
        at_once = at_once.max(children.running());
    }
    let ended = wait::within(LIMIT, || match children.reap() {
        Ok(()) if children.running() > 0 => None,
        result => Some(result),
    });
    ended.with_context(|| format!("{} go commands run after {LIMIT:?}", children.running()))??;
    let took = begun.elapsed();
    if deaf {
        watching.continue_worker()?;
    } else {
        // What is missing is said below, command by command.
        watching.has_reported(count, &users)?;
    }
    let reported = watching.end()?;
    ensure!(lab.proxy.log().settled(Duration::from_secs(10)), "connections stayed open");
    let (connections, requests) = lab.proxy.log().take();
    Ok(Crowd { users, members, reported, connections, requests, took, at_once })
}

fn command(lab: &Lab, index: usize, uid: u32) -> Result<(GoRun, Command, Member)> {
    let prefix = format!("/u{index}~/");
    let modules: Vec<_> = (0..3 + index % 3).map(|nth| MODULES[(index + 3 * nth) % MODULES.len()]).collect();
    let proxy = format!("https://{PROXY_HOST}{}", prefix.trim_end_matches('/'));
    let options = GoOptions {
        // Each third one, so that both protocols are there at once.
        http1: index % 3 == 2,
        env: vec![("GOPROXY".to_owned(), proxy)],
        ..GoOptions::default()
    };
    let run = lab.go_run(&options)?;
    run.give_to(uid)?;
    let mut command = run.go(&["mod", "download"]);
    // Outside of a module: nothing but what is named is downloaded.
    command.args(&modules).current_dir(run.file("home")).uid(uid).gid(uid);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok((run, command, Member { pid: 0, prefix, uid, modules }))
}

impl Crowd {
    /// Says of each command how what was reported of it differs from the server's log; nothing when
    /// all is as it should be.
    pub fn differences(&self) -> Vec<String> {
        let mut logged: BTreeMap<&str, Vec<&RequestRecord>> = BTreeMap::new();
        let mut differences = Vec::new();
        for request in &self.requests {
            match request.path.find("~/") {
                Some(at) => logged.entry(&request.path[..at + 2]).or_default().push(request),
                None => differences.push(format!("nobody's request: {}", request.path)),
            }
        }
        let reported: Vec<&Value> = self.reported.of(&self.users).collect();
        if reported.len() != self.members.len() {
            differences.push(format!("{} commands, {} were reported", self.members.len(), reported.len()));
        }
        for member in &self.members {
            let of_it: Vec<&Value> = reported.iter().copied().filter(|c| c["pid"] == member.pid).collect();
            let logged = logged.get(member.prefix.as_str()).map_or(&[][..], Vec::as_slice);
            if logged.is_empty() {
                differences.push(format!("{}: no request reached the server", member.prefix));
            }
            match of_it[..] {
                [command] => differences.extend(self.difference(member, command, logged)),
                _ => differences.push(format!("pid {}: {} commands were reported", member.pid, of_it.len())),
            }
        }
        differences
    }

    /// How many requests were reported as the server has them, and those that were reported otherwise. What
    /// is not known (`null`) is not wrong.
    pub fn verdicts(&self) -> (usize, Vec<&Value>) {
        let members: BTreeMap<u64, &Member> =
            self.members.iter().map(|member| (u64::from(member.pid), member)).collect();
        let logged: BTreeSet<(&str, u64)> =
            self.requests.iter().map(|request| (&*request.path, u64::from(request.status))).collect();
        let ours: BTreeSet<u64> =
            self.reported.of(&self.users).filter_map(|c| c["command"].as_u64()).collect();
        let is_ours = |r: &&Value| r["command"].as_u64().is_some_and(|id| ours.contains(&id));
        let reported = self.reported.requests.values().filter(is_ours).filter(|r| r["path"].is_string());
        let (right, wrong): (Vec<_>, Vec<_>) = reported.partition(|request| {
            let path = request["path"].as_str().unwrap_or_default();
            let status = request["status"].as_u64();
            let known = request["pid"].as_u64().and_then(|pid| members.get(&pid));
            let of_its_own = known.is_some_and(|member| path.starts_with(&member.prefix));
            of_its_own && status.is_none_or(|status| logged.contains(&(path, status)))
        });
        (right.len(), wrong)
    }

    fn difference(&self, member: &Member, command: &Value, logged: &[&RequestRecord]) -> Option<String> {
        let mut argv = vec!["go", "mod", "download"];
        argv.extend(&member.modules);
        if command["argv"] != serde_json::json!(argv)
            || command["uid"] != member.uid
            || command["exit_code"] != 0
            || command["wall_ns"].is_null()
        {
            return Some(format!("not the command of {}: {command}", member.prefix));
        }
        let id = &command["command"];
        let peers: BTreeMap<u64, &str> = self
            .reported
            .connections
            .values()
            .filter(|connection| connection["command"] == *id)
            .filter_map(|c| Some((c["id"].as_u64()?, c["local"].as_str()?)))
            .collect();
        let reported: Vec<_> = self
            .reported
            .requests
            .values()
            .filter(|request| request["command"] == *id)
            .map(|r| {
                let peer =
                    r["connection"].as_u64().and_then(|id| peers.get(&id)).and_then(|p| p.parse().ok());
                let path = r["path"].as_str().unwrap_or_default().to_owned();
                (path, peer, r["status"].as_u64(), r["bytes"].as_u64(), r["pid"].as_u64())
            })
            .collect();
        let logged: Vec<_> = logged
            .iter()
            .map(|r| {
                let peer: Option<SocketAddr> = self.connections.get(r.connection).map(|c| c.peer);
                let (status, bytes) = (Some(u64::from(r.status)), Some(r.bytes));
                (r.path.clone(), peer, status, bytes, Some(u64::from(member.pid)))
            })
            .collect();
        let twice = |list: &[_]| list.len() - list.iter().collect::<BTreeSet<_>>().len();
        let (only_reported, only_logged): (Vec<_>, Vec<_>) = (
            reported.iter().filter(|entry| !logged.contains(entry)).collect(),
            logged.iter().filter(|entry| !reported.contains(entry)).collect(),
        );
        let same = only_reported.is_empty() && only_logged.is_empty() && twice(&reported) == twice(&logged);
        (!same).then(|| {
            format!("{}: reported alone {only_reported:?}, logged alone {only_logged:?}", member.prefix)
        })
    }

    /// How many requests the server answered.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }
}
