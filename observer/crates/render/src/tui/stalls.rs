//! What was found in a command: a list, and of the chosen one the evidence, what may help, and
//! the command that tries it.

use model::human::duration;
use model::report::Stall;
use model::words::severity;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{below, line, put, put_right, wrap};
use super::table::ListPlace;
use super::tables::Subject;
use super::theme::{Theme, letter};
use super::view::ListView;

/// Draws it.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    stalls: &[Stall],
    list: &ListView,
    subject: Subject<'_>,
) -> ListPlace {
    let theme = subject.theme;
    let Some(last) = stalls.len().checked_sub(1) else {
        put(buffer, area, area.x, area.y, "nothing was found that cost time", theme.bold());
        let text = "a stall is shown here as soon as it is found, with its evidence and what to try";
        put(buffer, area, area.x, area.y + 1, text, theme.dim());
        return ListPlace::default();
    };
    let chosen = list.row.min(last);
    // Below the list there is room for what is known of the chosen one.
    let height = (stalls.len() as u16).min((area.height / 3).max(2)).min(area.height);
    let rows = Rect { height, ..area };
    let first = chosen.saturating_sub(usize::from(height).saturating_sub(1));
    for (down, stall) in stalls.iter().skip(first).take(usize::from(height)).enumerate() {
        let place = line(rows, down as u16);
        summary(buffer, place, stall, subject);
        if first + down == chosen {
            buffer.set_style(place, theme.chosen());
        }
    }
    let left = stalls.len().saturating_sub(first + usize::from(height));
    if left > 0 && height > 0 {
        put_right(buffer, rows, rows.bottom() - 1, &format!(" {left} more "), theme.chosen());
    }
    whole(buffer, below(area, height + 1), &stalls[chosen], theme);
    ListPlace { area: rows, first, rows: stalls.len() }
}

fn summary(buffer: &mut Buffer, place: Rect, stall: &Stall, subject: Subject<'_>) {
    let theme = subject.theme;
    let style = theme.severity(stall.severity);
    let until = if stall.end_ns >= subject.now { "now".to_owned() } else { subject.moment(stall.end_ns) };
    let x = put(buffer, place, place.x, place.y, &format!("{:<9}", severity(stall.severity)), style);
    let sign = format!(" {} ", letter(stall.phase));
    let x = put(buffer, place, x, place.y, &sign, theme.on_phase(stall.phase)) + 1;
    let text = format!("{:<22} {:>8}  ", stall.kind, duration(stall.cost_ns));
    let x = put(buffer, place, x, place.y, &text, theme.bold());
    let host = stall.host.as_deref().unwrap_or("-");
    put(
        buffer,
        place,
        x,
        place.y,
        &format!("{host}  {} to {until}", subject.moment(stall.start_ns)),
        Style::new(),
    );
}

fn whole(buffer: &mut Buffer, area: Rect, stall: &Stall, theme: Theme) {
    let mut lines: Vec<(u16, String, Style)> = Vec::new();
    let mut say = |indent: u16, text: &str, style: Style| {
        let wrapped = wrap(text, usize::from(area.width.saturating_sub(indent)));
        lines.extend(wrapped.into_iter().map(|text| (indent, text, style)));
    };
    say(0, &stall.summary, theme.bold());
    for evidence in &stall.evidence {
        say(2, &format!("· {evidence}"), Style::new());
    }
    if !stall.advice.is_empty() {
        say(0, &format!("do: {}", stall.advice), Style::new());
    }
    for remedy in &stall.remedies {
        say(0, &format!("{}: {}", remedy.name, remedy.why), Style::new());
        if !remedy.attempt.is_empty() {
            say(2, &remedy.attempt, theme.command());
        }
    }
    for (down, (indent, text, style)) in lines.iter().enumerate().take(usize::from(area.height)) {
        let place = line(area, down as u16);
        put(buffer, place, place.x + indent, place.y, text, *style);
    }
    let left = lines.len().saturating_sub(usize::from(area.height));
    if left > 0 && area.height > 0 {
        put_right(buffer, area, area.bottom() - 1, &format!(" {left} more: enter "), theme.chosen());
    }
}
