//! Go binaries that come while `goobserve watch` runs: new, replaced, by other names, in other
//! namespaces, deleted, or another toolchain's. Each request of each is reported; the way to the
//! servers leaves time to attach, as any network does.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use tests::containers::Container;
use tests::lab::Lab;
use tests::net::Place;
use tests::starts::{Fresh, Start, command_of, differences, far_away};
use tests::toolchains::{NEWEST, Toolchain};
use tests::watching::{Reported, Watching};
use tests::{paths, procs, wait};

/// How far away the servers are, so that a busy machine attaches in time, too; how much nearer they
/// may be the bench of starts measures.
const FAR: Duration = Duration::from_millis(100);

fn lab(test: &str) -> Option<Lab> {
    let lab = Lab::for_test(test)?;
    far_away(&lab, FAR);
    Some(lab)
}

/// Ends goobserve; what it reported of all these starts is what the server has.
#[track_caller]
fn complete(lab: &Lab, watching: Watching, starts: &[Start]) -> Reported {
    let (differences, reported) = differences(lab, watching, starts).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
    reported
}

#[test]
fn every_request_of_a_binary_never_seen_is_reported() {
    let Some(lab) = lab("every_request_of_a_binary_never_seen_is_reported") else { return };
    let watching = Watching::start(&lab).unwrap();
    let mut starts = Vec::new();
    for number in 0..5 {
        let fresh = Fresh::new().unwrap();
        let mut start = fresh.download(&lab, &fresh.binary(), number).unwrap();
        start.run(&lab).unwrap();
        starts.push(start);
    }
    complete(&lab, watching, &starts);
}

#[test]
fn hard_links_symbolic_links_and_bind_mounts_are_the_same_binary() {
    let Some(lab) = lab("hard_links_symbolic_links_and_bind_mounts_are_the_same_binary") else { return };
    let watching = Watching::start(&lab).unwrap();
    let fresh = Fresh::new().unwrap();
    for name in ["hard", "symbolic", "bind"] {
        fs::create_dir(fresh.neighbour(name)).unwrap();
    }
    fs::hard_link(fresh.binary(), fresh.neighbour("hard/go")).unwrap();
    std::os::unix::fs::symlink(fresh.binary(), fresh.neighbour("symbolic/go")).unwrap();
    fs::write(fresh.neighbour("bind/go"), "").unwrap();
    let mut starts = Vec::new();
    for (number, name) in ["go", "hard/go", "symbolic/go", "bind/go"].into_iter().enumerate() {
        let mut start = fresh.download(&lab, &fresh.neighbour(name), number).unwrap();
        let begin = |command: &mut Command| -> anyhow::Result<_> {
            // In a mount namespace that ends with the command.
            lab.net.inside(|| {
                let (from, to) = (fresh.binary(), fresh.neighbour("bind/go"));
                mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
                Ok(command.spawn()?)
            })?
        };
        start.begin(begin).unwrap();
        assert!(start.end().unwrap().success(), "{name}");
        starts.push(start);
    }
    complete(&lab, watching, &starts);
}

#[test]
fn one_binary_below_two_overlays_is_reported_once() {
    let Some(lab) = lab("one_binary_below_two_overlays_is_reported_once") else { return };
    let watching = Watching::start(&lab).unwrap();
    let fresh = Fresh::new().unwrap();
    fs::create_dir(fresh.neighbour("image")).unwrap();
    fs::rename(fresh.binary(), fresh.neighbour("image/go")).unwrap();
    fs::create_dir(fresh.neighbour("empty")).unwrap();
    fs::create_dir(fresh.neighbour("merged")).unwrap();
    let mut starts = Vec::new();
    // As containers of one image: different files for stat, one for the kernel's probes.
    for number in 0..3 {
        let mut start = fresh.download(&lab, &fresh.neighbour("merged/go"), number).unwrap();
        let begin = |command: &mut Command| -> anyhow::Result<_> {
            lab.net.inside(|| {
                let layers = format!(
                    "lowerdir={}:{}",
                    fresh.neighbour("image").display(),
                    fresh.neighbour("empty").display()
                );
                let kind = Some("overlay");
                mount(kind, &fresh.neighbour("merged"), kind, MsFlags::empty(), Some(layers.as_str()))?;
                Ok(command.spawn()?)
            })?
        };
        start.begin(begin).unwrap();
        starts.push(start);
    }
    for start in &mut starts {
        assert!(start.end().unwrap().success());
    }
    complete(&lab, watching, &starts);
}

#[test]
fn a_binary_that_is_replaced_is_attached_to_again() {
    let Some(lab) = lab("a_binary_that_is_replaced_is_attached_to_again") else { return };
    let watching = Watching::start(&lab).unwrap();
    let fresh = Fresh::new().unwrap();
    let other = Toolchain::get(NEWEST).ok().map(|other| Fresh::of(&other.root).unwrap());
    let other = other.unwrap_or_else(|| Fresh::new().unwrap());
    let mut starts = Vec::new();
    let mut run = |number, of: &Fresh| {
        let mut start = of.download(&lab, &fresh.binary(), number).unwrap();
        start.run(&lab).unwrap();
        starts.push(start);
    };
    run(0, &fresh);
    // As a package manager does: another file of that name.
    other.copy_to(&fresh.neighbour("new")).unwrap();
    fs::rename(fresh.neighbour("new"), fresh.binary()).unwrap();
    run(1, &other);
    // As `cp` does: other instructions in the same file, where the old ones had probes.
    fresh.copy_to(&fresh.binary()).unwrap();
    run(2, &fresh);
    complete(&lab, watching, &starts);
}

#[test]
fn a_binary_that_is_deleted_while_it_runs_is_reported() {
    let Some(lab) = lab("a_binary_that_is_deleted_while_it_runs_is_reported") else { return };
    let watching = Watching::start(&lab).unwrap();
    let fresh = Fresh::new().unwrap();
    let mut start = fresh.download(&lab, &fresh.binary(), 0).unwrap();
    start.begin(|command| lab.spawn(command)).unwrap();
    fs::remove_file(fresh.binary()).unwrap(); // its exec is over
    assert!(start.end().unwrap().success());
    complete(&lab, watching, &[start]);
}

#[test]
fn another_toolchain_that_takes_over_is_attached_to() {
    let name = "another_toolchain_that_takes_over_is_attached_to";
    let Some(lab) = lab(name) else { return };
    let Some(toolchain) = Toolchain::for_test(name, NEWEST) else { return };
    let watching = Watching::start(&lab).unwrap();
    let fresh = Fresh::new().unwrap();
    let version = format!("go{NEWEST}");
    // A GOROOT with a binary of its own, by the name that go looks for in PATH before it downloads.
    let folder = fresh.neighbour("toolchain");
    fs::create_dir_all(folder.join("bin")).unwrap();
    for entry in fs::read_dir(&toolchain.root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "bin" {
            std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    paths::copy_program(&toolchain.root.join("bin/go"), &folder.join("bin").join(&version)).unwrap();
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let env = vec![("GOTOOLCHAIN".to_owned(), version.clone()), ("PATH".to_owned(), path)];
    let mut start = fresh.download_with(&lab, &fresh.binary(), 0, env).unwrap();
    start.run(&lab).unwrap();
    let pid = start.pid;
    let reported = complete(&lab, watching, &[start]);
    let go = &command_of(&reported, pid).unwrap()["go"];
    assert_eq!(go["version"], version, "{go}");
}

/// A group of its own, of whichever version there is; removed when dropped.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn make(name: &str) -> Option<Self> {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists())?;
        let path = root.join(name);
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A binary that only a container has, on a file system of its own; with the container's group.
#[track_caller]
fn in_a_container(test: &str, args: &[&str]) {
    let Some(lab) = Lab::for_test_in(test, Place::Veth) else { return };
    if args.is_empty() {
        far_away(&lab, FAR);
    }
    let container = Container::start(&lab, 1).unwrap();
    let watching = Watching::start_with(&lab, args).unwrap();
    let fresh = Fresh::new().unwrap();
    let place = fresh.neighbour("only-there");
    fs::create_dir(&place).unwrap();
    let mut start = fresh.download(&lab, &place.join("go"), 0).unwrap();
    let group = format!("goobserve-test-{}", std::process::id());
    let cgroup = Cgroup::make(&group);
    let device = container
        .inside(|| {
            let tmpfs = Some("tmpfs");
            mount(tmpfs, &place, tmpfs, MsFlags::empty(), None::<&str>).unwrap();
            fresh.copy_to(&place.join("go")).unwrap();
            fs::metadata(&place).unwrap().dev()
        })
        .unwrap();
    if !args.is_empty() {
        // New namespaces' file systems are looked for each second.
        let holder = watching.holder().expect("something holds");
        wait::until("a mark on the file system", || procs::marks(holder, device).then_some(()));
    }
    if let Some(cgroup) = &cgroup {
        start.enter_group(&cgroup.0.join("cgroup.procs"));
    }
    start.begin(|command| container.inside(|| Ok(command.spawn()?))?).unwrap();
    assert!(start.end().unwrap().success());
    assert!(!place.join("go").exists(), "nobody else has that binary");
    let pid = start.pid;
    let reported = complete(&lab, watching, &[start]);
    if cgroup.is_some() {
        let command = command_of(&reported, pid).unwrap();
        assert!(command["cgroup"].as_str().is_some_and(|path| path.contains(&group)), "{command}");
    }
}

#[test]
fn a_binary_that_only_a_container_has_is_attached_to_and_its_cgroup_reported() {
    in_a_container("a_binary_that_only_a_container_has_is_attached_to_and_its_cgroup_reported", &[]);
}

#[test]
fn a_binary_that_only_a_container_has_is_held() {
    in_a_container("a_binary_that_only_a_container_has_is_held", &["--hold-exec"]);
}
