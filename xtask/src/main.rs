//! `cargo xtask CMD`: the one entry for everything a developer of goobserve does.
//! In: a command line. Out: the work of one module; its exit status.

#[cfg(test)]
mod arrows;
mod build;
mod ci;
mod cmd;
mod count;
mod dist;
#[cfg(test)]
mod links;
mod lint;
mod packages;
mod programs;
mod sample;
mod setup;
mod skips;
mod test;
mod tools;
mod vm;
mod wheels;
#[cfg(test)]
mod words;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Everything a developer of goobserve does.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing take; quiet when nothing is missing
    ///
    /// The toolchain's rust-src and the target of the static binary, bpf-linker in target/tools,
    /// the Debian packages the tests use (with root or sudo), Perfetto's UI there, a mounted tracefs.
    Setup,
    /// Build target/release/goobserve, the static binary
    Build,
    /// Build the static binaries of a release, target/dist/goobserve-ARCH, each on this machine
    ///
    /// What another machine's takes is installed first: the Rust target, and a C compiler and linker
    /// (Debian's gcc-aarch64-linux-gnu or gcc-x86-64-linux-gnu).
    #[command(after_help = "Example:\n  cargo xtask dist aarch64")]
    Dist {
        /// For which machines; all of them without it
        #[arg(value_parser = dist::ARCHS)]
        arch: Vec<String>,
    },
    /// Build, then watch `go mod download` in a copy of tests/sample with cold caches
    #[command(after_help = "Examples:\n  \
        cargo xtask run\n  \
        cargo xtask run -- --report markdown\n  \
        cargo xtask run -- --json /tmp/report.json -- go mod download -x")]
    Run {
        /// Options of `goobserve run` (paths absolute: it works in the copy); a command after a
        /// second `--` takes the place of `go mod download`
        #[arg(last = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Build, then put goobserve into /usr/local/bin
    Install,
    /// Run the tests; the last line is `N passed, N failed, N skipped`
    ///
    /// By cargo-nextest, as .config/nextest.toml says; the line before the last says which slow tests were
    /// left out. `JUnit`: target/nextest/default/junit.xml. With CI=true a test may only be skipped if
    /// tests/skips.toml lists it.
    Test {
        /// Only tests whose name contains this, slow ones included
        filter: Option<String>,
        /// Slow tests, too
        #[arg(long)]
        all: bool,
    },
    /// Run what CI runs: one step of it, or all that fits into a quarter of an hour
    ///
    /// .ci/run and .github/workflows call nothing else. The last line of all is the count line.
    Ci {
        /// The step
        step: Option<ci::Step>,
    },
    /// Run a suite of the tests package on other kernels, in virtual machines, one after another
    ///
    /// Kernels are Debian's, fetched with apt-get from the mirror that this machine uses; the machine is
    /// qemu's, without KVM. The status is the suite's; 77 when kernel or qemu cannot be had.
    #[command(after_help = "Examples:\n  \
        cargo xtask vm 6.1\n  \
        cargo xtask vm --table\n  \
        cargo xtask vm 6.12 7.3 --suite completeness --filter http2")]
    Vm(vm::Options),
    /// rustfmt and clippy with warnings denied, and cargo-deny without the network
    Lint,
    /// cargo-deny with advisories, which it fetches
    Deny,
    /// Check that the library compiles for macOS
    Macos,
    /// Run one of the tests package's benches, in release
    #[command(after_help = "Example:\n  cargo xtask bench overhead")]
    Bench {
        /// Name of the bench
        name: String,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Render README's pictures anew, into docs/pictures
    Pictures,
    /// Fuzz one target, or each for a while (cargo-fuzz is installed)
    Fuzz {
        /// The target; all of them without it
        target: Option<String>,
        /// Seconds for each target
        #[arg(long, default_value_t = 60, value_name = "N")]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    match perform(Cli::parse().command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does it and says the exit status.
fn perform(task: Task) -> Result<u8> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup => setup::everything(&workspace).map(|()| 0),
        Task::Build => build::build(&workspace).map(|_| 0),
        Task::Dist { arch } => dist::dist(&workspace, &arch),
        Task::Run { args } => sample::run(&workspace, &args),
        Task::Install => build::install(&workspace).map(|()| 0),
        Task::Test { filter, all } => {
            let filter = filter.as_deref();
            test::test(&workspace, test::Options { filter, all, ..test::Options::default() })
        }
        Task::Ci { step } => ci::ci(&workspace, step),
        Task::Vm(options) => vm::vm(&workspace, &options),
        Task::Lint => lint::lint(&workspace),
        Task::Deny => lint::deny(&workspace),
        Task::Macos => lint::macos(&workspace),
        Task::Bench { name, args } => programs::bench(&workspace, &name, &args),
        Task::Pictures => programs::pictures(&workspace),
        Task::Fuzz { target, seconds } => programs::fuzz(&workspace, target.as_deref(), seconds),
    }
}
