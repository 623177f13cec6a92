//! Which server stands for which: two sides with other proxies ask other hosts for the same. In: two
//! baselines. Out: the same with one name for what has one role, so that they can be compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{Baseline, Recording, Settings};

/// What a host is to a command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// One of GOPROXY
    Proxy,
    /// The checksum database itself
    Sumdb,
    /// A name server
    NameServer,
    /// Any other: a repository, a storage
    Other,
}

impl Role {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Sumdb => "checksum database",
            Self::NameServer => "name server",
            Self::Other => "other",
        }
    }

    /// Of a host, under these settings.
    pub fn of(settings: &Settings, host: &str) -> Self {
        let host = without_port(host);
        if proxies(settings).iter().any(|proxy| without_port(proxy) == host) {
            Self::Proxy
        } else if sumdb(settings).iter().any(|sumdb| without_port(sumdb) == host) {
            Self::Sumdb
        } else {
            Self::Other
        }
    }
}

/// A role whose hosts are others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RoleChange {
    /// The role
    pub role: Role,
    /// The hosts that had it
    pub before: Vec<String>,
    /// The hosts that have it
    pub after: Vec<String>,
    /// What stands for them in times and requests
    pub label: String,
}

/// Gives the hosts of each role that is played by others one name on both sides.
pub fn align(before: &Baseline, after: &Baseline) -> Option<(Baseline, Baseline, Vec<RoleChange>)> {
    let (old, new) = (before.latest()?, after.latest()?);
    let mut changes = Vec::new();
    for role in [Role::Proxy, Role::Sumdb, Role::NameServer] {
        let (before, after) = (hosts(old, role), hosts(new, role));
        // A host that plays another role on the other side would become two.
        let apart = |side: &[String], other: &Recording| {
            let others = [Role::Proxy, Role::Sumdb].into_iter().filter(|one| *one != role);
            side.iter().any(|host| others.clone().any(|one| hosts(other, one).contains(host)))
        };
        if before != after
            && !before.is_empty()
            && !after.is_empty()
            && !apart(&before, new)
            && !apart(&after, old)
        {
            let label = format!("{} (was {})", after.join(", "), before.join(", "));
            changes.push(RoleChange { role, before, after, label });
        }
    }
    if changes.is_empty() {
        return None;
    }
    let renamed = |side: &Baseline| {
        let mut side = side.clone();
        side.recordings.iter_mut().for_each(|recording| rename(recording, &changes));
        side
    };
    let (before, after) = (renamed(before), renamed(after));
    Some((before, after, changes))
}

fn rename(recording: &mut Recording, changes: &[RoleChange]) {
    let named: Vec<(Vec<String>, &str)> =
        changes.iter().map(|change| (hosts(recording, change.role), change.label.as_str())).collect();
    let name = |host: &str| {
        let is = |(hosts, _): &&(Vec<String>, &str)| {
            hosts.iter().any(|one| one == host || without_port(one) == without_port(host))
        };
        named.iter().find(is).map_or_else(|| host.to_owned(), |(_, label)| (*label).to_owned())
    };
    for run in &mut recording.runs {
        for (host, ns) in std::mem::take(&mut run.hosts) {
            *run.hosts.entry(name(&host)).or_default() += ns;
        }
    }
    for finding in &mut recording.findings {
        finding.host = finding.host.as_deref().map(name);
    }
}

fn hosts(recording: &Recording, role: Role) -> Vec<String> {
    match role {
        Role::Proxy => proxies(&recording.settings),
        Role::Sumdb => sumdb(&recording.settings),
        Role::NameServer => recording.machine.resolver.servers.clone(),
        Role::Other => Vec::new(),
    }
}

/// Hosts of GOPROXY, in order.
fn proxies(settings: &Settings) -> Vec<String> {
    let list = settings.goproxy.as_deref().unwrap_or_default();
    list.split([',', '|']).filter_map(host).map(str::to_owned).collect()
}

/// The host of GOSUMDB: of its URL, else its name without the key.
fn sumdb(settings: &Settings) -> Vec<String> {
    let mut words = settings.gosumdb.as_deref().unwrap_or_default().split_whitespace();
    let name = words.next().map(|word| word.split('+').next().unwrap_or(word));
    let host = words.next().and_then(host).or(name.filter(|name| !name.is_empty() && *name != "off"));
    host.map(str::to_owned).into_iter().collect()
}

/// The host of a URL; `None` for a file and for words.
fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (scheme != "file" && !host.is_empty()).then_some(host)
}

/// `proxy.test:443` and `[::1]:53` without their ports.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name.trim_matches(['[', ']'])
        }
        _ => host.trim_matches(['[', ']']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::gate as sample;

    #[test]
    fn hosts_are_found_in_settings() {
        let settings = Settings {
            goproxy: Some("https://…@a.test:8443/go|https://b.test,file:///x,direct".into()),
            gosumdb: Some("sum.test+1+k https://mirror.test/x".into()),
            ..Settings::default()
        };
        assert_eq!(proxies(&settings), ["a.test:8443", "b.test"]);
        assert_eq!(sumdb(&settings), ["mirror.test"]);
        assert_eq!(Role::of(&settings, "a.test"), Role::Proxy);
        assert_eq!(Role::of(&settings, "mirror.test:443"), Role::Sumdb);
        assert_eq!(Role::of(&settings, "git.corp.test"), Role::Other);
        assert_eq!(without_port("[::1]:53"), "::1");
    }

    #[test]
    fn hosts_of_one_role_get_one_name() {
        let (before, mut after) = (sample::baseline(1, 2), sample::baseline(1, 2));
        assert_eq!(align(&before, &after), None);
        after.recordings[0].settings.goproxy = Some("https://mirror.test/go,direct".into());
        for run in &mut after.recordings[0].runs {
            let ns = run.hosts.remove("proxy.test").unwrap();
            run.hosts.insert("mirror.test".into(), ns);
        }
        let (old, new, changes) = align(&before, &after).unwrap();
        let label = "mirror.test (was proxy.test)";
        assert_eq!((changes.len(), changes[0].role, changes[0].label.as_str()), (1, Role::Proxy, label));
        for side in [old, new] {
            assert_eq!(side.recordings[0].runs[0].hosts.keys().collect::<Vec<_>>(), [label]);
        }
    }
}
