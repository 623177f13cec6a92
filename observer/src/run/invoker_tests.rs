//! Process trees as sudo, doas and pkexec make them, on a machine made up.

use std::collections::BTreeMap;

use super::*;
use model::id::Pid;

#[derive(Default)]
struct Fake {
    processes: BTreeMap<Pid, (Status, &'static str, u32, Option<&'static str>)>,
    accounts: Vec<Account>,
}

impl Fake {
    /// Adds a process: pid, its parent, its user, its program, its environment.
    fn with(mut self, pid: Pid, ppid: Pid, uid: u32, exe: &'static str, env: Option<&'static str>) -> Self {
        let name = exe.rsplit('/').next().unwrap_or_default().to_owned();
        let groups = if uid == 0 { vec![0] } else { vec![uid, 27] };
        let status = Status { name, ppid, uid, euid: uid, gid: uid, groups, umask: Some(0o22) };
        let owner = if exe.starts_with("/home") { 1000 } else { 0 };
        self.processes.insert(pid, (status, exe, owner, env));
        self
    }

    fn account(mut self, name: &str, uid: u32) -> Self {
        let home = PathBuf::from(format!("/home/{name}"));
        self.accounts.push(Account { name: name.into(), uid, gid: uid, home, shell: "/bin/sh".into() });
        self
    }
}

impl Machine for Fake {
    fn status(&self, pid: Pid) -> Option<Status> {
        self.processes.get(&pid).map(|found| found.0.clone())
    }
    fn environ(&self, pid: Pid) -> Option<Vec<u8>> {
        self.processes.get(&pid)?.3.map(|env| env.as_bytes().to_vec())
    }
    fn exe(&self, pid: Pid) -> Option<(PathBuf, u32)> {
        let found = self.processes.get(&pid)?;
        (!found.1.is_empty()).then_some((found.1.into(), found.2))
    }
    fn account(&self, uid: u32) -> Option<Account> {
        self.accounts.iter().find(|account| account.uid == uid).cloned()
    }
    fn account_named(&self, name: &str) -> Option<Account> {
        self.accounts.iter().find(|account| account.name == name).cloned()
    }
    fn groups(&self, _name: &str, gid: u32) -> Option<Vec<u32>> {
        Some(vec![gid, 999])
    }
    fn uid(&self) -> u32 {
        0
    }
    fn gid(&self) -> u32 {
        0
    }
}

const USER_ENV: &str = "HOME=/home/u\0GOPROXY=https://proxy.test\0PATH=/home/u/bin:/bin\0";
const ROOT_ENV: &str = "HOME=/root\0PATH=/sbin:/bin\0SUDO_UID=1000\0SUDO_GID=1000\0SUDO_USER=u\0";

#[test]
fn the_users_environment_is_read_back_from_sudo() {
    let machine = Fake::default()
        .with(Pid(10), Pid(1), 1000, "/bin/bash", Some(""))
        .with(Pid(11), Pid(10), 0, "/usr/bin/sudo", Some(USER_ENV))
        .with(Pid(12), Pid(11), 0, "/usr/bin/goobserve", Some(ROOT_ENV));
    let invoker = find(&machine, Pid(12));
    assert_eq!((invoker.uid, invoker.gid), (1000, 1000));
    assert_eq!(invoker.groups, [1000, 27]);
    assert_eq!(invoker.var("GOPROXY").unwrap(), "https://proxy.test");
    assert_eq!(invoker.var("SUDO_UID"), None);
    assert_eq!(invoker.home.as_deref(), Some("/home/u".as_ref()));
    assert_eq!(invoker.umask, Some(0o22));
    assert_eq!(invoker.not_restored.len(), 0);
}

#[test]
fn two_sudos_and_a_shell_lead_to_the_outermost() {
    let machine = Fake::default()
        .with(Pid(10), Pid(1), 1000, "/bin/bash", None)
        .with(Pid(11), Pid(10), 0, "/usr/bin/sudo", Some(USER_ENV))
        .with(Pid(12), Pid(11), 0, "/usr/bin/sudo", Some("MONITOR=1\0"))
        .with(Pid(13), Pid(12), 0, "/bin/bash", Some(ROOT_ENV))
        .with(Pid(14), Pid(13), 0, "/usr/bin/sudo", Some("HOME=/root\0"))
        .with(Pid(15), Pid(14), 0, "/usr/bin/goobserve", Some("SUDO_UID=0\0SUDO_GID=0\0"));
    let invoker = find(&machine, Pid(15));
    assert_eq!(invoker.uid, 1000);
    assert_eq!(invoker.var("HOME").unwrap(), "/home/u");
}

#[test]
fn a_sudo_above_an_ordinary_user_is_none_of_ours() {
    let machine = Fake::default()
        .with(Pid(9), Pid(1), 0, "/usr/bin/sudo", Some("HOME=/root\0WRONG=1\0"))
        .with(Pid(10), Pid(9), 1000, "/bin/bash", None)
        .with(Pid(11), Pid(10), 0, "/usr/bin/sudo", Some(USER_ENV))
        .with(Pid(12), Pid(11), 0, "/usr/bin/goobserve", Some(ROOT_ENV));
    let invoker = find(&machine, Pid(12));
    assert_eq!((invoker.uid, invoker.var("WRONG")), (1000, None));
}

#[test]
fn without_sudo_the_caller_is_ourselves() {
    let machine = Fake::default().with(Pid(10), Pid(1), 0, "/bin/bash", None).with(
        Pid(12),
        Pid(10),
        0,
        "/usr/bin/goobserve",
        Some("A=1\0B==2\0"),
    );
    let invoker = find(&machine, Pid(12));
    assert_eq!(invoker.uid, 0);
    assert_eq!(invoker.env, [("A".into(), "1".into()), ("B".into(), "=2".into())]);
    assert_eq!(invoker.not_restored.len(), 0);
}

#[test]
fn a_users_program_named_sudo_is_not_believed() {
    let machine = Fake::default().with(Pid(10), Pid(1), 0, "/home/u/sudo", Some("EVIL=1\0")).with(
        Pid(12),
        Pid(10),
        0,
        "/usr/bin/goobserve",
        Some("A=1\0"),
    );
    assert_eq!(find(&machine, Pid(12)).var("EVIL"), None);
}

#[test]
fn a_caller_that_has_ended_is_known_from_sudos_word() {
    let machine = Fake::default()
        .account("u", 1000)
        .with(Pid(1), Pid(0), 0, "/sbin/init", None)
        .with(Pid(11), Pid(1), 0, "/usr/bin/sudo", Some(USER_ENV))
        .with(Pid(12), Pid(11), 0, "/usr/bin/goobserve", Some(ROOT_ENV));
    let invoker = find(&machine, Pid(12));
    assert_eq!((invoker.uid, invoker.gid, invoker.groups), (1000, 1000, vec![1000, 999]));
}

#[test]
fn an_environment_that_cannot_be_read_is_named_and_the_users_own_parts_put_right() {
    let machine = Fake::default()
        .account("u", 1000)
        .with(Pid(10), Pid(1), 1000, "/bin/bash", None)
        .with(Pid(11), Pid(10), 0, "/usr/bin/sudo", None)
        .with(Pid(12), Pid(11), 0, "/usr/bin/goobserve", Some(ROOT_ENV));
    let invoker = find(&machine, Pid(12));
    assert_eq!(invoker.var("HOME").unwrap(), "/home/u");
    assert_eq!(invoker.var("SUDO_UID"), None);
    assert!(invoker.not_restored[0].contains("GOPROXY"), "{:?}", invoker.not_restored);
    assert!(invoker.not_restored[0].contains("process 11"), "{:?}", invoker.not_restored);
}

#[test]
fn a_cut_environment_keeps_its_whole_entries_and_is_named() {
    let machine = Fake::default()
        .with(Pid(10), Pid(1), 1000, "/bin/bash", None)
        .with(Pid(11), Pid(10), 0, "/usr/bin/sudo", Some("A=1\0GOPRO"))
        .with(Pid(12), Pid(11), 0, "/usr/bin/goobserve", Some(ROOT_ENV));
    let invoker = find(&machine, Pid(12));
    assert_eq!(invoker.env, [("A".into(), "1".into())]);
    assert!(invoker.not_restored[0].contains("cut off after 1"), "{:?}", invoker.not_restored);
}

#[test]
fn tools_that_replaced_themselves_are_known_from_their_variables() {
    for (env, name) in [
        ("HOME=/root\0DOAS_USER=u\0", "doas"),
        ("HOME=/root\0PKEXEC_UID=1000\0", "pkexec"),
        (ROOT_ENV, "sudo"),
    ] {
        let machine = Fake::default().account("u", 1000).with(Pid(10), Pid(1), 1000, "/bin/bash", None).with(
            Pid(12),
            Pid(10),
            0,
            "/usr/bin/goobserve",
            Some(env),
        );
        let invoker = find(&machine, Pid(12));
        assert_eq!(invoker.uid, 1000, "{name}");
        assert_eq!(invoker.var("HOME").unwrap(), "/home/u");
        assert!(invoker.not_restored.iter().any(|line| line.contains(name)), "{:?}", invoker.not_restored);
    }
}

#[test]
fn variables_of_a_tool_mean_nothing_to_an_ordinary_user() {
    let machine =
        Fake::default().account("u", 1000).with(Pid(12), Pid(1), 1001, "/usr/bin/goobserve", Some(ROOT_ENV));
    let invoker = find(&machine, Pid(12));
    assert_eq!((invoker.uid, invoker.var("HOME").unwrap()), (1001, "/root".as_ref()));
}

#[test]
fn a_ring_of_parents_ends() {
    let machine = Fake::default().with(Pid(10), Pid(12), 0, "/usr/bin/sudo", Some(USER_ENV)).with(
        Pid(12),
        Pid(10),
        0,
        "/usr/bin/goobserve",
        Some("A=1\0"),
    );
    assert_eq!(find(&machine, Pid(12)).uid, 0);
}

#[test]
fn odd_entries_are_counted_and_left_out() {
    let (env, left_out) = parse_environ(b"noequals\0=x=1\0A=\0\0");
    assert_eq!(env, [("=x".into(), "1".into()), ("A".into(), "".into())]);
    assert_eq!(left_out.unwrap(), "1 entries are no NAME=value");
    assert_eq!(parse_environ(b""), (Vec::new(), None));
}
