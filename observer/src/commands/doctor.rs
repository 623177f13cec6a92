//! `goobserve doctor`: this machine's way to its proxies, before anything is slow. In: the caller's settings. Out:
//! a page, group by group as they are known, and a file; 1 when something is wrong.
//!
//! What takes root (whether the kernel takes the BPF programs) comes first; then root is given up for good, and all
//! that others answer is read as the user.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use doctor::machine::Machine;
use doctor::settings::{self, Settings};
use doctor::{MODULE, Plan, machine, way};
use gateway::connect::Network;
use gateway::netrc::Netrc;
use model::doctor::{Check, Examination, Group, SCHEMA, State};
use model::json;
use model::user_error::UserError;
use render::doctor as view;
use render::page;
use resolver::resolv_conf::Servers;

use super::check::check_all;
use super::output::{complain, refused, write_page};
use super::serve::netrc;
use super::serve_dns::requires;
use super::{as_caller, caller};
use crate::check::{self, Unverified};
use crate::cli::options::DoctorOptions;
use crate::experiment::go_env;
use crate::kernel;
use crate::run::{Invoker, program, regular};
use crate::worker::AtomicFile;

/// Bytes of a file in /etc that are read.
const FILE_MAX: u64 = 1 << 20;

/// Does it; the exit status.
pub(super) fn execute(options: &DoctorOptions) -> i32 {
    match examine(options) {
        Ok(status) => status,
        Err(error) => refused(options.common, &error, 3),
    }
}

fn examine(options: &DoctorOptions) -> Result<i32, UserError> {
    let began = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let invoker = caller();
    let observing = observing(&invoker)?;
    as_caller()?;
    let files = [options.json.as_deref()];
    let file = options.json.as_deref().map(AtomicFile::create).transpose()?;
    let common = options.common;
    if !common.quiet {
        invoker.not_restored.iter().for_each(|what| complain(common, &format!("not restored: {what}"), ""));
    }
    let terminal = io::stdout().is_terminal();
    let width = if terminal { usize::from(crate::worker::columns()) } else { 100 };
    let color = common.color.decide(terminal, std::env::var_os("NO_COLOR").as_deref());
    let mut groups = Vec::new();
    let mut failed = None;
    let mut known = |group: Group| {
        let mut text = view::group(&group, page::Options { width, color }, common.quiet);
        if !groups.is_empty() && !text.is_empty() && !common.quiet {
            text.insert(0, '\n');
        }
        failed = failed.take().or(write_page(text.as_bytes(), &files).err());
        groups.push(group);
    };
    known(observing);
    let (plan, machine) = plan(&invoker);
    known(Group { name: "settings".into(), checks: settings::check(&plan.settings) });
    known(Group { name: "machine".into(), checks: machine::check(&plan.settings, &machine) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| UserError::new(format!("cannot wait for anything: {error}"), "check ulimit -n"))?;
    runtime.block_on(way(&plan, known));

    let of =
        |state| groups.iter().flat_map(|group| &group.checks).filter(|check| check.state == state).count();
    let (wrong, unknown) = (of(State::Wrong), of(State::Unknown));
    let examination = Examination {
        schema: SCHEMA.into(),
        tool: concat!("goobserve ", env!("CARGO_PKG_VERSION")).into(),
        started_unix_ns: u64::try_from(began.1.as_nanos()).unwrap_or(u64::MAX),
        took_ns: u64::try_from(began.0.elapsed().as_nanos()).unwrap_or(u64::MAX),
        groups,
        wrong,
        unknown,
    };
    if !common.quiet {
        failed = failed.or(write_page(format!("\n{}", view::summary(&examination)).as_bytes(), &files).err());
    }
    if let Some(file) = file {
        let text = json::pretty(&examination).map(|text| text + "\n").unwrap_or_default();
        file.finish(text.as_bytes())?;
    }
    match failed {
        None => Ok(examination.status()),
        Some(error) => {
            Err(UserError::new(format!("cannot write to stdout: {error}"), "check where stdout leads"))
        }
    }
}

/// What `goobserve check` says, in one line where all is well.
fn observing(invoker: &Invoker) -> Result<Group, UserError> {
    let mut checks = check_all(Some(invoker.var("PATH")))?;
    let is_root = nix::unistd::geteuid().is_root();
    let mut all = Vec::new();
    let go = checks.pop();
    if is_root {
        let verified = kernel::verify().map_err(|error| Unverified::new(&error));
        checks.push(check::programs(&checks, verified));
        all.extend(checks.iter().filter_map(of_check));
    } else {
        // What takes root is not known; what a file says is.
        let files = ["kernel", "BTF", "lockdown", "uprobes"];
        all.extend(checks.iter().filter(|check| files.contains(&check.name.as_str())).filter_map(of_check));
        all.push(
            Check::unknown("BPF", "whether this user may observe is not known: it takes root")
                .fix("sudo goobserve doctor"),
        );
    }
    if all.is_empty() {
        let kernel = checks.first().and_then(|check| check.why.split(' ').next()).unwrap_or_default();
        all.push(Check::good("BPF", format!("kernel {kernel} has BTF and takes all programs")));
    }
    all.extend(go.as_ref().map(|go| of_check(go).unwrap_or_else(|| Check::good("go", go.why.clone()))));
    Ok(Group { name: "observing".into(), checks: all })
}

/// A check that is not good.
fn of_check(check: &check::Check) -> Option<Check> {
    let name = check.name.as_str();
    let found = match check.state {
        check::State::Ok => return None,
        check::State::Degraded => Check::notice("observing-degraded", name, &check.why),
        check::State::Missing => Check::wrong("observing-impossible", name, &check.why),
        check::State::Unknown => Check::unknown(name, &check.why),
    };
    Some(match &check.hint {
        Some(hint) => found.fix(hint),
        None => found,
    })
}

fn plan(invoker: &Invoker) -> (Plan, Machine) {
    let go = go_env(None, invoker);
    let modcache = go.gomodcache().map(PathBuf::from);
    let is_auth_off = go.get("GOAUTH") == Some("off");
    let (env, files) = go.into_parts();
    let settings = Settings { env, files };
    let read = |path: &str| {
        let bytes = regular::read(Path::new(path), FILE_MAX).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let variable = |name: &str| invoker.var(name).map(|value| value.to_string_lossy().into_owned());
    let has = |name: &str| program::resolve(OsStr::new(name), invoker.var("PATH"), program::presence).ok();
    let go_version = has("go").and_then(|path| super::check::plan(&path).ok());
    let machine = Machine { modcache, go_version, has_git: has("git").is_some() };
    let netrc = if is_auth_off { Netrc::default() } else { netrc(invoker) };
    let module = module(&settings);
    let plan = Plan {
        network: Network::from_env(variable),
        servers: Servers::parse(&read("/etc/resolv.conf")),
        hosts_file: read("/etc/hosts"),
        netrc,
        module,
        settings,
    };
    (plan, machine)
}

/// What is asked for: a module of the Go project, in the version that the main module has.
fn module(settings: &Settings) -> (String, String) {
    let is_plain =
        |version: &str| version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    let dir = std::env::current_dir().ok();
    let requires: BTreeSet<_> = dir.map(|dir| requires(&dir)).unwrap_or_default().into_iter().collect();
    let of_project = requires.into_iter().find(|(module, version)| {
        module
            .strip_prefix("golang.org/x/")
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
            && is_plain(version)
            && settings.is_public(module)
    });
    of_project.unwrap_or_else(|| (MODULE.0.to_owned(), MODULE.1.to_owned()))
}
