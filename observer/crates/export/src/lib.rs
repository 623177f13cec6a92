//! A recording as it is made in, what leaves the machine for what people already run out: each command's spans to an
//! OpenTelemetry collector when it has ended ([`deliver`]), counters to Prometheus ([`metrics`]).
//!
//! It runs in a process of its own, as the user: whoever observes opens no socket, and does not wait for this one.
//! Everything is bounded, and what does not fit, or cannot be delivered, is counted and said.

pub mod deliver;
pub mod metrics;
mod reader;
mod serve;
mod textfile;

use std::io::{self, BufRead};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::deliver::Endpoint;
use self::metrics::Metrics;

/// Where it goes.
#[derive(Debug, Default)]
pub struct Options {
    /// A collector
    pub otlp: Option<Endpoint>,
    /// Where Prometheus asks
    pub listener: Option<TcpListener>,
    /// A file for `node_exporter`
    pub textfile: Option<PathBuf>,
}

/// Reads until the recording ends, and sees to it that all of it is delivered, or for how long that is tried. Out: in
/// a line what was not delivered, if anything.
pub fn run(options: Options, input: impl BufRead + Send + 'static) -> io::Result<Option<String>> {
    let metrics = Arc::new(Mutex::new(Metrics::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Options { otlp, listener, textfile } = options;
    let (queue, queued) = deliver::queue(otlp.is_some());
    let reading = Arc::clone(&metrics);
    let (read, mut ended) = tokio::sync::oneshot::channel();
    // Not waited for: it ends with its input, or with this process.
    std::thread::spawn(move || {
        reader::read(input, &reading, &queue);
        drop(queue);
        let _ = read.send(());
    });
    runtime.block_on(async {
        let serving = match listener {
            Some(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                Some(tokio::spawn(serve::serve(listener, Arc::clone(&metrics))))
            }
            None => None,
        };
        let writing =
            textfile.as_ref().map(|path| tokio::spawn(textfile::keep(path.clone(), Arc::clone(&metrics))));
        let undelivered = match otlp {
            Some(endpoint) => deliver::deliver(endpoint, queued, ended, Arc::clone(&metrics)).await,
            None => {
                let _ = (&mut ended).await;
                None
            }
        };
        writing.iter().for_each(tokio::task::JoinHandle::abort);
        if let Some(path) = &textfile {
            textfile::write(path, &metrics)?;
        }
        drop(serving);
        Ok(undelivered)
    })
}

/// Nothing panics while it has them.
fn lock(metrics: &Mutex<Metrics>) -> MutexGuard<'_, Metrics> {
    metrics.lock().unwrap_or_else(PoisonError::into_inner)
}
