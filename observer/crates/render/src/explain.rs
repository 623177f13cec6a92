//! `docs/stalls.md`, which is part of the program: a kind's section in, its parts out, or a page for a
//! terminal. The document is the only source of these words.

use anstyle::Style;
use model::record::Phase;
use model::words;

use crate::page::{DIM, HEADING, Options, PLAIN, Page};

/// The document.
pub const DOCUMENT: &str = include_str!("../../../../docs/stalls.md");
/// Columns of a part's name, of a kind's name in a list.
const NAME: usize = 10;
const KIND: usize = 26;

/// What the document says of a kind of stall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its name, as reports have it
    pub kind: &'static str,
    /// Its phases and remedies, in a sentence
    pub about: String,
    /// What stands in bold at a paragraph's beginning, and the rest of it: `You see`, `It means`, `Check`,
    /// `Do`. Markdown's ticks, bold and links are in it
    pub parts: Vec<(&'static str, String)>,
    /// A command line that may be typed
    pub example: Option<&'static str>,
}

/// All of them, in the document's order.
pub fn sections() -> impl Iterator<Item = Section> {
    DOCUMENT.split("\n## ").skip(1).map(section)
}

/// That of one kind.
pub fn of(kind: &str) -> Option<Section> {
    sections().find(|section| section.kind == kind)
}

fn section(text: &'static str) -> Section {
    let mut lines = text.lines();
    let kind = lines.next().unwrap_or_default();
    let (mut about, mut parts, mut example) = (String::new(), Vec::<(&str, String)>::new(), None);
    while let Some(line) = lines.next() {
        if line == "```" {
            example = lines.next();
            break;
        }
        let part = line.strip_prefix("- **").and_then(|line| line.split_once("** "));
        match (part, parts.last_mut()) {
            (Some((name, rest)), _) => parts.push((name, rest.to_owned())),
            (None, Some((_, text))) if !line.is_empty() => {
                text.push(' ');
                text.push_str(line.trim());
            }
            (None, None) if !line.is_empty() => about.push_str(line),
            (None, _) => {}
        }
    }
    Section { kind, about, parts, example }
}

impl Section {
    /// What it is, short: the beginning of what the document says that it means.
    pub fn meaning(&self) -> String {
        let means = self.parts.iter().find(|(name, _)| *name == "It means");
        let text = means.map(|(_, text)| plain(text)).unwrap_or_default();
        // Not within `Connection: close`.
        let prose = |at: &usize| text[..*at].matches('`').count() % 2 == 0;
        let ends = [". ", ": ", "; "].into_iter().filter_map(|end| text.find(end).filter(prose));
        let end = ends.min().unwrap_or(text.len());
        text[..end].trim_end_matches('.').to_owned()
    }
}

/// Markdown's marks taken off: what is bold, code or a link as its words.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        out.push_str(&rest[..at]);
        let link = rest[at..]
            .split_once("](")
            .and_then(|(words, after)| Some((words.strip_prefix('[')?, after.split_once(')')?.1)));
        match link {
            Some((words, after)) if !words.contains('`') => {
                out.push_str(words);
                rest = after;
            }
            _ => {
                out.push('[');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out.replace("**", "").replace("\\|", "|")
}

/// A kind's page: what is seen, what it means, what to check, what to do, an example.
pub fn text(section: &Section, options: Options) -> String {
    let mut page = Page::new(options);
    page.line(0, HEADING, section.kind);
    page.line(0, DIM, &plain(&section.about));
    for (name, text) in &section.parts {
        page.gap();
        page.entry(NAME, HEADING, name, &plain(text));
    }
    if let Some(example) = section.example {
        page.heading("Example");
        page.command(2, PLAIN, example);
    }
    page.finish()
}

/// What may be explained: every kind, each in a line.
pub fn list(options: Options) -> String {
    let mut page = Page::new(options);
    page.line(0, HEADING, "Stalls: what a name in a report means");
    page.line(0, DIM, "goobserve explain KIND has more: what you see, what to check, what to do.");
    page.gap();
    kinds(&mut page, sections());
    page.heading("Phases: where the time of a command went");
    for phase in Phase::ALL {
        page.entry(KIND, PLAIN, &format!("  {}", phase.name()), words::phase(phase));
    }
    page.finish()
}

/// A phase: what it is, and the kinds of stall it may have.
pub fn phase(phase: Phase, options: Options) -> String {
    let mut page = Page::new(options);
    page.line(0, HEADING, phase.name());
    page.line(0, PLAIN, &format!("A phase: {}.", words::phase(phase)));
    let ticked = format!("`{}`", phase.name());
    let of: Vec<Section> = sections().filter(|section| phases(section).contains(&ticked)).collect();
    if !of.is_empty() {
        page.heading("Stalls of this phase");
        kinds(&mut page, of.into_iter());
    }
    page.finish()
}

/// The part of the sentence that names phases.
fn phases(section: &Section) -> &str {
    section.about.split_once(". Remedies").map_or(&section.about, |(phases, _)| phases)
}

fn kinds(page: &mut Page, of: impl Iterator<Item = Section>) {
    for section in of {
        page.entry(KIND, Style::new(), &format!("  {}", section.kind), &section.meaning());
    }
}

#[cfg(test)]
mod tests {
    use model::stall::StallKind;

    use super::*;

    #[test]
    fn every_kind_has_a_section_with_its_parts() {
        for kind in StallKind::ALL {
            let section = of(kind.name()).unwrap_or_else(|| panic!("{}", kind.name()));
            let names: Vec<&str> = section.parts.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, ["You see", "It means", "Check", "Do"], "{}", section.kind);
            assert!(
                section.about.starts_with("Phase `") && section.about.contains("Remedies: "),
                "{section:?}"
            );
            assert!(section.meaning().len() >= 10, "{section:?}");
            let remedies = !section.about.ends_with("Remedies: none.");
            assert_eq!(section.example.is_some(), remedies, "{section:?}");
        }
        assert_eq!(sections().count(), StallKind::ALL.len());
    }

    #[test]
    fn nothing_of_the_document_is_lost_on_the_way() {
        let shown: String =
            sections().map(|section| text(&section, Options { width: 60, color: false })).collect::<String>();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let all = words(&shown);
        for (_, text) in sections().flat_map(|section| section.parts) {
            for word in words(&plain(&text)) {
                assert!(all.contains(&word), "{word}");
            }
        }
        assert!(!shown.contains("**") && !shown.contains("]("), "{shown}");
    }

    #[test]
    fn links_are_their_words() {
        assert_eq!(plain("see [findings](findings/x.md), [a](#a) or `[::1]`"), "see findings, a or `[::1]`");
        assert_eq!(plain("a [b"), "a [b");
    }

    #[test]
    fn a_phase_has_its_stalls() {
        let page = phase(Phase::Dns, Options::default());
        assert!(page.contains("dns-timeout") && !page.contains("mtu-blackhole"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    }
}
