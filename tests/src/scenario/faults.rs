//! From a scenario file to what the lab's servers and its wire do.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use anyhow::{Context, Result};

use super::spec::{Class, DirectionSpec, DnsSpec, ForwardSpec, HelperSpec, ProxySpec, Spoken, WireSpec};
use crate::dns::{DnsFaults, v6};
use crate::forward::{ForwardFaults, ForwardOptions, Protocol, Then};
use crate::helpers::Helper;
use crate::lab::Lab;
use crate::proxy::{
    Answer, BodyStall, Fake, Faults, HeadDelay, Matcher, Redirect, ResetBody, SlowBody, StreamReset, paths,
};
use crate::wire::{Death, Direction, HelloLoss, Loss, LostSyns, WireFaults, ZeroWindow};

/// A pause that outlasts every scenario.
const FOR_EVER: Duration = Duration::from_secs(3600);

impl Class {
    /// The class of a request by its path.
    fn of(path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        // Through a proxy the database's paths have its name before them.
        let of_sumdb = path.strip_prefix("/sumdb/").and_then(|rest| rest.split_once('/'));
        let database = of_sumdb.map_or_else(|| path.trim_start_matches('/'), |(_, rest)| rest);
        if query.contains("go-get=1") {
            Self::GoGet
        } else if database == "supported" {
            Self::SumdbSupported
        } else if database == "latest" {
            Self::SumdbLatest
        } else if database.starts_with("lookup/") {
            Self::SumdbLookup
        } else if database.starts_with("tile/") {
            Self::SumdbTile
        } else if path.starts_with("/golang.org/toolchain/@v/") {
            Self::Toolchain
        } else if path.ends_with("/@v/list") {
            Self::List
        } else if path.ends_with("/@latest") {
            Self::Latest
        } else {
            match path.rsplit_once('.').map(|(_, ending)| ending) {
                Some("info") => Self::Info,
                Some("mod") => Self::Mod,
                Some("zip") => Self::Zip,
                _ => Self::Other,
            }
        }
    }

    fn matcher(self) -> Matcher {
        paths(move |path| self == Self::Any || self == Self::of(path))
    }
}

impl DnsSpec {
    pub(super) fn faults(&self) -> DnsFaults {
        let ms = Duration::from_millis;
        DnsFaults {
            delay: ms(self.delay_ms),
            delay_a: ms(self.delay_a_ms),
            delay_aaaa: ms(self.delay_aaaa_ms),
            delay_unknown: ms(self.delay_unknown_ms),
            silent_aaaa: self.silent_aaaa,
            aaaa: self.aaaa,
            drop_first: self.drop_first,
            servfail: self.servfail,
            lose_percent: 0,
            servfail_first: self.servfail_first,
            truncate: self.truncate,
        }
    }

    /// Lines of resolv.conf beside the name server's.
    pub(super) fn resolv_conf(&self) -> String {
        let search = if self.search.is_empty() { None } else { Some(self.search.join(" ")) };
        let lines = [("search", search), ("options", self.options.clone())];
        lines.into_iter().filter_map(|(name, value)| Some(format!("{name} {}\n", value?))).collect()
    }
}

impl ProxySpec {
    pub(super) fn faults(&self) -> Faults {
        let ms = Duration::from_millis;
        let stalls = self.body.iter().filter(|body| body.bytes_per_s.is_none());
        let slow = self.body.iter().filter_map(|body| Some((body.class, body.bytes_per_s?)));
        Faults {
            tls_delay: ms(self.tls_delay_ms),
            http1_only: self.http1_only,
            one_request_each: self.one_request_each,
            max_streams: self.max_streams,
            goaway_after: self.goaway_after,
            reset_sni: self.reset_sni.clone(),
            head_delays: self
                .head
                .iter()
                .map(|head| HeadDelay { matches: head.class.matcher(), delay: ms(head.delay_ms) })
                .collect(),
            body_stalls: stalls
                .map(|body| BodyStall {
                    matches: body.class.matcher(),
                    after_bytes: body.after_bytes,
                    delay: body.delay_ms.map_or(FOR_EVER, ms),
                })
                .collect(),
            slow_bodies: slow
                .map(|(class, bytes_per_s)| SlowBody { matches: class.matcher(), bytes_per_s })
                .collect(),
            answers: self
                .answer
                .iter()
                .map(|answer| {
                    let (class, containing) = (answer.class.matcher(), answer.containing.clone());
                    let matches = move |path: &str| {
                        class.is_for(path) && containing.as_ref().is_none_or(|part| path.contains(part))
                    };
                    Answer {
                        matches: paths(matches),
                        status: answer.status,
                        retry_after_s: answer.retry_after_s,
                    }
                })
                .collect(),
            fakes: self
                .fake
                .iter()
                .map(|fake| Fake { matches: fake.class.matcher(), bytes: fake.bytes })
                .collect(),
            reset_bodies: self
                .cut
                .iter()
                .map(|cut| ResetBody { matches: cut.class.matcher(), after_bytes: cut.after_bytes })
                .collect(),
            redirects: self
                .redirect
                .iter()
                .map(|redirect| Redirect { matches: redirect.class.matcher(), to: redirect.to.clone() })
                .collect(),
            stream_resets: self
                .reset
                .iter()
                .map(|reset| StreamReset {
                    matches: reset.class.matcher(),
                    code: reset.code,
                    left: Arc::new(AtomicU32::new(reset.times)),
                })
                .collect(),
            ..Faults::default()
        }
    }
}

impl ForwardSpec {
    pub(super) fn options(&self) -> ForwardOptions {
        let protocol = match self.protocol {
            Spoken::Connect => Protocol::Connect,
            Spoken::Socks5 => Protocol::Socks5,
        };
        let password = self.password.then(|| ("lab".to_owned(), "secret".to_owned()));
        ForwardOptions { protocol, over_tls: self.over_tls, password, nagle: self.nagle }
    }

    pub(super) fn faults(&self) -> ForwardFaults {
        let then = match (self.refuse, self.reset, self.silent) {
            (Some(with), _, _) => Then::Refused(with),
            (None, true, _) => Then::Reset,
            (None, false, true) => Then::Silent,
            (None, false, false) => Then::Stands,
        };
        ForwardFaults { delay: Duration::from_millis(self.delay_ms), then }
    }
}

impl HelperSpec {
    /// Writes what there is into that folder: variables that name it.
    pub(super) fn env(&self, folder: &Path) -> Result<Vec<(String, String)>> {
        let all = [
            ("GOAUTH", Helper::Token, self.goauth_ms),
            ("GOAUTH", Helper::Leaving, self.goauth_leaves_ms),
            ("GOCACHEPROG", Helper::Cache, self.cacheprog_ms),
            ("GOFLAGS", Helper::Tool, self.toolexec_ms),
            ("GIT_ASKPASS", Helper::Askpass, self.askpass_ms),
        ];
        let mut env = Vec::new();
        for (name, helper, ms) in all {
            let Some(takes) = ms.map(Duration::from_millis) else { continue };
            let line = helper.write(folder, takes)?;
            let value = if name == "GOFLAGS" { format!("-modcacherw '-toolexec={line}'") } else { line };
            env.push((name.to_owned(), value));
        }
        Ok(env)
    }
}

impl WireSpec {
    /// The faults, with hosts as their addresses in that lab.
    pub(super) fn faults(&self, lab: &Lab, rtt: Duration) -> Result<WireFaults> {
        let address = |host: &str, six: bool| -> Result<IpAddr> {
            let address = lab.address(host).with_context(|| format!("{host} is no host of the lab"))?;
            Ok(if six { v6(address).into() } else { address.into() })
        };
        let lost_syns = self
            .lost_syn
            .iter()
            .map(|syn| Ok(LostSyns { to: address(&syn.host, syn.v6)?, first: syn.first }));
        let naming = self.lost_hello.iter().map(|hello| HelloLoss::Naming(hello.naming.clone()));
        let lost_hellos = naming.chain(self.large_hellos_lost.then_some(HelloLoss::LargerThanAPacket));
        let loss = self.loss.iter().map(|loss| Loss {
            direction: match loss.direction {
                DirectionSpec::ToServer => Direction::ToServer,
                DirectionSpec::ToClient => Direction::ToClient,
            },
            percent: loss.percent,
            after_bytes: loss.after_bytes,
        });
        let deaths = self.death.iter().map(|death| {
            let times = death.times.unwrap_or(u32::MAX);
            Ok(Death { with: address(&death.host, false)?, after_bytes: death.after_bytes, times })
        });
        let zero_windows = self.zero_window.iter().map(|zero| {
            let lasts = Duration::from_millis(zero.lasts_ms);
            Ok(ZeroWindow { of: address(&zero.host, false)?, after_bytes: zero.after_bytes, lasts })
        });
        Ok(WireFaults {
            rtt,
            lost_syns: lost_syns.collect::<Result<_>>()?,
            delayed_syns: Duration::ZERO,
            lost_hellos: lost_hellos.collect(),
            large_lost: self.large_lost,
            loss: loss.collect(),
            deaths: deaths.collect::<Result<_>>()?,
            zero_windows: zero_windows.collect::<Result<_>>()?,
            large_losses: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_of_the_class_that_the_report_names() {
        for (path, class) in [
            ("/a.test/m/@v/list", Class::List),
            ("/a.test/m/@latest", Class::Latest),
            ("/a.test/m/@v/v1.0.0.info", Class::Info),
            ("/a.test/m/@v/v1.0.0.mod", Class::Mod),
            ("/a.test/m/@v/v1.0.0.zip", Class::Zip),
            ("/sumdb/sumdb.test/supported", Class::SumdbSupported),
            ("/sumdb/sumdb.test/lookup/a.test/m@v1.0.0", Class::SumdbLookup),
            ("/lookup/a.test/m@v1.0.0", Class::SumdbLookup),
            ("/tile/8/0/001", Class::SumdbTile),
            ("/latest", Class::SumdbLatest),
            ("/golang.org/toolchain/@v/v0.0.1-go1.99.0.linux-amd64.zip", Class::Toolchain),
            ("/lib?go-get=1", Class::GoGet),
            ("/lib.git/info/refs", Class::Other),
        ] {
            assert_eq!(Class::of(path), class, "{path}");
        }
    }
}
