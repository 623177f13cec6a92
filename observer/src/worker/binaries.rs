//! Go binaries: parsed here from the agent's descriptors, probed there at the offsets found.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::Result;
use goelf::{self, BuildInfo, Function, Plan, PlanError};
use model::record::Go;
use observer_common::Exec;

use crate::kernel::{Entry, Probes, Received};
use crate::seam::{FileId, Seam, ToAgent};

/// What is known of a binary.
pub(super) struct Binary {
    /// Where it was found first
    pub path: String,
    /// Its build information, when it is Go
    pub build: Option<BuildInfo>,
    /// Why it is not probed; `None` while it is or will be
    pub refused: Option<String>,
    /// It is no Go program at all
    pub foreign: bool,
    /// It is one without a TLS client of Go's own, as compilers are: there is nothing to probe
    without_tls: bool,
    /// It is for another kind of processor: one that lies here (a module cache has toolchains for others) and
    /// does not run, unless it is the command itself, in an emulator
    elsewhere: bool,
    asked: bool,
}

/// Every binary that was looked at.
#[derive(Default)]
pub(super) struct Binaries {
    known: HashMap<FileId, Binary>,
    first: Option<FileId>,
    too_large: u64,
}

impl Binaries {
    /// Looks at a binary once, and asks the agent to probe it when it can be.
    pub(super) fn plan(
        &mut self,
        file: FileId,
        path: &str,
        descriptor: OwnedFd,
        seam: &Seam,
    ) -> Result<&Binary> {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.known.entry(file) {
            let opened = File::from(descriptor);
            let cache = object::ReadCache::new(opened);
            let mut binary = Binary {
                path: path.to_owned(),
                build: None,
                refused: None,
                foreign: false,
                without_tls: false,
                elsewhere: false,
                asked: false,
            };
            match goelf::plan(&cache) {
                Ok(plan) => {
                    if OWN_ARCH == Some(plan.arch) {
                        seam.send(&ToAgent::Probe { file, probes: probes(&plan) }, &[])?;
                        binary.asked = true;
                    } else {
                        binary.elsewhere = true;
                        binary.refused = Some("it is for another kind of processor".to_owned());
                    }
                    binary.build = Some(plan.build);
                }
                Err(user_error) => {
                    binary.foreign = matches!(user_error, PlanError::NotGo | PlanError::NotElf);
                    binary.without_tls = matches!(user_error, PlanError::NoTls(_));
                    self.too_large += u64::from(matches!(user_error, PlanError::TooLarge { .. }));
                    binary.build = goelf::build_info(&cache).ok();
                    binary.refused = Some(user_error.to_string());
                }
            }
            if !binary.asked {
                seam.send(&ToAgent::Unwanted { file }, &[])?;
            }
            entry.insert(binary);
            self.first.get_or_insert(file);
        }
        Ok(&self.known[&file])
    }

    /// What is known of a program by its inode alone: version and build of a go command that was
    /// looked at before; `None` for any other program. Where the kernel's numbers are not those
    /// that stat gives (overlayfs, btrfs) it is not found, and has to be looked at.
    pub(super) fn go_command(&self, exec: &Exec) -> Option<Go> {
        let binary = self.of(exec)?;
        let build = binary.build.as_ref()?;
        Some(Go {
            version: Some(build.go_version.clone()),
            binary: Some(binary.path.clone()),
            cgo: build.cgo(),
            ..Go::default()
        })
    }

    /// A go command that was looked at before, likewise.
    pub(super) fn of(&self, exec: &Exec) -> Option<&Binary> {
        let is_go = |binary: &&Binary| binary.build.as_ref().is_some_and(BuildInfo::is_go_command);
        self.known.get(&file_of(exec)).filter(is_go)
    }

    /// Whether a program was looked at, likewise.
    pub(super) fn knows(&self, exec: &Exec) -> bool {
        self.known.contains_key(&file_of(exec))
    }

    /// The binary that was looked at first: with `run`, CMD's.
    pub(super) fn first(&self) -> Option<&Binary> {
        self.known.get(&self.first?)
    }

    /// How many were too large to look at.
    pub(super) const fn too_large(&self) -> u64 {
        self.too_large
    }

    /// The file's number may become another's.
    pub(super) fn forget(&mut self, file: FileId) {
        self.known.remove(&file);
    }

    /// The agent's answer.
    pub(super) fn probed(&mut self, file: FileId, error: Option<String>) {
        if let Some(binary) = self.known.get_mut(&file) {
            binary.asked = false;
            binary.refused = error;
        }
    }

    /// Whether every binary so far is probed or refused.
    pub(super) fn settled(&self) -> bool {
        self.known.values().all(|binary| !binary.asked)
    }

    /// Go binaries that could not be probed, with the reason.
    pub(super) fn not_probed(&self) -> impl Iterator<Item = &Binary> {
        let nothing = |binary: &&Binary| binary.foreign || binary.without_tls;
        let first = self.first;
        let not_run = move |(file, binary): &(&FileId, &Binary)| binary.elsewhere && first != Some(**file);
        let all = self.known.iter().filter(move |entry| !not_run(entry)).map(|(_, binary)| binary);
        all.filter(move |binary| !nothing(binary) && binary.refused.is_some())
    }
}

/// The machine that goobserve is built for. Programs of another run in an emulator, whose registers are no go
/// command's.
const OWN_ARCH: Option<goelf::Arch> = if cfg!(target_arch = "x86_64") {
    Some(goelf::Arch::Amd64)
} else if cfg!(target_arch = "aarch64") {
    Some(goelf::Arch::Arm64)
} else {
    None
};

/// The number of a program's file, as stat gives it on most file systems.
fn file_of(exec: &Exec) -> FileId {
    FileId { dev: device(exec.dev), ino: exec.ino }
}

/// The number of a device, as stat gives it, of the kernel's `s_dev`.
pub(super) const fn device(kernel: u32) -> u64 {
    nix::sys::stat::makedev((kernel >> 20) as u64, (kernel & 0xf_ffff) as u64)
}

fn probes(plan: &Plan) -> Probes {
    let entry = |function: &Function| Entry {
        at: function.entry,
        at_stack_check: function.place == goelf::EntryPlace::Jump,
    };
    let whole = |function: &Function| (entry(function), function.returns.clone());
    let received = match &plan.received {
        goelf::Received::Records { decrypted, connection, close } => {
            Received::Records { decrypted: *decrypted, connection: *connection, close: entry(close) }
        }
        goelf::Received::Calls(read) => {
            let (entry, returns) = whole(read);
            Received::Calls(entry, returns)
        }
    };
    Probes { handshake: whole(&plan.handshake), write: entry(&plan.write), received }
}
