//! Which failures are tried at a point: those that the kernel may give there, as far as they were asked for.

use epollshim_format::errno;
use epollshim_format::function::{Function, Functions};
use epollshim_format::legality::{self, Legal};

use super::phases::Phase;
use super::points::Point;
use crate::Failure;
use crate::args::Sweep;
use crate::text::printable;

/// What else may happen to a call that succeeds: it must make no difference to a program.
struct Unkind {
    functions: Functions,
    /// As rules have them.
    actions: &'static [&'static str],
}

/// - `batch=1`: epoll_wait(2) returns any number of events that are ready, up to `maxevents`.
/// - `signal=SIGCONT`: a wait ends early. signal(7): it fails with EINTR after a stop and SIGCONT, also where the program handles no
///   signal. (It may not return 0 before its time: fs/eventpoll.c ep_poll, Linux v6.1.)
/// - delays: a thread may lose its processor at any instruction.
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
    /// None: every function that can fail for want of a resource.
    calls: Option<Functions>,
    /// Empty: the most likely one.
    errors: Vec<String>,
    all_errors: bool,
    is_persistent: bool,
    /// Calls succeed, but unkindly.
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

    /// Functions at whose points anything may be tried.
    pub fn functions(&self) -> Functions {
        if self.is_unkind {
            let all = UNKIND.iter().fold(Functions::NONE, |all, unkind| all.with(unkind.functions));
            return Functions(all.0 & self.calls.unwrap_or(Functions::ALL).0);
        }
        let rows = legality::TABLE.iter().filter(|row| !self.of_row(row, |_| true).is_empty());
        rows.fold(Functions::NONE, |all, row| all.with(named(row.function)))
    }

    /// What is tried at a point: errnos, as its rule has them.
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
        // What takes memory is called too often to be tried unasked.
        if self.calls.map_or(own.meets(Functions::ON_REQUEST), |calls| !calls.meets(own)) {
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

/// The function of this very name; none where the library does not hook it.
fn named(name: &str) -> Functions {
    Functions::which(|row| row.name() == name)
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
