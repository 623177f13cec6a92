//! What a request is for: authority and path in, a [`Class`] with module and version out.
//!
//! Knows the module proxy's URLs, the checksum database's (at its own host, or through a proxy
//! under `/sumdb/NAME/`), the toolchain's and `?go-get=1`.

use std::borrow::Cow;

use model::record::Class;
use model::redact::request::GO_GET;

/// The module that holds Go toolchains; its files are not modules to build with.
const TOOLCHAIN: &str = "golang.org/toolchain";
/// Longest module path or version that is believed, bytes.
const NAME_MAX: usize = 1024;

/// Reports the class of a request, its module path and its version, unescaped.
///
/// `path` is the request's target as sent (or redacted), with its query. `prefixes` are the paths
/// of the configured GOPROXY and GOSUMDB URLs: the longest that fits is taken off. A prefix that
/// is not among them is still distinguished from a module path as far as its elements have no dot, for the
/// first element of a module path has one; module and version are `None` when they are missing
/// or not escaped by the rules.
pub fn classify(authority: &str, path: &str, prefixes: &[String]) -> (Class, Option<String>, Option<String>) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if query.split('&').any(|pair| pair == GO_GET) {
        let path = path.trim_end_matches('/');
        let module = decoded(path).map(|path| format!("{authority}{path}"));
        return (Class::GoGet, module.filter(|_| !authority.is_empty()), None);
    }
    let path = without_prefix(path, prefixes);
    // First, for a module path may have an element `sumdb`, and no sumdb path an element `@v`.
    module_file(path).or_else(|| sumdb_by_proxy(path)).or_else(|| sumdb(path.strip_prefix('/')?)).unwrap_or((
        Class::Other,
        None,
        None,
    ))
}

type Classified = (Class, Option<String>, Option<String>);

fn module_file(path: &str) -> Option<Classified> {
    if let Some(module) = path.strip_suffix("/@latest") {
        return Some((Class::Latest, proxy_module(module), None));
    }
    let (module, file) = path.rsplit_once("/@v/")?;
    if file == "list" {
        return Some((Class::List, proxy_module(module), None));
    }
    let (version, kind) = file.rsplit_once('.')?;
    let class = match kind {
        "info" => Class::Info,
        "mod" => Class::Mod,
        "zip" => Class::Zip,
        _ => return None,
    };
    if version.is_empty() || version.contains('/') {
        return None;
    }
    let module = proxy_module(module);
    let class = if module.as_deref() == Some(TOOLCHAIN) { Class::Toolchain } else { class };
    Some((class, module, version_name(version)))
}

fn sumdb_by_proxy(path: &str) -> Option<Classified> {
    path.match_indices("/sumdb/").find_map(|(at, found)| {
        let (name, rest) = path[at + found.len()..].split_once('/')?;
        if name.is_empty() {
            return None;
        }
        if rest == "supported" { Some((Class::SumdbSupported, None, None)) } else { sumdb(rest) }
    })
}

fn sumdb(path: &str) -> Option<Classified> {
    if path == "latest" {
        return Some((Class::SumdbLatest, None, None));
    }
    if let Some(rest) = path.strip_prefix("lookup/") {
        let (module, version) = rest.rsplit_once('@')?;
        return Some((Class::SumdbLookup, unescaped(module), version_name(version)));
    }
    path.strip_prefix("tile/").filter(|rest| is_tile(rest)).map(|_| (Class::SumdbTile, None, None))
}

/// `8/0/x001/234`, `8/data/005.p/17`
fn is_tile(rest: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut elements = rest.split('/');
    let height = elements.next().is_some_and(digits);
    let level = elements.next().is_some_and(|level| level == "data" || digits(level));
    let mut numbers = elements.peekable();
    height
        && level
        && numbers.peek().is_some()
        && numbers
            .all(|number| digits(number.strip_prefix('x').or(number.strip_suffix(".p")).unwrap_or(number)))
}

fn without_prefix<'a>(path: &'a str, prefixes: &[String]) -> &'a str {
    prefixes
        .iter()
        .map(|prefix| prefix.trim_matches('/'))
        .filter(|prefix| !prefix.is_empty())
        .filter_map(|prefix| {
            let rest = path.strip_prefix('/')?.strip_prefix(prefix)?;
            rest.starts_with('/').then_some(rest)
        })
        .min_by_key(|rest| rest.len())
        .unwrap_or(path)
}

fn proxy_module(path: &str) -> Option<String> {
    let mut rest = path.strip_prefix('/')?;
    while !rest.split('/').next()?.contains('.') {
        rest = rest.split_once('/')?.1;
    }
    unescaped(rest)
}

fn version_name(escaped: &str) -> Option<String> {
    unescaped(escaped).filter(|version| !version.contains('/'))
}

/// Undoes percent encoding, then `!a` for `A`. An upper-case letter must have been escaped.
fn unescaped(escaped: &str) -> Option<String> {
    let escaped = decoded(escaped)?;
    if escaped.is_empty() || escaped.len() > NAME_MAX || escaped.split('/').any(str::is_empty) {
        return None;
    }
    let mut out = String::with_capacity(escaped.len());
    let mut chars = escaped.chars();
    while let Some(char) = chars.next() {
        match char {
            '!' => out.push(chars.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            'A'..='Z' | '@' | '…' => return None,
            char if char.is_whitespace() || char.is_control() => return None,
            char => out.push(char),
        }
    }
    Some(out)
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        out.push(match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                rest = tail;
                (digit(high)? * 16 + digit(low)?) as u8
            }
            (b'%', _) => return None,
            _ => *byte,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(path: &str) -> (Class, String, String) {
        let (class, module, version) = classify("proxy.test", path, &[]);
        (class, module.unwrap_or_default(), version.unwrap_or_default())
    }

    fn is(path: &str, class: Class, module: &str, version: &str) {
        assert_eq!(of(path), (class, module.into(), version.into()), "{path}");
    }

    #[test]
    fn the_five_files_of_a_module() {
        is("/example.test/m/@v/list", Class::List, "example.test/m", "");
        is("/example.test/m/@latest", Class::Latest, "example.test/m", "");
        is("/example.test/m/@v/v1.2.3.info", Class::Info, "example.test/m", "v1.2.3");
        is("/example.test/m/v2/@v/v2.0.0.mod", Class::Mod, "example.test/m/v2", "v2.0.0");
        is("/example.test/m/@v/v4.0.0+incompatible.zip", Class::Zip, "example.test/m", "v4.0.0+incompatible");
    }

    #[test]
    fn capital_letters_are_unescaped_with_and_without_percent() {
        is("/example.test/!big!name/@v/v1.0.0-!r!c1.mod", Class::Mod, "example.test/BigName", "v1.0.0-RC1");
        is("/example.test/%21big%21name/@v/list", Class::List, "example.test/BigName", "");
    }

    #[test]
    fn a_badly_escaped_module_is_not_known() {
        for path in ["/example.test/!1/@v/list", "/example.test/B/@v/list", "/example.test/a%2/@v/list"] {
            is(path, Class::List, "", "");
        }
        is("/example.test//a/@v/list", Class::List, "", "");
    }

    #[test]
    fn the_checksum_database_through_a_proxy() {
        is("/sumdb/sumdb.test/supported", Class::SumdbSupported, "", "");
        is("/sumdb/sumdb.test/latest", Class::SumdbLatest, "", "");
        is("/sumdb/sumdb.test/lookup/example.test/!m@v1.0.0", Class::SumdbLookup, "example.test/M", "v1.0.0");
        is("/sumdb/sumdb.test/tile/8/0/x001/234", Class::SumdbTile, "", "");
        is("/go/sumdb/sumdb.test/tile/8/data/005.p/17", Class::SumdbTile, "", "");
    }

    #[test]
    fn the_checksum_database_at_its_own_host() {
        is("/latest", Class::SumdbLatest, "", "");
        is("/lookup/example.test/m@v1.0.0", Class::SumdbLookup, "example.test/m", "v1.0.0");
        is("/tile/8/1/003", Class::SumdbTile, "", "");
        is("/tile/8/1/x", Class::Other, "", "");
        is("/tile/8/1", Class::Other, "", "");
    }

    #[test]
    fn a_module_with_an_element_sumdb_is_a_module() {
        is("/golang.org/x/mod/sumdb/@v/list", Class::List, "golang.org/x/mod/sumdb", "");
        is(
            "/example.test/sumdb/a/lookup/b/@v/v1.0.0.info",
            Class::Info,
            "example.test/sumdb/a/lookup/b",
            "v1.0.0",
        );
    }

    #[test]
    fn the_toolchain_is_distinguished() {
        let version = "v0.0.1-go1.26.0.linux-amd64";
        for kind in ["mod", "info", "zip"] {
            let path = format!("/golang.org/toolchain/@v/{version}.{kind}");
            is(&path, Class::Toolchain, TOOLCHAIN, version);
        }
        is("/golang.org/toolchain/@v/list", Class::List, TOOLCHAIN, "");
    }

    #[test]
    fn a_look_up_of_an_import_path() {
        let (class, module, version) = classify("example.test", "/m/v2?go-get=1", &[]);
        assert_eq!((class, module.as_deref(), version), (Class::GoGet, Some("example.test/m/v2"), None));
    }

    #[test]
    fn a_known_prefix_is_taken_off() {
        let prefixes = ["/go.d/".to_owned(), "/go.d/v1.x".to_owned(), "/".to_owned()];
        let (_, module, _) = classify("proxy.test", "/go.d/v1.x/example.test/m/@latest", &prefixes);
        assert_eq!(module.as_deref(), Some("example.test/m"));
        let (_, module, _) = classify("proxy.test", "/go.dx/m/@latest", &prefixes);
        assert_eq!(module.as_deref(), Some("go.dx/m"));
        let (class, ..) = classify("proxy.test", "/go.d/lookup/example.test/m@v1.0.0", &prefixes);
        assert_eq!(class, Class::SumdbLookup);
    }

    #[test]
    fn an_unknown_prefix_without_a_dot_is_seen_through() {
        is("/api/go/example.test/m/@v/list", Class::List, "example.test/m", "");
        is("/nodot/m/@v/list", Class::List, "", "");
    }

    #[test]
    fn anything_else_is_other() {
        for path in
            ["", "/", "*", "/example.test/m/@v/", "/example.test/m/@v/.zip", "/m/@v/v1.exe", "/lookup/m"]
        {
            is(path, Class::Other, "", "");
        }
    }

    proptest! {
        #[test]
        fn escaping_is_undone(module in "[a-z]{1,4}\\.test/[a-zA-Z0-9._~-]{1,20}", version in "v[0-9]\\.[0-9a-zA-Z.-]{1,20}") {
            let escape = |text: &str| text.chars().fold(String::new(), |mut out, char| {
                if char.is_ascii_uppercase() { out.push('!'); }
                out.push(char.to_ascii_lowercase());
                out
            });
            let path = format!("/{}/@v/{}.zip", escape(&module), escape(&version));
            prop_assert_eq!(of(&path), (Class::Zip, module, version));
        }

        #[test]
        fn no_text_panics(authority in ".*", path in ".*", prefix in ".*") {
            let _ = classify(&authority, &path, &[prefix]);
        }
    }
}
