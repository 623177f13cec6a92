//! Which files are kept, and that they come back as they were.

use std::fs;

use super::*;
use crate::goenv::Source;
use model::id::Pid;

fn go(environ: &str) -> GoEnv {
    GoEnv::gather(&Source { environ: environ.as_bytes(), binary: None, cpus: None }, |_| None)
}

fn argv(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn take(cwd: &Path) -> Originals {
    let mut originals = Originals::default();
    originals.add(cwd, &argv("go get x"), &go("GOWORK=off\0")).unwrap();
    originals
}

fn names(root: &Path, cwd: &str, line: &str, environ: &str) -> Vec<String> {
    let found = files(&root.join(cwd), &argv(line), &go(environ));
    found.iter().map(|path| path.strip_prefix(root).unwrap_or(path).display().to_string()).collect()
}

fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("go.work", "go 1.26\nuse ./a // first\nuse (\n\t./b\n\t\"./c\"\n)\n"),
        ("a/go.mod", ""),
        ("b/go.mod", ""),
        ("b/sub/main.go", ""),
        ("other.mod", ""),
    ] {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn the_module_around_the_working_folder_is_kept() {
    let root = tree();
    assert_eq!(names(root.path(), "b/sub", "go mod download", "GOWORK=off\0"), ["b/go.mod", "b/go.sum"]);
    assert_eq!(
        names(root.path(), "a", "go -C ../b mod tidy", "GOWORK=off\0"),
        ["a/../b/go.mod", "a/../b/go.sum"]
    );
}

#[test]
fn so_are_a_workspace_and_another_modfile() {
    let root = tree();
    let workspace =
        ["a/go.mod", "a/go.sum", "b/go.mod", "b/go.sum", "c/go.mod", "c/go.sum", "go.work", "go.work.sum"];
    assert_eq!(names(root.path(), "a", "go mod download", ""), workspace);
    let line = "go get -modfile=../other.mod x.test/m";
    let with = ["a/../other.mod", "a/../other.sum", "a/go.mod", "a/go.sum"];
    assert_eq!(names(root.path(), "a", line, "GOWORK=off\0"), with);
    assert_eq!(names(root.path(), "a", "go get x", "GOWORK=off\0GOFLAGS=-x -modfile=../other.mod\0"), with);
}

#[test]
fn everything_is_put_back_to_the_byte() {
    let root = tree();
    let path = |name: &str| root.path().join(name);
    fs::write(path("a/go.mod"), "module a\r\n\0").unwrap();
    let originals = take(&path("a"));
    let before = fs::metadata(path("a/go.mod")).unwrap().modified().unwrap();
    fs::write(path("a/go.mod"), "module a // and far more than there was before\n").unwrap();
    fs::write(path("a/go.sum"), "new").unwrap();
    originals.put_back(|_| None).unwrap();
    assert_eq!(fs::read(path("a/go.mod")).unwrap(), b"module a\r\n\0");
    assert_eq!(fs::metadata(path("a/go.mod")).unwrap().modified().unwrap(), before);
    assert!(!path("a/go.sum").exists());
    fs::remove_file(path("a/go.mod")).unwrap();
    originals.put_back(|_| None).unwrap();
    assert_eq!(fs::read(path("a/go.mod")).unwrap(), b"module a\r\n\0");
}

#[test]
fn copies_lie_beside_a_note_that_names_them() {
    let root = tree();
    fs::write(root.path().join("a/go.mod"), "module a\n").unwrap();
    let originals = take(&root.path().join("a"));
    let folder = root.path().join("kept");
    fs::create_dir(&folder).unwrap();
    originals.keep(&folder, &folder).unwrap();
    assert_eq!(fs::read(folder.join("0-go.mod")).unwrap(), b"module a\n");
    let note = fs::read_to_string(folder.join(NOTE)).unwrap();
    assert!(note.contains("0-go.mod") && note.contains("rm -f"), "{note}");
}

#[test]
fn what_somebody_else_wrote_is_left_and_the_original_kept_beside_it() {
    let root = tree();
    let (file, sum) = (root.path().join("a/go.mod"), root.path().join("a/go.sum"));
    fs::write(&file, "module a\n").unwrap();
    let originals = take(&root.path().join("a"));
    fs::write(&file, "module a // edited\n").unwrap();
    fs::write(&sum, "of the run").unwrap();
    let inode = Inode::of(&fs::metadata(&file).unwrap());
    let put_back = || originals.put_back(|written| (written == inode).then_some(Pid(u32::MAX)));
    let Err(NotBack::Edited(user_error)) = put_back() else { panic!("it was edited") };
    assert!(user_error.what.ends_with("a/go.mod during the experiment"), "{user_error:?}");
    assert_eq!(fs::read(&file).unwrap(), b"module a // edited\n");
    assert!(!sum.exists(), "the others are put back all the same");
    let kept = fs::read_dir(root.path().join("a")).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept.filter(|path| path.to_string_lossy().contains("go.mod.original-")).collect();
    assert!(user_error.hint.contains(&kept[0].display().to_string()), "{user_error:?}");
    assert_eq!((kept.len(), fs::read(&kept[0]).unwrap().as_slice()), (1, &b"module a\n"[..]));
    // It is no longer ours, whoever writes to it.
    originals.put_back(|_| None).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"module a // edited\n");
}

#[test]
fn no_link_that_appears_meanwhile_is_followed() {
    let root = tree();
    let (file, victim) = (root.path().join("a/go.mod"), root.path().join("victim"));
    fs::write(&victim, "precious").unwrap();
    let originals = take(&root.path().join("a"));
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&victim, &file).unwrap();
    assert!(matches!(originals.put_back(|_| None), Err(NotBack::Failed(_))));
    // Nor another name of a file, nor a folder put in the place of the old one.
    fs::remove_file(&file).unwrap();
    fs::hard_link(&victim, &file).unwrap();
    originals.put_back(|_| None).unwrap();
    fs::rename(root.path().join("a"), root.path().join("moved")).unwrap();
    fs::create_dir(root.path().join("a")).unwrap();
    fs::write(&file, "of another").unwrap();
    fs::write(root.path().join("moved/go.mod"), "changed").unwrap();
    originals.put_back(|_| None).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(fs::read(&file).unwrap(), b"of another");
    assert_eq!(fs::read(root.path().join("moved/go.mod")).unwrap(), b"");
}
