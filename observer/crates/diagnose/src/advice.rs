//! A stall in, the one step to take against it out. What there is to do about a kind is in
//! [`model::stall`].

use model::report::Stall;

/// The next step against a stall: what kind of step it is, and the step.
pub fn next_step(stall: &Stall) -> Option<(&'static str, &str)> {
    let remedy = stall.remedies.first();
    let attempt = remedy.map(|remedy| if remedy.attempt.is_empty() { &remedy.name } else { &remedy.attempt });
    let advice = Some(&stall.advice).filter(|advice| !advice.is_empty());
    attempt.map(|attempt| ("try", attempt.as_str())).or_else(|| Some(("do", advice?)))
}
