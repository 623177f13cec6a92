//! Runs a scenario: a lab of its own with the faults, the command under `goobserve run`, and its
//! end, which it is helped to when it would hang.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::machine::{HeldLock, Hogs, Writers, pause};
use super::spec::{Scenario, SharedCache};
use crate::bench::few;
use crate::go_env::{GoOptions, GoRun};
use crate::goobserve::binary;
use crate::lab::Lab;
use crate::net::Place;
use crate::proxy::Faults;

/// Longer than every scenario that ends by itself.
const LIMIT: Duration = Duration::from_secs(150);
/// How long an interrupted command takes to end.
const AFTER_INTERRUPT: Duration = Duration::from_secs(15);
/// What the run's folder is called in a recording.
const NEUTRAL: &str = "/lab";

/// And that of the helpers.
const HELPERS: &str = "/helpers";

/// A scenario that was run.
#[derive(Debug)]
pub struct Ran {
    /// The round-trip time
    pub rtt: Duration,
    /// goobserve's exit status
    pub status: ExitStatus,
    /// What the command and goobserve said
    pub stderr: String,
    /// The JSON report
    pub report: Value,
    /// The recording, with a neutral name for the run's folder
    pub recording: String,
    /// Paths that the module proxy and the checksum database were asked for, by their log
    pub asked: Vec<String>,
}

/// Runs it once with that round-trip time. Needs root.
pub fn observe(scenario: &Scenario, rtt: Duration) -> Result<Ran> {
    observed(scenario, rtt, None)
}

/// Runs it once as a report of its recording proposes: `line` is pasted into a shell, in which
/// `goobserve compare` runs the command once with what it tries. Needs root.
pub fn apply(scenario: &Scenario, rtt: Duration, line: &str) -> Result<Ran> {
    observed(scenario, rtt, Some(line))
}

fn observed(scenario: &Scenario, rtt: Duration, line: Option<&str>) -> Result<Ran> {
    let lab = Lab::start_in(Place::Wire)?;
    let wire = lab.net.wire.as_ref().context("a lab without a wire")?;
    wire.set_faults(scenario.wire.faults(&lab, rtt)?);
    lab.dns.set_faults(scenario.dns.faults());
    let tls = scenario.proxy.large_certificate.then(|| Arc::clone(&lab.authority.many_names));
    lab.proxy.set_faults(Faults { tls, ..scenario.proxy.faults() });
    let _local_resolver = scenario.dns.local_resolver.then(|| lab.dnsmasq(0, false)).transpose()?;
    let server = match &scenario.dns {
        dns if dns.local_resolver => lab.net.local_resolver(),
        dns if dns.nobody => lab.net.free(4),
        _ => lab.net.dns,
    };
    lab.net.resolve(&format!("nameserver {server}\n{}", scenario.dns.resolv_conf()))?;
    let git =
        scenario.git.as_ref().map(|spec| Ok::<_, anyhow::Error>((lab.git_host(None)?, spec))).transpose()?;
    if let Some((host, spec)) = &git {
        host.set_faults(spec.faults());
    }

    let forward = scenario.forward.as_ref().map(|spec| {
        let forward = lab.forward(&spec.options())?;
        forward.set_faults(spec.faults());
        Ok::<_, anyhow::Error>(forward)
    });
    let mut env = forward.transpose()?.map(|forward| forward.env()).unwrap_or_default();
    if scenario.proxy.plain_http {
        env.push(("GOPROXY".to_owned(), lab.plain_http()?));
    }

    let mut modules = modules(&lab, scenario)?;
    let helpers = crate::paths::temp("goobserve-helpers-").context("make a folder for helpers")?;
    let run = project(&lab, scenario, &modules, env, helpers.path())?;
    if scenario.command.required {
        modules.clear();
    }
    if scenario.command.compiled {
        compile(&lab, &run)?;
    }
    let _hogs = match scenario.machine.cpus() {
        Some(cpus) => Hogs::start_on(scenario.machine.hogs, &cpus)?,
        None => Hogs::start(scenario.machine.hogs)?,
    };
    let writers = Some(scenario.machine.disk_writers).filter(|n| *n > 0).map(Writers::start).transpose()?;
    let lock = scenario.machine.lock_ms.map(|ms| {
        let module = modules.first().context("a lock needs a module by name")?;
        Ok::<_, anyhow::Error>((HeldLock::take(&run.modcache(), module)?, Duration::from_millis(ms)))
    });
    let lock = lock.transpose()?;
    let [json, record] = ["report.json", "recording.jsonl"].map(|name| run.file(name));
    let mut command = wrapped(scenario, &run)?;
    command.arg("run").arg("--json").arg(&json).arg("--record").arg(&record).args(["--report", "none"]);
    match line {
        Some(line) => command = pasted(&command, &run, line),
        None => drop(command.arg("--").args(argv(scenario, &modules))),
    }
    if let Some(writers) = &writers {
        command.env("GOMODCACHE", writers.folder()?);
    }

    let begun = Instant::now();
    let mut running = lab.begin(&mut command)?;
    let pid = running.pid();
    let output = thread::scope(|scope| {
        let holder = lock.map(|(lock, time)| scope.spawn(move || lock.hold(time)));
        let time = scenario.machine.pause_ms.map(Duration::from_millis);
        let pauser = time.map(|time| {
            scope.spawn({
                let lab = &lab;
                move || pause(lab, pid, time)
            })
        });
        let give_up = scenario.command.give_up_s.map_or(LIMIT, Duration::from_secs_f64);
        if !running.ends_within(give_up.saturating_sub(begun.elapsed())) {
            ensure!(scenario.command.give_up_s.is_some(), "it did not end within {LIMIT:?}");
            running.signal_group(Signal::SIGINT)?;
            if !running.ends_within(AFTER_INTERRUPT) {
                bail!("it did not end {AFTER_INTERRUPT:?} after an interrupt");
            }
        }
        let held = holder.is_none_or(|holder| holder.join().unwrap_or(false));
        ensure!(held, "nobody waited for the lock");
        let paused = pauser.is_none_or(|pauser| pauser.join().unwrap_or(false));
        ensure!(paused, "there was nothing to pause");
        Ok(running.end())
    })?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let read =
        |file| fs::read_to_string(file).with_context(|| format!("{} and said {stderr}", output.status));
    let report = serde_json::from_str(&read(&json)?).context("parse the report")?;
    let recording = helped(neutral(&read(&record)?, &run)?, helpers.path())?;
    let asked = lab.proxy.log().requests().into_iter().map(|request| request.path).collect();
    Ok(Ran { rtt, status: output.status, stderr, report, recording, asked })
}

/// Has what the project's tests need compiled into the lab's cache, which is the command's, too.
fn compile(lab: &Lab, run: &GoRun) -> Result<()> {
    let mut command = run.go(&["test", "-vet=off", "-run=^$", "./..."]);
    let output = lab.output(command.env("GOFLAGS", "-modcacherw"))?;
    ensure!(output.status.success(), "compile: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A shell with that line, in which `goobserve compare` is `goobserve` with its arguments.
fn pasted(goobserve: &Command, run: &GoRun, line: &str) -> Command {
    let line = line.replacen(&format!("cd {NEUTRAL}/"), &format!("cd {}/", run.dir().display()), 1);
    let words = std::iter::once(goobserve.get_program()).chain(goobserve.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let with = words.join(" ");
    let script = format!("goobserve() {{ shift; {with} \"$@\"; }}\nsudo() {{ \"$@\"; }}\n{line}");
    let mut command = run.command("sh");
    command.args(["-c", &script]);
    command.envs(goobserve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// The recording without what it says of the machine: folders and the kernel.
fn neutral(recording: &str, run: &GoRun) -> Result<String> {
    let go = crate::paths::program("go").context("find go")?;
    let real = go.canonicalize()?;
    let mut text = recording.to_owned();
    for (path, name) in [(run.dir(), NEUTRAL), (&*go, "/go/bin/go"), (&*real, "/go/bin/go")] {
        text = text.replace(path.to_str().context("a path that is no text")?, name);
    }
    let disk = crate::paths::target().canonicalize()?;
    text = text.replace(disk.to_str().context("a path that is no text")?, "/disk");
    let cgroups = fs::read_to_string("/proc/self/cgroup").context("ask for the control group")?;
    // `0::/PATH`; the root of all is neutral.
    for path in cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).filter(|path| path.len() > 1) {
        text = text.replace(&format!("\"{path}\""), "\"/cgroup\"");
    }
    let kernel = nix::sys::utsname::uname().context("ask for the kernel")?;
    let kernel = kernel.release().to_str().context("a kernel that is no text")?.to_owned();
    Ok(text.replace(&kernel, "6.18.0"))
}

/// The recording with a neutral name for the helpers' folder, which may be hidden for it looks random.
fn helped(recording: String, helpers: &Path) -> Result<String> {
    let parent = helpers.parent().context("a folder without a parent")?;
    let hidden = parent.join("…");
    [helpers, &hidden].into_iter().try_fold(recording, |text, path| {
        Ok(text.replace(path.to_str().context("a path that is no text")?, HELPERS))
    })
}

/// The command's project and environment.
fn project(
    lab: &Lab,
    scenario: &Scenario,
    modules: &[String],
    mut env: Vec<(String, String)>,
    helpers: &Path,
) -> Result<GoRun> {
    let command = &scenario.command;
    env.extend(scenario.helpers.env(helpers)?);
    if command.compiled {
        let cache = crate::paths::target().join("lab").join("gocache");
        fs::create_dir_all(&cache).context("make a folder for compiled packages")?;
        env.push(("GOCACHE".to_owned(), cache.canonicalize()?.display().to_string()));
        env.push(("CGO_ENABLED".to_owned(), "0".to_owned()));
    }
    env.extend(command.env.clone());
    let options = GoOptions {
        go_sum: command.go_sum,
        http1: command.http1,
        sumdb_direct: command.sumdb_direct,
        gomaxprocs: command.gomaxprocs,
        few: false,
        env,
    };
    let run = few::project(lab, &options)?;
    for (name, text) in &command.files {
        let file = run.project().join(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).context("make a folder in the project")?;
        }
        fs::write(file, text).context("write a file of the project")?;
    }
    if !command.files.is_empty() {
        fs::remove_file(run.project().join("main.go")).context("remove the project's program")?;
    }
    let mut go_mod = String::from("module few.test/m\n\ngo 1.26\n");
    go_mod.extend(command.toolchain.iter().map(|name| format!("\ntoolchain {name}\n")));
    go_mod.extend(command.requires.iter().map(|module| format!("\nrequire {module}\n")));
    if command.required {
        go_mod.extend(modules.iter().map(|module| format!("\nrequire {}\n", module.replace('@', " "))));
    }
    fs::write(run.project().join("go.mod"), go_mod).context("write the project's go.mod")?;
    if scenario.machine.shared_cache == Some(SharedCache::Link) {
        let gocache = run.file("gocache");
        fs::remove_dir(&gocache)?;
        symlink(run.modcache(), &gocache)?;
    }
    Ok(run)
}

/// What is downloaded by name.
fn modules(lab: &Lab, scenario: &Scenario) -> Result<Vec<String>> {
    let command = &scenario.command;
    match (command.named.is_empty(), command.requires.is_empty()) {
        (false, _) => Ok(command.named.clone()),
        (true, false) => Ok(Vec::new()),
        (true, true) => few::smallest(lab, command.modules),
    }
}

fn argv(scenario: &Scenario, modules: &[String]) -> Vec<String> {
    scenario.command.argv.clone().unwrap_or_else(|| {
        ["go", "mod", "download"].map(str::to_owned).into_iter().chain(modules.iter().cloned()).collect()
    })
}

/// goobserve, in what changes its cores and its mounts.
fn wrapped(scenario: &Scenario, run: &GoRun) -> Result<Command> {
    let mut words = Vec::new();
    if let Some(cpus) = scenario.machine.cpus() {
        words.extend(["taskset".to_owned(), "-c".to_owned(), cpus]);
    }
    if scenario.machine.shared_cache == Some(SharedCache::Mount) {
        // In the mount namespace that the lab gives every command, so it ends with it.
        let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        words.extend(["sh", "-c", script, "sh"].map(str::to_owned));
        words.extend([run.modcache(), run.file("gocache")].map(|path| path.display().to_string()));
    }
    words.push(binary()?.display().to_string());
    let mut command = run.command(&words[0]);
    command.args(&words[1..]);
    if scenario.machine.shared_cache == Some(SharedCache::Path) {
        command.env("GOCACHE", run.modcache());
    }
    if scenario.git.is_some() {
        // git reads these and not go's.
        command.env("GIT_SSL_CAINFO", run.file("ca.pem")).env("GIT_CONFIG_NOSYSTEM", "1");
    }
    Ok(command)
}
