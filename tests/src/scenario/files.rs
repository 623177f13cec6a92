//! The scenario files: reading one, all, and the pairs that are made of two.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use toml::{Table, Value};

use super::spec::Scenario;
use crate::paths;

/// Not a scenario, but which of them go together.
const PAIRS: &str = "pairs";

/// Two scenarios at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    of: [String; 2],
    /// What differs from both, or settles what they disagree on
    #[serde(default)]
    with: Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pairs {
    pair: Vec<Pair>,
}

fn folder() -> PathBuf {
    paths::package().join("scenarios")
}

/// Where the recording of that scenario is kept.
pub fn recording_file(name: &str) -> PathBuf {
    paths::package().join("data").join("recordings").join(format!("{name}.jsonl"))
}

fn table(name: &str) -> Result<Table> {
    let file = folder().join(format!("{name}.toml"));
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {name}.toml"))
}

/// Reads that file of `tests/scenarios`. From its text, so that an error has its line.
pub fn named(name: &str) -> Result<Scenario> {
    let file = folder().join(format!("{name}.toml"));
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {name}.toml"))
}

/// Every scenario with its file's name, in the order of the names.
pub fn all() -> Result<Vec<(String, Scenario)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).context("list the scenarios")? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_some_and(|ending| ending == "toml") && name != PAIRS {
            names.push(name);
        }
    }
    names.sort();
    names.into_iter().map(|name| Ok((name.clone(), named(&name)?))).collect()
}

/// The pairs of `pairs.toml`, each named `A + B`.
pub fn pairs() -> Result<Vec<(String, Scenario)>> {
    let pairs: Pairs = table(PAIRS)?.try_into().context("parse pairs.toml")?;
    pairs
        .pair
        .into_iter()
        .map(|pair| {
            let name = pair.of.join(" + ");
            let scenario = joined(&pair).with_context(|| format!("join {name}"))?;
            Ok((name, scenario))
        })
        .collect()
}

fn joined(pair: &Pair) -> Result<Scenario> {
    let [mut one, mut other] = [table(&pair.of[0])?, table(&pair.of[1])?];
    let title = [&mut one, &mut other].map(|table| match table.remove("title") {
        Some(Value::String(title)) => title,
        _ => String::new(),
    });
    for table in [&mut one, &mut other] {
        table.remove("bench_only");
        table.remove("not_recorded");
    }
    let mut merged = merge("", one, other, &pair.with)?;
    merged.insert("title".to_owned(), title.join("; ").into());
    let mut scenario: Scenario = merged.try_into()?;
    // What hangs to the end begins after what the other fault costs.
    let others: f64 = scenario.expect.iter().filter_map(|expect| expect.cost_ms).sum();
    for expect in scenario.expect.iter_mut().filter(|expect| expect.until_end) {
        expect.less_ms += others;
    }
    Ok(scenario)
}

/// Both tables: lists one after the other, tables merged, and what they disagree on as `with`
/// says.
fn merge(at: &str, mut one: Table, other: Table, with: &Table) -> Result<Table> {
    let nothing = Table::new();
    for (key, theirs) in other {
        let at = format!("{at}{key}");
        let merged = match (one.remove(&key), theirs) {
            (None, theirs) => theirs,
            (Some(ours), theirs) if ours == theirs && !ours.is_array() => ours,
            (Some(Value::Array(mut ours)), Value::Array(theirs)) => {
                ours.extend(theirs.into_iter().filter(|value| !ours.contains(value)).collect::<Vec<_>>());
                Value::Array(ours)
            }
            (Some(Value::Table(ours)), Value::Table(theirs)) => {
                let with = with.get(&key).and_then(Value::as_table).unwrap_or(&nothing);
                Value::Table(merge(&format!("{at}."), ours, theirs, with)?)
            }
            (Some(_), _) if with.contains_key(&key) => continue,
            (Some(ours), theirs) => bail!("{at} is {ours} in one and {theirs} in the other"),
        };
        one.insert(key, merged);
    }
    for (key, value) in with {
        match (one.get_mut(key), value) {
            (Some(Value::Table(ours)), Value::Table(with)) => {
                ours.extend(with.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => drop(one.insert(key.clone(), value.clone())),
        }
    }
    Ok(one)
}

impl Scenario {
    /// Whether a recording of it is kept: not of those that only the bench runs.
    pub const fn is_recorded(&self) -> bool {
        self.not_recorded.is_none() && self.bench_only.is_none()
    }

    /// Whether nothing else may run beside it: it is about the processor or the disk, or about a
    /// command that has them to itself.
    pub const fn is_alone(&self) -> bool {
        let machine = &self.machine;
        self.expect.is_empty() || machine.cores.is_some() || machine.hogs > 0 || machine.disk_writers > 0
    }

    /// Refuses what can be parsed and makes no sense.
    pub fn is_sound(&self) -> Result<()> {
        ensure!(!self.rtts_ms.is_empty(), "rtts_ms is empty");
        for expect in &self.expect {
            ensure!(!(expect.until_end && expect.cost_ms.is_some()), "{}: both costs", expect.kind);
        }
        if self.expect.iter().any(|expect| expect.until_end) {
            self.command.give_up_s.ok_or_else(|| anyhow!("until_end without give_up_s"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_file_is_understood_and_every_pair_joins() {
        let (all, pairs) = (all().unwrap(), pairs().unwrap());
        for (name, scenario) in all.iter().chain(&pairs) {
            scenario.is_sound().unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
        for (name, scenario) in &pairs {
            assert!(scenario.expect.len() >= 2, "{name}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = toml::from_str::<Scenario>("title = 'x'\n[dns]\ndelay = 3\n").unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("unknown field `delay`"), "{error}");
    }

    #[test]
    fn two_tables_become_one_and_a_disagreement_is_named() {
        let one = parsed("also = ['x']\n[dns]\ndelay_ms = 5");
        let other = parsed("also = ['x', 'y']\n[dns]\ntruncate = true\n[proxy]\nmax_streams = 2");
        let merged = merge("", one.clone(), other, &Table::new()).unwrap();
        assert_eq!(
            merged,
            parsed("also = ['x', 'y']\n[dns]\ndelay_ms = 5\ntruncate = true\n[proxy]\nmax_streams = 2")
        );
        let other = parsed("[dns]\ndelay_ms = 6");
        let error = merge("", one.clone(), other.clone(), &Table::new()).unwrap_err().to_string();
        assert_eq!(error, "dns.delay_ms is 5 in one and 6 in the other");
        let settled = merge("", one, other, &parsed("[dns]\ndelay_ms = 7")).unwrap();
        assert_eq!(settled["dns"]["delay_ms"].as_integer(), Some(7));
    }
}
