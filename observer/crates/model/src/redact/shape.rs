//! What a text looks like: whether it may be a credential, whether it is a version, a digest, a host.

/// Stands for what is not shown.
pub const HIDDEN: &str = "…";

/// Alphanumeric characters from which on a random-looking name in a URL or an argument is taken
/// for a credential.
pub(super) const NAME_MIN: usize = 12;
/// The same for a name in a file path: temporary folders have random names, too, and shorter ones.
pub(super) const FILE_MIN: usize = 20;

/// Beginnings by which issuers mark their credentials.
const MARKS: [&str; 34] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glptt-",
    "gloas-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxs-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "sk-",
    "sk_live_",
    "rk_live_",
    "hf_",
    "npm_",
    "pypi-",
    "dop_v1_",
    "hvs.",
    "hvb.",
    "ATATT",
    "ATBB",
    "AKCp",
    "-----BEGIN",
];
/// What they begin with: most texts have none of these where a word begins.
const FIRST: &[u8] = b"gxAyesrhnpd-";
/// Characters that a credential with such a beginning has at least.
const MARKED_MIN: usize = 12;
/// Words that say of a flag, a variable or an argument that a credential follows.
const SECRET_WORDS: [&str; 24] = [
    "auth",
    "authorization",
    "bearer",
    "cert",
    "cookie",
    "cred",
    "creds",
    "credential",
    "credentials",
    "data",
    "header",
    "headers",
    "key",
    "login",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pat",
    "pin",
    "otp",
    "pwd",
    "secret",
    "token",
];
/// Endings that say the same of a word run together: `authtoken`, `apikey`.
const SECRET_ENDS: [&str; 8] =
    ["header", "password", "passwd", "passphrase", "secret", "secrets", "token", "key"];

/// Whether a text is shaped like a credential. `min`: [`NAME_MIN`] or [`FILE_MIN`].
pub(super) fn is_secret(text: &str, min: usize) -> bool {
    // Nothing shorter is one, and most names are.
    text.len() >= min.min(MARKED_MIN) && (is_marked(text) || is_made(text, min))
}

/// Whether there is something in a text that machines make.
fn is_made(text: &str, min: usize) -> bool {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '-').any(is_uuid)
        || text.split(|c: char| !c.is_ascii_hexdigit()).any(is_key)
        || text.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').any(|part| random(part, min))
}

/// Whether there is a beginning of a known issuer's credentials in a text.
pub(super) fn is_marked(text: &str) -> bool {
    let bytes = text.as_bytes();
    let begins = |at: &usize| FIRST.contains(&bytes[*at]) && !text[..*at].ends_with(char::is_alphanumeric);
    let marked = |at: usize| MARKS.iter().any(|mark| bytes[at..].starts_with(mark.as_bytes()));
    // Each of those bytes is a character of its own.
    (0..(bytes.len() + 1).saturating_sub(MARKED_MIN)).filter(begins).any(marked)
}

/// Whether a name says that its value is a credential: `--password`, `GITHUB_TOKEN`, `extraHeader`.
pub(super) fn names_secret(name: &str) -> bool {
    let mut words = String::new();
    let mut last = ' ';
    for c in name.chars() {
        if c.is_uppercase() && last.is_lowercase() {
            words.push(' ');
        }
        words.push(if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
        last = c;
    }
    words
        .split(' ')
        .any(|word| SECRET_WORDS.contains(&word) || SECRET_ENDS.iter().any(|end| word.ends_with(end)))
}

/// `v1.2.3`, with what may follow it, and the names that `go get` takes for a version.
pub(super) fn is_version(text: &str) -> bool {
    if matches!(text, "latest" | "upgrade" | "patch" | "none") {
        return true;
    }
    let text = text.strip_prefix('v').or_else(|| text.strip_prefix("go")).unwrap_or_default();
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let number = |part: &str| (1..=9).contains(&part.len()) && is_digits(part);
    let rest = rest.strip_suffix("+incompatible").unwrap_or(rest);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-+.".contains(c);
    (1..=3).contains(&numbers.split('.').count())
        && numbers.split('.').all(number)
        && rest.chars().all(plain)
        && (rest.is_empty() || !is_secret(commit_at(rest).map_or(rest, |at| &rest[..at]), NAME_MIN))
}

/// Where in a pseudo-version (or what follows its first `-`) its twelve digits of a commit begin.
pub fn commit_at(version: &str) -> Option<usize> {
    let at = version.len().checked_sub(12)?;
    let commit = version.get(at..)?;
    let time = version.get(at.checked_sub(15)?..at)?.strip_suffix('-')?;
    (is_hex(commit) && time.len() == 14 && is_digits(time)).then_some(at)
}

/// A SHA-1 or SHA-256 in lower-case hexadecimal: content's own name.
pub(super) fn is_digest(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

/// The short form of a commit or digest, which is not the whole of any credential.
pub(super) fn short_digest(hex: &str) -> String {
    if hex.len() <= 12 { hex.to_owned() } else { format!("{}{HIDDEN}", &hex[..12]) }
}

/// Whether something can be the commit of a repository: whole, shortened, or shortened by us.
pub(super) fn is_commit(text: &str) -> bool {
    let hex = text.strip_suffix(HIDDEN).unwrap_or(text);
    (7..=64).contains(&hex.len()) && is_hex(hex)
}

/// A host name or address, perhaps with a port; nothing else.
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port),
        _ => (text, "0"),
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let in_name = |c: char| c.is_alphanumeric() || "-._*%…".contains(c);
    port.len() <= 5
        && is_digits(port)
        && !name.is_empty()
        && (name.chars().all(in_name) || name.parse::<std::net::IpAddr>().is_ok())
}

pub(super) fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `8-4-4-4-12` hexadecimal digits, as many services make their tokens.
fn is_uuid(text: &str) -> bool {
    text.trim_matches('-').split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// Hexadecimal digits of 64 bits and more, of both kinds.
fn is_key(hex: &str) -> bool {
    hex.len() >= 16
        && hex.contains(|c: char| c.is_ascii_digit())
        && hex.contains(|c: char| c.is_ascii_alphabetic())
}

/// Names people give are words and numbers; what changes between lower case, upper case and digits
/// every other character is made by a machine.
fn random(part: &str, min: usize) -> bool {
    let kind = |c: char| match c {
        c if c.is_numeric() => 1,
        c if c.is_uppercase() => 2,
        c if c.is_alphabetic() => 3,
        _ => 0,
    };
    let (mut length, mut runs, mut longest, mut run, mut last) = (0, 0, 0, 0, 0);
    let (mut digits, mut letters) = (false, false);
    for kind in part.chars().map(kind) {
        if kind != last {
            runs += usize::from(kind != 0);
            run = 0;
        }
        last = kind;
        if kind != 0 {
            length += 1;
            run += 1;
        }
        longest = longest.max(if kind == 1 { 0 } else { run });
        digits |= kind == 1;
        letters |= kind > 1;
    }
    let changes = if digits { length < 3 * runs } else { length * 10 < 19 * runs };
    length >= min && letters && changes || longest > 28
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_found_where_a_word_begins() {
        for mark in MARKS {
            assert!(is_marked(&format!("é/{mark}0123456789ab")), "{mark}");
            assert!(!is_marked(&format!("x{mark}0123456789ab")) || mark.starts_with('-'), "{mark}");
            assert!(!is_marked(mark));
        }
    }

    #[test]
    fn names_that_people_give_are_no_secrets() {
        for name in [
            "github.com",
            "BurntSushi",
            "azure-sdk-for-go",
            "git-remote-https",
            "go1.26.8.linux-amd64",
            "x86_64-unknown-linux-gnu",
            "TestDownloadAll",
            "user-1000.slice",
            "go-build1234567890",
            "kubernetes-sigs",
            "x001",
            "DataDog",
            "CommonMark",
            "index.docker.io",
            "vpce-endpoint",
        ] {
            assert!(!is_secret(name, NAME_MIN), "{name}");
        }
        assert!(!is_secret("goobserve-disk-f7VsBH", FILE_MIN) && !is_secret("tmp.GLh7aUWV4w", FILE_MIN));
    }

    #[test]
    fn what_machines_make_is() {
        for secret in [
            "ghp_0123456789abcdef",
            "glpat-xxxxxxxxxxxxxxxxxxxx",
            "eyJhbGciOiJIUzI1NiJ9.e30.abc",
            "550e8400-e29b-41d4-a716-446655440000",
            "wJalrXUtnFEMIK7MDENG",
            "s3cr3tPassw0rd9",
            "0123456789abcdef0123456789abcdef",
            "aB3-xY9_zQ1-wE5_rT7",
        ] {
            assert!(is_secret(secret, NAME_MIN), "{secret}");
        }
    }

    #[test]
    fn versions_are_distinguished_from_other_texts() {
        for version in [
            "v1.2.3",
            "v0.0.0-20200823014737-9f7001d12a5f",
            "v2.0.0+incompatible",
            "v1.2.3-rc.1",
            "latest",
            "v0.0.1-go1.26.8.linux-amd64",
            "go1.26",
            "v2.1.0-0.20240101000000-a1b2c3d4e5f6+incompatible",
        ] {
            assert!(is_version(version), "{version}");
        }
        for other in ["", "v", "hunter2", "vault", "v1.2.3-s3cr3tPassw0rd9x", "v1.2.3/x", "1.2.3.4.5"] {
            assert!(!is_version(other), "{other}");
        }
    }

    #[test]
    fn names_of_credentials_are_known() {
        for name in
            ["password", "GITHUB_TOKEN", "extraHeader", "build-secret", "authtoken", "api_key", "-p-auth"]
        {
            assert!(names_secret(name), "{name}");
        }
        for name in ["GIT_ASKPASS", "depth", "modcacherw", "GOFLAGS", "author", "tags"] {
            assert!(!names_secret(name), "{name}");
        }
    }
}
