//! A day of watching, in a minute: the memory that state and dashboard hold does not grow with it.
//!
//! In go the events that the kernel side would cause, out come frames; every byte that is
//! allocated is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::State;
use model::event::{Body, CommandUpdate, Event};
use model::id::{CommandId, ConnectionId, DnsId, Pid, RequestId};
use model::record::{Class, Command, Connection, Dns, Local, Process, Request, RequestOutcome};
use model::retention::{Retained, SHOWN_MAX};
use model::time::{Ns, SinceStart};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use render::tui::{Cache, View, draw};

const MS: Ns = 1_000_000;
const S: Ns = 1_000 * MS;
const HOUR: Ns = 3_600 * S;

/// Counts what is held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator cannot be had without")]
// SAFETY: everything is passed on to the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps what the trait asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: likewise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests take turns: what is held is counted for the whole process.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What watching keeps, as the worker does.
struct Watch {
    state: State,
    kept: Retained,
    cache: Cache,
    view: View,
    buffer: Buffer,
    next: u32,
}

impl Watch {
    fn new() -> Self {
        Self {
            state: State::new(),
            kept: Retained::showing(SHOWN_MAX),
            cache: Cache::default(),
            view: View::default(),
            buffer: Buffer::empty(Rect::new(0, 0, 120, 40)),
            next: 0,
        }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn report(&mut self, at_ns: Ns, body: Body) {
        if let Body::Command(update) = &body
            && update.command.wall_ns.is_some()
        {
            self.kept.ended(update.command.id, SinceStart(at_ns));
        }
        self.state.apply(&Event { at_ns: SinceStart(at_ns), body });
    }

    fn tick(&mut self, now: Ns) {
        let now = SinceStart(now);
        for command in self.kept.due(now).forgotten {
            self.state.clear_command(command);
        }
        self.view.now = Some(now);
        self.buffer.reset();
        draw(&mut self.buffer, &self.state, &self.view, &mut self.cache);
    }

    /// A command that makes so many requests in a second.
    fn command(&mut self, at: Ns, requests: u32) {
        let id = self.number();
        let mut command = Command {
            id: CommandId(id),
            pid: Pid(id),
            argv: vec!["go".into(), "mod".into(), "download".into()],
            cwd: Some(format!("/home/user/project-{}", id % 50)),
            start_ns: SinceStart(at),
            local: Some(Local::default()),
            ..Command::default()
        };
        let update = |command: &Command, idle| {
            Body::Command(CommandUpdate { command: command.clone(), idle, gaps: Vec::new() })
        };
        self.report(at, update(&command, Vec::new()));
        self.report(
            at,
            Body::Process(Process {
                command: CommandId(id),
                pid: Pid(id),
                start_ns: SinceStart(at),
                ..Process::default()
            }),
        );
        let dns = Dns {
            command: CommandId(id),
            id: DnsId(self.number()),
            name: "proxy.test".into(),
            start_ns: SinceStart(at),
            ..Dns::default()
        };
        self.report(at + MS, Body::Dns(Dns { end_ns: Some(SinceStart(at + MS)), ..dns }));
        let connection = Connection {
            command: CommandId(id),
            id: ConnectionId(self.number()),
            start_ns: SinceStart(at + MS),
            ..Connection::default()
        };
        let on = connection.id;
        self.report(at + 2 * MS, Body::Connection(connection));
        for number in 0..requests {
            let start_ns = at + 5 * MS + Ns::from(number) * 900 * MS / Ns::from(requests);
            let request = Request {
                command: CommandId(id),
                id: RequestId(self.number()),
                connection: Some(on),
                authority: Some("proxy.test".into()),
                path: Some(format!("/example.com/m{number}/@v/v1.2.3.zip")),
                class: Class::Zip,
                module: Some(format!("example.com/m{number}")),
                version: Some("v1.2.3".into()),
                status: Some(200),
                start_ns: SinceStart(start_ns),
                first_byte_ns: Some(SinceStart(start_ns + MS)),
                end_ns: Some(SinceStart(start_ns + 2 * MS)),
                outcome: RequestOutcome::Ok,
                ..Request::default()
            };
            self.report(start_ns + 2 * MS, Body::Request(request));
        }
        let end = at + S;
        command.wall_ns = Some(S);
        command.exit_code = Some(0);
        self.report(
            end,
            update(
                &command,
                (0..20)
                    .map(|n| (SinceStart(at + n * 40 * MS), SinceStart(at + n * 40 * MS + 30 * MS)))
                    .collect(),
            ),
        );
    }

    /// A command each five seconds.
    fn hour(&mut self, hour: Ns) {
        for at in (hour * HOUR..(hour + 1) * HOUR).step_by((5 * S) as usize) {
            self.command(at, 40);
            self.tick(at + 2 * S);
        }
    }

    fn shown(&self) -> String {
        let cells = self.buffer.content.iter().take(10 * usize::from(self.buffer.area.width));
        cells.map(ratatui::buffer::Cell::symbol).collect()
    }
}

#[test]
fn a_day_takes_no_more_memory_than_an_hour() {
    let _turn = turn();
    let before = HELD.load(Ordering::Relaxed);
    let held = || HELD.load(Ordering::Relaxed).saturating_sub(before);
    let mut watch = Watch::new();
    watch.hour(0);
    let after_an_hour = held();
    let most = (1..24).map(|hour| {
        watch.hour(hour);
        held()
    });
    let most = most.max().unwrap_or(0);
    println!("{} numbers; after an hour {after_an_hour} bytes, at most {most}", watch.next);
    assert!(watch.next > 700_000, "that was no day: {}", watch.next);
    assert!(most < after_an_hour + after_an_hour / 10, "{after_an_hour} after an hour, then {most}");
    assert!(most < 4 << 20, "{most} bytes for {SHOWN_MAX} commands");
    assert!(watch.state.commands().count() <= SHOWN_MAX + 1);
    // Forgetting those that ended is no loss.
    assert_eq!(watch.state.overflow(), 0);
    assert!(watch.shown().contains("unseen 0"), "{}", watch.shown());
}

#[test]
fn a_command_that_never_stops_asking_has_a_limit_and_the_screen_says_what_was_left_out() {
    let _turn = turn();
    let before = HELD.load(Ordering::Relaxed);
    let mut watch = Watch::new();
    watch.command(0, 200_000);
    watch.tick(S);
    let held = HELD.load(Ordering::Relaxed).saturating_sub(before);
    let first = watch.state.commands().next().map(|(_, command)| command.requests.len());
    let kept = first.unwrap_or(0);
    assert_eq!(watch.state.overflow(), 200_000 - kept as u64);
    assert!((100_000..200_000).contains(&kept), "{kept}");
    assert!(watch.shown().contains(&format!("UNSEEN {} events", 200_000 - kept)), "{}", watch.shown());
    assert!(held < 256 << 20, "{held} bytes");
    println!("{kept} requests kept, {held} bytes");
}
