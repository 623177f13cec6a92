//! Remedies that are a server beside the command: `dns-cache`, `gateway`, `deadline`. This version
//! has none of them, and says so.

use crate::user_error::UserError;

/// The error of a remedy that this version has not.
pub(super) fn not_here(name: &str) -> Option<UserError> {
    let instead = match name {
        "dns-cache" => "try --with resolv='nameserver ADDRESS' with a nearer name server",
        "gateway" => "try --with proxy=URL with another mirror, or --with http1",
        "deadline" => "try `timeout 60 CMD`",
        _ => return None,
    };
    Some(UserError::new(format!("{name} is not in this version"), instead))
}
