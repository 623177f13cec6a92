//! What a detector found, and the stall that the report shows.

use model::evidence::Evidence;
use model::id::RequestId;
use model::record::{Gap, Phase};
use model::remedy::DEADLINE_LEAST;
use model::report::{Blame, Severity, Stall};
use model::stall::StallKind;
use model::time::Ns;

use super::blame::{from_outside, lasted_to_the_end};
use super::case::{Case, Span};
use super::fallback::{fell_back, went_on};
use super::offer::Offer;
use super::thresholds as at;

/// What a detector found.
pub(crate) struct Finding {
    /// Its name in the catalogue
    pub kind: StallKind,
    /// The phase it is in
    pub phase: Phase,
    /// Whom it is about
    pub host: Option<String>,
    /// From when to when
    pub span: Span,
    /// Blocked time
    pub cost_ns: Ns,
    /// In one sentence
    pub summary: String,
    /// What was seen
    pub evidence: Vec<Evidence>,
    /// What to do, where it is not the same for all of a kind
    pub advice: Option<&'static str>,
    /// The same with words of this run in it; goes first
    pub advice_here: Option<String>,
    /// What may be tried
    pub remedies: Vec<Offer>,
    /// What it is about failed for good: when the command failed, that is likely why
    pub fatal: bool,
    /// Whom to blame, where it is not the same for all of a kind
    pub blame: Option<Blame>,
    /// Never more than information
    pub info: bool,
    /// Never less than a warning, whatever it cost
    pub matters: bool,
    /// Requests whose wait it explains: findings about slow answers leave them out
    pub explains: Vec<RequestId>,
    /// Which one it is, of several of a kind and host: stays the same while the command runs
    pub about: u64,
}

/// Advice for a command that ended well: nobody runs it again for that.
fn without_repeating(advice: &str) -> &str {
    let rest = || advice.split_once("if it happens again, ").map(|(_, rest)| rest);
    if advice.starts_with("run it again") { rest().unwrap_or(advice) } else { advice }
}

impl Finding {
    /// What was found in a phase, of which nothing more is known yet.
    pub(crate) fn of(kind: StallKind, phase: Phase, span: Span) -> Self {
        Self {
            kind,
            phase,
            span,
            host: None,
            cost_ns: 0,
            summary: String::new(),
            evidence: Vec::new(),
            advice: None,
            advice_here: None,
            remedies: Vec::new(),
            fatal: false,
            blame: None,
            info: false,
            matters: false,
            explains: Vec::new(),
            about: 0,
        }
    }

    /// Says so where records were lost meanwhile.
    pub(crate) fn mark_gaps(&mut self, case: &Case<'_>) {
        let gaps = &case.command.gaps;
        let lost = |gap: &&Gap| gap.start_ns < self.span.1 && gap.end_ns > self.span.0;
        let lost: Ns = gaps.iter().filter(lost).map(|gap| gap.end_ns - gap.start_ns).sum();
        if lost > 0 {
            self.evidence.insert(0, Evidence::RecordsLost { lost_ns: lost });
        }
    }

    /// The stall it is.
    pub(crate) fn stall(self, case: &Case<'_>) -> Stall {
        debug_assert!(self.kind.phases().contains(&self.phase), "{} in {:?}", self.kind, self.phase);
        let severity = self.severity(case);
        let fatal = self.is_fatal(case);
        let restart = self.restart(case);
        let remedies = self.remedies.into_iter().chain(restart);
        let limit = if self.kind.hangs() { "timeout 300 " } else { "" };
        Stall {
            kind: self.kind.into(),
            phase: self.phase,
            host: self.host,
            severity,
            start_ns: self.span.0,
            end_ns: self.span.1,
            cost_ns: self.cost_ns,
            summary: self.summary,
            evidence: self.evidence,
            advice: self.advice_here.unwrap_or_else(|| {
                let advice = self.advice.unwrap_or_else(|| self.kind.advice());
                if case.record.exit_code == Some(0) { without_repeating(advice) } else { advice }.to_owned()
            }),
            fatal,
            remedies: remedies.map(|offer| offer.remedy(case, limit)).collect(),
        }
    }

    /// To start the command again, where one connection hung for as long as `deadline` waits, to the end: a new one
    /// may not.
    fn restart(&self, case: &Case<'_>) -> Option<Offer> {
        let of_one = matches!(self.kind, StallKind::H2Silent | StallKind::PathDead);
        let long = self.span.1.saturating_sub(self.span.0) >= DEADLINE_LEAST.as_nanos() as Ns;
        let goes_on = case.record.wall_ns.is_none() || from_outside(case).is_some();
        let why = "ends the command when nothing of it moves and starts it again: helps where one connection hangs, \
                   not where each does";
        (of_one && long && goes_on && lasted_to_the_end(case, self.span.1))
            .then(|| Offer::new("deadline", why))
    }

    fn is_fatal(&self, case: &Case<'_>) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        self.fatal
            && !self.info
            && case.failed()
            && !went_on(case, self.span.1)
            && !fell_back(case, host, self.span.1)
            // Whoever ends a command that waits does so because of what it waits for.
            && (lasted_to_the_end(case, self.span.1) || from_outside(case).is_none())
    }

    fn severity(&self, case: &Case<'_>) -> Severity {
        let share = |percent: u64| {
            self.cost_ns > 0
                && u128::from(self.cost_ns) * 100 >= u128::from(case.wall_ns()) * u128::from(percent)
        };
        if self.info {
            Severity::Info
        } else if self.is_fatal(case) || self.cost_ns >= at::CRITICAL_NS || share(at::CRITICAL_PERCENT) {
            Severity::Critical
        } else if self.matters || self.cost_ns >= at::WARNING_NS || share(at::WARNING_PERCENT) {
            Severity::Warning
        } else {
            Severity::Info
        }
    }
}
