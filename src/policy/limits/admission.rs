//! Whether a call may be made within the limits, and what becomes of it where not.
//!
//! A call charges what it needs before it is made (ledger/reservations.rs, session.rs), the narrowest count first, and gets
//! past a limit only with the charge in its hand: so no number of racing threads gets one too many. What is charged to a
//! call that the kernel then refuses is given back after it.

use crate::sync::Ordering;
use core::cell::Cell;
use core::fmt::Write;

use epollshim_format::faults::MAX_EVENTS;
use epollshim_format::function::{Function, Functions};
use epollshim_format::kernel_memory;
use epollshim_format::limits::{OnLimit, OnSize};
use libc::c_int;

use super::{Key, ON_LIMIT, ON_SIZE, TOLD, follow, limit, reached, tally};
use crate::above::Library;
use crate::frame::Frame;
use crate::ledger::Sought;
use crate::ledger::records::{Instance, Origin};
use crate::ledger::reservations::{self, Prepaid};
use crate::session::{self, Kind};
use crate::thread::Block;
use crate::{census, ledger, output, sys};

/// What this module needs of the layers above it.
pub trait Above {
    /// A limit is about to abort the process.
    fn aborts();
}

/// What comes of asking.
pub enum Verdict {
    /// Charged ahead.
    Go(Prepaid),
    /// It would exceed this limit. Nothing is charged.
    Refused(Key),
    /// It would exceed a limit, but the kernel has just said that it would refuse it with this errno. Nothing is charged.
    Objected(c_int),
}

/// Whether a call is one that limits look at.
pub fn concern(frame: &Frame, function: Function) -> bool {
    if limit(Key::Descriptors).is_some() && Functions::MAKE_DESCRIPTORS.has(function) {
        return true;
    }
    match function {
        Function::EpollCreate | Function::EpollCreate1 => true,
        Function::EpollCtl => frame.int(1) == libc::EPOLL_CTL_ADD,
        _ => function.waits() && limit(Key::Events).is_some(),
    }
}

/// Charges what a call needs.
pub fn admit(frame: &Frame, function: Function) -> Verdict {
    if !reservations::tracks() {
        return Verdict::Go(Prepaid::default());
    }
    if function.creates() {
        admit_instance(frame, function)
    } else if function == Function::EpollCtl && frame.int(1) == libc::EPOLL_CTL_ADD {
        admit_watch(frame)
    } else {
        Verdict::Go(Prepaid::default())
    }
}

/// How many descriptors a call makes, if it succeeds; 0: none, or it has a descriptor to copy or to ask that is none.
fn descriptors_of(frame: &Frame, function: Function) -> u32 {
    if !Functions::MAKE_DESCRIPTORS.has(function) {
        return 0;
    }
    let first = frame.int(0);
    let is_made = match function {
        Function::Fcntl => matches!(frame.int(1), libc::F_DUPFD | libc::F_DUPFD_CLOEXEC),
        // It changes the one that it is given.
        Function::Signalfd => first == -1,
        // It puts what it opens in the old one's place.
        Function::Freopen => crate::streams::descriptor_of(frame.word(2)).is_none_or(|fd| !census::is_alive(fd)),
        // Onto a number that is open it makes none.
        Function::Dup2 | Function::Dup3 => first != frame.int(1) && !census::is_alive(frame.int(1)),
        _ => true,
    };
    // The kernel refuses it for a reason of its own (EBADF), before it looks for a number.
    let is_in_vain = Functions::TAKE_DESCRIPTORS.has(function) && first != libc::AT_FDCWD && !sys::is_open(first);
    match is_made && !is_in_vain {
        // Of popen's pipe the other end is gone when it returns.
        true if Functions::MAKE_PAIRS.has(function) || function == Function::Popen => 2,
        is_made => u32::from(is_made),
    }
}

/// Takes room for the descriptors that a call may make. Err: refused. Ok: how many they are.
#[cold]
#[inline(never)]
pub fn take_room(frame: &Frame, function: Function, block: &Block) -> Result<u32, Key> {
    let key = Key::Descriptors;
    let Some(most) = limit(key) else { return Ok(0) };
    let count = descriptors_of(frame, function);
    if count == 0 {
        return Ok(0);
    }
    let sum = match census::take_room(block, count, most) {
        Ok(sum) => sum,
        Err(()) if warns(key) => {
            let_through(key, most, function.name());
            census::take_room(block, count, u64::MAX).unwrap_or(0)
        }
        Err(()) => return Err(key),
    };
    reached(key, sum);
    Ok(count)
}

/// The lowest `maxevents` that a limit asks for.
pub fn most_events(asked: c_int) -> c_int {
    let most = limit(Key::Events).and_then(|most| c_int::try_from(most).ok()).unwrap_or(c_int::MAX);
    if asked > most && asked <= MAX_EVENTS {
        if let Some(tally) = tally(Key::Events) {
            tally.let_through.fetch_add(1, Ordering::Relaxed);
            follow();
        }
        return most;
    }
    asked
}

/// Asks `charge` for one more within a limit. Err: refused, unless it may go `beyond` (the name of the call, for the
/// message). Ok: charged.
fn ask(key: Key, beyond: Option<&str>, charge: impl Fn(Option<u64>) -> Result<u64, ()>) -> Result<u64, Key> {
    let most = limit(key);
    let is_users = matches!(key, Key::UserInstances | Key::UserWatches);
    let charged = ledger::when_settled(|| charge(most))
        .or_else(|()| if is_users && session::reclaim() { charge(most) } else { Err(()) })
        .or_else(|()| if ledger::look_for_the_gone() { ledger::when_settled(|| charge(most)) } else { Err(()) });
    let sum = match (charged, beyond) {
        (Ok(sum), _) => sum,
        (Err(()), None) => return Err(key),
        (Err(()), Some(name)) => {
            let_through(key, most.unwrap_or(0), name);
            charge(None).unwrap_or(0)
        }
    };
    if most.is_some() {
        reached(key, sum);
    }
    Ok(sum)
}

#[cold]
#[inline(never)]
fn let_through(key: Key, most: u64, name: &str) {
    if let Some(tally) = tally(key) {
        tally.let_through.fetch_add(1, Ordering::Relaxed);
        follow();
    }
    tell_once(key, most, name, "let through");
}

/// Whether a breach is to be told, and no more.
fn warns(key: Key) -> bool {
    key == Key::Size && ON_SIZE.load(Ordering::Relaxed) == OnSize::Warn as u8
        || ON_LIMIT.load(Ordering::Relaxed) == OnLimit::Warn as u8
}

#[cold]
#[inline(never)]
fn tell_once(key: Key, most: u64, name: &str, what: &str) {
    if TOLD.fetch_or(1 << key as u32, Ordering::Relaxed) & 1 << key as u32 == 0 {
        output::tell(|line| {
            let _ = match key {
                Key::Size => write!(line, "epollshim: the size of {most} promised to epoll_create"),
                _ => write!(line, "epollshim: limit {}={most}", key.name()),
            };
            let _ = writeln!(
                line,
                " reached in process {}: {name} {what}; said once, counted in the report",
                sys::getpid()
            );
        });
    }
}

fn admit_instance(frame: &Frame, function: Function) -> Verdict {
    let argument = frame.int(0);
    let is_valid = if function == Function::EpollCreate { argument > 0 } else { argument & !libc::EPOLL_CLOEXEC == 0 };
    if !is_valid {
        // The kernel refuses it for a reason of its own.
        return Verdict::Go(Prepaid::default());
    }
    let beyond = warns(Key::Instances).then_some(function.name());
    match charge_an_instance(beyond) {
        Ok(prepaid) => Verdict::Go(prepaid),
        Err(key) => Verdict::Refused(key),
    }
}

fn charge_an_instance(beyond: Option<&str>) -> Result<Prepaid, Key> {
    ask(Key::Instances, beyond, reservations::charge_instance)?;
    let charged = ask(Key::Memory, beyond, |most| reservations::charge_bytes(kernel_memory::INSTANCE, most));
    let user = reservations::tracks_user();
    let claimed = charged.and_then(|_| {
        let claim = |most| session::claim(Kind::Instances, most);
        if user { ask(Key::UserInstances, beyond, claim) } else { Ok(0) }
    });
    if let Err(key) = claimed {
        reservations::give_back_instance();
        if key == Key::UserInstances {
            reservations::give_back_bytes(kernel_memory::INSTANCE);
        }
        return Err(key);
    }
    Ok(Prepaid { instance: true, user, ..Prepaid::default() })
}

/// In messages.
const AN_ADD: &str = "an EPOLL_CTL_ADD";

fn admit_watch(frame: &Frame) -> Verdict {
    let of = match ledger::instance_for_limit(frame.int(0)) {
        // The kernel refuses.
        Sought::NoEpoll => return Verdict::Go(Prepaid::default()),
        Sought::Known(index, instance) => Some((index, instance)),
        Sought::NotNow => None,
    };
    let key = match charge_a_watch(of, false) {
        Ok(prepaid) => return Verdict::Go(prepaid),
        Err(key) => key,
    };
    match objection(frame) {
        Some(Objection::Lasting) => Verdict::Go(Prepaid::default()),
        Some(Objection::Now(error)) => Verdict::Objected(error),
        None if !warns(key) => Verdict::Refused(key),
        // Another of its limits may be one that refuses.
        None => charge_a_watch(of, true).map_or_else(Verdict::Refused, Verdict::Go),
    }
}

/// Charges a watch to an instance (if it is to be had now), to the process, and to the user; past a limit that only warns,
/// if it is `known` that the kernel has nothing against it.
fn charge_a_watch(of: Option<(u32, &Instance)>, known: bool) -> Result<Prepaid, Key> {
    let beyond = |key| (known && warns(key)).then_some(AN_ADD);
    let life = of.map(|(_, instance)| charge_to(instance, &beyond)).transpose()?;
    let back = |key: Key| {
        if let (Some((_, instance)), Some(life)) = (of, life) {
            reservations::give_back_to(instance, life);
        }
        key
    };
    ask(Key::Watches, beyond(Key::Watches), reservations::charge_watch).map_err(back)?;
    let back = |key: Key| {
        reservations::give_back_watch();
        back(key)
    };
    let bytes = kernel_memory::INTEREST;
    ask(Key::Memory, beyond(Key::Memory), |most| reservations::charge_bytes(bytes, most)).map_err(back)?;
    let user = reservations::tracks_user();
    if user {
        let claim = |most| session::claim(Kind::Watches, most);
        ask(Key::UserWatches, beyond(Key::UserWatches), claim).map_err(|key| {
            reservations::give_back_bytes(bytes);
            back(key)
        })?;
    }
    let of = of.map_or(0, |(index, _)| index);
    Ok(Prepaid { watch: true, user, of, life: life.unwrap_or(0), ..Prepaid::default() })
}

/// Charges a watch to its instance. Ok: the life of its record.
fn charge_to(instance: &Instance, beyond: &impl Fn(Key) -> Option<&'static str>) -> Result<u32, Key> {
    let life = Cell::new(0);
    let charged = ask(Key::InstanceWatches, beyond(Key::InstanceWatches), |most| {
        let (sum, of) = reservations::charge_to(instance, most)?;
        life.set(of);
        Ok(sum)
    })?;
    let is_by_size = instance.origin.load(Ordering::Relaxed) == Origin::Create as u8;
    let size = u64::try_from(instance.argument.get()).unwrap_or(0);
    if !is_by_size || ON_SIZE.load(Ordering::Relaxed) == 0 {
        return Ok(life.get());
    }
    if charged > size {
        let Some(name) = beyond(Key::Size) else {
            reservations::give_back_to(instance, life.get());
            return Err(Key::Size);
        };
        let_through(Key::Size, size, name);
    }
    reached(Key::Size, charged);
    Ok(life.get())
}

/// Why the kernel would not add what an ADD asks for.
enum Objection {
    /// Made, the call is refused.
    Lasting,
    /// For this reason, a moment ago: another thread may make the call a good one before it is made.
    Now(c_int),
}

/// What the kernel would refuse an ADD for (EBADF, EPERM, EFAULT, EINVAL, EEXIST), as far as can be known without making
/// it: that comes before a limit. None: it would add. (It would say ELOOP, too, which nothing but an ADD can ask for.)
///
/// An `epoll_ctl` with an unknown operation is checked like any other before it fails with EINVAL (Linux v6.1
/// fs/eventpoll.c, `do_epoll_ctl`).
fn objection(frame: &Frame) -> Option<Objection> {
    let (epfd, fd) = (frame.int(0), frame.int(2));
    // This thread's own ADD may still wait as a note.
    let is_watched = || if ledger::is_watched(epfd, fd) { Ok(()) } else { Err(()) };
    if epfd == fd || ledger::when_settled(is_watched).is_ok() {
        return Some(Objection::Lasting);
    }
    match sys::probe_epoll_ctl(epfd, fd, frame.word(3)) {
        Err(libc::EINVAL) if is_exclusive_in_vain(frame) => Some(Objection::Now(libc::EINVAL)),
        Err(libc::EINVAL) | Ok(_) => None,
        Err(error) => Some(Objection::Now(error)),
    }
}

/// Whether an ADD asks for EPOLLEXCLUSIVE where it cannot be had: with some other bits, or in an epoll (Linux v6.1
/// fs/eventpoll.c, `do_epoll_ctl` and EPOLLEXCLUSIVE_OK_BITS).
fn is_exclusive_in_vain(frame: &Frame) -> bool {
    const WITH: c_int = libc::EPOLLIN
        | libc::EPOLLOUT
        | libc::EPOLLERR
        | libc::EPOLLHUP
        | libc::EPOLLWAKEUP
        | libc::EPOLLET
        | libc::EPOLLEXCLUSIVE;
    crate::policy::effects::asked_for(frame).is_some_and(|events| {
        events & libc::EPOLLEXCLUSIVE as u32 != 0
            && (events & !(WITH as u32) != 0 || crate::procfs::is_epoll(frame.int(2)))
    })
}

/// Counts a refusal, once the call itself was counted; ends the program if that is wanted.
pub fn refuse(key: Key, function: Function) {
    if let Some(tally) = tally(key) {
        tally.denied.fetch_add(1, Ordering::Relaxed);
        follow();
    }
    if ON_LIMIT.load(Ordering::Relaxed) == OnLimit::Abort as u8 {
        let name = if function == Function::EpollCtl { AN_ADD } else { function.name() };
        let most = limit(key).unwrap_or(0);
        tell_once(key, most, name, "refused, and the program aborted (on-limit=abort)");
        Library::aborts();
        // SAFETY: ends the process, as the option's user asked.
        unsafe { crate::real::abort()() };
    }
}
