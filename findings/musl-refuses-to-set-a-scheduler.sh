#!/usr/bin/env bash
# A static Rust program (target x86_64-unknown-linux-musl) that calls libc's sched_setscheduler gets ENOSYS and keeps
# its scheduler, although the kernel has the system call and the caller may use it: musl leaves the function out on
# purpose, since for the kernel it is about a thread and for POSIX about a process. The same source built for glibc
# works, so a program that is tested with one and shipped with the other loses its real-time priority without a word.
# The system call itself works with both.
#
# Seen with Rust 1.95.0 (its own musl) and glibc 2.36 on Linux 6.18. Needs root and rustup with the musl target.
# Fails when either answer changes.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cat > "$folder/main.rs" <<'R'
use std::io::Error;

// Larger than either library's struct sched_param; its first member is the priority.
#[repr(C)]
struct Param([i32; 16]);

unsafe extern "C" {
    fn sched_setscheduler(pid: i32, policy: i32, param: *const Param) -> i32;
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    const ROUND_ROBIN: i32 = 2;
    const SYS_SCHED_SETSCHEDULER: i64 = 144; // x86_64
    let mut param = Param([0; 16]);
    param.0[0] = 1;
    // SAFETY: numbers and a structure that outlives both calls.
    let by_function = unsafe { sched_setscheduler(0, ROUND_ROBIN, &param) };
    let why = Error::last_os_error().raw_os_error().unwrap_or(0);
    let by_call = unsafe { syscall(SYS_SCHED_SETSCHEDULER, 0, ROUND_ROBIN, &param) };
    println!("function {by_function} errno {} call {by_call}", if by_function == 0 { 0 } else { why });
}
R
answer() { rustup run 1.95.0 rustc -O --edition 2024 --target "$1" -o "$folder/$1" "$folder/main.rs" && "$folder/$1"; }
musl=$(answer x86_64-unknown-linux-musl)
glibc=$(answer x86_64-unknown-linux-gnu)
echo "$(rustup run 1.95.0 rustc --version)"
echo "musl: $musl (38 is ENOSYS)"
echo "glibc: $glibc"
[ "$musl" = "function -1 errno 38 call 0" ] && [ "$glibc" = "function 0 errno 0 call 0" ]
