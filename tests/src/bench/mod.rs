//! What the benchmarks share: running the same command alone and observed, and what each cost.

pub mod alone;
pub mod args;
pub mod capture;
pub mod few;
pub mod order;
pub mod process;
pub mod programs;
pub mod recording;
pub mod served;
pub mod short;
pub mod verdict;
pub mod watched;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

impl Lab {
    /// Waits until every connection is closed, empties the logs, and says how many requests
    /// there were.
    pub fn forget(&self) -> Result<usize> {
        ensure!(self.proxy.log().settled(Duration::from_secs(10)), "connections stayed open");
        self.dns.take_log();
        Ok(self.proxy.log().take().1.len())
    }
}
