//! One argument in, the same out as far as it may be shown. Shown is what cannot be a credential by
//! the way it is made: numbers, words, versions, modules, files, refs, URLs without user info.

use super::shape::{self, FILE_MIN, HIDDEN, NAME_MIN, is_host, is_secret, is_version};
use super::{settings, url};

/// Longest argument that is looked at, bytes.
const LENGTH_MAX: usize = 4096;
/// Letters of a word between hyphens.
const WORD_MAX: usize = 12;
/// Words that are not made of lower-case letters.
const WORDS: [&str; 20] = [
    "HEAD",
    "FETCH_HEAD",
    "ORIG_HEAD",
    "MERGE_HEAD",
    "GET",
    "HEAD:",
    "POST",
    "PUT",
    "Makefile",
    "Dockerfile",
    "Containerfile",
    "LICENSE",
    "README",
    "amd64",
    "arm64",
    "x86_64",
    "sha1",
    "sha256",
    "ed25519",
    "http2",
];
/// What go calls the second process with that it starts of itself.
const TELEMETRY: &str = "** telemetry **";
/// Endings of files that people name on a command line.
const ENDINGS: [&str; 40] = [
    "go", "mod", "sum", "work", "s", "S", "c", "cc", "cpp", "h", "o", "a", "so", "d", "md", "txt", "log",
    "json", "jsonl", "yaml", "yml", "toml", "xml", "html", "csv", "sh", "py", "js", "ts", "mk", "cfg",
    "conf", "out", "test", "prof", "zip", "tar", "gz", "tgz", "git",
];

/// An argument that is no flag and no flag's value.
pub(super) fn token(text: &str) -> String {
    shown(text).unwrap_or_else(|| HIDDEN.to_owned())
}

fn shown(text: &str) -> Option<String> {
    let same = || Some(text.to_owned());
    if text == TELEMETRY {
        return same();
    }
    if text.len() > LENGTH_MAX || text.contains(char::is_whitespace) {
        return None;
    }
    if text == HIDDEN || !text.contains(|c: char| c.is_alphanumeric() || c == '…') && text.len() <= 8 {
        return same(); // nothing but punctuation: `.`, `--`, `...`
    }
    if is_number(text) || is_word(text) || is_version(text) {
        return same();
    }
    if let Some((name, value)) = assignment(text) {
        return Some(format!("{name}={}", settings::variable(name, value)));
    }
    match text {
        _ if text.contains("://") => Some(url::url(text)),
        _ if text.contains('@') => at(text),
        _ if text.contains(':') => pairs(text),
        _ if text.contains('/') => path(text),
        _ if text.contains(['.', '*']) => dotted(text),
        _ => None,
    }
}

/// `NAME=value`, when it is one.
pub(super) fn assignment(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    (is_name && name.len() <= 64 && !is_secret(name, FILE_MIN)).then_some((name, value))
}

/// A few digits, with a point and a unit: `4`, `0.5`, `300ms`, `10%`.
pub(super) fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
    text.len() - digits.len() <= 2
        && !digits.is_empty()
        && digits.len() <= 6
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.split('.').count() <= 2
        && digits.split('.').all(|part| part.len() <= 5 && shape::is_digits(part))
}

/// Lower-case letters with hyphens between: what commands and branches are called.
pub(super) fn is_word(text: &str) -> bool {
    let part =
        |part: &str| (1..=WORD_MAX).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_lowercase());
    text.len() <= 2 * WORD_MAX && text.split('-').all(part) || WORDS.contains(&text)
}

/// `module@version`, `user@host:path`, `name@sha256:digest`.
fn at(text: &str) -> Option<String> {
    let (left, right) = text.rsplit_once('@')?;
    if left.is_empty() {
        return Some(format!("@{}", shown(right)?));
    }
    if let Some(hex) = right.strip_prefix("sha256:") {
        return shape::is_commit(hex).then(|| format!("{}@sha256:{}", token(left), short(hex)));
    }
    let first = left.split('/').next().unwrap_or_default();
    let module = (first.contains('.') || matches!(left, "go" | "toolchain")) && is_module(left);
    let commit = shape::is_commit(right);
    let version = is_version(right) || !first.contains('.') && is_version(&format!("v{right}"));
    if module && (version || is_word(right) || commit) {
        return Some(format!("{left}@{}", if commit { short(right) } else { right.to_owned() }));
    }
    Some(url::bare(text)).filter(|shown| !shown.contains("@…"))
}

/// The short form of a commit.
pub(super) fn short(commit: &str) -> String {
    if commit.ends_with(HIDDEN) { commit.to_owned() } else { shape::short_digest(commit) }
}

/// A module's or package's path.
fn is_module(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!+".contains(c);
    let part = |part: &str| !part.is_empty() && part.chars().all(plain) && !is_secret(part, NAME_MIN);
    text.split('/').all(part)
}

/// Parts with colons between: a refspec, a container's image and tag, a volume, an address.
fn pairs(text: &str) -> Option<String> {
    if is_host(text) && text.contains('.') {
        return Some(url::bare(text));
    }
    let parts: Vec<&str> = text.split(':').collect();
    // Two words may be a user and a password.
    if !parts.iter().any(|part| part.contains(['/', '…']) || part.is_empty() || is_commit(part)) {
        return parts.iter().all(|part| is_number(part)).then(|| text.to_owned());
    }
    let part = |part: &&str| match part {
        part if is_commit(part) => short(part),
        part => token(part),
    };
    Some(parts.iter().map(part).collect::<Vec<_>>().join(":"))
}

/// A whole commit, or what [`short()`] makes of one.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() >= 40 && shape::is_digest(text) || text.ends_with(HIDDEN) && shape::is_commit(text)
}

/// A file, a package, a ref.
fn path(text: &str) -> Option<String> {
    if let Some(forced) = text.strip_prefix('+') {
        return path(forced).map(|shown| format!("+{shown}"));
    }
    let first = text.split('/').next().unwrap_or_default();
    let named = |name: &str| {
        is_version(name)
            || name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._*+%…".contains(c))
    };
    if first.is_empty() {
        // Folders at the root have plain names; base64 has not.
        let root = text.split('/').nth(1).unwrap_or_default();
        return (named(root) && !is_secret(root, 8)).then(|| url::file(text));
    }
    if matches!(first, "." | ".." | "~" | "$WORK" | "$GOROOT") {
        return Some(url::file(text));
    }
    if first.contains('.') && is_host(first) && !first.contains('…') {
        return is_module(text.trim_end_matches("/...").trim_end_matches('/')).then(|| text.to_owned());
    }
    let cased = |name: &str| {
        let lower = name.trim_start_matches(|c: char| c.is_ascii_uppercase());
        let upper = name.len() - lower.len();
        upper <= 1 && lower.chars().all(|c| c.is_ascii_lowercase()) || lower.is_empty() && upper <= WORD_MAX
    };
    let good = |name: &str| named(name) && !is_secret(name, NAME_MIN) || cased(name) || is_version(name);
    text.split('/').all(good).then(|| text.to_owned())
}

/// A file by its ending, a host, a pattern, an address.
fn dotted(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._*+%".contains(c);
    if !text.chars().all(plain) || is_secret(text, NAME_MIN) {
        return None;
    }
    let (_, ending) = text.rsplit_once('.').unwrap_or_default();
    let labels = |label: &str| {
        label.len() <= FILE_MIN
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_*".contains(c))
    };
    let named = ending.len() >= 2
        && ending.bytes().all(|byte| byte.is_ascii_lowercase())
        && text.split('.').all(labels);
    let numbers = text.split('.').all(|part| part.len() <= 4 && shape::is_digits(part));
    let pattern = text.trim_start_matches(['*', '.']);
    (ENDINGS.contains(&ending) || named || numbers || is_word(pattern)).then(|| text.to_owned())
}

/// The value of a flag of which it is known that it takes no credential: `-run`, `-tags`, `-o`.
/// What looks like one is left out all the same.
pub(super) fn value(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.,:+=/^$|()[]{}*?\\~@%!<>;…".contains(c);
    if text.len() > LENGTH_MAX || !text.chars().all(plain) {
        return HIDDEN.to_owned();
    }
    let part = |part: &str| {
        let item = part.trim_end_matches(',');
        let shown = match item {
            _ if item.contains("://") => url::url(item),
            _ if item.contains('/') => url::file(item),
            _ if item.contains('@') => token(item),
            _ if is_version(item) || !is_secret(item, FILE_MIN) => item.to_owned(),
            _ => HIDDEN.to_owned(),
        };
        shown + &part[item.len()..]
    };
    text.split_inclusive(',').map(part).collect()
}

/// The value of a flag that takes a format or template: `%H %ct`, `{{.Dir}}`.
pub(super) fn format(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%{}().,:<>|+- x'\"\\$=_/".contains(c);
    let marked = text.contains(['%', '{']) || is_word(text) || text.contains(HIDDEN);
    let fits = text.len() <= 512 && marked && text.chars().all(plain) && !is_secret(text, NAME_MIN);
    if fits { text.to_owned() } else { HIDDEN.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_secret_stays() {
        for same in [
            "all",
            "./...",
            "...",
            ".",
            "-",
            "download",
            "ls-remote",
            "HEAD",
            "github.com/BurntSushi/toml",
            "golang.org/x/sys@v0.25.0",
            "github.com/dgryski/go-rendezvous@v0.0.0-20200823014737-9f7001d12a5f",
            "github.com/x/y@main",
            "go@1.26",
            "git@git.test",
            "git@git.test:team/lib.git",
            "main.go",
            "go.mod",
            "refs/tags/v1.0.0",
            "refs/tags/v1.0.0:refs/tags/v1.0.0",
            "+refs/heads/*:refs/heads/*",
            "origin/main",
            "https://git.test/team/lib",
            "/usr/local/go/bin/go",
            "./cmd/tool",
            "cmd/tool",
            "300",
            "10s",
            "0.1",
            "1.26.8",
            "127.0.0.1:8443",
            "proxy.test:443",
            "localhost/lab",
            "docker.io/library/golang:1.26",
            "GOOS=linux",
            "CGO_ENABLED=0",
            "…",
            "/lib.git",
            "*.corp.test",
            "8080:80",
            "/src:/src:ro",
        ] {
            assert_eq!(token(same), same);
        }
    }

    #[test]
    fn what_may_be_one_goes() {
        for (raw, shown) in [
            ("hunter2", "…"),
            ("S3CRET", "…"),
            ("user:hunter", "…"),
            ("Authorization: Bearer x", "…"),
            ("TOKEN=hunter", "TOKEN=…"),
            ("me:hunter2@proxy.test", "…@proxy.test"),
            ("me:hunter2@proxy.test:8080/go", "…@proxy.test:8080/go"),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "…"),
            ("/9j4AAQSkZJRgABAQEAYABg", "…"),
            ("0123456789", "…"),
            ("eyJhbGciOiJIUzI1NiJ9.e30.Et9HFtf9R3GEMA0IICOfFMVXY7kkTX1wr4qCyhIf58U", "…"),
            ("GOPROXY=https://u:TOKEN@proxy.test,direct", "GOPROXY=https://…@proxy.test,direct"),
            ("golang.test/lab@sha256:0123456789abcdef0123", "golang.test/lab@sha256:0123456789ab…"),
        ] {
            assert_eq!(token(raw), shown, "{raw}");
            assert_eq!(token(shown), shown, "again");
        }
    }
}
