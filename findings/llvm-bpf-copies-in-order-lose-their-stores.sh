#!/usr/bin/env bash
# LLVM's option for BPF that keeps copies in order (-bpf-expand-memcpy-in-order: loads and stores in pairs, in the
# order of their addresses) also takes away that memset and memmove of a known size are expanded at all: both become
# calls of functions that BPF does not have, though neither has an order to keep. A program of one fill of 40 bytes
# that compiles to five stores without the option is refused with it. bpf-linker (0.10) passes the option by default and
# brings functions of its own for the calls: a loop over bytes each, which the kernel's verifier goes through byte by
# byte, 36 to 374 times the instructions of the stores; --disable-expand-memcpy-in-order brings the stores back.
#
# Seen with LLVM 19.1.7 of Debian (bookworm), and in the objects of bpf-linker with LLVM 22. Needs apt-get download.
# Fails when either answer changes.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cd "$folder"
for package in llvm-19 libllvm19; do
    apt-get download -qq "$package=1:19.1.7-3~deb12u1" 2>/dev/null
    dpkg-deb -x "$package"_*.deb .
done
llc() { LD_LIBRARY_PATH=$(echo usr/lib/*-linux-gnu) usr/lib/llvm-19/bin/llc "$@"; }
cat > fill.ll <<'L'
target triple = "bpf"
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define void @fill(ptr %p) {
  call void @llvm.memset.p0.i64(ptr align 8 %p, i8 0, i64 40, i1 false)
  ret void
}
L
llc --version | grep -i 'llvm version'
stores=$(llc -march=bpf -mcpu=v3 -o - fill.ll | grep -c '\*(u64 \*)')
with=$(llc -march=bpf -mcpu=v3 -bpf-expand-memcpy-in-order -o - fill.ll 2>&1 || true)
echo "without the option: $stores stores of eight bytes"
echo "with it: $(echo "$with" | grep -m1 -i error)"
[ "$stores" = 5 ] && echo "$with" | grep -q "memset"
