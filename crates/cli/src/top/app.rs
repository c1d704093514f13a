//! The state of the screen, and what keys change in it. It uses no terminal and no clock, and is
//! tested directly.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::columns::{self, Column};
use super::row::{InstanceRow, Row};

/// The intervals of `+` and `-` in milliseconds.
const INTERVALS: [u64; 10] = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000];

pub type Key = Arc<PathBuf>;

#[derive(Default)]
pub struct App {
    pub rows: Vec<Row>,
    pub sort: Option<Column>,
    /// The process under the cursor.
    pub selected: Option<Key>,
    /// The process whose details are shown.
    pub detail: Option<Key>,
    pub instances: Vec<InstanceRow>,
    /// The index of the first instance shown.
    pub scroll: usize,
    pub is_paused: bool,
    pub has_help: bool,
    pub interval: Duration,
    /// Names of call sites, by recording and address.
    pub names: HashMap<(Key, u64), String>,
    /// The text shown if there is no process.
    pub nothing: [String; 2],
    /// What could not be read.
    pub trouble: Option<String>,
}

/// What a key requests from the view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Nothing. The screen is drawn after every key anyway.
    Nothing,
    Quit,
    /// Stop, as by job control.
    Suspend,
    /// Read the recordings now.
    Read,
    /// The time until the next reading has changed.
    Wait,
    /// Draw the whole screen again, because something else has written on it.
    Redraw,
}

impl App {
    pub fn sort(&self) -> Column {
        self.sort.unwrap_or(Column::Calls)
    }

    /// Shows new numbers. The cursor stays on its process.
    pub fn show(&mut self, rows: Vec<Row>) {
        let place = self.place();
        self.rows = rows;
        let by = self.sort();
        columns::sort(&mut self.rows, by);
        if !self.rows.iter().any(|row| Some(&row.key) == self.selected.as_ref()) {
            self.select(place.unwrap_or(0));
        }
        if self.detail().is_none() {
            self.close_detail();
        }
    }

    pub fn show_instances(&mut self, instances: Vec<InstanceRow>) {
        self.instances = instances;
        self.scroll = self.scroll.min(self.instances.len().saturating_sub(1));
    }

    /// The index of the process under the cursor.
    pub fn place(&self) -> Option<usize> {
        self.rows.iter().position(|row| Some(&row.key) == self.selected.as_ref())
    }

    /// The process whose details are shown.
    pub fn detail(&self) -> Option<&Row> {
        self.rows.iter().find(|row| Some(&row.key) == self.detail.as_ref())
    }

    fn select(&mut self, place: usize) {
        let place = place.min(self.rows.len().saturating_sub(1));
        self.selected = self.rows.get(place).map(|row| row.key.clone());
    }

    fn close_detail(&mut self) {
        self.detail = None;
        self.instances.clear();
        self.scroll = 0;
    }

    pub fn key(&mut self, key: KeyEvent) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Asked::Quit,
                KeyCode::Char('z') => Asked::Suspend,
                KeyCode::Char('l') => Asked::Redraw,
                _ => Asked::Nothing,
            };
        }
        if self.has_help {
            self.has_help = false;
            return if key.code == KeyCode::Char('q') { Asked::Quit } else { Asked::Nothing };
        }
        match key.code {
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.has_help = true,
            KeyCode::Char('p') => {
                self.is_paused = !self.is_paused;
                return if self.is_paused { Asked::Wait } else { Asked::Read };
            }
            KeyCode::Char(' ') => return Asked::Read,
            KeyCode::Char('+') => return self.change_interval(true),
            KeyCode::Char('-') => return self.change_interval(false),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.close_detail(),
            _ if self.detail.is_some() => self.move_instances(key.code),
            KeyCode::Enter | KeyCode::Right => {
                self.detail.clone_from(&self.selected);
                if self.detail.is_some() {
                    return Asked::Read;
                }
            }
            KeyCode::Char('s') => self.change_sort(1),
            KeyCode::Char('S') => self.change_sort(Column::SORTS.len() - 1),
            code => {
                let last = self.rows.len().saturating_sub(1);
                self.select(moved(code, self.place().unwrap_or(0), last));
            }
        }
        Asked::Nothing
    }

    fn move_instances(&mut self, code: KeyCode) {
        self.scroll = moved(code, self.scroll, self.instances.len().saturating_sub(1));
    }

    fn change_sort(&mut self, by: usize) {
        let place = Column::SORTS.iter().position(|column| *column == self.sort()).unwrap_or(0);
        self.sort = Column::SORTS.get((place + by) % Column::SORTS.len()).copied();
        let by = self.sort();
        columns::sort(&mut self.rows, by);
    }

    fn change_interval(&mut self, is_longer: bool) -> Asked {
        let now = self.interval;
        let mut all = INTERVALS.map(Duration::from_millis).into_iter();
        let next = if is_longer { all.find(|one| *one > now) } else { all.rfind(|one| *one < now) };
        self.interval = next.unwrap_or(now);
        Asked::Wait
    }
}

/// The new index after a key that moves in a list.
fn moved(code: KeyCode, place: usize, last: usize) -> usize {
    const PAGE: usize = 10;
    match code {
        KeyCode::Up | KeyCode::Char('k') => place.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => (place + 1).min(last),
        KeyCode::PageUp => place.saturating_sub(PAGE),
        KeyCode::PageDown => (place + PAGE).min(last),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        _ => place,
    }
}

#[cfg(test)]
mod tests {
    use super::{App, Asked};
    use crate::top::columns::Column;
    use crate::top::row::{Rates, Row};
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    fn row(pid: u32, calls: f64) -> Row {
        let rates = Some(Rates { calls, ..Rates::default() });
        Row { key: Arc::new(PathBuf::from(pid.to_string())), pid, rates, ..Row::default() }
    }

    fn pids(app: &App) -> Vec<u32> {
        app.rows.iter().map(|row| row.pid).collect()
    }

    fn press(app: &mut App, code: KeyCode) -> Asked {
        app.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn app() -> App {
        let mut app = App { interval: Duration::from_secs(1), ..App::default() };
        app.show(vec![row(1, 5.0), row(2, 50.0), row(3, 20.0)]);
        app
    }

    #[test]
    fn the_busiest_is_first_and_the_cursor_stays_on_its_process() {
        let mut app = app();
        assert_eq!((pids(&app), app.place()), (vec![2, 3, 1], Some(0)));
        press(&mut app, KeyCode::Down);
        app.show(vec![row(1, 500.0), row(2, 50.0), row(3, 20.0)]);
        assert_eq!((pids(&app), app.place()), (vec![1, 2, 3], Some(2)));
        // Its process is gone, so the cursor moves to the process at that index.
        app.show(vec![row(1, 500.0), row(2, 50.0)]);
        assert_eq!(app.place(), Some(1));
        app.show(Vec::new());
        assert_eq!(app.place(), None);
        press(&mut app, KeyCode::Enter);
        assert!(app.detail.is_none());
    }

    #[test]
    fn s_sorts_by_one_column_after_another() {
        let mut app = app();
        let mut seen = vec![app.sort()];
        while press(&mut app, KeyCode::Char('s')) == Asked::Nothing && app.sort() != Column::Calls {
            seen.push(app.sort());
            if app.sort() == Column::Pid {
                assert_eq!(pids(&app), [1, 2, 3]);
            }
        }
        assert_eq!(seen, Column::SORTS);
        press(&mut app, KeyCode::Char('S'));
        assert_eq!(app.sort(), Column::Program);
    }

    #[test]
    fn a_process_is_opened_and_closed_again_and_closes_when_it_leaves() {
        let mut app = app();
        assert_eq!(press(&mut app, KeyCode::Enter), Asked::Read);
        assert_eq!(app.detail().map(|row| row.pid), Some(2));
        press(&mut app, KeyCode::Esc);
        assert!(app.detail().is_none());
        press(&mut app, KeyCode::Enter);
        app.show(vec![row(1, 5.0)]);
        assert!(app.detail.is_none());
    }

    #[test]
    fn plus_and_minus_change_the_interval_within_bounds() {
        let mut app = app();
        press(&mut app, KeyCode::Char('-'));
        assert_eq!(app.interval, Duration::from_millis(500));
        for _ in 0..20 {
            press(&mut app, KeyCode::Char('-'));
        }
        assert_eq!(app.interval, Duration::from_millis(100));
        for _ in 0..20 {
            press(&mut app, KeyCode::Char('+'));
        }
        assert_eq!(app.interval, Duration::from_secs(60));
        app.interval = Duration::from_millis(700);
        press(&mut app, KeyCode::Char('+'));
        assert_eq!(app.interval, Duration::from_secs(1));
    }

    #[test]
    fn pause_help_and_quit() {
        let mut app = app();
        assert_eq!((press(&mut app, KeyCode::Char('p')), app.is_paused), (Asked::Wait, true));
        assert_eq!((press(&mut app, KeyCode::Char('p')), app.is_paused), (Asked::Read, false));
        press(&mut app, KeyCode::Char('?'));
        assert!(app.has_help);
        press(&mut app, KeyCode::Char('s'));
        assert!(!app.has_help && app.sort() == Column::Calls, "the key only closes the help");
        assert_eq!(press(&mut app, KeyCode::Char('q')), Asked::Quit);
        assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Asked::Quit);
        assert_eq!(app.key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL)), Asked::Suspend);
    }
}
