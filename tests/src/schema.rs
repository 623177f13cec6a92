//! Checks JSON against one of goobserve's published schemas. In go the schema and a value, out
//! comes every place where they differ.
//!
//! It knows the words that these schemas use, and refuses any other, so that nothing is taken
//! for checked that was not.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::paths;

/// A schema file.
#[derive(Debug)]
pub struct Schema {
    root: Value,
}

/// Words that say nothing about a value, or are the concern of another word.
const SILENT: [&str; 6] = ["$schema", "title", "description", "$defs", "format", "default"];

impl Schema {
    /// Reads `observer/schema/NAME.schema.json`.
    pub fn published(name: &str) -> Result<Self> {
        let path = paths::schemas().join(format!("{name}.schema.json"));
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self { root: serde_json::from_slice(&text).context("parse the schema")? })
    }

    /// Fails with the place and the reason when the value does not fit.
    pub fn check(&self, value: &Value) -> Result<()> {
        self.fits(&self.root, value, "$")
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<()> {
        let words = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Object(words) => words,
            other => bail!("{at}: the schema is {other}"),
        };
        for (word, wanted) in words {
            match word.as_str() {
                "type" => ensure!(has_type(wanted, value), "{at}: {value} is no {wanted}"),
                "const" => ensure!(value == wanted, "{at}: {value} is not {wanted}"),
                "enum" => ensure!(list(wanted)?.contains(value), "{at}: {value} is none of {wanted}"),
                "minimum" => {
                    let small = value.as_f64().zip(wanted.as_f64()).is_some_and(|(is, least)| is < least);
                    ensure!(!small, "{at}: {value} is below {wanted}");
                }
                "maximum" => {
                    let large = value.as_f64().zip(wanted.as_f64()).is_some_and(|(is, most)| is > most);
                    ensure!(!large, "{at}: {value} is above {wanted}");
                }
                "minItems" | "maxItems" => {
                    let (is, wanted) = (value.as_array().map(Vec::len), wanted.as_u64().unwrap_or_default());
                    let fits = is.is_none_or(|is| {
                        if word == "minItems" { is as u64 >= wanted } else { is as u64 <= wanted }
                    });
                    ensure!(fits, "{at}: {is:?} items, {word} is {wanted}");
                }
                "required" => {
                    for name in list(wanted)?.iter().filter_map(Value::as_str) {
                        ensure!(!value.is_object() || value.get(name).is_some(), "{at}: no {name}");
                    }
                }
                "properties" => {
                    for (name, schema) in wanted.as_object().context("properties")? {
                        if let Some(value) = value.get(name) {
                            self.fits(schema, value, &format!("{at}.{name}"))?;
                        }
                    }
                }
                "additionalProperties" => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        if words.get("properties").and_then(|known| known.get(name)).is_none() {
                            self.fits(wanted, value, &format!("{at}.{name}"))?;
                        }
                    }
                }
                "prefixItems" => {
                    for (index, (schema, value)) in list(wanted)?.iter().zip(items(value)).enumerate() {
                        self.fits(schema, value, &format!("{at}[{index}]"))?;
                    }
                }
                "items" => {
                    let first = words.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                    for (index, value) in items(value).iter().enumerate().skip(first) {
                        self.fits(wanted, value, &format!("{at}[{index}]"))?;
                    }
                }
                "$ref" => self.fits(self.named(wanted)?, value, at)?,
                "oneOf" | "anyOf" => {
                    let tried: Vec<_> =
                        list(wanted)?.iter().map(|schema| self.fits(schema, value, at)).collect();
                    let fitting = tried.iter().filter(|tried| tried.is_ok()).count();
                    let enough = if word == "oneOf" { fitting == 1 } else { fitting > 0 };
                    let reasons: Vec<String> =
                        tried.into_iter().filter_map(|tried| Some(format!("{:#}", tried.err()?))).collect();
                    ensure!(enough, "{at}: {fitting} of {word} fit: {reasons:?}");
                }
                silent if SILENT.contains(&silent) => {}
                other => bail!("{at}: the schema says {other:?}, which is not checked here"),
            }
        }
        Ok(())
    }

    fn named(&self, name: &Value) -> Result<&Value> {
        let pointer = name.as_str().and_then(|name| name.strip_prefix('#')).context("a reference")?;
        self.root.pointer(pointer).with_context(|| format!("no {pointer} in the schema"))
    }
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("the schema has {value} where a list belongs"))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    match wanted {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(schema: &Value, value: &Value) -> bool {
        Schema { root: schema.clone() }.check(value).is_ok()
    }

    #[test]
    fn types_and_limits_are_checked() {
        assert!(fits(&json!({"type": ["integer", "null"], "minimum": 0}), &json!(null)));
        assert!(!fits(&json!({"type": "integer", "minimum": 0}), &json!(-1)));
        assert!(!fits(&json!({"type": "integer"}), &json!(1.5)));
        assert!(!fits(&json!({"maxItems": 1}), &json!([1, 2])));
        assert!(!fits(&json!({"enum": ["a", "b"]}), &json!("c")));
    }

    #[test]
    fn objects_are_checked_inside_and_through_references() {
        let schema = json!({
            "$defs": {"n": {"type": "integer"}},
            "properties": {"a": {"$ref": "#/$defs/n"}},
            "required": ["a"],
            "additionalProperties": {"type": "string"},
        });
        assert!(fits(&schema, &json!({"a": 1, "b": "x"})));
        for wrong in [json!({}), json!({"a": "x"}), json!({"a": 1, "b": 2})] {
            assert!(!fits(&schema, &wrong));
        }
    }

    #[test]
    fn exactly_one_of_the_choices_must_fit() {
        let schema = json!({"oneOf": [{"type": "integer"}, {"minimum": 5}]});
        assert!(fits(&schema, &json!(3)));
        assert!(!fits(&schema, &json!(7)));
    }

    #[test]
    fn a_word_that_is_not_known_is_refused() {
        assert!(!fits(&json!({"pattern": "^a"}), &json!("a")));
    }

    #[test]
    fn the_published_schemas_refuse_an_empty_object() {
        for name in ["recording", "report"] {
            assert!(Schema::published(name).unwrap().check(&json!({})).is_err());
        }
    }
}
