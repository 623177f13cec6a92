//! The foot: where a recording is, what is being typed, which keys do something here.

use model::time::SinceStart;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Drawn;
use super::canvas::{line, put, put_right};
use super::header::clock;
use super::theme::Theme;
use super::view::{Playing, Tab, View};

/// Lines it takes.
pub(super) fn height(view: &View, of: u16) -> u16 {
    if of < 4 { 0 } else { 1 + u16::from(view.playing.is_some() && of >= TWO_FROM) }
}

/// Draws it; returns where the recording's bar is.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View, drawn: &Drawn, now: SinceStart) -> Rect {
    let theme = view.theme;
    if area.is_empty() {
        return Rect::default();
    }
    let playing = view.playing.filter(|playing| area.height > 1 || playing.runs);
    let seek =
        playing.map_or_else(Rect::default, |playing| player(buffer, line(area, 0), playing, theme, now));
    if playing.is_some() && area.height == 1 {
        return seek;
    }
    let place = line(area, area.height - 1);
    if let Some(note) = &view.note {
        put(buffer, place, place.x, place.y, note, theme.bold());
        return seek;
    }
    if view.typing || !view.filter.is_empty() {
        let cursor = if view.typing { "▏" } else { "" };
        let x = put(buffer, place, place.x, place.y, &format!("/{}{cursor}", view.filter), theme.bold());
        let text = if view.typing {
            "   enter: done, esc: clear; host: phase: status: user: folder: name a field"
        } else {
            "   esc clears the filter"
        };
        put(buffer, place, x, place.y, text, theme.dim());
        return seek;
    }
    let mut place = place;
    if view.paused {
        let text = " held still: space goes on ";
        put_right(buffer, place, place.y, text, theme.chosen());
        place.width -= text.len() as u16;
    }
    let mut x = place.x;
    for (key, what) in fitting(keys(view, drawn, now), usize::from(place.width)) {
        x = put(buffer, place, x, place.y, key, theme.bold());
        x = put(buffer, place, x, place.y, &format!(" {what}  "), theme.dim());
    }
    seek
}

/// From so many lines on a recording's bar has a line of its own.
const TWO_FROM: u16 = 12;

type Key = (&'static str, &'static str);

/// The keys that do something here, the most wanted first.
fn keys(view: &View, drawn: &Drawn, now: SinceStart) -> Vec<Key> {
    if view.help {
        return vec![("esc", "back"), ("↑↓", "more")];
    }
    if view.reading {
        return vec![("↑↓", "read"), ("q", "leave"), ("esc", "the dashboard")];
    }
    if drawn.details.is_some() {
        return vec![
            ("esc", "back"),
            ("enter", "open"),
            ("n p", "next, previous"),
            ("L", "longest"),
            ("↑↓", "choose"),
        ];
    }
    let mut keys = Vec::new();
    if view.report.is_some() {
        keys.push(("r", "report"));
    }
    if drawn.cursor.is_some() {
        keys.push(("enter", "open"));
    }
    if let Some(playing) = view.playing {
        keys.push(("space", Play::of(playing, now).key()));
        keys.extend([("<>", "speed"), (",.", "seek")]);
    }
    if drawn.command.is_some() {
        keys.push(("tab", "views"));
        if drawn.many {
            keys.push(("esc", "all commands"));
        }
    }
    match (drawn.command, view.tab) {
        (None, _) => keys.extend([("enter", "open"), ("s", "sort"), ("/", "filter")]),
        (Some(_), Tab::Timeline) => {
            keys.extend([("n p", "next"), ("L", "longest"), ("d", "dns"), ("t", "http/2"), ("c", "sumdb")]);
        }
        (Some(_), Tab::Stalls) => keys.push(("↑↓", "choose")),
        (Some(_), _) => keys.extend([("s", "sort"), ("/", "filter")]),
    }
    if drawn.attempt.as_ref().is_some_and(|attempt| !attempt.is_empty()) {
        keys.push(("y", "copy"));
    }
    if drawn.command.is_some() && view.tab == Tab::Timeline {
        keys.push(("+-", "zoom"));
    }
    keys
}

/// As many as there is room for, and always help and end.
fn fitting(mut keys: Vec<Key>, room: usize) -> Vec<Key> {
    let last = [("?", "help"), ("q", "end")];
    let needed = |keys: &[Key]| -> usize {
        keys.iter().chain(&last).map(|(key, what)| key.chars().count() + what.len() + 3).sum()
    };
    // Nothing follows the last one's two spaces.
    while !keys.is_empty() && needed(&keys) > room + 2 {
        keys.pop();
    }
    keys.into_iter().chain(last).collect()
}

/// What a recording does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Play {
    Plays,
    Stands,
    Ended,
}

impl Play {
    fn of(playing: Playing, now: SinceStart) -> Self {
        match playing.runs {
            true => Self::Plays,
            false if now >= playing.end => Self::Ended,
            false => Self::Stands,
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Plays => "pause",
            Self::Stands => "play",
            Self::Ended => "play again",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Plays => "▶ recording, plays",
            Self::Stands => "‖ recording, paused",
            Self::Ended => "■ recording, at its end",
        }
    }
}

fn player(buffer: &mut Buffer, place: Rect, playing: Playing, theme: Theme, now: SinceStart) -> Rect {
    let what = Play::of(playing, now).words();
    let text = format!(
        "{what} {}×  {} / {} ",
        playing.speed,
        clock(now - SinceStart::ZERO),
        clock(playing.end - SinceStart::ZERO)
    );
    let x = put(buffer, place, place.x, place.y, &text, theme.bold());
    let bar = Rect { x, width: place.right().saturating_sub(x), ..place };
    let whole = (playing.end - SinceStart::ZERO).max(1);
    let done = (u128::from((now - SinceStart::ZERO).min(whole)) * u128::from(bar.width.saturating_sub(1))
        / u128::from(whole)) as u16;
    for column in 0..bar.width {
        let (sign, style) = match column {
            column if column < done => ("━", theme.bold()),
            column if column == done => ("●", theme.bold()),
            _ => ("─", theme.dim()),
        };
        put(buffer, bar, bar.x + column, bar.y, sign, style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::CommandId;

    fn shown(view: &View, drawn: &Drawn, now: SinceStart) -> [String; 2] {
        let area = Rect::new(0, 0, 80, 2);
        let mut buffer = Buffer::empty(area);
        draw(&mut buffer, area, view, drawn, now);
        [0, 1].map(|y| (0..80).map(|x| buffer[(x, y)].symbol()).collect())
    }

    #[test]
    fn a_recording_says_that_it_is_one_what_it_does_and_where_it_is() {
        let playing = Playing { runs: true, speed: 0.25, end: SinceStart(10_000_000_000) };
        let mut view = View { playing: Some(playing), ..View::default() };
        let [player, keys] = shown(&view, &Drawn::default(), SinceStart(3_200_000_000));
        assert!(player.starts_with("▶ recording, plays 0.25×  00:03.2 / 00:10.0 ━"), "{player}");
        assert!(keys.starts_with("space pause  "), "{keys}");
        view.playing = Some(Playing { runs: false, ..playing });
        let [player, keys] = shown(&view, &Drawn::default(), SinceStart(3_200_000_000));
        assert!(
            player.starts_with("‖ recording, paused") && keys.starts_with("space play "),
            "{player}{keys}"
        );
        let [player, keys] = shown(&view, &Drawn::default(), SinceStart(10_000_000_000));
        assert!(
            player.starts_with("■ recording, at its end") && keys.starts_with("space play again"),
            "{player}{keys}"
        );
    }

    #[test]
    fn help_and_end_are_there_however_many_keys_there_are() {
        let playing = Playing { runs: true, speed: 1.0, end: SinceStart(10_000_000_000) };
        let view = View { playing: Some(playing), ..View::default() };
        let attempt = Some("goobserve compare".to_owned());
        let drawn = Drawn { command: Some(CommandId(1)), many: true, attempt, ..Drawn::default() };
        let [_, keys] = shown(&view, &drawn, SinceStart(0));
        assert!(keys.trim_end().ends_with("? help  q end"), "{keys}");
    }
}
