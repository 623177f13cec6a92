//! Plans of real Go programs, built here once, and of files that are none.

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use goelf::{Arch, EntryPlace, Function, LocatedBy, Plan, PlanError, Received, build_info, plan};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, ReadCache, ReadRef};
use proptest::prelude::*;

const CLIENT: &str = "package main
import (\"fmt\"; \"net/http\"; \"os\")
func main() { fmt.Println(http.Get(os.Args[1])) }
";
const PLAIN: &str = "package main
func main() { println(1) }
";

/// The programs, as the bytes of their files.
struct Programs {
    go: Vec<u8>,
    client: Vec<u8>,
    stripped: Vec<u8>,
    pie: Vec<u8>,
    pie_stripped: Vec<u8>,
    arm64: Vec<u8>,
    arm64_pie_stripped: Vec<u8>,
    riscv64: Vec<u8>,
    unoptimized: Vec<u8>,
    no_tls: Vec<u8>,
    no_tls_stripped: Vec<u8>,
}

/// Built once for all tests, each of which is a process of its own.
static PROGRAMS: LazyLock<Programs> = LazyLock::new(|| {
    let version = go(Path::new("/"), "amd64", &["env", "GOVERSION", "GOROOT"]);
    let (version, root) = version.split_once('\n').expect("two lines");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("programs-{version}"));
    std::fs::create_dir_all(&dir).expect("a folder in the target folder");
    let turn = File::create(dir.join("lock")).expect("a file to lock");
    turn.lock().expect("a lock");
    let (client, plain) = (dir.join("client"), dir.join("plain"));
    for (folder, source) in [(&client, CLIENT), (&plain, PLAIN)] {
        std::fs::create_dir_all(folder).expect("a folder");
        let main = folder.join("main.go");
        if std::fs::read_to_string(&main).is_ok_and(|text| text == source) {
            continue;
        }
        for entry in std::fs::read_dir(folder).expect("its files") {
            std::fs::remove_file(entry.expect("a file").path()).expect("removed");
        }
        std::fs::write(folder.join("go.mod"), "module example.test/program\n\ngo 1.21\n").expect("go.mod");
        std::fs::write(main, source).expect("main.go");
    }
    let strip = "-ldflags=-s -w";
    let pie = "-buildmode=pie";
    Programs {
        go: read(Path::new(root.trim()).join("bin/go")),
        client: build(&client, "amd64", "program", &[]),
        stripped: build(&client, "amd64", "stripped", &[strip]),
        pie: build(&client, "amd64", "pie", &[pie]),
        pie_stripped: build(&client, "amd64", "pie-stripped", &[pie, strip]),
        arm64: build(&client, "arm64", "arm64", &[]),
        arm64_pie_stripped: build(&client, "arm64", "arm64-pie-stripped", &[pie, strip]),
        riscv64: build(&plain, "riscv64", "riscv64", &[]),
        unoptimized: build(&client, "amd64", "unoptimized", &["-gcflags=all=-N -l"]),
        no_tls: build(&plain, "amd64", "program", &[]),
        no_tls_stripped: build(&plain, "amd64", "stripped", &[strip]),
    }
});

fn go(folder: &Path, arch: &str, args: &[&str]) -> String {
    let out = Command::new("go")
        .current_dir(folder)
        .args(args)
        .envs([("GOFLAGS", "-mod=mod -buildvcs=false"), ("GOTOOLCHAIN", "local"), ("CGO_ENABLED", "0")])
        .envs([("GOOS", "linux"), ("GOARCH", arch)])
        .output()
        .expect("these tests build Go programs: go must be installed");
    assert!(out.status.success(), "go {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

fn build(folder: &Path, arch: &str, name: &str, flags: &[&str]) -> Vec<u8> {
    let program = folder.join(name);
    if !program.exists() {
        go(folder, arch, &[&["build", "-o", "unfinished"], flags].concat());
        std::fs::rename(folder.join("unfinished"), &program).expect("renamed");
    }
    read(program)
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn elf(file: &[u8]) -> ElfFile64<'_, LittleEndian> {
    ElfFile64::parse(file).expect("a 64-bit ELF file")
}

/// The functions that are probed at their entry, by name.
fn functions(plan: &Plan) -> Vec<(&'static str, &Function)> {
    let mut functions = vec![("clientHandshake", &plan.handshake), ("Write", &plan.write)];
    functions.push(match &plan.received {
        Received::Calls(read) => ("Read", read),
        Received::Records { close, .. } => ("Close", close),
    });
    functions
}

/// Every probe is inside the function that the symbol table names, and every RET is one.
fn assert_agrees_with_symbols(file: &[u8], plan: &Plan) {
    let elf = elf(file);
    let range_of = |name: &str| {
        let name = format!("crypto/tls.(*Conn).{name}");
        let symbol = elf.symbols().find(|s| s.name() == Ok(&name)).expect("a symbol");
        let section = symbol.section_index().expect("a section");
        let section = elf.section_by_index(section).expect("that section");
        let start = symbol.address() - section.address() + section.file_range().expect("bytes").0;
        start..start + symbol.size()
    };
    if let Received::Records { decrypted, .. } = plan.received {
        assert!(range_of("readRecordOrCCS").contains(&decrypted));
    }
    for (name, function) in functions(plan) {
        let range = range_of(name);
        let start = range.start;
        assert!(range.contains(&function.entry), "{name}");
        assert_eq!(function.entry == start, function.place == EntryPlace::First, "{name}");
        assert!(function.entry - start < 32, "{name}");
        assert!(!function.returns.is_empty(), "{name}");
        assert!(function.returns.is_sorted(), "{name}");
        for at in &function.returns {
            assert!(range.contains(at), "{name}");
            let bytes = &file[*at as usize..];
            match plan.arch {
                Arch::Amd64 => assert_eq!(bytes[0], 0xc3, "{name}"),
                Arch::Arm64 => assert_eq!(bytes[..4], [0xc0, 0x03, 0x5f, 0xd6], "{name}"),
            }
        }
    }
}

#[test]
fn the_go_command_has_a_plan() {
    let plan = plan(&*PROGRAMS.go).expect("a plan");
    assert!(plan.build.is_go_command());
    assert!(plan.build.go_version.starts_with("go1."));
    if plan.arch == Arch::Amd64 {
        assert!(functions(&plan).iter().all(|(_, f)| f.place == EntryPlace::Behind));
    }
    if plan.located_by == LocatedBy::Symtab {
        assert_agrees_with_symbols(&PROGRAMS.go, &plan);
    }
}

/// The place of the connection behind `decrypt`, which lies on a conditional jump: what the kernel emulates.
fn connection_at_a_jump(file: &[u8], plan: &Plan) -> u32 {
    let Received::Records { decrypted, connection, .. } = plan.received else { panic!("{plan:?}") };
    let jump = &file[decrypted as usize..][..2];
    assert!(matches!(jump, [0x74 | 0x75, _] | [0x0f, 0x84 | 0x85]), "{jump:x?}");
    // Behind `test rsi, rsi`, which is behind the call.
    assert_eq!(file[decrypted as usize - 3..][..3], [0x48, 0x85, 0xf6]);
    assert_eq!(file[decrypted as usize - 8], 0xe8);
    connection
}

#[test]
fn plain_text_is_seen_once_a_record_where_the_kernel_emulates() {
    let files = [&PROGRAMS.client, &PROGRAMS.stripped, &PROGRAMS.pie, &PROGRAMS.pie_stripped];
    let connections = files.map(|file| connection_at_a_jump(file, &plan(&**file).expect("a plan")));
    assert!(connections.iter().all(|at| *at == connections[0] && *at >= 0x100), "{connections:x?}");
    let go = plan(&*PROGRAMS.go).expect("a plan");
    if go.arch == Arch::Amd64 {
        connection_at_a_jump(&PROGRAMS.go, &go);
    }
}

#[test]
fn code_that_the_compiler_left_as_it_is_is_read_by_calls() {
    let plan = plan(&*PROGRAMS.unoptimized).expect("a plan");
    assert!(matches!(plan.received, Received::Calls(_)), "{plan:?}");
    assert_agrees_with_symbols(&PROGRAMS.unoptimized, &plan);
}

#[test]
fn the_build_says_module_settings_and_cgo() {
    let build = build_info(&*PROGRAMS.stripped).expect("build information");
    assert_eq!(build.main_path.as_deref(), Some("example.test/program"));
    assert_eq!(build.module.as_ref().map(|(path, _)| &**path), Some("example.test/program"));
    assert_eq!(build.setting("-ldflags"), Some("-s -w"));
    assert_eq!(build.cgo(), Some(false));
    assert!(!build.is_go_command());
}

#[test]
fn probes_go_where_the_symbols_say() {
    for file in [&PROGRAMS.client, &PROGRAMS.pie] {
        let plan = plan(&**file).expect("a plan");
        assert_eq!((plan.arch, plan.located_by), (Arch::Amd64, LocatedBy::Symtab));
        assert!(functions(&plan).iter().all(|(_, f)| f.place == EntryPlace::Behind));
        assert_agrees_with_symbols(file, &plan);
    }
}

#[test]
fn an_arm64_program_has_all_its_probes_on_instructions_that_the_kernel_simulates() {
    let programs = [&PROGRAMS.arm64, &PROGRAMS.arm64_pie_stripped];
    let plans = programs.map(|file| (file, plan(&**file).expect("a plan")));
    assert_eq!((plans[0].1.arch, plans[0].1.located_by), (Arch::Arm64, LocatedBy::Symtab));
    assert_agrees_with_symbols(&PROGRAMS.arm64, &plans[0].1);
    for (file, plan) in plans {
        let word = |at: u64| u32::from_le_bytes(*file[at as usize..].first_chunk().expect("four bytes"));
        for (name, function) in functions(&plan) {
            assert_eq!(function.place, EntryPlace::Jump, "{name}");
            assert_eq!(word(function.entry) & 0xff00_001f, 0x5400_0009, "{name}: BLS");
        }
        let Received::Records { decrypted, connection, .. } = plan.received else { panic!("{plan:?}") };
        assert_eq!(word(decrypted) & 0xff00_001f, 0xb500_0004, "CBNZ R4");
        assert_eq!(word(decrypted - 4) & 0xfc00_0000, 0x9400_0000, "CALL");
        assert!(connection >= 0x100, "{connection:x}");
    }
}

/// Hides the symbols by giving their table another type. All else stays where it is, so that
/// two plans can be compared offset by offset.
fn without_symbols(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let headers = section_headers(&file);
    let kind = headers.step_by(64).map(|at| at + 4).find(|at| file[*at..at + 4] == [2, 0, 0, 0]);
    file[kind.expect("a section of type SHT_SYMTAB")] = 1;
    file
}

fn section_headers(file: &[u8]) -> Range<usize> {
    let start = u64::from_le_bytes(file[40..48].try_into().expect("8 bytes")) as usize;
    let count = usize::from(u16::from_le_bytes([file[60], file[61]]));
    start..start + count * 64
}

#[test]
fn the_runtimes_tables_lead_to_the_same_plan_as_the_symbols() {
    for file in [&PROGRAMS.client, &PROGRAMS.pie, &PROGRAMS.arm64] {
        let by_symbols = plan(&**file).expect("a plan");
        let by_tables = plan(&*without_symbols(file)).expect("a plan");
        assert_eq!(by_tables, Plan { located_by: LocatedBy::Moduledata, ..by_symbols });
    }
}

#[test]
fn a_stripped_program_has_the_plan_of_the_same_code() {
    for (whole, stripped) in [(&PROGRAMS.client, &PROGRAMS.stripped), (&PROGRAMS.pie, &PROGRAMS.pie_stripped)]
    {
        let plans = [plan(&**whole).expect("a plan"), plan(&**stripped).expect("a plan")];
        assert_eq!(plans[1].located_by, LocatedBy::Moduledata);
        for ((_, a), (_, b)) in functions(&plans[0]).into_iter().zip(functions(&plans[1])) {
            // Where the linker puts a function may differ, what it consists of does not.
            let shape = |f: &Function| f.returns.iter().map(|at| at - f.entry).collect::<Vec<_>>();
            assert_eq!(shape(a), shape(b));
            assert_eq!(a.place, b.place);
            let first = |file: &[u8], f: &Function| file[f.entry as usize..][..7].to_vec();
            assert_eq!(first(whole, a), first(stripped, b));
        }
    }
}

#[test]
fn relocations_fill_the_pointers_of_a_pie_whose_module_data_are_empty_on_disk() {
    for (file, arch) in [(&PROGRAMS.pie_stripped, Arch::Amd64), (&PROGRAMS.arm64_pie_stripped, Arch::Arm64)] {
        let whole = plan(&**file).expect("a plan");
        assert_eq!((whole.arch, whole.located_by), (arch, LocatedBy::Moduledata));
        // This linker leaves the pointers in place as well; not every linker does.
        let mut emptied = file.clone();
        for word in [0, 1, 13, 16, 20, 21, 22, 23] {
            emptied[module(file) + word * 8..][..8].fill(0);
        }
        assert_eq!(plan(&*emptied), Ok(whole));
    }
}

#[test]
fn a_file_that_is_read_piece_by_piece_has_the_same_plan() {
    for bytes in [&PROGRAMS.client, &PROGRAMS.pie_stripped] {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut file, bytes).expect("written");
        let cache = ReadCache::new(File::open(file.path()).expect("opened"));
        let by_piece = plan(&cache);
        assert!(by_piece.is_ok());
        assert_eq!(by_piece, plan(&**bytes));
    }
}

#[test]
fn a_program_without_tls_is_refused_and_still_says_how_it_was_built() {
    for file in [&PROGRAMS.no_tls, &PROGRAMS.no_tls_stripped] {
        assert_eq!(plan(&**file), Err(PlanError::NoTls("crypto/tls.(*Conn).clientHandshake")));
        assert_eq!(build_info(&**file).expect("build").main_path.as_deref(), Some("example.test/program"));
    }
}

#[test]
fn what_is_no_go_program_is_named() {
    assert_eq!(plan(&b""[..]), Err(PlanError::NotElf));
    assert_eq!(plan(&b"#!/bin/sh\necho hello\n"[..]), Err(PlanError::NotElf));
    // This test is an ELF program, and none of Go.
    let own = read(std::env::current_exe().expect("a path"));
    assert_eq!(plan(&*own), Err(PlanError::NotGo));
    assert_eq!(plan(&*PROGRAMS.riscv64), Err(PlanError::UnsupportedArch("riscv64".into())));
}

#[test]
fn what_gccgo_built_is_refused_as_that() {
    // It has no build information, and what it exports in a section of that name.
    let mut file = PROGRAMS.no_tls.clone();
    let name = b"\0.go.buildinfo\0";
    let at = file.windows(name.len()).rposition(|window| window == name).expect("the section's name");
    file[at..at + 12].copy_from_slice(b"\0.go_export\0");
    assert_eq!(plan(&*file), Err(PlanError::Gccgo));
    assert_eq!(build_info(&*file), Err(PlanError::Gccgo));
}

/// Renames the section `.go.module`: what go1.21 to go1.25 do not have.
fn without_module_section(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let name = b"\0.go.module\0";
    let at = file.windows(name.len()).rposition(|window| window == name).expect("the section's name");
    file[at + 1] = b'x';
    file
}

/// Where the module data are in the file.
fn module(file: &[u8]) -> usize {
    elf(file).section_by_name(".go.module").and_then(|s| s.file_range()).expect("bytes").0 as usize
}

#[test]
fn module_data_that_nothing_names_are_found_by_their_content() {
    for file in [&PROGRAMS.client, &PROGRAMS.pie, &PROGRAMS.arm64] {
        let by_symbols = plan(&**file).expect("a plan");
        let by_content = plan(&*without_module_section(&without_symbols(file))).expect("a plan");
        assert_eq!(by_content, Plan { located_by: LocatedBy::Moduledata, ..by_symbols });
    }
    for file in [&PROGRAMS.stripped, &PROGRAMS.pie_stripped, &PROGRAMS.arm64_pie_stripped] {
        assert_eq!(plan(&*without_module_section(file)), plan(&**file));
    }
}

#[test]
fn module_data_that_relocations_fill_are_found_by_these() {
    for file in [&PROGRAMS.pie_stripped, &PROGRAMS.arm64_pie_stripped] {
        let mut emptied = without_module_section(file);
        for word in [0, 1, 13, 16, 20, 21, 22, 23] {
            emptied[module(file) + word * 8..][..8].fill(0);
        }
        assert_eq!(plan(&*emptied), plan(&**file));
    }
}

/// Makes the section `.gopclntab` one of other data, as the C compiler's linker does in a PIE of
/// go1.21 to go1.25, and hides the module data's.
fn merged(file: &[u8]) -> Vec<u8> {
    let mut file = without_module_section(file);
    let name = |wanted: &str| {
        let elf = elf(&file);
        let section = elf.section_by_name(wanted).map(|section| section.index().0);
        let header = section_headers(&file).start + section.expect("a section of that name") * 64;
        header..header + 4
    };
    let (other, pclntab) = (name(".data.rel.ro"), name(".gopclntab"));
    file.copy_within(other.clone(), pclntab.start);
    file[other].fill(0);
    file
}

#[test]
fn a_pclntab_among_other_data_is_found_by_its_beginning() {
    for file in [&PROGRAMS.pie_stripped, &PROGRAMS.arm64_pie_stripped] {
        let mut merged = merged(file);
        assert_eq!(plan(&*merged), plan(&**file));
        for word in [0, 1, 13, 16, 20, 21, 22, 23] {
            merged[module(file) + word * 8..][..8].fill(0);
        }
        assert_eq!(plan(&*merged), plan(&**file));
    }
}

#[test]
fn another_pointer_to_the_pclntab_is_not_taken_for_module_data() {
    let file = &PROGRAMS.stripped;
    let mut planted = without_module_section(file);
    let data = elf(file).section_by_name(".data").and_then(|s| s.file_range()).expect("bytes").0 as usize;
    planted.copy_within(module(file)..module(file) + 8, data.next_multiple_of(8));
    assert_eq!(plan(&*planted), plan(&**file));
}

#[test]
fn two_module_data_are_refused() {
    let file = &PROGRAMS.stripped;
    let mut doubled = without_module_section(file);
    let data = elf(file).section_by_name(".data").and_then(|s| s.file_range()).expect("bytes").0 as usize;
    doubled.copy_within(module(file)..module(file) + 24 * 8, data.next_multiple_of(8));
    let error = plan(&*doubled).expect_err("two module data");
    assert!(matches!(error, PlanError::Damaged { what: "second module data", .. }), "{error}");
}

#[test]
fn module_data_that_contradict_the_code_are_refused_as_stripped() {
    for word in [13, 17, 20, 21, 22] {
        let mut file = without_module_section(&PROGRAMS.stripped);
        file[module(&PROGRAMS.stripped) + word * 8] ^= 8;
        assert_eq!(plan(&*file), Err(PlanError::Stripped), "word {word}");
    }
}

#[test]
fn symbols_module_data_and_pclntab_all_gone_is_refused() {
    let mut file = without_module_section(&without_symbols(&PROGRAMS.client));
    let name = b"\0.gopclntab\0";
    let at = file.windows(name.len()).rposition(|window| window == name).expect("the section's name");
    file[at + 1] = b'x';
    assert_eq!(plan(&*file), Err(PlanError::Stripped));
}

#[test]
fn a_program_cut_off_anywhere_is_refused_as_truncated() {
    for file in [&PROGRAMS.client, &PROGRAMS.pie_stripped] {
        let across = (0..file.len()).step_by(file.len() / 150);
        // Go's linker puts the sections' names last, so that not even one byte is spare.
        for len in (0..2048).step_by(13).chain(across).chain([file.len() - 1]) {
            let error = plan(&file[..len]).expect_err("a part of a program");
            match len {
                0..4 => assert_eq!(error, PlanError::NotElf),
                _ => assert!(matches!(error, PlanError::Truncated { .. }), "{len} bytes: {error}"),
            }
        }
    }
}

/// File ranges in which a change matters most: headers, tables, beginnings of tables, code.
fn vital(file: &[u8]) -> Vec<Range<usize>> {
    let elf = elf(file);
    let names = [".go.buildinfo", ".go.module", ".gopclntab", ".rela", ".symtab", ".strtab", ".shstrtab"];
    let sections = names.iter().filter_map(|name| elf.section_by_name(name)?.file_range());
    let mut ranges: Vec<_> = sections.map(|(at, size)| at as usize..(at + size) as usize).collect();
    ranges.extend(ranges.clone().into_iter().map(|r| r.start..r.end.min(r.start + 256)));
    ranges.extend([0..64, 64..400, section_headers(file)]);
    let plan = plan(file).expect("a plan");
    if let Received::Records { decrypted, .. } = plan.received {
        ranges.push(decrypted as usize - 1024..decrypted as usize + 8);
    }
    ranges
        .extend(functions(&plan).into_iter().map(|(_, f)| f.entry as usize - 16..f.returns[0] as usize + 1));
    ranges
}

/// A program to damage, and its vital ranges.
type Victim = (&'static [u8], Vec<Range<usize>>);

static VICTIMS: LazyLock<[Victim; 4]> = LazyLock::new(|| {
    [&PROGRAMS.client, &PROGRAMS.stripped, &PROGRAMS.pie_stripped, &PROGRAMS.arm64]
        .map(|file| (&**file, vital(file)))
});

/// Whatever the file is, its plan lies inside it.
fn is_sound(file: &[u8]) -> Result<(), TestCaseError> {
    drop(build_info(file));
    if let Ok(plan) = plan(file) {
        if let Received::Records { decrypted, .. } = plan.received {
            prop_assert!(decrypted < file.len() as u64);
        }
        for (_, function) in functions(&plan) {
            prop_assert!(!function.returns.is_empty());
            for at in function.returns.iter().chain([&function.entry]) {
                prop_assert!(*at < file.len() as u64);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_neither_panics_nor_leads_out_of_the_file(
        victim in 0..4_usize,
        hits in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index, u8)>(), 1..6),
    ) {
        let (file, vital) = &VICTIMS[victim];
        let mut file = file.to_vec();
        for (range, at, value) in hits {
            let range = &vital[range.index(vital.len())];
            file[range.start + at.index(range.len())] = value;
        }
        is_sound(&file)?;
    }

    #[test]
    fn noise_behind_the_beginning_of_a_program_neither_panics_nor_leads_out_of_the_file(
        noise in prop::collection::vec(any::<u8>(), 0..4096),
        keep in 4..1024_usize,
    ) {
        let mut file = PROGRAMS.no_tls[..keep].to_vec();
        file.extend(noise);
        is_sound(&file)?;
    }
}

/// A file whose reader counts what it is asked for.
#[derive(Clone, Copy)]
struct Counted<'a> {
    cache: &'a ReadCache<File>,
    bytes: &'a Cell<u64>,
}

impl<'a> ReadRef<'a> for Counted<'a> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.bytes.set(self.bytes.get() + size);
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.cache.read_bytes_at_until(range, delimiter)
    }
}

/// The client's file with one of its sections somewhere else; its length is `len`. The result, and the
/// bytes that were read for it.
fn with_section(program: &[u8], name: &str, size: u64, len: u64) -> (Result<Plan, PlanError>, u64) {
    let mut file = program.to_vec();
    let index = elf(&file).section_by_name(name).expect("the section").index().0;
    let headers = u64::from_le_bytes(file[40..48].try_into().expect("8 bytes")) as usize;
    let at = headers + index * 64;
    let offset = (file.len() as u64).next_multiple_of(4096);
    file[at + 24..at + 40].copy_from_slice(&[offset, size].map(u64::to_le_bytes).concat());
    let temporary = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(temporary.path(), &file).expect("written");
    // What lies behind is a hole: it takes no space, and reads as zeros.
    temporary.as_file().set_len(len).expect("grown");
    let cache = ReadCache::new(File::open(temporary.path()).expect("opened"));
    let bytes = Cell::new(0);
    let plan = plan(Counted { cache: &cache, bytes: &bytes });
    (plan, bytes.get())
}

#[test]
fn a_table_of_any_size_is_not_read_beyond_the_limit_of_a_file() {
    const LIMIT: u64 = 80 << 20;
    for (program, section) in [
        (&PROGRAMS.client, ".symtab"),
        (&PROGRAMS.client, ".strtab"),
        (&PROGRAMS.pie_stripped, ".rela"),
        (&PROGRAMS.stripped, ".shstrtab"),
    ] {
        for size in [200 << 20, 250 << 20, 1 << 30] {
            let (plan, read) = with_section(program, section, size, 2 << 30);
            assert!(matches!(plan, Err(PlanError::TooLarge { .. })), "{section} of {size}: {plan:?}");
            assert!(read <= LIMIT, "{section} of {size}: {read} bytes were read");
        }
    }
}

#[test]
fn a_go_program_takes_far_less_than_the_limit() {
    let (plan, read) = with_section(&PROGRAMS.go, ".note.go.buildid", 16, 1 << 30);
    assert!(plan.is_ok(), "{plan:?}");
    assert!(read < 16 << 20, "{read} bytes were read");
}
