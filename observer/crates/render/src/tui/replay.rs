//! Plays a recording on a terminal. In: its events. Out: the dashboard, until it is left.
//!
//! Time passes here by the clock of whoever looks; what the state knows comes from events alone.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::State;
use model::event::{Body, Event};
use model::id::CommandId;
use model::time::{Ns, SinceStart};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};

use super::keys::{self, Act};
use super::screen::Screen;
use super::theme::Theme;
use super::view::{Playing, View};

/// Time from frame to frame while it plays.
const FRAME: Duration = Duration::from_millis(100);
/// The same while it stands: only signals are looked for.
const IDLE: Duration = Duration::from_millis(250);

/// A recording, and how far it has been played.
pub struct Recording {
    events: Vec<Event>,
    /// Events that the state has taken in
    applied: usize,
    state: State,
    /// By command: its intervals, also those that are reported only later
    idle: BTreeMap<CommandId, Vec<(SinceStart, SinceStart)>>,
    end: SinceStart,
}

impl Recording {
    /// Takes its events, in order of time.
    pub fn new(events: Vec<Event>) -> Self {
        let mut idle: BTreeMap<CommandId, Vec<(SinceStart, SinceStart)>> = BTreeMap::new();
        let mut last = SinceStart::ZERO;
        for event in &events {
            last = last.max(event.at_ns);
            match &event.body {
                Body::Command(update) if update.command.local.is_some() => {
                    idle.entry(update.command.id).or_default().extend(&update.idle);
                }
                Body::Idle(update) => {
                    idle.entry(update.command).or_default().extend(&update.idle);
                }
                Body::End(end) => last = last.max(SinceStart::ZERO + end.duration_ns),
                _ => {}
            }
        }
        Self { events, applied: 0, state: State::new(), idle, end: last }
    }

    /// When it ends.
    pub fn end(&self) -> SinceStart {
        self.end
    }

    /// What was known at a moment.
    pub fn at(&mut self, now: SinceStart) -> &State {
        let back = self.applied.checked_sub(1).is_some_and(|last| self.events[last].at_ns > now);
        if back {
            (self.applied, self.state) = (0, State::new());
        }
        while let Some(event) = self.events.get(self.applied).filter(|event| event.at_ns <= now) {
            self.state.apply(event);
            self.applied += 1;
        }
        &self.state
    }

    /// Since when a command's threads sleep at that moment. An interval is reported when it is over; here
    /// that is known beforehand.
    pub fn asleep(&self, now: SinceStart) -> BTreeMap<CommandId, Option<SinceStart>> {
        let of = |intervals: &Vec<(SinceStart, SinceStart)>| {
            let at = intervals.partition_point(|(_, end)| *end <= now);
            intervals.get(at).map(|(start, _)| *start).filter(|start| *start <= now)
        };
        // Beyond the last interval nothing is known.
        let known =
            self.idle.iter().filter(|(_, intervals)| intervals.last().is_some_and(|last| now < last.1));
        known.map(|(id, intervals)| (*id, of(intervals))).collect()
    }
}

/// Plays it on this process's terminal (`color`: the decision on `--color`) until it is left, or the process is asked to end.
pub fn play(recording: &mut Recording, color: bool) -> io::Result<()> {
    let ending = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ending))?;
    }
    let playing = Playing { runs: true, speed: 1.0, end: recording.end() };
    let mut screen = Screen::take()?;
    let theme = Theme::of_this_terminal(color, screen.is_light());
    let mut view = View { theme, playing: Some(playing), now: Some(SinceStart::ZERO), ..View::default() };
    match shown(recording, &mut view, &mut screen, &ending) {
        // Nobody looks any more.
        Err(_) if screen.gone() => Ok(()),
        result => result,
    }
}

fn shown(
    recording: &mut Recording,
    view: &mut View,
    screen: &mut Screen,
    ending: &AtomicBool,
) -> io::Result<()> {
    let end = recording.end();
    let mut last = Instant::now();
    let mut dirty = true;
    while !ending.load(Ordering::SeqCst) {
        let now = view.now.unwrap_or(SinceStart::ZERO);
        if dirty {
            view.asleep = recording.asleep(now);
            screen.draw(recording.at(now), view)?;
        }
        let runs = view.playing.is_some_and(|playing| playing.runs);
        let mut inputs = screen.input(if runs || screen.busy() { FRAME } else { IDLE })?;
        let passed = last.elapsed();
        last = Instant::now();
        dirty = runs || screen.busy();
        if let Some(playing) = view.playing.as_mut().filter(|playing| playing.runs) {
            let passed = (passed.as_nanos() as f64 * playing.speed) as Ns;
            let now = now.saturating_add(passed).min(end);
            playing.runs = now < end;
            view.now = Some(now);
        }
        while let Some(event) = inputs {
            dirty = true;
            let stood = view.playing.is_some_and(|playing| !playing.runs);
            match keys::input(view, screen.drawn(), &event) {
                Act::Quit | Act::Interrupt => return Ok(()),
                Act::Seek(at) => view.now = Some(at),
                Act::Copy(text) => {
                    screen.copy(&text)?;
                    view.note = Some("copied, where the terminal allows it".to_owned());
                }
                Act::Suspend => {
                    screen.leave();
                    signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
                    screen.resume()?;
                    last = Instant::now();
                }
                Act::Draw | Act::Nothing => {}
            }
            if stood {
                restart(view, end);
            }
            inputs = screen.input(Duration::ZERO)?;
        }
    }
    Ok(())
}

/// Played again at its end, it begins anew.
fn restart(view: &mut View, end: SinceStart) {
    let runs = view.playing.is_some_and(|playing| playing.runs);
    if runs && view.now.is_some_and(|now| now >= end) {
        view.now = Some(SinceStart::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use model::event::CommandUpdate;
    use model::record::{Command, Local, Request};

    use super::*;
    use model::id::RequestId;

    fn recording() -> Recording {
        let command = Command { id: CommandId(1), local: Some(Local::default()), ..Command::default() };
        let update = |idle| Body::Command(CommandUpdate { command: command.clone(), idle, gaps: Vec::new() });
        let request = |end_ns| {
            Body::Request(Request {
                command: CommandId(1),
                id: RequestId(1),
                start_ns: SinceStart(10),
                end_ns,
                ..Request::default()
            })
        };
        let events = [(0, update(Vec::new())), (10, request(None)), (90, request(Some(SinceStart(90))))];
        let last = (95, update(vec![(SinceStart(20), SinceStart(80))]));
        let events =
            events.into_iter().chain([last]).map(|(at_ns, body)| Event { at_ns: SinceStart(at_ns), body });
        Recording::new(events.collect())
    }

    #[test]
    fn a_moment_knows_what_was_reported_until_then_also_after_going_back() {
        let mut recording = recording();
        let end = |recording: &mut Recording, now| {
            let state = recording.at(now);
            state.command(CommandId(1)).and_then(|command| command.requests.get(&RequestId(1))?.end_ns)
        };
        assert_eq!(end(&mut recording, SinceStart(100)), Some(SinceStart(90)));
        assert_eq!(end(&mut recording, SinceStart(50)), None);
        assert!(
            recording
                .at(SinceStart(5))
                .command(CommandId(1))
                .is_some_and(|command| command.requests.is_empty())
        );
        assert_eq!(
            (end(&mut recording, SinceStart(90)), recording.end()),
            (Some(SinceStart(90)), SinceStart(95))
        );
    }

    #[test]
    fn a_interval_counts_while_it_lasts_although_it_is_reported_at_its_end() {
        let recording = recording();
        assert_eq!(recording.asleep(SinceStart(10)), BTreeMap::from([(CommandId(1), None)]));
        assert_eq!(recording.asleep(SinceStart(50)), BTreeMap::from([(CommandId(1), Some(SinceStart(20)))]));
        assert_eq!(recording.asleep(SinceStart(85)), BTreeMap::new());
    }
}
