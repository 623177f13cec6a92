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
}

/// A colour in the three palettes.
struct Paint(u32, u8, Color);

const ORANGE: Paint = Paint(0xe6_9f_00, 214, Color::Yellow);
const SKY: Paint = Paint(0x56_b4_e9, 74, Color::Cyan);
const GREEN: Paint = Paint(0x00_9e_73, 36, Color::Green);
const YELLOW: Paint = Paint(0xf0_e4_42, 227, Color::LightYellow);
const BLUE: Paint = Paint(0x4a_8f_d6, 68, Color::LightBlue);
const VERMILION: Paint = Paint(0xe0_6c_1f, 166, Color::LightRed);
const PURPLE: Paint = Paint(0xcc_79_a7, 175, Color::Magenta);
const VIOLET: Paint = Paint(0xa0_8c_e0, 140, Color::LightMagenta);
const TEAL: Paint = Paint(0x2a_a6_a6, 37, Color::LightCyan);
const ROSE: Paint = Paint(0xd6_60_8a, 168, Color::Red);
const OLIVE: Paint = Paint(0x9a_9a_3c, 143, Color::LightGreen);
const SAND: Paint = Paint(0xc8_a8_78, 180, Color::Blue);
const BROWN: Paint = Paint(0xa0_72_4c, 137, Color::White);
const GREY: Paint = Paint(0x80_80_80, 244, Color::Gray);
const DARK: Paint = Paint(0x60_60_60, 241, Color::DarkGray);
const RED: Paint = Paint(0xff_55_55, 203, Color::Red);

impl Theme {
    const fn color(self, paint: &Paint) -> Option<Color> {
        match self.depth {
            Depth::None => None,
            Depth::Sixteen => Some(paint.2),
            Depth::Indexed => Some(Color::Indexed(paint.1)),
            Depth::True => Some(Color::from_u32(paint.0)),
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
            Some(color) => Style::new().bg(color).fg(Color::Black),
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
            Some(color) => Style::new().bg(color).fg(Color::Black).add_modifier(Modifier::BOLD),
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
        for depth in [Depth::Sixteen, Depth::Indexed, Depth::True] {
            let theme = Theme { depth };
            let colors: HashSet<_> = Phase::ALL.into_iter().map(|phase| theme.phase(phase).fg).collect();
            assert_eq!(colors.len(), Phase::ALL.len(), "{depth:?}");
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
        let theme = Theme { depth: Depth::None };
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
