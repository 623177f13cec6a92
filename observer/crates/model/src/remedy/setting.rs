//! Remedies that are one variable: `concurrency`, `proxy`, `sumdb`, `env`.

use std::ffi::OsString;
use std::fmt;

use super::godebug;
use crate::redact;
use crate::shell;
use crate::user_error::UserError;

/// Downloads at once that are believed; more is a slip of the finger.
const CONCURRENCY_MAX: u32 = 1024;
/// What is in a variable of these names may be shown; it is no secret.
pub(super) const SHOWN: [&str; 12] = [
    "GODEBUG",
    "GOFLAGS",
    "GOINSECURE",
    "GOMAXPROCS",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GOTOOLCHAIN",
    "GOVCS",
    "GOWORK",
];

/// A variable and its new value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Setting {
    /// As after `--with`
    remedy: &'static str,
    variable: String,
    value: String,
}

impl Setting {
    /// Understands `NAME=VALUE` of `--with`.
    pub(super) fn parse(name: &str, value: Option<&str>) -> Result<Self, UserError> {
        let of = |remedy, variable: &str, value: &str| Self {
            remedy,
            variable: variable.to_owned(),
            value: value.to_owned(),
        };
        match name {
            "concurrency" => {
                let value = super::needed(name, value, "concurrency=16")?;
                let number = value.parse().ok().filter(|n| (1..=CONCURRENCY_MAX).contains(n));
                let Some(number) = number else {
                    return Err(UserError::new(
                        format!(
                            "{}: expected a number from 1 to {CONCURRENCY_MAX}",
                            redact::remedy(&format!("concurrency={value}"))
                        ),
                        "--with concurrency=16",
                    ));
                };
                Ok(of("concurrency", "GOMAXPROCS", &number.to_string()))
            }
            "proxy" => {
                let value = super::needed(name, value, "proxy=https://proxy.test")?;
                if let Some(wrong) = value.split([',', '|']).find(|item| !is_proxy(item)) {
                    return Err(UserError::new(
                        format!("proxy={}: {:?} is no proxy", redact::proxies(value), redact::proxies(wrong)),
                        "GOPROXY is a list of URLs, `direct` and `off`: --with proxy=https://proxy.test,direct",
                    ));
                }
                Ok(of("proxy", "GOPROXY", value))
            }
            "sumdb" => {
                let value = super::needed(name, value, "sumdb=off")?;
                // The go command's own rule: a name or key, and perhaps a URL.
                if value.split_whitespace().count() > 2 {
                    return Err(UserError::new(
                        format!("sumdb={}: more than a key and a URL", redact::sumdb(value)),
                        "--with sumdb='sumdb.test https://mirror.test', or sumdb=off",
                    ));
                }
                Ok(of("sumdb", "GOSUMDB", value))
            }
            "env" => {
                let both = super::needed(name, value, "env=GOTOOLCHAIN=local")?;
                let known = both.split_once('=').filter(|(name, _)| {
                    !name.is_empty()
                        && !name.starts_with(|c: char| c.is_ascii_digit())
                        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                });
                let Some((variable, value)) = known else {
                    return Err(UserError::new("env: expected NAME=VALUE", "--with env=GOTOOLCHAIN=local"));
                };
                Ok(of("env", variable, value))
            }
            _ => Err(UserError::new(
                format!("there is no remedy {:?}", redact::remedy(name)),
                format!("there are {}", super::NAMES),
            )),
        }
    }

    /// The variable.
    pub(super) fn variable(&self) -> &str {
        &self.variable
    }

    /// Sets it; GODEBUG is merged.
    pub(super) fn apply(&self, env: &mut Vec<(OsString, OsString)>) {
        if self.variable == "GODEBUG" {
            let old = env.iter().find(|(name, _)| name == "GODEBUG");
            let old = old.map(|(_, value)| value.to_string_lossy().into_owned()).unwrap_or_default();
            super::set(env, "GODEBUG", godebug::merged(&old, &self.value));
        } else {
            super::set(env, &self.variable, &self.value);
        }
    }

    /// What is given up.
    pub(super) fn warning(&self) -> Option<&'static str> {
        let off = match self.variable.as_str() {
            "GOSUMDB" => self.value == "off",
            "GONOSUMDB" | "GONOSUMCHECK" | "GOINSECURE" | "GOPRIVATE" => {
                self.value.split(',').any(|pattern| pattern == "*" || pattern == "*.*")
            }
            "GOFLAGS" => self.value.split_whitespace().any(|flag| flag == "-insecure"),
            _ => false,
        };
        off.then_some(
            "modules that go.sum does not have yet are believed unchecked: nothing shows when a proxy or \
             somebody on the way gives other bytes than everybody else gets",
        )
    }
}

/// `direct`, `off`, or a URL; Go also takes a host alone for https.
fn is_proxy(item: &str) -> bool {
    let scheme = item.split_once("://").map(|(scheme, rest)| (scheme, rest.trim_start_matches('/')));
    match scheme {
        Some(("http" | "https", rest)) => !rest.is_empty(),
        Some(("file", _)) => true,
        Some(_) => false,
        None => item == "direct" || item == "off" || item.contains('.') || item.contains(':'),
    }
}

impl Setting {
    /// Its value, as far as it may be shown.
    pub(super) fn shown(&self) -> String {
        redact::variable(&self.variable, &self.value)
    }

    /// What makes it last.
    pub(super) fn keeping(&self) -> String {
        let (name, value) = (&self.variable, self.shown());
        // A line with a hole in it is none to be pasted.
        if value != self.value {
            return format!("the value tried for {name} in its environment");
        }
        let value = if value.is_empty() { value } else { shell::word(&value) };
        match name.as_str() {
            // Builds and tests would use as many threads, too.
            "GOMAXPROCS" => format!("{name}={value} in front of this command alone"),
            "GODEBUG" => format!("{value} appended to GODEBUG in its environment"),
            // `go env -w` refuses GOWORK, and what it writes gives way to the environment.
            name if SHOWN.contains(&name) && name != "GOWORK" => {
                format!("go env -w {name}={value}, or where the environment sets {name}, there")
            }
            _ => format!("{name}={value} in its environment"),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = (&self.variable, self.shown());
        match self.remedy {
            "env" => write!(f, "env={name}={value}"),
            remedy => write!(f, "{remedy}={value}"),
        }
    }
}
