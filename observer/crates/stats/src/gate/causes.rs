//! What differs between two recordings besides their runs. In: both. Out: causes, which explain a
//! difference and are listed, and obstacles, which make times incomparable.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::Recording;
use super::module::Module;

/// Lines of go.mod that are named.
const LINES: usize = 5;

/// Something that was changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What: `go version`, `GOPROXY`, `go.mod`, `kernel` …
    pub what: String,
    /// What it was; `None`: not known, or a file that was not there
    pub before: Option<String>,
    /// What it is
    pub after: Option<String>,
}

impl Change {
    /// `GOPROXY was a, is b`; files just changed.
    pub fn text(&self) -> String {
        if matches!(self.what.as_str(), "go.mod" | "go.sum") {
            return format!("{} changed", self.what);
        }
        let text = |value: &Option<String>| match value.as_deref() {
            None => "not known".to_owned(),
            Some("") => "empty".to_owned(),
            Some(value) => value.to_owned(),
        };
        format!("{} was {}, is {}", self.what, text(&self.before), text(&self.after))
    }
}

/// Causes: go.mod, go.sum, go's version and settings, and the resolver's.
pub fn causes(before: &Recording, after: &Recording) -> Vec<Change> {
    let of = |recording: &Recording| {
        let settings = recording.settings.clone();
        let resolver = &recording.machine.resolver;
        let resolver = format!(
            "{} (search {}; timeout {} s, attempts {})",
            resolver.servers.join(" "),
            resolver.search.join(" "),
            resolver.timeout_s,
            resolver.attempts
        );
        [
            ("go.mod", settings.go_mod),
            ("go.sum", settings.go_sum),
            ("go version", settings.go_version),
            ("GOPROXY", settings.goproxy),
            ("GOSUMDB", settings.gosumdb),
            ("GOFLAGS", settings.goflags),
            ("GODEBUG", settings.godebug),
            ("resolver", Some(resolver)),
        ]
    };
    let mut all = changes(of(before), of(after));
    all.extend(lines(before, after));
    all
}

/// Lines of go.mod, and go's own words: with `gate ab` each side has its own.
fn lines(before: &Recording, after: &Recording) -> Vec<Change> {
    let (old, new) = (&before.settings, &after.settings);
    let mut all = Vec::new();
    // Older baselines do not have these.
    if old.go_command.is_some() && new.go_command.is_some() {
        all.extend(changes(
            [("go command", old.go_command.clone())],
            [("go command", new.go_command.clone())],
        ));
    }
    if let (Some(old), Some(new)) = (&old.module, &new.module) {
        let none = || Some("none".to_owned());
        let of = |module: &Module, other: &Module| {
            let only = |own: &BTreeSet<String>, other: &BTreeSet<String>| {
                let lines: Vec<&str> = own.difference(other).take(LINES).map(String::as_str).collect();
                if lines.is_empty() { none() } else { Some(lines.join(", ")) }
            };
            [
                ("go line", module.go.clone().or_else(none)),
                ("toolchain line", module.toolchain.clone().or_else(none)),
                ("replace", only(&module.replace, &other.replace)),
                ("exclude", only(&module.exclude, &other.exclude)),
                ("vendor folder", Some(if module.vendor { "there" } else { "none" }.to_owned())),
            ]
        };
        all.extend(changes(of(old, new), of(new, old)));
    }
    all
}

/// Obstacles: another machine, kernel or GOMAXPROCS. A machine is its CPU and their number: of two
/// alike, the spread between recordings reports.
pub fn obstacles(before: &Recording, after: &Recording) -> Vec<Change> {
    let of = |recording: &Recording| {
        [
            ("kernel", Some(recording.machine.kernel.clone())),
            ("architecture", Some(recording.machine.arch.clone())),
            ("CPU", recording.cpu.clone()),
            ("CPUs", Some(recording.machine.cpus.to_string())),
            ("GOMAXPROCS", recording.settings.gomaxprocs.map(|count| count.to_string())),
        ]
    };
    changes(of(before), of(after))
}

fn changes<const N: usize>(
    before: [(&str, Option<String>); N],
    after: [(&str, Option<String>); N],
) -> Vec<Change> {
    let pairs = before.into_iter().zip(after);
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((what, before), (_, after))| Change { what: what.to_owned(), before, after })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::gate as sample;

    fn names(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.what.as_str()).collect()
    }

    #[test]
    fn equal_recordings_differ_in_nothing() {
        let one = sample::recording(2);
        assert!(causes(&one, &one).is_empty() && obstacles(&one, &one).is_empty());
    }

    #[test]
    fn each_cause_and_each_obstacle_is_reported() {
        let (before, mut after) = (sample::recording(1), sample::recording(1));
        after.settings.go_mod = Some("x".into());
        after.settings.go_sum = None;
        after.settings.go_version = Some("go1.27.1".into());
        after.settings.goproxy = Some("https://other.test".into());
        after.settings.gosumdb = Some("off".into());
        after.settings.goflags = Some("-mod=mod".into());
        after.settings.godebug = Some("http2client=0".into());
        after.machine.resolver.timeout_s = 1;
        let all = ["go.mod", "go.sum", "go version", "GOPROXY", "GOSUMDB", "GOFLAGS", "GODEBUG", "resolver"];
        assert_eq!(names(&causes(&before, &after)), all);
        assert_eq!(obstacles(&before, &after).len(), 0);
        assert_eq!(causes(&before, &after)[2].text(), "go version was go1.26.8, is go1.27.1");
        assert_eq!(causes(&before, &after)[1].text(), "go.sum changed");

        let mut after = sample::recording(1);
        after.machine.kernel = "6.19.0".into();
        after.machine.arch = "aarch64".into();
        after.cpu = None;
        after.machine.cpus = 64;
        after.settings.gomaxprocs = Some(1);
        let all = ["kernel", "architecture", "CPU", "CPUs", "GOMAXPROCS"];
        assert_eq!(names(&obstacles(&before, &after)), all);
        assert_eq!(causes(&before, &after).len(), 0);
    }

    #[test]
    fn lines_of_go_mod_and_other_words_of_go_are_causes() {
        let (before, mut after) = (sample::recording(1), sample::recording(1));
        after.settings.go_command = Some("go build ./...".into());
        let module = after.settings.module.as_mut().unwrap();
        module.add("toolchain go1.27.1\nreplace a.test/x => ../x\nexclude a.test/y v1.0.0\n");
        module.vendor = true;
        let found = causes(&before, &after);
        assert_eq!(names(&found), ["go command", "toolchain line", "replace", "exclude", "vendor folder"]);
        assert_eq!(found[1].text(), "toolchain line was none, is go1.27.1");
        after.settings.module = None;
        assert_eq!(names(&causes(&before, &after)), ["go command"], "an older baseline does not say");
    }
}
