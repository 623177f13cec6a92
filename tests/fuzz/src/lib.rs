//! The decoders and the attach plans, taken in as source: the whole of `observer` would need the BPF object, and that
//! is not built by the compiler that fuzzing takes.

#[path = "../../../observer/src/decode/mod.rs"]
pub mod decode;
#[path = "../../../observer/src/target/mod.rs"]
pub mod target;
#[path = "../../../observer/src/model"]
pub mod model {
    pub mod record;
}
