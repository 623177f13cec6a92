//! A name in, its pseudonym out: the same for the same name, numbered by first appearance.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::record::Class;

/// Hosts everybody knows: that they were asked says nothing about who asked.
const PUBLIC_HOSTS: [&str; 5] = ["golang.org", "go.dev", "github.com", "gitlab.com", "bitbucket.org"];
/// Domains all of whose hosts are public.
const PUBLIC_DOMAINS: [&str; 2] = [".golang.org", ".go.dev"];
/// Programs whose names say nothing about who runs them.
const PROGRAMS: [&str; 26] = [
    "go",
    "git",
    "git-remote-http",
    "git-remote-https",
    "git-remote-ht",
    "ssh",
    "gpg",
    "hg",
    "svn",
    "bzr",
    "fossil",
    "sh",
    "bash",
    "dash",
    "make",
    "compile",
    "link",
    "asm",
    "cgo",
    "vet",
    "cover",
    "gcc",
    "cc",
    "ld",
    "pkg-config",
    "env",
];
/// Words of the go command's and git's own.
const WORDS: [&str; 44] = [
    "mod",
    "download",
    "tidy",
    "vendor",
    "verify",
    "why",
    "graph",
    "init",
    "edit",
    "get",
    "list",
    "install",
    "build",
    "run",
    "test",
    "vet",
    "generate",
    "work",
    "sync",
    "env",
    "version",
    "tool",
    "clean",
    "all",
    "fetch",
    "ls-remote",
    "init",
    "config",
    "tag",
    "log",
    "cat-file",
    "rev-parse",
    "archive",
    "clone",
    "checkout",
    "origin",
    "HEAD",
    "direct",
    "off",
    "./...",
    "...",
    ".",
    "remote",
    "upload-pack",
];
/// Values of flags that are words of the go command's own.
const FLAG_VALUES: [&str; 6] = ["mod", "vendor", "readonly", "true", "false", "json"];

/// First elements of the standard library's import paths, and `main`.
const STANDARD: [&str; 52] = [
    "archive",
    "bufio",
    "bytes",
    "cmd",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "main",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
    "unsafe",
    "vendor",
    "weak",
];

/// Every name seen, with its pseudonym's number.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<(Kind, String), usize>,
    counts: HashMap<Kind, usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Module,
    Host,
    Address,
    Path,
    Program,
    Commit,
}

impl Names {
    fn number(&mut self, kind: Kind, name: &str) -> usize {
        if let Some(number) = self.numbers.get(&(kind, name.to_owned())) {
            return *number;
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        self.numbers.insert((kind, name.to_owned()), *count);
        *count
    }

    /// `module-1`; the toolchain's module is everybody's.
    pub(super) fn module(&mut self, module: &str) -> String {
        if module == "golang.org/toolchain" {
            return module.to_owned();
        }
        format!("module-{}", self.number(Kind::Module, module))
    }

    /// `host-1.example` for a host, with the port it had; an address as [`Names::address`].
    pub(super) fn host(&mut self, host: &str) -> String {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if is_port(port) && !name.contains(':') => (name, Some(port)),
            _ => (host, None),
        };
        if host.starts_with('[') || host.parse::<IpAddr>().is_ok() || name.parse::<IpAddr>().is_ok() {
            return self.address(host);
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let public = name == "localhost"
            || name.is_empty()
            || PUBLIC_HOSTS.contains(&name.as_str())
            || PUBLIC_DOMAINS.iter().any(|domain| name.ends_with(domain));
        let shown = if public { name } else { format!("host-{}.example", self.number(Kind::Host, &name)) };
        port.map_or_else(|| shown.clone(), |port| format!("{shown}:{port}"))
    }

    /// `address-1`, with the port it had; loopback addresses stay.
    pub(super) fn address(&mut self, address: &str) -> String {
        let (ip, port) = match address.rsplit_once(':') {
            Some((ip, port)) if is_port(port) && (ip.ends_with(']') || !ip.contains(':')) => (ip, Some(port)),
            _ => (address, None),
        };
        let bare = ip.trim_start_matches('[').trim_end_matches(']');
        let stays =
            bare.is_empty() || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
        if stays {
            return address.to_owned();
        }
        let shown = format!("address-{}", self.number(Kind::Address, bare));
        port.map_or_else(|| shown.clone(), |port| format!("{shown}:{port}"))
    }

    /// `/path-1`; of the module cache's lock, the ending that says so stays.
    pub(super) fn path(&mut self, path: &str) -> String {
        if path.is_empty() || path == "off" || path == "/" {
            return path.to_owned();
        }
        match path.strip_suffix("/cache/lock") {
            Some(cache) => format!("/path-{}/cache/lock", self.number(Kind::Path, cache)),
            None => format!("/path-{}", self.number(Kind::Path, path)),
        }
    }

    /// A program by the kernel's name of it.
    pub(super) fn program(&mut self, comm: &str) -> String {
        let versioned =
            comm.strip_prefix("go1.").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if comm.is_empty() || versioned || PROGRAMS.contains(&comm) {
            return comm.to_owned();
        }
        format!("program-{}", self.number(Kind::Program, comm))
    }

    /// A GOPROXY list: hosts become pseudonyms, paths and user info go.
    pub(super) fn proxies(&mut self, list: &str) -> String {
        let mut out = String::new();
        let mut rest = list;
        while !rest.is_empty() {
            let end = rest.find([',', '|']).unwrap_or(rest.len());
            out += &self.url(rest[..end].trim());
            let separator = rest[end..].chars().next().map_or(0, char::len_utf8);
            out += &rest[end..end + separator];
            rest = &rest[end + separator..];
        }
        out
    }

    /// A GOSUMDB value: `off`, or a name with or without key and URL.
    pub(super) fn sumdb(&mut self, value: &str) -> String {
        let parts: Vec<String> = value
            .split_whitespace()
            .map(|part| match part.split_once('+') {
                Some((name, _)) if !part.contains("://") => format!("{}+…", self.host(name)),
                _ if part == "off" => part.to_owned(),
                _ => self.url(part),
            })
            .collect();
        parts.join(" ")
    }

    fn url(&mut self, url: &str) -> String {
        if url.is_empty() || WORDS.contains(&url) {
            return url.to_owned();
        }
        let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
        if scheme == "file" {
            return "file:///…".to_owned();
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = self.host(host);
        let scheme = if matches!(scheme, "http" | "https") { format!("{scheme}://") } else { String::new() };
        format!("{scheme}{host}")
    }

    /// Flags separated by white space, as in GOFLAGS.
    pub(super) fn words(&mut self, words: &str) -> String {
        let words: Vec<String> = words.split_whitespace().map(|word| self.word(word)).collect();
        words.join(" ")
    }

    /// A command line: its program, flags without their values, known words, modules. Of a
    /// program that is not well known, no argument stays.
    pub(super) fn argv(&mut self, argv: &[String]) -> Vec<String> {
        let Some((program, arguments)) = argv.split_first() else { return Vec::new() };
        let name = program.rsplit('/').next().unwrap_or(program);
        let shown = self.program(name);
        let known = shown == name;
        let compiles = matches!(name, "compile" | "asm" | "cgo");
        let mut words = vec![shown];
        let mut before = "";
        for word in arguments {
            words.push(match before {
                "-p" | "-importpath" if compiles => self.package(word),
                _ if known => self.word(word),
                _ => "…".to_owned(),
            });
            before = word;
        }
        words
    }

    /// Versions stay, for they are public or say little; a branch's name does not, and the commit
    /// in a pseudo-version becomes another of the same length.
    pub(super) fn version(&mut self, version: &str) -> String {
        let (numbers, end) =
            version.split_at(version.strip_suffix("+incompatible").map_or(version.len(), str::len));
        match crate::redact::commit_at(numbers) {
            _ if !is_version(version) => "…".to_owned(),
            Some(at) => format!("{}{:012x}{end}", &numbers[..at], self.number(Kind::Commit, &numbers[at..])),
            None => version.to_owned(),
        }
    }

    /// A package that is compiled: of the standard library as it is, of another a pseudonym.
    fn package(&mut self, package: &str) -> String {
        let first = package.split('/').next().unwrap_or_default();
        if first.contains('.') || !STANDARD.contains(&first) {
            self.module(package)
        } else {
            package.to_owned()
        }
    }

    fn word(&mut self, word: &str) -> String {
        if WORDS.contains(&word) {
            return word.to_owned();
        }
        if word.starts_with('-') {
            return match word.split_once('=') {
                Some((_, value)) if FLAG_VALUES.contains(&value) => word.to_owned(),
                Some((flag, _)) => format!("{flag}=…"),
                None if word.chars().all(|c| c == '-' || c.is_ascii_lowercase()) => word.to_owned(),
                None => "-…".to_owned(),
            };
        }
        // What looks like a module is one: its first element has a dot, its version a v.
        let (module, version) = word.split_once('@').map_or((word, None), |(m, v)| (m, Some(v)));
        let first = module.split('/').next().unwrap_or_default();
        let looks =
            first.contains('.') && !first.starts_with('.') && !word.contains("://") && !word.contains(':');
        match version {
            None if looks && module.contains('/') => self.module(module),
            Some(version) if looks && is_version(version) => {
                format!("{}@{}", self.module(module), self.version(version))
            }
            _ => "…".to_owned(),
        }
    }

    /// A request's path built anew from what it is for; a prefix before it goes.
    pub(super) fn request_path(
        &mut self,
        path: &str,
        class: Class,
        module: Option<&str>,
        version: Option<&str>,
    ) -> String {
        let sumdb = |names: &mut Self, end: &str| match path.split_once("/sumdb/") {
            Some((_, rest)) => {
                let name = names.host(rest.split('/').next().unwrap_or_default());
                format!("/sumdb/{name}/{end}")
            }
            None => format!("/{end}"),
        };
        let module = module.map(|module| self.module(module));
        let version = version.map(|version| self.version(version));
        let file = |end: &str| match (&module, &version) {
            (Some(module), Some(version)) => format!("/{module}/@v/{version}.{end}"),
            _ => "/…".to_owned(),
        };
        match class {
            Class::List => module.map_or_else(|| "/…".to_owned(), |module| format!("/{module}/@v/list")),
            Class::Latest => module.map_or_else(|| "/…".to_owned(), |module| format!("/{module}/@latest")),
            Class::Info => file("info"),
            Class::Mod => file("mod"),
            Class::Zip => file("zip"),
            Class::Toolchain => {
                let ends = ["info", "mod", "zip"];
                ends.into_iter().find(|end| path.ends_with(end)).map_or_else(|| "/…".to_owned(), file)
            }
            Class::SumdbSupported => sumdb(self, "supported"),
            Class::SumdbLatest => sumdb(self, "latest"),
            Class::SumdbLookup => match (&module, &version) {
                (Some(module), Some(version)) => sumdb(self, &format!("lookup/{module}@{version}")),
                _ => sumdb(self, "lookup/…"),
            },
            Class::SumdbTile => {
                let tile = path.rsplit_once("/tile/").map(|(_, tile)| tile).filter(|tile| is_tile(tile));
                sumdb(self, &format!("tile/{}", tile.unwrap_or("…")))
            }
            Class::GoGet => module.map_or_else(|| "/…".to_owned(), |module| format!("/{module}?go-get=1")),
            Class::Other => "/…".to_owned(),
        }
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// `v1.2.3`, `latest`, `none`; a branch's name is private.
fn is_version(text: &str) -> bool {
    let semantic = text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    semantic || matches!(text, "latest" | "upgrade" | "patch" | "none")
}

/// Numbers of a tile: `8/0/x001/234`, `8/data/067`, `8/1/004.p/7`.
fn is_tile(text: &str) -> bool {
    let part = |part: &str| {
        part == "data"
            || (!part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || matches!(c, 'x' | '.' | 'p')))
    };
    text.split('/').all(part)
}
