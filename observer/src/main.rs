//! The program: one of its inner parts, or what the command line asks for.

use std::process::exit;

/// In place of musl's, which maps and unmaps memory for nearly every event of a recording.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() {
    #[cfg(target_os = "linux")]
    {
        use observer::agent::{SEAM_FD, WORKER, finder, holder};
        let word = std::env::args_os().nth(1).unwrap_or_default();
        if word == WORKER {
            exit(observer::worker::main(SEAM_FD));
        } else if word == observer::opener::OPENER {
            exit(observer::opener::main(SEAM_FD));
        } else if word == holder::HOLDER {
            exit(holder::main(SEAM_FD));
        } else if word == finder::FINDER {
            exit(finder::main(SEAM_FD));
        } else if word == observer::run::exporter::EXPORTER {
            exit(observer::run::exporter::main());
        }
    }
    exit(observer::commands::main(std::env::args_os()))
}
