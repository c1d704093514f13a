//! Decides which failures are tried at a point: those that the kernel may return there, as far as
//! they were selected.

use epollshim_format::errno;
use epollshim_format::function::{self, Function, Functions};
use epollshim_format::legality::{self, Legal};
use epollshim_format::suggest::nearest;

use super::phases::Phase;
use super::points::Point;
use crate::Failure;
use crate::args::Sweep;
use crate::text::printable;

/// What may happen to a call that succeeds. A correct program behaves the same.
struct Unkind {
    functions: Functions,
    /// The actions in the syntax of rules.
    actions: &'static [&'static str],
}

/// - `batch=1`: epoll_wait(2) may return any number of ready events up to `maxevents`.
/// - `signal=SIGCONT`: a wait ends early. After a stop signal and SIGCONT it fails with EINTR, even
///   if the program handles no signal (signal(7)). It may not return 0 early (fs/eventpoll.c
///   ep_poll, Linux v6.1).
/// - delays: a thread may be preempted at any instruction.
const UNKIND: [Unkind; 2] = [
    Unkind {
        functions: Functions::WAITS,
        actions: &["batch=1", "signal=SIGCONT", "delay_enter=50ms", "delay_exit=50ms"],
    },
    Unkind {
        functions: Functions::of(&[Function::Accept, Function::Accept4, Function::Connect]),
        actions: &["delay_enter=50ms", "delay_exit=50ms"],
    },
];

pub struct Choice {
    /// None: every function that can fail because a resource is missing.
    calls: Option<Functions>,
    /// Empty: the most likely one.
    errors: Vec<String>,
    all_errors: bool,
    is_persistent: bool,
    /// Calls succeed, in unusual ways.
    is_unkind: bool,
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
            is_unkind: asked.success_faults,
            phases: asked.phase.iter().filter_map(|name| Phase::named(name)).collect(),
        })
    }

    /// The functions whose points may be tried.
    pub fn functions(&self) -> Functions {
        if self.is_unkind {
            let all = UNKIND.iter().fold(Functions::NONE, |all, unkind| all.with(unkind.functions));
            return Functions(all.0 & self.calls.unwrap_or(Functions::ALL).0);
        }
        let rows = legality::TABLE.iter().filter(|row| !self.of_row(row, |_| true).is_empty());
        rows.fold(Functions::NONE, |all, row| all.with(named(row.function)))
    }

    /// What is tried at a point: errnos in the syntax of rules.
    pub fn at(&self, point: &Point) -> Vec<String> {
        if !self.phases.is_empty() && !self.phases.contains(&point.phase) {
            return Vec::new();
        }
        if self.is_unkind {
            return self.unkind_at(point);
        }
        let Some(legal) = point.legal() else { return Vec::new() };
        let suffix = if legal.is_made { ":made" } else { "" };
        let errors = self.of_row(legal, |error| legal.may_be(error, &point.on));
        errors.into_iter().map(|error| format!("{error}{suffix}")).collect()
    }

    fn unkind_at(&self, point: &Point) -> Vec<String> {
        let own = named(&point.function);
        let is_asked = self.calls.is_none_or(|calls| calls.meets(own));
        let unkind = UNKIND.iter().filter(|unkind| is_asked && unkind.functions.meets(own));
        unkind.flat_map(|unkind| unkind.actions).map(|action| (*action).to_owned()).collect()
    }

    fn of_row(&self, legal: &'static Legal, may_be: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let own = named(legal.function);
        // Functions that allocate memory are called too often to be tried by default.
        if self.calls.map_or(own.meets(Functions::ON_REQUEST), |calls| !calls.meets(own)) {
            return Vec::new();
        }
        // The kernel does not return "try again" forever.
        let is_sensible = |error: &str| !(self.is_persistent && matches!(error, "EINTR" | "EAGAIN"));
        let resources = || legal.resources.iter().copied();
        let others = || legal.others.iter().copied().filter(|error| may_be(error) && is_sensible(error));
        let all = || resources().chain(others());
        match () {
            () if self.all_errors => all().collect(),
            () if !self.errors.is_empty() => {
                all().filter(|error| self.errors.iter().any(|asked| asked == error)).collect()
            }
            // The user named this function, so one of its errors is tried.
            () if self.calls.is_some() => all().take(1).collect(),
            () => resources().take(1).collect(),
        }
    }
}

/// The function with exactly this name. Empty if the library does not hook it.
fn named(name: &str) -> Functions {
    Functions::which(|row| row.name() == name)
}

fn calls(words: &[String]) -> Result<Option<Functions>, Failure> {
    let mut all = Functions::NONE;
    for word in words {
        match Functions::named(word.as_bytes()) {
            Some(functions) => all = all.with(functions),
            None => {
                return Err(unknown("--calls: unknown function", word, &function::NAMES));
            }
        }
    }
    Ok((!words.is_empty()).then_some(all))
}

fn errors(words: &[String]) -> Result<Vec<String>, Failure> {
    match words.iter().find(|word| errno::number(word).is_none()) {
        Some(word) => {
            let known: Vec<&str> = errno::NAMES.iter().collect();
            Err(unknown("--errors: unknown error", word, &known))
        }
        None => Ok(words.to_vec()),
    }
}

fn unknown(what: &str, word: &str, known: &[&str]) -> Failure {
    let meant = nearest(word, known.iter().copied()).map(|known| format!("; did you mean {known}?"));
    Failure::usage(format!("{what} {}{}", printable(word), meant.unwrap_or_default()))
}
