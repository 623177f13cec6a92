//! What the gateway brings: `gateway [ROUNDS] [--delay MS] [--load SECONDS]`. Cold `go mod download` of the sample in
//! the lab, with 20 ms (or --delay) on every response, each way in turn; then requests a second of small files from
//! its cache, with the CPU time and memory they take. Prints tables in Markdown. What it does with faults is the bench
//! `faults`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::bench::args::Args;
use tests::bench::served::Served;
use tests::go_env::{GoOptions, GoRun};
use tests::lab::Lab;
use tests::proxy::Faults;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Clients at once, of the load.
const CLIENTS: usize = 64;

fn main() -> Result<()> {
    let args = Args::read("gateway [ROUNDS] [--delay MS] [--load SECONDS]")?;
    let lab = Lab::start()?;
    let delay = Duration::from_millis(args.value("--delay")?.unwrap_or(20));
    times(&lab, args.count.unwrap_or(6), delay)?;
    load(&lab, Duration::from_secs(args.value("--load")?.unwrap_or(5)))
}

/// One download; whether it ended well, and how long it took.
fn download(lab: &Lab, run: &GoRun, env: &[(&str, &str)]) -> Result<(bool, Duration)> {
    let mut go = run.go(&["mod", "download"]);
    go.envs(env.iter().copied());
    let began = Instant::now();
    let output = lab.output(&mut go)?;
    Ok((output.status.success(), began.elapsed()))
}

fn times(lab: &Lab, rounds: usize, request_delay: Duration) -> Result<()> {
    println!("| go.sum | way | median | least | most | cost of the gateway |\n|---|---|---:|---:|---:|---|");
    for go_sum in [true, false] {
        lab.proxy.set_faults(Faults { request_delay, ..Faults::default() });
        let new = || lab.go_run(&GoOptions { go_sum, gomaxprocs: Some(2), ..GoOptions::default() });
        let mut ways: Vec<(&str, Vec<Duration>, String)> =
            ["plain", "concurrency=16", "gateway, cold", "gateway, warm", "file://"]
                .map(|name| (name, Vec::new(), String::new()))
                .into();
        let warm = new()?;
        let served = Served::start(lab, &warm, None)?;
        ensure!(download(lab, &warm, &[("GOPROXY", &served.goproxy)])?.0, "the first download");
        let files = format!("file://{}", warm.modcache().join("cache/download").display());
        for _ in 0..rounds {
            for (name, took, cost) in &mut ways {
                let run = new()?;
                let (ok, time) = match *name {
                    "plain" => download(lab, &run, &[])?,
                    "concurrency=16" => download(lab, &run, &[("GOMAXPROCS", "16")])?,
                    "gateway, cold" => {
                        let cold = Served::start(lab, &run, None)?;
                        let ended = download(lab, &run, &[("GOPROXY", &cold.goproxy)])?;
                        let (cpu, memory) = cold.cost()?;
                        *cost = format!("{:.2} s of CPU, {} MB", cpu.as_secs_f64(), memory >> 20);
                        ended
                    }
                    "gateway, warm" => download(lab, &run, &[("GOPROXY", &served.goproxy)])?,
                    _ if go_sum => download(lab, &run, &[("GOPROXY", &files)])?,
                    // A folder of files is no checksum database.
                    _ => download(lab, &run, &[("GOPROXY", &files), ("GONOSUMDB", "*")])?,
                };
                ensure!(ok, "{name} failed");
                took.push(time);
            }
        }
        for (name, mut took, cost) in ways {
            took.sort_unstable();
            let s = |time: Duration| time.as_secs_f64();
            let (least, median, most) = (s(took[0]), s(took[took.len() / 2]), s(took[took.len() - 1]));
            let sum = if go_sum { "complete" } else { "none" };
            println!("| {sum} | {name} | {median:.2} s | {least:.2} s | {most:.2} s | {cost} |");
        }
    }
    Ok(())
}

/// Small files, over and over, on connections that stay.
fn load(lab: &Lab, time: Duration) -> Result<()> {
    let run = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() })?;
    let served = Served::start(lab, &run, None)?;
    ensure!(download(lab, &run, &[("GOPROXY", &served.goproxy)])?.0, "the first download");
    let small: Vec<&str> =
        lab.store().paths().filter(|path| matches!(path.rsplit('.').next(), Some("mod" | "info"))).collect();
    let base = served.goproxy.split(',').next().unwrap_or_default();
    let address = base.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
    let requests: Vec<String> = small
        .iter()
        .filter(|path| run.modcache().join("cache/download").join(path).exists())
        .map(|path| format!("GET /0/{path} HTTP/1.1\r\nhost: x\r\n\r\n"))
        .collect();
    ensure!(!requests.is_empty(), "no small files");
    let requests = Arc::new(requests);
    let before = served.cost()?.0;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, took) = runtime.block_on(async {
        let began = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                tokio::spawn(client_of(address.clone(), Arc::clone(&requests), client, began + time))
            })
            .collect();
        let mut done = 0;
        for client in clients {
            done += client.await??;
        }
        anyhow::Ok((done, began.elapsed()))
    })?;
    let (cpu, memory) = served.cost()?;
    let cpu = cpu.saturating_sub(before).as_secs_f64();
    let rate = f64::from(done) / took.as_secs_f64();
    println!(
        "\n| clients | requests a second | cores | CPU a request | most memory |\n|---:|---:|---:|---:|---:|"
    );
    let (cores, each) = (cpu / took.as_secs_f64(), cpu / f64::from(done) * 1e6);
    println!("| {CLIENTS} | {rate:.0} | {cores:.2} | {each:.0} µs | {} MB |", memory >> 20);
    Ok(())
}

async fn client_of(address: String, requests: Arc<Vec<String>>, first: usize, until: Instant) -> Result<u32> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let (mut done, mut buffer) = (0, Vec::new());
    while Instant::now() < until {
        let request = &requests[(first + done as usize) % requests.len()];
        stream.write_all(request.as_bytes()).await?;
        buffer.clear();
        loop {
            ensure!(stream.read_buf(&mut buffer).await? > 0, "closed");
            let text = String::from_utf8_lossy(&buffer);
            let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
            ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
            if buffer.len() >= head.len() + 4 + length.parse::<usize>()? {
                break;
            }
        }
        done += 1;
    }
    Ok(done)
}
