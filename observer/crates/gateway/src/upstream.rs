//! One upstream of the list: its URL, its credentials, and what was learned of it.

use std::sync::{Mutex, MutexGuard};

use hyper::Uri;
use hyper::header::HeaderValue;
use tokio::sync::Notify;

use crate::asset::Asset;
use crate::goproxy::{Entry, Fallback};
use crate::health::Health;
use crate::latency::Latencies;
use crate::netrc::{Netrc, basic};
use crate::retry;

/// An upstream.
#[derive(Debug)]
pub struct Upstream {
    url: Uri,
    authorization: Option<HeaderValue>,
    fallback: Fallback,
    latencies: Mutex<Latencies>,
    health: Mutex<Health>,
    /// Whether it can be reached is known anew
    pub(crate) changed: Notify,
}

impl Upstream {
    /// Nothing is known of it yet.
    pub fn new(entry: &Entry, netrc: &Netrc) -> Self {
        // Go sends credentials of a file over TLS alone.
        let over_tls = entry.url.scheme_str() == Some("https");
        let of_file = || netrc.authorization(entry.url.host()?).filter(|_| over_tls);
        let authorization = entry.user_info.as_deref().and_then(basic).or_else(of_file);
        Self {
            url: entry.url.clone(),
            authorization,
            fallback: entry.fallback,
            latencies: Mutex::default(),
            health: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Its URL.
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Where a file is.
    pub fn url_of(&self, asset: &Asset) -> Result<Uri, hyper::http::uri::InvalidUri> {
        format!("{}/{}", self.url.to_string().trim_end_matches('/'), asset.encoded()).parse()
    }

    /// What a file is cached by.
    pub fn key(&self, asset: &Asset) -> String {
        format!("{}/{}", self.url.to_string().trim_end_matches('/'), asset.path)
    }

    /// Its own credentials.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Attempts without progress.
    pub const fn patience(&self) -> u32 {
        match self.fallback {
            Fallback::NotFound => retry::ATTEMPTS_MAX,
            Fallback::AnyError => retry::ATTEMPTS_MAX_WITH_FALLBACK,
        }
    }

    /// Whether go asks another one when this one fails.
    pub fn has_fallback(&self) -> bool {
        self.fallback == Fallback::AnyError
    }

    /// Its times.
    pub fn latencies(&self) -> MutexGuard<'_, Latencies> {
        self.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether it can be reached.
    pub fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
