//! The servers that there are: how each is started, and where go commands meet it. Their settings are those
//! of their Debian packages, as far as they can be used on a lab's addresses; they lie in
//! `tests/data/servers`.

/// Where a server stands between the commands and the lab's module proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It is the module proxy, at port 443, or 80 in plain http, and asks the lab's
    Front {
        /// Commands speak plain http with it
        plain: bool,
    },
    /// `HTTPS_PROXY` names it, with that scheme
    Forward(&'static str),
    /// The same; it opens the tunnels and speaks for the module proxy
    Bump,
    /// `HTTP_PROXY` names it, and the module proxy is one in plain http
    ForwardPlain,
}

/// A server in one of its roles.
#[derive(Clone, Copy, Debug)]
pub struct Software {
    /// What the bench calls it
    pub name: &'static str,
    /// The program; none for the lab's own
    pub program: Option<&'static str>,
    /// Its Debian package
    pub package: &'static str,
    /// Run before it, by the shell
    pub prepare: &'static str,
    /// Its arguments, separated by spaces
    pub args: &'static str,
    /// Its settings
    pub settings: &'static str,
    /// Where it stands
    pub role: Role,
    /// It compresses what it passes on
    pub compresses: bool,
    /// Kinds of findings that are true of it in these settings, each with why
    pub borne_out: &'static [(&'static str, &'static str)],
}

macro_rules! settings {
    ($name:literal) => {
        include_str!(concat!("../../data/servers/", $name, ".conf"))
    };
}

const FRONT: Role = Role::Front { plain: false };
const PLAIN: Role = Role::Front { plain: true };
const CONNECT: Role = Role::Forward("http");
const SOCKS: Role = Role::Forward("socks5");
/// One that has no file of settings.
const NONE: &str = "";
/// Of a forward proxy that never sets `TCP_NODELAY`.
const NAGLE: &[(&str, &str)] = &[("small-segments-delayed", "it leaves Nagle's algorithm on")];
const LAB: Software = Software {
    name: "",
    program: None,
    package: "",
    prepare: "",
    args: "",
    settings: NONE,
    role: FRONT,
    compresses: false,
    borne_out: &[],
};
const SQUID: Software = Software {
    program: Some("squid"),
    package: "squid-openssl",
    args: "-N -n @service@ -f @settings@",
    settings: settings!("squid"),
    role: CONNECT,
    ..LAB
};
const NGINX: Software = Software {
    program: Some("nginx"),
    package: "nginx-light",
    args: "-c @settings@ -p @dir@ -e @dir@/error.log",
    settings: settings!("nginx"),
    ..LAB
};

/// All of them.
pub const ALL: &[Software] = &[
    Software { name: "nginx", ..NGINX },
    Software { name: "nginx-http1", ..NGINX },
    Software {
        name: "apache",
        program: Some("apache2"),
        package: "apache2",
        args: "-D FOREGROUND -f @settings@",
        settings: settings!("apache"),
        compresses: true,
        ..LAB
    },
    Software {
        name: "haproxy",
        program: Some("haproxy"),
        package: "haproxy",
        args: "-db -f @settings@",
        settings: settings!("haproxy"),
        ..LAB
    },
    Software {
        name: "caddy",
        program: Some("caddy"),
        package: "caddy",
        args: "run --config @settings@ --adapter caddyfile",
        settings: settings!("caddy"),
        ..LAB
    },
    Software {
        name: "h2o",
        program: Some("h2o"),
        package: "h2o",
        args: "-m worker -c @settings@",
        settings: settings!("h2o"),
        ..LAB
    },
    Software { name: "squid-connect", ..SQUID },
    Software {
        name: "squid-bump",
        prepare: "/usr/lib/squid/security_file_certgen -c -s @dir@/certificates -M 4MB && chown -R proxy @dir@/certificates",
        settings: settings!("squid-bump"),
        role: Role::Bump,
        ..SQUID
    },
    Software {
        name: "squid-https",
        settings: settings!("squid-https"),
        role: Role::Forward("https"),
        ..SQUID
    },
    Software { name: "squid-plain", role: Role::ForwardPlain, ..SQUID },
    Software {
        name: "tinyproxy",
        program: Some("tinyproxy"),
        package: "tinyproxy",
        args: "-d -c @settings@",
        settings: settings!("tinyproxy"),
        role: CONNECT,
        borne_out: NAGLE,
        ..LAB
    },
    Software {
        name: "privoxy",
        program: Some("privoxy"),
        package: "privoxy",
        args: "--no-daemon @settings@",
        settings: settings!("privoxy"),
        role: CONNECT,
        ..LAB
    },
    Software {
        name: "danted",
        program: Some("danted"),
        package: "dante-server",
        args: "-f @settings@ -p @dir@/danted.pid",
        settings: settings!("danted"),
        role: SOCKS,
        ..LAB
    },
    Software {
        name: "microsocks",
        program: Some("microsocks"),
        package: "microsocks",
        args: "-i @address@ -p 3128",
        role: SOCKS,
        borne_out: NAGLE,
        ..LAB
    },
    Software {
        name: "mitmproxy",
        program: Some("mitmdump"),
        package: "mitmproxy",
        prepare: "cp @authority@ @dir@/mitmproxy-ca.pem",
        args: "--listen-host @address@ --listen-port 3128 --set confdir=@dir@ --set ssl_verify_upstream_trusted_ca=@ca@",
        role: Role::Bump,
        borne_out: &[
            ("proxy-slow", "it reads a whole file before it passes it on"),
            ("proxy-share", "it takes milliseconds for each answer, on one CPU"),
        ],
        ..LAB
    },
    Software { name: "nginx-plain", role: PLAIN, ..NGINX },
    Software { name: "lab-plain", role: PLAIN, ..LAB },
];
