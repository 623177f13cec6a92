//! Checks of this machine's way to its module proxies and its checksum database, before anything is slow. In:
//! settings, and what this machine says of itself. Out: groups of checks ([`model::doctor`]), each as soon as it is
//! known.
//!
//! [`settings`] and [`machine`] look at what is there; [`names`] asks each name server by itself; [`journey`] goes
//! to each server in phases: [`reach`] (TCP, forward proxies), [`hello`] (TLS; [`certificate`]), [`requests`].
//! Where a phase fails, an experiment that differs in one thing shows why.
//!
//! # What is sent
//!
//! Nobody is asked whom the settings do not name: name servers of resolv.conf, hosts of GOPROXY, GOSUMDB and
//! forward proxies. A private name (GOPRIVATE, GONOPROXY, GONOSUMDB) is sent to nobody, not even as a question to
//! a name server; what is asked for is one public module of the Go project. A server gets a handful of requests, and
//! a redirect is not followed. Credentials go to their own host alone, over TLS or as the URL says, as go sends them.
//! All of it ends after [`TIME_MAX`].

pub mod certificate;
pub mod hello;
pub mod journey;
pub mod machine;
pub mod names;
pub mod reach;
pub mod requests;
pub mod settings;
mod verdict;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use gateway::connect::Network;
use gateway::goproxy::List;
use gateway::netrc::Netrc;
use gateway::upstream::Upstream;
use hyper::Uri;
use hyper::header::HeaderValue;
use journey::{Ask, Outcome, Target};
use model::doctor::{Check, Group};
use model::redact;
use names::Addresses;
use resolver::resolv_conf::Servers;
use settings::Settings;
use tokio::time::{Instant, timeout_at};

/// How long all of it may take.
pub const TIME_MAX: Duration = Duration::from_secs(14);
/// Proxies of a list that are gone to.
const PROXIES_MAX: usize = 4;
/// What is asked for where go.mod has nothing of the Go project's: public, and on every public proxy.
pub const MODULE: (&str, &str) = ("golang.org/x/text", "v0.14.0");

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// go's settings
    pub settings: Settings,
    /// Certificates and forward proxies
    pub network: Network,
    /// Name servers
    pub servers: Servers,
    /// `/etc/hosts`
    pub hosts_file: String,
    /// Credentials by host
    pub netrc: Netrc,
    /// A public module in a version, to ask for
    pub module: (String, String),
}

/// The checksum database.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Database {
    name: String,
    url: Uri,
    /// It is asked itself, whatever proxies pass on
    is_direct: bool,
}

impl Database {
    /// The one of GOSUMDB; `None` where none is asked.
    fn of(settings: &Settings) -> Option<Self> {
        let value = match settings.go("GOSUMDB")? {
            "off" => return None,
            // As go has it.
            "sum.golang.google.cn" => "sum.golang.org https://sum.golang.google.cn",
            value => value,
        };
        let mut words = value.split_whitespace();
        let name = words.next()?.split('+').next()?.to_owned();
        let explicit = words.next();
        let url = explicit.map_or_else(|| format!("https://{name}"), str::to_owned);
        let url: Uri =
            url.parse().ok().filter(|url: &Uri| matches!(url.scheme_str(), Some("http" | "https")))?;
        Some(Self { name, url: without_user(&url)?, is_direct: explicit.is_some() })
    }
}

fn without_user(url: &Uri) -> Option<Uri> {
    let host = url.authority()?.as_str().rsplit('@').next()?;
    format!("{}://{host}{}", url.scheme_str()?, url.path().trim_end_matches('/')).parse().ok()
}

/// The way, from the first name server to the last answer. Groups come in order, each when it is known.
pub async fn way(plan: &Plan, mut known: impl FnMut(Group)) {
    let end = Instant::now() + TIME_MAX;
    let targets = proxies(plan);
    let database = Database::of(&plan.settings);
    let mut certain: Vec<&Uri> = targets.iter().map(|(_, target)| &target.url).collect();
    let is_direct = database.as_ref().is_some_and(|database| database.is_direct) || targets.is_empty();
    certain.extend(database.as_ref().filter(|_| is_direct).map(|database| &database.url));
    let hosts = hosts(plan, &certain);
    let Ok((checks, addresses)) =
        timeout_at(end, names::check(&plan.servers, &plan.hosts_file, &hosts)).await
    else {
        return known(Group { name: "name servers".into(), checks: vec![out_of_time()] });
    };
    known(Group { name: "name servers".into(), checks });

    let mut going = Vec::new();
    for (name, target) in targets {
        let (network, addresses) = (plan.network.clone(), addresses.clone());
        let task =
            tokio::spawn(async move { timeout_at(end, journey::go(&network, &addresses, &target)).await });
        going.push((name, task));
    }
    // Go asks the database itself where each proxy said that it does not pass it on.
    let mut is_asked_itself = true;
    for (name, task) in going {
        let outcome = match task.await {
            Ok(Ok(outcome)) => outcome,
            _ => Outcome { checks: vec![out_of_time()], passes_database: None },
        };
        is_asked_itself &= outcome.passes_database == Some(false);
        known(Group { name, checks: outcome.checks });
    }
    if let Some(database) = database.filter(|database| database.is_direct || is_asked_itself) {
        let name =
            format!("checksum database {}", redact::proxies(database.url.to_string().trim_end_matches('/')));
        known(Group { name, checks: ask_database(plan, &database, addresses, end).await });
    }
    if let Some(group) = private(&plan.settings) {
        known(group);
    }
}

fn out_of_time() -> Check {
    Check::unknown("time", format!("not known: all of it took more than {} s", TIME_MAX.as_secs()))
        .fix("fix what is wrong above, and try once more")
}

/// The database itself.
async fn ask_database(
    plan: &Plan,
    database: &Database,
    mut addresses: Addresses,
    end: Instant,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let hosts = hosts(plan, &[&database.url]);
    let unknown: Vec<String> = hosts.into_iter().filter(|host| !addresses.contains_key(host)).collect();
    if !unknown.is_empty() && !database.is_direct {
        let asked = timeout_at(end, names::check(&plan.servers, &plan.hosts_file, &unknown)).await;
        let Ok((found, more)) = asked else { return vec![out_of_time()] };
        // What is good of them was said.
        checks.extend(
            found
                .into_iter()
                .filter(|check| check.finding.as_deref().is_some_and(|of| of.starts_with("dns-"))),
        );
        addresses.extend(more);
    }
    let path = if is_public(plan) { lookup(plan) } else { "latest".to_owned() };
    let authorization = Upstream::new(
        &gateway::goproxy::Entry {
            url: database.url.clone(),
            user_info: None,
            fallback: gateway::goproxy::Fallback::NotFound,
        },
        &plan.netrc,
    )
    .authorization()
    .cloned();
    let target = Target { url: database.url.clone(), authorization, asks: vec![Ask::Lookup(path)] };
    match timeout_at(end, journey::go(&plan.network, &addresses, &target)).await {
        Ok(outcome) => checks.extend(outcome.checks),
        Err(_) => checks.push(out_of_time()),
    }
    checks
}

fn is_public(plan: &Plan) -> bool {
    plan.settings.is_public(&plan.module.0)
}

fn lookup(plan: &Plan) -> String {
    format!("lookup/{}@{}", plan.module.0, plan.module.1)
}

/// The proxies of GOPROXY.
fn proxies(plan: &Plan) -> Vec<(String, Target)> {
    let Some(Ok(list)) = plan.settings.go("GOPROXY").map(List::parse) else { return Vec::new() };
    let (module, version) = &plan.module;
    let mut asks = Vec::new();
    if is_public(plan) {
        asks.push(Ask::Info(format!("{module}/@v/{version}.info")));
    }
    if let Some(database) = Database::of(&plan.settings).filter(|database| !database.is_direct) {
        let path = if is_public(plan) { lookup(plan) } else { "latest".to_owned() };
        asks.push(Ask::Database(database.name, path));
    }
    if is_public(plan) {
        asks.push(Ask::Large(format!("{module}/@v/{version}.zip")));
    }
    let of = |entry: gateway::goproxy::Entry| {
        let authorization: Option<HeaderValue> = Upstream::new(&entry, &plan.netrc).authorization().cloned();
        let name = format!("module proxy {}", redact::proxies(entry.url.to_string().trim_end_matches('/')));
        (name, Target { url: entry.url, authorization, asks: asks.clone() })
    };
    list.entries.into_iter().take(PROXIES_MAX).map(of).collect()
}

/// Names that go would look up.
fn hosts(plan: &Plan, urls: &[&Uri]) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    let names = urls.iter().map(|url| journey::resolved_host(&plan.network, url).0);
    names
        .filter(|host| {
            host != "localhost"
                && !host.is_empty()
                && host.parse::<IpAddr>().is_err()
                && hosts.insert(host.clone())
        })
        .collect()
}

/// What is not gone to.
fn private(settings: &Settings) -> Option<Group> {
    let names = ["GOPRIVATE", "GONOPROXY"];
    let name = names.into_iter().find(|name| settings.go(name).is_some_and(|list| list != "none"))?;
    let check = Check::unknown(name, "not tried: no private name is sent to anybody from here")
        .fix("sudo goobserve run -- go mod download, which sends what go sends");
    Some(Group { name: "private modules".into(), checks: vec![check] })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
