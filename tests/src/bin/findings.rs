//! Measures what `docs/findings` says: `findings [RUNS] [--study NAME]`. Prints a study's tables
//! in Markdown; all studies without a name.

use anyhow::{Result, bail};
use tests::bench::args::Args;
use tests::findings::STUDIES;

fn main() -> Result<()> {
    let args = Args::read("findings [RUNS] [--study NAME]")?;
    let wanted: Option<String> = args.value("--study")?;
    if let Some(name) = &wanted
        && !STUDIES.iter().any(|(study, ..)| study == name)
    {
        let names: Vec<&str> = STUDIES.iter().map(|(name, ..)| *name).collect();
        bail!("there is no study {name}; there are: {}", names.join(", "));
    }
    for (name, runs, tables) in STUDIES {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            for table in tables(args.count.unwrap_or(runs))? {
                println!("{table}");
            }
        }
    }
    Ok(())
}
