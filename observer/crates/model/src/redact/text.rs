//! Sentences and lines that programs print: URLs and what looks like a credential, in words.

use super::shape::{FILE_MIN, HIDDEN, is_marked, is_secret, is_version, names_secret};
use super::url;

/// A text of several words; spaces and punctuation stay as they are.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut hide = false;
    for part in text.split_inclusive(char::is_whitespace) {
        let word = part.trim_end();
        let scheme = matches!(word.trim_matches(['"', '\'']), "Bearer" | "Basic" | "bearer" | "basic");
        out.push_str(&if hide && !word.is_empty() && !scheme { HIDDEN.to_owned() } else { self::word(word) });
        out.push_str(&part[word.len()..]);
        // `Authorization: Bearer CREDENTIAL`
        hide = scheme || hide && word.is_empty() || word.to_ascii_lowercase().ends_with("authorization:");
    }
    out
}

/// One word with punctuation around it.
fn word(word: &str) -> String {
    const AROUND: [char; 12] = ['"', '\'', '(', ')', '<', '>', ',', ';', ':', '`', '[', ']'];
    let inner = word.trim_matches(AROUND);
    let Some(at) = word.find(inner).filter(|_| !inner.is_empty()) else { return word.to_owned() };
    let (before, after) = (&word[..at], &word[at + inner.len()..]);
    format!("{before}{}{after}", bare(inner))
}

fn bare(word: &str) -> String {
    if let Some((name, value)) = word.split_once('=').filter(|(name, _)| !name.contains("://")) {
        let secret = names_secret(name) || is_marked(value);
        return format!("{name}={}", if secret { HIDDEN.to_owned() } else { bare(value) });
    }
    let user = |(user, _): (&str, &str)| user.contains(':');
    match word {
        _ if word.contains("://") => url::url(word),
        _ if word.contains('@') && word.rsplit_once('@').is_some_and(user) => url::bare(word),
        _ if word.contains('/') => url::file(word),
        _ if is_version(word) || word.contains('@') => word.to_owned(),
        _ if is_secret(word, FILE_MIN) => HIDDEN.to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_stay_and_credentials_go() {
        for same in [
            "proxy.test: zip github.com/mitchellh/go-homedir@v1.1.0",
            "proxy.test (AAAA), attempt 1, asked 192.0.2.1:53: no answer, given up after 1.00 s",
            "a TCP handshake with [2001:db8::2]:443, SYN retransmitted 2 times",
            "waits for: git fetch -f origin (pid 12)",
            "/root/go/pkg/mod/cache/lock is held by pid 3",
        ] {
            assert_eq!(text(same), same);
        }
        for (raw, shown) in [
            (
                "fatal: unable to access 'https://u:hunter2@git.test/x/': 403",
                "fatal: unable to access 'https://…@git.test/x/': 403",
            ),
            ("Authorization: Bearer hunter and more", "Authorization: Bearer … and more"),
            ("GITHUB_TOKEN=hunter2 is set", "GITHUB_TOKEN=… is set"),
            ("got ghp_0123456789abcdef", "got …"),
            ("u:hunter2@proxy.test refused", "…@proxy.test refused"),
        ] {
            assert_eq!(text(raw), shown, "{raw}");
            assert_eq!(text(shown), shown, "again");
        }
    }
}
