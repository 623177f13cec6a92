//! Whether the gateway ever serves a wrong byte: `integrity [TIMES]`. TIMES (100 by default) it is killed at a random
//! moment of a cold download, and what its cache then has is downloaded and compared, by SHA-256, with what the
//! module proxy has; TIMES a zip is tampered with, TIMES a record of the checksum database forged, and go has to
//! refuse. Prints a table in Markdown; the status is 1 when anything was not as it must be.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Stdio, exit};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::bench::args::Args;
use tests::bench::served::Served;
use tests::go_env::{GoOptions, GoRun};
use tests::lab::Lab;
use tests::paths;
use tests::proxy::{Faults, Tampered, paths as matching};

fn main() -> Result<()> {
    // The lab is gone by then.
    exit(i32::from(!is_right()?));
}

/// Whether all is as it must be.
fn is_right() -> Result<bool> {
    let args = Args::read("integrity [TIMES]")?;
    let times = args.count.unwrap_or(100);
    let lab = Lab::start()?;
    println!("| what | as it must be | more |\n|---|---:|---|");
    let killed = killed(&lab, times)?;
    let zips = refused(&lab, times, true)?;
    let records = refused(&lab, times, false)?;
    Ok([killed, zips, records] == [times; 3])
}

fn options(go_sum: bool) -> GoOptions {
    GoOptions { go_sum, few: true, gomaxprocs: Some(2), ..GoOptions::default() }
}

/// Every file of the module cache's download folder, but for locks and the database's own, with its bytes.
fn downloaded(run: &GoRun) -> Result<BTreeMap<String, Vec<u8>>> {
    fn read(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        for entry in fs::read_dir(folder)?.flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            if path.is_dir() {
                read(root, &path, files)?;
            } else if path.extension().is_none_or(|end| end != "lock") && !name.starts_with("sumdb") {
                files.insert(name, fs::read(&path)?);
            }
        }
        Ok(())
    }
    let (mut files, root) = (BTreeMap::new(), run.modcache().join("cache/download"));
    read(&root, &root, &mut files)?;
    Ok(files)
}

fn killed(lab: &Lab, times: usize) -> Result<usize> {
    lab.proxy.set_faults(Faults { request_delay: Duration::from_millis(5), ..Faults::default() });
    let plain = lab.go_run(&options(true))?;
    ensure!(lab.output(&mut plain.go(&["mod", "download"]))?.status.success(), "the download without it");
    let expected = downloaded(&plain)?;
    let (mut good, mut in_cache) = (0, 0);
    for moment in 0..times {
        let folder = paths::temp("goobserve-integrity-")?;
        let run = lab.go_run(&options(true))?;
        let mut gateway = Served::start_at(lab, &run, folder.path())?;
        let mut go = run.go(&["mod", "download"]);
        let mut go = lab.spawn(go.env("GOPROXY", &gateway.goproxy).stderr(Stdio::null()))?;
        // The moments are spread over what a download takes; each falls where it falls.
        std::thread::sleep(Duration::from_micros(40_000 + 260_000 * moment as u64 / times as u64));
        gateway.kill();
        let _ = go.kill();
        go.wait()?;
        let run = lab.go_run(&options(true))?;
        let gateway = Served::start_at(lab, &run, folder.path())?;
        let before = lab.proxy.log().requests().len();
        let output = lab.output(run.go(&["mod", "download"]).env("GOPROXY", &gateway.goproxy))?;
        let asked = lab.proxy.log().requests().len() - before;
        let same = output.status.success() && downloaded(&run)? == expected;
        good += usize::from(same);
        in_cache += expected.len().saturating_sub(asked);
        if !same {
            eprintln!("moment {moment}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    println!(
        "| killed in the middle of a download, then served from | {good} of {times} | {in_cache} files from its cache |"
    );
    lab.proxy.set_faults(Faults::default());
    Ok(good)
}

/// The zip with another name of one file: it is as good a zip as before, and another one.
fn renamed(mut zip: Vec<u8>) -> Vec<u8> {
    const NAME: &[u8] = b"/LICENSE";
    // Once in front of the file, once in the directory.
    let places: Vec<usize> = (0..zip.len()).filter(|at| zip[*at..].starts_with(NAME)).collect();
    places.into_iter().for_each(|at| zip[at + NAME.len() - 1] = b'F');
    zip
}

/// The record with another hash: one character.
fn forged(mut record: Vec<u8>) -> Vec<u8> {
    if let Some(at) = record.windows(3).position(|part| part == b"h1:") {
        record[at + 3] = if record[at + 3] == b'A' { b'B' } else { b'A' };
    }
    record
}

/// Tampered zips, or forged records: how often go refused because of them.
fn refused(lab: &Lab, times: usize, zips: bool) -> Result<usize> {
    let few = lab.go_run(&options(true))?;
    let go_mod = fs::read_to_string(few.project().join("go.mod"))?;
    let modules: Vec<&str> = go_mod
        .lines()
        .filter_map(|line| line.strip_prefix('\t')?.split(' ').next())
        // Names without a capital are the same in paths.
        .filter(|module| !module.contains(|c: char| c.is_ascii_uppercase()))
        .collect();
    ensure!(modules.len() >= 5, "modules of the small project: {modules:?}");
    let mut good = 0;
    for time in 0..times {
        let module = modules[time % modules.len()].to_owned();
        let (part, end, said) = if zips {
            (format!("/{module}/@v/"), ".zip", "checksum mismatch")
        } else {
            (format!("/lookup/{module}@"), "", "cannot authenticate record")
        };
        let matches = matching(move |path| path.contains(&part) && path.ends_with(end));
        let change = if zips { renamed } else { forged };
        lab.proxy.set_faults(Faults { tampered: vec![Tampered { matches, change }], ..Faults::default() });
        let run = lab.go_run(&options(zips))?;
        let gateway = Served::start(lab, &run, None)?;
        let output = lab.output(run.go(&["mod", "download"]).env("GOPROXY", &gateway.goproxy))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let is_refused = !output.status.success() && text.contains(said);
        good += usize::from(is_refused);
        if !is_refused {
            eprintln!("{module}: {text}");
        }
    }
    lab.proxy.set_faults(Faults::default());
    println!(
        "| {} refused by go | {good} of {times} | |",
        if zips { "tampered zips" } else { "forged records" }
    );
    Ok(good)
}
