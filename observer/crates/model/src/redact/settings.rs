//! Variables and settings of go: a name and a value in, the value out as far as it may be shown.

use super::shape::{HIDDEN, names_secret};
use super::token::{is_number, is_word, value};
use super::{args, script, url};

/// Variables whose values are lists of names, patterns, versions.
const LISTS: [&str; 29] = [
    "CGO_ENABLED",
    "GO111MODULE",
    "GOAMD64",
    "GOARCH",
    "GOARM",
    "GOARM64",
    "GOENV",
    "GOEXPERIMENT",
    "GOHOSTARCH",
    "GOHOSTOS",
    "GOINSECURE",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GOGC",
    "GONOPROXY",
    "GONOSUMCHECK",
    "GONOSUMDB",
    "GOOS",
    "GOPRIVATE",
    "GOTELEMETRY",
    "GOTOOLCHAIN",
    "GOVCS",
    "GOWORK",
    "LANG",
    "LC_ALL",
    "TERM",
    "TZ",
    "NO_PROXY",
    "no_proxy",
];
/// Variables whose values are folders.
const FOLDERS: [&str; 15] = [
    "GOBIN",
    "GOCACHE",
    "GOMODCACHE",
    "GOPATH",
    "GOROOT",
    "GOTMPDIR",
    "GOTOOLDIR",
    "HOME",
    "PATH",
    "PWD",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
];
/// Variables whose values are a proxy.
const PROXIES: [&str; 8] =
    ["GOPROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "proxy"];

/// Keys of GODEBUG that go's network, checks and runtime have.
pub const GODEBUG_KEYS: [&str; 60] = [
    "asynctimerchan",
    "cgocheck",
    "clobberfree",
    "containermaxprocs",
    "cpu.all",
    "cpu.avx2",
    "dataindependenttiming",
    "dontfreezetheworld",
    "efence",
    "execerrdot",
    "fips140",
    "gccheckmark",
    "gcpacertrace",
    "gcshrinkstackoff",
    "gcstoptheworld",
    "gctrace",
    "gocachehash",
    "gocachetest",
    "gocacheverify",
    "gotypesalias",
    "http2client",
    "http2debug",
    "http2server",
    "http2xconnect",
    "httplaxcontentlength",
    "httpmuxgo121",
    "httpservecontentkeepheaders",
    "inittrace",
    "installgoroot",
    "invalidptr",
    "jstmpllitinterp",
    "madvdontneed",
    "multipartmaxheaders",
    "multipartmaxparts",
    "multipathtcp",
    "netdns",
    "netedns0",
    "panicnil",
    "randautoseed",
    "rsa1024min",
    "sbrk",
    "scavtrace",
    "schedtrace",
    "scheddetail",
    "tarinsecurepath",
    "tls10server",
    "tls3des",
    "tlsmaxrsasize",
    "tlsmlkem",
    "tlsrsakex",
    "tlssecpmlkem",
    "tlssha1",
    "tlsunsafeekm",
    "traceback",
    "tracebackancestors",
    "updatemaxprocs",
    "x509keypairleaf",
    "x509negativeserial",
    "x509sha1",
    "zipinsecurepath",
];
/// Values of them that are no numbers.
const GODEBUG_WORDS: [&str; 12] =
    ["", "go", "cgo", "dns", "files", "on", "off", "only", "debug", "local", "system", "crash"];

/// The value of a variable.
pub fn variable(name: &str, text: &str) -> String {
    match name {
        "GOSUMDB" => url::sumdb(text),
        "GOFLAGS" => goflags(text),
        "GODEBUG" => godebug(text),
        "GIT_SSH_COMMAND" => script::script(text),
        "GOAUTH" | "GOCACHEPROG" => programs(text),
        _ if PROXIES.contains(&name) => url::proxies(text),
        _ if LISTS.contains(&name) => value(text),
        _ if FOLDERS.contains(&name) => folders(text),
        _ if text.is_empty() || text == HIDDEN => text.to_owned(),
        // A switch.
        _ if matches!(text, "true" | "false" | "on" | "off" | "0" | "1") && !names_secret(name) => {
            text.to_owned()
        }
        _ => HIDDEN.to_owned(),
    }
}

/// Commands with semicolons between: of each the program, for what stands behind it may be a credential.
pub fn programs(text: &str) -> String {
    let one = |command: &str| {
        let mut words = command.split_ascii_whitespace();
        let program = words.next().map(args::program_name).unwrap_or_default();
        if words.next().is_some() { format!("{program} {HIDDEN}") } else { program }
    };
    text.split(';').map(one).collect::<Vec<_>>().join("; ")
}

/// Names of hosts, addresses and networks with commas between: `NO_PROXY`.
pub fn hosts(text: &str) -> String {
    value(text)
}

/// Folders with colons between, or what stands for none.
pub fn folders(text: &str) -> String {
    let folder = |folder: &str| match folder {
        _ if folder.starts_with(['/', '.', '~', '$']) => url::file(folder),
        "" | "off" | HIDDEN => folder.to_owned(),
        _ => HIDDEN.to_owned(),
    };
    // A password would hold the colon in `/x/user:password@host`.
    if text.contains('@') && text.contains(':') {
        return url::file(text);
    }
    text.split(':').map(folder).collect::<Vec<_>>().join(":")
}

/// GOFLAGS: flags of the go command, each one word.
pub fn goflags(text: &str) -> String {
    let flags: Vec<String> = std::iter::once("go").chain(text.split(' ')).map(str::to_owned).collect();
    args::shown(&flags).get(1..).unwrap_or_default().join(" ")
}

/// GODEBUG: known keys with numbers or known words. A value or key that nobody knows goes.
pub fn godebug(text: &str) -> String {
    let known = |part: &str| is_number(part) || GODEBUG_WORDS.contains(&part) || part == HIDDEN;
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if is_godebug(key) && value.split('+').all(known) => pair.to_owned(),
        Some((key, _)) if is_godebug(key) => format!("{key}={HIDDEN}"),
        None if pair.is_empty() => String::new(),
        _ => HIDDEN.to_owned(),
    };
    text.split(',').map(pair).collect::<Vec<_>>().join(",")
}

fn is_godebug(key: &str) -> bool {
    GODEBUG_KEYS.contains(&key) || key.starts_with("cpu.") && is_word(&key[4..])
}

/// A remedy as after `--with`.
pub fn remedy(text: &str) -> String {
    let Some((name, rest)) = text.split_once('=') else {
        return if is_word(text) || text == "http1" { text.to_owned() } else { HIDDEN.to_owned() };
    };
    let shown = match name {
        "proxy" => url::proxies(rest),
        "sumdb" => url::sumdb(rest),
        "env" => match super::token::assignment(rest) {
            Some((name, value)) => format!("{name}={}", variable(name, value)),
            None => HIDDEN.to_owned(),
        },
        "resolv" => rest.split(' ').map(resolver_word).collect::<Vec<_>>().join(" "),
        "deadline" if is_number(rest.strip_suffix(['s', 'm']).unwrap_or_default()) => rest.to_owned(),
        _ if is_number(rest) => rest.to_owned(),
        _ => HIDDEN.to_owned(),
    };
    format!("{}={shown}", super::token::token(name))
}

/// A word of a line of resolv.conf: `timeout:1`, an address, a domain.
fn resolver_word(word: &str) -> String {
    let option = word.split_once(':').is_some_and(|(name, number)| is_word(name) && is_number(number));
    let address = word.split('%').next().unwrap_or_default().parse::<std::net::IpAddr>().is_ok();
    if option || address || word.is_empty() || word == "use-vc" || word == "edns0" {
        word.to_owned()
    } else {
        super::token::token(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_known_flags_stay_in_goflags() {
        for (raw, shown) in [
            ("-modcacherw", "-modcacherw"),
            ("-mod=mod -ldflags=-X=main.token=hunter2", "-mod=mod -ldflags=…"),
            ("-tags=netgo,osusergo -p=4 -x", "-tags=netgo,osusergo -p=4 -x"),
            ("-secret=hunter2 hunter2", "-secret=… …"),
            ("", ""),
        ] {
            assert_eq!(goflags(raw), shown, "{raw}");
            assert_eq!(goflags(shown), shown, "again");
        }
    }

    #[test]
    fn of_godebug_known_keys_and_numbers_stay() {
        let raw = "http2client=0,netdns=go+1,gctrace=1,token=hunter2,tlsmlkem=hunter2,hunter2";
        let shown = "http2client=0,netdns=go+1,gctrace=1,…,tlsmlkem=…,…";
        assert_eq!(godebug(raw), shown);
        assert_eq!(godebug(shown), shown);
    }

    #[test]
    fn variables_that_nobody_knows_are_not_shown() {
        for (name, raw, shown) in [
            ("GITHUB_TOKEN", "hunter", "…"),
            ("PASSWORD", "true", "…"),
            ("GIT_ASKPASS", "true", "true"),
            ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes", "ssh -oBatchMode=yes"),
            ("GOPRIVATE", "git.corp.test,*.x.test", "git.corp.test,*.x.test"),
            ("HTTPS_PROXY", "u:hunter2@proxy.test:3128", "…@proxy.test:3128"),
            ("GOMODCACHE", "/home/u/go/pkg/mod", "/home/u/go/pkg/mod"),
            ("GOAUTH", "git /home/u; /opt/token hunter;netrc", "git …; /opt/token …; netrc"),
            ("GOCACHEPROG", "/opt/cache --token hunter", "/opt/cache …"),
        ] {
            assert_eq!(variable(name, raw), shown, "{name}");
        }
    }

    #[test]
    fn remedies_stay_but_for_credentials() {
        for (raw, shown) in [
            ("concurrency=16", "concurrency=16"),
            ("http1", "http1"),
            ("gateway", "gateway"),
            ("dns-cache", "dns-cache"),
            ("resolv=options timeout:1 attempts:3", "resolv=options timeout:1 attempts:3"),
            ("proxy=https://u:hunter2@proxy.test", "proxy=https://…@proxy.test"),
            ("env=TOKEN=hunter2", "env=TOKEN=…"),
            ("env=GIT_SSH_COMMAND=ssh -oBatchMode=yes", "env=GIT_SSH_COMMAND=ssh -oBatchMode=yes"),
            ("token=hunter2", "token=…"),
        ] {
            assert_eq!(remedy(raw), shown, "{raw}");
            assert_eq!(remedy(shown), shown, "again");
        }
    }
}
