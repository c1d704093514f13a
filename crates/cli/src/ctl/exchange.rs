//! Writes a request into the control pages, and reads the answer (`epollshim_format::control`).
//!
//! A lock on the recording admits one command at a time; the shim does not use it. A request that
//! is still pending is withdrawn and put in front of the new one, so that orders are carried out in
//! order.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use epollshim_format::control::{self, status};

use super::target::{State, Target};
use super::{NOT_DONE, failure};
use crate::text::reason;
use crate::{Failure, sys};

/// What becomes of a request that is not taken in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// It is withdrawn.
    Now,
    /// It stays pending.
    Sometime,
}

pub enum Outcome {
    /// All orders were carried out. The answer of the shim.
    Done(String),
    Refused(String),
    /// No call returned in time.
    NotTaken,
}

/// How often the answer and the process are polled.
const LOOK: Duration = Duration::from_millis(2);
const LOOK_AT_PROCESS: Duration = Duration::from_millis(100);
/// How long a request may take after it was taken. A comparison with the kernel queries every
/// descriptor.
const LONG: Duration = Duration::from_secs(30);

pub struct Exchange<'a> {
    target: &'a Target,
    pages: sys::Shared,
    deadline: Instant,
    /// The orders that were pending at the start.
    standing: Vec<Vec<u8>>,
}

impl<'a> Exchange<'a> {
    /// Takes the lock, and withdraws pending orders.
    pub fn begin(target: &'a Target, wait: Duration) -> Result<Exchange<'a>, Failure> {
        let deadline = Instant::now() + wait;
        let trouble = |error| failure(NOT_DONE, format!("{}: {}", target.shown_path(), reason(&error)));
        while !sys::lock(&target.file).map_err(trouble)? {
            check_process(target)?;
            if Instant::now() >= deadline {
                return Err(failure(NOT_DONE, format!("{target}: another epollshim ctl is using it; try again")));
            }
            std::thread::sleep(LOOK);
        }
        let pages = sys::Shared::map(&target.file, target.control, control::BYTES).map_err(trouble)?;
        let mut exchange = Exchange { target, pages, deadline, standing: Vec::new() };
        exchange.take_back()?;
        exchange.check_pages()?;
        Ok(exchange)
    }

    pub fn allows_impossible(&self) -> bool {
        self.get(control::IMPOSSIBLE) == 1
    }

    /// Requests the pending orders and then `lines`.
    pub fn request(&mut self, lines: Vec<Vec<u8>>, when: When) -> Result<Outcome, Failure> {
        let standing = std::mem::take(&mut self.standing);
        let mut left: Vec<Vec<u8>> = standing.iter().chain(&lines).cloned().collect();
        let mut was_damaged = false;
        loop {
            let number = match self.ring(&left) {
                Ok(number) => number,
                Err(failure) => {
                    self.put_back(&standing);
                    return Err(failure);
                }
            };
            let Some(answer) = self.answer(number, when)? else {
                if when == When::Now {
                    self.put_back(&standing);
                }
                return Ok(Outcome::NotTaken);
            };
            left.drain(..answer.done.min(left.len()));
            match answer.status {
                status::DONE => return Ok(Outcome::Done(answer.text)),
                status::BUSY if Instant::now() < self.deadline => std::thread::sleep(LOOK),
                // The shim found damaged numbers. This request has rewritten them.
                status::DAMAGED if !was_damaged => was_damaged = true,
                _ => return Ok(Outcome::Refused(answer.text)),
            }
        }
    }

    fn get(&self, place: usize) -> u64 {
        self.pages.word(place).load(Ordering::Relaxed)
    }

    fn set(&self, place: usize, value: u64) {
        self.pages.word(place).store(value, Ordering::Relaxed);
    }

    fn checksum(&self, number: u64, text: &[u8]) -> u64 {
        control::checksum(self.target.own_pid, self.target.began_unix, number, text)
    }

    /// The text at a place, if its checksum matches `number`.
    fn text(&self, number: u64, [place, most, length, check]: [usize; 4]) -> Option<Vec<u8>> {
        let length = usize::try_from(self.get(length)).ok().filter(|length| *length <= most)?;
        let mut text: Vec<u8> =
            (0..length.div_ceil(8)).flat_map(|index| self.get(place + index * 8).to_le_bytes()).collect();
        text.truncate(length);
        (self.checksum(number, &text) == self.get(check)).then_some(text)
    }

    /// Withdraws a pending request, so that it is not carried out, and keeps its orders. If the
    /// shim has taken it already, waits for the answer.
    fn take_back(&mut self) -> Result<(), Failure> {
        let bell = self.pages.word(control::BELL);
        let number = bell.load(Ordering::Acquire);
        if number != 0 && bell.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let place = [control::REQUEST, control::REQUEST_BYTES, control::LENGTH, control::CHECK];
            // A damaged request would not have been carried out.
            let text = self.text(number, place).unwrap_or_default();
            self.set(control::MADE, 0);
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            self.standing = lines.map(<[u8]>::to_vec).collect();
            return Ok(());
        }
        let number = if number == 0 { self.get(control::MADE) } else { number };
        let since = Instant::now();
        // The shim is reading the text. The wait is limited to one second: the numbers may be
        // damaged, or the process may have been killed in between.
        while self.pages.word(control::ANSWERED).load(Ordering::Acquire) != number
            && number != 0
            && since.elapsed() < Duration::from_secs(1)
        {
            self.check()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Fails if the recording no longer has its control pages, or if the process can no longer
    /// answer.
    fn check(&self) -> Result<(), Failure> {
        if !self.target.has_its_control_pages() {
            return Err(self.lost());
        }
        self.check_pages()?;
        check_process(self.target)
    }

    /// Fails if an access to the pages faulted. What was read then did not come from the shim.
    fn check_pages(&self) -> Result<(), Failure> {
        if self.pages.is_lost() { Err(self.lost()) } else { Ok(()) }
    }

    fn lost(&self) -> Failure {
        failure(
            NOT_DONE,
            format!(
                "{}: its recording {} was truncated or overwritten: it can no longer be controlled, and its next \
                 recorded call may kill it (SIGBUS)",
                self.target,
                self.target.shown_path()
            ),
        )
    }

    fn put_back(&self, lines: &[Vec<u8>]) {
        if !lines.is_empty() {
            // These orders were pending before, so there is room.
            let _ = self.ring(lines);
        }
    }

    /// Writes a request and sets the bell. Returns its number.
    fn ring(&self, lines: &[Vec<u8>]) -> Result<u64, Failure> {
        let text = lines.join(&b'\n');
        if text.len() > control::REQUEST_BYTES {
            let most = control::REQUEST_BYTES;
            return Err(Failure::usage(format!(
                "{}: {} bytes of orders, including pending ones; at most {most} are allowed",
                self.target,
                text.len()
            )));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let last = [control::TAKEN, control::ANSWERED, control::MADE].map(|place| self.get(place).saturating_add(1));
        let number = last.into_iter().fold(now, u64::max);
        for (index, bytes) in text.chunks(8).enumerate() {
            let mut word = [0; 8];
            word.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            self.set(control::REQUEST + index * 8, u64::from_le_bytes(word));
        }
        self.set(control::LENGTH, text.len() as u64);
        self.set(control::CHECK, self.checksum(number, &text));
        self.set(control::MADE, number);
        // Release: pairs with the AcqRel swap of the bell in the shim (src/record/control.rs). A
        // thread that reads the number also reads the request.
        self.pages.word(control::BELL).store(number, Ordering::Release);
        Ok(number)
    }

    /// Waits for an answer. None: the request was not taken in time. It was withdrawn, or stays
    /// pending.
    fn answer(&self, number: u64, when: When) -> Result<Option<Answer>, Failure> {
        let bell = self.pages.word(control::BELL);
        let mut looked = Instant::now();
        loop {
            if self.pages.word(control::ANSWERED).load(Ordering::Acquire) == number {
                let answer = self.read(number);
                self.check_pages()?;
                return Ok(Some(answer));
            }
            self.check_pages()?;
            let now = Instant::now();
            if looked.elapsed() >= LOOK_AT_PROCESS || now >= self.deadline {
                looked = now;
                self.check()?;
            }
            if now >= self.deadline {
                // If the bell no longer has the number, the shim has taken the request.
                let after = if when == When::Now { 0 } else { number };
                if bell.compare_exchange(number, after, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    self.set(control::MADE, after);
                    return Ok(None);
                }
                if now >= self.deadline + LONG {
                    return Err(failure(
                        NOT_DONE,
                        format!(
                            "{}: the request was taken but not answered; its control pages may be damaged",
                            self.target
                        ),
                    ));
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    fn read(&self, number: u64) -> Answer {
        let (status, done) = (self.get(control::STATUS), self.get(control::DONE));
        let place = [control::ANSWER, control::ANSWER_BYTES, control::ANSWER_LENGTH, control::ANSWER_CHECK];
        match self.text(number, place) {
            Some(text) => Answer {
                status,
                done: usize::try_from(done).unwrap_or(usize::MAX),
                text: String::from_utf8_lossy(&text).into_owned(),
            },
            None => Answer { status: status::REFUSED, done: 0, text: "its answer is damaged".into() },
        }
    }
}

fn check_process(target: &Target) -> Result<(), Failure> {
    let how = match target.state() {
        State::Ended => "it ended without an answer",
        State::Replaced => "it became another program (exec) without an answer",
        State::Runs | State::Stopped => return Ok(()),
    };
    Err(failure(NOT_DONE, format!("{target}: {how}")))
}

/// Restores the pending orders, unless a request has included them.
impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.put_back(&self.standing);
    }
}

struct Answer {
    status: u64,
    done: usize,
    text: String,
}
