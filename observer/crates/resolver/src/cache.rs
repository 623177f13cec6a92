//! Answers that may be given again. In: a question. Out: its answer, its age, and whether its time has run out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::wire::{Answer, NOERROR, Question};

/// Answers at most.
const ENTRIES_MAX: usize = 10_000;
/// How long an answer is kept, whatever it says.
const TTL_MIN: u32 = 1;
const TTL_MAX: u32 = 86_400;
/// How long it is believed that there is nothing, where nobody says how long.
const NOTHING: u32 = 5;
/// The same where it is said (RFC 2308 advises one to three hours).
const NOTHING_MAX: u32 = 300;
/// How long behind its time an answer may still be given.
const STALE_MAX: Duration = Duration::from_hours(1);

/// A kept answer.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The answer
    pub answer: Arc<Answer>,
    /// Seconds since it came
    pub age_s: u32,
    /// Its time has run out
    pub stale: bool,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<Answer>,
    came: Instant,
    ttl: Duration,
}

/// All answers.
#[derive(Debug, Default)]
pub struct Cache(Mutex<HashMap<Question, Entry>>);

impl Cache {
    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Entry>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What is known of it.
    pub fn get(&self, question: &Question, now: Instant) -> Option<Cached> {
        let mut all = self.lock();
        let entry = all.get(question)?;
        let age = now.saturating_duration_since(entry.came);
        if age > entry.ttl + STALE_MAX {
            all.remove(question);
            return None;
        }
        let age_s = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        Some(Cached { answer: Arc::clone(&entry.answer), age_s, stale: age > entry.ttl })
    }

    /// Keeps an answer that says what there is, or that there is nothing.
    pub fn put(&self, question: &Question, answer: &Arc<Answer>, now: Instant) {
        if !answer.is_good() {
            return;
        }
        let ttl = if answer.rcode == NOERROR && answer.has_records {
            answer.ttl_s.unwrap_or(TTL_MIN).clamp(TTL_MIN, TTL_MAX)
        } else {
            answer.ttl_s.unwrap_or(NOTHING).min(NOTHING_MAX)
        };
        let mut all = self.lock();
        if all.len() >= ENTRIES_MAX {
            all.retain(|_, entry| now.saturating_duration_since(entry.came) <= entry.ttl);
            // Still full of what is fresh: any one goes.
            if let Some(one) = all.keys().next().filter(|_| all.len() >= ENTRIES_MAX).cloned() {
                all.remove(&one);
            }
        }
        let ttl = Duration::from_secs(u64::from(ttl));
        all.insert(question.clone(), Entry { answer: Arc::clone(answer), came: now, ttl });
    }
}
