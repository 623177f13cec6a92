//! The command without goobserve. In goes a command of the lab, out come its wall time and CPU.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::process::children_cpu_ns;
use crate::clock::monotonic_ns;
use crate::lab::Lab;

/// What a command took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Alone {
    /// From before its fork until it could be waited for
    pub wall_ns: u64,
    /// CPU of it and all its children
    pub cpu_ns: u64,
}

/// Runs the command to its end. No other child of this process may end meanwhile.
pub fn alone(lab: &Lab, command: &mut Command) -> Result<Alone> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let before = children_cpu_ns()?;
    // Not when the namespaces are made, which is before the fork.
    let (start, child) = lab.net.inside(|| (monotonic_ns(), command.spawn()))?;
    let mut child = child.with_context(|| format!("start {}", command.get_program().display()))?;
    let status = child.wait().context("wait for the command")?;
    let wall_ns = monotonic_ns() - start;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(Alone { wall_ns, cpu_ns: children_cpu_ns()? - before })
}
