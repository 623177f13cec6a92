use ratatui::crossterm::event::KeyEvent;

use super::super::timeline::{Chart, Window};
use super::*;
use crate::tui::view::Playing;
use model::id::CommandId;
use model::time::SinceStart;

const S: Ns = 1_000_000_000;

fn drawn() -> Drawn {
    Drawn {
        command: Some(CommandId(1)),
        wall: (SinceStart(0), SinceStart(100 * S)),
        columns: 3,
        chart: Chart {
            area: Rect::new(20, 7, 100, 10),
            window: Window { start: SinceStart(0), length: 100 * S, columns: 100 },
            first: 0,
            rows: 5,
        },
        ..Drawn::default()
    }
}

fn press(view: &mut View, drawn: &Drawn, code: KeyCode) -> Act {
    input(view, drawn, &Event::Key(KeyEvent::from(code)))
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let (mut view, drawn) = (View::default(), drawn());
    for c in "/Qq".chars() {
        assert_eq!(press(&mut view, &drawn, KeyCode::Char(c)), Act::Draw);
    }
    assert_eq!((view.filter.as_str(), view.typing), ("qq", true));
    press(&mut view, &drawn, KeyCode::Enter);
    assert_eq!((view.filter.as_str(), view.typing), ("qq", false));
    press(&mut view, &drawn, KeyCode::Esc);
    assert_eq!(view.filter, "");
    assert_eq!(press(&mut view, &drawn, KeyCode::Char('q')), Act::Quit);
}

#[test]
fn each_family_is_singled_out_with_one_key_from_any_view() {
    for (key, focus) in [('d', Focus::Dns), ('t', Focus::Streams), ('c', Focus::Sumdb)] {
        let mut view = View { tab: Tab::Requests, ..View::default() };
        press(&mut view, &drawn(), KeyCode::Char(key));
        assert_eq!((view.tab, view.timeline.focus), (Tab::Timeline, Some(focus)));
        press(&mut view, &drawn(), KeyCode::Char(key));
        assert_eq!(view.timeline.focus, None);
    }
}

#[test]
fn zooming_keeps_the_moment_under_the_cursor_on_its_column() {
    let (mut view, drawn) = (View::default(), drawn());
    view.timeline.at = Some(SinceStart(25 * S));
    press(&mut view, &drawn, KeyCode::Char('+'));
    let (length, end) = (view.timeline.length.unwrap(), view.timeline.end.unwrap());
    let window = Window { start: end - length, length, columns: 100 };
    assert_eq!((length, window.column(SinceStart(25 * S))), (50 * S, 25));
}

#[test]
fn zooming_out_ends_at_the_whole_and_follows_again() {
    let (mut view, drawn) = (View::default(), drawn());
    view.timeline.end = Some(SinceStart(60 * S));
    press(&mut view, &drawn, KeyCode::Char('-'));
    assert_eq!((view.timeline.length, view.timeline.end), (None, None));
}

#[test]
fn panning_stays_within_what_there_is() {
    let (mut view, mut drawn) = (View::default(), drawn());
    drawn.chart.window = Window { start: SinceStart(90 * S), length: 10 * S, columns: 100 };
    press(&mut view, &drawn, KeyCode::Char(']'));
    assert_eq!(view.timeline.end, None);
    drawn.chart.window.start = SinceStart(S);
    press(&mut view, &drawn, KeyCode::Char('['));
    assert_eq!(view.timeline.end, Some(SinceStart(10 * S)));
}

#[test]
fn sorting_goes_round_the_columns() {
    let (mut view, drawn) = (View { tab: Tab::Dns, ..View::default() }, drawn());
    let mut seen = Vec::new();
    for _ in 0..4 {
        press(&mut view, &drawn, KeyCode::Char('s'));
        seen.push(view.lists[Tab::Dns as usize].sort);
    }
    assert_eq!(seen, [Some(0), Some(1), Some(2), None]);
}

#[test]
fn rows_are_chosen_within_the_list_and_opened() {
    let list = Drawn {
        command: None,
        many: true,
        ids: vec![CommandId(7), CommandId(9)],
        rows: super::super::table::ListPlace { area: Rect::new(0, 4, 80, 10), first: 0, rows: 2 },
        ..Drawn::default()
    };
    let mut view = View::default();
    for _ in 0..5 {
        press(&mut view, &list, KeyCode::Char('j'));
    }
    press(&mut view, &list, KeyCode::Enter);
    assert_eq!(view.command, Some(CommandId(9)));
    press(&mut view, &Drawn { many: true, ..drawn() }, KeyCode::Esc);
    assert_eq!(view.command, None);
}

#[test]
fn a_recording_is_seeked_and_played_at_other_speeds() {
    let playing = Playing { runs: true, speed: 1.0, end: SinceStart(20 * S) };
    let mut view = View { playing: Some(playing), now: Some(SinceStart(2 * S)), ..View::default() };
    assert_eq!(press(&mut view, &drawn(), KeyCode::Char(',')), Act::Seek(SinceStart(0)));
    assert_eq!(press(&mut view, &drawn(), KeyCode::Char('.')), Act::Seek(SinceStart(7 * S)));
    press(&mut view, &drawn(), KeyCode::Char('>'));
    press(&mut view, &drawn(), KeyCode::Char(' '));
    assert_eq!(view.playing, Some(Playing { runs: false, speed: 2.0, ..playing }));
}

#[test]
fn the_mouse_chooses_tabs_spans_and_moments() {
    let down = |column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
    };
    let tabs = vec![(Rect::new(0, 5, 10, 1), Tab::Timeline), (Rect::new(10, 5, 10, 1), Tab::Stalls)];
    let drawn = Drawn { tabs, seek: Rect::new(10, 30, 101, 1), ..drawn() };
    let playing = Some(Playing { end: SinceStart(100 * S), ..Playing::default() });
    let mut view = View { playing, ..View::default() };
    input(&mut view, &drawn, &down(12, 5));
    assert_eq!(view.tab, Tab::Stalls);
    input(&mut view, &drawn, &down(70, 9));
    assert_eq!((view.timeline.at, view.timeline.row), (Some(SinceStart(50 * S + S / 2)), 2));
    assert_eq!(input(&mut view, &drawn, &down(60, 30)), Act::Seek(SinceStart(50 * S)));
}

#[test]
fn ctrl_c_and_ctrl_z_are_reported_to_the_program_even_while_typing() {
    let mut view = View { typing: true, ..View::default() };
    for (c, act) in [('c', Act::Interrupt), ('z', Act::Suspend)] {
        let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        assert_eq!(input(&mut view, &drawn(), &Event::Key(key)), act);
    }
}
