//! Model tests of what several threads, signal handlers and forked children do to one structure
//! without a lock.
//!
//! A model has participants. Each runs the production code of a structure, whose atomics come from
//! `sync.rs`. Each operation there is a step. Shuttle switches between participants at every step.
//! A participant may also meet an [`Event`] at a step that the model chooses:
//!
//! - it stops forever: its thread jumped out of the frame (`siglongjmp`), or ended in a handler
//!   (`pthread_exit`);
//! - a signal handler runs in the middle of it;
//! - the process forks there: the other participants do not exist in the child, and this one
//!   continues.
//!
//! The participants run one at a time. So a model shows every interleaving of steps, and no
//! reordering by the processor.

extern crate std;

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use std::vec::Vec;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler};
use shuttle::{Config, MaxSteps, Runner};

/// What happens to a participant in the middle of its work.
pub enum Event {
    Stop,
    Handler(Box<dyn FnOnce() + Send>),
    /// The closure runs in the child before the interrupted frame continues: a handler's own calls,
    /// or the fork handler.
    Fork(Box<dyn FnOnce() + Send>),
}

/// The payload with which a participant that stops forever unwinds.
struct Stopped;

#[derive(Default)]
struct World {
    /// The participant that forked; every other one ends at its next step.
    child: Option<usize>,
    /// The step, counted down, at which each participant meets its event.
    events: Vec<Option<(usize, Option<Event>)>>,
    /// Participants that met their event.
    met: Vec<usize>,
}

impl World {
    fn expect_event(&mut self, participant: usize, event: Option<(usize, Option<Event>)>) {
        if self.events.len() <= participant {
            self.events.resize_with(participant + 1, || None);
        }
        if let Some(expected) = self.events.get_mut(participant) {
            *expected = event;
        }
    }
}

std::thread_local! {
    // Shuttle runs all participants of an execution on one thread of the test runner.
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    /// Whether WORLD has one. Tests without a model ask it at each atomic operation.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

fn set_world(world: Option<World>) {
    RUNS.set(world.is_some());
    WORLD.set(world);
}

fn with_world<T>(work: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(work))
}

fn me() -> usize {
    usize::from(shuttle::current::me())
}

/// One step: called before each atomic operation. Nothing happens outside a model.
#[inline]
pub fn step() {
    if RUNS.get() && !std::thread::panicking() {
        switch();
    }
}

fn switch() {
    // (`yield_now` would mean that this participant waits for others, and none does.)
    shuttle::thread::sleep(Duration::ZERO);
    let me = me();
    let event = with_world(|world| {
        if world.child.is_some_and(|child| child != me) {
            return Some(Event::Stop);
        }
        let (left, event) = world.events.get_mut(me)?.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let event = event.take();
        if event.is_some() {
            world.met.push(me);
        }
        if matches!(event, Some(Event::Fork(_))) {
            world.child = Some(me);
        }
        event
    });
    match event.flatten() {
        None => {}
        Some(Event::Stop) => resume_unwind(Box::new(Stopped)),
        Some(Event::Handler(work) | Event::Fork(work)) => work(),
    }
}

/// Runs `work` as a participant that meets `event` at its step number `at`. False: it stopped.
pub fn participate(at: usize, event: Option<Event>, work: impl FnOnce()) -> bool {
    with_world(|world| world.expect_event(me(), Some((at, event))));
    let result = catch_unwind(AssertUnwindSafe(work));
    with_world(|world| world.expect_event(me(), None));
    match result {
        Ok(()) => true,
        Err(cause) if cause.is::<Stopped>() => false,
        Err(cause) => resume_unwind(cause),
    }
}

/// In a handler: the interrupted participant meets another event at its step number `at` from here.
pub fn meet_next(at: usize, event: Event) {
    with_world(|world| world.expect_event(me(), Some((at, Some(event)))));
}

/// The participant stops here.
pub fn stop() {
    resume_unwind(Box::new(Stopped));
}

/// Whether the event of any participant was met so far.
pub fn any_event_met() -> bool {
    with_world(|world| !world.met.is_empty()) == Some(true)
}

/// Whether the process of this execution forked: only the child is left then.
pub fn has_forked() -> bool {
    with_world(|world| world.child.is_some()) == Some(true)
}

/// Called by the main participant after all others have ended: from here on it is the only thread
/// of the process.
pub fn go_on_alone() {
    with_world(|world| {
        if world.child.is_some() {
            world.child = Some(me());
        }
        world.events.clear();
    });
}

/// How the schedules are chosen.
#[derive(Clone, Copy)]
pub enum Search {
    /// All of them, up to this many.
    Exhaustive(usize),
    /// This many, drawn at random from a fixed seed.
    Random(usize),
    /// This many, drawn in another way: a participant runs until it ends, or until one of a few
    /// random steps, at which it is suspended until all others have ended or are suspended.
    Suspending(usize),
}

/// Runs a model under many schedules.
pub fn check(search: Search, model: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(100_000);
    config.stack_size = 256 * 1024;
    let model = Arc::new(model);
    let execution = move || {
        set_world(Some(World::default()));
        model();
        set_world(None);
    };
    match search {
        Search::Exhaustive(most) => Runner::new(DfsScheduler::new(Some(most), false), config).run(execution),
        Search::Random(times) => Runner::new(RandomScheduler::new_from_seed(1, times), config).run(execution),
        // PCT (Burckhardt et al., ASPLOS 2010), with three such steps.
        Search::Suspending(times) => Runner::new(PctScheduler::new_from_seed(1, 4, times), config).run(execution),
    };
}

/// The same for each step at which a participant may meet its event, up to the first step that none
/// reaches.
pub fn check_each_step(search: Search, model: impl Fn(usize) + Copy + Send + Sync + 'static) {
    for at in 0.. {
        let is_met = Arc::new(AtomicBool::new(false));
        let met = is_met.clone();
        check(search, move || {
            model(at);
            met.fetch_or(any_event_met(), Relaxed);
        });
        if !is_met.load(Relaxed) {
            assert!(at != 0, "no participant meets an event");
            return;
        }
    }
}
