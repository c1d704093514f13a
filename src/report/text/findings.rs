//! The findings, each with its message and its places.

use core::fmt::{self, Display, Write};

use epollshim_format::descriptor::Descriptor;
use epollshim_format::findings::{Finding, Message, Tally};
use epollshim_format::scale::Grouped;

use super::plain::Plain;
use crate::buffer::Buffer;
use crate::report::census;
use crate::report::facts::{Described, Facts};
use crate::report::sites::Site;
use crate::report::symbols;

/// The most findings that are listed.
const FINDINGS_LISTED: usize = 30;

pub(super) fn findings(facts: &Facts, out: &mut Buffer<u8>) -> fmt::Result {
    let all = facts.findings();
    let dropped = crate::findings::dropped();
    if all.is_empty() && dropped == 0 {
        return Ok(());
    }
    writeln!(out, "Findings: {}\nRun `epollshim explain ID` for how to fix one.", all.iter().collect::<Tally>())?;
    for finding in all.iter().take(FINDINGS_LISTED) {
        write!(out, "  {:<8} {:<13}", finding.severity.name(), finding.id.name())?;
        if finding.count > 1 {
            write!(out, " {} times", Grouped(finding.count))?;
        }
        for (name, fd) in [("epfd", finding.epfd), ("fd", finding.fd)] {
            if let Some(fd) = fd {
                write!(out, "  {name} {fd}")?;
            }
        }
        writeln!(out)?;
        let mut wrapped = Wrapped { out, column: 0, is_apart: false, width: facts.width };
        write!(wrapped, "{}", Message(finding))?;
        writeln!(out)?;
        match census::of_leak(finding) {
            Some(index) => census::examples(index, out)?,
            None => descriptor(finding, out)?,
        }
        let roles = finding.roles();
        for (role, place) in
            [(roles.site, finding.site), (roles.other, finding.other), ("created", finding.created_at())]
        {
            if let Some(site) = facts.map.site(place as usize) {
                let role = if role.is_empty() { "called" } else { role };
                writeln!(out, "{:INDENT$}{role} at {site}{}", "", Function(facts, &site))?;
                census::stack(facts, place as usize, out)?;
            }
        }
    }
    if all.len() > FINDINGS_LISTED {
        writeln!(out, "  and {} more (EPOLLSHIM_REPORT_FORMAT=json lists all)", all.len() - FINDINGS_LISTED)?;
    }
    if dropped != 0 {
        writeln!(out, "  {} more did not fit in the table of findings", Grouped(dropped))?;
    }
    writeln!(out)
}

/// Writes what the finding's descriptor was at the time of the finding, and what has its number now
/// if that differs.
fn descriptor(finding: &Finding, out: &mut Buffer<u8>) -> fmt::Result {
    let Some(Described { fd, kept, now }) = Described::of(finding) else { return Ok(()) };
    let label = if finding.describes_what_is_watched() { ", still watched" } else { "" };
    writeln!(out, "{:INDENT$}fd {fd}{label}: {}", "", Descriptor(kept.as_bytes()))?;
    match now {
        Some(now) => writeln!(out, "{:INDENT$}fd {fd} now: {}", "", Descriptor(now.as_bytes())),
        None => Ok(()),
    }
}

/// The name of the exported function that contains a site, in parentheses, if there is one.
struct Function<'a>(&'a Facts, &'a Site<'a>);

impl Display for Function<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match symbols::function(&self.0.map, self.1, self.1.address()) {
            Some(name) => write!(f, " ({})", Plain(name)),
            None => Ok(()),
        }
    }
}

/// Indents words, and wraps them at the width of the terminal.
struct Wrapped<'a, W: Write> {
    out: &'a mut W,
    column: usize,
    /// A space separates the next word.
    is_apart: bool,
    width: usize,
}

const INDENT: usize = 11;

impl<W: Write> Write for Wrapped<'_, W> {
    /// A piece that does not end in a space may continue in the next piece. The line breaks before
    /// pieces and words that do not fit.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.bytes().position(|byte| byte == b' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            if !word.is_empty() && (self.column == 0 || self.column + 1 + word.len() > self.width) {
                write!(self.out, "{}{:INDENT$}", if self.column == 0 { "" } else { "\n" }, "")?;
                self.column = INDENT;
                self.is_apart = false;
            }
            if self.is_apart {
                self.out.write_str(" ")?;
                self.column += 1;
            }
            self.out.write_str(word)?;
            self.column += word.len();
            self.is_apart = after.starts_with(' ');
            rest = after.strip_prefix(' ').unwrap_or(after);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_begins_with_the_space_before_a_word() {
        for width in 12..40 {
            let mut text = String::new();
            let mut out = Wrapped { out: &mut text, column: 0, is_apart: false, width };
            for piece in ["of 40; ", "41", " were open", ": ", "34", " sockets", ", 3 files"] {
                out.write_str(piece).unwrap();
            }
            assert!(text.lines().all(|line| line.len() - line.trim_start().len() == INDENT), "{width}: {text}");
        }
    }
}
