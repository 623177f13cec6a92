//! Which experiments there are. Delays and pairs are chosen so that the noise of the loss stays
//! below 2 % of it on a quiet machine: a small workload's wall time varies by a few milliseconds,
//! the sample's by some 5 % of two seconds, so that it takes 4 s and more
//! to be lost. Where every answer of the sample is late there are two delays: the shorter one shows
//! what waits do to computing, the longer one that it does not grow with them.

use std::time::Duration;

use serde::Serialize;

use super::fault::Fault;
use super::workload::Workload;

/// What competes with the command, in both runs of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Competitor {
    /// Nothing
    #[default]
    Nobody,
    /// Three processes that only compute
    Hogs,
    /// Three threads that write to the disk and wait for it; the module cache is on that disk
    Writers,
    /// Nothing, but the file system of the module cache takes no writes half of the time
    SlowDisk,
}

/// A fault, how long it lasts, and what runs under it.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// What is slowed
    pub fault: Fault,
    /// By how much, each time
    pub delay: Duration,
    /// What runs
    pub workload: Workload,
    /// What competes with it
    pub competitor: Competitor,
    /// How many pairs
    pub pairs: usize,
}

/// Faults, delays in milliseconds, workload, neighbours, pairs.
const TABLE: [(Fault, &[u64], Workload, Competitor, usize); 48] = [
    (Fault::Dns, &[200, 500, 2000], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Connect, &[200, 500, 900], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::LostSyn, &[1000], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Tunnel, &[200, 500, 2000], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Tls, &[200, 500, 2000], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Goauth, &[500, 2000], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Cacheprog, &[500, 1500], Workload::Packages(4), Competitor::Nobody, 6),
    (Fault::Generate, &[1000, 3000], Workload::Packages(1), Competitor::Nobody, 6),
    (Fault::Toolexec, &[500, 2000], Workload::Packages(4), Competitor::Nobody, 6),
    (Fault::Test, &[8000], Workload::Tested, Competitor::Nobody, 6),
    (Fault::TestRequests, &[2000], Workload::Tested, Competitor::Nobody, 6),
    (Fault::Proxy, &[50, 200], Workload::Small(4), Competitor::Nobody, 6),
    (Fault::ProxyBody, &[500], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Lookups, &[50, 200], Workload::Small(12), Competitor::Nobody, 6),
    (Fault::Tiles, &[500], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Toolchain, &[500, 2000], Workload::AnotherGo, Competitor::Nobody, 6),
    (Fault::GoGet, &[1000, 3000], Workload::Git, Competitor::Nobody, 8),
    (Fault::GitFiles, &[200, 400], Workload::Git, Competitor::Nobody, 8),
    (Fault::References, &[1000], Workload::Git, Competitor::Nobody, 8),
    (Fault::Greeting, &[1000, 2000], Workload::GitSsh, Competitor::Nobody, 8),
    (Fault::Agent, &[1000, 2000], Workload::GitSsh, Competitor::Nobody, 8),
    (Fault::Askpass, &[1000, 2000], Workload::GitSsh, Competitor::Nobody, 8),
    (Fault::Lock, &[500, 2000], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Disk, &[500, 2000], Workload::Small(1), Competitor::Nobody, 6),
    (Fault::Dns, &[4500], Workload::Sample, Competitor::Nobody, 8),
    (Fault::LostSyn, &[4000], Workload::Sample, Competitor::Nobody, 8),
    (Fault::Tunnel, &[8000], Workload::Sample, Competitor::Nobody, 6),
    (Fault::Tls, &[8000], Workload::Sample, Competitor::Nobody, 6),
    (Fault::Goauth, &[8000], Workload::Sample, Competitor::Nobody, 6),
    (Fault::Proxy, &[60, 180], Workload::Sample, Competitor::Nobody, 6),
    (Fault::ProxyBody, &[200, 600], Workload::Sample, Competitor::Nobody, 6),
    (Fault::Lookups, &[100], Workload::Sample, Competitor::Nobody, 6),
    (Fault::GoGet, &[8000], Workload::SampleAndGit, Competitor::Nobody, 6),
    (Fault::Lock, &[8000], Workload::Sample, Competitor::Nobody, 6),
    (Fault::Disk, &[8000], Workload::Sample, Competitor::Nobody, 6),
    (Fault::Cpu, &[0], Workload::Sample, Competitor::Nobody, 8),
    (Fault::Dns, &[2000], Workload::Small(1), Competitor::Hogs, 6),
    (Fault::Tls, &[2000], Workload::Small(1), Competitor::Hogs, 6),
    (Fault::Tunnel, &[2000], Workload::Small(1), Competitor::Hogs, 6),
    (Fault::Goauth, &[2000], Workload::Small(1), Competitor::Hogs, 6),
    (Fault::Cacheprog, &[1000], Workload::Packages(4), Competitor::Hogs, 6),
    (Fault::Generate, &[3000], Workload::Packages(1), Competitor::Hogs, 6),
    (Fault::Proxy, &[200], Workload::Small(4), Competitor::Hogs, 6),
    (Fault::Lookups, &[150], Workload::Sample, Competitor::Hogs, 6),
    (Fault::Proxy, &[200], Workload::Small(4), Competitor::Writers, 6),
    (Fault::Lookups, &[100], Workload::Sample, Competitor::Writers, 6),
    (Fault::Dns, &[2000], Workload::Small(1), Competitor::SlowDisk, 6),
    (Fault::Proxy, &[500], Workload::Small(2), Competitor::SlowDisk, 6),
];

/// Every experiment, in the order in which they are done.
pub fn all() -> Vec<Experiment> {
    let each = |(fault, delays, workload, competitor, pairs): (Fault, &'static [u64], _, _, _)| {
        delays.iter().map(move |ms| Experiment {
            fault,
            delay: Duration::from_millis(*ms),
            workload,
            competitor,
            pairs,
        })
    };
    TABLE.into_iter().flat_map(each).collect()
}

/// Columns of the table by phase.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Small workloads
    Small,
    /// The sample's modules, where downloads, unzipping and delays overlap
    Sample,
    /// Either beside something else
    Competitor,
}

impl Experiment {
    /// Its column.
    pub fn group(&self) -> Group {
        match (self.competitor, self.workload) {
            (Competitor::Nobody, Workload::Sample | Workload::SampleAndGit) => Group::Sample,
            (Competitor::Nobody, _) => Group::Small,
            _ => Group::Competitor,
        }
    }

    /// The words it is chosen by: phase, fault, workload, neighbours.
    pub fn name(&self) -> String {
        let beside = match self.competitor {
            Competitor::Nobody => "",
            Competitor::Hogs => " hogs",
            Competitor::Writers => " writers",
            Competitor::SlowDisk => " slow-disk",
        };
        let ms = self.delay.as_millis();
        let delay = if ms == 0 { String::new() } else { format!(" {ms} ms") };
        format!("{} {}{delay} {}{beside}", self.fault.phase(), self.fault.name(), self.workload.name())
    }

    /// Whether one of the words is in its name; without words every experiment is chosen.
    pub fn is_chosen(&self, words: &[String]) -> bool {
        let name = self.name();
        words.is_empty() || words.iter().any(|word| word.split('+').all(|part| has_word(&name, part)))
    }
}

fn has_word(name: &str, word: &str) -> bool {
    name.split(' ').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_phase_that_can_be_slowed_is_slowed_by_two_delays_or_more() {
        let all = all();
        for phase in [
            "dns",
            "connect",
            "tunnel",
            "tls",
            "auth",
            "proxy",
            "sumdb",
            "toolchain",
            "vcs",
            "cache",
            "child",
            "lock",
            "local",
        ] {
            let small = all.iter().filter(|one| one.fault.phase() == phase && one.group() == Group::Small);
            let delays: BTreeSet<Duration> = small.map(|one| one.delay).collect();
            assert!(delays.len() >= 2, "{phase}: {delays:?}");
        }
    }

    #[test]
    fn names_are_unique_and_their_words_choose() {
        let all = all();
        let names: BTreeSet<String> = all.iter().map(Experiment::name).collect();
        assert_eq!(names.len(), all.len());
        let chosen = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            all.iter().filter(|one| one.is_chosen(&words)).map(Experiment::name).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[]).len(), all.len());
        assert_eq!(
            chosen(&["lock+sample", "tiles"]),
            ["sumdb tiles 500 ms small", "lock held 8000 ms sample"]
        );
        assert_eq!(chosen(&["sam", "lock+tiles"]), [""; 0]);
    }
}
