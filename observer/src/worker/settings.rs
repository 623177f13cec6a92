//! A go command's binary and environment in, its settings out.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use goelf::BuildInfo;
use model::id::Pid;
use model::record::Go;

use super::binaries::{Binaries, Binary};
use super::files::Files;
use super::own_modules;
use crate::goenv;
use crate::opener::{Opener, Reply, Request};
use crate::seam::Task;

/// Longest environment that is read; Linux allows 2 MB with arguments, go looks at a dozen names.
const ENVIRON_MAX: usize = 1 << 20;

/// The environment of a process that runs the program at `path`; `None` when it is not known: that of a
/// process that ends, or runs another program by now, reads as if it were empty.
pub(super) fn read_environ(pid: Pid, path: &str, descriptor: OwnedFd, opener: &Opener) -> Option<Vec<u8>> {
    let mut bytes = vec![0; ENVIRON_MAX];
    // In one call: the process may end between two, and what was read by then would look whole.
    let read = File::from(descriptor).read(&mut bytes).ok()?;
    bytes.truncate(read);
    let runs = || opener.ask(&Request::Runs(pid, path.to_owned()), None).0 == Reply::Yes;
    (read > 0 || runs()).then_some(bytes)
}

/// Whether a process lives, with memory of its own, and runs the program at `path`.
pub(crate) fn runs(pid: Pid, path: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    stat.and_then(|stat| has_memory(&stat)) == Some(true)
        && program.is_some_and(|program| program == Path::new(path))
}

/// Whether `/proc/PID/stat` is that of a process with memory of its own, not about to end; `None` when it
/// is cut.
fn has_memory(stat: &str) -> Option<bool> {
    /// `PF_EXITING` of `include/linux/sched.h`
    const EXITING: u64 = 4;
    // The name may hold anything; the third field follows it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(6);
    let flags: u64 = fields.next()?.parse().ok()?;
    let size: u64 = fields.nth(13)?.parse().ok()?;
    Some(flags & EXITING == 0 && size > 0)
}

/// What is known of CMD's go before it is looked at; `None` when it is no go command.
pub(super) fn go_of_cmd(task: &Task, binaries: &Binaries, opener: &Opener) -> Option<Go> {
    let binary =
        binaries.first().filter(|binary| binary.build.as_ref().is_some_and(BuildInfo::is_go_command))?;
    // With `-C` it goes elsewhere first.
    let stays = task.argv.get(1).is_none_or(|word| !word.starts_with("-C") && !word.starts_with("--C"));
    let cwd = task.cwd.as_deref().filter(|_| stays);
    Some(settings(Some(task.environ.as_bytes()), binary, &binary.path, task.cpus, cwd, &Files::Ours(opener)))
}

/// What `go env` would say; only what the binary itself says when the environment is not known.
/// `path`: its program's; `cwd`: its working folder, both as the kernel has them.
pub(super) fn settings(
    environ: Option<&[u8]>,
    binary: &Binary,
    path: &str,
    cpus: Option<u32>,
    cwd: Option<&str>,
    files: &Files<'_>,
) -> Go {
    let build = binary.build.as_ref();
    let of_binary = Go {
        version: build.map(|build| build.go_version.clone()),
        cgo: build.and_then(BuildInfo::cgo),
        binary: Some(path.to_owned()),
        ..Go::default()
    };
    let Some(environ) = environ else { return of_binary };
    let inside = files.inside(Path::new(path));
    let source = goenv::Source { environ, binary: Some(&inside), cpus };
    let Go { version, binary, cgo, .. } = of_binary;
    let mut go = Go { version, binary, cgo, ..goenv::settings(&source, |path| files.variables(path)) };
    let folder = |path: Option<&String>| files.number(Path::new(path?));
    let caches = folder(go.gomodcache.as_ref()).zip(folder(go.gocache.as_ref()));
    go.netrc = goenv::netrc(environ).and_then(|file| files.exists(&file));
    go.own_modules = cwd.and_then(|folder| {
        own_modules::of(&files.inside(Path::new(folder)), goenv::gowork(environ).as_deref(), |path| {
            files.modules(path)
        })
    });
    go.caches_shared = caches.filter(|(modules, builds)| modules == builds).map(|_| true);
    go
}

/// The control group of cgroup v2, or else the longest of version 1's.
pub(crate) fn cgroup_of(text: &str) -> Option<String> {
    let path = |line: &str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let unified = text.lines().find(|line| line.starts_with("0::")).and_then(path);
    let other = || text.lines().filter_map(path).max_by_key(String::len);
    unified.filter(|path| path != "/").or_else(other).or_else(|| Some("/".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_a_process_that_ends_is_not_known_and_an_empty_one_is() {
        let stat = |flags: u64, size: u64| {
            format!(
                "7 (a b) c) S 1 7 7 0 -1 {flags} 9 0 0 0 1 2 0 0 20 0 5 0 900 {size} 300 18446744073709551615"
            )
        };
        assert_eq!(has_memory(&stat(0x0040_0000, 1 << 30)), Some(true));
        assert_eq!(has_memory(&stat(0x0040_0004, 1 << 30)), Some(false));
        assert_eq!(has_memory(&stat(0x0040_0000, 0)), Some(false));
        assert_eq!(has_memory("7 (go) S 1"), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(has_memory(&own), Some(true), "{own}");
    }

    #[test]
    fn an_empty_environment_is_known_while_its_process_lives_only() {
        let mut child = std::process::Command::new("/bin/sleep").arg("600").env_clear().spawn().unwrap();
        let pid = child.id();
        let path = std::fs::canonicalize("/bin/sleep").unwrap();
        let environ = || File::open(format!("/proc/{pid}/environ")).unwrap();
        let read = |file: File| read_environ(Pid(pid), path.to_str().unwrap(), file.into(), &Opener::here());
        let (first, second) = (environ(), environ());
        // Until it has begun the program.
        while std::fs::read_link(format!("/proc/{pid}/exe")).unwrap() != path {
            std::thread::yield_now();
        }
        assert_eq!(read(first).or_else(|| read(environ())), Some(Vec::new()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read(second), None);
    }
}
