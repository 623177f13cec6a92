//! Programs that a go command runs and waits for, as scripts: in go a folder and how long each takes, out
//! comes what the go command's variables and flags are to name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Gives no credentials.
const TOKEN: &str = "sleep \"$1\"\n";
/// Gives none either, and leaves a process behind that has its output.
const LEAVING: &str = "sleep \"$1\" &\n";
/// Answers what git asks.
const ASKPASS: &str = "sleep SECONDS\necho lab-passphrase\n";
/// A build cache that never has anything, and is never given anything. Each answer takes its time.
const CACHE: &str = r#"printf '{"ID":0,"KnownCommands":["get","close"]}\n'
while read -r line; do
    id=${line#*\"ID\":}
    id=${id%%,*}
    case $line in
    *'"get"'*)
        sleep "$1"
        printf '{"ID":%s,"Miss":true}\n' "$id"
        ;;
    *'"close"'*)
        printf '{"ID":%s}\n' "$id"
        exit
        ;;
    esac
done
"#;
/// Runs the tool that it is given; what only asks for a tool's version does not wait.
const TOOL: &str =
    "seconds=$1\nshift\ncase $* in\n*-V=full*) ;;\n*) sleep \"$seconds\" ;;\nesac\nexec \"$@\"\n";

/// A program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Helper {
    /// For GOAUTH
    Token,
    /// For GOAUTH, too; it ends at once
    Leaving,
    /// For `GIT_ASKPASS`, which takes no arguments
    Askpass,
    /// For GOCACHEPROG
    Cache,
    /// For `-toolexec`
    Tool,
}

impl Helper {
    const fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Token => ("token.sh", TOKEN),
            Self::Leaving => ("token.sh", LEAVING),
            Self::Askpass => ("askpass.sh", ASKPASS),
            Self::Cache => ("cache.sh", CACHE),
            Self::Tool => ("tool.sh", TOOL),
        }
    }

    /// Writes it into that folder: its command line, with which it takes that long.
    pub fn write(self, folder: &Path, takes: Duration) -> Result<String> {
        let (name, script) = self.file();
        let file = folder.join(name);
        let seconds = takes.as_secs_f64().to_string();
        let script = script.replace("SECONDS", &seconds);
        fs::write(&file, format!("#!/bin/sh\n{script}")).context("write a helper")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).context("make a helper a program")?;
        let file = file.display();
        Ok(if self == Self::Askpass { file.to_string() } else { format!("{file} {seconds}") })
    }
}
