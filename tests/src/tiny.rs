//! The smallest file that is a Go program with a TLS client to whoever places probes, and ends when
//! its input does. In goes a number, by which its bytes differ from the next one's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Result;

/// Where the file is in memory.
const BASE: u64 = 0x40_0000;
/// `read(0, stack, 1)`, `exit(0)`, then three functions of two bytes: push rbp; ret
const CODE: &[u8] = &[
    0x31, 0xc0, 0x31, 0xff, 0x48, 0x89, 0xe6, 0xba, 1, 0, 0, 0, 0x0f, 0x05, //
    0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0x90, //
    0x55, 0xc3, 0x55, 0xc3, 0x55, 0xc3,
];
/// Where the first of them is.
const FUNCTIONS: u64 = 24;
const NAMES: [&str; 3] =
    ["crypto/tls.(*Conn).clientHandshake", "crypto/tls.(*Conn).Write", "crypto/tls.(*Conn).Read"];

struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    offset: u64,
    size: u64,
    link: u32,
}

/// Its bytes.
pub fn program(number: u32) -> Vec<u8> {
    let mut file = vec![0; 64 + 56];
    let mut sections = vec![Section { name: "", kind: 0, flags: 0, offset: 0, size: 0, link: 0 }];
    let mut add = |file: &mut Vec<u8>, name, kind, flags, bytes: &[u8], link| {
        file.resize(file.len().next_multiple_of(16), 0);
        let (offset, size) = (file.len() as u64, bytes.len() as u64);
        file.extend(bytes);
        sections.push(Section { name, kind, flags, offset, size, link });
        offset
    };
    let text = add(&mut file, ".text", 1, 6, CODE, 0);
    add(&mut file, ".go.buildinfo", 1, 3, &build_info(), 0);
    let mut strings = vec![0];
    let mut symbols = vec![0; 24];
    for (name, at) in NAMES.into_iter().zip((FUNCTIONS..).step_by(2)) {
        symbols.extend((strings.len() as u32).to_le_bytes());
        symbols.extend([0x12, 0, 1, 0]); // a function of section 1
        symbols.extend((BASE + text + at).to_le_bytes());
        symbols.extend(2u64.to_le_bytes());
        strings.extend(name.bytes().chain([0]));
    }
    add(&mut file, ".symtab", 2, 0, &symbols, 4);
    add(&mut file, ".strtab", 3, 0, &strings, 0);
    let mut names = Vec::new();
    for name in ["", ".text", ".go.buildinfo", ".symtab", ".strtab", ".shstrtab"] {
        names.extend(name.bytes().chain([0]));
    }
    add(&mut file, ".shstrtab", 3, 0, &names, 0);
    file.extend(number.to_le_bytes());
    file.resize(file.len().next_multiple_of(16), 0);
    let headers = file.len() as u64;
    let mut name_at = 0;
    for section in &sections {
        let addr = if section.flags == 0 { 0 } else { BASE + section.offset };
        file.extend([name_at, section.kind].map(u32::to_le_bytes).concat());
        let words = [section.flags, addr, section.offset, section.size];
        file.extend(words.map(u64::to_le_bytes).concat());
        file.extend([section.link, 0].map(u32::to_le_bytes).concat());
        file.extend([1, if section.kind == 2 { 24u64 } else { 0 }].map(u64::to_le_bytes).concat());
        name_at += section.name.len() as u32 + 1;
    }
    let len = file.len() as u64;
    file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let halves = [2u16, 62].map(u16::to_le_bytes).concat(); // a program, for amd64
    file[16..20].copy_from_slice(&halves);
    file[20..24].copy_from_slice(&1u32.to_le_bytes());
    file[24..48].copy_from_slice(&[BASE + text, 64, headers].map(u64::to_le_bytes).concat());
    let halves = [64u16, 56, 1, 64, sections.len() as u16, 5].map(u16::to_le_bytes).concat();
    file[52..64].copy_from_slice(&halves);
    file[64..72].copy_from_slice(&[1u32, 5].map(u32::to_le_bytes).concat()); // loaded, to read and run
    file[72..120].copy_from_slice(&[0, BASE, BASE, len, len, 4096].map(u64::to_le_bytes).concat());
    file
}

fn build_info() -> Vec<u8> {
    let mut bytes = b"\xff Go buildinf:\x08\x02".to_vec();
    bytes.resize(32, 0);
    let lines = format!("{0}path\texample.test/tiny\n{0}", "0123456789abcdef");
    for text in ["go1.26.0", &lines] {
        bytes.push(text.len() as u8);
        bytes.extend(text.bytes());
    }
    bytes
}

/// Those programs, running until their input, a pipe each, is closed.
pub fn running(programs: &[PathBuf]) -> Result<Vec<Child>> {
    let start = |program| Ok(Command::new(program).stdin(Stdio::piped()).spawn()?);
    programs.iter().map(start).collect()
}

/// Ends them.
pub fn end(programs: Vec<Child>) {
    for mut program in programs {
        drop(program.stdin.take());
        let _ = program.wait();
    }
}

/// That many programs named `go` in folders of their own below `folder`, which belong to that user.
pub fn programs(folder: &Path, count: u32, uid: u32) -> Result<Vec<PathBuf>> {
    let one = |number: u32| {
        let path = folder.join(number.to_string()).join("go");
        fs::create_dir(folder.join(number.to_string()))?;
        fs::write(&path, program(number))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        chown(&path, Some(uid), Some(uid))?;
        Ok(path)
    };
    (0..count).map(one).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_a_go_program_with_a_tls_client() {
        let plan = goelf::plan(&super::program(1)[..]).unwrap();
        assert_eq!(plan.build.main_path.as_deref(), Some("example.test/tiny"));
        assert_ne!(super::program(1), super::program(2));
    }

    #[test]
    fn it_runs_until_its_input_ends() {
        let folder = tempfile::tempdir().unwrap();
        let paths = super::programs(folder.path(), 1, nix::unistd::getuid().as_raw()).unwrap();
        let mut running = super::running(&paths).unwrap();
        assert!(running[0].try_wait().unwrap().is_none());
        drop(running[0].stdin.take());
        assert!(running[0].wait().unwrap().success());
    }
}
