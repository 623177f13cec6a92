//! The gate's files, all read and written with the calling user's rights: baselines, answers,
//! go.mod and go.sum.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::json;
use model::user_error::UserError;
use render::gate::{junit, markdown};
use stats::gate::baseline::{Baseline, LIMIT};
use stats::gate::measure::Around;
use stats::gate::module::Module;
use stats::gate::{FailOn, Outcome};

use crate::cli::options::GateOutputs;
use crate::experiment::modules::ModuleFiles;
use crate::experiment::user::AsUser;
use crate::run::Invoker;
use crate::worker::AtomicFile;

/// Reads a baseline.
pub(super) fn read(path: &Path, invoker: &Invoker) -> Result<Baseline, UserError> {
    let name = path.display().to_string();
    let cannot =
        |what: String| UserError::new(what, "make one with `goobserve gate record --out FILE -- CMD`");
    let _user = AsUser::take(invoker)?;
    // A pipe without a writer must not hold us.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = file.map_err(|error| cannot(format!("cannot read {name}: {error}")))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(cannot(format!("{name} is no file")));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > LIMIT {
        return Err(cannot(format!("{name} is no baseline: it is too large")));
    }
    Baseline::read(&name, &bytes)
}

/// Whether there is anything of that name.
pub(super) fn is_there(path: &Path, invoker: &Invoker) -> Result<bool, UserError> {
    let _user = AsUser::take(invoker)?;
    Ok(path.symlink_metadata().is_ok())
}

/// A file that will be written, opened before anything is run.
pub(super) fn create(path: &Path, invoker: &Invoker) -> Result<AtomicFile, UserError> {
    let _user = AsUser::take(invoker)?;
    AtomicFile::create(path)
}

/// Writes it.
pub(super) fn finish(file: AtomicFile, text: &str, invoker: &Invoker) -> Result<(), UserError> {
    let _user = AsUser::take(invoker)?;
    file.finish(text.as_bytes())
}

/// Files for the answer, open.
pub(super) struct Answers {
    json: Option<AtomicFile>,
    markdown: Option<AtomicFile>,
    junit: Option<AtomicFile>,
}

impl Answers {
    /// Opens them.
    pub(super) fn open(outputs: &GateOutputs, invoker: &Invoker) -> Result<Self, UserError> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(|path| create(path, invoker)).transpose();
        Ok(Self {
            json: open(&outputs.json)?,
            markdown: open(&outputs.markdown)?,
            junit: open(&outputs.junit)?,
        })
    }

    /// Writes the answer into each, and to the job's page.
    pub(super) fn write(
        self,
        outcome: &Outcome,
        fail_on: FailOn,
        invoker: &Invoker,
    ) -> Result<(), UserError> {
        let markdown = markdown::markdown(outcome, fail_on);
        let put =
            |file: Option<AtomicFile>, text: &str| file.map_or(Ok(()), |file| finish(file, text, invoker));
        let json = json::pretty(outcome).map(|text| text + "\n").unwrap_or_default();
        // One that fails keeps none of the others from being written.
        let json = put(self.json, &json);
        let junit = put(self.junit, &junit::junit(outcome, fail_on));
        let page = put(self.markdown, &markdown);
        let summary = match invoker.var("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
            Some(path) => append(path, &markdown, invoker),
            None => Ok(()),
        };
        json.and(junit).and(page).and(summary)
    }
}

fn append(path: &OsStr, text: &str, invoker: &Invoker) -> Result<(), UserError> {
    let _user = AsUser::take(invoker)?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        let name = path.to_string_lossy();
        UserError::new(format!("cannot write to GITHUB_STEP_SUMMARY {name}: {error}"), "unset it")
    })
}

/// What a recording of an arm needs and reports do not report.
pub(super) fn around(modules: Option<&ModuleFiles>) -> Around {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = name.map(|(_, name)| name.trim().to_owned());
    let Some(files) = modules.filter(|files| !files.modules.is_empty()) else {
        return Around { cpu, ..Around::default() };
    };
    let mut module = Module { vendor: files.vendor, ..Module::default() };
    files.modules.iter().for_each(|(_, content)| module.add(&String::from_utf8_lossy(content)));
    let hashed = |all: &[(PathBuf, Vec<u8>)]| {
        (!all.is_empty()).then(|| fnv(all.iter().flat_map(|(_, content)| content)))
    };
    Around { cpu, go_mod: hashed(&files.modules), go_sum: hashed(&files.sums), module: Some(module) }
}

/// 64-bit FNV-1a: distinguishes two contents, protects nothing.
fn fnv<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("fnv1a:{:016x}", bytes.fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_published_one() {
        assert_eq!(fnv(b"foobar".iter()), "fnv1a:85944171f73967e8");
    }

    #[test]
    fn what_go_mod_asks_for_is_kept_with_its_hash() {
        let file = |name: &str, text: &str| (PathBuf::from(name), text.as_bytes().to_vec());
        let files = ModuleFiles {
            modules: vec![file("/w/go.mod", "go 1.24\nrequire a.test/x v1.0.0\n")],
            sums: vec![],
            vendor: false,
        };
        let found = around(Some(&files));
        assert!(found.go_mod.is_some() && found.go_sum.is_none());
        assert_eq!(found.module.unwrap().require.len(), 1);
        assert_eq!(around(None).go_mod, None);
    }
}
