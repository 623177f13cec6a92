//! Settings that contradict each other or have no effect. In: what go takes its settings from. Out: checks, before
//! anything is asked of anybody.
//!
//! No value of a setting is shown but through `model::redact`.

use std::collections::BTreeMap;

use gateway::goproxy::{List, ListError};
use gateway::patterns::Patterns;
use model::doctor::Check;
use model::human::count;
use model::redact;

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The environment
    pub env: BTreeMap<String, String>,
    /// go's own settings files
    pub files: BTreeMap<String, String>,
}

/// Variables that programs other than go, or go itself, take from the environment alone: in a settings file they
/// have no effect.
const ENVIRONMENT_ALONE: [&str; 10] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NETRC",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GOGC",
];
/// Names that look like settings, and that no go has ever read, or no longer reads; and what there is instead.
const UNKNOWN: [(&str, &str); 5] = [
    ("GO_PROXY_TIMEOUT", "go has no time-out of its own for a proxy; goobserve run --with deadline has one"),
    ("GOPROXY_TIMEOUT", "go has no time-out of its own for a proxy; goobserve run --with deadline has one"),
    ("GOSUMCHECK", "GOSUMDB and GONOSUMDB say what is verified"),
    ("GONOSUMCHECK", "GOSUMDB and GONOSUMDB say what is verified"),
    ("GOPROXY_CONCURRENCY", "GOMAXPROCS in front of go mod download says how many downloads run at once"),
];

impl Settings {
    /// A setting as go takes it: the environment, then its files; an empty variable is none.
    pub fn go(&self, name: &str) -> Option<&str> {
        self.env(name).or_else(|| self.files.get(name).map(String::as_str).filter(|value| !value.is_empty()))
    }

    /// A variable of the environment that is not empty.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable as go's HTTP client reads it: in capitals, else in small letters.
    pub fn proxy(&self, name: &str) -> Option<&str> {
        self.env(name).or_else(|| self.env(&name.to_ascii_lowercase()))
    }

    /// The patterns of GONOPROXY or GONOSUMDB: their own, else those of GOPRIVATE.
    pub fn patterns(&self, name: &str) -> Patterns {
        Patterns::parse(self.go(name).or_else(|| self.go("GOPRIVATE")).unwrap_or_default())
    }

    /// Whether a module may be named to a proxy and to the checksum database.
    pub fn is_public(&self, module: &str) -> bool {
        let private = Patterns::parse(self.go("GOPRIVATE").unwrap_or_default());
        ![private, self.patterns("GONOPROXY"), self.patterns("GONOSUMDB")]
            .iter()
            .any(|list| list.cover(module))
    }

    fn switch(&self, key: &str) -> Option<&str> {
        let pairs = self.env("GODEBUG")?.split(',').rev().filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find_map(|(name, value)| (name == key).then_some(value))
    }
}

/// All checks of settings; the first says what there is.
pub fn check(settings: &Settings) -> Vec<Check> {
    let mut all = vec![proxies(settings), database(settings)];
    all.extend(private(settings));
    all.extend(forward(settings));
    all.extend(switches(settings));
    all.extend(without_effect(settings));
    all
}

fn proxies(settings: &Settings) -> Check {
    let name = "GOPROXY";
    let Some(list) = settings.go(name) else {
        return Check::unknown(name, "not known: no go in PATH whose go.env says what it is")
            .fix("put the folder of go into PATH, or set GOPROXY");
    };
    let shown = redact::proxies(list);
    // What stands behind `direct` or `off` is never asked.
    let items: Vec<&str> = list.split([',', '|']).map(str::trim).filter(|item| !item.is_empty()).collect();
    let end = items.iter().position(|item| matches!(*item, "direct" | "off"));
    if let Some(end) = end.filter(|end| end + 1 < items.len()) {
        let behind = count(u64::try_from(items.len() - end - 1).unwrap_or(0), "item");
        return Check::wrong("goproxy-unreachable-item", name, shown)
            .proof(format!("{behind} behind {:?}, which ends the list", items[end]))
            .fix(format!("move {:?} to the end of GOPROXY", items[end]));
    }
    if items.is_empty() {
        return Check::wrong("goproxy-empty", name, format!("{shown:?} names nobody: go refuses it"))
            .fix("go env -u GOPROXY, or unset it in the environment");
    }
    let strange = items.iter().find(|item| {
        let scheme = item.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some(scheme) => !matches!(scheme, "http" | "https" | "file"),
            None => !(matches!(**item, "direct" | "off") || item.contains(['.', ':', '/'])),
        }
    });
    if let Some(strange) = strange {
        return Check::wrong("goproxy-invalid", name, shown)
            .proof(format!(
                "{:?} is neither a URL of http, https or file, nor direct or off",
                redact::proxies(strange)
            ))
            .fix("write it as https://HOST");
    }
    match List::parse(list) {
        Err(error @ (ListError::NotUrl(_) | ListError::TooMany)) => {
            Check::wrong("goproxy-invalid", name, shown)
                .proof(error.to_string())
                .fix("write each as https://HOST")
        }
        Err(ListError::NoProxy) if items == ["off"] => {
            Check::notice("goproxy-off", name, "off: nothing is downloaded that is not in the module cache")
                .fix("go env -u GOPROXY, or unset it in the environment, where that is not wanted")
        }
        Err(ListError::NoProxy) if items == ["direct"] => Check::notice(
            "goproxy-direct",
            name,
            "direct: each module is cloned from its own repository, and no proxy has it ready",
        )
        .fix("set a proxy in front of it: go env -w GOPROXY=https://proxy.test,direct"),
        _ => Check::good(name, shown),
    }
}

fn database(settings: &Settings) -> Check {
    let name = "GOSUMDB";
    let Some(value) = settings.go(name) else {
        return Check::unknown(name, "not known: no go in PATH whose go.env says what it is")
            .fix("put the folder of go into PATH, or set GOSUMDB");
    };
    let shown = redact::sumdb(value);
    if value == "off" {
        return Check::notice(
            "sumdb-off",
            name,
            "off: modules that go.sum does not have are believed unchecked",
        )
        .fix("go env -u GOSUMDB, and name what is private in GONOSUMDB");
    }
    if value.split_whitespace().count() > 2 {
        return Check::wrong("gosumdb-invalid", name, format!("{shown}: more than a key and a URL"))
            .fix("write it as 'NAME+HASH+KEY URL'");
    }
    let all = |name: &str| settings.go(name).is_some_and(|list| list.split(',').any(|one| one.trim() == "*"));
    if let Some(list) = ["GONOSUMDB", "GOPRIVATE"].into_iter().find(|name| all(name))
        && (list == "GONOSUMDB" || settings.go("GONOSUMDB").is_none())
    {
        return Check::notice(
            "sumdb-off",
            name,
            format!("{shown}, but {list} is \"*\": modules that go.sum does not have are believed unchecked"),
        )
        .fix(format!("name in {list} what is private, and no more"));
    }
    Check::good(name, shown)
}

fn private(settings: &Settings) -> Vec<Check> {
    let mut all = Vec::new();
    for name in ["GOPRIVATE", "GONOPROXY", "GONOSUMDB"] {
        let Some(list) = settings.go(name) else { continue };
        let patterns = || list.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        // A module's path has neither.
        if let Some(at) = patterns().position(|pattern| pattern.contains("://") || pattern.contains('@')) {
            all.push(
                Check::wrong(
                    "pattern-matches-nothing",
                    name,
                    format!("its pattern {} covers nothing", at + 1),
                )
                .proof("it has a scheme or a user, and no module's path has")
                .fix(format!(
                    "write it as git.corp.test/team, without what stands in front of the host, in {name}"
                )),
            );
        }
    }
    let Some(whole) = settings.go("GOPRIVATE") else { return all };
    for (name, where_to) in [("GONOPROXY", "a module proxy"), ("GONOSUMDB", "the checksum database")] {
        // `none` is the way to say that a company's own proxy has the private modules, too.
        let Some(own) = settings.go(name).filter(|own| *own != "none") else { continue };
        let own: Vec<&str> = own.split(',').map(str::trim).collect();
        let is_missing = |pattern: &&str| {
            // Pattern beside pattern: one that is covered as if it were a path is covered.
            !own.contains(pattern) && !Patterns::parse(&own.join(",")).cover(&pattern.replace('*', "x"))
        };
        let missing =
            whole.split(',').map(str::trim).filter(|one| !one.is_empty()).filter(is_missing).count();
        if missing > 0 {
            all.push(
                Check::wrong(
                    "private-not-covered",
                    name,
                    format!(
                        "stands in for GOPRIVATE without {} of it: their names go to {where_to}",
                        count(u64::try_from(missing).unwrap_or(0), "pattern")
                    ),
                )
                .proof(format!("go reads GOPRIVATE for {where_to} only where {name} is not set"))
                .fix(format!("unset {name}, or append to it what GOPRIVATE has")),
            );
        }
    }
    all
}

fn forward(settings: &Settings) -> Vec<Check> {
    let mut all = Vec::new();
    let (https, http) = (settings.proxy("HTTPS_PROXY"), settings.proxy("HTTP_PROXY"));
    let schemes: Vec<&str> = settings
        .go("GOPROXY")
        .unwrap_or_default()
        .split([',', '|'])
        .filter_map(|item| Some(item.split_once("://")?.0))
        .collect();
    for (name, value) in [("HTTPS_PROXY", https), ("HTTP_PROXY", http)] {
        let Some(value) = value else { continue };
        let shown = redact::proxies(value);
        let (small, large) = (settings.env(&name.to_ascii_lowercase()), settings.env(name));
        if let (Some(small), Some(large)) = (small, large)
            && small != large
        {
            all.push(
                Check::wrong("proxy-variables-differ", name, "differs from the same in small letters")
                    .proof(format!(
                        "go takes {}, and git takes {}",
                        redact::proxies(large),
                        redact::proxies(small)
                    ))
                    .fix("set both to the same, or one of them"),
            );
        }
        let scheme = value.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| !matches!(scheme, "http" | "https" | "socks5" | "socks5h")) {
            all.push(
                Check::wrong("forward-proxy-invalid", name, format!("{shown} is no URL of a forward proxy"))
                    .proof("go knows http, https, socks5 and socks5h")
                    .fix(format!("{name}=http://HOST:PORT")),
            );
        }
    }
    if https.is_none() && http.is_some() && schemes.contains(&"https") {
        all.push(
            Check::notice(
                "forward-proxy-not-used",
                "HTTP_PROXY",
                "for http:// alone: what GOPROXY names by https:// is reached without it",
            )
            .fix("set HTTPS_PROXY to the same, where there is no other way out"),
        );
    }
    if settings.proxy("ALL_PROXY").is_some() && https.is_none() && http.is_none() {
        all.push(
            Check::notice("forward-proxy-not-used", "ALL_PROXY", "go does not read it; git does")
                .fix("set HTTPS_PROXY to the same, where there is no other way out"),
        );
    }
    all
}

fn switches(settings: &Settings) -> Vec<Check> {
    let mut all = Vec::new();
    if settings.switch("http2client") == Some("0") {
        all.push(
            Check::notice(
                "http2-off",
                "GODEBUG",
                "http2client=0: each request in flight takes a connection of its own",
            )
            .fix("leave http2client out, and measure: goobserve compare --with http1 -- go mod download"),
        );
    }
    if settings.switch("netdns").is_some_and(|value| value.contains("cgo")) {
        all.push(
            Check::notice(
                "netdns-without-effect",
                "GODEBUG",
                "netdns=cgo has no effect in an official go: it is built without cgo",
            )
            .fix("leave netdns out"),
        );
    }
    if settings.go("GO111MODULE") == Some("off") {
        all.push(
            Check::wrong("modules-off", "GO111MODULE", "off: go mod download refuses to work")
                .fix("go env -u GO111MODULE, and unset it in the environment"),
        );
    }
    if settings.go("GOFLAGS").is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "-insecure")) {
        all.push(
            Check::wrong("goflags-invalid", "GOFLAGS", "-insecure is no flag any more: go refuses to work")
                .fix("leave it out; GOINSECURE names what may be fetched without TLS"),
        );
    }
    if let Some(value) = settings.env("GOMAXPROCS")
        && !value.parse::<u32>().is_ok_and(|n| n > 0)
    {
        all.push(
            Check::wrong("gomaxprocs-invalid", "GOMAXPROCS", "no number above 0, so go takes one a CPU")
                .fix("GOMAXPROCS=16 in front of the command"),
        );
    }
    all
}

fn without_effect(settings: &Settings) -> Vec<Check> {
    let in_file = ENVIRONMENT_ALONE.iter().filter(|name| settings.files.contains_key(**name)).map(|name| {
        Check::wrong("setting-without-effect", *name, "has no effect in go's settings file")
            .proof("go reads it from the environment alone")
            .fix(format!("go env -u {name}, and set it in the environment"))
    });
    let unknown = UNKNOWN.iter().filter(|(name, _)| settings.go(name).is_some()).map(|(name, instead)| {
        Check::notice("setting-without-effect", *name, "has no effect: go does not read it").fix(*instead)
    });
    in_file.chain(unknown).collect()
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
