//! Beside goobserve file systems are unmounted as without it, when a go command has run from there.

use std::fs;

use tests::go_env::GoOptions;
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::toolchains::{OWN, Toolchain};

/// In a mount namespace of its own: `$1` goobserve, `$2` its command (`watch …`), `$3` a GOROOT, `$4`
/// an empty folder. `lay` mounts something on `$4/t` and puts a go binary there.
const SCRIPT: &str = r#"
set -e
cd "$4"; mkdir t up wk lo
"$1" $2 --output jsonl > reported 2> errors & watching=$!
trap 'kill -INT $watching; wait $watching' EXIT
for n in $(seq 300); do grep -q "watching every go" errors && break; sleep 0.05; done
grep -q "watching every go" errors
lay() { mount -t tmpfs tmpfs t; cp "$3/bin/go" t/go; }
lay "$@"; (cd project; GOROOT="$3" "$4/t/go" mod download)
umount t
echo unmounted
mount -t tmpfs tmpfs lo; mount -t tmpfs tmpfs up; mkdir up/up up/wk
over() { mount -t overlay overlay -o "lowerdir=$4/lo,upperdir=$4/up/up,workdir=$4/up/wk,index=on" t; }
over "$@"; cp "$3/bin/go" t/go; rm -rf "$GOMODCACHE"/* "$GOPATH"/*
(cd project; GOROOT="$3" "$4/t/go" mod download)
umount -l t
over "$@"
echo mounted again
umount t; umount up; umount lo
"#;

#[track_caller]
fn unmounts(lab: &Lab, command: &str) {
    let run = lab.go_run(&GoOptions { few: true, ..GoOptions::default() }).unwrap();
    let folder = run.file("mounts");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(run.project(), folder.join("project")).unwrap();
    let goroot = Toolchain::get(OWN).unwrap().root;
    let mut script = run.command("sh");
    script.args(["-c", SCRIPT, "sh"]).arg(binary().unwrap()).arg(command).arg(goroot).arg(folder);
    let output = lab.output(&mut script).unwrap();
    let [reported, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert_eq!(reported, "unmounted\nmounted again\n", "{errors}");
}

#[test]
fn file_systems_that_go_ran_from_are_unmounted_beside_watch() {
    let Some(lab) = Lab::for_test("file_systems_that_go_ran_from_are_unmounted_beside_watch") else { return };
    unmounts(&lab, "watch");
    unmounts(&lab, "watch --hold-exec");
}
