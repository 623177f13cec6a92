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

mod arm64;
mod build_info;
mod code;
mod follow;
mod image;
mod moduledata;
mod plan_error;
mod records;
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
/// The same, a TLS record at a time; calls [`DECRYPT`] once.
const RECORDS: &str = "crypto/tls.(*Conn).readRecordOrCCS";
const DECRYPT: &str = "crypto/tls.(*halfConn).decrypt";
/// Called when a connection is of no use any more.
const CLOSE: &str = "crypto/tls.(*Conn).Close";
/// The oldest minor version of Go 1 whose tables and calling convention are known to fit.
const OLDEST_MINOR: u32 = 21;
/// Larger functions are refused: they are 1 to 12 KB each.
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

/// What lies where a function's entry is probed. A Go function begins by comparing its stack with what it takes,
/// and begins anew when the stack has grown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryPlace {
    /// The first byte: a call that makes the stack grow passes it twice
    First,
    /// The instruction behind the check: a call passes it once
    Behind,
    /// The check's jump, `BLS` on arm64: a call that makes the stack grow passes it twice, and the flags there
    /// say when: it goes on where the carry is set and the result was not zero
    Jump,
}

/// Where to put the probes of one function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// File offset of the entry probe. The arguments are in their registers there
    pub entry: u64,
    /// What lies there
    pub place: EntryPlace,
    /// File offsets of its RET instructions, ascending; at least one
    pub returns: Vec<u64>,
}

/// Where to see plain text that came from the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// Once a TLS record, at a jump that the kernel emulates, on x86 and on arm64
    Records {
        /// File offset of the jump. The results of `decrypt` are in their registers there: plain text, its
        /// length and capacity, the record's type, an error
        decrypted: u64,
        /// Where the `*tls.Conn` lies there, bytes from the stack pointer
        connection: u32,
        /// `(*Conn).Close`
        close: Function,
    },
    /// At the entry and the returns of `(*Conn).Read`, which costs many times as much: the machine code is of
    /// a form that is not known
    Calls(Function),
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
    /// What came from the peer
    pub received: Received,
    /// How the functions were found
    pub located_by: LocatedBy,
}

/// Makes the plan of a program.
///
/// `file` is its bytes (`&[u8]`), or a `&object::ReadCache<File>`, of which only the tables and
/// the few functions are read.
///
/// # Errors
/// The first thing that speaks against it; a program is refused rather than guessed at.
pub fn plan<'d, R: ReadRef<'d>>(file: R) -> Result<Plan, PlanError> {
    let image = Image::open(file)?;
    let build = build_info::read(&image)?;
    if build.go_minor().is_none_or(|minor| minor < OLDEST_MINOR) {
        return Err(PlanError::UnsupportedGo(build.go_version));
    }
    let (found, located_by) = locate(&image)?;
    let handshake = function(&image, HANDSHAKE, found.handshake)?;
    let write = function(&image, WRITE, found.write)?;
    let received = match records(&image, &found) {
        Some(records) => records,
        None => Received::Calls(function(&image, READ, found.read)?),
    };
    Ok(Plan { arch: image.arch, build, handshake, write, received, located_by })
}

/// Where records are decrypted; `None` when the code is not of the form that is known.
fn records<'d, R: ReadRef<'d>>(image: &Image<'d, R>, found: &Functions) -> Option<Received> {
    let (extent, decrypt, close) = (found.records?, found.decrypt?, found.close?);
    if extent.size > MAX_FUNCTION {
        return None;
    }
    let (start, bytes) = image.code(extent, RECORDS).ok()?;
    let place = match image.arch {
        Arch::Amd64 => records::amd64(bytes, extent.addr, decrypt.addr),
        Arch::Arm64 => arm64::records::find(bytes, extent.addr, decrypt.addr),
    }?;
    Some(Received::Records {
        decrypted: start + u64::from(place.at),
        connection: place.connection,
        close: function(image, CLOSE, close).ok()?,
    })
}

/// Reads how a Go program was built. It needs no crypto/tls, and no supported version beyond
/// go1.18, which is when the present format began.
///
/// # Errors
/// [`PlanError::NotGo`] for other programs, and whatever makes the file unreadable as ELF.
pub fn build_info<'d, R: ReadRef<'d>>(file: R) -> Result<BuildInfo, PlanError> {
    build_info::read(&Image::open(file)?)
}

/// Where the functions lie in memory.
struct Functions {
    handshake: Extent,
    write: Extent,
    read: Extent,
    records: Option<Extent>,
    decrypt: Option<Extent>,
    close: Option<Extent>,
}

/// Finds the functions, by symbols if there are any, else by the runtime's tables.
fn locate<'d, R: ReadRef<'d>>(image: &Image<'d, R>) -> Result<(Functions, LocatedBy), PlanError> {
    let names = [HANDSHAKE, WRITE, READ, RECORDS, DECRYPT, CLOSE, moduledata::SYMBOL];
    let symbols = symbols::find(image, names)?;
    if let [Some(handshake), Some(write), Some(read), records, decrypt, close, _] = symbols {
        return Ok((Functions { handshake, write, read, records, decrypt, close }, LocatedBy::Symtab));
    }
    let module = moduledata::address(image, symbols[6])?.ok_or(PlanError::Stripped)?;
    let names = [HANDSHAKE, WRITE, READ, RECORDS, DECRYPT, CLOSE];
    let [handshake, write, read, records, decrypt, close] = moduledata::find(image, module, names)?;
    let found = Functions {
        handshake: handshake.ok_or(PlanError::NoTls(HANDSHAKE))?,
        write: write.ok_or(PlanError::NoTls(WRITE))?,
        read: read.ok_or(PlanError::NoTls(READ))?,
        records,
        decrypt,
        close,
    };
    Ok((found, LocatedBy::Moduledata))
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
        Arch::Arm64 => arm64::code::shape(bytes),
    };
    let Shape { entry, place, returns } = shape.map_err(|fault| PlanError::Code {
        function: name,
        what: fault.what,
        at: start + u64::from(fault.at),
    })?;
    Ok(Function {
        entry: start + u64::from(entry),
        place,
        returns: returns.into_iter().map(|at| start + u64::from(at)).collect(),
    })
}
