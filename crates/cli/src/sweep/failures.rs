//! Which failures are tried at a point: those that the kernel may give there, as far as they were asked for.

use epollshim_format::errno;
use epollshim_format::function::Functions;
use epollshim_format::legality::{self, Legal};

use super::phases::Phase;
use super::points::Point;
use crate::Failure;
use crate::args::Sweep;
use crate::text::printable;

pub struct Choice {
    /// None: every function that can fail for want of a resource.
    calls: Option<Functions>,
    /// Empty: the most likely one.
    errors: Vec<String>,
    all_errors: bool,
    is_persistent: bool,
    /// Empty: all.
    phases: Vec<Phase>,
}

impl Choice {
    pub fn of(asked: &Sweep) -> Result<Choice, Failure> {
        Ok(Choice {
            calls: calls(&asked.calls)?,
            errors: errors(&asked.errors)?,
            all_errors: asked.all_errors,
            is_persistent: asked.persistent,
            phases: asked.phase.iter().filter_map(|name| Phase::named(name)).collect(),
        })
    }

    /// Functions at whose points anything may be tried.
    pub fn functions(&self) -> Functions {
        let rows = legality::TABLE.iter().filter(|row| !self.of_row(row, |_| true).is_empty());
        rows.fold(Functions::NONE, |all, row| all.with(function(row)))
    }

    /// What is tried at a point: errnos, as its rule has them.
    pub fn at(&self, point: &Point) -> Vec<String> {
        let Some(legal) = point.legal() else { return Vec::new() };
        if !self.phases.is_empty() && !self.phases.contains(&point.phase) {
            return Vec::new();
        }
        let suffix = if legal.is_made { ":made" } else { "" };
        let errors = self.of_row(legal, |error| legal.may_be(error, &point.on));
        errors.into_iter().map(|error| format!("{error}{suffix}")).collect()
    }

    fn of_row(&self, legal: &'static Legal, may_be: impl Fn(&str) -> bool) -> Vec<&'static str> {
        if self.calls.is_some_and(|calls| !calls.meets(function(legal))) {
            return Vec::new();
        }
        // What says "try again" is not said for ever.
        let is_sensible = |error: &str| !(self.is_persistent && matches!(error, "EINTR" | "EAGAIN"));
        let resources = || legal.resources.iter().copied();
        let others = || legal.others.iter().copied().filter(|error| may_be(error) && is_sensible(error));
        let all = || resources().chain(others());
        match () {
            () if self.all_errors => all().collect(),
            () if !self.errors.is_empty() => {
                all().filter(|error| self.errors.iter().any(|asked| asked == error)).collect()
            }
            // Who asks for a function asks for a failure of it.
            () if self.calls.is_some() => all().take(1).collect(),
            () => resources().take(1).collect(),
        }
    }
}

/// The function of a row; none where the library does not hook it.
pub fn function(legal: &Legal) -> Functions {
    Functions::which(|row| row.name() == legal.function)
}

fn calls(words: &[String]) -> Result<Option<Functions>, Failure> {
    let mut all = Functions::NONE;
    for word in words {
        match Functions::named(word.as_bytes()) {
            Some(functions) => all = all.with(functions),
            None => {
                return Err(Failure::of_use(format!("--calls: no call is named {}", printable(word))));
            }
        }
    }
    Ok((!words.is_empty()).then_some(all))
}

fn errors(words: &[String]) -> Result<Vec<String>, Failure> {
    match words.iter().find(|word| errno::number(word).is_none()) {
        Some(word) => Err(Failure::of_use(format!("--errors: no error is named {}", printable(word)))),
        None => Ok(words.to_vec()),
    }
}
