//! Which experiments there are. Delays and pairs are chosen so that the noise of the loss stays
//! below 2 % of it: a small workload varies by a few milliseconds, the sample by some 5 % of its
//! two or three seconds.

use std::time::Duration;

use super::fault::Fault::{self, *};
use super::workload::Workload::{self, *};

/// What competes with the command, in both runs of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Beside {
    /// Nothing
    #[default]
    Nobody,
    /// Three processes that only compute
    Hogs,
    /// Three threads that write to the disk and wait for it; the module cache is on that disk
    Writers,
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
    pub beside: Beside,
    /// How many pairs
    pub pairs: usize,
}

/// Faults, delays in milliseconds, workload, neighbours, pairs.
const TABLE: [(Fault, &[u64], Workload, Beside, usize); 30] = [
    (Dns, &[200, 500, 2000], Small(1), Beside::Nobody, 8),
    (Connect, &[200, 500, 900], Small(1), Beside::Nobody, 8),
    (LostSyn, &[1000], Small(1), Beside::Nobody, 8),
    (Tls, &[200, 500, 2000], Small(1), Beside::Nobody, 8),
    (Proxy, &[50, 200], Small(4), Beside::Nobody, 8),
    (ProxyBody, &[500], Small(1), Beside::Nobody, 8),
    (Lookups, &[50, 200], Small(12), Beside::Nobody, 8),
    (Tiles, &[200], Small(1), Beside::Nobody, 8),
    (Toolchain, &[500, 2000], AnotherGo, Beside::Nobody, 8),
    (GoGet, &[500, 1500], Git, Beside::Nobody, 8),
    (GitFiles, &[100, 200], Git, Beside::Nobody, 8),
    (Lock, &[500, 2000], Small(1), Beside::Nobody, 8),
    (Disk, &[500, 2000], Small(1), Beside::Nobody, 8),
    (Dns, &[4000], Sample, Beside::Nobody, 8),
    (LostSyn, &[3000], Sample, Beside::Nobody, 8),
    (Tls, &[4000], Sample, Beside::Nobody, 8),
    (Proxy, &[50, 100], Sample, Beside::Nobody, 8),
    (ProxyBody, &[200], Sample, Beside::Nobody, 8),
    (Lookups, &[100, 200], Sample, Beside::Nobody, 8),
    (GoGet, &[8000], SampleAndGit, Beside::Nobody, 6),
    (Lock, &[8000], Sample, Beside::Nobody, 6),
    (Disk, &[4000], Sample, Beside::Nobody, 8),
    (Cpu, &[0], Sample, Beside::Nobody, 12),
    (Dns, &[2000], Small(1), Beside::Hogs, 8),
    (Tls, &[2000], Small(1), Beside::Hogs, 8),
    (Proxy, &[200], Small(4), Beside::Hogs, 8),
    (Lookups, &[200], Small(12), Beside::Hogs, 8),
    (Dns, &[2000], Small(1), Beside::Writers, 8),
    (Proxy, &[200], Small(4), Beside::Writers, 8),
    (Lookups, &[200], Small(12), Beside::Writers, 8),
];

/// Every experiment, in the order in which they are done.
pub fn all() -> Vec<Experiment> {
    let each = |(fault, delays, workload, beside, pairs): (Fault, &'static [u64], _, _, _)| {
        delays.iter().map(move |ms| Experiment {
            fault,
            delay: Duration::from_millis(*ms),
            workload,
            beside,
            pairs,
        })
    };
    TABLE.into_iter().flat_map(each).collect()
}

impl Experiment {
    /// The words it is chosen by: phase, fault, workload, neighbours.
    pub fn name(&self) -> String {
        let beside = match self.beside {
            Beside::Nobody => "",
            Beside::Hogs => " hogs",
            Beside::Writers => " writers",
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
