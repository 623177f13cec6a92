//! The page's style sheet.

/// Colours of light and of dark.
pub const TONES: &str = include_str!("tones.css");
/// Everything else of the page.
pub const PAGE: &str = include_str!("style.css");
