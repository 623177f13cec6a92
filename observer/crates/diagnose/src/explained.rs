//! Requests whose wait some finding explains: who judges slow answers leaves them out.

use std::collections::BTreeSet;

use crate::finding::Finding;
use model::id::RequestId;

/// Numbers of requests.
pub(crate) struct Explained(BTreeSet<RequestId>);

impl Explained {
    /// By these findings.
    pub(crate) fn by(found: &[Finding]) -> Self {
        Self(found.iter().flat_map(|finding| finding.explains.iter().copied()).collect())
    }

    /// Whether that request's wait is explained.
    pub(crate) fn contains(&self, request: RequestId) -> bool {
        self.0.contains(&request)
    }
}
