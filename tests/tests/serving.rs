//! `serve gateway` as a server of a team: TLS, settings read anew while it serves, credentials that go through it and
//! stay nowhere, a full disk.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::{FRONT_HOST, Lab};
use tests::proxy::Faults;
use tests::wait;

/// What a netrc line and a GOAUTH command of these say in the header.
const BASIC: &str = "Basic bWU6aHVudGVyMg==";
const BEARER: &str = "Bearer hunter3";
/// What nobody may write down.
const SECRETS: [&str; 3] = ["hunter2", "hunter3", "bWU6aHVudGVyMg"];

fn few() -> GoOptions {
    GoOptions { go_sum: true, few: true, ..GoOptions::default() }
}

/// A server, and the run whose folder it has.
struct Server {
    child: Child,
    goproxy: String,
    run: GoRun,
}

impl Server {
    fn start(lab: &Lab, run: GoRun, arguments: &[&str]) -> Self {
        let mut command = run.goobserve().unwrap();
        command.args(["serve", "gateway", "--cache"]).arg(run.file("cache")).args(arguments);
        Self::spawn(lab, run, command)
    }

    /// At `front.test`, with the lab's certificate.
    fn with_tls(lab: &Lab, run: GoRun) -> Self {
        let [_, _, certificate, key] = lab.certificates();
        fs::write(run.file("certificate.pem"), certificate).unwrap();
        fs::write(run.file("key.pem"), key).unwrap();
        let files = ["certificate.pem", "key.pem"].map(|name| run.file(name).to_string_lossy().into_owned());
        let listen = format!("{}:0", lab.address(FRONT_HOST).unwrap());
        let arguments =
            ["--listen", &listen, "--host", FRONT_HOST, "--tls-cert", &files[0], "--tls-key", &files[1]];
        Self::start(lab, run, &arguments)
    }

    fn spawn(lab: &Lab, run: GoRun, mut command: Command) -> Self {
        let said = fs::File::create(run.file("said")).unwrap();
        let mut child = lab.spawn(command.stdout(Stdio::piped()).stderr(said)).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let goproxy = line.trim().strip_prefix("GOPROXY=").unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, goproxy, run }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.run.file("said")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Has it read everything anew.
    fn renew(&self) {
        let before = self.said().matches("anew").count();
        self.signal(Signal::SIGHUP);
        wait::until("settings to be read", || (self.said().matches("anew").count() > before).then_some(()));
    }

    /// A client of it, with more variables.
    fn download(&self, lab: &Lab, env: &[(&str, &str)]) -> Output {
        self.download_of(lab, &few(), env)
    }

    fn download_of(&self, lab: &Lab, options: &GoOptions, env: &[(&str, &str)]) -> Output {
        let run = lab.go_run(options).unwrap();
        let mut go = run.go(&["mod", "download"]);
        lab.output(go.env("GOPROXY", &self.goproxy).envs(env.iter().copied())).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Credentials of the requests that the lab's proxy had.
fn credentials(lab: &Lab) -> Vec<Option<String>> {
    let requests = lab.proxy.log().requests();
    assert_ne!(requests.len(), 0);
    requests.into_iter().map(|request| request.authorization).collect()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    all.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Nothing that the server wrote has a secret in it.
#[track_caller]
fn nothing_is_written(server: &Server) {
    let mut written = files(&server.run.file("cache"));
    written.push(server.run.file("said"));
    for path in written {
        let bytes = fs::read(&path).unwrap();
        for secret in SECRETS {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
    }
}

#[test]
fn over_tls_it_serves_whom_its_certificate_convinces() {
    let Some(lab) = Lab::for_test("over_tls_it_serves_whom_its_certificate_convinces") else { return };
    let server = Server::with_tls(&lab, lab.go_run(&few()).unwrap());
    assert!(server.goproxy.starts_with("https://front.test:"), "{}", server.goproxy);
    succeeded(&server.download(&lab, &[]));
    // Whoever does not know the authority gets no further than the handshake.
    let stranger = server.download(&lab, &[("SSL_CERT_FILE", "/dev/null")]);
    let text = String::from_utf8_lossy(&stranger.stderr);
    assert!(!stranger.status.success() && text.contains("certificate"), "{text}");
    server.signal(Signal::SIGTERM);
    let mut server = server;
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_no_certificate_is_two_lines() {
    let Some(lab) = Lab::for_test("what_is_no_certificate_is_two_lines") else { return };
    let run = lab.go_run(&few()).unwrap();
    let [_, _, certificate, _] = lab.certificates();
    fs::write(run.file("certificate.pem"), certificate).unwrap();
    let path = run.file("certificate.pem").to_string_lossy().into_owned();
    for key in [path.as_str(), "/nowhere"] {
        let arguments =
            ["serve", "gateway", "--listen", "127.0.0.1:0", "--tls-cert", &path, "--tls-key", key];
        let output = lab.goobserve(&run, &arguments).unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains("BEGIN") && output.stdout.is_empty(), "{text}");
    }
}

#[test]
fn settings_are_read_anew_and_no_request_is_dropped() {
    let Some(lab) = Lab::for_test("settings_are_read_anew_and_no_request_is_dropped") else { return };
    lab.proxy.set_faults(Faults { request_delay: Duration::from_millis(30), ..Faults::default() });
    let server = Server::with_tls(&lab, lab.go_run(&few()).unwrap());
    let done = AtomicBool::new(false);
    let renewed = thread::scope(|scope| {
        let renewing = scope.spawn(|| {
            let mut times = 0;
            while !done.load(Ordering::SeqCst) {
                server.renew();
                times += 1;
            }
            times
        });
        for _ in 0..3 {
            let options = GoOptions { few: true, ..GoOptions::default() };
            succeeded(&server.download_of(&lab, &options, &[]));
        }
        done.store(true, Ordering::SeqCst);
        renewing.join().unwrap()
    });
    assert!(renewed >= 3, "{renewed}");

    // New settings are used: credentials, and a certificate that is none leaves the old one.
    assert!(credentials(&lab).iter().all(Option::is_none));
    fs::write(server.run.file("home/.netrc"), "machine proxy.test login me password hunter2\n").unwrap();
    server.renew();
    fs::remove_dir_all(server.run.file("cache/v1")).unwrap();
    fs::create_dir_all(server.run.file("cache/v1/tmp")).unwrap();
    fs::write(server.run.file("key.pem"), "").unwrap();
    server.signal(Signal::SIGHUP);
    wait::until("the complaint", || server.said().contains("nothing is changed").then_some(()));
    let before = lab.proxy.log().requests().len();
    // Other modules than the cache in memory has.
    succeeded(&server.download_of(&lab, &GoOptions { go_sum: true, ..GoOptions::default() }, &[]));
    let with = credentials(&lab).split_off(before);
    assert!(!with.is_empty() && with.iter().all(|value| value.as_deref() == Some(BASIC)), "{with:?}");
    nothing_is_written(&server);
}

#[test]
fn a_clients_credentials_go_through_and_stay_nowhere() {
    let Some(lab) = Lab::for_test("a_clients_credentials_go_through_and_stay_nowhere") else { return };
    let server = Server::with_tls(&lab, lab.go_run(&few()).unwrap());
    let host = server.goproxy.strip_prefix("https://").unwrap().split('/').next().unwrap().to_owned();
    let netrc = server.run.file("netrc");
    // Go looks for the host with its port.
    fs::write(&netrc, format!("machine {host} login me password hunter2\n")).unwrap();
    let helper = server.run.file("helper");
    fs::write(&helper, format!("#!/bin/sh\nprintf 'https://{host}\\n\\nAuthorization: {BEARER}\\n\\n'\n"))
        .unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let netrc = [("GOAUTH", "netrc"), ("NETRC", netrc.to_str().unwrap())];
    let helper = [("GOAUTH", helper.to_str().unwrap())];
    let mut asked = 0;
    for (env, expected) in [(&netrc[..], BASIC), (&helper[..], BEARER), (&netrc[..], BASIC)] {
        succeeded(&server.download(&lab, env));
        let these = credentials(&lab).split_off(asked);
        asked += these.len();
        // What was answered to somebody's credentials is given to nobody else, and not kept: all is asked anew.
        assert!(these.len() >= 30, "{}", these.len());
        assert!(these.iter().all(|value| value.as_deref() == Some(expected)), "{these:?}");
    }
    nothing_is_written(&server);
    assert_eq!(files(&server.run.file("cache")), Vec::<PathBuf>::new());
    // Who has none gets nothing of theirs.
    succeeded(&server.download(&lab, &[]));
    let these = credentials(&lab).split_off(asked);
    assert!(these.len() >= 30 && these.iter().all(Option::is_none), "{these:?}");
}

#[test]
fn a_full_disk_serves_on() {
    let Some(lab) = Lab::for_test("a_full_disk_serves_on") else { return };
    let run = lab.go_run(&few()).unwrap();
    fs::create_dir(run.file("disk")).unwrap();
    let plain = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
    succeeded(&lab.output(&mut plain.go(&["mod", "download"])).unwrap());
    // The server's own mount namespace, so the disk ends with it.
    let script = "mount -t tmpfs -o size=512k none \"$1\" || exit 99; shift; exec \"$@\"";
    let mut command = run.command("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(run.file("disk")).arg(binary().unwrap());
    command.args(["serve", "gateway", "--listen", "127.0.0.1:0", "--cache"]).arg(run.file("disk/cache"));
    let server = Server::spawn(&lab, run, command);
    for _ in 0..2 {
        let client = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
        let mut go = client.go(&["mod", "download"]);
        succeeded(&lab.output(go.env("GOPROXY", &server.goproxy)).unwrap());
        for path in files(&plain.modcache().join("cache/download")) {
            if path.extension().is_some_and(|end| end == "zip" || end == "mod" || end == "info") {
                let name = path.strip_prefix(plain.modcache()).unwrap();
                let same = fs::read(&path).unwrap() == fs::read(client.modcache().join(name)).unwrap();
                assert!(same, "{}", name.display());
            }
        }
    }
    let (host, _) = server.goproxy.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let failed =
        text.lines().find_map(|line| line.strip_prefix("goobserve_gateway_cache_write_errors_total "));
    assert!(failed.unwrap().parse::<u32>().unwrap() > 0, "the disk was full: {text}");
}
