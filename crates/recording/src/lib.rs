//! Reads recordings (`EPOLLSHIM_RECORD`, layout: `epollshim_format::recording`) and writes reports
//! of them.
//!
//! A recording may belong to a program that is running or was killed, and its bytes may be forged.
//! [`load()`] returns what could be read, marked as partial if something is missing, or an error
//! that names the file, the place and the reason. [`render`] writes a report in one of its formats.
//! [`write_file`] writes one to a file, completely or not at all.
//!
//! [`live`] reads the counters of a running program repeatedly, and [`interval`] computes the
//! difference between two readings.
//!
//! Only `load`, `live`, `running` and `sites`, and their helpers `maps`, `owner` and `source`, read
//! files and /proc. Everything else is computed from the bytes.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

mod bytes;
mod census;
mod coverage;
pub mod described;
pub mod diff;
mod facts;
pub mod findings;
mod firings;
mod folded;
mod html;
pub mod interval;
mod json;
mod judged;
mod junit;
pub mod live;
mod load;
mod look;
mod maps;
mod markup;
pub mod model;
mod modules;
mod owner;
mod perfetto;
mod places;
mod prometheus;
mod read;
mod records;
pub mod running;
mod runs;
mod scale;
mod series;
mod sites;
mod source;
mod stacks;
pub mod suites;
mod suppressions;
pub mod text;

use std::io::{self, Write};
use std::path::Path;

pub use html::page;
pub use load::{Error, Failure, OF_RUN, Options, Set, load, load_all, load_with, recordings};
pub use look::{Colour, Look};
pub use places::Places;
pub use read::{Damage, process as read};
pub use runs::Run;
pub use sites::Site;
pub use suppressions::Suppression;

/// The format of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Json,
    Html,
    Perfetto,
    Prometheus,
    Junit,
    Folded,
}

impl Format {
    pub const ALL: [Format; 7] =
        [Format::Text, Format::Json, Format::Html, Format::Perfetto, Format::Prometheus, Format::Junit, Format::Folded];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Html => "html",
            Format::Perfetto => "perfetto",
            Format::Prometheus => "prometheus",
            Format::Junit => "junit",
            Format::Folded => "folded",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// Writes a report, for a file or a pipe.
pub fn render(set: &Set, format: Format, out: &mut dyn Write) -> io::Result<()> {
    render_for(set, format, Look::default(), out)
}

/// Writes a report. Text has the width and the colours of `look`.
pub fn render_for(set: &Set, format: Format, look: Look, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => text::render(set, look, out),
        Format::Json => json::render(set, out),
        Format::Html => html::render(set, out),
        Format::Perfetto => perfetto::render(set, out),
        Format::Prometheus => prometheus::render(set, out),
        Format::Junit => junit::render(set, out),
        Format::Folded => folded::render(set, out),
    }
}

/// Writes the text of `epollshim run`: first all processes together, then those that matter.
pub fn render_family(set: &Set, look: Look, out: &mut dyn Write) -> io::Result<()> {
    text::render_family(set, look, out)
}

/// Returns whether limits or faults are armed in a process, and a text that lists them and the
/// requests from outside.
#[must_use]
pub fn armed(process: &model::Process, look: Look) -> (bool, String) {
    text::armed_alone(process, look)
}

/// Nanoseconds as in the reports: `1.25 s`.
#[must_use]
pub fn duration(nanoseconds: u64) -> String {
    scale::time(nanoseconds)
}

/// Writes a report to a file. A reader of that path sees the old file or the complete new one. If
/// the path is not a plain file (a pipe, a terminal), it is written to directly.
pub fn write_file(set: &Set, format: Format, path: &Path) -> io::Result<()> {
    replace_file(path, &|out| render(set, format, out))
}

/// Writes the output of `render` to a file, as [`write_file`] does.
pub fn replace_file(path: &Path, render: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        let mut out = io::BufWriter::new(std::fs::OpenOptions::new().write(true).open(path)?);
        render(&mut out)?;
        return out.flush();
    }
    // Links are resolved, so that the file is replaced and not the link to it.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = write_whole(&temporary, render).and_then(|()| std::fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_whole(path: &Path, render: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut out = io::BufWriter::new(file);
    render(&mut out)?;
    out.into_inner()?.sync_all()
}
