//! `goobserve explain`: a name in, the page of docs/stalls.md that has it out; or what may have been meant.

use model::record::Phase;
use model::user_error::UserError;
use render::explain;
use render::page::Options;

/// Names that are this alike, of 1, may have been meant.
const ALIKE: f64 = 0.6;
/// So many are suggested.
const MOST: usize = 3;

/// The page of a kind of stall or of a phase; the list of all without a name.
pub fn text(name: Option<&str>, options: Options) -> Result<String, UserError> {
    let Some(typed) = name else { return Ok(explain::list(options)) };
    let name = typed.trim().to_lowercase().replace(['_', ' '], "-");
    if let Some(section) = explain::of(&name) {
        return Ok(explain::text(&section, options));
    }
    if let Some(phase) = Phase::ALL.into_iter().find(|phase| phase.name() == name) {
        return Ok(explain::phase(phase, options));
    }
    let alike = alike(&name);
    let hint = match alike.as_slice() {
        [] => "goobserve explain".to_owned(),
        [best] => format!("goobserve explain {best}"),
        [best, others @ ..] => format!("goobserve explain {best} (or {})", others.join(", ")),
    };
    Err(UserError::new(format!("{typed:?} is no kind of stall and no phase"), hint))
}

/// Names that are written much like this one, or hold it; the likeliest first.
fn alike(name: &str) -> Vec<&'static str> {
    let phases = Phase::ALL.into_iter().map(Phase::name);
    let names = explain::sections().map(|section| section.kind).chain(phases);
    let mut alike: Vec<(f64, &str)> = names
        .map(|known| {
            let held = if name.len() > 2 && known.contains(name) { 1.0 } else { 0.0 };
            (strsim::normalized_damerau_levenshtein(name, known).max(held), known)
        })
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    alike.into_iter().take(MOST).map(|(_, known)| known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_answered_with_what_may_be_meant() {
        let hint = |name: &str| text(Some(name), Options::default()).unwrap_err().hint;
        assert!(hint("dns-timout").starts_with("goobserve explain dns-timeout"));
        assert!(hint("goaway").starts_with("goobserve explain h2-goaway"));
        assert_eq!(hint("zzzzzzzzzzzz"), "goobserve explain");
    }

    #[test]
    fn kinds_phases_and_the_list_have_a_page() {
        let page = |name| text(name, Options::default()).unwrap();
        let kind = page(Some("DNS_Timeout"));
        for part in [
            "dns-timeout\n",
            "You see   nothing for 5 s",
            "\nDo        ",
            "Example\n  sudo goobserve compare ",
        ] {
            assert!(kind.contains(part), "{part}: {kind}");
        }
        assert!(page(Some("tls")).contains("  tls-slow"));
        assert!(page(None).contains("  cacheprog-slow"));
    }
}
