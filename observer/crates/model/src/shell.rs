//! Words in, a line out that a POSIX shell takes apart as they were.

/// A word.
pub fn word(text: &str) -> String {
    // A `~` would become a home folder, and a `=` in front a program's path (zsh).
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@%+,".contains(c);
    if !text.is_empty() && !text.starts_with('=') && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A command line.
pub fn line(argv: &[String]) -> String {
    argv.iter().map(|argument| word(argument)).collect::<Vec<_>>().join(" ")
}
