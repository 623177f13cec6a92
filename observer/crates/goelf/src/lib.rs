//! An ELF file in, a plan of where to put probes out, or the reason why there is none.
//!
//! Pure: nothing is read but the file that is given, nothing of it is run. Offsets that a plan
//! holds lie inside the file's machine code; an agent with privileges need only check that.
//!
//! ```
//! let own = std::fs::read(std::env::current_exe()?)?;
//! assert_eq!(goelf::plan(&own[..]), Err(goelf::PlanError::NotGo)); // this test is no Go program
//! # Ok::<(), std::io::Error>(())
//! ```

mod build_info;
mod code;
mod image;
mod moduledata;
mod plan_error;
mod search;
mod symbols;

pub use build_info::BuildInfo;
use code::Shape;
use image::{Extent, Image};
use object::ReadRef;
pub use plan_error::PlanError;

/// A TLS client's handshake, from its first byte sent to its last one received.
const HANDSHAKE: &str = "crypto/tls.(*Conn).clientHandshake";
/// Plain text on its way to the peer.
const WRITE: &str = "crypto/tls.(*Conn).Write";
/// Plain text that came from the peer.
const READ: &str = "crypto/tls.(*Conn).Read";
/// The oldest minor version of Go 1 whose tables and calling convention are known to fit.
const OLDEST_MINOR: u32 = 21;
/// Larger functions are refused: the three are 1 to 5 KB each.
const MAX_FUNCTION: u64 = 256 << 10;

/// Machine the program is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arch {
    /// 64-bit x86
    Amd64,
    /// 64-bit ARM
    Arm64,
}

/// By which table the functions were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocatedBy {
    /// The ELF symbol table
    Symtab,
    /// The Go runtime's own tables, which stripping leaves alone
    Moduledata,
}

/// Where to put the probes of one function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// File offset of the entry probe. The arguments are in their registers there
    pub entry: u64,
    /// File offsets of its RET instructions, ascending; at least one
    pub returns: Vec<u64>,
    /// `entry` lies behind the stack check, so that a call passes it once. Otherwise it is the
    /// function's first byte, and a call that makes the stack grow passes it twice
    pub after_stack_check: bool,
}

/// Where to put the probes of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Machine the program is for
    pub arch: Arch,
    /// How it was built
    pub build: BuildInfo,
    /// `crypto/tls.(*Conn).clientHandshake`
    pub handshake: Function,
    /// `crypto/tls.(*Conn).Write`
    pub write: Function,
    /// `crypto/tls.(*Conn).Read`
    pub read: Function,
    /// How the functions were found
    pub located_by: LocatedBy,
}

/// Makes the plan of a program.
///
/// `file` is its bytes (`&[u8]`), or a `&object::ReadCache<File>`, of which only the tables and
/// the three functions are read.
///
/// # Errors
/// The first thing that speaks against it; a program is refused rather than guessed at.
pub fn plan<'d, R: ReadRef<'d>>(file: R) -> Result<Plan, PlanError> {
    let image = Image::open(file)?;
    let build = build_info::read(&image)?;
    if build.go_minor().is_none_or(|minor| minor < OLDEST_MINOR) {
        return Err(PlanError::UnsupportedGo(build.go_version));
    }
    let (extents, located_by) = locate(&image)?;
    let [handshake, write, read] = [(HANDSHAKE, 0), (WRITE, 1), (READ, 2)]
        .map(|(name, index): (_, usize)| function(&image, name, extents[index]));
    Ok(Plan { arch: image.arch, build, handshake: handshake?, write: write?, read: read?, located_by })
}

/// Reads how a Go program was built. It needs no crypto/tls, and no supported version beyond
/// go1.18, which is when the present format began.
///
/// # Errors
/// [`PlanError::NotGo`] for other programs, and whatever makes the file unreadable as ELF.
pub fn build_info<'d, R: ReadRef<'d>>(file: R) -> Result<BuildInfo, PlanError> {
    build_info::read(&Image::open(file)?)
}

/// Finds the three functions, by symbols if there are any, else by the runtime's tables.
fn locate<'d, R: ReadRef<'d>>(image: &Image<'d, R>) -> Result<([Extent; 3], LocatedBy), PlanError> {
    let symbols = symbols::find(image, [HANDSHAKE, WRITE, READ, moduledata::SYMBOL])?;
    if let [Some(handshake), Some(write), Some(read), _] = symbols {
        return Ok(([handshake, write, read], LocatedBy::Symtab));
    }
    let module = moduledata::address(image, symbols[3])?.ok_or(PlanError::Stripped)?;
    let found = moduledata::find(image, module, [HANDSHAKE, WRITE, READ])?;
    let [handshake, write, read] = found;
    let extents = [
        handshake.ok_or(PlanError::NoTls(HANDSHAKE))?,
        write.ok_or(PlanError::NoTls(WRITE))?,
        read.ok_or(PlanError::NoTls(READ))?,
    ];
    Ok((extents, LocatedBy::Moduledata))
}

/// Turns a function's place in memory into its probes' places in the file.
fn function<'d, R: ReadRef<'d>>(
    image: &Image<'d, R>,
    name: &'static str,
    extent: Extent,
) -> Result<Function, PlanError> {
    if extent.size == 0 {
        return Err(PlanError::Damaged { what: "size of a function", at: extent.addr });
    }
    if extent.size > MAX_FUNCTION {
        return Err(PlanError::TooLarge { what: "function", size: extent.size, limit: MAX_FUNCTION });
    }
    let (start, bytes) = image.code(extent, name)?;
    let shape = match image.arch {
        Arch::Amd64 => code::amd64(bytes),
        Arch::Arm64 => code::arm64(bytes),
    };
    let Shape { body, returns } = shape.map_err(|fault| PlanError::Code {
        function: name,
        what: fault.what,
        at: start + u64::from(fault.at),
    })?;
    Ok(Function {
        entry: start + u64::from(body.unwrap_or(0)),
        returns: returns.into_iter().map(|at| start + u64::from(at)).collect(),
        after_stack_check: body.is_some(),
    })
}
