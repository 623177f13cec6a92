//! The stack of BPF functions. In goes a program that carries a BPF object, out come its functions with
//! what each takes of the stack and whom it calls.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use object::elf::EM_BPF;
use object::read::elf::ElfFile64;
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SymbolKind, SymbolSection,
};

/// Register 10 is the end of the frame.
const FRAME: u8 = 10;

/// A function of the object.
#[derive(Debug)]
pub struct Function {
    /// As the compiler calls it
    pub name: String,
    /// Its section, which says what attaches to it
    pub section: String,
    /// Bytes of the stack that its instructions reach
    pub frame: u32,
    /// What it calls, or has called for it, as places in the list of functions
    pub calls: Vec<usize>,
}

/// The BPF object in a program, which carries it as it is.
pub fn object(program: &[u8]) -> Option<Vec<u8>> {
    let is_object = |at: &usize| {
        let head = &program[*at..];
        head.starts_with(b"\x7fELF") && head.get(18..20) == Some(&EM_BPF.0.to_le_bytes()[..])
    };
    let at = (0..program.len()).step_by(4).find(is_object)?;
    Some(program[at..].to_vec())
}

/// All functions of the object.
pub fn functions(object: &[u8]) -> Result<Vec<Function>> {
    let elf = ElfFile64::<object::LittleEndian>::parse(object).context("parse the BPF object")?;
    let symbols: Vec<_> = elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text).collect();
    let sized = symbols.iter().filter(|symbol| symbol.size() > 0);
    let places: Vec<_> = sized.filter_map(|symbol| Some((symbol.section_index()?, symbol))).collect();
    let find = |section, address| {
        places.iter().position(|(of, symbol)| {
            *of == section && (symbol.address()..symbol.address() + symbol.size()).contains(&address)
        })
    };
    let mut functions = Vec::new();
    for (index, symbol) in &places {
        let section = elf.section_by_index(*index)?;
        let relocations: HashMap<u64, _> = section.relocations().collect();
        let code = section.data_range(symbol.address(), symbol.size())?.context("a function has no code")?;
        let mut calls = Vec::new();
        for (n, instruction) in code.as_chunks::<8>().0.iter().enumerate() {
            let at = symbol.address() + n as u64 * 8;
            let immediate = i64::from(i32::from_le_bytes(instruction[4..].try_into()?));
            // A call of a function, or the address of one, which a helper will call.
            let (is_call, is_address) =
                (instruction[0] == 0x85 && instruction[1] >> 4 == 1, instruction[0] == 0x18);
            let target = match relocations.get(&at).map(object::Relocation::target) {
                Some(RelocationTarget::Symbol(target)) => {
                    let target = elf.symbol_by_index(target)?;
                    let SymbolSection::Section(of) = target.section() else { continue };
                    let addend = if is_call { (immediate + 1) * 8 } else { immediate };
                    let whole = target.kind() == SymbolKind::Text;
                    find(of, target.address().wrapping_add_signed(if whole { 0 } else { addend }))
                }
                _ if is_call => find(*index, at.wrapping_add_signed((immediate + 1) * 8)),
                _ => None,
            };
            calls.extend(target.filter(|_| is_call || is_address));
        }
        functions.push(Function {
            name: symbol.name()?.to_owned(),
            section: section.name()?.to_owned(),
            frame: frame(code),
            calls,
        });
    }
    Ok(functions)
}

/// How far below its end a function reaches into its frame: by loads and stores, and by addresses that
/// it makes (`rX = r10; rX += -N`), whatever they are used for.
fn frame(code: &[u8]) -> u32 {
    let mut depth = 0;
    let mut copied = None;
    for instruction in code.as_chunks::<8>().0 {
        let (code, registers) = (instruction[0], instruction[1]);
        let (to, from) = (registers & 15, registers >> 4);
        let offset = i32::from(i16::from_le_bytes([instruction[2], instruction[3]]));
        let immediate = i32::from_le_bytes([instruction[4], instruction[5], instruction[6], instruction[7]]);
        let reached = match code & 7 {
            1 if from == FRAME => -offset,
            2 | 3 if to == FRAME => -offset,
            7 if code == 0x07 && copied == Some(to) => -immediate,
            _ => 0,
        };
        copied = (code == 0xbf && from == FRAME).then_some(to);
        depth = depth.max(reached);
    }
    depth as u32
}

/// A function and all that run because of it.
pub fn reached<'a>(functions: &'a [Function], from: &'a Function) -> Vec<&'a Function> {
    let mut seen = HashSet::new();
    let mut waiting: Vec<&Function> = vec![from];
    let mut all = Vec::new();
    while let Some(function) = waiting.pop() {
        if seen.insert(&raw const *function) {
            all.push(function);
            waiting.extend(function.calls.iter().map(|&call| &functions[call]));
        }
    }
    all
}
