//! Strings as an attacker would choose them, in every place of a recording that others write.

use diagnose::report::report;
use model::event::Event;
use model::{Report, State};
use proptest::prelude::*;
use serde_json::Value;

use crate::made;

/// Fields that hold names of our own.
const OURS: [&str; 8] = ["type", "schema", "outcome", "class", "protocol", "transport", "phase", "tool"];

/// What breaks out of most kinds of markup, and anything else.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let known = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onload='alert(1)",
        "</title></style></svg></pre><!--",
        "]]>&lt;&#60;&",
        "|`|``|```\n| a | b |\n",
        "[x](https://proxy.test) ![y](z) @everyone #1 https://proxy.test www.proxy.test a@b.test",
        "\n# heading\n- item\n> quote\n***\n",
        "</code></details>\\|\\`*_~",
        "\u{1b}[2J\u{202e}\u{0}\u{fffe}\u{fdd0}\u{10ffff}",
        "javascript:alert(1)",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        "\\PC{0,30}",
        ".{0,30}",
        "[<>&\"'`|@#*_\\[\\]():/!~\\\\ a1-]{0,30}",
    ]
}

/// The hand-made recording with every string of others replaced by `text`, and a stall about it.
pub(crate) fn report_of(text: &str) -> (Report, State) {
    let events: Vec<Event> = made::events()
        .iter()
        .map(|event| {
            let mut value = serde_json::to_value(event).unwrap();
            replace(&mut value, "", text);
            Event::parse(&serde_json::to_vec(&value).unwrap()).unwrap().unwrap()
        })
        .collect();
    let state = made::state(&events);
    let mut report = report(&state);
    let mut stall = made::stall(text);
    let remedy = &mut stall.remedies[0];
    for field in [&mut stall.kind, &mut remedy.name, &mut remedy.why, &mut remedy.attempt] {
        text.clone_into(field);
    }
    // What is found depends on the strings: of folders that are the same, of a host that is a proxy.
    report.commands.iter_mut().for_each(|command| command.stalls.clear());
    report.commands[0].stalls = vec![stall];
    (report, state)
}

fn replace(value: &mut Value, key: &str, text: &str) {
    match value {
        Value::String(string) if !OURS.contains(&key) => text.clone_into(string),
        Value::Array(all) => all.iter_mut().for_each(|one| replace(one, key, text)),
        Value::Object(all) => all.iter_mut().for_each(|(key, one)| replace(one, key, text)),
        _ => {}
    }
}
