//! What leaves the machine for what people already run: a command's spans at a collector, counters at Prometheus.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use serde_json::Value;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::wait;

/// A caller's trace and span.
const PARENT: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");

/// A collector: what it was sent at which path. The first message of each path is answered with 503.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Value)>>>);

impl Collector {
    /// Listens; its base URL.
    fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = self.clone();
        std::thread::spawn(move || {
            let mut refused = Vec::new();
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                while let Some((path, body)) = request(&mut reader) {
                    let again = refused.contains(&path);
                    let status = if again { "200 OK" } else { "503 Service Unavailable" };
                    if again {
                        collector.0.lock().unwrap().push((path, body));
                    } else {
                        refused.push(path);
                    }
                    let answer = format!(
                        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
                    );
                    reader.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        url
    }

    /// All spans, as they came.
    fn spans(&self) -> Vec<Value> {
        let all = self.0.lock().unwrap();
        let messages = all.iter().filter(|(path, _)| path == "/v1/traces").map(|(_, body)| body);
        let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let of_resources = messages.flat_map(|body| list(body, "resourceSpans"));
        let of_scopes = of_resources.flat_map(|resource| list(&resource, "scopeSpans"));
        of_scopes.flat_map(|scope| list(&scope, "spans")).collect()
    }
}

/// A request's path and its body, which is gzipped JSON; `None` at the end.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_reader(GzDecoder::new(&*body)).unwrap()))
}

#[test]
fn a_callers_trace_has_the_command_and_every_request_although_the_collector_is_busy_at_first() {
    let name = "a_callers_trace_has_the_command_and_every_request_although_the_collector_is_busy_at_first";
    let Some(lab) = Lab::for_test(name) else { return };
    let run = lab.go_run(&GoOptions { few: true, ..GoOptions::default() }).unwrap();
    let collector = Collector::default();
    let url = collector.start();
    let mut command = run.goobserve().unwrap();
    command.args(["run", "--quiet", "--otlp", &url, "--", "go", "mod", "download"]);
    command.env("TRACEPARENT", format!("00-{}-{}-01", PARENT.0, PARENT.1));
    let output = lab.begin(&mut command).unwrap().end();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span["traceId"] == PARENT.0), "{spans:#?}");
    let ids: Vec<&Value> = spans.iter().map(|span| &span["spanId"]).collect();
    let mut roots = spans.iter().filter(|span| !ids.contains(&&span["parentSpanId"]));
    let root = roots.next().unwrap();
    assert_eq!(
        (root["name"].as_str(), root["parentSpanId"].as_str()),
        (Some("go mod download"), Some(PARENT.1))
    );
    assert_eq!(roots.next(), None, "every other span has its parent beside it");
    let gets = spans.iter().filter(|span| span["name"] == "GET").count();
    assert!(lab.proxy.log().settled(tests::complete::SETTLE));
    assert_eq!(gets, lab.proxy.log().take().1.len(), "a span a request");
}

/// A sample's value of a page.
fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn prometheus_gets_what_the_server_saw_while_nothing_else_happens() {
    let name = "prometheus_gets_what_the_server_saw_while_nothing_else_happens";
    let Some(lab) = Lab::for_test(name) else { return };
    let run = lab.go_run(&GoOptions { few: true, go_sum: true, ..GoOptions::default() }).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = run.goobserve().unwrap();
    let watch = lab.begin(command.args(["watch", "--metrics", &free.to_string()])).unwrap();
    wait::until("goobserve to watch", || watch.stderr().contains("watching every go").then_some(()));
    let download = lab.begin(&mut run.go(&["mod", "download"])).unwrap();
    assert_eq!(download.end().status.code(), Some(0));
    assert!(lab.proxy.log().settled(tests::complete::SETTLE));
    let served = lab.proxy.log().take().1.len();
    let page = wait::until("the command's counters", || {
        let mut stream = TcpStream::connect(free).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: metrics.test\r\nconnection: close\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        // Others of this machine may be counted, too.
        (sample(&page, "goobserve_requests_total{class=\"zip\",status=\"2xx\"}")? >= 10.0).then_some(page)
    });
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("application/openmetrics-text"), "{page}");
    assert!(page.trim_end().ends_with("# EOF"), "{page}");
    let all: f64 = page
        .lines()
        .filter(|line| line.starts_with("goobserve_requests_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(all >= served as f64, "{all} of {served}: {page}");
    let zeros = ["kernel_events", "events_undecoded"];
    for what in zeros {
        assert_eq!(sample(&page, &format!("goobserve_lost{{what=\"{what}\"}}")), Some(0.0), "{page}");
    }
    watch.signal(nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(watch.end().status.code(), Some(0));
}
