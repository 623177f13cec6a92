//! What of a bad way reaches go: `faults [RUNS] [NAME…] [--whole]`. Cold `go mod download` in the lab, three ways in
//! turn, RUNS times (50 by default): the remedy on the healthy way, the bad way without it, and with it. Ten modules
//! of the sample, without go.sum, so that the checksum database is asked, too; with `--whole` all 79. Prints a table
//! in Markdown; the status is 1 when a run with the remedy failed, or when its 95 % point is beyond 1.5 times the
//! healthy median.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::bench::args::Args;
use tests::bench::served::Served;
use tests::dns::DnsFaults;
use tests::go_env::GoOptions;
use tests::lab::{Lab, RESET_HOST};
use tests::net::Place;
use tests::proxy::{Answer, CutBody, Faults, Matcher, ResetBody, StreamReset, paths};
use tests::wire::{Direction, Loss, LostSyns, WireFaults};

/// The 95 % point is at most so many times the healthy median.
const TIMES: f64 = 1.5;
/// A run that takes longer has failed, seconds: ten times what it takes on the healthy way; go's own limits lie beyond.
const LIMIT_S: u64 = 12;
/// The same for all modules.
const LIMIT_WHOLE_S: u64 = 40;

/// A bad way.
struct Case {
    name: &'static str,
    proxy: Faults,
    dns: DnsFaults,
    /// Of the way, in a lab with one; it takes 60 ms there and back
    wire: Option<WireFaults>,
    /// GOPROXY has a proxy in front that nobody reaches
    dead_upstream: bool,
}

impl Case {
    fn of(name: &'static str, proxy: Faults) -> Self {
        Self { name, proxy, dns: DnsFaults::default(), wire: None, dead_upstream: false }
    }
}

/// A random part of all requests.
fn percent(many: u64) -> Matcher {
    let state = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
    paths(move |_| {
        // splitmix64
        let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % 100 < many
    })
}

fn cases(far: &Lab) -> Vec<Case> {
    let resets = StreamReset { matches: percent(10), code: 2, left: Arc::new(AtomicU32::new(u32::MAX)) };
    let broken = ResetBody { matches: percent(5), after_bytes: 0 };
    let bad_gateway = Answer { matches: percent(5), status: 502, retry_after_s: None };
    // A tenth of all bodies, each somewhere.
    let cuts = [1, 100, 700, 5_000, 40_000].map(|after_bytes| CutBody { matches: percent(2), after_bytes });
    let both = |percent| {
        let of = |direction| Loss { direction, percent, after_bytes: 0 };
        vec![of(Direction::ToClient), of(Direction::ToServer)]
    };
    let dead = far.address(RESET_HOST).into_iter().map(|to| LostSyns { to: to.into(), first: None });
    vec![
        Case::of("10 % of requests reset", Faults { stream_resets: vec![resets], ..Faults::default() }),
        Case::of(
            "connections reset in 5 % of bodies",
            Faults { reset_bodies: vec![broken], ..Faults::default() },
        ),
        Case::of("GOAWAY every 20 requests", Faults { goaway_after: Some(20), ..Faults::default() }),
        Case::of("502 for 5 %", Faults { answers: vec![bad_gateway], ..Faults::default() }),
        Case::of("10 % of bodies cut", Faults { cut_bodies: cuts.to_vec(), ..Faults::default() }),
        Case {
            wire: Some(WireFaults { loss: both(2), ..WireFaults::default() }),
            ..Case::of("2 % of packets lost, 60 ms", Faults::default())
        },
        Case {
            wire: Some(WireFaults { lost_syns: dead.collect(), ..WireFaults::default() }),
            dead_upstream: true,
            ..Case::of("one of two upstreams dead, 60 ms", Faults::default())
        },
        Case {
            dns: DnsFaults { lose_percent: 20, ..DnsFaults::default() },
            ..Case::of("name server loses 20 %", Faults::default())
        },
    ]
}

/// Runs of one way.
#[derive(Default)]
struct Runs {
    failed: usize,
    took: Vec<f64>,
}

impl Runs {
    fn add(&mut self, (ok, took): (bool, Duration)) {
        self.failed += usize::from(!ok);
        self.took.push(took.as_secs_f64());
        self.took.sort_by(f64::total_cmp);
    }

    /// So many per cent took no longer.
    fn at(&self, percent: usize) -> f64 {
        self.took[(self.took.len() * percent).div_ceil(100).max(1) - 1]
    }
}

struct Bench<'a> {
    lab: &'a Lab,
    options: GoOptions,
}

impl Bench<'_> {
    fn set(&self, case: &Case, healthy: bool) {
        let of = |faults: &Faults| if healthy { Faults::default() } else { faults.clone() };
        // On loopback a healthy answer takes no time at all.
        let near = if case.wire.is_some() { Duration::ZERO } else { Duration::from_millis(10) };
        self.lab.proxy.set_faults(Faults { request_delay: near, ..of(&case.proxy) });
        self.lab.dns.set_faults(if healthy { DnsFaults::default() } else { case.dns.clone() });
        if let (Some(wire), Some(faults)) = (&self.lab.net.wire, &case.wire) {
            let faults = if healthy { WireFaults::default() } else { faults.clone() };
            wire.set_faults(WireFaults { rtt: Duration::from_millis(60), ..faults });
        }
    }

    /// One download.
    fn run(&self, case: &Case, healthy: bool, remedy: bool) -> Result<(bool, Duration)> {
        self.set(case, healthy);
        let mut options = self.options.clone();
        let two = format!("https://{RESET_HOST}|https://proxy.test");
        if case.dead_upstream && !healthy {
            options.env.push(("GOPROXY".into(), two.clone()));
        }
        let run = self.lab.go_run(&options)?;
        let limit = if self.options.few { LIMIT_S } else { LIMIT_WHOLE_S }.to_string();
        let began;
        let output = if remedy && case.dns.lose_percent > 0 {
            let mut command = run.command("timeout");
            command.arg(&limit).arg(tests::goobserve::binary()?);
            command.args(["run", "--report", "none", "--with", "dns-cache", "--", "go", "mod", "download"]);
            began = Instant::now();
            self.lab.output(&mut command)?
        } else {
            let list = (case.dead_upstream && !healthy).then_some(two.as_str());
            let served = if remedy { Some(Served::start(self.lab, &run, list)?) } else { None };
            let mut go = run.command("timeout");
            go.args([&limit, "go", "mod", "download"]);
            go.envs(served.as_ref().map(|served| ("GOPROXY", &served.goproxy)));
            began = Instant::now();
            self.lab.output(&mut go)?
        };
        let took = began.elapsed();
        let ok = output.status.success();
        if remedy && !ok {
            eprintln!("{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
        }
        Ok((ok, took))
    }
}

fn main() -> Result<()> {
    // The labs are gone by then.
    exit(i32::from(!is_good()?));
}

/// Whether all is as it must be.
fn is_good() -> Result<bool> {
    let args = Args::read("faults [RUNS] [NAME…] [--whole]")?;
    let runs = args.count.unwrap_or(50);
    let (near, far) = (Lab::start()?, Lab::start_in(Place::Wire)?);
    let options = GoOptions { few: !args.has("--whole"), gomaxprocs: Some(2), ..GoOptions::default() };
    let all = cases(&far);
    let wanted: Vec<&Case> = all
        .iter()
        .filter(|case| args.names.is_empty() || args.names.iter().any(|name| case.name.contains(name)))
        .collect();
    ensure!(!wanted.is_empty(), "no fault has that name");
    println!(
        "| fault | failed without | failed with | healthy, median | 95 % | without, median | 95 % | with, median | 95 % | 95 % to healthy |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    let mut good = true;
    for case in wanted {
        let bench = Bench { lab: if case.wire.is_some() { &far } else { &near }, options: options.clone() };
        let (mut healthy, mut without, mut with) = (Runs::default(), Runs::default(), Runs::default());
        for _ in 0..runs {
            healthy.add(bench.run(case, true, true)?);
            without.add(bench.run(case, false, false)?);
            with.add(bench.run(case, false, true)?);
        }
        ensure!(healthy.failed == 0, "{}: failed on the healthy way", case.name);
        let times = with.at(95) / healthy.at(50);
        good &= with.failed == 0 && times <= TIMES;
        println!(
            "| {} | {} of {runs} | {} of {runs} | {:.2} s | {:.2} s | {:.2} s | {:.2} s | {:.2} s | {:.2} s | {times:.2} |",
            case.name,
            without.failed,
            with.failed,
            healthy.at(50),
            healthy.at(95),
            without.at(50),
            without.at(95),
            with.at(50),
            with.at(95),
        );
    }
    Ok(good)
}
