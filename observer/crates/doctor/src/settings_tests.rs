//! Settings, and what is said of them.

use model::doctor::State;

use super::*;

fn settings(env: &[(&str, &str)], files: &[(&str, &str)]) -> Settings {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let mut files: BTreeMap<String, String> = map(files);
    files.entry("GOPROXY".into()).or_insert_with(|| "https://proxy.test,direct".into());
    files.entry("GOSUMDB".into()).or_insert_with(|| "sumdb.test".into());
    Settings { env: map(env), files }
}

/// What is not good.
fn findings(env: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<String> {
    let all = check(&settings(env, files));
    all.iter().filter(|check| check.state != State::Good).for_each(|check| {
        assert!(check.fix.is_some(), "{check:?}");
    });
    all.into_iter().filter_map(|check| check.finding).collect()
}

#[test]
fn of_usual_settings_nothing_is_said() {
    for env in [
        &[][..],
        &[("GOPROXY", "https://a.test|https://b.test/x,direct")],
        &[("GOPROXY", "a.test:8080,off")],
        &[("GOPROXY", "file:///srv/modules")],
        &[("GOPRIVATE", "git.corp.test,*.corp.test/team"), ("GONOPROXY", "none")],
        &[("GOPRIVATE", "git.corp.test/a"), ("GONOSUMDB", "git.corp.test,x.test")],
        &[("HTTPS_PROXY", "http://forward.test:3128"), ("https_proxy", "http://forward.test:3128")],
        &[("HTTPS_PROXY", "forward.test:3128")],
        &[("GODEBUG", "http2client=0,http2client=1,netdns=go"), ("GOMAXPROCS", "16")],
    ] {
        assert_eq!(findings(env, &[]), Vec::<String>::new(), "{env:?}");
    }
}

#[test]
fn what_contradicts_itself_is_named() {
    for (env, finding) in [
        (&[("GOPROXY", "direct,https://proxy.test")][..], "goproxy-unreachable-item"),
        (&[("GOPROXY", ",")], "goproxy-empty"),
        (&[("GOPROXY", "htps://proxy.test")], "goproxy-invalid"),
        (&[("GOPROXY", "proxy")], "goproxy-invalid"),
        (&[("GOPROXY", "off")], "goproxy-off"),
        (&[("GOPROXY", "direct")], "goproxy-direct"),
        (&[("GOSUMDB", "off")], "sumdb-off"),
        (&[("GOSUMDB", "a b c")], "gosumdb-invalid"),
        (&[("GONOSUMDB", "*")], "sumdb-off"),
        (&[("GOPRIVATE", "https://git.corp.test")], "pattern-matches-nothing"),
        (&[("GOPRIVATE", "git.corp.test"), ("GONOPROXY", "x.test")], "private-not-covered"),
        (&[("GOPRIVATE", "*.corp.test"), ("GONOSUMDB", "git.corp.test/a")], "private-not-covered"),
        (&[("HTTPS_PROXY", "http://a.test"), ("https_proxy", "http://b.test")], "proxy-variables-differ"),
        (&[("HTTPS_PROXY", "ftp://a.test")], "forward-proxy-invalid"),
        (&[("HTTP_PROXY", "http://a.test")], "forward-proxy-not-used"),
        (&[("all_proxy", "http://a.test")], "forward-proxy-not-used"),
        (&[("GODEBUG", "http2client=0")], "http2-off"),
        (&[("GODEBUG", "netdns=cgo+1")], "netdns-without-effect"),
        (&[("GO111MODULE", "off")], "modules-off"),
        (&[("GOFLAGS", "-mod=mod -insecure")], "goflags-invalid"),
        (&[("GOMAXPROCS", "many")], "gomaxprocs-invalid"),
        (&[("GO_PROXY_TIMEOUT", "60s")], "setting-without-effect"),
    ] {
        assert_eq!(findings(env, &[]), [finding], "{env:?}");
    }
    assert_eq!(findings(&[], &[("HTTPS_PROXY", "http://a.test")]), ["setting-without-effect"]);
}

#[test]
fn no_password_and_no_private_name_is_shown() {
    let env = [
        ("GOPROXY", "https://me:hunter2@proxy.test,htps://me:hunter2@x.test"),
        ("GOPRIVATE", "https://git.secret.test,git.secret.test"),
        ("GONOPROXY", "other.secret.test"),
        ("HTTPS_PROXY", "http://me:hunter2@a.test"),
        ("https_proxy", "ftp://me:hunter2@b.test"),
    ];
    let shown = format!("{:?}", check(&settings(&env, &[])));
    assert!(!shown.contains("hunter2") && !shown.contains("secret.test"), "{shown}");
}

#[test]
fn what_any_list_covers_is_not_public() {
    let with = |env: &[(&str, &str)]| settings(env, &[]).is_public("golang.org/x/text");
    assert!(with(&[]) && with(&[("GOPRIVATE", "corp.test")]));
    for name in ["GOPRIVATE", "GONOPROXY", "GONOSUMDB"] {
        assert!(!with(&[(name, "golang.org/x")]) && !with(&[(name, "*")]), "{name}");
    }
    // GONOPROXY stands in for it, and the name is private all the same.
    assert!(!with(&[("GOPRIVATE", "golang.org"), ("GONOPROXY", "none"), ("GONOSUMDB", "none")]));
}
