//! What goobserve says by itself: lines on stderr. This is the only way there, so that nothing
//! foreign in them (a file's name, an argument, a server's words) acts on a terminal, makes a line
//! of its own, or is taken for a command by a CI runner that reads the log.

use std::io::{self, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use model::clean::clean;
use model::user_error::UserError;

/// One line.
pub fn line(what: &str) {
    with_hint(what, "");
}

/// What went wrong, and what to do; an empty hint is left out.
pub fn with_hint(what: &str, hint: &str) {
    put(&complaint(what, hint, false));
}

/// The same, of a user error.
pub fn user_error(user_error: &UserError) {
    with_hint(&user_error.what, &user_error.hint);
}

/// The text of [`with_hint`].
pub fn complaint(what: &str, hint: &str, color: bool) -> String {
    let style = if color { AnsiColor::Red.on_default().bold() } else { Style::new() };
    let mut lines = format!("{style}goobserve:{style:#} {}\n", harmless(what));
    if !hint.is_empty() {
        lines.push_str("  hint: ");
        lines.push_str(&harmless(hint));
        lines.push('\n');
    }
    lines
}

/// A line of `-v`: which half of the program, how long it runs, what it does.
pub fn part(name: &str, since: Duration, what: &str) {
    put(&format!("goobserve {name} {:.3} s: {}\n", since.as_secs_f64(), harmless(what)));
}

/// Writes what [`complaint`] or a view has made safe. A stderr that takes nothing (a terminal that
/// has gone) keeps nobody from going on.
pub fn put(text: &str) {
    let _ = page(text);
}

/// The same, where it matters whether it was written.
pub fn page(text: &str) -> io::Result<()> {
    io::stderr().lock().write_all(text.as_bytes())
}

/// Draws a line that the next one replaces. For terminals.
pub fn progress(text: &str) {
    put(&format!("\r\x1b[2Kgoobserve: {}", harmless(text)));
}

/// Takes that line off.
pub fn erase() {
    put("\r\x1b[2K");
}

/// One line, and no command: GitHub's runner takes `::error::` at a line's beginning, which is ours,
/// and `##[error]` anywhere.
fn harmless(text: &str) -> String {
    clean(text).replace("##[", "##\\x5b")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_complaint_is_two_lines_or_one() {
        assert_eq!(
            complaint("go is not found", "check PATH", false),
            "goobserve: go is not found\n  hint: check PATH\n"
        );
        assert_eq!(complaint("it broke", "", false), "goobserve: it broke\n");
        assert!(complaint("it broke", "", true).starts_with("\x1b[1m\x1b[31mgoobserve:\x1b[0m "));
    }

    #[test]
    fn nothing_foreign_acts_on_the_terminal_or_the_log() {
        let text = complaint("cannot read a\n::error::b\x1b[2Jc\r##[error]d\u{202e}", "e\nf", false);
        let shown =
            "goobserve: cannot read a\\n::error::b\\x1b[2Jc\\r##\\x5berror]d\\u{202e}\n  hint: e\\nf\n";
        assert_eq!(text, shown);
    }

    /// Ways around this file.
    const OTHER_WAYS: [&str; 7] =
        ["eprint", "println!", "print!(", "dbg!(", "stderr().write", "stderr().lock", "io::stderr(),"];

    #[test]
    fn there_is_no_other_way_to_stderr() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut open = vec![package.join("src")];
        open.extend(
            fs::read_dir(package.join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src")),
        );
        let mut found = Vec::new();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with("tests.rs") || name == "say.rs" {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines = text.lines().filter(|line| OTHER_WAYS.iter().any(|way| line.contains(way)));
            found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
