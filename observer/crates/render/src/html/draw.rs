//! A waterfall or a command's phases in, SVG out. Widths are parts of the whole (`%`), heights are
//! pixels: it fits a telephone as well as a wide screen, and letters keep their size.

use std::fmt::Write as _;

use model::human::{duration, moment, percent};
use model::record::Phase;
use model::report::{Command, Severity, Stall};
use model::time::{Ns, SinceStart};
use model::words;

use crate::markup::escape;
use crate::waterfall::{Bar, Group, Pin, Sign, Waterfall};

/// Patterns that distinguish phases where colours do not.
pub const FILLS: &str = include_str!("fills.svg");
/// Phases' colours and what belongs to a drawing.
pub const STYLE: &str = include_str!("phases.css");

/// Pixels of the axis, of a group's title, of its marks, of a row with the space below, of the space
/// below a group.
const AXIS: usize = 20;
const TITLE: usize = 17;
const PINS: usize = 13;
const ROW: usize = 18;
const BAR: usize = 15;
const SPACE: usize = 9;
/// Stalls drawn as bands.
const BANDS: usize = 20;
/// Narrower bars, in percent, carry no letter, or no words beside it.
const LETTER: f64 = 2.4;
const WORDS: f64 = 6.0;
/// Narrower bars have no pattern: nothing of it would be seen.
const THIN: f64 = 0.8;
/// Narrower bars are drawn as wide as this.
const LEAST: f64 = 0.12;

/// Part of the whole, in percent.
struct Scale {
    start: SinceStart,
    wall: Ns,
}

impl Scale {
    fn at(&self, at: SinceStart) -> f64 {
        let at = at.saturating_sub(self.start).min(self.wall);
        at as f64 * 100.0 / self.wall.max(1) as f64
    }

    /// Left edge and width of a span.
    fn span(&self, start: SinceStart, end: SinceStart) -> (f64, f64) {
        let left = self.at(start).min(100.0 - LEAST);
        (left, (self.at(end) - left).max(LEAST))
    }
}

/// How tall the drawing is.
pub fn height(waterfall: &Waterfall) -> usize {
    AXIS + waterfall.groups.iter().map(tall).sum::<usize>()
}

fn tall(group: &Group) -> usize {
    let pins = if group.pins.is_empty() { 0 } else { PINS };
    TITLE + pins + group.rows.len().max(1) * ROW + SPACE
}

/// What is inside the `svg` element of a waterfall.
pub fn waterfall(out: &mut String, waterfall: &Waterfall, stalls: &[Stall]) {
    let wall = waterfall.end_ns - waterfall.start_ns;
    let scale = Scale { start: waterfall.start_ns, wall };
    let height = height(waterfall);
    axis(out, wall, height);
    let costly = |stall: &&Stall| stall.severity > Severity::Info && stall.cost_ns > 0;
    for stall in stalls.iter().filter(costly).take(BANDS) {
        let (left, width) = scale.span(stall.start_ns, stall.end_ns);
        let note = format!("{}: {}", stall.kind, stall.summary);
        let _ = writeln!(
            out,
            r#"<g><title>{}</title><rect class="band" x="{left:.3}%" y="{AXIS}" width="{width:.3}%" height="{}"/></g>"#,
            escape(&note),
            height - AXIS
        );
    }
    for &(start, end) in &waterfall.gaps {
        let (left, width) = scale.span(start, end);
        let _ = writeln!(
            out,
            r#"<g><title>records of {} were lost</title><rect class="gap" x="{left:.3}%" y="{}" width="{width:.3}%" height="{}"/></g>"#,
            duration(end - start),
            AXIS - 5,
            height - AXIS + 5
        );
    }
    let mut top = AXIS;
    for group in &waterfall.groups {
        self::group(out, group, &scale, top);
        top += tall(group);
    }
}

fn group(out: &mut String, group: &Group, scale: &Scale, top: usize) {
    let more = match group.more {
        0 => String::new(),
        more => format!(", and {more} more at the same time"),
    };
    let detail = if group.detail.is_empty() && more.is_empty() {
        String::new()
    } else {
        format!(r#"<tspan class="soft" dx="6">{}{more}</tspan>"#, escape(&group.detail))
    };
    let title = escape(&group.title);
    let _ = writeln!(
        out,
        r#"<text x="0" y="{}"><tspan font-weight="600">{title}</tspan>{detail}</text>"#,
        top + 12
    );
    let mut rows = top + TITLE;
    group.pins.iter().for_each(|pin| self::pin(out, pin, scale, rows));
    if !group.pins.is_empty() {
        rows += PINS;
    }
    if let Some((start, end)) = group.life {
        let (left, right) = (scale.at(start), scale.at(end));
        let y = rows + BAR / 2;
        let _ = writeln!(out, r#"<line class="life" x1="{left:.3}%" x2="{right:.3}%" y1="{y}" y2="{y}"/>"#);
    }
    for (index, row) in group.rows.iter().enumerate() {
        row.iter().for_each(|bar| self::bar(out, bar, scale, rows + index * ROW));
    }
}

fn bar(out: &mut String, bar: &Bar, scale: &Scale, top: usize) {
    let (left, width) = scale.span(bar.start_ns, bar.end_ns);
    let _ = write!(
        out,
        r#"<svg class="part {}{}" x="{left:.3}%" y="{top}" width="{width:.3}%" height="{BAR}"><title>{}</title>"#,
        bar.phase.name(),
        if width < THIN { " thin" } else { "" },
        escape(&bar.note)
    );
    // Of a request: what it waited for its first byte, paler, and what it then received.
    let whole = (bar.end_ns - bar.start_ns).max(1);
    match bar.first_byte_ns {
        Some(first) if first < bar.end_ns => {
            let wait = (first - bar.start_ns) as f64 * 100.0 / whole as f64;
            let _ = write!(
                out,
                r#"<rect class="wait" width="{wait:.1}%" height="{BAR}"/><rect x="{wait:.1}%" width="{:.1}%" height="{BAR}"/>"#,
                100.0 - wait
            );
        }
        Some(_) => {
            let _ = write!(out, r#"<rect class="wait" width="100%" height="{BAR}"/>"#);
        }
        None if bar.open => {
            let _ = write!(out, r#"<rect class="wait" width="100%" height="{BAR}"/>"#);
        }
        // This machine, not busy all of the time.
        None if bar.busy_ns < bar.end_ns - bar.start_ns && bar.phase == Phase::Local => {
            let part = bar.busy_ns as f64 / whole as f64;
            let _ = write!(out, r#"<rect width="100%" height="{BAR}" opacity="{:.2}"/>"#, part.max(0.15));
        }
        None => {
            let _ = write!(out, r#"<rect width="100%" height="{BAR}"/>"#);
        }
    }
    if bar.error || bar.open {
        let _ = write!(out, r#"<rect class="fails" y="{}" width="100%" height="3"/>"#, BAR - 3);
    }
    let letter = words::letter(bar.phase);
    if width >= WORDS {
        let _ = write!(out, r#"<text x="3" y="11">{letter} {}</text>"#, escape(&bar.label));
    } else if width >= LETTER {
        let _ = write!(out, r#"<text x="3" y="11">{letter}</text>"#);
    }
    out.push_str("</svg>\n");
}

fn pin(out: &mut String, pin: &Pin, scale: &Scale, top: usize) {
    // Not beyond the edge.
    let at = scale.at(pin.at_ns).min(99.5);
    let note = escape(&format!("{} at {} s", pin.note, moment(pin.at_ns.saturating_sub(scale.start))));
    let shape = match pin.sign {
        Sign::Syn | Sign::Retransmission => r#"<path class="sign" d="M-4 3L0 -4L4 3Z"/>"#,
        Sign::Reset => r#"<path class="sign" d="M-4 -4L4 4M-4 4L4 -4"/>"#,
        Sign::ZeroWindow => r#"<path class="sign" d="M-4 -4H4V4H-4Z"/>"#,
    };
    let _ = writeln!(
        out,
        r#"<svg x="{at:.3}%" y="{}" width="1" height="1" overflow="visible"><title>{note}</title>{shape}</svg>"#,
        top + 5
    );
}

fn axis(out: &mut String, wall: Ns, height: usize) {
    let step = step(wall);
    for at in (0..).map(|n| n * step).take_while(|at| *at <= wall).take(12) {
        let x = at as f64 * 100.0 / wall.max(1) as f64;
        let _ = writeln!(
            out,
            r#"<line class="grid" x1="{x:.3}%" x2="{x:.3}%" y1="{}" y2="{height}"/>"#,
            AXIS - 5
        );
        // The last one's words would end outside.
        if x < 93.0 {
            let words = if at == 0 { "0".to_owned() } else { duration(at) };
            let _ = writeln!(out, r#"<text class="soft" x="{x:.3}%" y="11">{words}</text>"#);
        }
    }
}

/// A round time that goes four to ten times into `wall`.
fn step(wall: Ns) -> Ns {
    let mut step: Ns = 1;
    while wall / step > 10 {
        step = step.saturating_mul(10);
    }
    if wall / step < 2 && step >= 5 {
        step / 5
    } else if wall / step < 5 && step >= 2 {
        step / 2
    } else {
        step
    }
}

/// A command's phases as one bar; what is inside its `svg` element of 30 pixels.
pub fn phases(out: &mut String, command: &Command) {
    let mut left = 0.0;
    for share in command.phases.iter().filter(|share| share.blocked_ns > 0) {
        let width = share.blocked_ns as f64 * 100.0 / command.wall_ns.max(1) as f64;
        let (name, letter) = (share.phase.name(), words::letter(share.phase));
        let part = escape(&percent(share.blocked_ns, command.wall_ns));
        let _ = write!(
            out,
            r#"<svg class="part {name}" x="{left:.3}%" y="0" width="{width:.3}%" height="30"><title>{name}: {}, {part}</title><rect width="100%" height="30"/>"#,
            duration(share.blocked_ns)
        );
        if width >= WORDS {
            let _ = write!(out, r#"<text x="4" y="19">{letter} {name} {part}</text>"#);
        } else if width >= LETTER {
            let _ = write!(out, r#"<text x="4" y="19">{letter}</text>"#);
        }
        out.push_str("</svg>\n");
        left += width;
    }
}

/// A phase's colour and pattern as a small square with its letter.
pub fn swatch(phase: Phase) -> String {
    format!(
        r#"<svg class="part {}" width="16" height="16" aria-hidden="true"><rect width="16" height="16"/><text x="4" y="12">{}</text></svg>"#,
        phase.name(),
        words::letter(phase)
    )
}

/// A waterfall as a file of its own, `width` pixels wide.
pub fn file(waterfall: &Waterfall, stalls: &[Stall], title: &str, width: usize) -> String {
    const MARGIN: usize = 12;
    let (inner, height) = (width - 2 * MARGIN, height(waterfall));
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {0}" width="{width}" height="{0}" role="img" aria-label="{1}">
<style>
{2}{STYLE}</style>
<defs>
{FILLS}</defs>
<rect width="100%" height="100%" rx="8" fill="var(--ground)" stroke="var(--line)"/>
<text x="{MARGIN}" y="22" font-weight="600" font-size="13">{1}</text>
<svg x="{MARGIN}" y="34" width="{inner}" height="{height}">
"#,
        height + 34 + MARGIN,
        escape(title),
        super::style::TONES,
    );
    self::waterfall(&mut out, waterfall, stalls);
    out.push_str("</svg>\n</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_a_few_go_into_the_whole() {
        for wall in
            [1_u64, 7, 10, 99, 100, 12_345, 1_000_000_000, 9_999_999_999, 60_000_000_000, 86_400_000_000_000]
        {
            let step = step(wall);
            let times = wall / step;
            assert!((1..=10).contains(&times), "{wall}: {step}");
            assert!(times >= 4 || wall < 10, "{wall}: {step}");
            let digits = step.to_string();
            assert!(["1", "2", "5"].contains(&digits.trim_end_matches('0')), "{step}");
        }
        assert_eq!(step(0), 1);
    }

    #[test]
    fn what_lies_outside_the_whole_is_drawn_at_its_edge() {
        let scale = Scale { start: SinceStart(100), wall: 100 };
        assert!(scale.at(SinceStart(50)) < 0.001 && scale.at(SinceStart(500)) > 99.999);
        let (left, width) = scale.span(SinceStart(200), SinceStart(300));
        assert!(left < 100.0 && width > 0.0 && left + width <= 100.001);
    }
}
