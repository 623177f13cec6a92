//! One file from one upstream: attempts, hedges, resumed bodies. In: an asset. Out: a [`Spool`] with a head
//! and a body, or with the head of a failure; every caller gets one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    LAST_MODIFIED, RETRY_AFTER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode, Uri, Version};
use tokio::time::{sleep, timeout};

use crate::asset::{Asset, Pace};
use crate::body::Progress;
use crate::client::{Answer, RequestError};
use crate::gateway::Gateway;
use crate::retry;
use crate::spool::{Cut, Head, Spool};
use crate::store::Keeping;
use crate::upstream::Upstream;

/// Bytes of an answer that is no file.
const OTHER_MAX: usize = 64 * 1024;
/// A body that stands still for so long is asked for again, at most.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long go waits for a head, at most: the attempts' own limits grow.
const HEAD_MAX: Duration = Duration::from_mins(3);
/// What of an upstream's head is passed on.
const PASSED: [HeaderName; 6] =
    [CONTENT_TYPE, ETAG, LAST_MODIFIED, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE];

/// The work.
pub(crate) struct Fetch {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) upstream: usize,
    pub(crate) asset: Asset,
    pub(crate) spool: Arc<Spool>,
    /// The client's own credentials
    pub(crate) authorization: Option<HeaderValue>,
    /// How the body is kept
    pub(crate) keeping: Option<Keeping>,
}

/// How an attempt ended.
enum Ended {
    /// The body is whole
    Complete,
    /// An answer that no further attempt would change
    Final(Head, Bytes),
    /// Another attempt may do better
    Failed { why: String, wait: Option<Duration>, answer: Option<(Head, Bytes)>, dead: bool },
    /// Nobody waits any more
    Unwanted,
}

impl Fetch {
    fn upstream(&self) -> &Upstream {
        &self.gateway.upstreams()[self.upstream]
    }

    /// Does it, to the spool's end.
    pub(crate) async fn run(mut self) {
        let gateway = Arc::clone(&self.gateway);
        let _held = gateway.metrics().in_flight.hold();
        let (began, mut body) = (Instant::now(), Progress::default());
        let (mut failures, mut last, mut reason) = (0, None, String::new());
        for attempt in 0..retry::ATTEMPTS_IN_ALL {
            if attempt > 0 {
                gateway.metrics().retries_total.one();
            }
            let before = body.received();
            let ended = self.attempt(&mut body, failures).await;
            let (why, wait, answer, dead) = match ended {
                Ended::Complete => return self.whole(&body).await,
                Ended::Final(head, bytes) => return self.other(head, bytes).await,
                Ended::Unwanted => return self.cut().await,
                Ended::Failed { why, wait, answer, dead } => (why, wait, answer, dead),
            };
            failures = if body.received() > before { 1 } else { failures + 1 };
            (reason, last) = (why, answer);
            let too_long = wait.is_some_and(|wait| wait > retry::RETRY_AFTER_MAX);
            let too_late = began.elapsed() > HEAD_MAX && !self.spool.has_head();
            if failures >= self.upstream().patience() || dead || too_long || too_late {
                break;
            }
            sleep(wait.unwrap_or_default().max(retry::backoff(failures))).await;
        }
        self.give_up(reason, last).await;
    }

    async fn attempt(&mut self, body: &mut Progress, failures: u32) -> Ended {
        if !self.spool.is_wanted() {
            return Ended::Unwanted;
        }
        let failed = |why: String| Ended::Failed { why, wait: None, answer: None, dead: false };
        // With nothing behind it, patience is all there is.
        if self.upstream().has_fallback() && !self.gateway.is_reachable(self.upstream).await {
            return Ended::Failed {
                why: "it cannot be reached".into(),
                wait: None,
                answer: None,
                dead: true,
            };
        }
        let mut headers = HeaderMap::new();
        if let Some(value) = self.authorization.as_ref().or_else(|| self.upstream().authorization()) {
            headers.insert(AUTHORIZATION, value.clone());
        }
        body.ask(&mut headers);
        let url = match self.upstream().url_of(&self.asset) {
            Ok(url) => url,
            Err(error) => return failed(error.to_string()),
        };
        let answer = match self.ask(&url, &headers, failures).await {
            Ok(answer) => answer,
            Err(why) => return failed(why),
        };
        let Answer { response, place } = answer;
        let (status, received) = (response.status(), body.received());
        let continued = match status {
            StatusCode::OK => body.whole(response.headers()),
            StatusCode::PARTIAL_CONTENT if received > 0 => body.rest(response.headers()),
            StatusCode::RANGE_NOT_SATISFIABLE if received > 0 => {
                body.forget_range();
                return failed("it does not know the range".into());
            }
            _ => {
                let ended = self.no_file(response).await;
                drop(place);
                return ended;
            }
        };
        if let Err(another) = continued {
            body.forget_range();
            return failed(another.to_string());
        }
        if received > 0 {
            self.gateway.metrics().resumed_total.one();
        } else if !self.spool.has_head() {
            if !says_its_end(&response) {
                // Nobody would notice that it was cut.
                self.keeping = None;
            }
            self.spool.set_head(head_of(&response));
        }
        let ended = self.stream(response.into_body(), body).await;
        drop(place);
        ended
    }

    /// Asks, and asks once more beside it when the answer is slow.
    async fn ask(&self, url: &Uri, headers: &HeaderMap, failures: u32) -> Result<Answer, String> {
        let (pace, upstream, metrics) = (self.asset.pace(), self.upstream(), self.gateway.metrics());
        let (hedge_after, most) = {
            let times = upstream.latencies();
            (times.hedge_after(pace), times.timeout(pace, failures))
        };
        let began = Instant::now();
        let answer = timeout(most, async {
            metrics.upstream_requests_total.one();
            let mut first = std::pin::pin!(self.gateway.http().get(url, headers));
            if let Ok(answer) = timeout(hedge_after, &mut first).await {
                return answer;
            }
            // What a proxy looks up anew may take its time.
            if pace == Pace::Query || !upstream.latencies().take_hedge() {
                return first.await;
            }
            metrics.hedges_total.one();
            metrics.upstream_requests_total.one();
            let mut second = std::pin::pin!(self.gateway.http().get(url, headers));
            tokio::select! {
                answer = &mut first => match answer {
                    Ok(answer) => Ok(answer),
                    Err(_) => second.await,
                },
                answer = &mut second => match answer {
                    Ok(answer) => {
                        metrics.hedges_won_total.one();
                        Ok(answer)
                    }
                    Err(_) => first.await,
                },
            }
        });
        let Ok(answer) = answer.await else {
            metrics.timeouts_total.one();
            upstream.health().unreachable(Instant::now());
            return Err(format!("no answer within {:.1} s", most.as_secs_f64()));
        };
        match &answer {
            Ok(answer) => {
                upstream.health().answered();
                if !retry::is_temporary(answer.response.status()) {
                    upstream.latencies().answered(pace, began.elapsed());
                }
            }
            Err(error) if RequestError::is_connect(error) => upstream.health().unreachable(Instant::now()),
            Err(_) => {}
        }
        answer.map_err(|error| error.to_string())
    }

    async fn stream(&self, mut incoming: Incoming, body: &mut Progress) -> Ended {
        let failed = |why: String| Ended::Failed { why, wait: None, answer: None, dead: false };
        let stall = self.upstream().latencies().timeout(self.asset.pace(), 0).min(STALL_MAX);
        loop {
            let frame = match timeout(stall, incoming.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return failed(format!("the body was cut: {error}")),
                Ok(None) if body.is_whole() => return Ended::Complete,
                Ok(None) => return failed("the body was cut".into()),
                Err(_) => {
                    self.gateway.metrics().timeouts_total.one();
                    return failed(format!("the body stood still for {:.1} s", stall.as_secs_f64()));
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            self.gateway.metrics().received_bytes_total.add(data.len() as u64);
            let new = match body.take(data) {
                Ok(new) => new,
                Err(another) => return failed(another.to_string()),
            };
            if !new.is_empty() && self.spool.push(new, self.gateway.store()).await.is_err() {
                return Ended::Unwanted;
            }
        }
    }

    /// An answer that is no file.
    async fn no_file(&self, response: Response<Incoming>) -> Ended {
        let status = response.status();
        let wait = retry::retry_after(response.headers(), SystemTime::now());
        let mut head = head_of(&response);
        let limited = http_body_util::Limited::new(response.into_body(), OTHER_MAX);
        let bytes = match timeout(STALL_MAX, limited.collect()).await {
            Ok(Ok(whole)) => whole.to_bytes(),
            // The status says enough.
            _ => Bytes::new(),
        };
        head.length = Some(bytes.len() as u64);
        if !retry::is_temporary(status) {
            return Ended::Final(head, bytes);
        }
        let wait = wait.or_else(|| matches!(status.as_u16(), 429 | 503).then(|| retry::backoff(3)));
        if let Some(wait) = wait {
            let rest = wait.min(retry::RETRY_AFTER_MAX);
            self.upstream().health().asked_for_less(Instant::now(), rest);
        }
        Ended::Failed { why: format!("it answered {status}"), wait, answer: Some((head, bytes)), dead: false }
    }

    async fn whole(&self, body: &Progress) {
        self.spool.finish(Ok(body.note()), self.keeping.clone(), self.gateway.store()).await;
    }

    async fn cut(&self) {
        self.spool.finish(Err(Cut), None, self.gateway.store()).await;
    }

    /// Gives an answer on that is no file.
    async fn other(&self, head: Head, bytes: Bytes) {
        if self.spool.has_head() {
            return self.cut().await;
        }
        if matches!(head.status, StatusCode::NOT_FOUND | StatusCode::GONE) && self.authorization.is_none() {
            self.gateway.missing().add(&self.upstream().key(&self.asset), head.status, Instant::now());
        }
        let note = crate::store::Note::of(&bytes, None);
        self.spool.set_head(head);
        // A reader that left does not matter.
        let _ = self.spool.push(bytes, self.gateway.store()).await;
        self.spool.finish(Ok(note), None, self.gateway.store()).await;
    }

    async fn give_up(&self, why: String, last: Option<(Head, Bytes)>) {
        self.gateway.metrics().failed_total.one();
        let (head, bytes) = last.unwrap_or_else(|| {
            let text = Bytes::from(format!("goobserve gateway: {}: {why}\n", self.asset.path));
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))]);
            (Head { status: StatusCode::BAD_GATEWAY, headers, length: Some(text.len() as u64) }, text)
        });
        self.other(head, bytes).await;
    }
}

fn head_of(response: &Response<Incoming>) -> Head {
    let of = |name: HeaderName| Some((name.clone(), response.headers().get(name)?.clone()));
    let length = response.headers().get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
    Head { status: response.status(), headers: PASSED.into_iter().filter_map(of).collect(), length }
}

/// Whether a cut body differs from a whole one.
fn says_its_end(response: &Response<Incoming>) -> bool {
    let has = |name| response.headers().contains_key(name);
    response.version() == Version::HTTP_2 || has(CONTENT_LENGTH) || has(TRANSFER_ENCODING)
}
