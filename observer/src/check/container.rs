//! goobserve inside a container: what that has, and all at once what it lacks, as lines to paste. In: files
//! of this machine. Out: one check.

use super::Check;
use super::machine::{CAPABILITIES, Root};

/// What the worker's start takes besides: it gives up root's rights for those of the user who called.
const ALSO: [(&str, u32); 2] = [("CAP_SETUID", 7), ("CAP_SETGID", 6)];

/// A container, and what was found in it.
pub(super) struct Container {
    /// Names of capabilities it lacks, without `CAP_`
    lacking: Vec<&'static str>,
    /// Its process numbers are its own
    pids: bool,
    /// Who runs here, when that is not root
    user: Option<u32>,
    /// A profile of its engine's that keeps it from looking at other processes
    profile: Option<Profile>,
}

#[derive(Clone, Copy)]
enum Profile {
    AppArmor,
    SeLinux,
}

impl Container {
    /// One that lacks something: engines leave a file there, or the process numbers are a container's. `None` where
    /// nothing is lacking, or this is a machine.
    pub(super) fn of(at: &Root<'_>) -> Option<Self> {
        let status = super::machine::read(at, "proc/self/status")?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let effective = u64::from_str_radix(field("CapEff:")?, 16).ok()?;
        // Real, effective, saved, of file systems.
        let uid = field("Uid:").and_then(|ids| ids.split_whitespace().nth(1)?.parse::<u32>().ok());
        let needed = CAPABILITIES.iter().map(|(name, bit, _)| (*name, *bit)).chain(ALSO);
        let has_not = |(name, bit): (&'static str, u32)| (effective & 1 << bit == 0).then_some(name);
        let lacking: Vec<_> =
            needed.filter_map(has_not).map(|name| name.trim_start_matches("CAP_")).collect();
        let pids = !super::machine::is_initial_pid_namespace(at);
        let marked = is_marked(at);
        let user = uid.filter(|uid| *uid != 0);
        let lacks = pids || !lacking.is_empty() && marked;
        lacks.then(|| Self { lacking, pids, user, profile: profile(at) })
    }

    /// What it lacks.
    pub(super) fn check(&self) -> Check {
        let mut why: Vec<String> = Vec::new();
        if let Some(uid) = self.user {
            why.push(format!("it runs as user {uid}, not as root"));
        }
        if !self.lacking.is_empty() {
            why.push(format!("it lacks {}", self.lacking.join(", ")));
        }
        if self.pids {
            why.push("its process numbers are its own, where the kernel reports the host's".to_owned());
        }
        Check::missing("container", why.join("; "), self.remedy())
    }

    /// A line each for podman and docker, and for a pod.
    fn remedy(&self) -> String {
        let mut options = vec!["--pid=host".to_owned()];
        let mut pod = String::new();
        if self.user.is_some() {
            options.push("--user=0".to_owned());
            pod.push_str("runAsUser: 0, ");
        }
        options.extend(capabilities().map(|name| format!("--cap-add={name}")));
        pod.push_str(&format!("capabilities: {{add: [{}]}}", capabilities().collect::<Vec<_>>().join(", ")));
        match self.profile {
            Some(Profile::AppArmor) => {
                options.push("--security-opt=apparmor=unconfined".to_owned());
                pod.push_str(", appArmorProfile: {type: Unconfined}");
            }
            Some(Profile::SeLinux) => {
                options.push("--security-opt=label=disable".to_owned());
                pod.push_str(", seLinuxOptions: {type: spc_t}");
            }
            None => {}
        }
        let options = options.join(" ");
        format!(
            "podman run {options}\ndocker run {options}\nin a pod: hostPID: true, and of the container securityContext: {{{pod}}}"
        )
    }
}

/// Whether a container's engine has left its mark. A machine whose disk was made of an image has it too, and a
/// file system of a disk at its root.
pub(super) fn is_marked(at: &Root<'_>) -> bool {
    let marks = [".dockerenv", "run/.containerenv", "run/secrets/kubernetes.io"];
    marks.iter().any(|path| at.root.join(path).exists()) && !has_disk(at)
}

/// Whether a file system that engines give no container is at the root (proc(5), mountinfo: the fifth field is the
/// mount point, the type comes behind a dash).
fn has_disk(at: &Root<'_>) -> bool {
    let mounts = super::machine::read(at, "proc/self/mountinfo").unwrap_or_default();
    let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
    let kind = root.and_then(|line| line.split_once(" - ")).and_then(|(_, rest)| rest.split(' ').next());
    matches!(kind, Some("ext2" | "ext3" | "ext4" | "xfs" | "f2fs"))
}

/// What a container is given, without `CAP_`.
fn capabilities() -> impl Iterator<Item = &'static str> {
    let all = CAPABILITIES.iter().map(|(name, ..)| *name).chain(ALSO.map(|(name, _)| name));
    all.map(|name| name.trim_start_matches("CAP_"))
}

/// Which profile this process has, if it is one that engines give.
fn profile(at: &Root<'_>) -> Option<Profile> {
    let text = super::machine::read(at, "proc/self/attr/current")?;
    let text = text.trim_end_matches(['\0', '\n']);
    if text.ends_with("(enforce)") {
        Some(Profile::AppArmor)
    } else {
        text.contains(":container_t:").then_some(Profile::SeLinux)
    }
}
