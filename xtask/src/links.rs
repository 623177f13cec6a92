//! Links of the documents: each leads to a file that is there, and to a heading of it; the book's summary has
//! every document once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

/// Where the links of a text lead, without those of code.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    let mut links = Vec::new();
    for part in prose {
        let mut rest = part;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((link, after)) = after.split_once(')') else { break };
            links.push(link);
            rest = after;
        }
    }
    links
}

/// A heading's anchor, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let plain = heading.trim().to_lowercase();
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(text: &str, wanted: &str) -> bool {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#'))).any(|anchor| anchor == wanted)
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let root = Workspace::find().unwrap().root;
    let mut files = Vec::new();
    documents(&root.join("docs"), &mut files);
    let others = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"];
    files.extend(others.map(|name| root.join(name)));
    let (mut dead, mut seen) = (Vec::new(), 0);
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let there = target.exists()
                && (heading.is_empty() || has_anchor(&fs::read_to_string(&target).unwrap(), heading));
            if !there {
                dead.push(format!("{}: {link}", file.strip_prefix(&root).unwrap().display()));
            }
        }
    }
    assert!(seen > 40, "{seen}");
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn the_book_has_every_document_once() {
    let docs = Workspace::find().unwrap().root.join("docs");
    let mut files = Vec::new();
    documents(&docs, &mut files);
    let of_files: BTreeSet<PathBuf> =
        files.into_iter().filter(|file| !file.ends_with("SUMMARY.md")).collect();
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary).into_iter().map(|link| docs.join(link)).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), of_files);
    assert_eq!(listed.len(), of_files.len(), "one is listed twice");
}

#[test]
fn links_in_code_are_none_and_anchors_are_lower_case() {
    assert_eq!(links("[a](b.md#c) ```\n[x](y)\n``` ![p](q.svg)"), ["b.md#c", "q.svg"]);
    assert_eq!(anchor("Lost time, and the phase"), "lost-time-and-the-phase");
}
