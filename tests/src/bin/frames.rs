//! What a frame of the dashboard costs with a hundred thousand spans in memory: scrolling,
//! zooming, panning, while new spans come; and what a key costs with the frame that answers it. Prints
//! milliseconds.

use std::time::Instant;

use model::State;
use model::event::{Body, CommandUpdate, Event};
use model::id::{CommandId, ConnectionId, Pid, RequestId};
use model::record::{Class, Command, Connection, Request, RequestOutcome};
use model::time::{Ns, SinceStart};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent};
use ratatui::layout::Rect;
use render::tui::{Cache, Tab, View, draw, keys};

const SPANS: u32 = 100_000;
const FRAMES: u64 = 300;
const MS: Ns = 1_000_000;

fn request(id: u32) -> Event {
    let start_ns = SinceStart(Ns::from(id) * 2 * MS);
    let end_ns = start_ns + MS * Ns::from(1 + id * 7 % 60);
    let classes = [Class::Info, Class::Mod, Class::SumdbLookup, Class::SumdbTile, Class::Zip];
    let request = Request {
        command: CommandId(1),
        id: RequestId(id),
        connection: Some(ConnectionId(id % 4)),
        authority: Some("proxy.test".into()),
        class: classes[id as usize % classes.len()],
        module: Some(format!("example.com/m{}", id / 5)),
        version: Some("v1.0.0".into()),
        status: Some(200),
        start_ns,
        first_byte_ns: Some(start_ns + MS),
        end_ns: Some(end_ns),
        bytes: Some(31_400),
        outcome: RequestOutcome::Ok,
        ..Request::default()
    };
    Event { at_ns: end_ns, body: Body::Request(request) }
}

fn main() {
    let mut state = State::new();
    let command = Command { id: CommandId(1), pid: Pid(1), argv: vec!["go".into()], ..Command::default() };
    state.apply(&Event {
        at_ns: SinceStart(0),
        body: Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() }),
    });
    for id in 0..4 {
        let connection = Connection {
            command: CommandId(1),
            id: ConnectionId(id),
            remote: "192.0.2.1:443".into(),
            ..Connection::default()
        };
        state.apply(&Event { at_ns: SinceStart(0), body: Body::Connection(connection) });
    }
    (1..=SPANS).for_each(|id| state.apply(&request(id)));
    println!("{SPANS} spans, 200×60, {FRAMES} frames each; milliseconds");
    println!("{:<26} {:>8} {:>8} {:>8}", "", "median", "p99", "longest");
    for (name, tab, live) in [
        ("timeline, zoom and pan", Tab::Timeline, false),
        ("requests, scroll", Tab::Requests, false),
        ("timeline, live", Tab::Timeline, true),
        ("requests, live", Tab::Requests, true),
    ] {
        let mut next = SPANS;
        let mut cache = Cache::with_background(); // as on a terminal
        let mut view = View { tab, now: Some(state.until()), ..View::default() };
        let mut buffer = Buffer::empty(Rect::new(0, 0, 200, 60));
        draw(&mut buffer, &state, &view, &mut cache); // the first works everything out
        let mut live_state = live.then(|| state.clone());
        let mut times: Vec<f64> = (0..FRAMES)
            .map(|frame| {
                let whole = state.duration_ns();
                view.timeline.length = Some(whole >> (frame % 12));
                view.timeline.end = Some(state.until() - (whole >> 3) * (frame % 8) / 2);
                view.lists[tab as usize].row = (frame as usize * 331) % SPANS as usize;
                if let Some(state) = &mut live_state {
                    for _ in 0..30 {
                        next += 1;
                        state.apply(&request(next));
                    }
                    view.now = Some(state.until().max(view.now.unwrap_or(SinceStart(0)) + 100 * MS));
                }
                let shown = live_state.as_ref().unwrap_or(&state);
                let begun = Instant::now();
                buffer.reset();
                draw(&mut buffer, shown, &view, &mut cache);
                begun.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        print(name, &mut times);
    }
    for (tab, pressed) in [
        (Tab::Timeline, "n"),
        (Tab::Timeline, "p"),
        (Tab::Timeline, "L"),
        (Tab::Timeline, "+"),
        (Tab::Timeline, "["),
        (Tab::Timeline, "\n\u{1b}"),
        (Tab::Requests, "j"),
        (Tab::Requests, "G"),
        (Tab::Requests, "sS"),
        (Tab::Requests, "/m123\n\u{1b}"),
        (Tab::Requests, "\n\u{1b}"),
        (Tab::Requests, "\nnnnpL\u{1b}"),
        (Tab::Requests, "e"),
        (Tab::Requests, "w"),
        (Tab::Timeline, "26"),
    ] {
        print(&format!("{} {pressed:?}", tab.title()), &mut answers(&state, tab, pressed));
    }
}

/// Milliseconds from each key, typed one after the other, to the end of the frame that answers it.
fn answers(state: &State, tab: Tab, pressed: &str) -> Vec<f64> {
    let mut cache = Cache::with_background();
    let mut view = View { tab, now: Some(state.until()), ..View::default() };
    let mut buffer = Buffer::empty(Rect::new(0, 0, 200, 60));
    let mut drawn = draw(&mut buffer, state, &view, &mut cache);
    let all = pressed.chars().cycle().take(FRAMES as usize);
    all.map(|letter| {
        let code = match letter {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        let begun = Instant::now();
        keys::input(&mut view, &drawn, &Input::Key(KeyEvent::from(code)));
        buffer.reset();
        drawn = draw(&mut buffer, state, &view, &mut cache);
        begun.elapsed().as_secs_f64() * 1e3
    })
    .collect()
}

fn print(name: &str, times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("{name:<26} {:>8.2} {:>8.2} {:>8.2}", at(0.5), at(0.99), at(1.0));
}
