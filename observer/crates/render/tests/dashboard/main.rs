//! The dashboard's screens as a reader sees them, at three sizes, over recordings of what can go
//! wrong. One snapshot a view and size holds every recording.

mod properties;
mod recordings;
mod scenes;

use insta::assert_snapshot;
use model::State;
use model::id::CommandId;
use ratatui::buffer::Buffer;
use render::tui::{Focus, Tab, View, frame};

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
    let shown = scenes.iter().map(|(name, state)| format!("== {name}\n{}", picture(state, view, size)));
    shown.collect::<Vec<_>>().concat()
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
        let view = View { tab, command: Some(CommandId(1)), ..View::default() };
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

/// What the first screen at 80×24 says, no key pressed, on one line.
fn first(state: &State) -> String {
    let picture = picture(state, &View::default(), (80, 24));
    picture.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_screen_names_what_is_waited_for_whom_and_since_when() {
    let cases = [
        (
            scenes::dns_timeout(),
            "waiting 3.19 s for an answer of the name server",
            "dns · 127.77.1.1:53 · since 5.006 s",
        ),
        (scenes::syn_lost(), "waiting 4.47 s for a TCP handshake", "connect · 192.0.2.1:443 · since 0.030 s"),
        (scenes::tls_unanswered(), "waiting 6.35 s for a TLS handshake", "tls · proxy.test · since 0.050 s"),
        (scenes::h2_loss(), "waiting 4.70 s for proxy.test: zip", "proxy · proxy.test · since 0.500 s"),
        (scenes::slow_zip(), "waiting 6.20 s for proxy.test: zip", "proxy · proxy.test · since 0.190 s"),
        (
            scenes::sumdb_slow(),
            "waiting 6.20 s for the checksum database",
            "sumdb · proxy.test · since 8.000 s",
        ),
        (
            scenes::lock(),
            "waiting 2.98 s for the module cache's lock, held by pid 3120",
            "lock · since 0.020 s",
        ),
    ];
    for (state, what, whom) in cases {
        let shown = first(&state);
        assert!(shown.contains(what), "{what}: {shown}");
        assert!(shown.contains(whom), "{whom}: {shown}");
    }
}

#[test]
fn a_slow_zip_is_not_called_a_sumdb_stall_nor_the_other_way_round() {
    assert!(!first(&scenes::slow_zip()).contains("checksum database"));
    assert!(!first(&scenes::sumdb_slow()).contains("proxy.test: zip"));
}

#[test]
fn loss_is_shown_and_nothing_hidden_comes_through() {
    assert!(first(&scenes::slow_and_loss()).contains("UNSEEN 13 events, 1 joined late"));
    for tab in Tab::ALL {
        let shown = picture(&scenes::hostile(), &View { tab, ..View::default() }, (120, 40));
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{200f}']), "{shown}");
    }
}

/// One recording of each family: each view of it at its end, as a replay shows it.
#[test]
fn each_view_of_the_recordings_that_are_kept() {
    const FAMILIES: [&str; 9] = [
        "healthy",
        "dns-timeout",
        "syn-lost",
        "tls-hello-unanswered",
        "h2-silent",
        "proxy-slow",
        "sumdb-slow",
        "cache-lock-wait",
        "vcs-waiting",
    ];
    let mut recordings = recordings::all();
    recordings.retain(|recorded| FAMILIES.contains(&&*recorded.name));
    assert_eq!(recordings.len(), FAMILIES.len());
    for tab in Tab::ALL {
        for size in SIZES {
            let view = View { tab, command: Some(CommandId(1)), ..View::default() };
            let shown = recordings.iter_mut().map(|recorded| {
                let frame = recorded.frame(recorded.end(), &view, size);
                format!("== {}\n{}", recorded.name, text(&frame))
            });
            let album = shown.collect::<String>();
            assert_snapshot!(format!("recorded_{}_{}x{}", tab.title(), size.0, size.1), album);
        }
    }
}

/// Of every recording with something that is worth a warning, on the first screen and on the one with
/// what was found.
#[test]
fn what_cost_time_since_when_and_what_to_try_is_on_the_first_screen_at_80_by_24() {
    let mut seen = 0;
    let first = View::default();
    let found = View { tab: Tab::Stalls, command: Some(CommandId(1)), ..View::default() };
    for mut recorded in recordings::all() {
        let Some(stall) = recorded.stalls().into_iter().next() else { continue };
        let name = recorded.name.clone();
        for view in [&first, &found] {
            let shown = text(&recorded.frame(recorded.end(), view, (80, 24)));
            let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
            let ms = (stall.start_ns - recorded.began()) / 1_000_000;
            let since = format!("{}.{:03} ", ms / 1000, ms % 1000);
            let words = [stall.kind.as_str(), since.as_str()].into_iter();
            let words = words.chain(stall.host.as_deref()).chain(Some(stall.phase.name()));
            for word in words {
                assert!(shown.contains(word), "{name}, {word}: {shown}");
            }
            // Of a long one the begin, and a sign that there is more; Enter has all of it.
            let words = |text: &str| text.split(' ').take(5).collect::<Vec<_>>().join(" ");
            let step = match stall.remedies.first() {
                Some(remedy) if !remedy.attempt.is_empty() => words(&remedy.attempt),
                Some(remedy) => words(&remedy.why),
                None => words(&stall.advice),
            };
            assert!(shown.contains(&step), "{name}, {step}: {shown}");
        }
        seen += 1;
    }
    assert!(seen > 30, "{seen} recordings with a warning");
}

#[test]
fn nobody_is_asked_to_start_a_command_that_would_not_be_seen() {
    for (starting, words) in [(true, "getting ready"), (false, "no go command runs: start one")] {
        let shown = picture(&State::default(), &View { starting, ..View::default() }, SIZES[0]);
        assert!(shown.contains(words), "{shown}");
    }
}
