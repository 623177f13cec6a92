//! Completeness outside the lab: `public`. Observes one cold `go mod download -x` of the sample
//! through this machine's own module proxy and compares the reported requests with the URLs that
//! `-x` prints, one for one. Prints the counts; the status is 1 when they differ.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, exit};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::goobserve::binary;
use tests::paths;

fn main() -> Result<()> {
    let folder = paths::temp("goobserve-public-")?;
    let project = folder.path().join("project");
    fs::create_dir(&project)?;
    for file in ["go.mod", "main.go"] {
        fs::copy(paths::sample().join(file), project.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    let report = folder.path().join("report.json");
    let output = Command::new(binary()?)
        .args(["run", "--report", "none", "--json"])
        .arg(&report)
        .args(["--", "go", "mod", "download", "-x"])
        .current_dir(&project)
        .env("GOMODCACHE", folder.path().join("mod"))
        .env("GOPATH", folder.path().join("path"))
        .env("GOFLAGS", "-modcacherw")
        .output()
        .context("cannot start goobserve")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&fs::read(&report)?)?;
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    // `# get URL: 200 OK (0.012s)`; the line without a status announces the same request.
    let urls = printed
        .lines()
        .filter_map(|line| line.strip_prefix("# get "))
        .filter_map(|rest| rest.split_once(": "));
    let mut total = 0;
    for (url, _) in urls {
        *counts.entry(url.to_owned()).or_default() += 1;
        total += 1;
    }
    let requests = report["requests"].as_array().context("the report has no requests")?;
    for request in requests {
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        *counts.entry(format!("https://{}{}", text("authority"), text("path"))).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    println!("{total} URLs printed by go mod download -x, {} requests reported", requests.len());
    println!("{} differ; loss {}", counts.len(), report["loss"]);
    for (url, count) in counts.iter().take(10) {
        println!("  {count:+} {url}");
    }
    exit(i32::from(!counts.is_empty()));
}
