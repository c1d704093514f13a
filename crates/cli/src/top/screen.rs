//! Sets the terminal up, restores it, and reads events from it. It is restored when the program
//! ends in any way (by `q`, an error, a panic, or a signal), and while it is stopped.

use std::io::{self, Stdout, Write};
use std::sync::mpsc::Sender;
use std::thread;

use crossterm::cursor::{Hide, Show};
use crossterm::event::Event as Input;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{event, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;

use super::app::Key;
use crate::sys::Signals;

/// An event of the view.
pub enum Event {
    Input(Input),
    Signal(i32),
    /// An address has been named.
    Named(Key, u64, String),
    /// The terminal is gone.
    Closed,
}

/// The terminal, while this program uses it.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub fn take() -> io::Result<Screen> {
        // Set before anything is changed, so that a panic restores the terminal first.
        let say = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            say(panic);
        }));
        let mut screen = Screen { terminal: Terminal::new(CrosstermBackend::new(io::stdout()))? };
        screen.enter()?;
        Ok(screen)
    }

    pub fn enter(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        self.redraw()
    }

    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Makes the next draw write the whole screen. (`Terminal::clear` asks the terminal for the
    /// cursor position. Some terminals do not answer, and the answer would mix with the keys.)
    pub fn redraw(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Restores the terminal. Errors are ignored: then there is no terminal to restore.
pub fn leave() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

/// The signals that end or stop a program at a terminal, and the one that continues it. They are
/// blocked before any thread starts, so that one thread accepts all of them and no handler runs.
pub fn signals() -> Signals {
    use libc::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    Signals::block(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT])
}

/// Sends events, each kind from its own thread. The threads end with the process.
pub fn listen(signals: Signals, events: &Sender<Event>) {
    let to = events.clone();
    thread::spawn(move || {
        while let Some(signal) = signals.wait() {
            if to.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    let to = events.clone();
    thread::spawn(move || {
        loop {
            let read = event::read();
            let is_over = read.is_err();
            if to.send(read.map_or(Event::Closed, Event::Input)).is_err() || is_over {
                return;
            }
        }
    });
}
