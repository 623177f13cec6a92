//! The metrics in a file, for `node_exporter`'s textfile collector: Prometheus' own text format, which it reads,
//! written beside and moved into place, so that nobody sees half of it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lock;
use crate::metrics::Metrics;

/// How often it is written.
const EVERY: Duration = Duration::from_secs(15);

/// Writes now and then, until it is dropped.
pub(crate) async fn keep(path: PathBuf, metrics: Arc<Mutex<Metrics>>) {
    loop {
        // A folder that is full, or gone, may come back.
        let _ = write(&path, &metrics);
        tokio::time::sleep(EVERY).await;
    }
}

/// Writes it once. It is for another user to read.
pub(crate) fn write(path: &Path, metrics: &Mutex<Metrics>) -> io::Result<()> {
    let text = plain(&lock(metrics).text());
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// `OpenMetrics` as the older format has it: a counter's name is that of its sample, and there are no units.
fn plain(text: &str) -> String {
    let mut counters = Vec::new();
    for line in text.lines() {
        counters.extend(line.strip_prefix("# TYPE ").and_then(|line| line.strip_suffix(" counter")));
    }
    let mut out = String::new();
    for line in text.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(&name) => {
                out.push_str(&format!("# {what} {name}_total {rest}\n"));
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_declared_by_the_name_of_its_sample() {
        let metrics = Mutex::new(Metrics::new());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("goobserve.prom");
        write(&path, &metrics).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("# TYPE goobserve_wall_seconds_total counter\ngoobserve_wall_seconds_total 0"),
            "{text}"
        );
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
