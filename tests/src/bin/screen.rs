//! What the dashboard costs and how late it is, on a pseudo terminal of 120×40: `screen
//! [idle|latency|long…] [--seconds N] [--tries N]`; all three unless some are named.
//!
//! idle: CPU of all of goobserve's processes while no go command runs, for so many seconds.
//! latency: from a query's arrival at the name server, a request's at the proxy, or just before
//! a process is started, to the bytes that draw it. long: memory while short go commands run one
//! after the other for so many seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::bench::args::Args;
use tests::bench::process::cpu_ns;
use tests::bench::short::Short;
use tests::clock::monotonic_ns;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::screen::Screen;
use tests::stats::quantile;
use tests::watching::Memory;

/// What `watch` says before the first command.
const NOTHING: &str = "no go command runs";
/// Go commands that are started one after the other beside one `watch`.
const STARTS: usize = 40;

fn main() -> Result<()> {
    let args = Args::read("screen [NAME…] [--seconds N] [--tries N]")?;
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|asked| asked == name);
    let lab = Lab::start()?;
    if wanted("idle") {
        idle(&lab, Duration::from_secs(args.value("--seconds")?.unwrap_or(60)))?;
    }
    if wanted("latency") {
        latency(&lab, args.value("--tries")?.unwrap_or(10))?;
    }
    if wanted("long") {
        long(&lab, Duration::from_secs(args.value("--seconds")?.unwrap_or(120)))?;
    }
    Ok(())
}

fn watch(lab: &Lab, seen: impl FnMut(u64, &str) + Send + 'static) -> Result<Screen> {
    let screen = Screen::start(lab, &lab.go_run(&GoOptions::default())?, &["watch"], seen)?;
    screen.until(NOTHING);
    Ok(screen)
}

fn leave(mut screen: Screen) -> Result<()> {
    screen.keys("q")?;
    let status = screen.end()?;
    ensure!(status.success(), "goobserve ended with {status}");
    Ok(())
}

fn idle(lab: &Lab, time: Duration) -> Result<()> {
    let screen = watch(lab, |_, _| {})?;
    sleep(Duration::from_secs(2)); // what starting takes is not idling
    let pids = screen.pids();
    let cpu = || -> Result<u64> { pids.iter().map(|pid| cpu_ns(*pid).context("goobserve has gone")).sum() };
    let (before, begun) = (cpu()?, Instant::now());
    sleep(time);
    let (used, took) = (cpu()? - before, begun.elapsed());
    ensure!(screen.text().contains(NOTHING), "somebody ran a go command: this was not idle");
    println!(
        "idle: {:.2} % of a CPU, {} processes, {:.0} s",
        used as f64 / took.as_nanos() as f64 * 100.0,
        pids.len(),
        took.as_secs_f64()
    );
    leave(screen)
}

/// Numbers that a command's screen shows, and when it first did.
#[derive(Default)]
struct Counts {
    requests: Vec<(u64, usize)>,
    queries: Vec<(u64, usize)>,
}

impl Counts {
    fn see(&mut self, at: u64, text: &str) {
        let grow = |history: &mut Vec<(u64, usize)>, title| {
            if let Some(number) = number_after(text, title)
                && history.last().is_none_or(|(_, last)| *last < number)
            {
                history.push((at, number));
            }
        };
        grow(&mut self.requests, "2 requests ");
        grow(&mut self.queries, "3 dns ");
    }
}

/// The number that a view's title bears.
fn number_after(text: &str, title: &str) -> Option<usize> {
    let titles = text.lines().find(|line| line.contains("1 timeline"))?;
    let rest = titles.split_once(title)?.1;
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// By number: from when it happened to when so many were shown; those that never were are `None`.
fn delays(happened: &[u64], shown: &[(u64, usize)]) -> Vec<Option<f64>> {
    let shown_at = |number: usize| shown.iter().find(|(_, count)| *count >= number).map(|(at, _)| *at);
    let delay = |(index, at): (usize, &u64)| Some(shown_at(index + 1)?.saturating_sub(*at) as f64 / 1e6);
    happened.iter().enumerate().map(delay).collect()
}

fn latency(lab: &Lab, tries: usize) -> Result<()> {
    println!(
        "{:<44} {:>6} {:>8} {:>8} {:>8} {:>8}",
        "event to screen, ms", "events", "median", "p95", "p99", "worst"
    );
    print_delays("a go command's start, watch", starts(lab)?);
    let few = GoOptions { few: true, ..GoOptions::default() };
    for (name, options, tries) in
        [("small download", few, tries), ("the whole sample", GoOptions::default(), 1)]
    {
        let (mut queries, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..tries {
            lab.proxy.log().take();
            let asked_before = lab.dns.log().len();
            let counts = Arc::new(Mutex::new(Counts::default()));
            let to = Arc::clone(&counts);
            let seen = move |at, text: &str| to.lock().unwrap_or_else(PoisonError::into_inner).see(at, text);
            let run = lab.go_run(&options)?;
            let args = ["run", "--tui", "--report", "none", "--", "go", "mod", "download"];
            // It ends with its command.
            Screen::start(lab, &run, &args, seen)?.end()?;
            let asked: Vec<u64> =
                lab.dns.log()[asked_before..].iter().map(|asked| asked.received_ns).collect();
            let made: Vec<u64> = lab.proxy.log().requests().iter().map(|made| made.received_ns).collect();
            let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            queries.extend(delays(&asked, &counts.queries));
            requests.extend(delays(&made, &counts.requests));
        }
        print_delays(&format!("a query to a name server, {name}"), queries);
        print_delays(&format!("a request, {name}"), requests);
    }
    Ok(())
}

/// Commands that are distinguished by what they ask for.
fn starts(lab: &Lab) -> Result<Vec<Option<f64>>> {
    let seen: Arc<Mutex<Vec<Option<u64>>>> = Arc::new(Mutex::new(vec![None; STARTS]));
    let to = Arc::clone(&seen);
    let screen = watch(lab, move |at, text| {
        let mut seen = to.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, first) in seen.iter_mut().enumerate() {
            if first.is_none() && text.contains(&format!("env V{number:02}")) {
                *first = Some(at);
            }
        }
    })?;
    let run = lab.go_run(&GoOptions::default())?;
    let mut begun = Vec::new();
    for number in 0..STARTS {
        begun.push(monotonic_ns());
        let status = run.go(&["env", &format!("V{number:02}")]).output()?.status;
        ensure!(status.success(), "go env ended with {status}");
        // Not in step with the frames.
        sleep(Duration::from_millis(150 + (number as u64 * 37) % 100));
    }
    leave(screen)?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(begun
        .iter()
        .zip(&*seen)
        .map(|(begun, seen)| Some(seen.as_ref()?.saturating_sub(*begun) as f64 / 1e6))
        .collect())
}

fn print_delays(name: &str, delays: Vec<Option<f64>>) {
    let missing = delays.iter().filter(|delay| delay.is_none()).count();
    let mut shown: Vec<f64> = delays.into_iter().flatten().collect();
    shown.sort_by(f64::total_cmp);
    let [median, p95, p99, worst] = [0.5, 0.95, 0.99, 1.0].map(|q| quantile(&shown, q));
    let note = if missing > 0 { format!("  {missing} never shown") } else { String::new() };
    println!("{name:<44} {:>6} {median:>8.1} {p95:>8.1} {p99:>8.1} {worst:>8.1}{note}", shown.len());
}

fn long(lab: &Lab, time: Duration) -> Result<()> {
    let short = Short::new(lab)?;
    let screen = watch(lab, |_, _| {})?;
    let pids = screen.pids();
    println!("{:>8} {:>9}  anonymous / resident KB of each process", "seconds", "commands");
    let (begun, mut commands) = (Instant::now(), 0);
    let report = |commands: usize| -> Result<()> {
        let memory = pids.iter().map(|pid| Memory::of(*pid)).collect::<Result<Vec<_>>>()?;
        let texts = memory.iter().map(|m| format!("{:>8} / {:<8}", m.anonymous / 1024, m.resident / 1024));
        let seconds = begun.elapsed().as_secs_f64();
        println!("{seconds:>8.1} {commands:>9}  {}", texts.collect::<String>());
        Ok(())
    };
    report(0)?;
    let mut reported = Instant::now();
    while begun.elapsed() < time {
        short.run(20, 2)?;
        commands += 20;
        if reported.elapsed() > time / 12 {
            reported = Instant::now();
            report(commands)?;
        }
    }
    report(commands)?;
    println!("on the screen: {}", screen.text().lines().next().unwrap_or_default());
    leave(screen)
}
