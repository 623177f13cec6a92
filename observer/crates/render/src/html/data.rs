//! A list of spans in, a block of JSON out that the page's script reads. Strings that come up often are
//! numbers of a table. Nothing in it can end the element that it stands in.

use std::collections::HashMap;

use model::record::Phase;
use serde_json::{Value, json};

use crate::markup::visible;
use crate::waterfall::list::{List, Row};

/// In the fields' flags.
const FAILED: u8 = 1;
const OPEN: u8 = 2;

/// Strings, each once.
#[derive(Default)]
struct Strings {
    all: Vec<String>,
    known: HashMap<String, usize>,
}

impl Strings {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        self.all.push(visible(text));
        self.known.insert(text.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }
}

/// The block's text.
pub(super) fn block(list: &List) -> String {
    let mut strings = Strings::default();
    let rows: Vec<Value> = list.rows.iter().map(|row| fields(row, &mut strings)).collect();
    let places: Vec<Value> =
        list.places.iter().map(|(title, more)| json!([visible(title), visible(more)])).collect();
    let left = match list.more {
        0 => String::new(),
        more => format!(", {more} of them not in this page"),
    };
    let block = json!({
        "title": format!("Every request, query and handshake: {}{left}", list.rows.len() + list.more),
        "wall": list.wall_ns.max(1),
        "phases": Phase::ALL.map(Phase::name),
        "places": places,
        "rows": rows,
        "strings": strings.all,
    });
    block.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// In the order that the script reads.
fn fields(row: &Row, strings: &mut Strings) -> Value {
    let phase = Phase::ALL.iter().position(|phase| *phase == row.phase);
    let flags = if row.error { FAILED } else { 0 } | if row.open { OPEN } else { 0 };
    let none = |value: Option<u64>| value.map_or(json!(-1), |value| json!(value));
    json!([
        phase,
        strings.number(&row.kind),
        visible(&row.name),
        row.start_ns,
        row.took_ns,
        none(row.first_byte_ns),
        strings.number(&row.status),
        flags,
        none(row.bytes),
        row.place,
        strings.number(&row.host),
        visible(&row.url),
        visible(&row.note),
    ])
}
