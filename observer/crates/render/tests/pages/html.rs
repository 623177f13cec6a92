//! The page, as html5ever reads it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use diagnose::report::report;
use html5ever::tendril::TendrilSink as _;
use html5ever::tokenizer::TokenizerOpts;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use model::anonymize::Anonymizer;
use model::clean::clean;
use proptest::prelude::*;
use render::html::html;
use render::html::pair::{Side, pair};
use render::html::style::{SCRIPT, SCRIPT_HASH};

use crate::{hostile, made};

const ELEMENTS: &str = "html head meta title style body h1 h2 h3 p span b a code pre section div table thead tbody tr \
                        th td dl dt dd ul li footer main script svg defs pattern rect path circle text tspan line g";
const ATTRIBUTES: &str = "lang charset http-equiv content name class id type hidden tabindex href scope style width height x y x1 x2 y1 y2 cx cy r d dx fill \
     font-weight opacity role aria-label aria-hidden patternUnits overflow";

/// What a page is made of.
#[derive(Default, Debug)]
struct Page {
    errors: Vec<String>,
    elements: BTreeSet<String>,
    attributes: BTreeSet<String>,
    ids: Vec<String>,
    links: Vec<String>,
    /// Cells of each row, in the order of the tables
    tables: Vec<Vec<usize>>,
    text: String,
    /// How often our script is in it
    scripts: usize,
    /// What it reads
    lists: Vec<serde_json::Value>,
}

/// Leaves a page for a person to look at, in `target/tmp`.
fn leave(name: &str, html: &str) {
    std::fs::write(format!("{}/{name}.html", env!("CARGO_TARGET_TMPDIR")), html).unwrap();
}

fn parse(html: &str) -> Page {
    let options = ParseOpts {
        tokenizer: TokenizerOpts { exact_errors: true, ..TokenizerOpts::default() },
        ..ParseOpts::default()
    };
    let dom = parse_document(RcDom::default(), options).one(html);
    let mut page =
        Page { errors: dom.errors.borrow().iter().map(ToString::to_string).collect(), ..Page::default() };
    page.visit(&dom.document);
    page
}

impl Page {
    fn visit(&mut self, node: &Handle) {
        match &node.data {
            NodeData::Element { name, attrs, .. } => {
                let element = name.local.to_string();
                for attribute in attrs.borrow().iter() {
                    let (name, value) = (attribute.name.local.to_string(), attribute.value.to_string());
                    match name.as_str() {
                        "id" => self.ids.push(value),
                        "href" => self.links.push(value),
                        _ => {}
                    }
                    self.attributes.insert(name);
                }
                match element.as_str() {
                    "table" => self.tables.push(Vec::new()),
                    "tr" => self.tables.last_mut().expect("a row outside a table").push(0),
                    "td" | "th" => *self.tables.last_mut().unwrap().last_mut().unwrap() += 1,
                    _ => {}
                }
                self.elements.insert(element);
            }
            NodeData::Text { contents } => self.text.push_str(&contents.borrow()),
            _ => {}
        }
        if matches!(&node.data, NodeData::Element { name, .. } if &*name.local == "script") {
            self.script(node);
            return;
        }
        node.children.borrow().iter().for_each(|child| self.visit(child));
    }

    /// A block of data, which is JSON, or the one script of ours: nothing else.
    fn script(&mut self, node: &Handle) {
        let mut text = String::new();
        for child in node.children.borrow().iter() {
            if let NodeData::Text { contents } = &child.data {
                text.push_str(&contents.borrow());
            }
        }
        if text == SCRIPT {
            self.scripts += 1;
            return;
        }
        let data: serde_json::Value = serde_json::from_str(&text).expect("a block of data");
        assert!(!text.contains(model::json::is_hidden), "{text}");
        self.lists.push(data);
    }

    /// Complains of what a page may not be.
    fn check(&self) -> Result<(), String> {
        let allowed = |list: &str, names: &BTreeSet<String>| {
            names.iter().find(|name| !list.split_whitespace().any(|known| known == *name)).cloned()
        };
        if self.scripts != 1 {
            return Err(format!("our script is there {} times", self.scripts));
        }
        if let Some(error) = self.errors.first() {
            return Err(format!("{} errors, the first: {error}", self.errors.len()));
        }
        if let Some(element) = allowed(ELEMENTS, &self.elements) {
            return Err(format!("element {element}"));
        }
        if let Some(attribute) = allowed(ATTRIBUTES, &self.attributes) {
            return Err(format!("attribute {attribute}"));
        }
        let unique: BTreeSet<&String> = self.ids.iter().collect();
        if unique.len() != self.ids.len() {
            return Err(format!("an id twice: {:?}", self.ids));
        }
        if let Some(dead) = self
            .links
            .iter()
            .find(|link| !link.strip_prefix('#').is_some_and(|id| unique.contains(&id.to_owned())))
        {
            return Err(format!("a link that leads nowhere or away: {dead}"));
        }
        if self.tables.iter().any(|rows| rows.iter().any(|cells| *cells != rows[0])) {
            return Err("rows of different lengths".into());
        }
        Ok(())
    }
}

#[test]
fn the_page_is_a_valid_document_whose_text_has_everything_in_it() {
    let (report, state) = made::small();
    let html = html(&report, &state);
    leave("page", &html);
    let page = parse(&html);
    page.check().unwrap();
    for words in [
        "77 % of 6.53 s went to waiting for name servers (127.77.1.1:53).",
        "The name server 127.77.1.1:53 left a query for proxy.test unanswered for 5 s.",
        "goobserve compare --with dns-cache -- go mod download",
        "resolv.conf: timeout 5 s, 2 attempts",
        "zip golang.org/x/net@v0.40.0: 200, stream 15, first byte after 60.0 ms, 1.90 MB; 660 ms, from 5.324 s",
        "1 segment retransmitted at 5.584 s",
        "2 events not understood or not kept",
        "go build './...\\x1b[2J\\u{202e}'",
    ] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    // The answer comes before anything that needs scrolling.
    let at = |words: &str| page.text.find(words).unwrap();
    assert!(at("Try:") < at("Where the time went"));
}

/// By `sha256sum` of coreutils: the program itself needs no hash.
#[test]
fn the_pages_policy_lets_our_script_run_and_no_other() {
    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sum.stdin.take().unwrap().write_all(SCRIPT.as_bytes()).unwrap();
    let hex = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    let bytes: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
    assert_eq!(SCRIPT_HASH, format!("sha256-{}", base64(&bytes)), "html/style.rs has the hash of page.js");
    let (report, state) = made::small();
    assert!(html(&report, &state).contains(&format!("script-src '{SCRIPT_HASH}'\"")));
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = char::from(LETTERS[((bits >> (18 - 6 * place)) & 63) as usize]);
            out.push(if place <= group.len() { letter } else { '=' });
        }
    }
    out
}

#[test]
fn every_stall_of_a_page_leads_to_what_it_means() {
    let (report, state) = made::small();
    let page = parse(&html(&report, &state));
    let kinds: BTreeSet<&str> =
        report.commands.iter().flat_map(|command| &command.stalls).map(|stall| stall.kind.as_str()).collect();
    assert!(!kinds.is_empty());
    for kind in kinds {
        assert!(page.links.contains(&format!("#explain-{kind}")), "{:?}", page.links);
    }
    assert!(page.text.contains("It means") && page.text.contains("What these stalls mean"));
}

#[test]
fn two_recordings_are_one_page_with_both_sides() {
    let (a, state_a) = made::small();
    let state_b = made::large(1, 50);
    let b = report(&state_b);
    let side = |name, report, state| Side { name, report, state };
    let html = pair(side("before.jsonl", &a, &state_a), side("after <1>.jsonl", &b, &state_b));
    leave("pair", &html);
    let page = parse(&html);
    page.check().unwrap();
    for words in
        ["before.jsonl", "after <1>.jsonl", " took ", " longer: ", "From A to B: ", "only A", "only B"]
    {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    let none = model::State::new();
    let empty = report(&none);
    parse(&pair(side("a", &empty, &none), side("b", &b, &state_b))).check().unwrap();
}

#[test]
fn ten_thousand_requests_are_a_small_page_that_says_what_it_leaves_out() {
    let state = made::large(1, 10_000);
    let html = html(&report(&state), &state);
    leave("page-10000", &html);
    assert!(html.len() < 2_500_000, "{} bytes", html.len());
    let page = parse(&html);
    page.check().unwrap();
    assert!(page.text.contains("and 9960 more requests"));
    let rows = page.lists[0]["rows"].as_array().unwrap();
    assert!(rows.len() >= 10_000, "{}", rows.len());
}

#[test]
fn many_commands_have_an_index_and_a_section_each_up_to_a_limit() {
    let state = made::large(200, 50);
    let mut report = report(&state);
    report.commands.iter_mut().for_each(|command| command.stalls.clear());
    report.commands[149].stalls = vec![made::stall("proxy.test")];
    let html = html(&report, &state);
    leave("page-200", &html);
    assert!(html.len() < 4_000_000, "{} bytes", html.len());
    let page = parse(&html);
    page.check().unwrap();
    assert_eq!(page.ids.iter().filter(|id| id.starts_with("command-")).count(), 60);
    assert_eq!(page.links[0], "#command-150", "the one that stalled comes first");
    assert!(page.text.contains("1 of 200: dns-timeout"));
    assert!(page.text.contains("And 140 more commands without a section of their own."));
}

#[test]
fn nothing_observed_is_a_page_too() {
    let state = model::State::new();
    let page = parse(&html(&report(&state), &state));
    page.check().unwrap();
    assert!(page.text.contains("No go command was observed"));
}

#[test]
fn an_anonymized_page_names_no_module() {
    let mut anonymizer = Anonymizer::new();
    let events: Vec<_> = made::events().iter().map(|event| anonymizer.event(event)).collect();
    let state = made::state(&events);
    let html = html(&report(&state), &state);
    parse(&html).check().unwrap();
    // What docs/stalls.md says has hosts of its own.
    let (before, rest) = html.split_once("<h2>What these stalls mean</h2>").unwrap();
    let (_, after) = rest.split_once("<h2>Not observed</h2>").unwrap();
    for name in ["cobra", "x/net", "proxy.test", "/home/user", "git.test"] {
        assert!(!before.contains(name) && !after.contains(name), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_string_of_others_becomes_markup(text in hostile::text()) {
        let (report, state) = hostile::report_of(&text);
        let page = parse(&html(&report, &state));
        prop_assert_eq!(page.check(), Ok(()));
        prop_assert!(!page.text.contains(|c| c != '\n' && model::json::is_hidden(c)));
        // Shown as it is, but for what no document may hold.
        let shown = clean(&text);
        if shown.is_ascii() {
            prop_assert!(page.text.contains(shown.as_ref()), "{}", shown);
        }
    }
}
