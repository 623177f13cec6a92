//! The same program built in different ways: stripped, position independent, with cgo. In go a
//! toolchain and a build, out comes the program: a go command in a GOROOT of its own under
//! `target/lab/toolchains`, built once, or a client of HTTPS servers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::paths;
use crate::toolchains::{Toolchain, folder_of_lab, locked};

/// A client: asks for URLs one after another, then for all at once, then posts to the first.
const CLIENT: &str = r#"package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

func answered(response *http.Response, err error) {
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	for _, url := range os.Args[1:] {
		answered(http.Get(url))
	}
	var group sync.WaitGroup
	for _, url := range os.Args[1:] {
		group.Add(1)
		go func(url string) {
			defer group.Done()
			answered(http.Get(url + "/again"))
		}(url)
	}
	group.Wait()
	answered(http.Post(os.Args[1], "text/plain", strings.NewReader("a body")))
	http.DefaultClient.CloseIdleConnections()
}
"#;

/// URLs that tests give the client: two requests each, and one more.
pub const PAGES: usize = 6;

/// A way to build a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// As it is published or built without flags: static, with symbols
    Normal,
    /// Without symbols: a go command by `strip`, a client by `-ldflags=-s -w`
    Stripped,
    /// `-ldflags=-s -w -trimpath`
    Trimmed,
    /// `-buildmode=pie`
    Pie,
    /// Likewise, without symbols: `-ldflags=-s -w`
    PieStripped,
    /// `CGO_ENABLED=1`
    Cgo,
    /// Position independent, with cgo and without symbols, by the C compiler's linker: it leaves
    /// every pointer in the file zero, for the dynamic linker to fill in
    LinkedStripped,
    /// `-gcflags=all=-N -l`: the machine code of another form, nothing in the registers that usually has it
    Unoptimized,
}

impl Build {
    /// All there are, in the order of tables.
    pub const ALL: [Self; 8] = [
        Self::Normal,
        Self::Stripped,
        Self::Trimmed,
        Self::Pie,
        Self::PieStripped,
        Self::Cgo,
        Self::LinkedStripped,
        Self::Unoptimized,
    ];

    /// `pie-stripped`
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Stripped => "stripped",
            Self::Trimmed => "trimmed",
            Self::Pie => "pie",
            Self::PieStripped => "pie-stripped",
            Self::Cgo => "cgo",
            Self::LinkedStripped => "linked-stripped",
            Self::Unoptimized => "unoptimized",
        }
    }

    /// Whether it is built with cgo, and so needs a C compiler.
    pub fn cgo(self) -> bool {
        matches!(self, Self::Cgo | Self::LinkedStripped)
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Normal | Self::Cgo => &[],
            Self::Stripped => &["-ldflags=-s -w"],
            Self::Trimmed => &["-ldflags=-s -w", "-trimpath"],
            Self::Pie => &["-buildmode=pie"],
            Self::PieStripped => &["-buildmode=pie", "-ldflags=-s -w"],
            Self::LinkedStripped => &["-buildmode=pie", "-ldflags=-s -w -linkmode=external"],
            Self::Unoptimized => &["-gcflags=all=-N -l"],
        }
    }
}

impl Toolchain {
    /// The go command built that way; the published one itself when that is [`Build::Normal`].
    /// Built once, in a folder whose `bin/go` it is and which has all else of the toolchain, so
    /// that it finds its GOROOT.
    pub fn go(&self, build: Build) -> Result<PathBuf> {
        if build == Build::Normal {
            return Ok(self.root.join("bin/go"));
        }
        let lab = folder_of_lab()?;
        let root = lab.join(format!("go{}-{}", self.version, build.name()));
        let _lock = locked(&lab)?;
        if !root.exists() {
            // Renamed when it is complete: a build that is cut off leaves nothing to be taken for one.
            let half = lab.join("half");
            if half.exists() {
                fs::remove_dir_all(&half).context("remove a half made toolchain")?;
            }
            self.make(build, &half).with_context(|| format!("make go{} {}", self.version, build.name()))?;
            fs::rename(&half, &root).with_context(|| format!("name {}", root.display()))?;
        }
        Ok(root.join("bin/go"))
    }

    fn make(&self, build: Build, root: &Path) -> Result<()> {
        fs::create_dir_all(root.join("bin"))?;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name() != "bin" {
                symlink(entry.path(), root.join(entry.file_name()))?;
            }
        }
        let program = root.join("bin/go");
        if build == Build::Stripped {
            return done(Command::new("strip").arg("-o").arg(&program).arg(self.root.join("bin/go")));
        }
        self.build(build, &self.root, "cmd/go", &program)
    }

    /// A client of HTTPS servers built that way, `DIR/client-BUILD`. It takes URLs, asks for each,
    /// then for `URL/again` of all at once, then posts to the first.
    pub fn client(&self, build: Build, dir: &Path) -> Result<PathBuf> {
        let source = paths::temp("goobserve-client-").context("make a folder for a client's source")?;
        fs::write(source.path().join("main.go"), CLIENT)?;
        fs::write(source.path().join("go.mod"), "module client.test/client\n\ngo 1.21\n")?;
        let program = dir.join(format!("client-{}", build.name()));
        let _lock = locked(&folder_of_lab()?)?;
        self.build(build, source.path(), ".", &program)?;
        Ok(program)
    }

    fn build(&self, build: Build, dir: &Path, package: &str, program: &Path) -> Result<()> {
        let cache = folder_of_lab()?.join("gocache");
        let kept = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut go = Command::new(self.root.join("bin/go"));
        go.args(["build", "-buildvcs=false"]).args(build.flags()).arg("-o").arg(program).arg(package);
        go.current_dir(dir).env_clear().envs(kept).env("GOROOT", &self.root).env("GOCACHE", cache).envs([
            ("GOTOOLCHAIN", "local"),
            ("GOENV", "off"),
            ("GOWORK", "off"),
            ("GOPROXY", "off"),
            ("CGO_ENABLED", if build.cgo() { "1" } else { "0" }),
        ]);
        done(&mut go)
    }
}

fn done(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => bail!("start {}: {error}", name.display()),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}: {said}", name.display(), output.status);
    Ok(())
}
