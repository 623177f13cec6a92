//! The one line that keeps what remedies brought. In: the remedies, the command as it is shown and what the
//! caller's environment holds. Out: a line to paste into a shell, or none where it would have a hole.

use std::fmt;

use super::setting::SHOWN;
use super::{Kind, Remedies, godebug};
use crate::clean::clean;
use crate::shell;

/// Where the line is to be pasted.
pub struct Here<'a> {
    /// The command, as far as it may be shown
    pub command: &'a [String],
    /// What a variable is there, if it is set
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whoever pastes it is root already
    pub root: bool,
}

impl fmt::Debug for Here<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Here").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Remedies {
    /// The line; `None` when a part of it may not be shown, and when a protection would be given up.
    pub fn line(&self, here: &Here<'_>) -> Option<String> {
        if self.is_empty() || self.0.iter().any(|remedy| remedy.keeping().is_none()) {
            return None;
        }
        let command = Some(shell::line(here.command)).filter(|line| !line.is_empty() && is_whole(line));
        let line = match self.settings(here) {
            Some(settings) => {
                let pairs: Vec<String> =
                    settings.iter().map(|(name, value)| shell::word(&format!("{name}={value}"))).collect();
                let set = |name: &str| (here.variable)(name).is_some();
                // `go env -w` refuses where GOENV is off, and what it writes gives way to the environment.
                let to_write = (here.variable)("GOENV").as_deref() != Some("off")
                    && settings.iter().all(|(name, _)| lasts(name) && !set(name));
                let for_all = settings.iter().any(|(name, _)| lasts(name));
                match command {
                    _ if to_write => format!("go env -w {}", pairs.join(" ")),
                    // Builds and tests would use as many threads, too: in front of this command alone.
                    Some(command) if !for_all => {
                        let assigned: Vec<String> = settings.iter().map(assignment).collect();
                        format!("{} {command}", assigned.join(" "))
                    }
                    _ => format!("export {}", pairs.join(" ")),
                }
            }
            None => {
                let with: Vec<String> = self
                    .0
                    .iter()
                    .map(|remedy| format!("--with {}", shell::word(&remedy.to_string())))
                    .collect();
                let sudo = if here.root { "" } else { "sudo " };
                format!("{sudo}goobserve run {} -- {}", with.join(" "), command?)
            }
        };
        is_whole(&line).then_some(line)
    }

    /// Variables with their new values, where they are all that is changed.
    fn settings(&self, here: &Here<'_>) -> Option<Vec<(String, String)>> {
        let mut found: Vec<(String, String)> = Vec::new();
        for remedy in &self.0 {
            let (name, value) = match &remedy.kind {
                Kind::Setting(setting) => (setting.variable(), setting.shown()),
                Kind::Switch(switch) => ("GODEBUG", format!("{}=0", switch.key())),
                Kind::Line(_) | Kind::Server(_) | Kind::Deadline(_) => return None,
            };
            if name != "GODEBUG" {
                found.push((name.to_owned(), value));
                continue;
            }
            match found.iter_mut().find(|(name, _)| name == "GODEBUG") {
                Some((_, all)) => *all = godebug::merged(all, &value),
                None => {
                    let now = (here.variable)("GODEBUG").unwrap_or_default();
                    found.push(("GODEBUG".to_owned(), godebug::merged(&now, &value)));
                }
            }
        }
        Some(found)
    }
}

/// `NAME=VALUE` as a shell takes it for an assignment: quotes stand around the value alone.
fn assignment((name, value): &(String, String)) -> String {
    format!("{name}={}", if value.is_empty() { String::new() } else { shell::word(value) })
}

/// Whether `go env -w` keeps that variable, and it changes nothing but what go downloads, and from where.
fn lasts(name: &str) -> bool {
    SHOWN.contains(&name) && !["GODEBUG", "GOMAXPROCS", "GOWORK"].contains(&name)
}

/// Whether nothing was left out, and a terminal shows it as it is.
fn is_whole(line: &str) -> bool {
    !line.contains(['…', '\u{fffd}']) && clean(line) == line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn line_of(with: &[&str], env: &[(&str, &str)], command: &str) -> Option<String> {
        let remedies = Remedies::new(with.iter().map(|one| one.parse().unwrap()).collect()).unwrap();
        let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let variable =
            |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        remedies.line(&Here { command: &command, variable: &variable, root: false })
    }

    #[test]
    fn what_only_this_command_is_to_have_stands_in_front_of_it() {
        let line = |with: &[&str], env: &[(&str, &str)]| line_of(with, env, "go mod download").unwrap();
        assert_eq!(line(&["concurrency=16"], &[]), "GOMAXPROCS=16 go mod download");
        assert_eq!(line(&["concurrency=16"], &[("GOMAXPROCS", "2")]), "GOMAXPROCS=16 go mod download");
        let both = ["concurrency=16", "http1"];
        assert_eq!(line(&both, &[]), "GOMAXPROCS=16 GODEBUG=http2client=0 go mod download");
        let env = [("GODEBUG", "netdns=go")];
        let line = line(&["http1", "no-mlkem"], &env);
        assert_eq!(line, "GODEBUG=netdns=go,http2client=0,tlsmlkem=0 go mod download");
    }

    #[test]
    fn settings_of_go_are_written_down_unless_the_environment_has_them() {
        let private = ["env=GOPRIVATE=corp.test", "env=GONOSUMDB=corp.test"];
        let line = |env: &[(&str, &str)]| line_of(&private, env, "go mod download").unwrap();
        assert_eq!(line(&[]), "go env -w GOPRIVATE=corp.test GONOSUMDB=corp.test");
        assert_eq!(line(&[("GOPRIVATE", "old.test")]), "export GOPRIVATE=corp.test GONOSUMDB=corp.test");
        assert_eq!(line(&[("GOENV", "off")]), "export GOPRIVATE=corp.test GONOSUMDB=corp.test");
        let mixed = ["env=GOPRIVATE=corp.test", "concurrency=16"];
        assert_eq!(
            line_of(&mixed, &[], "go mod download").unwrap(),
            "export GOPRIVATE=corp.test GOMAXPROCS=16"
        );
    }

    #[test]
    fn servers_and_lines_of_resolv_conf_go_with_the_command() {
        let line = |with: &[&str]| line_of(with, &[], "go mod download").unwrap();
        assert_eq!(line(&["gateway"]), "sudo goobserve run --with gateway -- go mod download");
        assert_eq!(
            line(&["resolv=options timeout:1", "concurrency=16"]),
            "sudo goobserve run --with 'resolv=options timeout:1' --with concurrency=16 -- go mod download"
        );
    }

    #[test]
    fn a_line_with_a_hole_or_without_protection_is_none() {
        assert_eq!(line_of(&["sumdb=off"], &[], "go mod download"), None);
        assert_eq!(line_of(&["gateway"], &[], "go get …"), None);
        assert_eq!(line_of(&["proxy=https://u:hunter2@proxy.test"], &[], "go mod download"), None);
        assert_eq!(line_of(&["concurrency=16"], &[], "go get …").unwrap(), "export GOMAXPROCS=16");
    }
}
