//! Whether a call may be made within the limits.
//!
//! Before it is made, a call reserves what it needs (ledger/reservations.rs, session.rs), from the
//! narrowest count to the widest. It is made only with all of its reservations, so the limit is
//! never exceeded, however many threads race. If the kernel refuses the call, its reservations are
//! released after it.

use crate::sync::Ordering;
use core::cell::Cell;
use core::fmt::Write;

use epollshim_format::faults::MAX_EVENTS;
use epollshim_format::function::{Function, Functions};
use epollshim_format::kernel_memory;
use epollshim_format::limits::{OnLimit, OnSize};
use libc::c_int;

use super::{Key, ON_LIMIT, ON_SIZE, WARNED, limit, mirror_counts, reached, tally};
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

/// The result of checking a call.
pub enum Verdict {
    /// It may be made. This much is reserved for it.
    Go(Prepaid),
    /// It would exceed this limit. Nothing is reserved.
    Refused(Key),
    /// It would exceed a limit, but the kernel, asked just now, would refuse it anyway, with this
    /// errno. Nothing is reserved.
    Objected(c_int),
}

/// Whether limits apply to a call.
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

/// Reserves what a call needs, except descriptors ([`take_room`]).
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

/// How many descriptors a call creates if it succeeds. 0: none, or the descriptor that it should
/// copy or query is not open.
fn descriptors_of(frame: &Frame, function: Function) -> u32 {
    if !Functions::MAKE_DESCRIPTORS.has(function) {
        return 0;
    }
    let first = frame.int(0);
    let is_made = match function {
        Function::Fcntl => matches!(frame.int(1), libc::F_DUPFD | libc::F_DUPFD_CLOEXEC),
        // With a descriptor, it changes that one's mask.
        Function::Signalfd => first == -1,
        // The new file takes the number of the old one.
        Function::Freopen => crate::streams::descriptor_of(frame.word(2)).is_none_or(|fd| !census::is_alive(fd)),
        // A number that is open is replaced.
        Function::Dup2 | Function::Dup3 => first != frame.int(1) && !census::is_alive(frame.int(1)),
        _ => true,
    };
    // The kernel refuses the call (EBADF) before it looks for a free number.
    let is_in_vain = Functions::TAKE_DESCRIPTORS.has(function) && first != libc::AT_FDCWD && !sys::is_open(first);
    match is_made && !is_in_vain {
        // When popen returns, it has closed the other end of its pipe. Until then both are open.
        true if Functions::MAKE_PAIRS.has(function) || function == Function::Popen => 2,
        is_made => u32::from(is_made),
    }
}

/// Reserves room for the descriptors that a call may create. Ok: how many these are. Err: refused.
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

/// The `maxevents` of a wait: what the program asked for, or the limit if that is lower.
pub fn most_events(asked: c_int) -> c_int {
    let most = limit(Key::Events).and_then(|most| c_int::try_from(most).ok()).unwrap_or(c_int::MAX);
    if asked > most && asked <= MAX_EVENTS {
        if let Some(tally) = tally(Key::Events) {
            tally.let_through.fetch_add(1, Ordering::Relaxed);
            mirror_counts();
        }
        return most;
    }
    asked
}

/// Reserves by `charge` within a limit. If there is no room, it first lets the ledger settle and
/// looks for what is gone. `beyond`: the name of the call for the warning, if it may exceed the
/// limit. Ok: reserved; the new sum. Err: refused.
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
        mirror_counts();
    }
    warn_once(key, most, name, "let through");
}

/// Whether a breach is only reported, and the call let through.
fn warns(key: Key) -> bool {
    key == Key::Size && ON_SIZE.load(Ordering::Relaxed) == OnSize::Warn as u8
        || ON_LIMIT.load(Ordering::Relaxed) == OnLimit::Warn as u8
}

#[cold]
#[inline(never)]
fn warn_once(key: Key, most: u64, name: &str, what: &str) {
    if WARNED.fetch_or(1 << key as u32, Ordering::Relaxed) & 1 << key as u32 == 0 {
        output::tell(|line| {
            let _ = match key {
                Key::Size => write!(line, "epollshim: the size of {most} promised to epoll_create"),
                _ => write!(line, "epollshim: limit {}={most}", key.name()),
            };
            let _ = writeln!(
                line,
                " reached in process {}: {name} {what}; printed once, counted in the report",
                sys::getpid()
            );
        });
    }
}

fn admit_instance(frame: &Frame, function: Function) -> Verdict {
    let argument = frame.int(0);
    let is_valid = if function == Function::EpollCreate { argument > 0 } else { argument & !libc::EPOLL_CLOEXEC == 0 };
    if !is_valid {
        // The kernel refuses it (EINVAL).
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

/// An ADD, in messages.
const AN_ADD: &str = "an EPOLL_CTL_ADD";

fn admit_watch(frame: &Frame) -> Verdict {
    let of = match ledger::instance_for_limit(frame.int(0)) {
        // The kernel refuses it.
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
        // This limit only warns. Another limit may still refuse the call.
        None => charge_a_watch(of, true).map_or_else(Verdict::Refused, Verdict::Go),
    }
}

/// Reserves a watch: of the instance (if its record is available now), of the process, and of the
/// user. `known`: the kernel is known to accept the call, so that it may exceed limits that only
/// warn.
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

/// Reserves a watch of an instance. Ok: the life of the instance's record.
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

/// Why the kernel would refuse an ADD.
enum Objection {
    /// If the call is made, the kernel refuses it.
    Lasting,
    /// The kernel refused a probe with this errno. Another thread may make the arguments valid
    /// before the call is made, so it is not made.
    Now(c_int),
}

/// Why the kernel would refuse an ADD (EBADF, EPERM, EFAULT, EINVAL, EEXIST), as far as that is
/// known without making it. The kernel's checks come before a limit's. None: it would add, or fail
/// with ELOOP, for which only an ADD is checked.
///
/// An `epoll_ctl` with an unknown operation is checked like any other before it fails with EINVAL
/// (Linux v6.1 fs/eventpoll.c, `do_epoll_ctl`).
fn objection(frame: &Frame) -> Option<Objection> {
    let (epfd, fd) = (frame.int(0), frame.int(2));
    // An ADD of this thread may still be in the queue.
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

/// Whether an ADD asks for EPOLLEXCLUSIVE with bits that exclude it, or for an epoll instance
/// (Linux v6.1 fs/eventpoll.c, `do_epoll_ctl` and EPOLLEXCLUSIVE_OK_BITS).
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

/// Counts a refusal, after the call itself was counted. With `on-limit=abort` it ends the program.
pub fn refuse(key: Key, function: Function) {
    if let Some(tally) = tally(key) {
        tally.denied.fetch_add(1, Ordering::Relaxed);
        mirror_counts();
    }
    if ON_LIMIT.load(Ordering::Relaxed) == OnLimit::Abort as u8 {
        let name = if function == Function::EpollCtl { AN_ADD } else { function.name() };
        let most = limit(key).unwrap_or(0);
        warn_once(key, most, name, "refused, and the program aborted (on-limit=abort)");
        Library::aborts();
        // SAFETY: `real::abort` is the resolved `abort`, which has no precondition.
        unsafe { crate::real::abort()() };
    }
}
