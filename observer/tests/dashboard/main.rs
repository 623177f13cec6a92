//! The dashboard's screens as a reader sees them, at three sizes, over recordings of what can go
//! wrong. One snapshot a view and size holds every recording.

mod scenes;

use insta::assert_snapshot;
use observer::model::State;
use observer::view::tui::{Focus, Tab, View, frame};
use ratatui::buffer::Buffer;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn text(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut line = String::new();
        let mut skip = 0;
        for x in buffer.area.left()..buffer.area.right() {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let symbol = buffer[(x, y)].symbol();
            skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
            line.push_str(symbol);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn picture(state: &State, view: &View, (width, height): (u16, u16)) -> String {
    text(&frame(state, view, width, height))
}

/// Every recording in one text.
fn album(scenes: &[(&str, State)], view: &View, size: (u16, u16)) -> String {
    scenes.iter().map(|(name, state)| format!("== {name}\n{}", picture(state, view, size))).collect()
}

fn snapshots(view: &str, scenes: &[(&str, State)], look: &View) {
    for size in SIZES {
        assert_snapshot!(format!("{view}_{}x{}", size.0, size.1), album(scenes, look, size));
    }
}

#[test]
fn the_first_screen() {
    snapshots("first", &scenes::all(), &View::default());
}

#[test]
fn each_table() {
    let scenes = scenes::all();
    for tab in [Tab::Requests, Tab::Dns, Tab::Connections, Tab::Processes, Tab::Stalls] {
        let view = View { tab, command: Some(1), ..View::default() };
        snapshots(tab.title(), &scenes, &view);
    }
}

#[test]
fn each_family_alone() {
    let families = [
        ("alone_dns", Focus::Dns, vec![("dns timeout", scenes::dns_timeout())]),
        ("alone_h2", Focus::Streams, vec![("h2 loss", scenes::h2_loss())]),
        (
            "alone_sumdb",
            Focus::Sumdb,
            vec![("sumdb slow", scenes::sumdb_slow()), ("slow zip", scenes::slow_zip())],
        ),
    ];
    for (name, focus, scenes) in families {
        let mut view = View::default();
        view.timeline.focus = Some(focus);
        snapshots(name, &scenes, &view);
    }
}

#[test]
fn the_help() {
    let view = View { help: true, ..View::default() };
    snapshots("help", &[("help", scenes::healthy())], &view);
}
