//! Runs the view: timed readings, keys, signals.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use crossterm::event::Event as Input;
use epollshim_recording::live::{self, Address};

use super::app::{App, Asked, Key};
use super::board::Board;
use super::draw::{Theme, draw};
use super::screen::{self, Event, Screen};
use crate::sys;

/// The first interval is shorter, since two readings are needed for numbers.
const FIRST: Duration = Duration::from_millis(300);

/// At most this many instances have their call sites named.
const NAMED: usize = 500;

struct View {
    app: App,
    board: Board,
    screen: Screen,
    next: Instant,
    /// Addresses that were sent to be named.
    asked: HashSet<(Key, u64)>,
    to_name: Sender<(Key, Address)>,
}

/// Returns when the user quits.
pub fn run(board: Board, app: App) -> io::Result<()> {
    let signals = screen::signals();
    let (events, happens) = channel();
    let to_name = names(&events);
    let screen = Screen::take()?;
    screen::listen(signals, &events);
    let next = Instant::now() + FIRST.min(app.interval);
    let mut view = View { app, board, screen, next, asked: HashSet::new(), to_name };
    view.board.refresh();
    view.show();
    let theme = Theme::of_environment();
    loop {
        view.screen.draw(|frame| draw(frame, &view.app, theme))?;
        let Some(first) = view.wait(&happens) else { continue };
        // Pending events are handled before the next draw.
        for event in std::iter::once(first).chain(happens.try_iter()) {
            if !view.take(event)? {
                return Ok(());
            }
        }
    }
}

impl View {
    /// The next event. None: it was time for a reading, which was made.
    fn wait(&mut self, happens: &Receiver<Event>) -> Option<Event> {
        let result = if self.app.is_paused {
            happens.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            happens.recv_timeout(self.next.saturating_duration_since(Instant::now()))
        };
        match result {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => {
                self.read();
                None
            }
            Err(RecvTimeoutError::Disconnected) => Some(Event::Closed),
        }
    }

    /// Returns false when the view is over.
    fn take(&mut self, event: Event) -> io::Result<bool> {
        match event {
            Event::Input(Input::Key(key)) => match self.app.key(key) {
                Asked::Quit => return Ok(false),
                Asked::Suspend => self.step_aside(libc::SIGTSTP)?,
                Asked::Read => self.read(),
                Asked::Wait => self.next = self.next.min(Instant::now() + self.app.interval),
                Asked::Redraw => self.screen.redraw()?,
                Asked::Nothing => {}
            },
            Event::Input(Input::Resize(..)) => self.screen.redraw()?,
            Event::Input(_) => {}
            Event::Signal(libc::SIGCONT) => {
                // It was stopped by SIGSTOP, which cannot be caught. Meanwhile the shell has
                // changed the settings of the terminal.
                screen::leave();
                self.screen.enter()?;
            }
            Event::Signal(signal) => self.step_aside(signal)?,
            Event::Named(key, address, name) => drop(self.app.names.insert((key, address), name)),
            Event::Closed => return Ok(false),
        }
        Ok(true)
    }

    /// Restores the terminal, and lets the signal end or stop this process.
    fn step_aside(&mut self, signal: i32) -> io::Result<()> {
        screen::leave();
        sys::take(signal);
        self.screen.enter()
    }

    fn read(&mut self) {
        self.board.refresh();
        self.next = Instant::now() + self.app.interval;
        self.show();
    }

    fn show(&mut self) {
        self.app.show(self.board.rows());
        self.app.nothing = self.board.sources.nothing();
        self.app.trouble = self.board.failures().map(|(files, first)| match files {
            1 => first.to_owned(),
            _ => format!("{files} files cannot be read; {first}"),
        });
        let Some(key) = self.app.detail.clone() else { return };
        let instances = self.board.instances(&key);
        for instance in instances.iter().filter(|instance| instance.site != 0).take(NAMED) {
            let place = (key.clone(), instance.site);
            if !self.asked.insert(place.clone()) {
                continue;
            }
            if let Some(address) = self.board.address(&key, instance.site) {
                self.app.names.insert(place, address.text());
                let _ = self.to_name.send((key.clone(), address));
            }
        }
        self.app.show_instances(instances);
    }
}

/// Names addresses on a separate thread: reading the debug information of a large program takes
/// seconds.
fn names(events: &Sender<Event>) -> Sender<(Key, Address)> {
    let (to_name, asked) = channel::<(Key, Address)>();
    let events = events.clone();
    thread::spawn(move || {
        live::name(asked, |key: &Key, address, site| {
            let _ = events.send(Event::Named(key.clone(), address.address, site.best()));
        });
    });
    to_name
}
