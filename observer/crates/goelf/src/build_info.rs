//! Section `.go.buildinfo` in, how the program was built out.
//!
//! 32 bytes of header, then two texts, each behind its length: the Go version, and lines of
//! `key TAB value…` between two markers of 16 bytes.

use object::ReadRef;

use super::PlanError;
use super::image::Image;

/// Begins the section.
const MAGIC: &[u8] = b"\xff Go buildinf:";
const HEADER: usize = 32;
/// Flag: the texts follow the header; since go1.18.
const INLINE: u8 = 2;
/// Around the lines.
const MARKER: usize = 16;
/// A thousand dependencies, 120 bytes a line, thirty times over.
const MAX_SECTION: u64 = 4 << 20;
/// Of what it says that much is kept of one text, bytes …
const MAX_TEXT: usize = 4096;
/// … and so many settings; there are some twenty.
const MAX_SETTINGS: usize = 64;
/// Versions are some ten bytes, with experiments some fifty.
const MAX_VERSION: usize = 256;

/// How a Go program was built, as it says itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BuildInfo {
    /// `go1.26.8`
    pub go_version: String,
    /// Import path of its main package: `cmd/go`
    pub main_path: Option<String>,
    /// Path and version of the module the main package is in
    pub module: Option<(String, String)>,
    /// Settings in the order they stand there: `CGO_ENABLED`, `-ldflags`, `vcs.revision`, …
    pub settings: Vec<(String, String)>,
}

impl BuildInfo {
    /// It is the go command.
    pub fn is_go_command(&self) -> bool {
        self.main_path.as_deref() == Some("cmd/go")
    }

    /// Built with cgo; `None` when it does not say.
    pub fn cgo(&self) -> Option<bool> {
        match self.setting("CGO_ENABLED")? {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }

    /// A setting's value.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// 26 of `go1.26.8`, `go1.26rc1`, `devel go1.26-abcdef` and the like.
    pub(super) fn go_minor(&self) -> Option<u32> {
        let mut words = self.go_version.split_ascii_whitespace();
        let minor = words.find_map(|word| word.strip_prefix("go1."))?;
        let end = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        minor[..end].parse().ok()
    }
}

/// Reads the section.
pub(crate) fn read<'d, R: ReadRef<'d>>(image: &Image<'d, R>) -> Result<BuildInfo, PlanError> {
    let Some(section) = image.section(".go.buildinfo") else {
        // What gccgo exports for those that import it; its programs have no build information.
        let gccgo = image.section(".go_export").is_some();
        return Err(if gccgo { PlanError::Gccgo } else { PlanError::NotGo });
    };
    parse(image.contents(section, "build information", MAX_SECTION)?, section.addr)
}

fn parse(section: &[u8], addr: u64) -> Result<BuildInfo, PlanError> {
    let damaged = PlanError::Damaged { what: "build information", at: addr };
    if !section.starts_with(MAGIC) {
        return Err(PlanError::NotGo);
    }
    let (Some(flags), Some(texts)) = (section.get(15), section.get(HEADER..)) else {
        return Err(damaged);
    };
    if flags & INLINE == 0 {
        return Err(PlanError::UnsupportedGo("before go1.18".into()));
    }
    let Some((version, rest)) = text(texts).filter(|(version, _)| version.len() <= MAX_VERSION) else {
        return Err(damaged);
    };
    let Ok(version) = str::from_utf8(version) else { return Err(damaged) };
    let mut info = BuildInfo { go_version: version.into(), ..BuildInfo::default() };
    let Some((lines, _)) = text(rest) else { return Err(damaged) };
    // Without the markers there are no lines, as in programs that the bare compiler built.
    if let Some(end) = lines.len().checked_sub(MARKER)
        && let Some(lines) = lines.get(MARKER..end)
    {
        let Ok(lines) = str::from_utf8(lines) else { return Err(damaged) };
        lines.lines().for_each(|line| info.line(line));
    }
    Ok(info)
}

impl BuildInfo {
    fn line(&mut self, line: &str) {
        let Some((key, value)) = line.split_once('\t').filter(|_| line.len() <= MAX_TEXT) else { return };
        match key {
            "path" => self.main_path = Some(value.into()),
            "mod" => {
                let mut fields = value.split('\t');
                if let (Some(path), Some(version)) = (fields.next(), fields.next()) {
                    self.module = Some((path.into(), version.into()));
                }
            }
            "build" if self.settings.len() < MAX_SETTINGS => self.settings.extend(setting(value)),
            _ => {}
        }
    }
}

/// `key=value`, either of which may be quoted.
fn setting(line: &str) -> Option<(String, String)> {
    let (key, value) = if line.starts_with('"') {
        let (key, rest) = quoted(line)?;
        (key, rest.strip_prefix('=')?)
    } else {
        let (key, value) = line.split_once('=')?;
        (key.to_owned(), value)
    };
    match quoted(value) {
        Some((value, "")) => Some((key, value)),
        _ => Some((key, value.to_owned())),
    }
}

/// A text in double quotes as Go writes it, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut out = Vec::new();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => {
                let escape = chars.next()?;
                let mut number = |digits| {
                    let (hex, rest) = chars.as_str().split_at_checked(digits)?;
                    chars = rest.chars();
                    u32::from_str_radix(hex, 16).ok()
                };
                match escape {
                    'a' => out.push(7),
                    'b' => out.push(8),
                    'f' => out.push(12),
                    'n' => out.push(b'\n'),
                    'r' => out.push(b'\r'),
                    't' => out.push(b'\t'),
                    'v' => out.push(11),
                    'x' => out.push(number(2)? as u8),
                    'u' => push(&mut out, char::from_u32(number(4)?)?),
                    'U' => push(&mut out, char::from_u32(number(8)?)?),
                    other => push(&mut out, other),
                }
            }
            other => push(&mut out, other),
        }
    }
    Some((String::from_utf8(out).ok()?, chars.as_str()))
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A text behind its length (seven bits a byte, the lowest first), and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(4) {
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes.get(index + 1..)?.split_at_checked(len);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(version: &str, lines: &str) -> Vec<u8> {
        let lines = format!("{0}{lines}{0}", "0123456789abcdef");
        let mut section = MAGIC.to_vec();
        section.extend([8, INLINE]);
        section.resize(HEADER, 0);
        section.push(version.len() as u8);
        section.extend(version.as_bytes());
        section.extend([(lines.len() & 0x7f) as u8 | 0x80, (lines.len() >> 7) as u8]);
        section.extend(lines.as_bytes());
        section
    }

    #[test]
    fn lines_become_fields() {
        let lines = "path\texample.test/app\nmod\texample.test/app\tv1.2.3\th1:x=\n\
                     dep\texample.test/other\tv0.1.0\th1:y=\n\
                     build\tCGO_ENABLED=1\nbuild\t-ldflags=\"-s -w -X \\\"main.v=\\u00e4\\x41\\\"\"\n";
        let info = parse(&section("go1.26.8", lines), 0).expect("whole");
        assert_eq!(info.go_version, "go1.26.8");
        assert_eq!(info.main_path.as_deref(), Some("example.test/app"));
        assert_eq!(info.module, Some(("example.test/app".into(), "v1.2.3".into())));
        assert_eq!(info.cgo(), Some(true));
        assert_eq!(info.setting("-ldflags"), Some("-s -w -X \"main.v=äA\""));
        assert!(!info.is_go_command());
    }

    #[test]
    fn every_cut_is_refused_and_none_panics() {
        let whole = section("go1.26.8", "path\tcmd/go\n");
        assert!(parse(&whole, 0).expect("whole").is_go_command());
        for len in 0..whole.len() {
            assert!(parse(&whole[..len], 0).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn pointers_instead_of_texts_are_too_old() {
        let mut old = section("go1.17", "");
        old[15] = 0;
        assert!(matches!(parse(&old, 0), Err(PlanError::UnsupportedGo(_))));
    }

    #[test]
    fn a_value_that_only_looks_quoted_stays_as_it_is() {
        assert_eq!(setting("a=\"b"), Some(("a".into(), "\"b".into())));
        assert_eq!(setting("a=\"b\"c"), Some(("a".into(), "\"b\"c".into())));
        assert_eq!(setting("\"a b\"=c"), Some(("a b".into(), "c".into())));
        assert_eq!(setting("nothing"), None);
    }

    #[test]
    fn minor_versions_are_understood_in_all_their_spellings() {
        let minor =
            |version: &str| BuildInfo { go_version: version.into(), ..BuildInfo::default() }.go_minor();
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.21rc2"), Some(21));
        assert_eq!(minor("go1.24.6 X:nodwarf5"), Some(24));
        assert_eq!(minor("devel go1.27-0123abc Mon"), Some(27));
        assert_eq!(minor("go1.26-devel_0123abc"), Some(26));
        assert_eq!(minor("devel +0123abc"), None);
        assert_eq!(minor("go1."), None);
    }
}
