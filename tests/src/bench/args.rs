//! Command lines of the benchmarks: `[COUNT] [NAME…] [--name VALUE] [--switch]`, in any order. In go the
//! names there are, out come the values, or what is wrong with the usage beneath it.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// The number without a name
    pub count: Option<usize>,
    /// Words without a name, when `usage` has `[NAME…]`
    pub names: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Args {
    /// Reads this process's arguments. `usage` names all there are.
    pub fn read(usage: &str) -> Result<Self> {
        Self::parse(usage, std::env::args().skip(1)).with_context(|| format!("usage: {usage}"))
    }

    /// An option takes a value when `usage` has one: `[--name VALUE]`.
    fn parse(usage: &str, args: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut args = args.into_iter();
        let mut parsed = Self { count: None, names: Vec::new(), values: BTreeMap::new() };
        while let Some(arg) = args.next() {
            if usage.contains(&format!("[{arg} ")) && arg.starts_with("--") {
                let value = args.next().with_context(|| format!("{arg} takes a value"))?;
                parsed.values.insert(arg, value);
            } else if usage.contains(&format!("[{arg}]")) && arg.starts_with("--") {
                parsed.values.insert(arg, String::new());
            } else if let Ok(count) = arg.parse() {
                parsed.count = Some(count);
            } else if usage.contains("[NAME…]") && !arg.starts_with("--") {
                parsed.names.push(arg);
            } else {
                bail!("{arg}?");
            }
        }
        Ok(parsed)
    }

    /// The switch was given.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The option's value.
    pub fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |text: &String| text.parse().map_err(|_| anyhow!("{name} {text}?"));
        self.values.get(name).map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse("bench [PAIRS] [--seed N] [--sample]", line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn numbers_options_and_switches_come_in_any_order() {
        let args = parse("--seed 7 12 --sample").unwrap();
        assert_eq!((args.count, args.has("--sample")), (Some(12), true));
        assert_eq!(args.value::<u64>("--seed").unwrap(), Some(7));
        assert_eq!(parse("").unwrap().value::<u64>("--seed").unwrap(), None);
    }

    #[test]
    fn what_the_usage_does_not_name_is_refused() {
        for line in ["--other", "many", "--seed", "--", "PAIRS"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--seed x").unwrap().value::<u64>("--seed").is_err());
    }
}
