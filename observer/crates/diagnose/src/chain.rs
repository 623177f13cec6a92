//! Which requests had to wait for which. Requests of a command and how many downloads it allowed itself
//! in; how long they would have taken with more at once out.
//!
//! go works in jobs, as many at once as GOMAXPROCS says: a job asks one thing after the other (a version,
//! go.mod, its checksum, tiles). A job that begins as another ends while every place is taken has either
//! waited for that place, and could have begun sooner, or was found out about by the other: then no number
//! of places makes it begin sooner. What go.mod files name is known by their size and by the order in
//! which go reads them: first in, first out, each list in its order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use model::record::{Class, Request};
use model::time::{Ns, SinceStart};

const MS: Ns = 1_000_000;
/// From one request of a job to the next at the most: what go itself does between them.
const STEP_NS: Ns = 8 * MS;
/// … and behind a large file, which is unpacked: a part of the time that it took to come,
const STEP_PART: Ns = 5;
/// … and not more than this.
const STEP_MAX_NS: Ns = 250 * MS;
/// Bytes of a go.mod beside `module` and the lines that require.
const HEAD_BYTES: u64 = 22;
/// Bytes of a line that requires, beside path and version.
const LINE_BYTES: u64 = 3;
/// More requests than this are not followed.
const REQUESTS_MAX: usize = 50_000;

/// What a request waits for.
#[derive(Clone, Copy)]
struct Step {
    /// The request that had to end before
    after: Option<usize>,
    /// What go did between that and this
    lag: Ns,
    job: usize,
    /// How many wait for this one
    followers: usize,
}

/// Requests one after the other that hold one place.
struct Job<'a> {
    steps: Vec<usize>,
    /// It waited for a place
    queued: bool,
    /// The first of the jobs that could begin when it could
    set: usize,
    after: Option<usize>,
    lag: Ns,
    class: Class,
    module: &'a str,
    /// Another go.mod named it
    named: bool,
    /// Bytes of its go.mod that may name further modules
    room: u64,
}

/// A command's requests, and what each waits for.
pub(crate) struct Chain<'a> {
    begin: SinceStart,
    limit: u64,
    requests: Vec<&'a Request>,
    steps: Vec<Step>,
    jobs: Vec<Job<'a>>,
    /// By when they ended
    ends: BTreeSet<(SinceStart, usize)>,
}

fn end(request: &Request) -> SinceStart {
    request.end_ns.unwrap_or(request.start_ns)
}

fn is_sumdb(class: Class) -> bool {
    matches!(class, Class::SumdbTile | Class::SumdbLookup | Class::SumdbSupported | Class::SumdbLatest)
}

impl<'a> Chain<'a> {
    /// Of a command that began at `begin` and allowed itself `limit` downloads at once.
    pub(crate) fn new(
        begin: SinceStart,
        limit: u64,
        requests: impl Iterator<Item = &'a Request>,
    ) -> Option<Self> {
        let mut requests: Vec<&Request> = requests.filter(|request| request.end_ns.is_some()).collect();
        requests.sort_by_key(|request| request.start_ns);
        if requests.is_empty() || requests.len() > REQUESTS_MAX {
            return None;
        }
        let (steps, jobs, ends) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut chain = Self { begin, limit, requests, steps, jobs, ends };
        let mut last: HashMap<&str, usize> = HashMap::new();
        for at in 0..chain.requests.len() {
            let request = chain.requests[at];
            let module = request.module.as_deref();
            let before = module.and_then(|module| last.get(module)).copied();
            let before = before.filter(|before| end(chain.requests[*before]) <= request.start_ns);
            chain.add(at, before);
            chain.ends.insert((end(request), at));
            if let Some(module) = module {
                last.insert(module, at);
            }
        }
        Some(chain)
    }

    fn start(&self, at: usize) -> SinceStart {
        self.requests[at].start_ns
    }

    fn end(&self, at: usize) -> SinceStart {
        end(self.requests[at])
    }

    /// What had ended by `by`, the latest first.
    fn ended(&self, by: SinceStart) -> impl Iterator<Item = usize> + '_ {
        self.ends.range(..=(by, usize::MAX)).rev().map(|(_, at)| *at)
    }

    /// `before`: the latest request about the same module.
    fn add(&mut self, at: usize, before: Option<usize>) {
        let (request, start) = (self.requests[at], self.start(at));
        let Some(latest) = self.ended(start).next() else {
            let job = self.job(at, None, start.saturating_sub(self.begin), false, 0);
            self.push(at, None, start.saturating_sub(self.begin), job);
            return;
        };
        let recent: Vec<usize> =
            self.ended(start).take_while(|one| self.end(*one) + STEP_NS >= start).collect();
        let follows = matches!(
            request.class,
            Class::SumdbTile | Class::SumdbSupported | Class::SumdbLatest | Class::Other
        );
        if follows {
            let after = self.least_followed(request, &recent).unwrap_or(latest);
            self.follow(at, after, self.steps[after].job);
            return;
        }
        if let Some(before) = before.filter(|before| self.continues(request, *before, &recent)) {
            let job = self.steps[before].job;
            let own = recent.iter().copied().find(|one| self.steps[*one].job == job);
            self.follow(at, own.unwrap_or(latest), job);
            return;
        }
        self.begins(at, latest, before);
    }

    /// The job whose requests have the fewest behind them: several ask for tiles at once.
    fn least_followed(&self, request: &Request, recent: &[usize]) -> Option<usize> {
        let may = |one: &usize| request.class != Class::SumdbTile || is_sumdb(self.requests[*one].class);
        let may: Vec<usize> = recent.iter().copied().filter(may).collect();
        let mut followers: HashMap<usize, usize> = HashMap::new();
        for one in &may {
            *followers.entry(self.steps[*one].job).or_default() += self.steps[*one].followers;
        }
        may.into_iter().min_by_key(|one| (followers[&self.steps[*one].job], Reverse(self.end(*one))))
    }

    /// Whether a request belongs to the job of `before`.
    fn continues(&self, request: &Request, before: usize, recent: &[usize]) -> bool {
        let was = self.requests[before].class;
        match request.class {
            Class::SumdbLookup => return true,
            Class::Zip if was != Class::Zip => return false,
            Class::Info if !matches!(was, Class::List | Class::Latest) => return false,
            _ => {}
        }
        let job = self.steps[before].job;
        recent.iter().any(|one| self.steps[*one].job == job)
    }

    /// A request with which a job begins.
    fn begins(&mut self, at: usize, latest: usize, before: Option<usize>) {
        let (request, start) = (self.requests[at], self.start(at));
        let opened: HashSet<usize> =
            self.ends.range((start + 1, 0)..).map(|(_, one)| self.steps[*one].job).collect();
        let full = self.places_taken(self.end(latest).earlier_by(1)) as u64 >= self.limit;
        let beyond = opened.len() as u64 >= self.limit;
        let new = self.jobs.len();
        let Some(last) = self.jobs.last() else { return };
        let begun = self.start(last.steps[0]);
        let same = last.class == request.class;
        let lag = start - self.end(latest);
        if !full && same && start - begun < STEP_NS {
            let (after, lag, set) = (last.after, last.lag + (start - begun), last.set);
            self.job(at, after, lag, false, set);
            self.names(at);
            self.push(at, after, lag, new);
        } else if !full || beyond || !same {
            self.job(at, Some(latest), lag, false, new);
            // Of a stage that begins nothing was named by the one before.
            if same || !full || beyond {
                self.names(at);
            }
            self.push(at, Some(latest), lag, new);
        } else {
            let set = last.set;
            let (mut after, mut lag) = (self.jobs[set].after, self.jobs[set].lag);
            let named = self.named_by(at, set);
            if let Some(by) = named {
                (after, lag) = (Some(by), (start - self.end(by)).min(STEP_NS));
            }
            if let Some(before) = before
                && after.is_none_or(|after| self.end(before) > self.end(after))
            {
                (after, lag) = (Some(before), (start - self.end(before)).min(STEP_NS));
            }
            self.job(at, after, lag, true, set);
            self.jobs[new].named = named.is_some();
            self.push(at, after, lag, new);
        }
    }

    /// Jobs that held a place at a moment.
    fn places_taken(&self, moment: SinceStart) -> usize {
        let began = |one: &usize| self.start(*one) <= moment;
        let step = |one: &usize| {
            let took = self.end(*one) - self.start(*one);
            self.end(*one) + (took / STEP_PART).clamp(STEP_NS, STEP_MAX_NS) > moment
        };
        let open = self.ends.range((moment + 1, 0)..).map(|(_, one)| *one);
        let since = moment.earlier_by(STEP_MAX_NS);
        let ended = self.ends.range((since, 0)..=(moment, usize::MAX)).map(|(_, one)| *one).filter(step);
        let jobs: HashSet<usize> = open.chain(ended).filter(began).map(|one| self.steps[one].job).collect();
        jobs.len()
    }

    /// The request behind which a module was known, when another module's go.mod is what named it.
    fn named_by(&mut self, at: usize, set: usize) -> Option<usize> {
        let (request, start) = (self.requests[at], self.start(at));
        let module = request.module.as_deref().filter(|_| request.class == Class::Mod)?;
        let beside = &self.jobs[set..];
        // The main module's list comes first, in order.
        if beside.iter().all(|job| !job.named && job.module <= module) {
            return None;
        }
        let line = line_bytes(request);
        let by = |job: &Job<'_>| {
            let of = job.steps.iter().copied().filter(|one| self.end(*one) <= start);
            of.max_by_key(|one| self.end(*one)).filter(|_| job.room >= line)
        };
        let (job, by) = self.jobs.iter().enumerate().find_map(|(number, job)| Some((number, by(job)?)))?;
        self.jobs[job].room -= line;
        Some(by)
    }

    /// Takes a module that began with nothing to wait for out of the first list that may hold it.
    fn names(&mut self, at: usize) {
        let (request, new) = (self.requests[at], self.jobs.len() - 1);
        let Some(after) = self.jobs[new].after.filter(|_| request.class == Class::Mod) else { return };
        let (by, line) = (self.end(after), line_bytes(request));
        self.jobs[new].named = true;
        let ends: Vec<SinceStart> = self.jobs[..new].iter().map(|job| self.end(job.steps[0])).collect();
        let list = self.jobs[..new].iter_mut().zip(ends).find(|(job, end)| job.room >= line && *end <= by);
        if let Some((job, _)) = list {
            job.room -= line;
        }
    }

    fn job(&mut self, at: usize, after: Option<usize>, lag: Ns, queued: bool, set: usize) -> usize {
        let request = self.requests[at];
        let module = request.module.as_deref().unwrap_or_default();
        let room = match request.class {
            Class::Mod => request.bytes.unwrap_or(0).saturating_sub(module.len() as u64 + HEAD_BYTES),
            _ => 0,
        };
        let class = request.class;
        self.jobs.push(Job { steps: Vec::new(), queued, set, after, lag, class, module, named: false, room });
        self.jobs.len() - 1
    }

    fn follow(&mut self, at: usize, after: usize, job: usize) {
        let lag = self.start(at).saturating_sub(self.end(after));
        self.push(at, Some(after), lag, job);
    }

    fn push(&mut self, at: usize, after: Option<usize>, lag: Ns, job: usize) {
        self.steps.push(Step { after, lag, job, followers: 0 });
        self.jobs[job].steps.push(at);
        if let Some(after) = after {
            self.steps[after].followers += 1;
        }
    }

    /// When the last request would have ended with so many places.
    fn ends_with(&self, places: u64) -> SinceStart {
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); self.steps.len()];
        // When something happens, what (an end before a beginning), and to which request.
        let mut due: BinaryHeap<Reverse<(SinceStart, bool, usize)>> = BinaryHeap::new();
        for (at, step) in self.steps.iter().enumerate() {
            match step.after {
                Some(after) => followers[after].push(at),
                None => due.push(Reverse((self.begin + step.lag, true, at))),
            }
        }
        let mut left: Vec<usize> = self.jobs.iter().map(|job| job.steps.len()).collect();
        let mut queue = std::collections::VecDeque::new();
        let (mut taken, mut last) = (0_u64, self.begin);
        let took = |at: usize| self.end(at) - self.start(at);
        while let Some(Reverse((now, begins, at))) = due.pop() {
            let job = &self.jobs[self.steps[at].job];
            if !begins {
                last = last.max(now);
                for follower in &followers[at] {
                    due.push(Reverse((now + self.steps[*follower].lag, true, *follower)));
                }
                let left = &mut left[self.steps[at].job];
                *left -= 1;
                taken -= u64::from(*left == 0);
            } else if job.steps[0] == at && job.queued {
                queue.push_back(at);
            } else {
                taken += u64::from(job.steps[0] == at);
                due.push(Reverse((now + took(at), false, at)));
            }
            while taken < places
                && let Some(next) = queue.pop_front()
            {
                taken += 1;
                due.push(Reverse((now + took(next), false, next)));
            }
        }
        last
    }

    /// What so many places instead would save. `None` where what was seen does not come out of the same
    /// rule with the places that there were: then nothing can be promised.
    pub(crate) fn saves(&self, places: u64) -> Option<Ns> {
        let seen = self.requests.iter().map(|request| end(request)).max()?;
        let (now, then) = (self.ends_with(self.limit), self.ends_with(places));
        let (of_seen, of_now) = (seen.saturating_sub(then), now.saturating_sub(then));
        let (least, most) = (of_seen.min(of_now), of_seen.max(of_now));
        (least * 5 >= most * 3).then_some(least)
    }
}

fn line_bytes(request: &Request) -> u64 {
    let length = |text: Option<&str>| text.map_or(0, |text| text.len() as u64);
    length(request.module.as_deref()) + length(request.version.as_deref()) + LINE_BYTES
}
