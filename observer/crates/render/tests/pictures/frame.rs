//! A frame of the dashboard in, an SVG of its cells out: text in a grid, blocks as rectangles, on
//! the dark ground of a terminal.

use std::fmt::Write as _;

use model::clean;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use render::markup::escape;

/// Pixels of a cell, and around all of them.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
const MARGIN: f64 = 12.0;
const GROUND: &str = "#14171b";
const INK: &str = "#d5dae0";

/// The frame as a picture with that title.
pub(crate) fn svg(buffer: &Buffer, title: &str) -> String {
    let width = f64::from(buffer.area.width) * WIDTH + 2.0 * MARGIN;
    let height = f64::from(buffer.area.height) * HEIGHT + 2.0 * MARGIN;
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.1} {height:.1}" width="{width:.0}" height="{height:.0}" role="img" aria-label="{}">
<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14">
"#,
        escape(title)
    );
    for y in 0..buffer.area.height {
        row(&mut out, buffer, y);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// What cells that are drawn as one have in common.
#[derive(PartialEq, Clone)]
struct Appearance {
    ink: String,
    ground: String,
    bold: bool,
    dim: bool,
    /// Of a block: the part of the cell it fills, from the left, and how densely
    block: Option<(u32, u32)>,
}

fn row(out: &mut String, buffer: &Buffer, y: u16) {
    let mut x = 0;
    while x < buffer.area.width {
        let appearance = appearance(&buffer[(x, y)]);
        let mut text = String::new();
        let start = x;
        while x < buffer.area.width && self::appearance(&buffer[(x, y)]) == appearance {
            text.push_str(buffer[(x, y)].symbol());
            x += 1;
            // A part of a block stands alone.
            if appearance.block.is_some_and(|(part, _)| part < 8) {
                break;
            }
        }
        run(out, &appearance, &text, start, x - start, y);
    }
}

fn run(out: &mut String, appearance: &Appearance, text: &str, x: u16, cells: u16, y: u16) {
    let (left, width) = (MARGIN + f64::from(x) * WIDTH, f64::from(cells) * WIDTH);
    let top = MARGIN + f64::from(y) * HEIGHT;
    if appearance.ground != GROUND {
        let _ = writeln!(
            out,
            r#"<rect x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{HEIGHT}" fill="{}"/>"#,
            appearance.ground
        );
    }
    if let Some((part, density)) = appearance.block {
        let width = width * f64::from(part) / 8.0;
        let opacity = f64::from(density) / 100.0;
        let _ = writeln!(
            out,
            r#"<rect x="{left:.1}" y="{:.1}" width="{width:.1}" height="{}" fill="{}" opacity="{opacity}"/>"#,
            top + 1.0,
            HEIGHT - 2.0,
            appearance.ink
        );
    } else {
        words(out, appearance, text, left, top + 13.5);
    }
}

/// Each word at its own cell, as wide as its cells: whatever the font, the grid holds.
fn words(out: &mut String, appearance: &Appearance, text: &str, mut left: f64, base: f64) {
    let bold = if appearance.bold { r#" font-weight="700""# } else { "" };
    let dim = if appearance.dim { r#" opacity="0.65""# } else { "" };
    for word in text.split(' ') {
        let width = clean::width(word) as f64 * WIDTH;
        if !word.is_empty() {
            let _ = writeln!(
                out,
                r#"<text x="{left:.1}" y="{base:.1}" textLength="{width:.1}" lengthAdjust="spacingAndGlyphs" fill="{}"{bold}{dim}>{}</text>"#,
                appearance.ink,
                escape(word)
            );
        }
        left += width + WIDTH;
    }
}

fn appearance(cell: &Cell) -> Appearance {
    let (mut ink, mut ground) = (color(cell.fg, INK), color(cell.bg, GROUND));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut ink, &mut ground);
    }
    Appearance {
        ink,
        ground,
        bold: cell.modifier.contains(Modifier::BOLD),
        dim: cell.modifier.contains(Modifier::DIM),
        block: block(cell.symbol()),
    }
}

fn block(symbol: &str) -> Option<(u32, u32)> {
    const PARTS: &str = "▏▎▍▌▋▊▉█";
    match symbol {
        "░" => Some((8, 35)),
        "▒" => Some((8, 55)),
        "▓" => Some((8, 78)),
        _ => {
            let part = PARTS.chars().position(|part| symbol.chars().eq([part]))?;
            Some((part as u32 + 1, 100))
        }
    }
}

fn color(color: Color, usual: &str) -> String {
    match color {
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        Color::Black => GROUND.to_owned(),
        Color::Reset => usual.to_owned(),
        other => panic!("pictures are drawn in true colours, not {other:?}"),
    }
}

#[test]
fn cells_become_rectangles_and_text_in_a_grid() {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 1));
    let blue = Style::new().fg(Color::Rgb(0, 0, 255));
    buffer.set_string(0, 0, "██▌", blue);
    buffer.set_string(4, 0, "a<b", Style::new().add_modifier(Modifier::BOLD));
    buffer.set_string(8, 0, "x", blue.add_modifier(Modifier::REVERSED));
    let svg = svg(&buffer, "t");
    for part in [
        r##"<rect x="12.0" y="13.0" width="16.8" height="16" fill="#0000ff" opacity="1"/>"##,
        r##"<rect x="28.8" y="13.0" width="4.2" height="16" fill="#0000ff" opacity="1"/>"##,
        r#"font-weight="700">a&lt;b</text>"#,
        r##"<rect x="79.2" y="12.0" width="8.4" height="18" fill="#0000ff"/>"##,
    ] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    assert_eq!(svg.matches("<text").count(), 2, "spaces are not drawn: {svg}");
}
