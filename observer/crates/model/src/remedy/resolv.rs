//! `resolv=LINE`: a line in a private resolv.conf. In: the line and the machine's resolv.conf.
//! Out: the command's. `options` are added to those that are there; `nameserver`, `search`,
//! `domain` and `sortlist` stand in for the machine's own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;

use crate::redact;
use crate::user_error::UserError;

/// What a mount in the command's mount namespace covers.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

const KEYWORDS: [&str; 5] = ["nameserver", "search", "domain", "sortlist", "options"];

/// A line that is understood by resolvers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    words: Vec<String>,
}

impl Line {
    /// Checks a line.
    pub(super) fn parse(text: &str) -> Result<Self, UserError> {
        let wrong = |what: &str| {
            UserError::new(
                format!("{:?}: {what}", redact::remedy(&format!("resolv={text}"))),
                "see resolv.conf(5); --with resolv='options timeout:2 attempts:5'",
            )
        };
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(wrong("a line holds no control characters"));
        }
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        match words.as_slice() {
            [keyword, ..] if !KEYWORDS.contains(&keyword.as_str()) => {
                Err(wrong(&format!("it begins with none of {}", KEYWORDS.join(", "))))
            }
            [] | [_] => Err(wrong("something is missing behind its first word")),
            [keyword, address] if keyword == "nameserver" && !is_address(address) => {
                Err(wrong("its second word is no IP address"))
            }
            [keyword, _, _, ..] if keyword == "nameserver" => Err(wrong("a line names one server")),
            _ => Ok(Self { words }),
        }
    }

    fn keyword(&self) -> &str {
        &self.words[0]
    }

    /// Whether it stands in for that line of the machine's.
    fn replaces(&self, line: &str) -> bool {
        let search = |keyword: &str| keyword == "search" || keyword == "domain";
        let theirs = line.split_whitespace().next().unwrap_or_default();
        let ours = self.keyword();
        ours != "options" && (ours == theirs || search(ours) && search(theirs))
    }
}

/// An address, perhaps with a zone: `fe80::1%eth0`.
fn is_address(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    IpAddr::from_str(address).is_ok() && SocketAddr::from_str(text).is_err()
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// The machine's resolv.conf with those lines.
pub(super) fn changed(machine: &str, lines: &[Line]) -> String {
    let kept = machine.lines().filter(|old| !lines.iter().any(|line| line.replaces(old)));
    let mut text = String::new();
    for line in kept.map(str::to_owned).chain(lines.iter().map(Line::to_string)) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}
