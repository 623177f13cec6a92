//! What a path of the module proxy protocol names. In: a request's path. Out: an [`Asset`], or nothing for
//! what go never asks a proxy for.

/// Longest path that is understood.
const PATH_MAX: usize = 2048;

/// The sort of file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// `@v/VERSION.info`
    Info,
    /// `@v/VERSION.mod`
    Mod,
    /// `@v/VERSION.zip`
    Zip,
    /// `@v/list`
    List,
    /// `@latest`
    Latest,
    /// `sumdb/NAME/supported`
    Supported,
    /// `sumdb/NAME/latest`
    TreeHead,
    /// `sumdb/NAME/lookup/MODULE@VERSION`
    Lookup,
    /// `sumdb/NAME/tile/…`
    Tile,
}

/// Kinds whose answers take alike: what times are learned by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pace {
    /// Small files of modules
    Small,
    /// Zips
    Zip,
    /// The checksum database
    Database,
    /// What a proxy looks up anew: `list`, `@latest`
    Query,
}

/// A file that a proxy is asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Asset {
    /// What it is
    pub kind: Kind,
    /// The path without its first slash, decoded but for the `!` of capitals
    pub path: String,
    /// The module, with capitals; the database's name for what names no module
    pub module: String,
    /// The version, where it names one
    pub version: Option<String>,
}

impl Asset {
    /// Understands a path, with or without `%xx`, without its first slash.
    pub fn parse(path: &str) -> Option<Self> {
        if path.len() > PATH_MAX {
            return None;
        }
        let path = percent_decoded(path)?;
        let clean = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && !part.contains(['\\', '?', '#'])
                && part.is_ascii()
        };
        if !path.split('/').all(clean) || path.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return None;
        }
        let (kind, module, version) = match path.strip_prefix("sumdb/") {
            Some(rest) => database(rest)?,
            None => module_file(&path)?,
        };
        Some(Self { kind, path, module, version })
    }

    /// A file of a module's version: `info`, `mod`, `zip`.
    pub fn of(module: &str, version: &str, kind: Kind) -> Option<Self> {
        let end = match kind {
            Kind::Info => "info",
            Kind::Mod => "mod",
            Kind::Zip => "zip",
            _ => return None,
        };
        Self::parse(&format!("{}/@v/{}.{end}", escaped(module), escaped(version)))
    }

    /// The checksum database's record of a module's version.
    pub fn lookup(database: &str, module: &str, version: &str) -> Option<Self> {
        Self::parse(&format!("sumdb/{database}/lookup/{}@{}", escaped(module), escaped(version)))
    }

    /// Whether its bytes are the same for ever.
    pub fn is_immutable(&self) -> bool {
        match self.kind {
            Kind::Info | Kind::Mod | Kind::Zip => self.version.as_deref().is_some_and(is_canonical),
            Kind::Lookup => true,
            // A partial tile may vanish when the full one is there, and go knows how to go on then.
            Kind::Tile => !self.path.contains(".p/"),
            Kind::List | Kind::Latest | Kind::Supported | Kind::TreeHead => false,
        }
    }

    /// What its times are learned with.
    pub const fn pace(&self) -> Pace {
        match self.kind {
            Kind::Info | Kind::Mod => Pace::Small,
            Kind::Zip => Pace::Zip,
            Kind::List | Kind::Latest => Pace::Query,
            Kind::Supported | Kind::TreeHead | Kind::Lookup | Kind::Tile => Pace::Database,
        }
    }

    /// The path as go writes it: of modules' files it encodes the `!`, of the database's it does not.
    pub fn encoded(&self) -> String {
        let plain: &[u8] = if self.kind == Kind::Lookup { b"-_.~$&+:=@/!" } else { b"-_.~$&+:=@/" };
        let mut text = String::with_capacity(self.path.len() + 8);
        for byte in self.path.bytes() {
            if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        text
    }
}

type Parts = (Kind, String, Option<String>);

fn module_file(path: &str) -> Option<Parts> {
    if let Some(module) = path.strip_suffix("/@latest") {
        return Some((Kind::Latest, unescaped(module)?, None));
    }
    let (module, file) = path.split_once("/@v/")?;
    let module = unescaped(module)?;
    if file == "list" {
        return Some((Kind::List, module, None));
    }
    let (version, end) = file.rsplit_once('.')?;
    let kind = match end {
        "info" => Kind::Info,
        "mod" => Kind::Mod,
        "zip" => Kind::Zip,
        _ => return None,
    };
    Some((kind, module, Some(unescaped(version)?)))
}

fn database(rest: &str) -> Option<Parts> {
    let (name, file) = rest.split_once('/')?;
    match file {
        "supported" => Some((Kind::Supported, name.to_owned(), None)),
        "latest" => Some((Kind::TreeHead, name.to_owned(), None)),
        _ if file.starts_with("tile/") => Some((Kind::Tile, name.to_owned(), None)),
        _ => {
            let (module, version) = file.strip_prefix("lookup/")?.rsplit_once('@')?;
            Some((Kind::Lookup, unescaped(module)?, Some(unescaped(version)?)))
        }
    }
}

/// Whether a version is one that never moves: `v1.2.3`, with what may follow.
fn is_canonical(version: &str) -> bool {
    let Some(numbers) = version.strip_prefix('v') else { return false };
    let numbers = numbers.split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() == 3 && numbers.split('.').all(is_number)
}

/// Capitals as `!` and the small letter, as paths have them.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(c.to_ascii_lowercase());
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '!' => plain.push(chars.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            c if c.is_ascii_uppercase() => return None,
            c => plain.push(c),
        }
    }
    (!plain.is_empty()).then_some(plain)
}

/// A text with `%xx` replaced.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            (digit()? * 16 + digit()?) as u8
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood() {
        for (path, kind, module, version, immutable) in [
            ("a.test/m/@v/v1.2.3.info", Kind::Info, "a.test/m", Some("v1.2.3"), true),
            ("a.test/%21big/@v/v1.0.0-rc.1.zip", Kind::Zip, "a.test/Big", Some("v1.0.0-rc.1"), true),
            ("a.test/m/@v/v2.0.0+incompatible.mod", Kind::Mod, "a.test/m", Some("v2.0.0+incompatible"), true),
            ("a.test/m/@v/main.info", Kind::Info, "a.test/m", Some("main"), false),
            ("a.test/m/@v/v1.2.info", Kind::Info, "a.test/m", Some("v1.2"), false),
            ("a.test/m/@v/list", Kind::List, "a.test/m", None, false),
            ("a.test/m/@latest", Kind::Latest, "a.test/m", None, false),
            ("sumdb/s.test/supported", Kind::Supported, "s.test", None, false),
            ("sumdb/s.test/latest", Kind::TreeHead, "s.test", None, false),
            ("sumdb/s.test/lookup/a.test/!m@v1.0.0", Kind::Lookup, "a.test/M", Some("v1.0.0"), true),
            ("sumdb/s.test/tile/8/0/x001/234", Kind::Tile, "s.test", None, true),
            ("sumdb/s.test/tile/8/1/234.p/5", Kind::Tile, "s.test", None, false),
        ] {
            let asset = Asset::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (asset.kind, asset.module.as_str(), asset.version.as_deref()),
                (kind, module, version)
            );
            assert_eq!(asset.is_immutable(), immutable, "{path}");
            assert_eq!(Asset::parse(&asset.encoded()), Some(asset), "{path}");
        }
    }

    #[test]
    fn what_go_never_asks_is_nothing() {
        for path in [
            "",
            "healthz",
            "a.test/../x/@v/list",
            "a.test//@v/list",
            "a.test/@v/v1.0.0.tar",
            "a.test/B/@v/list",
            "a.test/@v/%2e%2e/x.zip",
            "sumdb/s.test/admin",
            "sumdb/s.test",
            "a.test/%zz/@v/list",
            "a.test/m/@v/x y.info",
        ] {
            assert_eq!(Asset::parse(path), None, "{path}");
        }
        assert_eq!(Asset::parse(&format!("a.test/{}/@v/list", "x".repeat(4096))), None);
    }

    #[test]
    fn a_made_asset_is_written_as_go_writes_it() {
        let asset = Asset::of("github.com/Big/m", "v1.0.0", Kind::Zip).unwrap();
        assert_eq!(asset.encoded(), "github.com/%21big/m/@v/v1.0.0.zip");
        let record = Asset::lookup("s.test", "github.com/Big/m", "v1.0.0").unwrap();
        assert_eq!(record.encoded(), "sumdb/s.test/lookup/github.com/!big/m@v1.0.0");
    }
}
