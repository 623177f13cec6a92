//! Handshakes of TCP and TLS: when one ended, how long it took, and whether it was answered.

use model::record::{Connection, ConnectionOutcome};
use model::time::{Ns, SinceStart};

use crate::case::Case;
use crate::thresholds as at;

/// When the TCP handshake ended, however.
pub(crate) fn tcp_end(case: &Case<'_>, connection: &Connection) -> SinceStart {
    let took = connection.connect_ns.map(|took| connection.start_ns + took);
    took.or(connection.end_ns).unwrap_or(case.wall.1)
}

/// When the TLS handshake ended, however.
pub(crate) fn tls_end(case: &Case<'_>, connection: &Connection) -> SinceStart {
    let start = connection.tls_start_ns.unwrap_or(connection.start_ns);
    connection.tls_ns.map(|took| start + took).or(connection.end_ns).unwrap_or(case.wall.1)
}

/// How long the TLS handshake took, or takes so far.
pub(crate) fn tls_took(case: &Case<'_>, connection: &Connection) -> Ns {
    tls_end(case, connection).saturating_sub(connection.tls_start_ns.unwrap_or(connection.start_ns))
}

/// From the hello to the server's.
pub(crate) fn answered(connection: &Connection) -> Option<Ns> {
    let times = connection.server_hello_ns.zip(connection.tls_start_ns);
    times.map(|(hello, start)| hello.saturating_sub(start))
}

/// The hello was acknowledged, and of the answer came what is behind the part that did not.
pub(crate) fn is_blackhole(case: &Case<'_>, connection: &Connection) -> bool {
    tls_unanswered(case, connection)
        && connection.server_hello_ns.is_none()
        && connection.received_out_of_order.unwrap_or(0) > 0
}

/// The hello was sent, and nothing came.
pub(crate) fn tls_unanswered(case: &Case<'_>, connection: &Connection) -> bool {
    connection.tls_start_ns.is_some()
        && !connection.joined_late
        && connection.tls_version.is_none()
        && connection.alert.is_none()
        && connection.answered_in.is_none()
        && connection.outcome != ConnectionOutcome::Reset
        && (connection.tls_ns.is_none() || connection.tls_failed)
        && tls_took(case, connection) >= at::HELLO_UNANSWERED_NS
}
