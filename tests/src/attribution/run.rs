//! Makes an experiment's pairs.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::experiments::{Competitor, Experiment};
use super::fault::Fault;
use super::frozen::Frozen;
use super::outcome::{Outcome, Run};
use super::workload::{CPU, Scene, Workload};
use crate::bench::order::Coin;
use crate::bench::watched::{Sampling, watch};
use crate::proxy::ending;
use crate::scenario::machine::{HeldLock, Hogs};
use crate::wait;

/// Zips of the sample, when some are written and many are not.
const AMID: usize = 20;

/// Runs the pairs, after one run that warms up.
pub fn measure(experiment: &Experiment, pairs: usize, coin: &mut Coin) -> Result<Outcome> {
    ensure!(pairs >= 2, "at least two pairs, for an error");
    let scene = Scene::start(experiment)?;
    once(&scene, experiment, None).context("the warm-up")?;
    let pair = |_| {
        let (without, with) = (None, Some(experiment.delay));
        coin.pair(|| once(&scene, experiment, without), || once(&scene, experiment, with))
    };
    Ok(Outcome::of(experiment, (0..pairs).map(pair).collect::<Result<_>>()?))
}

fn once(scene: &Scene, experiment: &Experiment, delay: Option<Duration>) -> Result<Run> {
    experiment.fault.set(scene, delay)?;
    let run = scene.project(delay)?;
    // In both runs of a pair.
    let slow = experiment.competitor == Competitor::SlowDisk;
    let disk = (slow || experiment.fault == Fault::Disk)
        .then(|| Frozen::mount(&run.file("disk"), &run.modcache()))
        .transpose()?;
    let _slow = disk.as_ref().filter(|_| slow).map(Frozen::freeze_often).transpose()?;
    let _hog = match (experiment.fault, delay) {
        (Fault::Cpu, Some(_)) => Some(Hogs::start_on(2, CPU)?),
        _ => None,
    };
    let held = match (experiment.fault, delay) {
        (Fault::Lock, Some(time)) => {
            Some((HeldLock::take(&run.modcache(), &scene.smallest_module()?)?, time))
        }
        _ => None,
    };
    let (now, later) = match (&disk, delay) {
        _ if slow => (None, None),
        (Some(disk), Some(time)) if experiment.workload == Workload::Sample => (None, Some((disk, time))),
        (Some(disk), Some(time)) => (Some(disk.freeze(time)?), None),
        _ => (None, None),
    };
    let command = scene.command()?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let observed = thread::scope(|scope| {
        let holder = held.map(|(lock, time)| scope.spawn(move || lock.hold(time)));
        let freezer = later.map(|(disk, time)| scope.spawn(move || freeze_amid(scene, disk, time)));
        let observed = watch(&scene.lab, &run, &command, Sampling::Times)?;
        for disturber in [holder, freezer].into_iter().flatten() {
            ensure!(disturber.join().unwrap_or(false), "the fault did not take place");
        }
        Ok(observed)
    })?;
    drop(now);
    scene.lab.forget()?;
    ensure!(observed.lost() == Some(0), "events were lost: {}", observed.report["loss"]);
    let processes = observed.report["processes"].as_array().context("no processes in the report")?;
    let cpu = processes.iter().map(|process| process["cpu_ns"].as_u64()).sum::<Option<u64>>();
    of_report(observed.command(), cpu.map(|ns| ns as f64 / 1e6))
}

/// Freezes the disk in the middle of the sample; whether that came.
fn freeze_amid(scene: &Scene, disk: &Frozen, time: Duration) -> bool {
    let is_zip = ending(".zip");
    let zips = || scene.lab.proxy.log().requests().iter().filter(|r| is_zip.is_for(&r.path)).count();
    wait::within(wait::LIMIT, || (zips() >= AMID).then_some(())).is_some() && disk.freeze(time).is_ok()
}

fn of_report(command: &Value, threads: Option<f64>) -> Result<Run> {
    let ms = |value: &Value| value.as_u64().map(|ns| ns as f64 / 1e6);
    let phases = command["phases"].as_array().context("no phases in the report")?;
    let phases = phases
        .iter()
        .map(|phase| Some((phase["phase"].as_str()?.to_owned(), ms(&phase["blocked_ns"])?)))
        .collect::<Option<_>>()
        .context("a phase without its name or its blocked_ns")?;
    let [cpu, runqueue, disk] = ["cpu_ns", "runqueue_ns", "disk_ns"].map(|part| ms(&command["local"][part]));
    let local = cpu.zip(runqueue).zip(disk).map(|((cpu, runqueue), disk)| [cpu, runqueue, disk]);
    Ok(Run { wall: ms(&command["wall_ns"]).context("no wall_ns")?, phases, local, cpu: threads })
}
