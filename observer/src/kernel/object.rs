//! The BPF object as bytes in, maps and verified programs out.
//!
//! Not by `aya::EbpfLoader`: it cannot say that a program is for multi uprobes, and it reads all
//! types of the kernel, which goobserve has no use for. Parsing and relocating are aya's.

use std::collections::{HashMap, HashSet};
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::maps::{Map, MapData};
use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{BPF_EXIT, BPF_JMP, bpf_attach_type, bpf_insn, bpf_map_type, bpf_prog_type};
use aya_obj::{EbpfSectionKind, Function, Object, Program, ProgramSection};

use super::sys::{self, Code};

/// What the verifier may say about a program it refuses.
const LOG_BYTES: usize = 1 << 20;

/// A loaded object. Nothing is attached.
pub struct Loaded {
    /// Maps by name
    pub maps: HashMap<String, Map>,
    /// Programs by name
    pub programs: HashMap<String, OwnedFd>,
    /// Uprobes are for multi links; else for perf events, one an offset
    pub multi: bool,
}

/// Makes the maps and loads every program but those that are left out. Globals: the values of
/// constants, by name.
pub fn load(
    object: &[u8],
    globals: HashMap<&str, (&[u8], bool)>,
    left_out: &dyn Fn(&str) -> bool,
) -> Result<Loaded> {
    let mut object = Object::parse(object).context("the BPF object has an unknown format")?;
    object.programs.retain(|name, _| !left_out(name));
    object.patch_map_data(globals).context("the BPF object lacks a constant")?;
    let btf = load_btf(&mut object)?;
    let mut maps = Vec::new();
    for (name, map) in object.maps.drain() {
        let data = create(&name, &map, btf.as_ref().map(OwnedFd::as_fd))
            .with_context(|| format!("cannot make map {name}"))?;
        maps.push((name, map, data));
    }
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object
        .relocate_maps(
            maps.iter().map(|(name, map, data)| (name.as_str(), data.fd().as_fd().as_raw_fd(), map)),
            &sections,
        )
        .and_then(|()| object.relocate_calls(&sections))
        .context("cannot relocate the BPF object")?;
    let multi = has_multi();
    let programs = programs(&object, btf.as_ref().map(OwnedFd::as_fd), multi)?;
    let maps = maps
        .into_iter()
        .map(|(name, _, data)| Ok((name, Map::from_map_data(data)?)))
        .collect::<Result<_>>()?;
    Ok(Loaded { maps, programs, multi })
}

/// The object's types, such as every kernel takes them that has `bpf_loop` (5.17): 64-bit
/// enumerations came later.
fn load_btf(object: &mut Object) -> Result<Option<OwnedFd>> {
    let features = BtfFeatures::new(true, true, true, true, true, true, true, false);
    let btf = object.fixup_and_sanitize_btf(&features).context("the BPF object's types are damaged")?;
    btf.map(|btf| sys::load_btf(&btf.to_bytes()).context("the kernel refuses the BPF object's types"))
        .transpose()
}

fn create(name: &str, map: &aya_obj::Map, btf: Option<BorrowedFd<'_>>) -> Result<MapData> {
    let mut wanted = map.clone();
    if wanted.map_type() == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32 {
        wanted.set_value_size(0); // the kernel wants none
    }
    let data = MapData::create(wanted, name, btf)?;
    if !map.data().is_empty() {
        sys::fill(data.fd().as_fd(), map.data())?;
    }
    if map.section_kind() == EbpfSectionKind::Rodata {
        sys::freeze(data.fd().as_fd())?;
    }
    Ok(data)
}

/// Loads the programs, one on each CPU at a time: the verifier takes most of a start.
fn programs(object: &Object, btf: Option<BorrowedFd<'_>>, multi: bool) -> Result<HashMap<String, OwnedFd>> {
    let mut waiting = object
        .programs
        .iter()
        .map(|(name, program)| {
            let function = object.functions.get(&program.function_key());
            Ok((name, program, function.with_context(|| format!("program {name} has no code"))?))
        })
        .collect::<Result<Vec<_>>>()?;
    // The longest first, so that no CPU is left with one at the end.
    waiting.sort_by_key(|(_, _, function)| function.instructions.len());
    let waiting = Mutex::new(waiting);
    let next = || waiting.lock().ok()?.pop();
    let work = || -> Result<Vec<(String, OwnedFd)>> {
        let mut done = Vec::new();
        while let Some((name, program, function)) = next() {
            let fd = load_program(name, program, function, btf, multi)
                .with_context(|| format!("the kernel refuses program {name}"))?;
            done.push((name.clone(), fd));
        }
        Ok(done)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..std::thread::available_parallelism().map_or(1, NonZero::get).min(4))
            .map(|_| scope.spawn(work))
            .collect();
        let mut programs: HashMap<_, _> = work()?.into_iter().collect();
        for other in others {
            programs.extend(other.join().map_err(|_| anyhow!("a thread that loads programs has failed"))??);
        }
        Ok(programs)
    })
}

fn load_program(
    name: &str,
    program: &Program,
    function: &Function,
    btf: Option<BorrowedFd<'_>>,
    multi: bool,
) -> Result<OwnedFd> {
    let (kind, attach) = match program.section {
        ProgramSection::UProbe { .. } => {
            (bpf_prog_type::BPF_PROG_TYPE_KPROBE, multi.then_some(bpf_attach_type::BPF_TRACE_UPROBE_MULTI))
        }
        ProgramSection::RawTracePoint => (bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT, None),
        _ => bail!("it is of a kind that goobserve does not attach"),
    };
    let (functions, lines) = (function.func_info.func_info_bytes(), function.line_info.line_info_bytes());
    let code = Code {
        name,
        kind,
        attach,
        instructions: &function.instructions,
        license: &program.license,
        btf,
        functions: (&functions, function.func_info_rec_size),
        lines: (&lines, function.line_info_rec_size),
    };
    sys::load_program(&code, &mut []).or_else(|error| {
        let mut log = vec![0; LOG_BYTES];
        sys::load_program(&code, &mut log).map_err(|_| refused(error, &log))
    })
}

/// The verifier's last words, which say why; all of them where the program is developed.
fn refused(error: io::Error, log: &[u8]) -> anyhow::Error {
    let log = String::from_utf8_lossy(log.split(|&byte| byte == 0).next().unwrap_or_default());
    let last = log.lines().rfind(|line| !line.is_empty() && !line.starts_with("processed "));
    let said = if cfg!(debug_assertions) { Some(&*log) } else { last };
    match said {
        Some(said) if !said.is_empty() => anyhow::Error::new(error).context(said.to_owned()),
        _ => error.into(),
    }
}

/// Whether this kernel has multi uprobes. It says that a folder cannot be probed (`EBADF`), and
/// without them that it knows no such link.
fn has_multi() -> bool {
    let instruction = |code: u32| bpf_insn {
        code: code as u8,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(0, 0),
        off: 0,
        imm: 0,
    };
    let code = Code {
        name: "probe",
        kind: bpf_prog_type::BPF_PROG_TYPE_KPROBE,
        attach: Some(bpf_attach_type::BPF_TRACE_UPROBE_MULTI),
        // r0 = 0, and the end.
        instructions: &[instruction(0xb7), instruction(BPF_JMP | BPF_EXIT)],
        license: c"GPL",
        btf: None,
        functions: (&[], 0),
        lines: (&[], 0),
    };
    sys::load_program(&code, &mut [])
        .and_then(|program| sys::attach_uprobes(program.as_fd(), c"/", &[0]))
        .is_err_and(|error| error.raw_os_error() == Some(libc::EBADF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(load(b"no object", HashMap::new(), &|_| false).is_err());
    }

    #[test]
    fn a_refusal_gives_the_verifiers_reason() {
        let log = b"0: R1=ctx()\ninvalid access to memory\nprocessed 3 insns (limit 1000000)\n\0\0rest";
        let error = refused(io::Error::from_raw_os_error(libc::EACCES), log);
        assert!(format!("{error:#}").contains("invalid access to memory"), "{error:#}");
        assert!(!format!("{error:#}").contains("rest"), "{error:#}");
    }
}
