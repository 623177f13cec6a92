//! Arguments as programs are given them, and the same as they are shown.

use proptest::prelude::*;

fn redacted(line: &[&str]) -> Vec<String> {
    let raw: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
    let shown = super::shown(&raw);
    assert_eq!(super::shown(&shown), shown, "the rule changes its own result of {raw:?}");
    assert_eq!(shown.len(), raw.len());
    shown
}

#[test]
fn what_go_and_its_git_are_called_with_stays_readable() {
    for line in [
        "go mod download all",
        "/usr/local/go/bin/go build ./...",
        "go test -run TestHTTP2 -count=1 -v ./cmd/tool/...",
        "go build -mod=vendor -modfile=/home/u/go.mod -tags netgo,osusergo -p 4 -o bin/tool ./cmd/tool",
        "go get -u golang.org/x/sys@v0.25.0 git.corp.test/Acme/billing@main",
        "go list -m -json all",
        "go env -w GOPROXY=https://proxy.test,direct",
        "go1.26.8 version",
        "go -C sub run main.go",
        "git version",
        "git init --bare --object-format=sha1",
        "git remote add origin -- https://git.test/lib.git",
        "git config extensions.objectformat",
        "git ls-remote -q --end-of-options https://git.test/lib.git",
        "git -c protocol.version=2 fetch -f --depth=1 origin refs/tags/v1.0.0:refs/tags/v1.0.0",
        "git fetch -f origin refs/heads/*:refs/heads/* refs/tags/*:refs/tags/*",
        "git -c log.showsignature=false log --no-decorate -n1 refs/tags/v1.0.0 --",
        "git -c core.autocrlf=input -c core.eol=lf archive --format=zip --prefix=prefix/ v1.0.0",
        "git tag -l",
        "git gc --auto --quiet --detach",
        "git-remote-https origin https://git.test/team/lib",
        "git fetch-pack --stateless-rpc --stdin --lock-pack --thin https://git.test/lib.git/",
        "git rev-list --objects --stdin --not --all --quiet --alternate-refs",
        "git credential-store get",
        "sleep 2",
        "make -j4 vendor",
        "timeout 300 go mod download",
        "env GOOS=linux go build ./...",
        "sudo -E go mod download",
        "podman run --rm --network=host -v /src:/src:ro -e GOFLAGS=-modcacherw lab go mod download all",
        "docker build -t lab --build-arg GOOS=linux .",
        "curl -fsSL https://go.dev/VERSION",
        "ssh -oBatchMode=yes -p 22 git@git.test",
        "compile -o /tmp/go-build1/b001/_pkg_.a -p main -lang=go1.25 -std -complete -c=4 -pack ./main.go",
        "gcc -I/usr/include -O2 -g -c x.c",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(redacted(&words), words, "{line}");
    }
    let log = ["git", "log", "-n1", "--format=format:%H %ct %D", "HEAD", "--"];
    assert_eq!(redacted(&log), log);
    let commit = "26865a37c9b426865a37c9b426865a37c9b426ff";
    let (blob, short) = (format!("{commit}:go.mod"), "26865a37c9b4…");
    assert_eq!(redacted(&["git", "cat-file", "blob", &blob])[3], format!("{short}:go.mod"));
    assert_eq!(redacted(&["git", "log", commit, "--"])[2], short);
    assert_eq!(redacted(&["go", "** telemetry **"])[1], "** telemetry **");
    let list = ["go", "list", "-f", "{{.Dir}} {{.ImportPath}}", "./..."];
    assert_eq!(redacted(&list), list);
}

#[test]
fn credentials_are_not_shown_in_any_place() {
    for (line, expected) in [
        (
            "git -c url.https://oauth2:hunter2@git.test/.insteadOf=https://git.test/ fetch",
            "git -c url.https://…@git.test/.insteadOf=https://git.test/ fetch",
        ),
        ("git -c http.extraHeader=hunter fetch", "git -c http.extraHeader=… fetch"),
        (
            "git -c http.https://git.test/.extraheader=hunter fetch",
            "git -c http.https://git.test/.extraheader=… fetch",
        ),
        (
            "git --config-env=hunter=X clone https://hunter@git.test",
            "git --config-env=… clone https://…@git.test",
        ),
        ("git ls-remote https://u:hunter@git.test/x?token=hunter", "git ls-remote https://…@git.test/x?…"),
        ("git-remote-https origin https://hunter@git.test/x", "git-remote-https origin https://…@git.test/x"),
        ("git clone hunter@git.test:x.git", "git clone …@git.test:x.git"),
        ("git push -o hunter origin", "git push -o … origin"),
        ("curl -u ci:hunter https://x.test", "curl -u … https://x.test"),
        ("curl -uci:hunter --user=hunter -Hhunter", "curl -u… --user=… -H…"),
        ("curl --data hunter -d hunter", "curl --data … -d …"),
        (
            "podman run -e GOPROXY=https://ci:hunter2@proxy.test -e GITHUB_TOKEN=hunter lab go version",
            "podman run -e GOPROXY=https://…@proxy.test -e GITHUB_TOKEN=… lab go version",
        ),
        (
            "buildah bud --build-arg=TOKEN=hunter --build-arg TOKEN=hunter -t b .",
            "buildah bud --build-arg=TOKEN=… --build-arg TOKEN=… -t b .",
        ),
        ("docker login -u hunter -p hunter registry.test", "docker login -u … -p … registry.test"),
        (
            "docker login -phunter --password hunter --password=hunter",
            "docker login -p… --password … --password=…",
        ),
        (
            "nerdctl build --secret id=hunter,src=hunter --creds hunter:hunter .",
            "nerdctl build --secret … --creds … .",
        ),
        ("env TOKEN=hunter go mod download", "env TOKEN=… go mod download"),
        ("mysql -phunter -u root", "mysql -p… -u …"),
        ("tool --anything hunter --other=hunter -x hunter", "tool --anything … --other=… -x …"),
        ("tool password hunter", "tool password …"),
        ("aws configure set aws_secret_access_key hunter", "aws configure set … …"),
        ("git config http.extraheader hunter", "git config http.extraheader …"),
        ("tool --pin 1234", "tool --pin …"),
        ("tool hunter2 HUNTER eyJhbGciOi.J9", "tool … … …"),
        ("go test ./... -args -token hunter --key=hunter", "go test ./... -args -token … --key=…"),
        ("go build -ldflags -X=main.key=hunter ./...", "go build -ldflags … ./..."),
        ("go run ./cmd -apikey hunter", "go run ./cmd -apikey …"),
        ("sshpass -p hunter ssh git@git.test", "sshpass -p … … …"),
        ("echo hunter", "echo …"),
        ("make TOKEN=hunter deploy", "make TOKEN=… deploy"),
        ("/home/me:hunter@x/bin/go version", "/home/…@x/bin/go version"),
        (
            "wget --header=hunter --http-password=hunter https://x.test/a?b=hunter",
            "wget --header=… --http-password=… https://x.test/a?…",
        ),
        (
            "goobserve run --with env=TOKEN=hunter -- go version",
            "goobserve run --with env=TOKEN=… -- go version",
        ),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let expected: Vec<&str> = expected.split(' ').collect();
        assert_eq!(redacted(&words), expected, "{line}");
    }
    assert_eq!(redacted(&["curl", "-H", "Authorization: Bearer hunter", "https://x.test"])[2], "…");
    assert_eq!(
        redacted(&["git", "-c", "credential.helper=!f() { echo password=hunter; }; f", "fetch"])[2],
        "credential.helper=…"
    );
    assert_eq!(
        redacted(&["git", "-c", "http.extraHeader=Authorization: Basic hunter", "fetch"])[2],
        "http.extraHeader=…"
    );
    assert_eq!(redacted(&["sh", "-c", "GH=hunter go mod download"])[2], "GH=… go mod download");
    assert_eq!(redacted(&["bash", "-ec", "curl -u ci:hunter x.test"])[2], "curl -u … x.test");
}

/// What issuers make.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z][0-9][A-Z][a-z][0-9][A-Za-z0-9]{15,40}",
        "ghp_[A-Za-z0-9]{36}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "a1[0-9a-f]{30}",
        "eyJhbGciOi[A-Za-z0-9]{10}\\.eyJ[A-Za-z0-9]{10}\\.[A-Za-z0-9_-]{20}",
    ]
}

/// Programs with what may stand before a credential.
fn places() -> impl Strategy<Value = Vec<String>> {
    let programs = [
        "go",
        "git",
        "git-remote-https",
        "sh",
        "ssh",
        "podman",
        "curl",
        "make",
        "env",
        "sudo",
        "compile",
        "gcc",
        "hg",
        "mytool",
        "sleep",
    ];
    let before = [
        "",
        "-",
        "--token=",
        "--password=",
        "-p",
        "-x=",
        "TOKEN=",
        "https://u:",
        "https://",
        "-c",
        "x/",
        "./",
        "@",
        "u:",
        "key:",
        "+",
        "a,",
        "=",
        "--",
        "--foo-",
        "a.b/",
    ];
    let after =
        ["", "@git.test/x", "@git.test", "/x", "?a=b", ".insteadOf=https://x.test", "=x", ":x", ",x", "."];
    let flags = ["", "-c", "-p", "--password", "-e", "-H", "run", "fetch", "--", "-args", "-run", "-o"];
    (
        prop::sample::select(programs.to_vec()),
        prop::sample::select(flags.to_vec()),
        prop::sample::select(before.to_vec()),
        secret(),
        prop::sample::select(after.to_vec()),
    )
        .prop_map(|(program, flag, before, secret, after)| {
            let mut all = vec![program.to_owned()];
            all.extend(Some(flag.to_owned()).filter(|flag| !flag.is_empty()));
            all.extend([format!("{before}{secret}{after}"), secret, "end".to_owned()]);
            all
        })
}

proptest! {
    #[test]
    fn no_credential_by_its_shape_survives(line in places()) {
        let secret = &line[line.len() - 2];
        let shown = super::shown(&line);
        for word in &shown {
            prop_assert!(!word.contains(secret.as_str()), "{line:?} is shown as {shown:?}");
        }
    }

    #[test]
    fn the_rule_keeps_its_own_result(line in places(), more in proptest::collection::vec("[-a-zA-Z0-9@:/.=,'\" ;|&$…]{0,12}", 0..6)) {
        for line in [line, more.clone(), [vec!["sh".to_owned(), "-c".to_owned()], more].concat()] {
            let once = super::shown(&line);
            prop_assert_eq!(super::shown(&once), once.clone(), "of {:?}", line);
        }
    }

    #[test]
    fn no_arguments_panic(line in proptest::collection::vec(".{0,40}", 0..8)) {
        prop_assert_eq!(super::shown(&line).len(), line.len());
    }
}
