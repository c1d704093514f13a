//! Writes the result of a sweep: a report, a list of accepted finds, an exit status.

use super::accept::{Written, has_folder};
use super::outcome::Swept;
use super::{html, json, junit, text};
use crate::args::{Sweep, SweepFormat};
use crate::report::write_with;
use crate::text::{count, printable, shown};
use crate::{Failure, say, to_stderr};

pub struct Output<'a> {
    asked: &'a Sweep,
    written: Option<Written>,
}

impl Output<'_> {
    /// Reads and checks the files, so that a bad one is refused before anything is tried.
    pub fn open(asked: &Sweep) -> Result<Output<'_>, Failure> {
        if let Some(path) = &asked.output {
            has_folder(path).map_err(|what| Failure::usage(format!("--output: {what}")))?;
        }
        let written = asked.write_accept.as_deref().map(Written::open).transpose()?;
        Ok(Output { asked, written })
    }

    /// Writes the result, and returns the exit status.
    pub fn write(&self, swept: &Swept) -> Result<i32, Failure> {
        let report = match self.asked.format {
            SweepFormat::Text => text::render(swept),
            SweepFormat::Json => json::render(swept),
            SweepFormat::Junit => junit::render(swept),
            SweepFormat::Html => html::render(swept),
        };
        let written = write_with(self.asked.output.as_deref(), &|out| out.write_all(report.as_bytes()));
        if self.asked.output.is_some() && (self.asked.format != SweepFormat::Text || written.is_err()) {
            let _ = to_stderr(text::render(swept).as_bytes());
        }
        written?;
        let unused = if swept.tried.len() < swept.planned { Vec::new() } else { swept.accepted.unused(swept) };
        for entry in unused {
            say(&format!("--accept: {}: matches no find: {}", entry.place, printable(&entry.text)));
        }
        if let (Some(list), Some(path)) = (&self.written, &self.asked.write_accept) {
            let added = list.add(swept)?;
            let what = if added == 0 { "" } else { "; replace each WHY? by a reason" };
            say(&format!("{}: {} added{what}", shown(path), count(added, "find")));
        }
        Ok(i32::from(!swept.finds().is_empty()))
    }

    /// The message after an interrupt.
    pub fn interrupted(&self) -> String {
        match &self.asked.resume {
            Some(path) => format!("interrupted; repeat the same command to continue from {}", shown(path)),
            None => "interrupted".into(),
        }
    }
}
