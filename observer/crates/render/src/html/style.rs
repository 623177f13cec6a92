//! The page's style sheets and script.

/// Colours of light and of dark.
pub const TONES: &str = include_str!("tones.css");
/// Everything else of the page.
pub const PAGE: &str = include_str!("style.css");
/// The list of all requests, which the script draws.
pub const EXPLORE: &str = include_str!("explore.css");
/// What the page can do beyond its text.
pub const SCRIPT: &str = include_str!("page.js");
/// Of the script, in the form of a Content-Security-Policy: a browser runs this text and no other, whatever
/// else gets into the page. `printf %s "$(cat page.js)"` is not it: the last newline counts.
pub const SCRIPT_HASH: &str = "sha256-Na5WK3RpdUMSphZMbWS3mqgO9lJOxW2GEqQwVhOYBlA=";

/// The colours once more, for a reader who chose: `data-theme` at the root.
pub fn chosen() -> String {
    let block = |from: &str| {
        let (_, rest) = TONES.split_once(from).unwrap_or_default();
        rest.split_once('}').map_or("", |(block, _)| block).trim_start_matches(" {").trim().to_owned()
    };
    let (light, dark) = (block(":root"), block("(prefers-color-scheme: dark) {\n  :root"));
    let light = light.replace("color-scheme: light dark;", "");
    format!(
        ":root[data-theme=\"light\"] {{ color-scheme: light; {light} }}\n:root[data-theme=\"dark\"] {{ color-scheme: dark; {dark} }}\n"
    )
}
