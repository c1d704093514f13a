//! `epollshim top`: watches running programs by what they do with epoll.
//!
//! ```text
//! sources  finds the recordings: of processes, of directories, or all
//! board    reads them at each refresh, and drops those that have ended
//! row      what is shown of a process, from two readings, without side effects
//! columns  the columns of the list, and how it is sorted by each
//! once     --once, as text or JSON
//! view     the loop on the terminal: readings, keys, signals
//! app      the state, and what keys change in it, without side effects
//! draw     draws the list
//! detail   draws one process
//! screen   sets the terminal up, and restores it
//! ```
//!
//! Nothing here affects a program: its recording is a file, and everything else comes from /proc.

use std::io::IsTerminal;
use std::time::Duration;

use crate::args::{Format, Top};
use crate::text::reason;
use crate::{Failure, print, say, sys};

mod app;
mod board;
mod columns;
mod detail;
mod draw;
mod once;
mod row;
mod screen;
mod sources;
mod view;

use app::App;
use board::Board;
use columns::Column;
use sources::Sources;

/// The exit status if no recorded program runs, and if a recording could not be read completely.
const NOTHING: i32 = 1;
const NOT_WHOLE: i32 = 1;

/// Runs the view, or prints once. Returns the exit status.
pub fn top(asked: &Top) -> Result<i32, Failure> {
    // Two descriptors per process are open.
    sys::allow_descriptors();
    let board = Board::new(Sources::new(&asked.subjects)?);
    // The command line accepts only known columns.
    let sort = Column::named(&asked.sort).unwrap_or(Column::Calls);
    if asked.once {
        return once(asked, board, sort);
    }
    if asked.format != Format::Text {
        return Err(Failure::usage("--format needs --once"));
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::usage("stdout is not a terminal; use --once to print the list as text"));
    }
    let app = App { interval: asked.interval, sort: Some(sort), ..App::default() };
    view::run(board, app).map_err(|error| Failure::usage(format!("the terminal: {}", reason(&error))))?;
    Ok(0)
}

fn once(asked: &Top, mut board: Board, sort: Column) -> Result<i32, Failure> {
    board.refresh();
    std::thread::sleep(asked.interval);
    board.refresh();
    for (path, why) in &board.sources.failures {
        // Most reasons begin with the path.
        let path = path.display().to_string();
        say(&if why.starts_with(&path) { why.clone() } else { format!("{path}: {why}") });
    }
    let mut rows = board.rows();
    if rows.is_empty() {
        say(&board.sources.nothing().join("; "));
        return Ok(NOTHING);
    }
    columns::sort(&mut rows, sort);
    print(&match asked.format {
        Format::Text => once::text(&rows),
        Format::Json => once::json(&rows),
    })?;
    // Each of these was named above. Other unreadable files of a directory do not belong to a
    // running program.
    Ok(if board.lacks_something() { NOT_WHOLE } else { 0 })
}

/// Parses the seconds of an interval.
pub fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "not a number of seconds from 0.1 to 3600".into())
}

/// The values of `--sort`.
pub fn sorts() -> Vec<&'static str> {
    Column::SORTS.map(|column| column.facts().name).to_vec()
}
