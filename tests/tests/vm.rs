//! Kernels other than this machine's, in virtual machines.

use std::process::Command;

use tests::goobserve::binary;
use tests::skip;

/// What `cargo xtask vm` ends with where kernel or qemu cannot be had.
const CANNOT: i32 = 77;

/// The verifier of the oldest kernel that is still installed widely knows less than this machine's.
#[test]
fn linux_6_1_takes_every_program_and_nothing_is_missed() {
    let test = "linux_6_1_takes_every_program_and_nothing_is_missed";
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut vm = Command::new(cargo);
    vm.args(["run", "--quiet", "--package=xtask", "--", "vm", "6.1"]);
    // Of the suite what it takes a minute for.
    vm.args(["--filter", "check_finds every_request"]);
    let done = vm.env("GOOBSERVE_BIN", binary().unwrap()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    match done.status.code() {
        Some(0) => println!("{said}"),
        Some(CANNOT) => skip::skipped(test, said.lines().last().unwrap_or_default()),
        _ => panic!("{said}"),
    }
}
