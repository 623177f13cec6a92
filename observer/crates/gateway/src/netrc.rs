//! Credentials from .netrc, which go would send to the proxy itself. In: the file's text. Out: the login of
//! a host.

use base64::Engine as _;
use hyper::header::HeaderValue;

/// Bytes of the file that are read.
pub const FILE_MAX: u64 = 256 * 1024;

/// Logins by host.
#[derive(Clone, Default)]
pub struct Netrc(Vec<(String, String, String)>);

/// Never what is in it.
impl std::fmt::Debug for Netrc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Netrc({} hosts)", self.0.len())
    }
}

impl Netrc {
    /// Reads a file as the go command does: `machine`, `login`, `password`; `default` ends it, macros are
    /// skipped.
    pub fn parse(text: &str) -> Self {
        let (mut all, mut now) = (Vec::new(), (String::new(), String::new(), String::new()));
        let mut in_macro = false;
        for line in text.lines() {
            if in_macro {
                in_macro = !line.trim().is_empty();
                continue;
            }
            let mut words = line.split_whitespace();
            while let Some(word) = words.next() {
                match word {
                    "machine" => {
                        now = (words.next().unwrap_or_default().to_owned(), String::new(), String::new());
                    }
                    "login" => words.next().unwrap_or_default().clone_into(&mut now.1),
                    "password" => words.next().unwrap_or_default().clone_into(&mut now.2),
                    "macdef" => in_macro = true,
                    "default" => return Self(all),
                    _ => {}
                }
                if !now.0.is_empty() && !now.1.is_empty() && !now.2.is_empty() {
                    all.push(std::mem::take(&mut now));
                }
            }
        }
        Self(all)
    }

    /// The header for a host (without a port).
    pub fn authorization(&self, host: &str) -> Option<HeaderValue> {
        let (_, login, password) = self.0.iter().find(|(machine, ..)| machine == host)?;
        basic(&format!("{login}:{password}"))
    }
}

/// `Basic` of `user:password`.
pub(crate) fn basic(user_info: &str) -> Option<HeaderValue> {
    let user_info = if user_info.contains(':') { user_info.to_owned() } else { format!("{user_info}:") };
    let encoded = base64::engine::general_purpose::STANDARD.encode(user_info);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_login_is_found_and_never_shown() {
        let netrc = Netrc::parse(
            "machine a.test login me password hunter2\nmacdef x\nmachine m.test login l password p\n\n\
             machine b.test\n  login you\n  password hunter3\ndefault login d password d\n",
        );
        assert_eq!(netrc.authorization("a.test").unwrap(), "Basic bWU6aHVudGVyMg==");
        assert_eq!(netrc.authorization("b.test").unwrap(), "Basic eW91Omh1bnRlcjM=");
        for other in ["m.test", "c.test", ""] {
            assert_eq!(netrc.authorization(other), None, "{other}");
        }
        let shown = format!("{netrc:?} {:?}", netrc.authorization("a.test"));
        assert!(!shown.contains("hunter") && !shown.contains("bWU6"), "{shown}");
    }
}
