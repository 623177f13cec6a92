//! A report in, indented JSON out, that is safe to show on a terminal.

use model::{Report, json};

/// `report` as JSON text with a final line end.
pub fn json(report: &Report) -> serde_json::Result<String> {
    json::pretty(report).map(|text| text + "\n")
}
