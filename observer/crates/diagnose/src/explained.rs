//! Requests whose wait some finding explains: who judges slow answers leaves them out.

use std::collections::BTreeSet;

use crate::finding::Finding;

/// Numbers of requests.
pub(crate) struct Explained(BTreeSet<u32>);

impl Explained {
    /// By these findings.
    pub(crate) fn by(found: &[Finding]) -> Self {
        Self(found.iter().flat_map(|finding| finding.explains.iter().copied()).collect())
    }

    /// Whether that request's wait is explained.
    pub(crate) fn contains(&self, request: u32) -> bool {
        self.0.contains(&request)
    }
}
