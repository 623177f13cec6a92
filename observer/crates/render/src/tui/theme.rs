//! Colours and signs. In: what the terminal can show. Out: a style for each meaning. A phase is
//! reported by three things at once, any of which is enough: its colour (Okabe and Ito's palette, made
//! for colour-blind eyes), its letter, and the pattern that fills its bars.

use std::ffi::OsStr;

use model::record::Phase;
use model::report::Severity;
pub use model::words::letter;
use ratatui::style::{Color, Modifier, Style};

/// How many colours the terminal has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Depth {
    /// None, or they are not wanted: weight, letters and patterns alone
    None,
    /// The sixteen that the terminal's owner has chosen
    Sixteen,
    /// The 256 of xterm
    Indexed,
    /// All
    #[default]
    True,
}

impl Depth {
    /// What this process's terminal has.
    pub fn of_this_terminal(wanted: bool) -> Self {
        let of = |name| std::env::var_os(name);
        Self::detect(wanted, of("COLORTERM").as_deref(), of("TERM").as_deref())
    }

    /// What a terminal has, from the variables it sets; `wanted` is the decision on `--color` and
    /// `NO_COLOR`.
    pub fn detect(wanted: bool, colorterm: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let text = |value: Option<&OsStr>| value.map(|value| value.to_string_lossy().into_owned());
        let (colorterm, term) = (text(colorterm).unwrap_or_default(), text(term).unwrap_or_default());
        if !wanted || term == "dumb" {
            Self::None
        } else if matches!(colorterm.as_str(), "truecolor" | "24bit") || term.ends_with("-direct") {
            Self::True
        } else if term.contains("256color") {
            Self::Indexed
        } else {
            Self::Sixteen
        }
    }
}

/// Styles for one terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Theme {
    /// Its colours
    pub depth: Depth,
    /// Its ground is light
    pub light: bool,
}

/// A colour in the palettes: on a dark ground and on a light one as 0xRRGGBB, the same of xterm's 256, and one of
/// the sixteen that the terminal's owner has chosen. Each has a contrast of 4.5:1 and more to its ground, and
/// with what is written on it.
struct Paint {
    full: [u32; 2],
    indexed: [u8; 2],
    sixteen: Color,
}

const fn paint_of(full: [u32; 2], indexed: [u8; 2], sixteen: Color) -> Paint {
    Paint { full, indexed, sixteen }
}

const ORANGE: Paint = paint_of([0xe6_9f_00, 0x8f_5f_00], [178, 94], Color::Yellow);
const SKY: Paint = paint_of([0x56_b4_e9, 0x0b_6e_a8], [74, 25], Color::Cyan);
const GREEN: Paint = paint_of([0x00_9e_73, 0x00_71_4f], [35, 23], Color::Green);
const YELLOW: Paint = paint_of([0xf0_e4_42, 0x7a_6a_00], [221, 58], Color::LightYellow);
const BLUE: Paint = paint_of([0x4a_8f_d6, 0x1f_5f_a8], [68, 24], Color::LightBlue);
const VERMILION: Paint = paint_of([0xe0_6c_1f, 0xb0_4a_0a], [172, 130], Color::LightRed);
const PURPLE: Paint = paint_of([0xcc_79_a7, 0x98_40_7a], [175, 96], Color::Magenta);
const VIOLET: Paint = paint_of([0xa0_8c_e0, 0x6f_4f_b8], [140, 61], Color::LightMagenta);
const TEAL: Paint = paint_of([0x2a_a6_a6, 0x0b_72_72], [37, 29], Color::LightCyan);
const ROSE: Paint = paint_of([0xd6_60_8a, 0xad_2f_5d], [168, 125], Color::Red);
const OLIVE: Paint = paint_of([0x9a_9a_3c, 0x66_66_00], [107, 238], Color::LightGreen);
const SAND: Paint = paint_of([0xc8_a8_78, 0x7d_5c_2c], [180, 95], Color::Blue);
const BROWN: Paint = paint_of([0xb8_86_5c, 0x80_50_2c], [137, 240], Color::White);
const GREY: Paint = paint_of([0x8c_8c_8c, 0x66_66_66], [245, 241], Color::Gray);
const DARK: Paint = paint_of([0x8f_8f_b0, 0x5a_5a_78], [103, 60], Color::DarkGray);
const RED: Paint = paint_of([0xff_55_55, 0xb8_1d_1d], [203, 124], Color::Red);

impl Theme {
    /// Of this process's terminal; `color` is the decision on `--color`. Whether its ground is light says
    /// `GOOBSERVE_THEME`, or else the terminal itself, which answers `light`.
    pub fn of_this_terminal(color: bool, light: Option<bool>) -> Self {
        let set = std::env::var("GOOBSERVE_THEME").unwrap_or_default();
        let light = match set.as_str() {
            "light" => true,
            "dark" => false,
            _ => light.unwrap_or(false),
        };
        Self { depth: Depth::of_this_terminal(color), light }
    }

    const fn color(self, paint: &Paint) -> Option<Color> {
        let ground = self.light as usize;
        match self.depth {
            Depth::None => None,
            Depth::Sixteen => Some(paint.sixteen),
            Depth::Indexed => Some(Color::Indexed(paint.indexed[ground])),
            Depth::True => Some(Color::from_u32(paint.full[ground])),
        }
    }

    /// What is written on a colour: black on those for a dark ground, white on those for a light one. The
    /// sixteen are the owner's, and bright.
    const fn ink(self) -> Color {
        match self.depth {
            Depth::True if self.light => Color::from_u32(0xff_ff_ff),
            Depth::True => Color::from_u32(0),
            Depth::Indexed if self.light => Color::Indexed(231),
            Depth::Indexed => Color::Indexed(16),
            _ => Color::Black,
        }
    }

    fn fore(self, paint: &Paint) -> Style {
        self.color(paint).map_or(Style::new(), |color| Style::new().fg(color))
    }

    /// A phase's colour on the terminal's own ground.
    pub fn phase(self, phase: Phase) -> Style {
        self.fore(paint(phase))
    }

    /// Text on a phase's colour.
    pub fn on_phase(self, phase: Phase) -> Style {
        match self.color(paint(phase)) {
            Some(color) => Style::new().bg(color).fg(self.ink()),
            None => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// Important.
    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Less important.
    pub fn dim(self) -> Style {
        match self.color(&GREY) {
            Some(color) => Style::new().fg(color),
            None => Style::new().add_modifier(Modifier::DIM),
        }
    }

    /// What went wrong, and loss.
    pub fn bad(self) -> Style {
        self.fore(&RED).add_modifier(Modifier::BOLD)
    }

    /// What went wrong, where it must not be overlooked.
    pub fn alarm(self) -> Style {
        match self.color(&RED) {
            Some(color) => Style::new().bg(color).fg(self.ink()).add_modifier(Modifier::BOLD),
            None => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
        }
    }

    /// A command to copy.
    pub fn command(self) -> Style {
        self.fore(&SKY).add_modifier(Modifier::BOLD)
    }

    /// The chosen row or tab.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A finding's weight.
    pub fn severity(self, severity: Severity) -> Style {
        match severity {
            Severity::Critical => self.bad(),
            Severity::Warning => self.fore(&ORANGE).add_modifier(Modifier::BOLD),
            Severity::Info => self.dim(),
        }
    }
}

/// What terminals are asked for their ground (xterm's OSC 11), and then what they are: all of them answer that
/// (DA1), so that whoever waits knows when there will be no answer to the first.
pub const ASK_GROUND: &[u8] = b"\x1b]11;?\x1b\\\x1b[c";

/// Whether the ground is light, from a terminal's answer; `None` when it did not say.
pub fn is_light(answer: &[u8]) -> Option<bool> {
    let text = String::from_utf8_lossy(answer);
    let (_, rest) = text.split_once("]11;rgb:")?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit() && c != '/').unwrap_or(rest.len());
    let parts: Vec<f64> = rest[..end]
        .split('/')
        .map(|part| {
            let whole = 16f64.powi(part.len() as i32) - 1.0;
            u32::from_str_radix(part, 16)
                .ok()
                .filter(|_| part.len() <= 4)
                .map(|value| f64::from(value) / whole)
        })
        .collect::<Option<_>>()?;
    let [r, g, b] = parts[..] else { return None };
    // Brightness as eyes weigh it (Rec. 601).
    Some(0.299 * r + 0.587 * g + 0.114 * b > 0.5)
}

const fn paint(phase: Phase) -> &'static Paint {
    match phase {
        Phase::Dns => &YELLOW,
        Phase::Connect => &SKY,
        Phase::Tls => &BLUE,
        Phase::Tunnel => &TEAL,
        Phase::Auth => &ROSE,
        Phase::Proxy => &GREEN,
        Phase::Sumdb => &VERMILION,
        Phase::Toolchain => &PURPLE,
        Phase::Vcs => &VIOLET,
        Phase::Cache => &OLIVE,
        Phase::Backoff => &SAND,
        Phase::Child => &BROWN,
        Phase::Lock => &ORANGE,
        Phase::Local => &GREY,
        Phase::Unexplained => &DARK,
    }
}

/// What fills a phase's bars; of requests, darker once the answer flows.
pub const fn fill(phase: Phase, answered: bool) -> &'static str {
    match (phase, answered) {
        (Phase::Dns, _) => "▒",
        (Phase::Connect, _) => "=",
        (Phase::Tls, _) => "≡",
        (Phase::Tunnel, _) => "∩",
        (Phase::Auth, _) => "*",
        (Phase::Sumdb, false) => "░",
        (Phase::Sumdb, true) => "▒",
        (Phase::Proxy | Phase::Toolchain, false) => "▓",
        (Phase::Proxy | Phase::Toolchain, true) => "█",
        (Phase::Vcs, _) => "+",
        (Phase::Cache, _) => "%",
        (Phase::Backoff, _) => "~",
        (Phase::Child, _) => "x",
        (Phase::Lock, _) => "#",
        (Phase::Local, _) => "─",
        (Phase::Unexplained, _) => "·",
    }
}

/// A short name, where the whole one does not fit.
pub const fn short(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "tcp",
        Phase::Unexplained => "other",
        phase => phase.name(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn phases_are_reported_apart_by_colour_in_every_depth_and_by_letter() {
        let letters: HashSet<char> = Phase::ALL.into_iter().map(letter).collect();
        assert_eq!(letters.len(), Phase::ALL.len());
        let depths = [Depth::Sixteen, Depth::Indexed, Depth::True];
        for (depth, light) in depths.into_iter().flat_map(|depth| [(depth, false), (depth, true)]) {
            let theme = Theme { depth, light };
            let colors: HashSet<_> = Phase::ALL.into_iter().map(|phase| theme.phase(phase).fg).collect();
            assert_eq!(colors.len(), Phase::ALL.len(), "{depth:?}");
        }
    }

    /// Relative luminance, as the Web Content Accessibility Guidelines (2.2) define it.
    fn luminance(color: Color) -> f64 {
        let rgb = match color {
            Color::Rgb(r, g, b) => [r, g, b],
            Color::Indexed(at @ 232..) => [8 + 10 * (at - 232); 3],
            Color::Indexed(at @ 16..) => {
                let level = |n: u8| [0, 95, 135, 175, 215, 255][usize::from(n % 6)];
                [level((at - 16) / 36), level((at - 16) / 6), level(at - 16)]
            }
            other => panic!("{other:?} is the owner's"),
        };
        let [r, g, b] = rgb.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(a: Color, b: Color) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_colour_has_a_contrast_of_four_and_a_half_to_its_ground_and_to_what_is_written_on_it() {
        for depth in [Depth::Indexed, Depth::True] {
            for (light, grounds) in [(false, [0x00_00_00, 0x1e_1e_1e]), (true, [0xff_ff_ff, 0xff_ff_ff])] {
                let theme = Theme { depth, light };
                let own = [theme.dim(), theme.bad(), theme.command()];
                let severities = [Severity::Info, Severity::Warning, Severity::Critical];
                let on_ground = Phase::ALL.map(|phase| theme.phase(phase)).into_iter().chain(own);
                for style in on_ground.chain(severities.map(|severity| theme.severity(severity))) {
                    for ground in grounds {
                        let contrast = contrast(style.fg.unwrap(), Color::from_u32(ground));
                        assert!(contrast >= 4.5, "{depth:?} {light} {style:?}: {contrast}");
                    }
                }
                for style in Phase::ALL.map(|phase| theme.on_phase(phase)).into_iter().chain([theme.alarm()])
                {
                    let contrast = contrast(style.fg.unwrap(), style.bg.unwrap());
                    assert!(contrast >= 4.5, "{depth:?} {light} {style:?}: {contrast}");
                }
            }
        }
    }

    #[test]
    fn the_ground_is_what_the_terminal_answers() {
        let answers = [
            (&b"\x1b]11;rgb:ffff/ffff/ffff\x07\x1b[?62;22c"[..], Some(true)),
            (b"\x1b]11;rgb:1e/1e/1e\x1b\\\x1b[?1c", Some(false)),
            (b"\x1b]11;rgb:fdf6/e3e3/d5d5\x1b\\", Some(true)),
            (b"\x1b[?1c", None),
            (b"\x1b]11;rgb:zz/1e", None),
            (b"", None),
        ];
        for (answer, light) in answers {
            assert_eq!(is_light(answer), light, "{}", answer.escape_ascii());
        }
    }

    #[test]
    fn proxy_and_sumdb_differ_in_shape_too() {
        for answered in [false, true] {
            assert_ne!(fill(Phase::Proxy, answered), fill(Phase::Sumdb, answered));
        }
    }

    #[test]
    fn without_colours_nothing_has_one() {
        let theme = Theme { depth: Depth::None, light: false };
        for phase in Phase::ALL {
            assert_eq!((theme.phase(phase).fg, theme.on_phase(phase).bg), (None, None));
        }
        for style in [theme.bad(), theme.alarm(), theme.dim(), theme.command()] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }

    #[test]
    fn the_depth_is_what_the_terminal_says() {
        let detect = |wanted, colorterm: &str, term: &str| {
            Depth::detect(wanted, Some(OsStr::new(colorterm)), Some(OsStr::new(term)))
        };
        assert_eq!(detect(true, "truecolor", "xterm"), Depth::True);
        assert_eq!(detect(true, "", "tmux-256color"), Depth::Indexed);
        assert_eq!(detect(true, "", "linux"), Depth::Sixteen);
        assert_eq!(detect(true, "truecolor", "dumb"), Depth::None);
        assert_eq!(detect(false, "truecolor", "xterm-256color"), Depth::None);
        assert_eq!(Depth::detect(true, None, None), Depth::Sixteen);
    }
}
