//! Remedies that are a key of GODEBUG: `http1`, `no-mlkem`. The other keys stay as they are.

use std::ffi::OsString;

/// A key and the value that is the remedy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Switch {
    /// HTTP/1.1 with as many connections as it takes
    Http1,
    /// A `ClientHello` without the ML-KEM key share: it fits one packet
    NoMlkem,
}

impl Switch {
    /// The one of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Http1, Self::NoMlkem].into_iter().find(|switch| switch.name() == name)
    }

    /// Its name after `--with`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::NoMlkem => "no-mlkem",
        }
    }

    /// Its key in GODEBUG; both are switched off by 0.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Http1 => "http2client",
            Self::NoMlkem => "tlsmlkem",
        }
    }

    /// Merges it into GODEBUG.
    pub(super) fn apply(self, env: &mut Vec<(OsString, OsString)>) {
        let old = env.iter().find(|(name, _)| name == "GODEBUG");
        let old = old.map(|(_, value)| value.to_string_lossy().into_owned()).unwrap_or_default();
        super::set(env, "GODEBUG", merged(&old, &format!("{}=0", self.key())));
    }
}

/// GODEBUG with pairs replaced or added; of a key given twice Go takes the last.
pub(super) fn merged(old: &str, new: &str) -> String {
    let key = |pair: &str| pair.split_once('=').map_or_else(|| pair.to_owned(), |(key, _)| key.to_owned());
    let pairs = |text: &str| -> Vec<String> {
        text.split(',').filter(|pair| !pair.is_empty()).map(str::to_owned).collect()
    };
    let new = pairs(new);
    let mut all = pairs(old);
    all.retain(|pair| !new.iter().any(|other| key(other) == key(pair)));
    all.extend(new);
    all.join(",")
}
