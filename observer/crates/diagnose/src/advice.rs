//! What to do about a stall, in a sentence: the short form of what `docs/stalls.md` says. A kind
//! in, the sentence out, where its detector has none that fits the case better.

use model::report::Stall;

/// The next step against a stall: what kind of step it is, and the step.
pub fn next_step(stall: &Stall) -> Option<(&'static str, &str)> {
    let remedy = stall.remedies.first();
    let attempt = remedy.map(|remedy| if remedy.attempt.is_empty() { &remedy.name } else { &remedy.attempt });
    let advice = Some(&stall.advice).filter(|advice| !advice.is_empty());
    attempt.map(|attempt| ("try", attempt.as_str())).or_else(|| Some(("do", advice?)))
}

/// What a person can do about stalls of a kind.
pub fn advice(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "dns-timeout" => {
            "if it happens again, take that server out of /etc/resolv.conf, or fix the way to it"
        }
        "dns-aaaa-silent" => "have the device mended that drops AAAA questions, or ask another name server",
        "dns-slow" => "use a faster name server, or a cache on this machine: go asks again in each command",
        "dns-search" => "set ndots:1 where the command runs (in Kubernetes: dnsConfig)",
        "dns-error" => "tell the owner of that name server, or ask another one",
        "netdns-ignored" => "take netdns out of GODEBUG",
        "syn-lost" => {
            "see whether that host is up and the firewall open for it, or use one that can be reached"
        }
        "connect-refused" => "mend GOPROXY or GOSUMDB, whichever names it, or start the server",
        "ipv6-blackhole" => "mend IPv6 on this network or switch it off: go has no setting to prefer IPv4",
        "tls-hello-unanswered" | "tls-reset-by-sni" => "have the host let through, or use a mirror that is",
        "tls-slow" => "ask the server's owner why it answers late",
        "tls-intercepted" => "nothing, unless downloads are slow: each at once needs a connection of its own",
        "handshake-wasted" => "nothing: it cost one handshake beside another",
        "h2-loss-blocks-all" => "mend the loss on the way to that host",
        "h2-silent" => {
            "use another proxy that may see your modules; in scripts set a limit: timeout 300 go mod download"
        }
        "path-dead" => {
            "run it again; if it happens again, look for a NAT, firewall or VPN that drops connections"
        }
        "h2-stream-limit" => "raise the limit at the proxy",
        "h2-goaway" => "raise the limit (nginx: keepalive_requests), or use another proxy",
        "h2-stream-reset" => "look into the server's log at that time, or use another proxy",
        "zero-window" => "tell the owner of that server: it reads too slowly",
        "proxy-slow" => "use another proxy, or ask its owner why it answers late",
        "transfer-slow" => "use another proxy, or ask its owner whether it limits the rate",
        "toolchain-download" => {
            "install that Go beforehand, in CI in the image; GOTOOLCHAIN=local helps if go.mod needs no newer one"
        }
        "proxy-fallback-direct" => {
            "append private modules to GOPRIVATE, and GONOPROXY and GONOSUMDB where set; a wrong version: fix go.mod"
        }
        "mirror-private" => {
            "append your modules' prefix to GOPRIVATE, and to GONOPROXY and GONOSUMDB where set: they win over it"
        }
        "duplicate-request" => "mend what is missing there, if it should not be",
        "sumdb-slow" => "commit a complete go.sum (go mod tidy): the database is then asked nothing",
        "sumdb-unreachable" => "commit a complete go.sum, or use a proxy that serves the database",
        "sumdb-proxy-broken" => {
            "have the proxy fixed: it must answer /supported with 404, or serve the database"
        }
        "stacked-timeouts" => "mend one of the two, and the time halves",
        "concurrency-limited" => "set GOMAXPROCS for this command: GOMAXPROCS=16 go mod download",
        "cache-lock-wait" => {
            "wait for that process, or end it if it hangs; in CI give jobs that run at once a GOMODCACHE each"
        }
        "cache-shared" => "give GOCACHE and GOMODCACHE a folder each",
        "local-bound" => {
            "CPU: keep the module cache between runs; disk: a faster one for GOMODCACHE; waiting \
             for a CPU: fewer jobs beside it"
        }
        "vcs-waiting" => {
            "give git its credentials (a key without a passphrase, a token in .netrc); ssh -oBatchMode=yes shows if it asks"
        }
        _ => return None,
    })
}
