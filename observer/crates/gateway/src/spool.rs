//! A body in flight: one writer, any number of readers, each at its own pace. In: chunks from an upstream.
//! Out: the same bytes to every reader, whenever it came.
//!
//! A small body is held in memory. A large one is written to the file that the cache will keep, and readers
//! read that, so memory stays flat. When nothing can be written (no cache, a full disk), the body is a window
//! in memory that waits for the slowest reader; nobody can join then any more, and the slowest is let go when
//! it takes nothing for half a minute.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper::http::StatusCode;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::dirhash::Beginning;
use crate::store::{Keeping, Note, SMALL, Store, Temporary};

/// Bytes that wait to be written.
const BATCH: u64 = 256 * 1024;
/// Bytes of the window in memory.
const WINDOW: u64 = 1 << 20;
/// Bytes that are read from the file at once.
const READ: u64 = 128 * 1024;
/// How long a reader may take nothing while others wait for it.
const READER_MAX: Duration = Duration::from_secs(30);

/// How an answer begins.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status
    pub status: StatusCode,
    /// Those of the headers that are passed on
    pub headers: HeaderMap,
    /// Bytes of the body, where the upstream said
    pub length: Option<u64>,
}

/// The body did not come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the upstream's answer was cut")]
pub struct Cut;

/// Nobody wants the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unwanted;

/// The body.
#[derive(Debug, Default)]
pub struct Spool {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    head: Option<Head>,
    /// What is being written; away while it is
    temporary: Option<Temporary>,
    file: Option<Arc<File>>,
    /// Bytes that are in the file
    written: u64,
    /// Bytes from `start` to `end`
    memory: VecDeque<Bytes>,
    start: u64,
    end: u64,
    /// Nothing more is written to the file
    unwritable: bool,
    over: Option<Result<(), Cut>>,
    /// It is kept where it was to be
    settled: bool,
    readers: HashMap<u64, u64>,
    next_reader: u64,
    /// Interest without reading
    held: usize,
}

/// One reader. Dropped, it wants nothing more.
#[derive(Debug)]
pub struct Reader {
    spool: Arc<Spool>,
    id: u64,
    position: u64,
}

/// Keeps a body wanted though nobody reads it.
#[derive(Debug)]
pub struct Hold(Arc<Spool>);

impl Spool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A reader from the first byte on; `None` when that is gone.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let state = self.lock();
        let is_there = state.start <= state.written && state.over != Some(Err(Cut));
        drop(state);
        is_there.then(|| self.first_reader())
    }

    /// The reader of a body that has nothing yet.
    pub fn first_reader(self: &Arc<Self>) -> Reader {
        let id = {
            let mut state = self.lock();
            state.next_reader += 1;
            let id = state.next_reader;
            state.readers.insert(id, 0);
            id
        };
        Reader { spool: Arc::clone(self), id, position: 0 }
    }

    /// Keeps it wanted.
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.lock().held += 1;
        Hold(Arc::clone(self))
    }

    /// Waits for a condition.
    async fn until<T>(&self, mut found: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = found(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    /// The head, when it is there.
    pub async fn head(&self) -> Head {
        self.until(|state| state.head.clone()).await
    }

    /// Waits until it is whole and kept, or cut.
    pub async fn finished(&self) -> Result<(), Cut> {
        self.until(|state| state.over.filter(|_| state.settled)).await
    }

    /// Whether a head was given out.
    pub fn has_head(&self) -> bool {
        self.lock().head.is_some()
    }

    /// Gives the head out.
    pub fn set_head(&self, head: Head) {
        self.lock().head = Some(head);
        self.changed.notify_waiters();
    }

    /// Whether anybody wants the body.
    pub fn is_wanted(&self) -> bool {
        let state = self.lock();
        state.held > 0 || !state.readers.is_empty()
    }

    /// The next bytes.
    pub async fn push(&self, chunk: Bytes, store: &Arc<Store>) -> Result<(), Unwanted> {
        let waiting = {
            let mut state = self.lock();
            if state.held == 0 && state.readers.is_empty() {
                return Err(Unwanted);
            }
            state.end += chunk.len() as u64;
            state.memory.push_back(chunk);
            state.end - state.start
        };
        self.changed.notify_waiters();
        if self.lock().end <= SMALL {
            return Ok(());
        }
        if waiting >= BATCH && self.is_writable(store) {
            self.flush(store).await;
        }
        self.make_room().await
    }

    fn is_writable(&self, store: &Arc<Store>) -> bool {
        let mut state = self.lock();
        state.unwritable |= state.file.is_none() && !store.can_write();
        !state.unwritable
    }

    /// Writes what is in memory to the file.
    async fn flush(&self, store: &Arc<Store>) {
        let (temporary, chunks, at) = {
            let mut state = self.lock();
            (state.temporary.take(), state.memory.iter().cloned().collect::<Vec<_>>(), state.written)
        };
        let store = Arc::clone(store);
        let written = spawn_blocking(move || {
            let temporary = temporary.map_or_else(|| store.begin().ok(), Some)?;
            let mut at = at;
            for chunk in chunks {
                if store.write(&temporary.file, &chunk, at).is_err() {
                    return Some((temporary, None));
                }
                at += chunk.len() as u64;
            }
            Some((temporary, Some(at)))
        })
        .await;
        let mut state = self.lock();
        let at = match written {
            Ok(Some((temporary, at))) => {
                state.file = Some(Arc::clone(&temporary.file));
                state.temporary = Some(temporary);
                at
            }
            _ => None,
        };
        match at {
            Some(at) => {
                state.written = at;
                state.drop_until(at);
            }
            None => state.unwritable = true,
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The body is a file that is kept already.
    pub fn serve_file(&self, file: Arc<File>, size: u64) {
        let mut state = self.lock();
        (state.file, state.written, state.start, state.end) = (Some(file), size, size, size);
        (state.over, state.settled) = (Some(Ok(())), true);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Bytes that came so far.
    pub fn length(&self) -> u64 {
        self.lock().end
    }

    /// Without a file: waits for readers while the window is full.
    async fn make_room(&self) -> Result<(), Unwanted> {
        if !self.lock().unwritable {
            return Ok(());
        }
        let room = self.until(|state| {
            let slowest = state.readers.values().copied().min();
            if state.end - state.start > WINDOW {
                state.drop_until(slowest.unwrap_or(0));
            }
            (slowest.is_none() || state.end - state.start <= WINDOW).then_some(())
        });
        if timeout(READER_MAX, room).await.is_err() {
            let mut state = self.lock();
            let (start, end) = (state.start, state.end);
            state.readers.retain(|_, position| *position > start || *position == end);
        }
        if self.lock().readers.is_empty() { Err(Unwanted) } else { Ok(()) }
    }

    /// The body is whole, or cut. Readers need not wait until a whole one is kept.
    pub async fn finish(&self, outcome: Result<Note, Cut>, keeping: Option<Keeping>, store: &Arc<Store>) {
        self.lock().over = Some(outcome.as_ref().map(|_| ()).map_err(|cut| *cut));
        self.changed.notify_waiters();
        if let (Ok(note), Some(keeping)) = (outcome, keeping) {
            self.keep(note, keeping, store).await;
        }
        self.lock().settled = true;
        self.changed.notify_waiters();
    }

    async fn keep(&self, note: Note, keeping: Keeping, store: &Arc<Store>) {
        let (store, Keeping { key, sum }) = (Arc::clone(store), keeping);
        if note.size <= SMALL {
            let bytes =
                Bytes::from(self.lock().memory.iter().map(Bytes::as_ref).collect::<Vec<_>>().concat());
            if let Some(sum) = sum {
                let small = bytes.clone();
                if !spawn_blocking(move || sum.is_of(&small[..])).await.unwrap_or(false) {
                    return store.refused();
                }
            }
            store.remember(&key, &note, &bytes);
            if store.can_write() {
                // Nobody waits for it.
                drop(spawn_blocking(move || store.put(&key, &note, &bytes)));
            }
            return;
        }
        if self.is_writable(&store) {
            self.flush(&store).await;
        }
        let whole = {
            let mut state = self.lock();
            let is_whole = state.written == note.size && !state.unwritable;
            state.temporary.take().filter(|_| is_whole)
        };
        if let Some(mut temporary) = whole {
            let kept = spawn_blocking(move || {
                let zip = Beginning { file: &temporary.file, size: note.size };
                if sum.is_some_and(|sum| !sum.is_of(&zip)) {
                    store.refused();
                    return Ok(());
                }
                store.keep(&mut temporary, &key, &note)
            });
            // Readers have the file open, whatever became of its name.
            drop(kept.await);
        }
    }
}

impl State {
    /// Forgets bytes in memory up to a position, whole chunks only.
    fn drop_until(&mut self, position: u64) {
        while let Some(first) = self.memory.front()
            && self.start + first.len() as u64 <= position
        {
            self.start += first.len() as u64;
            self.memory.pop_front();
        }
    }

    /// The bytes at a position, if they are in memory.
    fn at(&self, position: u64) -> Option<Bytes> {
        let mut start = self.start;
        for chunk in &self.memory {
            if position >= start && position < start + chunk.len() as u64 {
                return Some(chunk.slice((position - start) as usize..));
            }
            start += chunk.len() as u64;
        }
        None
    }
}

enum Next {
    Memory(Bytes),
    File(Arc<File>, u64),
    End(Result<(), Cut>),
}

impl Reader {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        let (position, id) = (self.position, self.id);
        let next = self.spool.until(|state| {
            if !state.readers.contains_key(&id) {
                return Some(Next::End(Err(Cut)));
            }
            if let Some(bytes) = state.at(position) {
                return Some(Next::Memory(bytes));
            }
            match &state.file {
                Some(file) if position < state.written => {
                    Some(Next::File(Arc::clone(file), READ.min(state.written - position)))
                }
                _ => state.over.map(Next::End),
            }
        });
        let bytes = match next.await {
            Next::Memory(bytes) => bytes,
            Next::End(over) => return over.err().map(Err),
            Next::File(file, length) => {
                let read = spawn_blocking(move || {
                    let mut bytes = vec![0; length as usize];
                    file.read_exact_at(&mut bytes, position).ok()?;
                    Some(Bytes::from(bytes))
                });
                match read.await {
                    Ok(Some(bytes)) => bytes,
                    _ => return Some(Err(Cut)),
                }
            }
        };
        self.position += bytes.len() as u64;
        if let Some(position) = self.spool.lock().readers.get_mut(&id) {
            *position = self.position;
        }
        // The writer may wait for it.
        self.spool.changed.notify_waiters();
        Some(Ok(bytes))
    }

    /// The body it reads.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.spool.lock().readers.remove(&self.id);
        self.spool.changed.notify_waiters();
    }
}

impl Hold {
    /// The body that is held.
    pub fn spool(&self) -> &Spool {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().held -= 1;
        self.0.changed.notify_waiters();
    }
}
