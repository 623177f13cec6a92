//! The machine a report is about.

use model::record::{Machine, Resolver};

/// Longest resolv.conf that is read, bytes.
const RESOLV_MAX: usize = 64 * 1024;
/// What the C library and Go take of it (resolv.conf(5)).
const SERVERS_MAX: usize = 3;

/// This machine; `resolv_conf` is what CMD sees instead of the machine's.
pub(super) fn machine(resolv_conf: Option<&str>) -> Machine {
    let own = || std::fs::read("/etc/resolv.conf").unwrap_or_default();
    let text = resolv_conf.map_or_else(own, |text| text.as_bytes().to_vec());
    let text = String::from_utf8_lossy(&text[..text.len().min(RESOLV_MAX)]).into_owned();
    let (kernel, arch, host_name) = nix::sys::utsname::uname().map_or_else(
        |_| (String::new(), std::env::consts::ARCH.to_owned(), None),
        |names| {
            let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
            let host_name = Some(text(names.nodename())).filter(|name| !name.is_empty());
            (text(names.release()), text(names.machine()), host_name)
        },
    );
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
    Machine { kernel, arch, cpus, resolver: resolver(&text), host_name }
}

/// What a resolv.conf says, with the defaults of resolv.conf(5).
pub(super) fn resolver(text: &str) -> Resolver {
    let mut resolver = Resolver { timeout_s: 5, attempts: 2, ..Resolver::default() };
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let room = SERVERS_MAX - resolver.servers.len();
                resolver.servers.extend(words.next().map(str::to_owned).into_iter().take(room));
            }
            Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
            Some("options") => {
                for option in words {
                    match option.split_once(':') {
                        Some(("timeout", n)) => resolver.timeout_s = n.parse().unwrap_or(5).clamp(1, 30),
                        Some(("attempts", n)) => resolver.attempts = n.parse().unwrap_or(2).clamp(1, 5),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    resolver
}

#[cfg(test)]
mod tests {
    use super::resolver;

    #[test]
    fn resolv_conf_is_read_with_its_defaults() {
        let plain = resolver("nameserver 127.77.1.1\n");
        assert_eq!((plain.servers.len(), plain.timeout_s, plain.attempts), (1, 5, 2));
        let full = resolver(
            "# first\nsearch a.test b.test\nnameserver 1.1.1.1 # far\nnameserver ::1\nnameserver c\nnameserver d\n\
             options ndots:2 timeout:1 attempts:99\n",
        );
        assert_eq!(full.servers, ["1.1.1.1", "::1", "c"]);
        assert_eq!(full.search, ["a.test", "b.test"]);
        assert_eq!((full.timeout_s, full.attempts), (1, 5));
    }
}
