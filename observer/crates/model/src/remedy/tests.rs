//! Remedies as they are typed, and what they change.

use super::*;

fn remedies(words: &[&str]) -> Remedies {
    Remedies::new(words.iter().map(|word| word.parse().unwrap()).collect()).unwrap()
}

fn changed(words: &[&str], env: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    remedies(words).change(&mut env);
    let text = |text: OsString| text.into_string().unwrap();
    env.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn wrong(word: &str) -> UserError {
    let error = word.parse::<Remedy>().unwrap_err();
    assert!(!error.what.contains('\n') && !error.hint.is_empty(), "{error:?}");
    error
}

#[test]
fn each_sets_its_variable() {
    for (word, name, value) in [
        ("concurrency=16", "GOMAXPROCS", "16"),
        ("proxy=https://proxy.test|direct", "GOPROXY", "https://proxy.test|direct"),
        ("proxy=file:///srv/mod", "GOPROXY", "file:///srv/mod"),
        ("sumdb=off", "GOSUMDB", "off"),
        ("http1", "GODEBUG", "http2client=0"),
        ("no-mlkem", "GODEBUG", "tlsmlkem=0"),
        ("env=GOFLAGS=-mod=mod", "GOFLAGS", "-mod=mod"),
        ("env=EMPTY=", "EMPTY", ""),
    ] {
        assert_eq!(changed(&[word], &[]), pairs(&[(name, value)]), "{word}");
    }
}

#[test]
fn godebug_is_merged_and_never_replaced() {
    let before = [("GODEBUG", "gctrace=1,http2client=1,netdns=go")];
    assert_eq!(
        changed(&["http1", "no-mlkem", "env=GODEBUG=gctrace=0"], &before),
        pairs(&[("GODEBUG", "netdns=go,http2client=0,tlsmlkem=0,gctrace=0")])
    );
}

#[test]
fn a_variable_is_replaced_in_its_place_and_once() {
    let before = [("A", "1"), ("GOMAXPROCS", "2"), ("B", "2"), ("GOMAXPROCS", "3")];
    assert_eq!(changed(&["concurrency=16"], &before), pairs(&[("A", "1"), ("GOMAXPROCS", "16"), ("B", "2")]));
}

#[test]
fn wrong_values_are_refused_in_two_lines() {
    for word in [
        "",
        "fly",
        "concurrency",
        "concurrency=",
        "concurrency=0",
        "concurrency=-1",
        "concurrency=many",
        "concurrency=2000",
        "http1=1",
        "no-mlkem=yes",
        "proxy",
        "proxy=",
        "proxy=ftp://x.test",
        "proxy=nowhere",
        "proxy=https://proxy.test,",
        "sumdb=",
        "sumdb=a b c",
        "env",
        "env=",
        "env=NAME",
        "env==x",
        "env=1A=x",
        "env=A B=x",
        "resolv",
        "resolv=",
        "resolv=timeout:1",
        "resolv=nameserver",
        "resolv=nameserver proxy.test",
        "resolv=nameserver 127.0.0.1 127.0.0.2",
        "resolv=options a\noptions b",
        "env=A=\0",
    ] {
        wrong(word);
    }
    assert!(wrong("fly").hint.contains("concurrency=N"));
}

#[test]
fn a_deadline_has_a_time_or_the_usual_one_and_changes_nothing_by_itself() {
    for (word, shown, seconds) in [
        ("deadline", "deadline", 35),
        ("deadline=45s", "deadline=45s", 45),
        ("deadline=2m", "deadline=120s", 120),
        ("deadline=5", "deadline=5s", 5),
    ] {
        let one = remedies(&[word]);
        assert_eq!((one.to_string().as_str(), one.deadline()), (shown, Some(Duration::from_secs(seconds))));
        assert_eq!(changed(&[word], &[("A", "1")]), pairs(&[("A", "1")]));
        assert_eq!(crate::redact::remedy(shown), shown);
    }
    assert_eq!(remedies(&["gateway"]).deadline(), None);
    for word in ["deadline=", "deadline=0", "deadline=-1s", "deadline=soon", "deadline=+5s", "deadline=2h"] {
        assert_eq!(wrong(word).what, "deadline: expected a time from 1s to 60m");
    }
}

#[test]
fn two_that_undo_each_other_are_refused() {
    let parse = |words: &[&str]| Remedies::new(words.iter().map(|word| word.parse().unwrap()).collect());
    let error = parse(&["concurrency=2", "env=GOMAXPROCS=4"]).unwrap_err();
    assert_eq!(error.what, "concurrency=2 and env=GOMAXPROCS=4 set the same thing");
    assert!(parse(&["http1", "http1"]).is_err());
    assert!(parse(&["http1", "no-mlkem", "resolv=options a", "resolv=options b"]).is_ok());
}

#[test]
fn secrets_are_not_shown() {
    let shown = remedies(&[
        "proxy=https://me:secret@proxy.test?t=secret",
        "env=GOAUTH=git secret",
        "env=TOKEN=secret",
    ]);
    assert_eq!(shown.to_string(), "proxy=https://…@proxy.test?… + env=GOAUTH=git … + env=TOKEN=…");
    assert!(!wrong("proxy=https://me:secret@proxy.test,ftp://x.test").what.contains("secret"));
}

#[test]
fn what_is_given_up_is_said() {
    let warns = |word: &str| word.parse::<Remedy>().unwrap().warning().is_some();
    assert!(warns("sumdb=off") && warns("env=GOSUMDB=off") && warns("env=GONOSUMDB=*"));
    assert!(!warns("sumdb=sumdb.test") && !warns("concurrency=16") && !warns("env=GOPRIVATE=corp.test"));
}

#[test]
fn how_to_keep_it_is_said_unless_a_protection_is_given_up() {
    for (word, keeping) in [
        ("concurrency=16", Some("GOMAXPROCS=16 in front of this command alone")),
        ("no-mlkem", Some("tlsmlkem=0 appended to GODEBUG in its environment")),
        (
            "proxy=https://user:secret@proxy.test|direct",
            Some("the value tried for GOPROXY in its environment"),
        ),
        (
            "env=GOPRIVATE=a.test,*.b.test",
            Some("go env -w GOPRIVATE='a.test,*.b.test', or where the environment sets GOPRIVATE, there"),
        ),
        (
            "env=GOTOOLCHAIN=local",
            Some("go env -w GOTOOLCHAIN=local, or where the environment sets GOTOOLCHAIN, there"),
        ),
        ("env=GODEBUG=netdns=go", Some("netdns=go appended to GODEBUG in its environment")),
        ("env=GOWORK=off", Some("GOWORK=off in its environment")),
        ("env=TOKEN=secret", Some("the value tried for TOKEN in its environment")),
        ("resolv=options ndots:1", Some("\"options ndots:1\" in /etc/resolv.conf")),
        ("sumdb=off", None),
    ] {
        assert_eq!(word.parse::<Remedy>().unwrap().keeping().as_deref(), keeping, "{word}");
    }
}

#[test]
fn options_are_added_and_servers_stand_in_for_the_machines() {
    let machine = "# mine\nsearch a.test\nnameserver 127.77.0.1\noptions ndots:2\n";
    let conf = |words: &[&str]| remedies(words).resolv_conf(machine);
    assert_eq!(conf(&["http1"]), None);
    assert_eq!(
        conf(&["resolv=options timeout:1   attempts:3"]).unwrap(),
        format!("{machine}options timeout:1 attempts:3\n")
    );
    assert_eq!(
        conf(&["resolv=nameserver 127.77.0.2", "resolv=nameserver fe80::1%eth0", "resolv=domain b.test"])
            .unwrap(),
        "# mine\noptions ndots:2\nnameserver 127.77.0.2\nnameserver fe80::1%eth0\ndomain b.test\n"
    );
}

#[test]
fn a_gateway_changes_nothing_by_itself_and_stands_with_a_proxy() {
    let both = remedies(&["proxy=https://proxy.test", "gateway"]);
    assert!(both.has_gateway() && !remedies(&["http1"]).has_gateway());
    assert_eq!(both.to_string(), "proxy=https://proxy.test + gateway");
    assert_eq!(changed(&["gateway"], &[("A", "1")]), pairs(&[("A", "1")]));
    assert_eq!(wrong("gateway=x").what, "gateway takes no value");
    let twice = ["gateway", "gateway"].map(|word| word.parse().unwrap());
    assert!(Remedies::new(twice.to_vec()).is_err());
}

#[test]
fn a_name_server_of_our_own_stands_in_for_all_and_the_rest_stays() {
    assert!(remedies(&["dns-cache", "gateway"]).has_dns_cache() && !remedies(&["gateway"]).has_dns_cache());
    let machine = "search a.test\nnameserver 10.0.0.1\nnameserver 10.0.0.2\noptions timeout:1\n";
    assert_eq!(
        Remedies::with_name_server(machine, "127.9.8.7".parse().unwrap()),
        "search a.test\noptions timeout:1\nnameserver 127.9.8.7\n"
    );
    assert_eq!(wrong("dns-cache=x").what, "dns-cache takes no value");
}
