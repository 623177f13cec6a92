//! A shell's script: its commands by the rule for arguments, what cannot be taken apart not at all.

use super::args;
use super::programs::known;
use super::shape::HIDDEN;

/// Longest script that is looked at, bytes.
const LENGTH_MAX: usize = 4096;

/// Whether a text is several words of which the first is a program that is known.
pub(super) fn begins(text: &str) -> bool {
    text.trim() == text && text.split_once(char::is_whitespace).is_some_and(|(word, _)| known(word).is_some())
}

/// A script as it may be shown: from the first word on that is not plain, `…`.
pub(super) fn script(text: &str) -> String {
    if text.len() > LENGTH_MAX {
        return HIDDEN.to_owned();
    }
    let once = commands(text);
    // What reads differently without its credentials is not understood.
    if commands(&once) == once { once } else { HIDDEN.to_owned() }
}

fn commands(text: &str) -> String {
    let (mut out, mut command, mut rest) = (String::new(), Vec::new(), text);
    loop {
        let begin = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        rest = &rest[begin..];
        let Some(end) = word_end(rest) else {
            // A quote that is not closed, a substitution: nobody knows where it ends.
            flush(&mut out, &mut command);
            return join(out, HIDDEN);
        };
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            flush(&mut out, &mut command);
            let operator = after.len() - after.trim_start_matches(['\n', ';', '&', '|', '(', ')']).len();
            if after.is_empty() {
                return out;
            }
            let (operator, after) = after.split_at(operator);
            // As they were typed: `;` hangs on the word before it.
            let lone = if operator == ";" || operator == "\n" {
                operator.to_owned()
            } else {
                format!(" {operator}")
            };
            out.push_str(&lone);
            rest = after;
        } else {
            command.push(word.to_owned());
            rest = after;
        }
    }
}

/// Where the word at the beginning of a text ends; `None` when that cannot be reported.
fn word_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None | Some('"'), '`' | '\\') => return None,
            (None | Some('"'), '$') if text[at..].starts_with("$(") => return None,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '&') if at > 0 && text[..at].ends_with('>') => {} // `2>&1`
            (None, ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')') => return Some(at),
            (None, '#') if at == 0 => return None,
            _ => {}
        }
    }
    quote.is_none().then_some(text.len())
}

/// Writes a command's words: as typed where the rule leaves them as they are.
fn flush(out: &mut String, command: &mut Vec<String>) {
    let bare: Vec<String> = command.iter().map(|word| unquoted(word)).collect();
    // Variables before a command are the environment's.
    let begin = bare.iter().take_while(|word| super::token::assignment(word).is_some()).count();
    let mut shown: Vec<String> = bare[..begin].iter().map(|word| super::token::token(word)).collect();
    shown.extend(args::shown(&bare[begin..]));
    for ((raw, bare), shown) in command.iter().zip(&bare).zip(&shown) {
        let same = bare == shown || is_expansion(bare) || is_redirection(raw);
        *out = join(std::mem::take(out), if same { raw } else { shown });
    }
    command.clear();
}

fn join(mut out: String, word: &str) -> String {
    if !out.is_empty() && !out.ends_with(['\n', '(']) {
        out.push(' ');
    }
    out + word
}

/// What a word is without its quotes.
fn unquoted(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '\'' | '"')).collect()
}

/// `$1`, `$@`, `${NAME}`: the name of a value, not the value.
fn is_expansion(word: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || "_@*#?{}".contains(c);
    word.strip_prefix('$').is_some_and(|rest| !rest.is_empty() && rest.chars().all(name))
}

/// `2>&1`, `>/dev/null`.
fn is_redirection(word: &str) -> bool {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    matches!(rest, ">&1" | ">&2" | ">/dev/null" | ">" | ">>" | "<" | "</dev/null" | "&>/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_script_stays_and_credentials_go() {
        for (raw, shown) in [
            ("sleep 2; false \"$@\"", "sleep 2; false \"$@\""),
            ("cd x && go mod download all", "cd x && go mod download all"),
            (
                "go mod download; go build ./... 2>&1 | tail -3",
                "go mod download; go build ./... 2>&1 | tail -3",
            ),
            ("TOKEN=hunter go mod download", "TOKEN=… go mod download"),
            ("curl -H 'Authorization: Bearer hunter' https://u:p@x.test", "curl -H … https://…@x.test"),
            ("echo hunter | docker login --password-stdin", "echo … | docker login --password-stdin"),
            ("go build $(echo hunter)", "go build …"),
            ("f() { echo password=hunter; }; f", "f () { echo …; }; f"),
            ("git-upload-pack '/lib.git'", "git-upload-pack '/lib.git'"),
        ] {
            assert_eq!(script(raw), shown, "{raw}");
            assert_eq!(script(shown), shown, "again");
        }
    }
}
