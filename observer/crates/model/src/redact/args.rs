//! The one rule for arguments: a program's arguments in, the same out with `…` for each part that
//! may be a credential. What the rule makes of its own result is that result.

use super::programs::{Program, UNKNOWN, has, known};
use super::shape::{HIDDEN, NAME_MIN, is_secret, names_secret};
use super::token::{self, is_number, token};
use super::{script, settings, url};

/// Programs that start each other in one list of arguments, at most.
const NESTED_MAX: usize = 4;
/// Longest name of a flag that is shown, bytes.
const FLAG_MAX: usize = 40;

/// What the next argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// A flag or a word
    Any,
    /// The value of a flag
    Value(Value),
    /// Perhaps the value of a flag that nobody knows
    Perhaps,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    Hidden,
    Shown,
    Format,
    Variable,
    Config,
    Script,
    Remedy,
    /// Of a flag that nobody knows
    Unknown,
}

/// Arguments, the program first, as they may be shown.
pub fn shown(argv: &[String]) -> Vec<String> {
    let pass = |argv: &[String]| {
        let mut out = Vec::with_capacity(argv.len());
        program(argv, NESTED_MAX, &mut out);
        out
    };
    let once = pass(argv);
    if pass(&once) == once {
        return once;
    }
    // What reads differently without its credentials is not understood.
    let hidden = argv.iter().skip(1).map(|_| HIDDEN.to_owned());
    once.into_iter().take(1).chain(hidden).collect()
}

/// A program's name or path.
pub fn program_name(name: &str) -> String {
    if name.contains('/') {
        return url::file(name);
    }
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"@:=".contains(c);
    if known(name).is_some() || name.chars().all(plain) && !is_secret(name, NAME_MIN) {
        name.to_owned()
    } else {
        HIDDEN.to_owned()
    }
}

fn program(argv: &[String], nested: usize, out: &mut Vec<String>) {
    let Some((name, rest)) = argv.split_first() else { return };
    out.push(program_name(name));
    let about = known(name).unwrap_or(&UNKNOWN);
    let (mut next, mut words_only, mut after_secret) = (Next::Any, false, false);
    for (at, arg) in rest.iter().enumerate() {
        let is_flag = arg.len() > 1 && arg.starts_with('-') && !is_number(arg);
        if arg == "--" && next == Next::Any {
            words_only = true;
            out.push(arg.clone());
        } else if let Next::Value(kind) = next {
            next = Next::Any;
            out.push(value(kind, arg));
        } else if is_flag && !words_only {
            let (shown, follows) = flag(about, arg);
            next = follows;
            out.push(shown);
        } else if about.wraps
            && nested > 0
            && known(arg).is_some_and(|program| !program.builtin || !about.names.is_empty())
        {
            return program(&rest[at..], nested - 1, out);
        } else if next == Next::Perhaps {
            next = Next::Any;
            out.push(value(Value::Unknown, arg));
        } else if about.speaks || after_secret {
            after_secret = false;
            out.push(HIDDEN.to_owned());
        } else if !about.configs.is_empty() && token::is_commit(arg) {
            out.push(token::short(arg)); // git takes no credential there
        } else if script::begins(arg) {
            out.push(script::script(arg));
        } else {
            // `tool password HERE`, `git config http.extraHeader HERE`
            let may_follow = about.names.is_empty() || !about.configs.is_empty() && arg.contains('.');
            after_secret = may_follow && names_secret(arg);
            out.push(token(arg));
        }
    }
}

/// A flag, as it may be shown, and what stands behind it.
fn flag(about: &Program, arg: &str) -> (String, Next) {
    let hyphens = if arg.starts_with("--") { 2 } else { 1 };
    let (name, joined) = match arg.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (arg, None),
    };
    let bare = &name[hyphens..];
    let kind = kind(about, bare);
    let is_name = {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        bare.len() <= FLAG_MAX
            && bare.chars().all(plain)
            && bare.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let one_letter = bare.len() == 1;
    if !is_name {
        // Of `-pSECRET` with strange characters the letter, of anything else nothing.
        return (attached(about, arg, hyphens), Next::Any);
    }
    if hyphens == 1 && !one_letter && !about.long_single && kind == Some(Value::Unknown) {
        return letters(about, arg, joined.is_some());
    }
    if is_secret(bare, NAME_MIN) || about.long_single && !is_flag_name(bare) {
        return (attached(about, arg, hyphens), Next::Any);
    }
    match (kind, joined) {
        (Some(kind), Some(joined)) => (format!("{name}={}", value(kind, joined)), Next::Any),
        (None, Some(joined)) => (format!("{name}={}", value(Value::Unknown, joined)), Next::Any),
        (None, None) => (arg.to_owned(), Next::Any),
        (Some(Value::Unknown), None) => {
            let letter = one_letter && about.letters.contains(bare);
            (arg.to_owned(), if about.greedy && !letter { Next::Perhaps } else { Next::Any })
        }
        (Some(kind), None) => (arg.to_owned(), Next::Value(kind)),
    }
}

/// Several characters behind one hyphen: flags of one letter each, or one with its value.
fn letters(about: &Program, arg: &str, joined: bool) -> (String, Next) {
    let bare = &arg[1..];
    let among = |text: &str| text.chars().all(|c| about.letters.contains(c));
    if joined {
        return (attached(about, arg, 1), Next::Any);
    }
    let (start, last) = bare.split_at(bare.len() - 1);
    match kind(about, last) {
        // `-ec SCRIPT`: the last of several letters takes the next argument.
        Some(kind) if kind != Value::Unknown && among(start) => (arg.to_owned(), Next::Value(kind)),
        _ if among(bare) => (arg.to_owned(), Next::Any),
        _ if about.letters.is_empty() && bare.len() <= 3 && bare.chars().all(|c| c.is_ascii_lowercase()) => {
            (arg.to_owned(), if about.greedy { Next::Perhaps } else { Next::Any })
        }
        _ => (attached(about, arg, 1), Next::Any),
    }
}

/// A name of a flag: words with hyphens between; digits only in a few.
fn is_flag_name(name: &str) -> bool {
    name.chars().filter(char::is_ascii_digit).count() <= 3
}

/// A flag whose value is not apart from it: `-n1`, `-I/usr/include`, `-oBatchMode=yes`, `-pSECRET`.
fn attached(about: &Program, arg: &str, hyphens: usize) -> String {
    if !arg[hyphens..].starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return HIDDEN.to_owned();
    }
    let rest = &arg[hyphens + 1..];
    let flag = &arg[..=hyphens];
    let known = hyphens == 1 && kind(about, &arg[1..2]) == Some(Value::Shown);
    match rest {
        _ if rest.is_empty() => arg.to_owned(),
        _ if known && !names_secret(rest) => format!("{flag}{}", attached_value(rest)),
        _ => format!("{flag}{HIDDEN}"),
    }
}

/// `BatchMode=yes`, `1`, `/usr/include`, `lib`.
fn attached_value(text: &str) -> String {
    match text.split_once('=') {
        Some((name, value)) if name.chars().all(|c| c.is_ascii_alphabetic()) => {
            let plain = is_number(value) || token::is_word(value) || value.starts_with('/');
            format!("{name}={}", if plain { url::file(value) } else { HIDDEN.to_owned() })
        }
        _ => token(text),
    }
}

/// What a flag takes; `None` for nothing.
fn kind(about: &Program, name: &str) -> Option<Value> {
    let among = |list: &str| has(list, name);
    Some(match name {
        _ if has(about.names, "goobserve") && among("with versus") => Value::Remedy,
        _ if among(about.secrets) => Value::Hidden,
        _ if among(about.variables) => Value::Variable,
        _ if among(about.configs) => Value::Config,
        _ if among(about.scripts) => Value::Script,
        _ if among(about.formats) => Value::Format,
        _ if among(about.switches) => return None,
        _ if among(about.values) => Value::Shown,
        _ if name.starts_with("no-") && !about.greedy => return None,
        _ if names_secret(name) => Value::Hidden,
        _ => Value::Unknown,
    })
}

fn value(kind: Value, text: &str) -> String {
    match kind {
        Value::Shown => token::value(text),
        Value::Format => token::format(text),
        Value::Script => script::script(text),
        Value::Remedy => settings::remedy(text),
        Value::Config => config(text),
        Value::Variable => match token::assignment(text) {
            Some((name, value)) => format!("{name}={}", settings::variable(name, value)),
            // The name of one that is handed on.
            None if text.chars().all(|c| c.is_ascii_uppercase() || c == '_') => text.to_owned(),
            None => HIDDEN.to_owned(),
        },
        Value::Unknown if matches!(text, "true" | "false" | "") || is_number(text) => text.to_owned(),
        Value::Unknown if text.contains("://") => url::url(text),
        Value::Unknown if text.starts_with('/') => token(text),
        Value::Unknown | Value::Hidden => HIDDEN.to_owned(),
    }
}

/// One of git's settings: `protocol.version=2`, `url.BASE.insteadOf=URL`.
fn config(text: &str) -> String {
    // A base may hold `=`, so the value begins behind the last name.
    let (key, given) = match text.find(".insteadOf=").or_else(|| text.find(".pushInsteadOf=")) {
        Some(at) => text[at..]
            .find('=')
            .map_or((text, None), |equals| (&text[..at + equals], Some(&text[at + equals + 1..]))),
        None => match text.split_once('=') {
            Some((key, given)) => (key, Some(given)),
            None => (text, None),
        },
    };
    let letters = |part: &str| part.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let (middle, last) = rest.rsplit_once('.').map_or(("", rest), |(middle, last)| (middle, last));
    if !letters(section) || !letters(last) || is_secret(last, NAME_MIN) {
        return HIDDEN.to_owned();
    }
    let middle = match middle {
        "" => String::new(),
        _ if middle.contains("://") => format!("{}.", url::url(middle)),
        _ => format!("{}.", token(middle)),
    };
    let key = if rest.is_empty() { section.to_owned() } else { format!("{section}.{middle}{last}") };
    let safe = [
        "advice",
        "checkout",
        "color",
        "core",
        "extensions",
        "fetch",
        "gc",
        "index",
        "init",
        "log",
        "maintenance",
        "pack",
        "protocol",
        "remote",
        "safe",
        "submodule",
        "transfer",
        "url",
    ];
    match given {
        None => key,
        Some(given) if given.contains("://") => format!("{key}={}", url::url(given)),
        Some(given) if safe.contains(&section.to_ascii_lowercase().as_str()) && !names_secret(last) => {
            format!("{key}={}", token(given))
        }
        Some(given) => format!("{key}={}", value(Value::Unknown, given)),
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
