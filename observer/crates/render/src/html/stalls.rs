//! A command's stalls, each with its evidence and the command to try.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use model::human::{duration, moment, percent};
use model::report::{Command, Stall};
use model::words::severity;

use crate::explain;
use crate::markup::escape;
use crate::result::sentence;

/// Stalls shown, pieces of evidence and remedies of one.
const MOST: usize = 30;
const PIECES: usize = 12;

pub(super) fn stalls(out: &mut String, command: &Command) {
    if command.stalls.is_empty() {
        return;
    }
    out.push_str("<h2>Stalls</h2>\n");
    for stall in command.stalls.iter().take(MOST) {
        self::stall(out, command, stall);
    }
    if command.stalls.len() > MOST {
        let _ = writeln!(out, "<p class=\"soft\">and {} more</p>", command.stalls.len() - MOST);
    }
}

/// A kind's name, as a link to what the page says of it.
pub(super) fn explained(kind: &str) -> String {
    match explain::of(kind) {
        Some(_) => format!("<a href=\"#explain-{kind}\">{kind}</a>"),
        None => escape(kind),
    }
}

/// What docs/stalls.md says of the kinds that the page names.
pub(super) fn meanings(out: &mut String, kinds: &BTreeSet<String>) {
    let sections: Vec<_> = explain::sections().filter(|section| kinds.contains(section.kind)).collect();
    if sections.is_empty() {
        return;
    }
    out.push_str("<h2>What these stalls mean</h2>\n");
    for section in sections {
        let _ = writeln!(out, "<h3 id=\"explain-{0}\">{0}</h3>\n<dl>", section.kind);
        for (name, text) in &section.parts {
            let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", code(&explain::plain(text)));
        }
        out.push_str("</dl>\n");
        if let Some(example) = section.example {
            let _ = writeln!(out, "<pre>{}</pre>", escape(example));
        }
    }
}

/// What stands between ticks as code.
fn code(text: &str) -> String {
    let mut out = String::new();
    for (place, part) in text.split('`').enumerate() {
        let part = escape(part);
        out.push_str(&if place % 2 == 1 { format!("<code>{part}</code>") } else { part });
    }
    out
}

fn stall(out: &mut String, command: &Command, stall: &Stall) {
    let severity = severity(stall.severity);
    let _ = writeln!(
        out,
        "<div class=\"stall {severity}\">\n<h3>{}</h3>\n<p><span class=\"tag\">{severity}</span> · {} · cost {} ({}) · {}{} to {} s</p>",
        escape(&sentence(&stall.summary)),
        explained(stall.kind.as_str()),
        duration(stall.cost_ns),
        escape(&percent(stall.cost_ns, command.wall_ns)),
        stall.host.as_ref().map_or_else(String::new, |host| format!("{} · ", escape(host))),
        moment(stall.start_ns.saturating_sub(command.start_ns)),
        moment(stall.end_ns.saturating_sub(command.start_ns)),
    );
    if !stall.evidence.is_empty() {
        out.push_str("<ul>\n");
        for piece in stall.evidence.iter().take(PIECES) {
            let _ = writeln!(out, "<li>{}</li>", escape(&piece.to_string()));
        }
        if stall.evidence.len() > PIECES {
            let _ = writeln!(out, "<li class=\"soft\">and {} more</li>", stall.evidence.len() - PIECES);
        }
        out.push_str("</ul>\n");
    }
    if !stall.advice.is_empty() {
        let _ = writeln!(out, "<p><b>do</b>: {}</p>", escape(&stall.advice));
    }
    for remedy in stall.remedies.iter().take(PIECES) {
        let _ = writeln!(out, "<p><b>{}</b>: {}</p>", escape(&remedy.name), escape(&remedy.why));
        if !remedy.attempt.is_empty() {
            let _ = writeln!(out, "<pre>{}</pre>", escape(&remedy.attempt));
        }
    }
    out.push_str("</div>\n");
}
