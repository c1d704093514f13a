//! Judges a program in which a call failed: a verdict, and the evidence for it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::mask::Masks;
use super::observe::{Clean, Observation, end_text, first_difference, signal_name};
use super::spec::{How, Part, Stuck};
use super::stage::BUSY;

/// What made the two outputs that are compared.
const WHOSE: [&str; 2] = ["in a clean run", "with the failure"];

/// The worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Crash,
    Sanitizer,
    Hang,
    Spin,
    Deaf,
    LostOutput,
    WrongOutput,
    ProcessLost,
    Abort,
    Leak,
    ClosedTwice,
    CleanFailure,
    /// The name in `--resume` files is an older one.
    #[serde(rename = "same-but-said-so")]
    SameWithMessage,
    Same,
    NotReached,
}

impl Verdict {
    pub const ALL: [Verdict; 15] = [
        Verdict::Crash,
        Verdict::Sanitizer,
        Verdict::Hang,
        Verdict::Spin,
        Verdict::Deaf,
        Verdict::LostOutput,
        Verdict::WrongOutput,
        Verdict::ProcessLost,
        Verdict::Abort,
        Verdict::Leak,
        Verdict::ClosedTwice,
        Verdict::CleanFailure,
        Verdict::SameWithMessage,
        Verdict::Same,
        Verdict::NotReached,
    ];

    /// The value in JSON, which never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Crash => "crash",
            Verdict::Sanitizer => "sanitizer report",
            Verdict::Hang => "hang",
            Verdict::Spin => "spin",
            Verdict::Deaf => "deaf",
            Verdict::LostOutput => "exit 0 with lost output",
            Verdict::WrongOutput => "wrong output",
            Verdict::ProcessLost => "other process lost",
            Verdict::Abort => "abort",
            Verdict::Leak => "leak",
            Verdict::ClosedTwice => "closed twice",
            Verdict::CleanFailure => "clean failure",
            Verdict::SameWithMessage => "same, but said so",
            Verdict::Same => "same",
            Verdict::NotReached => "not reached",
        }
    }

    /// The words for people.
    pub const fn title(self) -> &'static str {
        match self {
            Verdict::SameWithMessage => "same, with a new message",
            _ => self.name(),
        }
    }

    /// Whether a signal ended the program inside a function, so that its stack is of interest.
    pub const fn is_crash(self) -> bool {
        matches!(self, Verdict::Crash | Verdict::Abort)
    }

    /// Whether the program did not survive the failure.
    pub const fn is_find(self) -> bool {
        matches!(
            self,
            Verdict::Crash
                | Verdict::Sanitizer
                | Verdict::Hang
                | Verdict::Spin
                | Verdict::Deaf
                | Verdict::LostOutput
                | Verdict::WrongOutput
                | Verdict::ProcessLost
                | Verdict::Abort
                | Verdict::Leak
                | Verdict::ClosedTwice
        )
    }
}

/// A verdict with its evidence, one item per line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub verdict: Verdict,
    pub evidence: Vec<String>,
}

/// Signals that end a faulty program.
pub const OF_CRASHES: [i32; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// What was done to the program in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// A call was to fail. The run counts only if one did.
    Fault,
    /// A limit was lowered, and stays low.
    Limit,
    #[cfg(test)]
    Nothing,
}

pub fn judge(clean: &Clean, run: &Observation, masks: &Masks, folder: &Path, done: Done) -> Judged {
    if done == Done::Fault && run.fired == 0 {
        return Judged { verdict: Verdict::NotReached, evidence: Vec::new() };
    }
    let said = masks.new_messages(&run.messages, folder, &clean.known);
    let (mut verdict, mut evidence) = of(clean, run, &said, done);
    if !verdict.is_find() && run.closed_twice.iter().map(|(_, times)| times).sum::<u64>() > clean.closed_twice {
        verdict = Verdict::ClosedTwice;
        evidence.extend(run.closed_twice.iter().map(|(what, _)| what.clone()));
    }
    if said.is_empty() {
        if verdict.is_find() {
            evidence.push("no message".into());
        }
    } else {
        evidence.extend(said.iter().map(|line| format!("message: {line}")));
    }
    Judged { verdict, evidence }
}

fn of(clean: &Clean, run: &Observation, said: &[String], done: Done) -> (Verdict, Vec<String>) {
    let outcome = &run.outcome;
    let one = |text: String| vec![text];
    if said.iter().any(|line| line.contains("Sanitizer: ") || line.contains("runtime error: ")) {
        return (Verdict::Sanitizer, one(end_text(outcome.end)));
    }
    // A stop signal may end a program by its default action. Then it does so in clean runs too.
    if let Some(How::Killed(signal)) = outcome.end.filter(|end| Some(*end) != clean.end) {
        let (verdict, text) = match signal {
            libc::SIGABRT => (Verdict::Abort, "SIGABRT".into()),
            _ if OF_CRASHES.contains(&signal) => (Verdict::Crash, signal_name(signal)),
            _ => (Verdict::Crash, format!("ended by {}", signal_name(signal))),
        };
        let place = Some(&outcome.crashed_in).filter(|place| !place.is_empty());
        return (verdict, one(text).into_iter().chain(place.map(|place| format!("in {place}"))).collect());
    }
    if let Some(stuck) = &outcome.stuck
        && (stuck.part != Part::Work || outcome.end.is_none())
    {
        let part = match stuck.part {
            Part::Start => "it did not end or become ready",
            Part::Work => "it did not serve",
            Part::Stop => "it did not end after the stop signal",
        };
        // The results of the clients are judged first.
        let served = served(run, said, done).filter(|(verdict, _)| stuck.part == Part::Stop && verdict.is_find());
        if let Some((verdict, mut evidence)) = served {
            evidence.push(part.to_owned());
            return (verdict, evidence);
        }
        let mut evidence = one(part.to_owned());
        evidence.extend(standing(stuck));
        return (if is_busy(stuck) { Verdict::Spin } else { Verdict::Hang }, evidence);
    }
    if let Some((verdict, evidence)) = served(run, said, done) {
        return (verdict, evidence);
    }
    if outcome.idle_percent >= BUSY && clean.idle_percent < BUSY {
        return (
            Verdict::Spin,
            one(format!("{} % of a processor while no client asks for anything", outcome.idle_percent)),
        );
    }
    // A process that crashed counts, whatever happened to its parent. Any other may have been ended
    // by a parent that failed cleanly.
    let crashed = outcome.orphans.iter().any(|(_, signal)| OF_CRASHES.contains(signal));
    let has_failed = outcome.end != clean.end && outcome.end != Some(How::Exited(0));
    if crashed || (!has_failed && run.lost.len() > clean.lost) {
        let mut evidence = Vec::new();
        evidence.extend((!run.lost.is_empty()).then(|| format!("ended without exiting: {}", run.lost.join(", "))));
        evidence.extend(outcome.orphans.iter().map(|(name, signal)| format!("{name}: {}", signal_name(*signal))));
        return (Verdict::ProcessLost, evidence);
    }
    if has_failed {
        let silent = if said.is_empty() { ", without a message" } else { "" };
        return (Verdict::CleanFailure, one(format!("{}{silent}", end_text(outcome.end))));
    }
    if run.output != clean.output {
        let what = first_difference(&clean.output, &run.output, WHOSE);
        let is_less = is_part_of(&run.output, &clean.output);
        return (if is_less { Verdict::LostOutput } else { Verdict::WrongOutput }, one(format!("output: {what}")));
    }
    for (name, text) in &clean.files {
        match run.files.get(name) {
            None => return (Verdict::LostOutput, one(format!("file {name} was not written"))),
            Some(other) if other != text => {
                let what = first_difference(text, other, WHOSE);
                let verdict = if is_part_of(other, text) { Verdict::LostOutput } else { Verdict::WrongOutput };
                return (verdict, one(format!("file {name}: {what}")));
            }
            Some(_) => {}
        }
    }
    if let Some(evidence) = leak(clean, run) {
        return (Verdict::Leak, evidence);
    }
    (if said.is_empty() { Verdict::Same } else { Verdict::SameWithMessage }, Vec::new())
}

fn is_busy(stuck: &Stuck) -> bool {
    stuck.percent >= BUSY || stuck.floods
}

/// The state of a program that is stuck.
fn standing(stuck: &Stuck) -> Vec<String> {
    let mut evidence = vec![format!("{} % of a processor", stuck.percent)];
    if stuck.floods {
        evidence.push("it prints, or repeats the failing call, forever".into());
    }
    evidence.extend(stuck.threads.iter().cloned());
    evidence
}

/// Judges the results of a server's workloads.
fn served(run: &Observation, said: &[String], done: Done) -> Option<(Verdict, Vec<String>)> {
    let outcome = &run.outcome;
    let first = outcome.work.first();
    if outcome.ended_early {
        // Later clients are not served, even if this workload was.
        let verdict = match outcome.end {
            Some(How::Exited(0)) => Verdict::LostOutput,
            _ => Verdict::CleanFailure,
        };
        let silent = if said.is_empty() { ", without a message" } else { "" };
        let mut evidence = vec![format!("the server {}{silent}", end_text(outcome.end))];
        evidence.extend(first.map(work_text));
        return Some((verdict, evidence));
    }
    let first = first.filter(|end| **end != Some(How::Exited(0)))?;
    let workload = work_text(first);
    let others = outcome.work.get(1..).unwrap_or_default();
    let serves_again = others.contains(&Some(How::Exited(0)));
    let each_has_an_end = outcome.work.iter().all(Option::is_some);
    match (serves_again, first) {
        // With so few descriptors it cannot serve. It answers each client, and says why.
        (false, _) if done == Done::Limit && each_has_an_end && !said.is_empty() => {
            Some((Verdict::CleanFailure, vec![workload, "so does a second one, and the server says why".into()]))
        }
        (false, _) => {
            let mut evidence = vec![workload, "the server keeps running, and the next workload fails as well".into()];
            let Some(stuck) = &outcome.stuck else { return Some((Verdict::Deaf, evidence)) };
            evidence.extend(standing(stuck));
            Some((if is_busy(stuck) { Verdict::Spin } else { Verdict::Deaf }, evidence))
        }
        (true, None) => Some((
            Verdict::Deaf,
            vec![workload, "one client was accepted and never answered; a second workload was served".into()],
        )),
        (true, Some(_)) => Some((Verdict::CleanFailure, vec![workload, "a second workload was served".into()])),
    }
}

fn work_text(end: &Option<How>) -> String {
    match end {
        None => "the workload got no answer within its limit".to_owned(),
        Some(_) => format!("the workload {}", end_text(*end)),
    }
}

/// Whether all lines of one text are in another, in order, so that nothing was added.
fn is_part_of(less: &[u8], more: &[u8]) -> bool {
    if more.starts_with(less) {
        return true;
    }
    let mut lines = more.split(|byte| *byte == b'\n');
    less.split(|byte| *byte == b'\n').all(|line| line.is_empty() || lines.any(|other| other == line))
}

/// The kinds of which there are more.
fn more_of<'a>(
    now: &'a BTreeMap<String, u64>,
    usual: &'a BTreeMap<String, u64>,
) -> impl Iterator<Item = String> + use<'a> {
    now.iter().filter_map(|(kind, count)| {
        let usual = usual.get(kind).copied().unwrap_or(0);
        (*count > usual).then(|| format!("{kind}: {count}, not {usual}"))
    })
}

/// Whether more is open than in any clean run.
fn leak(clean: &Clean, run: &Observation) -> Option<Vec<String>> {
    let outcome = &run.outcome;
    if !outcome.work.is_empty() {
        let (now, usual) = (outcome.at_rest, clean.at_rest);
        let mut evidence = vec![format!("{now} descriptors are open after the workload, {usual} in clean runs")];
        evidence.extend(more_of(&outcome.open_at_rest, &clean.open_at_rest));
        return (now > usual).then_some(evidence);
    }
    let mut evidence = Vec::new();
    if run.descriptors > clean.descriptors {
        evidence
            .push(format!("{} descriptors are open at the end, {} in clean runs", run.descriptors, clean.descriptors));
        evidence.extend(more_of(&run.open, &clean.open));
    }
    if run.instances > clean.instances {
        evidence
            .push(format!("{} epoll instances are open at the end, {} in clean runs", run.instances, clean.instances));
    }
    (!evidence.is_empty()).then_some(evidence)
}

#[cfg(test)]
mod tests {
    use super::{Done, Verdict, of};
    use crate::sweep::observe::{Clean, Observation};
    use crate::sweep::spec::{How, Outcome, Part, Stuck};

    #[test]
    fn a_verdict_is_called_otherwise_for_people_and_its_name_in_json_stays() {
        let verdict = Verdict::SameWithMessage;
        assert_eq!([verdict.name(), verdict.title()], ["same, but said so", "same, with a new message"]);
        assert_eq!(serde_json::to_value(verdict).ok(), Some("same-but-said-so".into()));
        let others = Verdict::ALL.into_iter().filter(|other| *other != verdict);
        assert!(others.into_iter().all(|other| other.name() == other.title()));
    }

    const SERVED: Option<How> = Some(How::Exited(0));
    const FAILED: Option<How> = Some(How::Exited(1));
    const NO_ANSWER: Option<How> = None;

    fn verdict(outcome: Outcome, said: &[&str], done: Done) -> Verdict {
        let run = Observation { outcome, ..Observation::default() };
        let said: Vec<String> = said.iter().map(|line| (*line).to_owned()).collect();
        of(&Clean::default(), &run, &said, done).0
    }

    #[test]
    fn a_server_that_serves_nobody_and_does_not_stop_is_deaf() {
        let stop = || Some(Stuck { part: Part::Stop, percent: 0, threads: Vec::new(), floods: false });
        let of_work = |work: &[Option<How>]| {
            verdict(Outcome { stuck: stop(), work: work.to_vec(), ..Outcome::default() }, &[], Done::Fault)
        };
        assert_eq!(of_work(&[NO_ANSWER, NO_ANSWER]), Verdict::Deaf);
        assert_eq!(of_work(&[NO_ANSWER, SERVED]), Verdict::Deaf);
        assert_eq!(of_work(&[FAILED, SERVED]), Verdict::Hang);
        assert_eq!(of_work(&[SERVED]), Verdict::Hang);
    }

    #[test]
    fn a_server_that_serves_again_after_several_clients_failed_is_not_deaf() {
        let outcome = |work: &[Option<How>]| Outcome { work: work.to_vec(), ..Outcome::default() };
        assert_eq!(verdict(outcome(&[FAILED, FAILED, SERVED]), &[], Done::Fault), Verdict::CleanFailure);
        assert_eq!(verdict(outcome(&[FAILED, FAILED, FAILED]), &[], Done::Fault), Verdict::Deaf);
    }

    #[test]
    fn under_a_limit_a_server_that_answers_with_errors_and_says_why_is_not_deaf() {
        let outcome = |work: &[Option<How>]| Outcome { work: work.to_vec(), ..Outcome::default() };
        let refused = [FAILED, FAILED];
        assert_eq!(verdict(outcome(&refused), &["too many open files"], Done::Limit), Verdict::CleanFailure);
        assert_eq!(verdict(outcome(&refused), &[], Done::Limit), Verdict::Deaf);
        assert_eq!(verdict(outcome(&refused), &["too many open files"], Done::Fault), Verdict::Deaf);
        assert_eq!(verdict(outcome(&[FAILED, NO_ANSWER]), &["too many open files"], Done::Limit), Verdict::Deaf);
    }
}
