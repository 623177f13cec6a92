//! What holds of every frame, whatever is in it and however large the terminal: the answer is there, nothing is
//! written over anything, and what is cut says so. Over every recording, and over made ones.

use model::State;
use model::event::{Body, CommandUpdate, Event};
use model::id::{CommandId, ConnectionId, DnsId, Pid, RequestId};
use model::record::{Class, Command, Connection, Dns, Process, Request, RequestOutcome};
use model::time::{Ns, SinceStart};
use proptest::prelude::*;
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent};
use ratatui::layout::Rect;
use render::tui::keys::{self, Act};
use render::tui::theme::{Depth, Theme};
use render::tui::view::Playing;
use render::tui::{Cache, Drawn, Opened, Tab, Target, View, draw, frame};

use crate::recordings;

/// From a wall of screens to a corner of one.
const SIZES: [(u16, u16); 6] = [(200, 60), (120, 40), (80, 24), (60, 15), (40, 8), (20, 5)];
/// Both grounds, and no colours at all.
const THEMES: [Theme; 3] = [
    Theme { depth: Depth::True, light: false },
    Theme { depth: Depth::True, light: true },
    Theme { depth: Depth::None, light: false },
];

fn line(buffer: &ratatui::buffer::Buffer, y: u16) -> String {
    (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect()
}

/// The frame, and what every one has to have.
#[track_caller]
fn checked(name: &str, state: &State, view: &View, (width, height): (u16, u16)) -> Drawn {
    let mut buffer = ratatui::buffer::Buffer::empty(Rect::new(0, 0, width, height));
    let drawn = draw(&mut buffer, state, view, &mut Cache::default());
    let about = format!("{name} at {width}×{height}, {:?}, {:?}", view.tab, view.open.last());
    // The answer is on the first line.
    let first = line(&buffer, 0);
    assert!(view.help || !first.trim().is_empty(), "{about}: nothing on the first line");
    // Header and views take a quarter of the height at most, or the two lines without which there is neither.
    if drawn.command.is_some() && !view.help {
        let at = drawn.tabs.first().map_or(0, |(place, _)| place.y);
        assert!(at < (height / 4).max(2), "{about}: {at} lines of header");
    }
    // Nothing lies over anything: places for the mouse are apart, and inside.
    let places =
        drawn.tabs.iter().map(|(place, _)| *place).chain([drawn.rows.area, drawn.chart.area, drawn.seek]);
    let places = places.chain(drawn.titles.iter().map(|(place, _)| *place));
    let places: Vec<Rect> = places.filter(|place| !place.is_empty()).collect();
    for (index, place) in places.iter().enumerate() {
        assert_eq!(place.intersection(buffer.area), *place, "{about}: outside");
        for other in &places[index + 1..] {
            assert!(!place.intersects(*other), "{about}: {place:?} and {other:?}");
        }
    }
    // What is below the end says that it is.
    let shown = usize::from(drawn.chart.area.height);
    if drawn.chart.rows > drawn.chart.first + shown && shown > 0 && view.open.is_empty() {
        let last = line(&buffer, drawn.chart.area.bottom() - 1);
        assert!(last.contains(" more ") || last.contains(['+', '…']), "{about}: {last}");
    }
    // No cell has a control character, and each is one column wide or covers the next.
    for cell in &buffer.content {
        assert!(!cell.symbol().chars().any(char::is_control), "{about}: {:?}", cell.symbol());
    }
    drawn
}

/// A sentence that is cut ends with the sign of that.
#[track_caller]
fn is_whole_or_marked(name: &str, shown: &str, whole: &str) {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, whole) = (squeezed(shown), squeezed(whole));
    let cut = shown.strip_suffix('…').is_some_and(|begin| whole.starts_with(begin.trim_end()));
    assert!(cut || whole.starts_with(&shown), "{name}: {shown:?} of {whole:?}");
}

/// Every view of every recording, at those sizes that are wanted of the recording with that number.
fn every_view(sizes: impl Fn(usize) -> Vec<(u16, u16)>) {
    for (number, mut recorded) in recordings::all().into_iter().enumerate() {
        let end = recorded.end();
        let name = recorded.name.clone();
        for (index, size) in sizes(number).into_iter().enumerate() {
            for tab in Tab::ALL {
                let theme = THEMES[(number + index + tab as usize) % THEMES.len()];
                let view =
                    View { tab, theme, command: Some(CommandId(1)), now: Some(end), ..View::default() };
                checked(&name, recorded.state(end), &view, size);
            }
        }
    }
}

#[test]
fn every_view_of_every_recording_has_the_answer_and_nothing_overlaps() {
    every_view(|number| vec![SIZES[number % SIZES.len()]]);
}

/// The same, each at all sizes: slow.
#[test]
fn every_view_of_every_recording_at_every_size() {
    every_view(|_| SIZES.to_vec());
}

#[test]
fn themes_differ_in_colours_alone() {
    let mut recorded = recordings::all().into_iter().find(|recorded| recorded.name == "h2-goaway").unwrap();
    let end = recorded.end();
    for size in SIZES {
        let of = |theme, state: &State| {
            let buffer = frame(state, &View { theme, now: Some(end), ..View::default() }, size.0, size.1);
            buffer.content.iter().map(|cell| cell.symbol().to_owned()).collect::<String>()
        };
        let [dark, light, none] = THEMES.map(|theme| of(theme, recorded.state(end)));
        assert_eq!(dark, light);
        assert_eq!(dark, none);
    }
}

/// From the first line of every recording's screen: what it says is what was found, or that is cut with a sign.
#[test]
fn the_first_line_is_the_answer_whole_or_marked_as_cut() {
    for mut recorded in recordings::all() {
        let end = recorded.end();
        let name = recorded.name.clone();
        let view = View { now: Some(end), command: Some(CommandId(1)), ..View::default() };
        let whole = line(&frame(recorded.state(end), &view, 400, 60), 0);
        for size in [(80, 24), (40, 8)] {
            let shown = line(&frame(recorded.state(end), &view, size.0, size.1), 0);
            is_whole_or_marked(&name, &shown, &whole);
        }
    }
}

/// Enter on everything, down to where nothing leads further, and back.
#[test]
fn everything_opens_and_closes_again() {
    let press =
        |view: &mut View, drawn: &Drawn, code| keys::input(view, drawn, &Input::Key(KeyEvent::from(code)));
    for name in ["h2-goaway", "vcs-waiting", "connect-refused"] {
        let mut recorded = recordings::all().into_iter().find(|recorded| recorded.name == name).unwrap();
        let end = recorded.end();
        for tab in Tab::ALL {
            let mut view = View { tab, command: Some(CommandId(1)), now: Some(end), ..View::default() };
            let mut depth = 0;
            for size in SIZES {
                let drawn = checked(name, recorded.state(end), &view, (80, 24));
                if press(&mut view, &drawn, KeyCode::Enter) != Act::Draw {
                    break;
                }
                depth = view.open.len();
                let drawn = checked(name, recorded.state(end), &view, size);
                for code in [KeyCode::Down, KeyCode::Char('n'), KeyCode::Char('p'), KeyCode::Char('L')] {
                    press(&mut view, &drawn, code);
                }
            }
            assert!(tab != Tab::Processes || depth > 0, "{name}: nothing opens in {tab:?}");
            let drawn = checked(name, recorded.state(end), &view, (80, 24));
            (0..depth).for_each(|_| _ = press(&mut view, &drawn, KeyCode::Esc));
            assert!(view.open.is_empty(), "{name}: {:?}", view.open);
        }
    }
}

/// Its last frames come fast one after the other: the last shows all that is known then, not a little less.
#[test]
fn at_its_end_a_recording_shows_what_one_that_was_never_played_shows() {
    for mut recorded in recordings::all().into_iter().step_by(3) {
        let end = recorded.end();
        let name = recorded.name.clone();
        for tab in [Tab::Timeline, Tab::Requests, Tab::Stalls] {
            let playing = Playing { runs: false, speed: 1.0, end };
            let view = View {
                tab,
                command: Some(CommandId(1)),
                now: Some(end),
                playing: Some(playing),
                ..View::default()
            };
            let before = SinceStart(end.0.saturating_sub(9_000_000));
            let earlier = View { now: Some(before), ..view.clone() };
            let mut cache = Cache::default();
            let mut played = ratatui::buffer::Buffer::empty(Rect::new(0, 0, 120, 40));
            draw(&mut played, recorded.state(before), &earlier, &mut cache);
            played.reset();
            draw(&mut played, recorded.state(end), &view, &mut cache);
            assert_eq!(played, frame(recorded.state(end), &view, 120, 40), "{name}, {tab:?}");
        }
    }
}

/// What the details of a request have to say.
#[test]
fn a_request_opened_has_its_url_status_attempts_connection_phases_bytes_and_module() {
    let mut recorded = recordings::all().into_iter().find(|recorded| recorded.name == "h2-goaway").unwrap();
    let end = recorded.end();
    let state = recorded.state(end);
    let id = *state.command(CommandId(1)).unwrap().requests.keys().next().unwrap();
    let view = View {
        tab: Tab::Requests,
        command: Some(CommandId(1)),
        now: Some(end),
        open: vec![Opened::new(Target::Request(id))],
        ..View::default()
    };
    let buffer = frame(state, &view, 120, 40);
    let shown = (0..40).map(|y| line(&buffer, y)).collect::<Vec<_>>().join("\n");
    for word in [
        "GET https://proxy.test/",
        "status 200",
        "1 of 1",
        "tcp ",
        "tls ",
        "first byte",
        "body",
        "attempts",
        "connection",
        "module",
        "why",
        "behind",
        "host",
        "process",
        "proxy.test",
    ] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

fn request(id: u32, (start, took, answered): (Ns, Option<Ns>, Ns), class: usize, text: &str) -> Body {
    let classes = [Class::Info, Class::Mod, Class::Zip, Class::SumdbLookup, Class::Toolchain, Class::Other];
    let start_ns = SinceStart(start);
    Body::Request(Request {
        command: CommandId(1),
        id: RequestId(id),
        connection: Some(ConnectionId(id % 3)),
        method: Some("GET".into()),
        authority: Some(text.to_owned()),
        path: Some(format!("/{text}")),
        class: classes[class % classes.len()],
        module: Some(text.to_owned()),
        status: took.map(|_| 200),
        start_ns,
        first_byte_ns: took.map(|took| start_ns + answered.min(took)),
        end_ns: took.map(|took| start_ns + took),
        bytes: took,
        outcome: if took.is_some() { RequestOutcome::Ok } else { RequestOutcome::Open },
        ..Request::default()
    })
}

/// A command with whatever may be in one.
fn made(spans: &[(Ns, Option<Ns>, Ns, usize, String)], over: bool) -> State {
    let mut state = State::new();
    let mut at = 0;
    let mut apply = |body| {
        at += 1;
        state.apply(&Event { at_ns: SinceStart(at), body });
    };
    let argv = spans.iter().map(|(.., text)| text.clone());
    let mut command = Command {
        id: CommandId(1),
        pid: Pid(7),
        argv: std::iter::once("go".to_owned()).chain(argv).collect(),
        ..Command::default()
    };
    let update = |command: &Command| {
        Body::Command(CommandUpdate { command: command.clone(), idle: Vec::new(), gaps: Vec::new() })
    };
    apply(update(&command));
    for (index, (start, took, answered, class, text)) in spans.iter().enumerate() {
        let (id, start_ns) = (index as u32 + 1, SinceStart(*start));
        let end_ns = took.map(|took| start_ns + took);
        apply(match class % 9 {
            6 => Body::Dns(Dns {
                command: CommandId(1),
                id: DnsId(id),
                server: text.clone(),
                name: text.clone(),
                attempt: 1,
                start_ns,
                end_ns,
                ..Dns::default()
            }),
            7 => Body::Connection(Connection {
                command: CommandId(1),
                id: ConnectionId(id),
                remote: text.clone(),
                start_ns,
                connect_ns: *took,
                end_ns,
                ..Connection::default()
            }),
            8 => Body::Process(Process {
                command: CommandId(1),
                pid: Pid(100 + id),
                ppid: Pid(7),
                comm: "compile".into(),
                args: vec!["compile".into(), "-p".into(), text.clone()],
                start_ns,
                end_ns,
                cpu_ns: *took,
                ..Process::default()
            }),
            _ => request(id, (*start, *took, *answered), *class, text),
        });
    }
    if over {
        command.wall_ns = Some(5_000_000_000);
        command.exit_code = Some(1);
        apply(update(&command));
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn made_commands_of_any_shape_are_drawn_at_any_size_after_any_keys(
        spans in prop::collection::vec(
            (0..5_000_000_000u64, prop::option::of(0..3_000_000_000u64), 0..100_000_000u64, 0..9usize, "[ -~äß漢\u{200b}]{0,60}"),
            0..60,
        ),
        over in any::<bool>(),
        size in (1..220u16, 1..70u16),
        pressed in prop::collection::vec(prop::sample::select(
            "1234566njkhlpLxXewsSTgG+-[]0fdtc?".chars().map(KeyCode::Char)
                .chain([KeyCode::Enter, KeyCode::Enter, KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::PageDown])
                .collect::<Vec<_>>()), 0..20),
    ) {
        let state = made(&spans, over);
        let mut view = View { now: Some(SinceStart(6_000_000_000)), ..View::default() };
        for code in pressed {
            let mut buffer = ratatui::buffer::Buffer::empty(Rect::new(0, 0, size.0, size.1));
            let drawn = draw(&mut buffer, &state, &view, &mut Cache::default());
            keys::input(&mut view, &drawn, &Input::Key(KeyEvent::from(code)));
        }
        view.help = false;
        checked("made", &state, &view, size);
        for size in [(120, 40), (40, 8)] {
            checked("made", &state, &view, size);
        }
    }
}
