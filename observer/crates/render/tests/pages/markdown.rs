//! The Markdown, as pulldown-cmark reads it.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use render::markdown::markdown;

use crate::{hostile, made};

/// Our own tags.
const TAGS: [&str; 8] =
    ["<details>", "</details>", "<summary>", "</summary>", "<sub>", "</sub>", "<code>", "</code>"];

fn parse(text: &str) -> Vec<Event<'_>> {
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_GFM)
        .collect()
}

/// Complains of markup that is not ours.
fn check(events: &[Event<'_>]) -> Result<(), String> {
    for event in events {
        match event {
            Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::BlockQuote(_) | Tag::Strikethrough)
            | Event::Rule => return Err(format!("{event:?}")),
            Event::Html(html) | Event::InlineHtml(html) => {
                let mut left = html.trim().to_owned();
                TAGS.iter().for_each(|tag| left = left.replace(tag, ""));
                if left.contains(['<', '>']) {
                    return Err(format!("{event:?}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn count(events: &[Event<'_>], is: impl Fn(&Tag<'_>) -> bool) -> usize {
    events.iter().filter(|event| matches!(event, Event::Start(tag) if is(tag))).count()
}

#[test]
fn the_markdown_reads_well() {
    let (report, _) = made::small();
    insta::with_settings!({ snapshot_path => "../data", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("report-markdown", markdown(&report));
    });
}

#[test]
fn it_stays_short_whatever_was_observed() {
    let state = made::large(200, 50);
    let text = markdown(&diagnose::report::report(&state));
    assert!(text.len() < 40_000, "{}", text.len());
    assert!(text.contains("and 170 more commands"), "{text}");
    check(&parse(&text)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_string_of_others_becomes_markup(text in hostile::text()) {
        // Hosts without a name are not reported.
        prop_assume!(!text.trim().is_empty());
        let (report, _) = hostile::report_of(&text);
        let page = markdown(&report);
        let events = parse(&page);
        prop_assert_eq!(check(&events), Ok(()), "{}", page);
        let (plain, _) = hostile::report_of("plain");
        let plain = markdown(&plain);
        let plain = parse(&plain);
        for is in [
            |tag: &Tag<'_>| matches!(tag, Tag::TableCell),
            |tag: &Tag<'_>| matches!(tag, Tag::Heading { .. }),
            |tag: &Tag<'_>| matches!(tag, Tag::Item),
            |tag: &Tag<'_>| matches!(tag, Tag::CodeBlock(_)),
        ] {
            prop_assert_eq!(count(&events, is), count(&plain, is), "{}", page);
        }
    }
}
