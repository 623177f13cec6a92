//! Commands that have a service run their containers. In go programs that begin, out come requests to the
//! agent to follow what the service starts: until there is one (systemd starts podman's when it is asked).

use std::ffi::OsString;

use model::id::Pid;
use model::record::Service;
use model::remedy::container::Client;
use model::time::{Ns, SinceStart};

use crate::seam::{Seam, ToAgent};

/// How long a service is looked for.
const PATIENCE_NS: Ns = 3_000_000_000;
/// Clients that are looked after at a time.
const CLIENTS_MAX: usize = 16;

/// Clients whose service is not found yet, and what is known of those whose command has not begun yet: its
/// record is held back a little.
#[derive(Default)]
pub(super) struct Services {
    wanted: Vec<Wanted>,
    known: Vec<(Pid, Service)>,
}

struct Wanted {
    pid: Pid,
    client: String,
    since: SinceStart,
    /// It was reported that there is none yet
    reported: bool,
}

impl Services {
    /// A program begins, with these arguments, NUL behind each.
    pub(super) fn begun(&mut self, pid: Pid, args: &[u8], now: SinceStart, seam: &Seam) {
        let words: Vec<OsString> = args
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned().into())
            .collect();
        let Some(client) = Client::of(&words).filter(Client::is_remote) else { return };
        if self.wanted.len() < CLIENTS_MAX {
            self.wanted.push(Wanted {
                pid,
                client: client.program().to_owned(),
                since: now,
                reported: false,
            });
            self.ask(now, seam);
        }
    }

    /// Asks for those that are not found yet.
    pub(super) fn ask(&mut self, now: SinceStart, seam: &Seam) {
        self.wanted.retain(|wanted| now.saturating_sub(wanted.since) < PATIENCE_NS);
        for Wanted { pid, client, .. } in &self.wanted {
            let _ = seam.offer(&ToAgent::Service { pid: *pid, client: client.clone() }, &[]);
        }
    }

    /// What the agent found for a client.
    pub(super) fn answer(&mut self, pid: Pid, services: Vec<(Pid, String)>) {
        let Some(at) = self.wanted.iter().position(|wanted| wanted.pid == pid) else { return };
        let wanted = &mut self.wanted[at];
        let client = wanted.client.clone();
        let name = services.first().map(|(_, name)| name.clone());
        if name.is_some() {
            self.wanted.remove(at);
        } else if std::mem::replace(&mut wanted.reported, true) {
            return; // it is known that there is none yet
        }
        self.known.retain(|(known, _)| *known != pid);
        if self.known.len() >= CLIENTS_MAX {
            self.known.remove(0);
        }
        let pids = services.into_iter().map(|(pid, _)| pid).collect();
        self.known.push((pid, Service { client, pids, name }));
    }

    /// Hands over what is known; what `take` does not take is tried again.
    pub(super) fn hand_over(&mut self, mut take: impl FnMut(Pid, &Service) -> bool) {
        self.known.retain(|(pid, service)| !take(*pid, service));
    }
}
