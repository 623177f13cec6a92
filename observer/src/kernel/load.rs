//! The BPF object as bytes in, an [`Ebpf`] with maps and verified programs out. Nothing is attached.
//!
//! aya parses, relocates and loads. Ours is only that programs are verified side by side, one on each CPU:
//! on Linux 6.18 the verifier takes 40 ms for all, most of a start, and aya's `load` is of one program.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};

/// What the verifier takes longest for, a third of all. Verified first, so that no CPU is left with one at the end.
const LONGEST: [&str; 2] = ["sock_length", "go_tls"];

/// Makes the maps and loads every program but those that are left out. Globals: the values of
/// constants, by name.
pub(super) fn load(
    object: &[u8],
    globals: &HashMap<&str, &[u8]>,
    left_out: &dyn Fn(&str) -> bool,
) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    // The verifier's last words are shown; its statistics come behind them.
    loader.verifier_log_level(VerifierLogLevel::DEBUG);
    for (name, value) in globals {
        loader.override_global(name, *value, true);
    }
    let mut ebpf = loader.load(object).context("the BPF object cannot be loaded")?;
    let mut waiting: Vec<_> = ebpf.programs_mut().filter(|(name, _)| !left_out(name)).collect();
    waiting.sort_by_key(|(name, _)| LONGEST.iter().position(|long| long == name));
    let waiting = Mutex::new(waiting);
    let next = || waiting.lock().ok()?.pop();
    let work = || -> Result<()> {
        while let Some((name, program)) = next() {
            verify(program).with_context(|| format!("the kernel refuses program {name}"))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..std::thread::available_parallelism().map_or(1, NonZero::get).min(4))
            .map(|_| scope.spawn(work))
            .collect();
        work()?;
        for other in others {
            other.join().map_err(|_| anyhow!("a thread that loads programs has failed"))??;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    Ok(ebpf)
}

fn verify(program: &mut Program) -> Result<()> {
    match program {
        Program::RawTracePoint(program) => program.load(),
        Program::UProbe(program) => program.load(),
        _ => bail!("it is of a kind that goobserve does not attach"),
    }
    .map_err(refused)
}

/// The verifier's last words, which say why; all of them where the program is developed.
fn refused(error: ProgramError) -> anyhow::Error {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return error.into() };
    let log = verifier_log.to_string();
    let last = log.lines().rfind(|line| !line.is_empty() && !line.starts_with("processed "));
    let said = if cfg!(debug_assertions) { Some(&*log) } else { last };
    match said {
        Some(said) if !said.is_empty() => anyhow::Error::new(io_error).context(said.to_owned()),
        _ => io_error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(load(b"no object", &HashMap::new(), &|_| false).is_err());
    }
}
