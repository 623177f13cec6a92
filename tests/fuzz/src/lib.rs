//! The decoders and the attach plans, taken in as source: the whole of `observer` would need the BPF object, and that
//! is not built by the compiler that fuzzing takes.

#[path = "../../../observer/src/decode/mod.rs"]
pub mod decode;
#[path = "../../../observer/src/target/mod.rs"]
pub mod target;
#[path = "../../../observer/src/diagnose/mod.rs"]
pub mod diagnose;
#[path = "../../../observer/src/model/mod.rs"]
pub mod model;
#[path = "../../../observer/src/redact/mod.rs"]
pub mod redact;
#[path = "../../../observer/src/source"]
pub mod source {
    pub mod record;
    pub mod replay;
}
/// Without the dashboard.
#[path = "../../../observer/src/view"]
pub mod view {
    pub mod answer;
    pub mod clean;
    pub mod html;
    pub mod human;
    pub mod json;
    pub mod lanes;
    pub mod lines;
    pub mod loss;
    pub mod markdown;
    pub mod markup;
    pub mod page;
    pub mod perfetto;
    pub mod table;
    pub mod text;
    pub mod waterfall;
    pub mod words;
}
