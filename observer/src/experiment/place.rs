//! Where a command's go works, as far as its words say. In: a folder and the words. Out: the folder
//! that go is called in. Nothing is executed: words that only a shell can work out say nothing.

use std::path::{Path, PathBuf};

use super::originals::flag;

/// Where go is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The folder
    pub folder: PathBuf,
    /// The words call go; else (a script, make) it may change to any other folder
    pub certain: bool,
}

/// Of a command that is started in `cwd`; what `sh -c` is given is looked into.
pub(super) fn place(cwd: &Path, argv: &[String]) -> Place {
    let nowhere = Place { folder: cwd.to_path_buf(), certain: false };
    match argv {
        [shell, option, script] if shell == "sh" && option == "-c" => {
            let mut folder = cwd.to_path_buf();
            // Only commands one after the other: in a pipe or a subshell `cd` is someone else's.
            for command in script.split("&&").flat_map(|part| part.split([';', '\n'])) {
                let mut words = command.split_whitespace().skip_while(|word| is_assignment(word));
                match words.next() {
                    Some("cd") => match words.next().map(|word| word.trim_matches(['\'', '"'])) {
                        Some(to) if !to.contains(['$', '`', '~']) => folder.push(to),
                        _ => return nowhere,
                    },
                    Some(program) if is_go(program) => {
                        let rest: Vec<String> = words.map(str::to_owned).collect();
                        return called(folder, &rest);
                    }
                    _ => {}
                }
            }
            nowhere
        }
        // Its own -C is read with its other flags.
        [program, ..] if is_go(program) => Place { folder: cwd.to_path_buf(), certain: true },
        _ => nowhere,
    }
}

fn called(folder: PathBuf, rest: &[String]) -> Place {
    let folder = match flag(rest.iter(), "-C") {
        Some(to) => folder.join(to),
        None => folder,
    };
    Place { folder, certain: true }
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_go(program: &str) -> bool {
    program == "go" || program.ends_with("/go")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_where_go_is_called() {
        let of = |argv: &[&str]| {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            let Place { folder, certain } = place(Path::new("/w/new"), &argv);
            (folder.display().to_string(), certain)
        };
        let at = |folder: &str, certain| (folder.to_owned(), certain);
        assert_eq!(of(&["go", "mod", "download"]), at("/w/new", true));
        assert_eq!(of(&["go", "-C", "../base", "mod", "download"]), at("/w/new", true));
        assert_eq!(of(&["sh", "-c", "go -C ../base build"]), at("/w/new/../base", true));
        assert_eq!(of(&["sh", "-c", "cd ../base && go mod download"]), at("/w/new/../base", true));
        assert_eq!(of(&["sh", "-c", "cd '/b'; GOFLAGS=-x go build"]), at("/b", true));
        assert_eq!(of(&["sh", "-c", "sleep 1; go version"]), at("/w/new", true));
        assert_eq!(of(&["sh", "-c", "cd $BASE && go mod download"]), at("/w/new", false));
        assert_eq!(of(&["make", "deps"]), at("/w/new", false));
    }
}
