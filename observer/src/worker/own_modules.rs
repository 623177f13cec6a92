//! The modules that are a command's own: the main module's path, those of go.work's modules, and what a folder
//! replaces. In: the working folder, GOWORK, a way to read small files. Out: paths; `None` when there is no
//! go.mod to be seen.

use std::path::{Path, PathBuf};

/// Modules that are kept.
const MODULES_MAX: usize = 64;

/// What is the command's own. `read`: a file's text, or `None` when it cannot be read.
pub(super) fn of(
    folder: &Path,
    gowork: Option<&str>,
    read: impl Fn(&Path) -> Option<String>,
) -> Option<Vec<String>> {
    let above = |name: &str| {
        folder.ancestors().map(|folder| folder.join(name)).find_map(|file| Some((read(&file)?, file)))
    };
    let workspace = match gowork {
        Some("off") => None,
        Some(file) => Some(PathBuf::from(file))
            .filter(|file| file.is_absolute())
            .and_then(|file| Some((read(&file)?, file))),
        None => above("go.work"),
    };
    let mut own = Vec::new();
    let module = above("go.mod");
    if let Some((text, file)) = &workspace {
        own.extend(lines(text, "replace").filter_map(replaced));
        let root = file.parent()?;
        for used in lines(text, "use").take(MODULES_MAX) {
            if let Some(text) = read(&root.join(unquoted(used)).join("go.mod")) {
                own_of(&text, &mut own);
            }
        }
    }
    if let Some((text, _)) = &module {
        own_of(text, &mut own);
    }
    own.sort_unstable();
    own.dedup();
    own.truncate(MODULES_MAX);
    (module.is_some() || workspace.is_some()).then_some(own)
}

/// Of a go.mod or go.work the lines that [`of`] needs, a directive each, and nothing else of it.
pub(crate) fn extract(text: &str) -> String {
    let named = |directive: &'static str| lines(text, directive).map(move |line| (directive, line));
    let by_folder = named("replace").filter(|(_, line)| replaced(line).is_some());
    let directives = named("module").take(1).chain(named("use").take(MODULES_MAX)).chain(by_folder);
    directives.flat_map(|(directive, line)| [directive, " ", line, "\n"]).collect()
}

fn own_of(text: &str, own: &mut Vec<String>) {
    own.extend(lines(text, "module").map(unquoted).map(str::to_owned));
    own.extend(lines(text, "replace").filter_map(replaced));
}

/// What a folder stands for: `PATH [VERSION] => ./FOLDER`.
fn replaced(line: &str) -> Option<String> {
    let (what, by) = line.split_once("=>")?;
    let is_folder = unquoted(by.trim()).starts_with(['.', '/']);
    is_folder.then(|| what.split_whitespace().next().map(|path| unquoted(path).to_owned())).flatten()
}

/// The lines of a directive, alone or in a block, without the word and without comments.
fn lines<'a>(text: &'a str, directive: &'a str) -> impl Iterator<Item = &'a str> {
    let mut inside = false;
    text.lines().filter_map(move |line| {
        let line = line
            .split_once("//")
            .filter(|(before, _)| !before.ends_with(':'))
            .map_or(line, |(before, _)| before)
            .trim();
        if inside {
            inside = line != ")";
            return Some(line).filter(|line| !line.is_empty() && *line != ")");
        }
        let rest = line.strip_prefix(directive).filter(|rest| rest.starts_with([' ', '\t', '(']))?.trim();
        inside = rest == "(";
        Some(rest).filter(|rest| !rest.is_empty() && *rest != "(")
    })
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '`'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_files(folder: &str, gowork: Option<&str>, files: &[(&str, &str)]) -> Option<Vec<String>> {
        of(Path::new(folder), gowork, |path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(found.1.to_owned())
        })
    }

    const APP: &str = "module \"git.test/team/app\" // it\ngo 1.25\nrequire git.test/x v1.0.0\nreplace (\n\tgit.test/lib v1.0.0 => ../lib\n\
                       \tgit.test/fork => other.test/fork v1.0.0\n)\n";

    #[test]
    fn the_main_module_and_what_folders_replace_are_its_own() {
        let files = [("/m/go.mod", APP)];
        let own = of_files("/m/cmd", None, &files).unwrap();
        assert_eq!(own, ["git.test/lib", "git.test/team/app"]);
        assert_eq!(of_files("/elsewhere", None, &files), None);
    }

    #[test]
    fn what_is_extracted_says_the_same_and_no_more() {
        let work = "go 1.25\nuse (\n\t./a\n\t./b // it\n)\nreplace git.test/c => ./c\n";
        assert_eq!(extract(work), "use ./a\nuse ./b\nreplace git.test/c => ./c\n");
        let module = "module \"git.test/team/app\"\nreplace git.test/lib v1.0.0 => ../lib\n";
        assert_eq!(extract(APP), module);
        assert_eq!(extract(&extract(APP)), module);
    }

    #[test]
    fn the_modules_of_a_workspace_are_its_own_unless_it_is_off() {
        let files = [
            ("/w/go.work", "go 1.25\nuse (\n\t./a\n\t./b\n)\nreplace git.test/c => ./c\n"),
            ("/w/a/go.mod", "module git.test/a\n"),
            ("/w/b/go.mod", "module git.test/b\n"),
        ];
        assert_eq!(of_files("/w/a", None, &files).unwrap(), ["git.test/a", "git.test/b", "git.test/c"]);
        assert_eq!(of_files("/w/a", Some("off"), &files).unwrap(), ["git.test/a"]);
        assert_eq!(of_files("/w", Some("/w/go.work"), &files).unwrap().len(), 3);
    }
}
