//! Plans the trials, makes them, and judges each.

use std::sync::Mutex;
use std::time::Instant;

use super::failures::Choice;
use super::notes::Notes;
use super::observe::Clean;
use super::order::Order;
use super::points::{Aim, Point};
use super::runner::{Ask, Runner, held};
use super::slots::{Slot, Slots};
use super::spec::Times;
use super::trial::{Failure, Trial, Tried};
use super::verdict::{Done, Judged, Verdict, judge};

/// How often a suspicious run is repeated.
const AGAIN: u32 = 2;
/// The index of the repeat that is traced, if the run was a crash.
const TRACED: usize = 0;
/// The least limit of a part in milliseconds, and the factor for the time that it took in clean
/// runs.
const LEAST: u64 = 2000;
const FACTOR: u64 = 3;
/// How many runs there may be per job. Most of them wait.
const RUNS_OF_A_JOB: u32 = 8;

/// The trials of all points: first the first error of first occurrences, then of second ones, then
/// other errors.
pub fn trials(points: &[Point], choice: &Choice, aim: Aim) -> Vec<Trial> {
    let mut ordered = Vec::new();
    for (place, point) in points.iter().enumerate() {
        for (rank, error) in choice.at(point).into_iter().enumerate() {
            ordered.push((rank, point.occurrence, place, point, error));
        }
    }
    ordered.sort_by_key(|(rank, occurrence, place, ..)| (*rank, *occurrence, *place));
    ordered
        .into_iter()
        .map(|(.., point, error)| Trial {
            rules: point.rule(&error, aim),
            in_tree: aim.in_tree,
            failure: Failure::Call { point: point.clone(), failure: error },
        })
        .collect()
}

pub fn limits_of(clean: &Times) -> Times {
    let limit = |took: u64| (took * FACTOR).max(LEAST);
    Times { start: limit(clean.start), work: limit(clean.work), stop: limit(clean.stop) }
}

/// Makes all trials, with `jobs` runs working at the same time. Trials that were not made because
/// of an interrupt are left out.
pub fn try_all(runner: &Runner, clean: &Clean, trials: Vec<Trial>, jobs: u32, notes: &Notes) -> Vec<Tried> {
    let queue = Mutex::new(Order::new(trials));
    let done = Mutex::new(Vec::new());
    let slots = Slots::new(jobs);
    std::thread::scope(|scope| {
        for _ in 0..jobs * RUNS_OF_A_JOB {
            scope.spawn(|| {
                loop {
                    let slot = slots.take();
                    let next = held(&queue).next();
                    let Some(trial) = next else { break };
                    let Ok(tried) = try_one(runner, clean, trial, &slots, slot) else {
                        if runner.is_over() {
                            break;
                        }
                        notes.progress.lost();
                        continue;
                    };
                    if matches!(tried.judged.verdict, Verdict::Hang | Verdict::Deaf) {
                        held(&queue).has_hung(&tried.trial);
                    }
                    notes.add(&tried);
                    held(&done).push(tried);
                }
            });
        }
    });
    done.into_inner().unwrap_or_default()
}

/// How often the workload is repeated after a failure. If the call fails once in each process, each
/// process may fail one client before the server serves again.
fn workloads(clean: &Clean, trial: &Trial) -> u32 {
    const MOST: u64 = 8;
    if trial.in_tree { 1 } else { clean.processes.clamp(1, MOST) as u32 }
}

/// A rule that delays the failing call by a moment, so that a program that has just started is
/// traced by then.
fn held_back(rule: &str) -> String {
    if rule.is_empty() || rule.contains("delay") { rule.to_owned() } else { format!("{rule}:delay_enter=50ms") }
}

/// The verdict on a suspicious run, given its repeats; `same` runs in total had its verdict.
///
/// Descriptors are counted at one moment, when one may be about to be closed. So a leak that does
/// not recur is none.
fn settled(first: Judged, same: u32, again: &[Judged]) -> Judged {
    let better = match first.verdict {
        // The traced repeat knows where the program crashed.
        verdict if verdict.is_crash() => again.get(TRACED).filter(|run| run.verdict == verdict),
        Verdict::Leak if same == 1 => again.last(),
        _ => None,
    };
    better.cloned().unwrap_or(first)
}

fn try_one(runner: &Runner, clean: &Clean, trial: Trial, slots: &Slots, slot: Slot) -> Result<Tried, String> {
    let begin = Instant::now();
    let done = if trial.point().is_some() { Done::Fault } else { Done::Limit };
    let one = |patience: u64, traces: bool, slot: Slot| -> Result<Judged, String> {
        let ask = Ask {
            rules: if traces { held_back(&trial.rules) } else { trial.rules.clone() },
            stacks: 0,
            times: limits_of(&clean.times),
            again: workloads(clean, &trial),
            patience,
            at_rest: Some(clean.at_rest),
            traces,
            descriptors: trial.descriptors(),
            processes: trial.processes(),
            counts_tasks: trial.processes().is_some(),
        };
        let (seen, folder) = runner.run(&ask, slot)?;
        if let Some(trouble) = &seen.outcome.trouble {
            // With so low a limit, the program cannot even be started.
            let evidence = vec![format!("it cannot be started: {trouble}")];
            return Ok(Judged { verdict: Verdict::CleanFailure, evidence });
        }
        Ok(judge(clean, &seen, &runner.settled.masks, &folder.0, done))
    };
    // A slow run is not a hang, so the first run gets three times the limit.
    let mut judged = one(FACTOR, false, slot)?;
    let took = begin.elapsed().as_millis() as u64;
    let (mut same, mut runs) = (1, 1);
    if judged.verdict.is_find() {
        let again = std::thread::scope(|scope| {
            // Only one repeat is traced, because tracing may change what happens.
            let is_crash = judged.verdict.is_crash();
            let runs: Vec<_> = (0..AGAIN as usize)
                .map(|run| scope.spawn(move || one(1, run == TRACED && is_crash, slots.take())))
                .collect();
            let no_panic =
                |run: std::thread::ScopedJoinHandle<_>| run.join().unwrap_or_else(|_| Err("panicked".into()));
            runs.into_iter().map(no_panic).collect::<Result<Vec<_>, _>>()
        })?;
        runs += AGAIN;
        same += again.iter().filter(|again| again.verdict == judged.verdict).count() as u32;
        judged = settled(judged, same, &again);
    }
    Ok(Tried { trial, judged, same, runs, took })
}

#[cfg(test)]
mod tests {
    use super::settled;
    use crate::sweep::verdict::{Judged, Verdict};

    #[test]
    fn a_crash_has_the_evidence_of_the_traced_repeat_unless_that_did_not_crash() {
        let crash = |evidence: &str| Judged { verdict: Verdict::Crash, evidence: vec![evidence.into()] };
        let same = Judged { verdict: Verdict::Same, evidence: Vec::new() };
        let evidence = |again: &[Judged]| settled(crash("first"), 2, again).evidence;
        assert_eq!(evidence(&[crash("traced"), crash("last")]), ["traced"]);
        assert_eq!(evidence(&[same, crash("last")]), ["first"]);
    }

    #[test]
    fn a_leak_that_does_not_come_again_is_none_and_a_crash_is_one() {
        let judged = |verdict| Judged { verdict, evidence: Vec::new() };
        for (first, same, believed) in
            [(Verdict::Leak, 1, Verdict::Same), (Verdict::Leak, 2, Verdict::Leak), (Verdict::Crash, 1, Verdict::Crash)]
        {
            let again = vec![judged(Verdict::Leak), judged(Verdict::Same)];
            assert_eq!(settled(judged(first), same, &again).verdict, believed, "{first:?} {same}");
        }
    }
}
