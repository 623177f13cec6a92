//! URLs and what stands in their place: user info and query go, the host stays, and of a path what
//! is no credential by its shape.

use super::request::GO_GET;
use super::shape::{self, HIDDEN, NAME_MIN, is_host, is_secret, is_version};

/// User names that belong to a protocol and not to a person.
const PLAIN_USERS: [&str; 4] = ["git", "hg", "svn", "anonymous"];
/// Labels of a host name are shown up to that many random characters: clouds make such names, in
/// lower case.
const LABEL_MIN: usize = 24;

/// A text with `://` in it.
pub(super) fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return HIDDEN.to_owned() };
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.is_empty() || scheme.len() > 16 || !scheme.chars().all(plain) {
        return HIDDEN.to_owned();
    }
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(path_at);
    let (user, address) = authority.rsplit_once('@').map_or((None, authority), |(u, a)| (Some(u), a));
    let (path, end) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
    // A password with a slash in it: nothing of such a text is what it seems to be.
    let strange = path.split('/').any(|name| {
        name.rsplit_once('@').is_some_and(|(before, after)| !before.is_empty() && !is_version(after))
    });
    if strange || !(address.is_empty() || is_host(address)) {
        return format!("{scheme}://{HIDDEN}");
    }
    let user = user.map(user_info).unwrap_or_default();
    let end = match end.chars().next() {
        Some(first) => format!("{first}{HIDDEN}"),
        None => String::new(),
    };
    format!("{scheme}://{user}{}{}{end}", host(address), names(path, NAME_MIN))
}

/// `user@` as far as it may be shown.
fn user_info(user: &str) -> String {
    if PLAIN_USERS.contains(&user) { format!("{user}@") } else { format!("{HIDDEN}@") }
}

/// A host or address with its port: user info goes, and labels that are credentials.
pub(super) fn host(text: &str) -> String {
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let mut out = String::with_capacity(host.len());
    for (n, label) in host.split('.').enumerate() {
        if n > 0 {
            out.push('.');
        }
        let min = if label.contains(|c: char| c.is_ascii_uppercase()) { NAME_MIN } else { LABEL_MIN };
        out.push_str(if is_secret(label, min) { HIDDEN } else { label });
    }
    out
}

/// A list of module path patterns (GOPRIVATE and its kin), separated by commas: what is none is hidden.
pub(super) fn patterns(list: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._*?[]-~!+".contains(c);
    let name = |name: &str| {
        let shown = name.chars().all(plain) && !is_secret(name, NAME_MIN);
        if shown { name.to_owned() } else { HIDDEN.to_owned() }
    };
    let pattern = |pattern: &str| pattern.split('/').map(name).collect::<Vec<_>>().join("/");
    list.split(',').map(pattern).collect::<Vec<_>>().join(",")
}

/// GOVCS: a pattern and the programs that may be used for it, `PATTERN:git|hg`, or `public`, `private`, `*`.
pub(super) fn govcs(list: &str) -> String {
    let rule = |rule: &str| {
        let (pattern, programs) = rule.split_once(':').unwrap_or((rule, ""));
        let known =
            |name: &str| matches!(name, "git" | "hg" | "svn" | "bzr" | "fossil" | "mod" | "all" | "off");
        let shown = programs.split('|').map(|name| if known(name.trim()) { name.trim() } else { HIDDEN });
        format!("{}:{}", patterns(pattern.trim()), shown.collect::<Vec<_>>().join("|"))
    };
    list.split(',').filter(|entry| !entry.is_empty()).map(rule).collect::<Vec<_>>().join(",")
}

/// `[user[:password]@]host[:port][/path]`, as settings take it without a scheme, and scp's
/// `user@host:path`.
pub(super) fn bare(text: &str) -> String {
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
    let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (address, path) = match address.split_once(':') {
        // scp's path begins behind the colon; without a user this is a port, or part of a password.
        Some((address, _)) if user.is_some() && !is_host(&rest[..rest.len() - path.len()]) => {
            (address, &rest[address.len()..])
        }
        _ => (address, path),
    };
    if !is_host(address) {
        return user.map_or_else(|| HIDDEN.to_owned(), |_| format!("{HIDDEN}@{HIDDEN}"));
    }
    format!("{}{}{}", user.map(user_info).unwrap_or_default(), host(address), names(path, NAME_MIN))
}

/// A GOPROXY list: `,` and `|` between URLs, `direct` and `off`.
pub fn proxies(list: &str) -> String {
    let item = |item: &str| {
        let url = item.trim_end_matches([',', '|']);
        proxy(url) + &item[url.len()..]
    };
    list.split_inclusive([',', '|']).map(item).collect()
}

/// One proxy, with or without a scheme.
pub(super) fn proxy(item: &str) -> String {
    match item {
        "" => String::new(),
        _ if item.contains("://") => url(item),
        "direct" | "off" | "localhost" => item.to_owned(),
        // A host alone has a domain or a port.
        _ if !item.contains(['.', ':', '@']) => HIDDEN.to_owned(),
        _ => bare(item),
    }
}

/// GOSUMDB: `off`, or a name or key (public, like any key to verify with), and perhaps a URL.
pub fn sumdb(value: &str) -> String {
    let part = |part: &str| match part.split_once('+') {
        Some((name, _)) if is_host(name) && !part.contains(['@', ':']) => part.to_owned(),
        _ => proxy(part),
    };
    value.split(' ').map(part).collect::<Vec<_>>().join(" ")
}

/// A path of a request, with its query: names of a query stay, values go.
pub(super) fn target(text: &str) -> String {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let path = if path.contains("://") { url(path) } else { names(path, NAME_MIN) };
    let pair = |pair: &str| match pair.split_once('=') {
        _ if pair == GO_GET || pair.is_empty() => pair.to_owned(),
        Some((name, _)) if !name.contains(';') && !is_secret(name, NAME_MIN) => format!("{name}={HIDDEN}"),
        _ => HIDDEN.to_owned(),
    };
    match query {
        Some(query) => format!("{path}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&")),
        None => path,
    }
}

/// Names with slashes between: each that is shaped like a credential goes. `min` as of
/// [`is_secret`].
pub(super) fn names(path: &str, min: usize) -> String {
    let (mut versions, mut out) = (false, String::with_capacity(path.len()));
    for (n, part) in path.split('/').enumerate() {
        if n > 0 {
            out.push('/');
        }
        let stem = part.rsplit_once('.').map_or(part, |(stem, _)| stem);
        // Behind `@v` stand versions: commits among them.
        let version = versions && (shape::is_commit(stem) || shape::is_commit(part));
        if version {
            out.push_str(part);
        } else {
            name(part, min, &mut out);
        }
        versions = part == "@v";
    }
    out
}

/// Appends one name of a path.
fn name(text: &str, min: usize, out: &mut String) {
    if let Some((left, right)) = text.rsplit_once('@') {
        match left {
            "" => {}
            left if left.contains(':') => out.push_str(HIDDEN),
            left => name(left, min, out),
        }
        out.push('@');
        return name(right, min, out);
    }
    let stem = || text.rsplit_once('.').map_or(text, |(stem, _)| stem);
    let shown = !is_secret(text, min)
        || is_version(text)
        || is_version(stem())
        || min == shape::FILE_MIN && shape::is_digest(digest(text));
    out.push_str(if shown { text } else { HIDDEN });
}

/// The digest in names such as `DIGEST.lock`, `DIGEST-d` and `libpod-DIGEST.scope`.
fn digest(name: &str) -> &str {
    name.split(['.', '-']).max_by_key(|part| part.len()).unwrap_or_default()
}

/// A file's path. The names of digests stay: they are content's own.
pub fn file(path: &str) -> String {
    names(path, shape::FILE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_and_what_is_none_does_not() {
        for list in ["", "*.corp.test", "git.corp.test/team/*,code.corp.test", "none"] {
            assert_eq!(patterns(list), list);
        }
        assert_eq!(patterns("git.corp.test,u:hunter2@git.corp.test"), "git.corp.test,…");
    }

    #[test]
    fn the_host_stays_and_what_lets_in_goes() {
        for (raw, shown) in [
            ("https://u:TOKEN@git.test:8443/a/b.git", "https://…@git.test:8443/a/b.git"),
            ("https://TOKEN@git.test", "https://…@git.test"),
            ("https://u:p@ss@git.test/x", "https://…@git.test/x"),
            ("https://u:p/ss@git.test/x", "https://…"),
            ("https://u:p?ss@git.test/x", "https://…"),
            ("https://proxy.test/go?token=TOKEN#TOKEN", "https://proxy.test/go?…"),
            ("https://proxy.test/0123456789abcdef0123/go", "https://proxy.test/…/go"),
            ("ssh://git@git.test/lib.git", "ssh://git@git.test/lib.git"),
            ("file:///srv/mod", "file:///srv/mod"),
            ("https://[2001:db8::2]:443/x", "https://[2001:db8::2]:443/x"),
            ("https://u:TOKEN", "https://…"),
            ("to ken://x", "…"),
        ] {
            assert_eq!(url(raw), shown, "{raw}");
            assert_eq!(url(shown), shown, "again");
        }
    }

    #[test]
    fn every_item_of_a_proxy_list_is_looked_at() {
        for (raw, shown) in [
            ("https://u:p@a.test/x|u:p@b.test:80/go,direct", "https://…@a.test/x|…@b.test:80/go,direct"),
            ("u:pa,ss@proxy.test", "…,…@proxy.test"),
            ("proxy.test,off", "proxy.test,off"),
            ("u:TOKEN", "…"),
            ("hunter2", "…"),
            ("", ""),
            ("TOKEN@proxy.test,,direct", "…@proxy.test,,direct"),
        ] {
            assert_eq!(proxies(raw), shown, "{raw}");
            assert_eq!(proxies(shown), shown, "again");
        }
    }

    #[test]
    fn a_requests_path_keeps_what_module_proxies_are_asked() {
        for path in [
            "/github.com/!burnt!sushi/toml/@v/v1.4.0.zip",
            "/x.test/m/@v/v0.0.0-20200823014737-9f7001d12a5f.info",
            "/x.test/m/@v/9f7001d12a5f9f7001d12a5f9f7001d12a5f9f70.info",
            "/golang.org/toolchain/@v/v0.0.1-go1.26.8.linux-amd64.zip",
            "/sumdb/sum.golang.org/tile/8/0/x001/234",
            "/x.test/m/@latest",
            "/m?go-get=1&a=…",
        ] {
            assert_eq!(target(path), path);
        }
        assert_eq!(target("/key/s3cr3tPassw0rd9/m?sig=abc&TOKEN"), "/key/…/m?sig=…&…");
    }

    #[test]
    fn folders_with_a_password_in_their_name_lose_it() {
        assert_eq!(file("/home/u/me:TOKEN@git.test/x"), "/home/u/…@git.test/x");
        for path in [
            "/home/u/go/pkg/mod/git.test/lib@v1.0.0",
            "/user.slice/user@1000.service/app.slice",
            "/root/go/pkg/mod/cache/vcs/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.lock",
        ] {
            assert_eq!(file(path), path);
        }
    }
}
