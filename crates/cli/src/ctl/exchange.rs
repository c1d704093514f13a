//! A request in the control pages, and its answer (`epollshim_format::control`).
//!
//! One command at a time, by a lock on the recording that the shim does not look at. A request that stands from before is
//! taken back, and put in front of the new one: what was asked for first is done first.

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
    /// It is taken back.
    Now,
    /// It stands.
    Sometime,
}

pub enum Outcome {
    /// All of it was done; what the shim says to that.
    Done(String),
    Refused(String),
    /// No call has returned in time.
    NotTaken,
}

/// How often the answer is looked for, and the process.
const LOOK: Duration = Duration::from_millis(2);
const LOOK_AT_PROCESS: Duration = Duration::from_millis(100);
/// How long a request that was taken may last: a comparison with the kernel asks for every descriptor.
const LONG: Duration = Duration::from_secs(30);

pub struct Exchange<'a> {
    target: &'a Target,
    pages: sys::Shared,
    deadline: Instant,
    /// What stood when it began.
    standing: Vec<Vec<u8>>,
}

impl<'a> Exchange<'a> {
    /// Takes the lock, and what stands.
    pub fn begin(target: &'a Target, wait: Duration) -> Result<Exchange<'a>, Failure> {
        let deadline = Instant::now() + wait;
        let trouble = |error| failure(NOT_DONE, format!("{}: {}", target.shown_path(), reason(&error)));
        while !sys::lock(&target.file).map_err(trouble)? {
            check_process(target)?;
            if Instant::now() >= deadline {
                return Err(failure(NOT_DONE, format!("{target}: another epollshim ctl is talking to it")));
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

    /// Has the orders carried out, behind those that stand.
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
                // The numbers may have been damaged: they are right now.
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

    /// The text at a place, if its checksum is that of a number.
    fn text(&self, number: u64, [place, most, length, check]: [usize; 4]) -> Option<Vec<u8>> {
        let length = usize::try_from(self.get(length)).ok().filter(|length| *length <= most)?;
        let mut text: Vec<u8> =
            (0..length.div_ceil(8)).flat_map(|index| self.get(place + index * 8).to_le_bytes()).collect();
        text.truncate(length);
        (self.checksum(number, &text) == self.get(check)).then_some(text)
    }

    /// Takes back what stands: what the shim has not taken is not carried out. What it has taken is waited for.
    fn take_back(&mut self) -> Result<(), Failure> {
        let bell = self.pages.word(control::BELL);
        let number = bell.load(Ordering::Acquire);
        if number != 0 && bell.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let place = [control::REQUEST, control::REQUEST_BYTES, control::LENGTH, control::CHECK];
            // Damaged: it would not have been carried out.
            let text = self.text(number, place).unwrap_or_default();
            self.set(control::MADE, 0);
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            self.standing = lines.map(<[u8]>::to_vec).collect();
            return Ok(());
        }
        let number = if number == 0 { self.get(control::MADE) } else { number };
        let since = Instant::now();
        // Its text is being read. For a second at most: the numbers may be damaged, or of a process that was killed amid it.
        while self.pages.word(control::ANSWERED).load(Ordering::Acquire) != number
            && number != 0
            && since.elapsed() < Duration::from_secs(1)
        {
            self.check()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Fails where the recording no longer has its control pages, and where the process can no longer answer.
    fn check(&self) -> Result<(), Failure> {
        if !self.target.has_its_control_pages() {
            return Err(self.lost());
        }
        self.check_pages()?;
        check_process(self.target)
    }

    /// Fails where an access to the pages has failed: what was read there is not the shim's.
    fn check_pages(&self) -> Result<(), Failure> {
        if self.pages.is_lost() { Err(self.lost()) } else { Ok(()) }
    }

    fn lost(&self) -> Failure {
        failure(
            NOT_DONE,
            format!(
                "{}: its recording {} was truncated or overwritten: it can no longer be steered, and its next recorded \
                 call may end it (SIGBUS)",
                self.target,
                self.target.shown_path()
            ),
        )
    }

    fn put_back(&self, lines: &[Vec<u8>]) {
        if !lines.is_empty() {
            // It has stood there before: there is room.
            let _ = self.ring(lines);
        }
    }

    /// Writes a request, and rings. Its number.
    fn ring(&self, lines: &[Vec<u8>]) -> Result<u64, Failure> {
        let text = lines.join(&b'\n');
        if text.len() > control::REQUEST_BYTES {
            let most = control::REQUEST_BYTES;
            return Err(Failure::of_use(format!(
                "{}: {} bytes of orders, with those that stand; at most {most}",
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
        // Release: who finds the number finds what stands behind it.
        self.pages.word(control::BELL).store(number, Ordering::Release);
        Ok(number)
    }

    /// Waits for an answer. None: the request was not taken in time; it was taken back, or stands.
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
                // If it is not there any more, it was taken.
                let after = if when == When::Now { 0 } else { number };
                if bell.compare_exchange(number, after, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    self.set(control::MADE, after);
                    return Ok(None);
                }
                if now >= self.deadline + LONG {
                    return Err(failure(
                        NOT_DONE,
                        format!("{}: the request was taken, and not answered: damaged control pages?", self.target),
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
        State::Ended => "it has ended, and not answered",
        State::Replaced => "it became another program (exec), and has not answered",
        State::Runs | State::Stopped => return Ok(()),
    };
    Err(failure(NOT_DONE, format!("{target}: {how}")))
}

/// What stood stands again, if nothing was put behind it.
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
