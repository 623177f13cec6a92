//! Measures what `docs/findings` says: `findings [RUNS] [--study NAME] [--only PART]`. Prints tables
//! in Markdown: all, those of a study, or one part of them.

use anyhow::{Result, bail};
use tests::bench::args::Args;
use tests::findings::{Part, STUDIES};

fn main() -> Result<()> {
    let args = Args::read("findings [RUNS] [--study NAME] [--only PART]")?;
    let study: Option<String> = args.value("--study")?;
    let only: Option<String> = args.value("--only")?;
    let wanted = |name: &str, part: &str| {
        study.as_deref().is_none_or(|study| study == name) && only.as_deref().is_none_or(|only| only == part)
    };
    let mut chosen: Vec<(usize, Part)> = Vec::new();
    for (name, runs, parts) in STUDIES {
        let parts = parts.iter().filter(|(part, _)| wanted(name, part));
        chosen.extend(parts.map(|part| (args.count.unwrap_or(runs), *part)));
    }
    if chosen.is_empty() {
        let all = STUDIES.map(|(name, _, parts)| {
            let parts: Vec<&str> = parts.iter().map(|(part, _)| *part).collect();
            format!("{name} ({})", parts.join(", "))
        });
        bail!("there is no such study or part; there are: {}", all.join("; "));
    }
    for (runs, (_, table)) in chosen {
        println!("{}", table(runs)?);
    }
    Ok(())
}
