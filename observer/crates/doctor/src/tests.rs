//! What is asked, by settings.

use super::*;

fn plan(env: &[(&str, &str)]) -> Plan {
    let env: std::collections::BTreeMap<String, String> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let variables = env.clone();
    Plan {
        settings: Settings { env, ..Settings::default() },
        network: Network::from_env(move |name| variables.get(name).cloned()),
        servers: Servers::parse("nameserver 192.0.2.53\n"),
        hosts_file: String::new(),
        netrc: Netrc::default(),
        module: (MODULE.0.into(), MODULE.1.into()),
    }
}

#[test]
fn a_private_module_is_asked_of_nobody() {
    let usual = plan(&[("GOPROXY", "https://proxy.test/go/,direct"), ("GOSUMDB", "sumdb.test+1+key")]);
    let [(name, target)] = &proxies(&usual)[..] else { panic!() };
    assert_eq!(name, "module proxy https://proxy.test/go");
    assert_eq!(target.asks.len(), 3);
    for private in ["GOPRIVATE", "GONOPROXY", "GONOSUMDB"] {
        let hidden = plan(&[
            ("GOPROXY", "https://proxy.test"),
            ("GOSUMDB", "sumdb.test"),
            (private, "golang.org/x,git.corp.test"),
        ]);
        let asks = format!("{:?}", proxies(&hidden)[0].1.asks);
        assert!(!asks.contains("golang") && !asks.contains("corp") && asks.contains("latest"), "{asks}");
    }
}

#[test]
fn the_database_is_read_as_go_reads_it() {
    let of = |value: &str| Database::of(&plan(&[("GOSUMDB", value)]).settings);
    assert_eq!(of("off"), None);
    assert_eq!(of(""), None);
    let plain = of("sumdb.test+1+key").unwrap();
    assert_eq!(
        (plain.name.as_str(), plain.url.to_string().as_str(), plain.is_direct),
        ("sumdb.test", "https://sumdb.test/", false)
    );
    let elsewhere = of("sumdb.test https://me:hunter2@mirror.test/db/").unwrap();
    assert_eq!((elsewhere.url.to_string().as_str(), elsewhere.is_direct), ("https://mirror.test/db", true));
    assert_eq!(of("sum.golang.google.cn").unwrap().name, "sum.golang.org");
    assert_eq!(of("sumdb.test ftp://x"), None);
}

#[test]
fn only_what_go_would_look_up_is_asked_of_name_servers() {
    let hosts = |env: &[(&str, &str)], urls: &[&str]| {
        let urls: Vec<Uri> = urls.iter().map(|url| url.parse().unwrap()).collect();
        hosts(&plan(env), &urls.iter().collect::<Vec<_>>())
    };
    let urls = [
        "https://proxy.test/x",
        "http://127.0.0.1:8080",
        "https://[::1]/",
        "http://localhost:3000",
        "https://proxy.test",
    ];
    assert_eq!(hosts(&[], &urls), ["proxy.test"]);
    let through = [("HTTPS_PROXY", "http://me:hunter2@forward.test:3128"), ("NO_PROXY", "b.test")];
    assert_eq!(hosts(&through, &["https://proxy.test", "https://b.test"]), ["forward.test", "b.test"]);
    assert_eq!(hosts(&through, &["http://proxy.test"]), ["proxy.test"]);
}

#[tokio::test]
async fn without_anything_to_ask_it_ends_at_once() {
    let mut groups = Vec::new();
    way(&plan(&[("GOPROXY", "off"), ("GOSUMDB", "off")]), |group| groups.push(group)).await;
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].checks[0].what, "no host is to be asked for");
}
