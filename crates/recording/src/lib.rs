//! Reads recordings (`EPOLLSHIM_RECORD`, layout: `epollshim_format::recording`) and tells what is in them.
//!
//! A recording may be of a program that runs, was killed, or never existed: [`load`] gives an error that names file,
//! place and reason, or what could be read, marked as partial. [`render`] writes it in one of its formats,
//! [`write_file`] into a file at once or not at all.
//!
//! [`live`] reads what a running program counts, again and again, and [`interval`] tells what came between two readings.
//!
//! `load`, `live`, `running` and `sites` look at the machine; everything else is computed from the bytes alone.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

mod bytes;
mod census;
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

/// What a report is written as.
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

/// Writes a report; text has the width and the colours that are asked for.
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

/// Writes the text of `epollshim run`: all processes together, and then those that matter.
pub fn render_family(set: &Set, look: Look, out: &mut dyn Write) -> io::Result<()> {
    text::render_family(set, look, out)
}

/// Whether limits or faults are armed in a process, and the text of them and of requests from outside.
#[must_use]
pub fn armed(process: &model::Process, look: Look) -> (bool, String) {
    text::armed_alone(process, look)
}

/// Nanoseconds as the reports have them: `1.25 s`.
#[must_use]
pub fn duration(nanoseconds: u64) -> String {
    scale::time(nanoseconds)
}

/// Writes a report into a file: a reader of that name sees the old one or the whole new one. What is there and is not a
/// plain file (a pipe, a terminal) is written to as it is.
pub fn write_file(set: &Set, format: Format, path: &Path) -> io::Result<()> {
    replace_file(path, &|out| render(set, format, out))
}

/// Writes a file as [`write_file`] does, with what `render` writes.
pub fn replace_file(path: &Path, render: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        let mut out = io::BufWriter::new(std::fs::OpenOptions::new().write(true).open(path)?);
        render(&mut out)?;
        return out.flush();
    }
    // Through a link, so that the file it names is replaced and not the link.
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
