//! What runs in an experiment: where, in which project, with which command line.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::experiments::{Competitor, Experiment};
use super::fault::{Fault, is_of_toolchain};
use crate::bench::few;
use crate::forward::{Forward, ForwardOptions};
use crate::git::{Repository, Sshd, VERSION};
use crate::go_env::{GoOptions, GoRun};
use crate::helpers::Helper;
use crate::lab::{GIT_HOST, Lab};
use crate::net::Place;
use crate::paths;
use crate::proxy::{Fake, Proxy, ending, paths as matching};
use crate::scenario::machine::{Hogs, Writers};
use crate::ssh::{Agent, DelayedGreeting, protect};

/// Neighbours of each kind.
const NEIGHBOURS: u32 = 3;
/// The CPU of a command that has only one.
pub(super) const CPU: &str = "0";
/// A toolchain that there is not: downloaded, it proves to be no zip.
const TOOLCHAIN: &str = "go1.99.0";
/// Bytes of what is served as its zip.
const TOOLCHAIN_BYTES: usize = 2_000_000;

/// For how long the test sleeps, nanoseconds.
const TEST_SLEEPS: &str = "LAB_TEST_SLEEPS_NS";
/// The test.
const TEST: &str = r#"package few

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestFew(t *testing.T) {
	sleeps, _ := strconv.Atoi(os.Getenv("LAB_TEST_SLEEPS_NS"))
	time.Sleep(time.Duration(sleeps))
	for range 4 {
		answer, err := http.Get("https://proxy.test/nothing/@v/list")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
}
"#;

/// What runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// So many of the smallest modules, one download at a time
    Small(usize),
    /// The sample's 79 modules, as many downloads at a time as there are CPUs
    Sample,
    /// A module that is in a git repository, fetched directly
    Git,
    /// The same over ssh, with an agent that has no keys and a key that is asked a passphrase for
    GitSsh,
    /// The sample and that module
    SampleAndGit,
    /// A project that asks for another toolchain
    AnotherGo,
    /// A project of so many packages that import nothing, with a cache that is empty: each is compiled
    Packages(usize),
    /// A test that asks the module proxy for something four times, one after the other
    Tested,
}

impl Workload {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small(_) => "small",
            Self::Sample => "sample",
            Self::Git => "git",
            Self::GitSsh => "git-ssh",
            Self::SampleAndGit => "sample-and-git",
            Self::AnotherGo => "another-go",
            Self::Packages(_) => "packages",
            Self::Tested => "tested",
        }
    }

    const fn has_git(self) -> bool {
        matches!(self, Self::Git | Self::GitSsh | Self::SampleAndGit)
    }
}

/// Where an experiment's runs take place.
pub(super) struct Scene {
    pub(super) lab: Lab,
    pub(super) git: Option<Proxy>,
    pub(super) forward: Option<Forward>,
    pub(super) ssh: Option<Ssh>,
    pub(super) workload: Workload,
    fault: Fault,
    writers: Option<Writers>,
    helpers: TempDir,
    _hogs: Option<Hogs>,
}

/// A repository over ssh, and what ssh waits for.
pub(super) struct Ssh {
    pub(super) agent: Agent,
    pub(super) greeting: DelayedGreeting,
    sshd: Sshd,
    repository: Repository,
}

/// What the key of [`Workload::GitSsh`] is protected with; [`Helper::Askpass`] knows it.
const PASSPHRASE: &str = "lab-passphrase";

impl Ssh {
    fn start(lab: &Lab) -> Result<Self> {
        let repository = Repository::of_module(&format!("{GIT_HOST}/over-ssh"))?;
        let (agent, sshd) = (Agent::start()?, lab.sshd()?);
        protect(&sshd.key(), PASSPHRASE)?;
        Ok(Self { agent, greeting: lab.delayed_greeting()?, sshd, repository })
    }

    fn env(&self, askpass: String) -> Vec<(String, String)> {
        let command = format!("{} {}", self.sshd.asking(), self.greeting.option());
        [
            ("GIT_SSH_COMMAND", command),
            ("SSH_AUTH_SOCK", self.agent.socket().display().to_string()),
            ("SSH_ASKPASS", askpass),
            ("SSH_ASKPASS_REQUIRE", "force".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

impl Scene {
    pub(super) fn start(experiment: &Experiment) -> Result<Self> {
        let wire = experiment.fault.is_of_the_wire();
        let lab = Lab::start_in(if wire { Place::Wire } else { Place::Loopback })?;
        let over_ssh = experiment.workload == Workload::GitSsh;
        let ssh = over_ssh.then(|| Ssh::start(&lab)).transpose()?;
        let repository = ssh.as_ref().map(|ssh| &ssh.repository);
        let git = experiment.workload.has_git().then(|| lab.git_host(repository)).transpose()?;
        let tunnels = experiment.fault == Fault::Tunnel;
        let forward = tunnels.then(|| lab.forward(&ForwardOptions::default())).transpose()?;
        let beside = |wanted| (experiment.competitor == wanted).then_some(NEIGHBOURS);
        let writers = beside(Competitor::Writers).map(Writers::start).transpose()?;
        let hogs = beside(Competitor::Hogs).map(Hogs::start).transpose()?;
        let Experiment { workload, fault, .. } = *experiment;
        let helpers = paths::temp("goobserve-helpers-").context("make a folder for helpers")?;
        Ok(Self { lab, git, forward, ssh, workload, fault, writers, helpers, _hogs: hogs })
    }

    /// Files that are none.
    pub(super) fn fakes(&self) -> Vec<Fake> {
        let (is_zip, bytes) = (ending(".zip"), TOOLCHAIN_BYTES);
        let matches = matching(move |path| is_of_toolchain(path) && is_zip.is_for(path));
        let toolchain = self.workload == Workload::AnotherGo;
        toolchain.then_some(Fake { matches, bytes }).into_iter().collect()
    }

    /// What go is to run, as a command line.
    fn helper(&self, helper: Helper, delay: Option<Duration>) -> Result<String> {
        helper.write(self.helpers.path(), delay.unwrap_or_default())
    }

    /// A project with fresh caches; what go runs itself takes that long.
    pub(super) fn project(&self, delay: Option<Duration>) -> Result<GoRun> {
        let text = |text: &str| text.to_owned();
        let mut env = self.forward.as_ref().map(Forward::env).unwrap_or_default();
        match self.fault {
            Fault::Goauth => env.push((text("GOAUTH"), self.helper(Helper::Token, delay)?)),
            Fault::Cacheprog => env.push((text("GOCACHEPROG"), self.helper(Helper::Cache, delay)?)),
            Fault::Toolexec => {
                let flags = format!("-modcacherw '-toolexec={}'", self.helper(Helper::Tool, delay)?);
                env.push((text("GOFLAGS"), flags));
            }
            _ => {}
        }
        if self.workload.has_git() {
            env.push((text("GOPRIVATE"), text(GIT_HOST)));
            // git reads these and not go's.
            env.push((text("GIT_SSL_CAINFO"), self.lab.ca().display().to_string()));
            env.push((text("GIT_CONFIG_NOSYSTEM"), text("1")));
        }
        if let Some(ssh) = &self.ssh {
            let takes = delay.filter(|_| self.fault == Fault::Askpass);
            env.extend(ssh.env(self.helper(Helper::Askpass, takes)?));
        }
        if self.workload == Workload::AnotherGo {
            env.push((text("GOTOOLCHAIN"), text("auto")));
        }
        if let Some(writers) = &self.writers {
            env.push((text("GOMODCACHE"), writers.folder()?.display().to_string()));
        }
        if self.workload == Workload::Tested {
            // Go's own packages are compiled once.
            let cache = paths::target().join("lab").join("gocache");
            fs::create_dir_all(&cache).context("make a folder for compiled packages")?;
            env.push((text("GOCACHE"), cache.canonicalize()?.display().to_string()));
            env.push((text("CGO_ENABLED"), text("0")));
            env.push((text(TEST_SLEEPS), self.slept(delay).as_nanos().to_string()));
        }
        let sample = matches!(self.workload, Workload::Sample | Workload::SampleAndGit);
        let alone = !sample && !matches!(self.workload, Workload::Packages(_));
        let gomaxprocs = alone.then_some(1);
        let options = GoOptions { gomaxprocs, env, ..GoOptions::default() };
        let run = if sample { self.lab.go_run(&options) } else { few::project(&self.lab, &options) }?;
        let more = match self.workload {
            Workload::Small(_) | Workload::Sample => return Ok(run),
            Workload::Packages(n) => {
                packages(&run, n, delay.unwrap_or_default())?;
                return Ok(run);
            }
            Workload::Tested => {
                fs::write(run.project().join("few_test.go"), TEST).context("write a test")?;
                fs::remove_file(run.project().join("main.go")).context("remove the project's program")?;
                return Ok(run);
            }
            Workload::Git | Workload::SampleAndGit => format!("require {GIT_HOST}/lib {VERSION}"),
            Workload::GitSsh => format!("require {GIT_HOST}/over-ssh {VERSION}"),
            Workload::AnotherGo => format!("toolchain {TOOLCHAIN}"),
        };
        let file = run.project().join("go.mod");
        let had = fs::read_to_string(&file).context("read the project's go.mod")?;
        fs::write(&file, format!("{had}\n{more}\n")).context("write the project's go.mod")?;
        Ok(run)
    }

    /// The command line.
    pub(super) fn command(&self) -> Result<Vec<String>> {
        let before: &[&str] = match (self.fault, self.workload) {
            // It succeeds when the download fails.
            (_, Workload::AnotherGo) => &["sh", "-c", "! \"$@\"", "sh"],
            (Fault::Cpu, _) => &["taskset", "-c", CPU],
            _ => &[],
        };
        let by_name =
            if let Workload::Small(n) = self.workload { few::smallest(&self.lab, n)? } else { vec![] };
        let go: &[&str] = match (self.fault, self.workload) {
            (Fault::Generate, _) => &["go", "generate", "./..."],
            (_, Workload::Packages(_)) => &["go", "build", "./..."],
            (_, Workload::Tested) => &["go", "test", "-count=1", "-vet=off", "."],
            _ => &["go", "mod", "download"],
        };
        let words = before.iter().chain(go).map(|word| (*word).to_owned());
        Ok(words.chain(by_name).collect())
    }

    /// How long the test is to sleep.
    fn slept(&self, delay: Option<Duration>) -> Duration {
        delay.filter(|_| self.fault == Fault::Test).unwrap_or_default()
    }

    /// The module whose lock is held: the smallest, which is a small workload's first.
    pub(super) fn smallest_module(&self) -> Result<String> {
        few::smallest(&self.lab, 1)?.into_iter().next().context("no module")
    }
}

/// Packages that import nothing; each has something to generate, which takes that long.
fn packages(run: &GoRun, number: usize, takes: Duration) -> Result<()> {
    fs::remove_file(run.project().join("main.go")).context("remove the project's program")?;
    for n in 0..number {
        let folder = run.project().join(format!("p{n}"));
        fs::create_dir(&folder).context("make a folder for a package")?;
        let text = format!(
            "package p{n}\n\n//go:generate sleep {}\n\nfunc N() int {{ return {n} }}\n",
            takes.as_secs_f64()
        );
        fs::write(folder.join("n.go"), text).context("write a package")?;
    }
    Ok(())
}
