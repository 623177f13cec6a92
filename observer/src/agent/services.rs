//! Services that run containers for others (dockerd, `podman system service`): in goes the program that asks,
//! out come the processes that may run what it asks for. What they start is theirs, and no child of the one
//! that asked.

use std::path::Path;

use model::id::Pid;

/// Processes of services that are followed for one command.
const SERVICES_MAX: usize = 16;

/// The services that run what `client` asks for, and what they are called. Which of several is asked is not
/// known: those of the user who asks come before those of others.
pub(super) fn of(client: &str, asks: Pid) -> Vec<(Pid, String)> {
    let names: &[&str] = match client {
        "docker" | "docker-compose" => &["dockerd", "containerd", "buildkitd"],
        "nerdctl" => &["containerd", "buildkitd"],
        _ => &["podman"],
    };
    let found: Vec<(Pid, String, bool)> = super::processes::processes()
        .into_iter()
        .filter(|stat| names.contains(&&*stat.comm) && stat.pid != asks)
        .filter(|stat| stat.comm != "podman" || is_podmans(stat.pid))
        .map(|stat| (stat.pid, stat.comm.clone(), same_user(stat.pid, asks)))
        .collect();
    let own = found.iter().any(|(.., own)| *own);
    let of_user = found.into_iter().filter(|(.., is_own)| *is_own == own);
    of_user.map(|(pid, comm, _)| (pid, comm)).take(SERVICES_MAX).collect()
}

/// Whether that podman is its service: `podman [FLAGS] system service`.
fn is_podmans(pid: Pid) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.windows(2).any(|pair| pair == [&b"system"[..], b"service"])
}

fn same_user(one: Pid, other: Pid) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let uid = |pid: Pid| std::fs::metadata(Path::new("/proc").join(pid.to_string())).ok().map(|of| of.uid());
    uid(one).is_some() && uid(one) == uid(other)
}
