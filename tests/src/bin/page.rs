//! How fast a page of 10,000 requests is in a real browser: `page [COUNT]`. Each of 600 frames pans, zooms or
//! scrolls its list a little; printed is what a frame's script, style and layout took, and what lay between two
//! frames. Chromium draws without a GPU here, which is slower than on anybody's desk.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tests::bench::args::Args;
use tests::bench::recording::write;
use tests::browser::{browse, complaints};
use tests::site::Site;

const REQUESTS: u64 = 10_000;

fn main() -> Result<()> {
    let requests = Args::read("page [COUNT]")?.count.map_or(REQUESTS, |count| count as u64);
    let folder = tempfile::tempdir_in("/dev/shm").context("no folder in memory")?;
    let file = folder.path().join("recording.jsonl");
    write(&file, requests, ("six at a time", 6, 200, u64::MAX))?;
    let output = Command::new(tests::goobserve::binary()?)
        .args(["report", "--format", "html"])
        .arg(&file)
        .output()
        .context("goobserve does not start")?;
    ensure!(output.status.success(), "no report: {}", String::from_utf8_lossy(&output.stderr));
    let page = String::from_utf8(output.stdout).context("a page of text")?;
    println!("{requests} requests, a page of {:.1} MB", page.len() as f64 / 1e6);
    let around = include_str!("../page_pan.html").to_owned();
    let site = Site::start(folder.path(), HashMap::from([("/", around), ("/page.html", page)]))?;
    let picture = format!("--screenshot={}", folder.path().join("around.png").display());
    let shown = browse(folder.path(), &site.url("/"), &[&picture, "--window-size=1280,900"]);
    let Some(reported) = site.reported() else {
        bail!("nothing was reported: {}", String::from_utf8_lossy(&shown.stderr));
    };
    let reported: Value = serde_json::from_str(&reported)?;
    ensure!(reported["error"].is_null(), "{reported}");
    ensure!(complaints(&shown).is_empty(), "{:?}", complaints(&shown));
    println!("{} rows in the list", reported["rows"]);
    println!("{:<8} {:<16} {:>8} {:>8} {:>8} ms", "", "", "median", "p99", "worst");
    for movement in ["pan", "zoom", "scroll"] {
        for (part, name) in [("work", "work of a frame"), ("between", "between frames")] {
            line(movement, name, &reported[movement][part])?;
        }
    }
    line("search", "a key", &reported["search"])
}

fn line(movement: &str, name: &str, of: &Value) -> Result<()> {
    let mut of: Vec<f64> = of.as_array().context("a list")?.iter().filter_map(Value::as_f64).collect();
    ensure!(!of.is_empty(), "nothing was measured");
    of.sort_by(f64::total_cmp);
    let at = |part: f64| of[((of.len() - 1) as f64 * part).round() as usize];
    println!("{movement:<8} {name:<16} {:>8.2} {:>8.2} {:>8.2}", at(0.5), at(0.99), at(1.0));
    Ok(())
}
