//! Remedies: what `--with` changes for a command. In: the words after `--with`, one user's
//! environment and resolv.conf. Out: the environment and the private resolv.conf that the command
//! gets. Pure: nothing on the machine is changed here, and nothing outlives the command.

pub mod container;
mod deadline;
mod godebug;
pub mod keep;
mod resolv;
mod servers;
mod setting;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use deadline::Deadline;
pub use deadline::LEAST as DEADLINE_LEAST;
use godebug::Switch;
use resolv::Line;
pub use resolv::RESOLV_CONF;
use servers::Server;
use setting::Setting;

use crate::user_error::UserError;

/// One change for one command, as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remedy {
    kind: Kind,
    typed: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// A variable
    Setting(Setting),
    /// A key of GODEBUG
    Switch(Switch),
    /// A line of resolv.conf
    Line(Line),
    /// A server beside the command
    Server(Server),
    /// It is ended and started again when nothing moves
    Deadline(Deadline),
}

/// The fewest pairs of runs, with and without, whose shift has an interval of 95 %: the signed-rank test
/// of five has no smaller p than 1/16.
pub const PAIRS_MIN: usize = 6;
/// Runs of the command when nothing else is asked for: each way, and one that warms up.
pub const RUNS_IN_ALL: u64 = 2 * PAIRS_MIN as u64 + 1;

/// Names of all remedies, for help and errors.
pub const NAMES: &str = "concurrency=N, http1, no-mlkem, proxy=URL, sumdb=VALUE, env=NAME=VALUE, resolv=LINE, gateway, dns-cache, deadline";

/// Remedies that are one word as they are, for completions.
pub const OFFERED: [&str; 9] = [
    "concurrency=16",
    "http1",
    "no-mlkem",
    "proxy=direct",
    "sumdb=off",
    "env=GOTOOLCHAIN=local",
    "gateway",
    "dns-cache",
    "deadline",
];

impl FromStr for Remedy {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if text.contains('\0') {
            return Err(UserError::new("a remedy holds a NUL byte", "remove it"));
        }
        let kind = match Switch::named(name) {
            Some(switch) if value.is_none() => Kind::Switch(switch),
            Some(_) => {
                return Err(UserError::new(format!("{name} takes no value"), format!("--with {name}")));
            }
            None if let Some(server) = Server::named(name) => {
                if value.is_some() {
                    return Err(UserError::new(format!("{name} takes no value"), format!("--with {name}")));
                }
                Kind::Server(server)
            }
            None if name == Deadline::NAME => Kind::Deadline(Deadline::parse(value)?),
            None if name == "resolv" => {
                Kind::Line(Line::parse(needed(name, value, "resolv='options timeout:1'")?)?)
            }
            None => Kind::Setting(Setting::parse(name, value)?),
        };
        Ok(Self { kind, typed: text.to_owned() })
    }
}

/// A value that may not be left out.
fn needed<'a>(name: &str, value: Option<&'a str>, example: &str) -> Result<&'a str, UserError> {
    value
        .filter(|value| !value.trim().is_empty())
        .ok_or_else(|| UserError::new(format!("{name} needs a value"), format!("--with {example}")))
}

impl Remedy {
    /// What two of a kind would fight for; `None` for those that add up.
    fn place(&self) -> Option<&str> {
        match &self.kind {
            Kind::Setting(setting) => Some(setting.variable()),
            Kind::Switch(switch) => Some(switch.key()),
            // It stands in front of whatever another one makes GOPROXY.
            Kind::Server(server) => Some(server.name()),
            Kind::Deadline(_) => Some(Deadline::NAME),
            Kind::Line(_) => None,
        }
    }

    /// The variable that it sets, when it is one.
    pub fn variable(&self) -> Option<&str> {
        match &self.kind {
            Kind::Setting(setting) => Some(setting.variable()),
            Kind::Switch(_) => Some("GODEBUG"),
            Kind::Server(Server::Gateway) => Some("GOPROXY"),
            Kind::Server(Server::DnsCache) | Kind::Line(_) | Kind::Deadline(_) => None,
        }
    }

    /// As it was typed: it may hold secrets.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Whether it changes resolv.conf.
    pub const fn is_resolv(&self) -> bool {
        matches!(self.kind, Kind::Line(_))
    }

    /// Whether it starts the command again.
    pub const fn is_deadline(&self) -> bool {
        matches!(self.kind, Kind::Deadline(_))
    }

    /// What makes it last, in words: `None` for one that gives up a protection.
    pub fn keeping(&self) -> Option<String> {
        match &self.kind {
            Kind::Setting(setting) => setting.warning().is_none().then(|| setting.keeping()),
            Kind::Switch(switch) => {
                Some(format!("{}=0 appended to GODEBUG in its environment", switch.key()))
            }
            Kind::Line(line) => Some(format!("\"{line}\" in {RESOLV_CONF}")),
            Kind::Server(server) => Some(server.keeping().to_owned()),
            Kind::Deadline(deadline) => {
                Some(format!("`goobserve run --with {deadline} --` in front of the command"))
            }
        }
    }

    /// What is given up with it, for the user to read.
    pub fn warning(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Setting(setting) => setting.warning(),
            Kind::Switch(_) | Kind::Line(_) | Kind::Server(_) | Kind::Deadline(_) => None,
        }
    }
}

/// As it may be shown: user info, tokens and other variables' values are left out.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Setting(setting) => setting.fmt(f),
            Kind::Switch(switch) => f.write_str(switch.name()),
            Kind::Line(line) => write!(f, "resolv={line}"),
            Kind::Server(server) => f.write_str(server.name()),
            Kind::Deadline(deadline) => deadline.fmt(f),
        }
    }
}

/// Remedies that are in force together: one arm of an experiment. None: the command as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remedies(Vec<Remedy>);

impl Remedies {
    /// Puts them together; two that would undo each other are refused.
    pub fn new(remedies: Vec<Remedy>) -> Result<Self, UserError> {
        for (index, remedy) in remedies.iter().enumerate() {
            let same = |other: &&Remedy| other.place().is_some() && other.place() == remedy.place();
            if let Some(other) = remedies[..index].iter().find(same) {
                return Err(UserError::new(
                    format!("{other} and {remedy} set the same thing"),
                    "leave one of them out, or compare them: --with ONE --versus OTHER",
                ));
            }
        }
        Ok(Self(remedies))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Remedy> {
        self.0.iter()
    }

    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A module proxy is to run beside the command.
    pub fn has_gateway(&self) -> bool {
        self.0.iter().any(|remedy| remedy.kind == Kind::Server(Server::Gateway))
    }

    /// A name server is to run beside the command.
    pub fn has_dns_cache(&self) -> bool {
        self.0.iter().any(|remedy| remedy.kind == Kind::Server(Server::DnsCache))
    }

    /// How long nothing may move in the command, at least, before it is ended and started again.
    pub fn deadline(&self) -> Option<Duration> {
        self.0.iter().find_map(|remedy| match &remedy.kind {
            Kind::Deadline(deadline) => Some(deadline.least()),
            _ => None,
        })
    }

    /// As they may be shown.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(Remedy::to_string).collect()
    }

    /// Changes an environment.
    pub fn change(&self, env: &mut Vec<(OsString, OsString)>) {
        for remedy in &self.0 {
            match &remedy.kind {
                Kind::Setting(setting) => setting.apply(env),
                Kind::Switch(switch) => switch.apply(env),
                // GOPROXY is known when the server runs.
                Kind::Line(_) | Kind::Server(_) | Kind::Deadline(_) => {}
            }
        }
    }

    /// The private resolv.conf, made of the machine's; `None` when it stays as it is.
    pub fn resolv_conf(&self, machine: &str) -> Option<String> {
        let line = |remedy: &'_ Remedy| match &remedy.kind {
            Kind::Line(line) => Some(line.clone()),
            Kind::Setting(_) | Kind::Switch(_) | Kind::Server(_) | Kind::Deadline(_) => None,
        };
        let lines: Vec<Line> = self.0.iter().filter_map(line).collect();
        (!lines.is_empty()).then(|| resolv::changed(machine, &lines))
    }

    /// The same with one name server in the place of all.
    pub fn with_name_server(text: &str, server: IpAddr) -> String {
        match Line::parse(&format!("nameserver {server}")) {
            Ok(line) => resolv::changed(text, &[line]),
            // An address is one.
            Err(_) => text.to_owned(),
        }
    }
}

impl fmt::Display for Remedies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() { f.write_str("baseline") } else { f.write_str(&self.names().join(" + ")) }
    }
}

/// Sets a variable in its place, or adds it.
pub fn set(env: &mut Vec<(OsString, OsString)>, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
    let (name, value) = (name.as_ref(), value.as_ref());
    // A second entry of the same name would win in some programs and lose in others.
    let first = env.iter().position(|(key, _)| key == name);
    let mut index = 0;
    env.retain(|(key, _)| {
        index += 1;
        key != name || first == Some(index - 1)
    });
    match first {
        Some(at) => value.clone_into(&mut env[at].1),
        None => env.push((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
