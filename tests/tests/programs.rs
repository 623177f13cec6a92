//! The BPF programs that goobserve carries, as the kernel sees them.

use tests::frames::{self, Function};
use tests::goobserve::binary;

/// The kernel gives a frame of this size a stack of its own, one a program and CPU (Linux 6.13,
/// `BPF_PRIV_STACK_MIN_SIZE`).
const PRIVATE_STACK: u32 = 64;
/// It rounds a frame up to a multiple of this (`round_up_stack_depth`).
const STEP: u32 = 16;

/// Programs of uprobes can be preempted, and nothing keeps a second task on that CPU from running the
/// same one: with a private stack, both would write to the same memory, and the kernel dies of what it
/// then returns to. Programs of raw tracepoints are counted by CPU, and a second one is skipped.
#[test]
fn no_function_that_a_uprobe_runs_gets_a_private_stack() {
    let object = frames::object(&std::fs::read(binary().unwrap()).unwrap()).unwrap();
    let functions = frames::functions(&object).unwrap();
    let uprobes: Vec<&Function> =
        functions.iter().filter(|function| function.section == "uprobe.multi").collect();
    assert!(!uprobes.is_empty(), "no program of uprobes");
    let mut large = Vec::new();
    for uprobe in uprobes {
        for function in frames::reached(&functions, uprobe) {
            if function.frame.next_multiple_of(STEP) >= PRIVATE_STACK {
                large.push(format!("{}: {} bytes in {}", uprobe.name, function.frame, function.name));
            }
        }
    }
    assert!(large.is_empty(), "{large:#?}");
}
