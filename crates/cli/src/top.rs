//! `epollshim top`: running programs, by what they do with epoll.
//!
//! ```text
//! sources   which recordings: of processes, directories, or all
//! board     reads them at each refresh, and lets them go when they have ended
//! row       what is shown of a process, from two readings; pure
//! columns   the list's columns, and its orders
//! once      --once: text or JSON
//! view      the view on the terminal: readings, keys, signals
//! app       its state, and what keys do to it; pure
//! draw      draws the list; detail: one process
//! screen    the terminal, taken and given back
//! ```
//!
//! Nothing here touches a program: its recording is a file, and what else is asked is asked of /proc.

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

/// The exit status where nothing runs that could be shown, and where a recording could not be read whole.
const NOTHING: i32 = 1;
const NOT_WHOLE: i32 = 1;

/// The exit status.
pub fn top(asked: &Top) -> Result<i32, Failure> {
    // Two a process are held open.
    sys::allow_descriptors();
    let board = Board::new(Sources::new(&asked.subjects)?);
    // The command line knows the columns.
    let sort = Column::named(&asked.sort).unwrap_or(Column::Calls);
    if asked.once {
        return once(asked, board, sort);
    }
    if asked.format != Format::Text {
        return Err(Failure::of_use("--format is for --once"));
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::of_use("stdout is not a terminal; --once prints the list as text"));
    }
    let app = App { interval: asked.interval, sort: Some(sort), ..App::default() };
    view::run(board, app).map_err(|error| Failure::of_use(format!("the terminal: {}", reason(&error))))?;
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
    // Each was named above. Other files of a directory that cannot be read are of no program that runs.
    Ok(if board.lacks_something() { NOT_WHOLE } else { 0 })
}

/// Seconds, as they are written on the command line.
pub fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a number of seconds from 0.1 to 3600 is needed".into())
}

/// What `--sort` takes.
pub fn sorts() -> Vec<&'static str> {
    Column::SORTS.map(|column| column.facts().name).to_vec()
}
