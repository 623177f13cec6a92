//! Starts of go behind scripts, shells and make: `wrapped [STARTS]`. So many starts (100 unless given), the
//! ways in turn, each by a `goobserve run` of its own and with a go binary that nobody has ever run. Of each:
//! whether the report has every request, query and connection that the servers' logs have.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Result;
use tests::bench::args::Args;
use tests::lab::Lab;
use tests::wrapped::{WAYS, download};

fn main() -> Result<()> {
    let starts = Args::read("wrapped [STARTS]")?.count.unwrap_or(100);
    let lab = Lab::start()?;
    let mut complete = [(0_usize, 0_usize); WAYS.len()];
    for number in 0..starts {
        let way = number % WAYS.len();
        let download = download(&lab, WAYS[way].1)?;
        // A panic says what is missing.
        let is = catch_unwind(AssertUnwindSafe(|| download.is_complete(&lab))).is_ok();
        complete[way] = (complete[way].0 + usize::from(is), complete[way].1 + 1);
    }
    for ((name, _), (is, of)) in WAYS.iter().zip(complete) {
        println!("{name:<20} {is} of {of}");
    }
    println!("complete             {} of {starts}", complete.iter().map(|(is, _)| is).sum::<usize>());
    Ok(())
}
