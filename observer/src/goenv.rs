//! What `go env` would say, without executing go. In: a command's environment (the bytes of
//! `/proc/PID/environ`), its binary's path, and a way to read two small files. Out: the settings
//! of a [`record::Go`]. What cannot be known is `None`.
//!
//! Order of precedence, as in the go command: a variable that is not empty, the user's GOENV
//! file, `$GOROOT/go.env`, a default made of HOME.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use model::caller::Caller;
use model::{record, redact};

/// Bytes of a settings file that are looked at; the rest is left unread.
pub const FILE_LIMIT: usize = 64 * 1024;
/// Characters of a value that are kept.
const VALUE_LIMIT: usize = 4096;

/// Variables that name a forward proxy.
pub const FORWARD: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// What the settings are worked out from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The command's environment: `NAME=value`, each ended by NUL
    pub environ: &'a [u8],
    /// The go binary, as resolved by the kernel; `None` when it is not known
    pub binary: Option<&'a Path>,
    /// CPUs the command may use (`sched_getaffinity`); stands in when GOMAXPROCS is not set
    pub cpus: Option<u32>,
}

/// The variables and files that settings come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GoEnv {
    env: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    /// The user's settings file was read, or there is none
    file_known: bool,
}

impl GoEnv {
    /// Gathers them. `read` gives a file's content, [`FILE_LIMIT`] bytes at most, or `None` when
    /// it cannot be read (an empty one when there is none, if the caller can report); it is asked for two
    /// or three files at most.
    pub fn gather(source: &Source<'_>, mut read: impl FnMut(&Path) -> Option<Vec<u8>>) -> Self {
        let env = variables(source.environ);
        let mut files = BTreeMap::new();
        let user = user_file(&env);
        let content = user.as_deref().map(&mut read);
        // Without a folder for it there is none, and so with `off`; of a relative one nothing is known.
        let none = set(&env, "GOENV").is_none_or(|file| file == "off") && user.is_none();
        let file_known = none || matches!(content, Some(Some(_)));
        merge(&mut files, content.flatten());
        let named_root = set(&files, "GOROOT").or_else(|| set(&env, "GOROOT"));
        for root in roots(named_root, source.binary) {
            if let Some(content) = read(&root.join("go.env")).filter(|content| !content.is_empty()) {
                merge(&mut files, Some(content));
                break;
            }
        }
        Self { env, files, file_known }
    }

    /// The environment, and what go's settings files say.
    pub fn into_parts(self) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        (self.env, self.files)
    }

    /// A variable, or what a file says; `None` when neither does.
    pub fn get(&self, name: &str) -> Option<&str> {
        set(&self.env, name).or_else(|| set(&self.files, name))
    }

    /// A list of patterns, whole, to be appended to: empty when nothing sets it, `None` when that is not
    /// known. `environ` is what this was gathered from.
    fn patterns(&self, name: &str, environ: &[u8]) -> Option<String> {
        let is_whole = |value: &str| value.chars().count() < VALUE_LIMIT && !value.contains('\u{fffd}');
        let whole = |value: &str| is_whole(value).then(|| value.to_owned());
        if let Some(value) = set(&self.env, name) {
            return whole(value);
        }
        // A value that is no text is not among the variables, and an environment that could not be
        // read, or not whole, has none of them or not all.
        let is_it = |entry: &[u8]| {
            entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.len() > 1 && rest[0] == b'=')
        };
        let hidden = environ.split(|byte| *byte == 0).any(is_it);
        let known = environ.last() == Some(&0) && self.file_known && !hidden;
        known.then(|| self.get(name).unwrap_or_default()).and_then(whole)
    }

    /// A variable that no file of go's can give, or the same in small letters: empty when it is not set,
    /// `None` when that is not known.
    fn own(&self, name: &str, environ: &[u8]) -> Option<String> {
        let small = name.to_ascii_lowercase();
        let value = set(&self.env, name).or_else(|| set(&self.env, &small));
        // An environment that could not be read whole may have it all the same.
        let known = value.is_some() || environ.last() == Some(&0);
        known.then(|| value.unwrap_or_default().to_owned())
    }

    /// GOPATH, a list of folders.
    pub fn gopath(&self) -> Option<String> {
        let default = || text(&Path::new(set(&self.env, "HOME")?).join("go"));
        self.get("GOPATH").map(str::to_owned).or_else(default)
    }

    /// GOMODCACHE
    pub fn gomodcache(&self) -> Option<String> {
        let default = || text(&Path::new(&first(&self.gopath()?)?).join("pkg/mod"));
        self.get("GOMODCACHE").map(str::to_owned).or_else(default)
    }

    /// GOCACHE
    pub fn gocache(&self) -> Option<String> {
        let default = || text(&base(&self.env, "XDG_CACHE_HOME", ".cache")?.join("go-build"));
        self.get("GOCACHE").map(str::to_owned).or_else(default)
    }
}

/// The first folder of a GOPATH: the one that is written to.
pub fn first(gopath: &str) -> Option<String> {
    gopath.split(':').next().filter(|folder| !folder.is_empty()).map(str::to_owned)
}

/// The netrc of a command with that environment, as go looks for it; `None` when it is not known.
pub fn netrc(environ: &[u8]) -> Option<PathBuf> {
    let env = variables(environ);
    let file = set(&env, "NETRC").map(PathBuf::from);
    file.or_else(|| Some(Path::new(set(&env, "HOME")?).join(".netrc"))).filter(|file| file.is_absolute())
}

/// GOWORK in that environment: a file, `off`, or not set.
pub fn gowork(environ: &[u8]) -> Option<String> {
    set(&variables(environ), "GOWORK").map(str::to_owned)
}

/// Works the settings out; see [`GoEnv::gather`].
/// `version` and `cgo` come from the binary's build information and stay `None` here.
pub fn settings(source: &Source<'_>, read: impl FnMut(&Path) -> Option<Vec<u8>>) -> record::Go {
    let go = GoEnv::gather(source, read);
    let gomaxprocs = set(&go.env, "GOMAXPROCS").and_then(|n| n.parse().ok()).filter(|n| *n > 0);
    record::Go {
        version: None,
        cgo: None,
        binary: source.binary.map(|path| path.to_string_lossy().into_owned()),
        gomaxprocs: gomaxprocs.or(source.cpus),
        goproxy: go.get("GOPROXY").map(redact::proxies),
        gosumdb: go.get("GOSUMDB").map(redact::sumdb),
        goflags: go.get("GOFLAGS").map(redact::goflags),
        // The one setting that no file can give.
        godebug: set(&go.env, "GODEBUG").map(redact::godebug),
        gomodcache: go.gomodcache(),
        gocache: go.gocache(),
        caches_shared: None,
        goprivate: go.patterns("GOPRIVATE", source.environ),
        gonoproxy: go.patterns("GONOPROXY", source.environ),
        gonosumdb: go.patterns("GONOSUMDB", source.environ),
        goinsecure: go.patterns("GOINSECURE", source.environ),
        govcs: go.patterns("GOVCS", source.environ),
        own_modules: None,
        forward_proxy: (!source.environ.is_empty())
            .then(|| FORWARD.iter().any(|name| set(&go.env, name).is_some())),
        https_proxy: go.own("HTTPS_PROXY", source.environ).as_deref().map(redact::proxies),
        http_proxy: go.own("HTTP_PROXY", source.environ).as_deref().map(redact::proxies),
        all_proxy: go.own("ALL_PROXY", source.environ).as_deref().map(redact::proxies),
        no_proxy: go.own("NO_PROXY", source.environ).as_deref().map(redact::hosts),
        goauth: go.patterns("GOAUTH", source.environ).as_deref().map(redact::programs),
        gocacheprog: go.patterns("GOCACHEPROG", source.environ).as_deref().map(redact::programs),
        ssl_cert_file: go.own("SSL_CERT_FILE", source.environ).as_deref().map(redact::folders),
        ssl_cert_dir: go.own("SSL_CERT_DIR", source.environ).as_deref().map(redact::folders),
        caller: Caller::of(|name| set(&go.env, name)).map(Box::new),
        netrc: None,
    }
}

fn text(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}

/// Variables of an environment block. Entries without `=`, and values that are not UTF-8, are
/// left out; of a name given twice the first counts, as in Go.
fn variables(environ: &[u8]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in environ.split(|byte| *byte == 0) {
        if let Some((name, value)) = std::str::from_utf8(entry).ok().and_then(|entry| entry.split_once('=')) {
            all.entry(name.to_owned()).or_insert_with(|| cut(value));
        }
    }
    all
}

/// Of a settings file the lines that set variables of go's own, and nothing else of it.
pub fn of_go(text: &str) -> String {
    let is_go = |line: &&str| {
        let Some((name, _)) = line.split_once('=') else { return false };
        let of_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        name.starts_with("GO") && name.bytes().all(of_name)
    };
    text.split('\n').filter(is_go).flat_map(|line| [line, "\n"]).collect()
}

/// Adds a settings file's lines; what is there already stays, for the user's file is read first.
/// Inside one file a later line replaces an earlier one.
fn merge(all: &mut BTreeMap<String, String>, content: Option<Vec<u8>>) {
    let mut content = content.unwrap_or_default();
    content.truncate(FILE_LIMIT);
    let mut own = BTreeMap::new();
    for line in content.split(|byte| *byte == b'\n') {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once('=')) else {
            continue;
        };
        if name.starts_with(|first: char| first.is_ascii_uppercase()) {
            own.insert(name.to_owned(), cut(value));
        }
    }
    for (name, value) in own {
        all.entry(name).or_insert(value);
    }
}

fn cut(value: &str) -> String {
    value.chars().take(VALUE_LIMIT).collect()
}

/// A variable that is there and not empty: the go command takes an empty one for none.
fn set<'a>(all: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    all.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// `$XDG_…` when it is absolute, else the folder under HOME. A relative `$XDG_…` is an error to
/// Go, so nothing is known then.
fn base(env: &BTreeMap<String, String>, xdg: &str, under_home: &str) -> Option<PathBuf> {
    match set(env, xdg) {
        Some(dir) => Path::new(dir).is_absolute().then(|| PathBuf::from(dir)),
        None => Some(Path::new(set(env, "HOME")?).join(under_home)),
    }
}

fn user_file(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    match set(env, "GOENV") {
        Some("off") => None,
        // A relative path would be relative to a folder that is not ours.
        Some(file) => Path::new(file).is_absolute().then(|| PathBuf::from(file)),
        None => Some(base(env, "XDG_CONFIG_HOME", ".config")?.join("go/env")),
    }
}

/// Folders that may be GOROOT: the named one alone, else `<root>` of `<root>/bin/go` and of
/// `<root>/bin/GOOS_GOARCH/go`.
fn roots(named: Option<&str>, binary: Option<&Path>) -> Vec<PathBuf> {
    if let Some(named) = named {
        return vec![PathBuf::from(named)];
    }
    let Some(binary) = binary.filter(|path| path.is_absolute()) else { return Vec::new() };
    let is_bin = |dir: &&Path| dir.components().next_back() == Some(Component::Normal("bin".as_ref()));
    binary.ancestors().skip(1).take(2).filter(is_bin).filter_map(Path::parent).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(environ: &str, binary: &str, files: &[(&str, &str)]) -> record::Go {
        let source = Source { environ: environ.as_bytes(), binary: Some(Path::new(binary)), cpus: Some(2) };
        settings(&source, |path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(found.1.as_bytes().to_vec())
        })
    }

    const ROOT: (&str, &str) =
        ("/opt/go/go.env", "# comment\nGOPROXY=https://proxy.test,direct\nGOSUMDB=sumdb.test\n");

    #[test]
    fn a_variable_wins_over_the_users_file_and_that_over_goroot() {
        let user = ("/home/u/.config/go/env", "GOPROXY=https://user.test\nGOFLAGS=-mod=mod\n");
        let found = go("HOME=/home/u\0GOSUMDB=off\0", "/opt/go/bin/go", &[ROOT, user]);
        assert_eq!(found.gosumdb.as_deref(), Some("off"));
        assert_eq!(found.goproxy.as_deref(), Some("https://user.test"));
        assert_eq!(found.goflags.as_deref(), Some("-mod=mod"));
    }

    #[test]
    fn an_empty_variable_counts_as_none() {
        let found = go("GOPROXY=\0", "/opt/go/bin/go", &[ROOT]);
        assert_eq!(found.goproxy.as_deref(), Some("https://proxy.test,direct"));
    }

    #[test]
    fn goenv_off_and_xdg_are_followed() {
        let user = ("/home/u/.config/go/env", "GOPROXY=https://user.test\n");
        let xdg = ("/x/go/env", "GOPROXY=https://xdg.test\n");
        let off = go("HOME=/home/u\0GOENV=off\0", "/opt/go/bin/go", &[ROOT, user]);
        assert_eq!(off.goproxy.as_deref(), Some("https://proxy.test,direct"));
        let xdg = go("HOME=/home/u\0XDG_CONFIG_HOME=/x\0", "/opt/go/bin/go", &[ROOT, user, xdg]);
        assert_eq!(xdg.goproxy.as_deref(), Some("https://xdg.test"));
    }

    #[test]
    fn folders_default_to_home_and_follow_gopath() {
        let plain = go("HOME=/home/u\0", "/opt/go/bin/go", &[]);
        assert_eq!(plain.gomodcache.as_deref(), Some("/home/u/go/pkg/mod"));
        assert_eq!(plain.gocache.as_deref(), Some("/home/u/.cache/go-build"));
        let moved = go("HOME=/home/u\0GOPATH=/a:/b\0XDG_CACHE_HOME=/c\0", "/opt/go/bin/go", &[]);
        assert_eq!(moved.gomodcache.as_deref(), Some("/a/pkg/mod"));
        assert_eq!(moved.gocache.as_deref(), Some("/c/go-build"));
    }

    #[test]
    fn what_cannot_be_known_is_none() {
        let found = go("", "/opt/go/bin/go", &[]);
        assert_eq!(found.goproxy, None);
        assert_eq!(found.gomodcache, None);
        assert_eq!(found.gocache, None);
    }

    #[test]
    fn goroot_is_the_named_one_or_the_binarys() {
        let cross = go("", "/opt/go/bin/linux_arm64/go", &[ROOT]);
        assert_eq!(cross.gosumdb.as_deref(), Some("sumdb.test"));
        let named = go("GOROOT=/opt/go\0", "/elsewhere/go", &[ROOT]);
        assert_eq!(named.gosumdb.as_deref(), Some("sumdb.test"));
        let unrelated = go("", "/opt/go/tools/go", &[ROOT]);
        assert_eq!(unrelated.gosumdb, None);
    }

    #[test]
    fn gomaxprocs_is_the_variable_or_the_cpus_given() {
        assert_eq!(go("GOMAXPROCS=16\0", "/go", &[]).gomaxprocs, Some(16));
        assert_eq!(go("GOMAXPROCS=0\0", "/go", &[]).gomaxprocs, Some(2));
        assert_eq!(go("GOMAXPROCS=many\0", "/go", &[]).gomaxprocs, Some(2));
    }

    #[test]
    fn godebug_comes_from_the_environment_only() {
        let user = ("/home/u/.config/go/env", "GODEBUG=http2client=0\n");
        assert_eq!(go("HOME=/home/u\0", "/go", &[user]).godebug, None);
        assert_eq!(go("GODEBUG=tlsmlkem=0\0", "/go", &[]).godebug.as_deref(), Some("tlsmlkem=0"));
    }

    #[test]
    fn passwords_and_query_values_do_not_get_through() {
        let environ = "GOPROXY=https://me:secret@proxy.test/go?token=secret|direct\0GOSUMDB=sumdb.test+1+k https://me:secret@sumdb.test\0";
        let found = go(environ, "/go", &[]);
        assert_eq!(found.goproxy.as_deref(), Some("https://…@proxy.test/go?…|direct"));
        assert_eq!(found.gosumdb.as_deref(), Some("sumdb.test+1+k https://…@sumdb.test"));
    }

    #[test]
    fn private_patterns_are_whole_or_not_known() {
        let file = |content| ("/home/u/.config/go/env", content);
        let of = |environ: &str, files: &[(&str, &str)]| go(environ, "/go", files).goprivate;
        let private = file("GOPRIVATE=a.test,b.test\n");
        assert_eq!(of("HOME=/home/u\0", &[private]).as_deref(), Some("a.test,b.test"));
        assert_eq!(of("HOME=/home/u\0GOPRIVATE=c.test\0", &[private]).as_deref(), Some("c.test"));
        assert_eq!(of("HOME=/home/u\0GOPRIVATE=c.test\0", &[]).as_deref(), Some("c.test"));
        assert_eq!(of("HOME=/home/u\0", &[file("")]).as_deref(), Some(""));
        assert_eq!(of("GOENV=off\0", &[]).as_deref(), Some(""));
        // A file or an environment that was not read, or not whole.
        assert_eq!(of("HOME=/home/u\0", &[]), None);
        assert_eq!(of("GOENV=off\0PATH=/us", &[]), None);
        assert_eq!(of("", &[]), None);
        let long = format!("GOENV=off\0GOPRIVATE={}\0", "a.test,".repeat(VALUE_LIMIT));
        assert_eq!(of(&long, &[]), None);
        let source = Source { environ: b"GOENV=off\0GOPRIVATE=\xff\0", binary: None, cpus: None };
        assert_eq!(settings(&source, |_| None).goprivate, None);
    }

    #[test]
    fn settings_of_the_environment_alone_are_shown_without_credentials_or_not_known() {
        let environ = "HOME=/home/u\0https_proxy=http://u:hunter2@proxy.test:3128\0NO_PROXY=.corp.test,10.0.0.0/8\0\
            GOAUTH=/opt/token hunter2; netrc\0GOCACHEPROG=/opt/cache --key hunter2\0SSL_CERT_FILE=/etc/ca.pem\0";
        let found = go(environ, "/go", &[("/home/u/.config/go/env", "")]);
        assert_eq!(found.https_proxy.as_deref(), Some("http://…@proxy.test:3128"));
        assert_eq!((found.http_proxy.as_deref(), found.all_proxy.as_deref()), (Some(""), Some("")));
        assert_eq!(found.no_proxy.as_deref(), Some(".corp.test,10.0.0.0/8"));
        assert_eq!(found.goauth.as_deref(), Some("/opt/token …; netrc"));
        assert_eq!(found.gocacheprog.as_deref(), Some("/opt/cache …"));
        assert_eq!(
            (found.ssl_cert_file.as_deref(), found.ssl_cert_dir.as_deref()),
            (Some("/etc/ca.pem"), Some(""))
        );
        let unknown = go("", "/go", &[]);
        assert_eq!((unknown.https_proxy, unknown.goauth, unknown.no_proxy), (None, None, None));
        assert_eq!(netrc(environ.as_bytes()), Some(PathBuf::from("/home/u/.netrc")));
        assert_eq!(netrc(b"HOME=/h\0NETRC=/n\0"), Some(PathBuf::from("/n")));
        assert_eq!(netrc(b""), None);
    }

    #[test]
    fn a_forward_proxy_is_known_by_its_variables() {
        assert_eq!(go("https_proxy=http://proxy.test\0", "/go", &[]).forward_proxy, Some(true));
        assert_eq!(go("HTTPS_PROXY=\0", "/go", &[]).forward_proxy, Some(false));
        assert_eq!(go("", "/go", &[]).forward_proxy, None);
    }

    #[test]
    fn bytes_that_are_no_environment_are_left_out() {
        let source = Source { environ: b"\xff\xfe=1\0noequals\0=\0GOFLAGS=-x", binary: None, cpus: None };
        let found = settings(&source, |_| Some(vec![0xff; FILE_LIMIT * 2]));
        assert_eq!(
            found,
            record::Go { goflags: Some("-x".into()), forward_proxy: Some(false), ..record::Go::default() }
        );
    }
}
