//! Who called goobserve. In: `/proc` (through [`Machine`], so that tests bring their own).
//! Out: an [`Invoker`]: the user CMD is to run as and that user's whole environment, and a
//! line for everything that could not be restored.
//!
//! sudo strips variables, but its own process still has them. The way up goes through
//! processes of root only: where it meets somebody else, that is the caller. So a runner that
//! was itself started through `sudo -u runner` is the caller, not the one who started it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::procfs::{Account, Machine, Status};
use model::id::Pid;

/// Processes on the way up that are looked at.
const DEPTH_LIMIT: usize = 256;
/// Variables that are kept.
const VARIABLE_LIMIT: usize = 65_536;

/// The user who called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invoker {
    /// User
    pub uid: u32,
    /// Primary group
    pub gid: u32,
    /// Supplementary groups
    pub groups: Vec<u32>,
    /// The environment, in its own order
    pub env: Vec<(OsString, OsString)>,
    /// Home folder, from HOME or the account; `None` when neither says it
    pub home: Option<PathBuf>,
    /// File mode mask of the caller; `None` when it is not known and ours stays
    pub umask: Option<u32>,
    /// What could not be restored, a clause each, for the user to read
    pub not_restored: Vec<String>,
}

impl Invoker {
    /// A variable's value.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }
}

/// A way to become root, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tool {
    Sudo,
    Doas,
    Pkexec,
}

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Sudo => "sudo",
            Self::Doas => "doas",
            Self::Pkexec => "pkexec",
        }
    }

    /// The tool a process runs. Its file must be root's: everyone can call a program `sudo`.
    fn of(machine: &impl Machine, pid: Pid, status: &Status) -> Option<Self> {
        let name = match machine.exe(pid) {
            Some((path, 0)) => path.file_name()?.to_string_lossy().into_owned(),
            Some(_) => return None,
            // A process of root whose file cannot be seen: its name must do.
            None if status.euid == 0 => status.name.clone(),
            None => return None,
        };
        // An upgrade while it runs leaves this behind the name.
        match name.strip_suffix(" (deleted)").unwrap_or(&name) {
            "sudo" | "sudo-rs" | "sudo.ws" => Some(Self::Sudo),
            "doas" => Some(Self::Doas),
            "pkexec" => Some(Self::Pkexec),
            _ => None,
        }
    }
}

/// The outermost tool above us, and the processes around it.
struct Elevation {
    tool: Tool,
    pid: Pid,
    /// The process that called the tool, when it still lives
    above: Option<Status>,
    /// The process the tool started
    below: Pid,
}

/// Finds out who called process `own`.
///
/// Never fails: what is not known is taken from process `own` itself and named in
/// [`Invoker::not_restored`].
pub fn find(machine: &impl Machine, own: Pid) -> Invoker {
    let (own_env, _) = parse_environ(&machine.environ(own).unwrap_or_default());
    let Some(own_status) = machine.status(own) else {
        return Invoker {
            uid: machine.uid(),
            gid: machine.gid(),
            groups: Vec::new(),
            home: own_env.iter().find(|(key, _)| key == "HOME").map(|(_, value)| value.into()),
            env: own_env,
            umask: None,
            not_restored: vec!["the calling user: /proc/self/status cannot be read".into()],
        };
    };
    match outermost(machine, own, &own_status) {
        Some(elevation) => through(machine, &elevation, own_status, own_env),
        None => without(machine, own_status, own_env),
    }
}

/// Walks up through processes of root.
fn outermost(machine: &impl Machine, own: Pid, own_status: &Status) -> Option<Elevation> {
    let mut found: Option<Elevation> = None;
    let (mut below, mut status) = (own, own_status.clone());
    for _ in 0..DEPTH_LIMIT {
        if status.euid != 0 || status.ppid == Pid(0) {
            break;
        }
        let pid = status.ppid;
        let Some(next) = machine.status(pid) else { break };
        if let Some(tool) = Tool::of(machine, pid, &next) {
            // sudo with a terminal of its own is two processes, one above the other.
            let below = match &found {
                Some(inner) if inner.pid == below && inner.tool == tool => inner.below,
                _ => below,
            };
            let above = Some(next.ppid).filter(|ppid| *ppid > Pid(0)).and_then(|ppid| machine.status(ppid));
            found = Some(Elevation { tool, pid, above, below });
        }
        (below, status) = (pid, next);
    }
    found
}

/// The caller of a tool that is still there.
fn through(
    machine: &impl Machine,
    at: &Elevation,
    own: Status,
    own_env: Vec<(OsString, OsString)>,
) -> Invoker {
    let mut not_restored = Vec::new();
    let (below_env, _) = parse_environ(&machine.environ(at.below).unwrap_or_default());
    let reported = reported_by_tool(machine, at.tool, &below_env);
    // The caller may have ended, and its child been given to another process: then the tool's
    // own word counts.
    let above =
        at.above.as_ref().filter(|above| reported.as_ref().is_none_or(|reported| reported.0 == above.uid));
    let (uid, gid, groups, umask) = match (above, reported) {
        (Some(above), _) => (above.uid, above.gid, above.groups.clone(), above.umask),
        (None, Some((uid, gid))) => (uid, gid, groups_of(machine, uid, gid, &mut not_restored), None),
        (None, None) => {
            not_restored.push(format!("the calling user: who called {} has ended", at.tool.name()));
            (own.uid, own.gid, own.groups, own.umask)
        }
    };
    let env = match machine.environ(at.pid) {
        Some(bytes) if !bytes.is_empty() => {
            let (env, cut) = parse_environ(&bytes);
            not_restored.extend(cut.map(|cut| format!("part of the environment: {cut}")));
            env
        }
        _ => {
            not_restored.push(format!(
                "variables that {} removed or set (GOPROXY, HTTPS_PROXY, SSL_CERT_FILE, PATH …): \
                 the environment of its process {} cannot be read",
                at.tool.name(),
                at.pid
            ));
            as_user(own_env, machine.account(uid).as_ref())
        }
    };
    finish(machine, (uid, gid, groups), env, umask, not_restored)
}

/// No tool above us: we are the caller, or the tool has replaced itself by us and left only its
/// variables.
fn without(machine: &impl Machine, own: Status, own_env: Vec<(OsString, OsString)>) -> Invoker {
    let mut not_restored = Vec::new();
    let reported = [Tool::Sudo, Tool::Doas, Tool::Pkexec]
        .into_iter()
        .filter(|_| own.euid == 0)
        .find_map(|tool| reported_by_tool(machine, tool, &own_env).map(|reported| (tool, reported)));
    let Some((tool, (uid, gid))) = reported else {
        let ids = (own.uid, own.gid, own.groups);
        return finish(machine, ids, own_env, own.umask, not_restored);
    };
    let groups = groups_of(machine, uid, gid, &mut not_restored);
    not_restored.push(format!(
        "variables that {} removed or set (GOPROXY, HTTPS_PROXY, SSL_CERT_FILE, PATH …): its process has ended",
        tool.name()
    ));
    let env = as_user(own_env, machine.account(uid).as_ref());
    finish(machine, (uid, gid, groups), env, None, not_restored)
}

fn finish(
    machine: &impl Machine,
    (uid, gid, groups): (u32, u32, Vec<u32>),
    env: Vec<(OsString, OsString)>,
    umask: Option<u32>,
    not_restored: Vec<String>,
) -> Invoker {
    let home = env.iter().find(|(key, value)| key == "HOME" && !value.is_empty());
    let home = match home {
        Some((_, value)) => Some(PathBuf::from(value)),
        None => machine.account(uid).map(|account| account.home),
    };
    Invoker { uid, gid, groups, env, home, umask, not_restored }
}

/// User and group, as the tool's variables in a process it started report them.
fn reported_by_tool(machine: &impl Machine, tool: Tool, env: &[(OsString, OsString)]) -> Option<(u32, u32)> {
    let text = |name: &str| env.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.to_str());
    let number = |name| text(name)?.parse::<u32>().ok().filter(|id| *id != u32::MAX);
    let of_account = |account: Account| (account.uid, account.gid);
    match tool {
        Tool::Sudo => {
            let uid = number("SUDO_UID")?;
            Some((uid, number("SUDO_GID").or_else(|| Some(machine.account(uid)?.gid))?))
        }
        Tool::Doas => machine.account_named(text("DOAS_USER")?).map(of_account),
        Tool::Pkexec => machine.account(number("PKEXEC_UID")?).map(of_account),
    }
}

fn groups_of(machine: &impl Machine, uid: u32, gid: u32, not_restored: &mut Vec<String>) -> Vec<u32> {
    machine.account(uid).and_then(|account| machine.groups(&account.name, gid)).unwrap_or_else(|| {
        not_restored.push(format!("supplementary groups: user {uid} has no account here"));
        vec![gid]
    })
}

/// Our own environment, with what names the user put right, and without the tool's traces.
fn as_user(env: Vec<(OsString, OsString)>, account: Option<&Account>) -> Vec<(OsString, OsString)> {
    const OF_TOOLS: [&str; 7] =
        ["SUDO_COMMAND", "SUDO_USER", "SUDO_UID", "SUDO_GID", "SUDO_HOME", "DOAS_USER", "PKEXEC_UID"];
    let mut env: Vec<_> = env.into_iter().filter(|(key, _)| !OF_TOOLS.iter().any(|own| key == own)).collect();
    let Some(account) = account else { return env };
    let own: [(&str, &OsStr); 4] = [
        ("HOME", account.home.as_os_str()),
        ("SHELL", account.shell.as_os_str()),
        ("USER", OsStr::new(&account.name)),
        ("LOGNAME", OsStr::new(&account.name)),
    ];
    env.retain(|(key, _)| key != "MAIL" && !own.iter().any(|(name, _)| key == name));
    env.extend(own.map(|(name, value)| (name.into(), value.into())));
    env
}

/// Splits `/proc/PID/environ`. The second value says what was left out, when something was: an
/// entry that is no `NAME=value`, or a last one without its NUL (cut off in the middle).
pub fn parse_environ(bytes: &[u8]) -> (Vec<(OsString, OsString)>, Option<String>) {
    let (whole, cut) = match bytes.iter().rposition(|byte| *byte == 0) {
        _ if bytes.is_empty() => (bytes, false),
        Some(last) => (&bytes[..last], last + 1 < bytes.len()),
        None => (&bytes[..0], true),
    };
    let mut env = Vec::new();
    let (mut odd, mut over) = (0usize, false);
    for entry in whole.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        if env.len() == VARIABLE_LIMIT {
            over = true;
            break;
        }
        // A name may begin with `=`, but not be empty.
        match entry.iter().skip(1).position(|byte| *byte == b'=') {
            Some(at) => env.push((os(&entry[..=at]), os(&entry[at + 2..]))),
            None => odd += 1,
        }
    }
    let left_out = match (cut || over, odd) {
        (true, _) => Some(format!("it is cut off after {} variables", env.len())),
        (false, 0) => None,
        (false, odd) => Some(format!("{odd} entries are no NAME=value")),
    };
    (env, left_out)
}

fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

#[cfg(test)]
#[path = "invoker_tests.rs"]
mod tests;
