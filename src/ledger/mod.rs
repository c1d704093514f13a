//! The ledger: descriptors, open file descriptions, epoll instances, interests, and what is counted of them.
//!
//! This file is what hooks and reports call. Hooks tell it what the real calls returned; it never decides
//! anything for them. A counted call (wait, MOD, a failure, a descriptor that no epoll knows) reads a few words
//! and takes no gate; a change of the ledger takes the gate (gate.rs) and never waits for it.

mod births;
pub mod charges;
pub mod closings;
pub mod core;
pub mod counters;
mod descriptors;
pub mod family;
mod gate;
mod pool;
mod reconcile;
pub mod records;

use ::core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use self::charges::Owed;
use self::core::{Core, Creation, QUEUED, Registration, Ticket};
use self::counters::WaitEnd;
use self::descriptors::Slot;
use self::gate::Gate;
use crate::thread::Block;
use crate::{clock, process, record, sys, thread};

pub use reconcile::reconcile;

static CORE: Core = Core::new();
static GATE: Gate<Change> = Gate::new();

/// A change of the ledger, as it waits in the gate's queue when the gate is taken.
#[derive(Clone, Copy)]
enum Change {
    Created {
        fd: i32,
        creation: Creation,
        ahead: u64,
    },
    Adopted {
        fd: i32,
    },
    /// An interest is about to be added; the serial number is promised to its record.
    Adding(Registration, u32, u64),
    Confirmed(Registration),
    Added(Registration),
    Found(Registration),
    Existed(Registration, Ticket),
    Undone(Registration, Ticket),
    Deleted {
        epfd: i32,
        fd: i32,
    },
    /// `at` is the return address of the call, here and below; 0: not known.
    Closed {
        fd: i32,
        at: usize,
    },
    ClosedRange {
        first: i32,
        last: i32,
        at: usize,
    },
    /// The same, by a thread that will say when the kernel has done it: limits count till then.
    ClosedFor {
        first: i32,
        last: i32,
        at: usize,
        closer: &'static Owed,
    },
    DoneClosing {
        closer: &'static Owed,
    },
    Duplicated {
        old: i32,
        new: i32,
        at: usize,
    },
    Gone {
        epfd: i32,
        fd: i32,
    },
    /// The kernel does not have what this word stands for.
    NotThere {
        fd: i32,
        slot: Slot,
    },
}

fn apply(change: Change) {
    CORE.totals.version.add(1);
    match change {
        Change::Created { fd, creation, ahead: 0 } => CORE.created(fd, creation),
        Change::Created { fd, creation, ahead } => charged(ahead, || CORE.created(fd, creation)),
        Change::Adopted { fd } => drop(CORE.adopt(fd)),
        Change::Adding(registration, serial, ahead) => {
            charged(ahead, || CORE.reserve_as(&registration, serial));
        }
        Change::Confirmed(registration) => CORE.confirmed(&registration),
        Change::Added(registration) => CORE.added(&registration),
        Change::Found(registration) => CORE.found(&registration),
        Change::Existed(registration, ticket) => CORE.existed(&registration, ticket),
        Change::Undone(registration, ticket) => CORE.undo(&registration, ticket),
        Change::Deleted { epfd, fd } => CORE.deleted(epfd, fd),
        Change::Closed { fd, at } => CORE.closed(fd, Some(at)),
        Change::ClosedRange { first, last, at } => CORE.closed_range(first, last, at),
        Change::ClosedFor { first, last, at, closer } => {
            charges::on_behalf_of(closer, || CORE.closed_range(first, last, at));
        }
        Change::DoneClosing { closer } => closer.settle(|index| CORE.instance_at(index)),
        Change::Duplicated { old, new, at } => CORE.duplicated(old, new, at),
        Change::Gone { epfd, fd } => CORE.gone(epfd, fd),
        Change::NotThere { fd, slot } => {
            // Asked again: the number, and the records, may have come back to life since. Whoever closes a number that the
            // ledger knows says so first, so that one which is known here, and not there, was closed out of sight.
            if CORE.descriptors.get(fd) == slot && !is_there(fd, slot) {
                CORE.heal(fd);
            }
        }
    }
}

#[cold]
#[inline(never)]
fn charged<T>(ahead: u64, apply: impl FnOnce() -> T) -> T {
    charges::with(ahead, |index| CORE.instance_at(index), apply)
}

/// Makes a change, after those that wait; or lets it wait itself.
#[inline(always)]
fn change(change: Change) {
    let token = thread::token();
    if GATE.is_quiet() && GATE.enter(token) {
        apply(change);
        leave(token);
    } else {
        queue(change, token);
    }
}

#[cold]
#[inline(never)]
fn queue(change: Change, token: usize) {
    if GATE.is_crowded() && GATE.holder() != token {
        let_the_holder_work();
    }
    if !GATE.leave_note(change) {
        if enter_or_seize(token) {
            leave(token);
        }
        if !GATE.leave_note(change) {
            CORE.totals.lost.add(1);
            return;
        }
    }
    if GATE.enter(token) {
        leave(token);
    }
}

/// The holder waits for a processor, or is kept from its work by handlers of its own: let it have this one. (The only other
/// way would be to lose changes.) Where it has done nothing for a second, the program is not held up for it any more.
#[cold]
#[inline(never)]
fn let_the_holder_work() {
    /// How many notes were applied when somebody looked last, and since when it has been so many (CLOCK_MONOTONIC).
    static APPLIED: AtomicUsize = AtomicUsize::new(0);
    static SINCE: AtomicU64 = AtomicU64::new(0);
    const LONG: u64 = 1_000_000_000;
    if !GATE.is_nearly_full() {
        return sys::yield_now();
    }
    let (applied, now) = (GATE.notes_applied(), clock::monotonic());
    if APPLIED.swap(applied, Ordering::Relaxed) != applied {
        SINCE.store(now, Ordering::Relaxed);
    } else if now.saturating_sub(SINCE.load(Ordering::Relaxed)) > LONG {
        return;
    }
    sys::sleep(200_000);
}

/// Enters the gate, also past a holder that will never leave it: this thread itself, whose frame was jumped out of
/// (siglongjmp), or a thread that ended inside (pthread_exit in a signal handler).
fn enter_or_seize(token: usize) -> bool {
    if GATE.enter(token) {
        return true;
    }
    let holder = GATE.holder();
    if holder != token && (holder == 0 || !thread::is_gone(holder)) || !GATE.seize(holder, token) {
        return false;
    }
    LATE.store(false, Ordering::Relaxed);
    // What it was at is half done. Reconciliation finds again what there is.
    CORE.forget_everything();
    true
}

/// Whether changes are followed by others than the ledger itself. Its short ways are not taken then.
static FOLLOWED_BY: AtomicU8 = AtomicU8::new(0);
/// By limits, by a recording.
const FOLLOWER: u8 = 1;
/// In the child of a fork: instances are there from before whose first use is to be noticed.
const USES: u8 = 2;

#[inline(always)]
fn is_followed() -> bool {
    FOLLOWED_BY.load(Ordering::Relaxed) != 0
}

/// For good.
pub fn follow() {
    FOLLOWED_BY.fetch_or(FOLLOWER, Ordering::Relaxed);
}

/// How many instances from before the fork this process has neither used nor closed.
static UNUSED: AtomicU32 = AtomicU32::new(0);

/// The next use of so many instances is to be noticed.
fn expect_uses(count: u32) {
    UNUSED.store(count, Ordering::Relaxed);
    if count == 0 {
        FOLLOWED_BY.fetch_and(!USES, Ordering::Relaxed);
    } else {
        FOLLOWED_BY.fetch_or(USES, Ordering::Relaxed);
    }
}

fn expect_one_use_less() {
    let _ = UNUSED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    if UNUSED.load(Ordering::Relaxed) == 0 {
        expect_uses(0);
    }
}

/// An instance is used in the child of a fork.
#[cold]
#[inline(never)]
fn used(instance: &records::Instance, epfd: i32, site: usize) {
    let (from, to) = (records::Instance::FROM_BEFORE, records::Instance::USED_SINCE);
    if instance.forked.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        family::tell_use(instance, epfd, site);
        expect_one_use_less();
    }
}

/// The same of a call of `epoll_ctl`.
#[inline(always)]
fn used_by_ctl(epfd: i32, site: usize) {
    if is_followed() {
        used_by_number(epfd, site);
    }
}

#[cold]
#[inline(never)]
fn used_by_number(epfd: i32, site: usize) {
    if let Some(instance) = CORE.instance_of(epfd) {
        used(instance, epfd, site);
    }
}

/// An interest was noted: those who follow are told.
#[cold]
#[inline(never)]
fn tell_interest(index: u32, interest: &records::Interest, instance: &records::Instance, epfd: i32) {
    // What reconciliation finds has no site: nobody uses anything then.
    if interest.site() != 0 {
        used(instance, epfd, interest.site() as usize);
    }
    if record::has_tables() {
        record::noted_interest(index, interest, instance.watches.get());
    }
}

/// Empties the queue and leaves the gate. A note that came between the two is looked for again.
#[inline(always)]
fn leave(token: usize) {
    if !GATE.is_quiet() {
        empty_queue();
    }
    if is_followed() {
        tell_totals();
    }
    GATE.leave();
    if !GATE.is_quiet() {
        leave_again(token);
    }
}

/// The same where nobody follows.
#[inline(always)]
fn leave_unfollowed(token: usize) {
    if !GATE.is_quiet() {
        empty_queue();
    }
    GATE.leave();
    // By a table, and not by a branch, which the compiler has jump over what is rare: see benches/branches.
    static THEN: [fn(usize); 2] = [|_| (), leave_again];
    if let Some(then) = THEN.get(usize::from(!GATE.is_quiet())) {
        then(token);
    }
}

#[cold]
#[inline(never)]
fn tell_totals() {
    if record::wants_tables() {
        record::begin_tables();
        CORE.mirror();
    }
    if record::has_tables() {
        record::changed_totals(&CORE.totals, CORE.memory());
    }
}

#[cold]
#[inline(never)]
fn empty_queue() {
    LATE.store(true, Ordering::Relaxed);
    while GATE.apply_note(apply) {}
    LATE.store(false, Ordering::Relaxed);
}

#[cold]
#[inline(never)]
fn leave_again(token: usize) {
    while GATE.has_note() && GATE.enter(token) {
        empty_queue();
        GATE.leave();
    }
}

/// A waiting note is being applied: its numbers may have changed hands since it was left. Written by the gate's holder.
static LATE: AtomicBool = AtomicBool::new(false);

/// Whether what is told happens now.
fn is_timely() -> bool {
    !LATE.load(Ordering::Relaxed)
}

/// Whether two descriptors refer to one open file description; None: the kernel will not say (kcmp(2) is missing or
/// forbidden), or would speak of another moment. A number that is not open is nobody's twin.
fn are_twins(fd: i32, other: i32) -> Option<bool> {
    // Relaxed: set and cleared by the same holder, which is the one that asks.
    if !is_timely() {
        return None;
    }
    match sys::same_description(process::pid(), fd, other) {
        Ok(same) => Some(same),
        Err(libc::EBADF) => Some(false),
        Err(_) => None,
    }
}

// ---- what hooks tell ----

/// An `epoll_create*` returned a descriptor.
#[cold]
pub fn created(block: &Block, fd: i32, creation: Creation) {
    if process::is_own() {
        let is_first = family::prepare();
        let ahead = block.ahead.swap(0, Ordering::Relaxed);
        change(Change::Created { fd, creation, ahead });
        if is_first {
            look_for_handed_on(fd);
        }
    }
}

/// This program has made its first instance, `fd`: which were there before it? What was handed on by exec has no
/// close-on-exec flag. Only low numbers are looked at, and only by calls that the program makes itself.
#[cold]
fn look_for_handed_on(fd: i32) {
    const LOW: i32 = 128;
    for other in (3..LOW).filter(|other| *other != fd) {
        if sys::passes_exec(other) && !CORE.descriptors.get(other).is_known() && sys::is_epoll_without(other, fd) {
            change(Change::Adopted { fd: other });
            if let Some(instance) = CORE.instance_of(other) {
                instance.inherited.store(records::Instance::FROM_EXEC, Ordering::Relaxed);
            }
        }
    }
}

/// Before an exec, of this process or of a child in its memory: the instances that it hands on.
#[cold]
pub fn before_exec(site: usize, is_executable: impl FnOnce() -> bool) {
    if !family::exists() {
        return;
    }
    let handed_on = || {
        (0..=CORE.descriptors.highest())
            .filter_map(|fd| Some((fd, CORE.instance_of(fd)?)))
            .filter(|(fd, _)| sys::passes_exec(*fd))
    };
    if handed_on().next().is_some() && is_executable() {
        handed_on().for_each(|(fd, instance)| family::tell_exec(instance, fd, site));
    }
}

/// How many instances were made by a call that returns to `site`; None: not known.
pub fn made_at(site: usize) -> Option<u64> {
    births::at(site)
}

/// Before the real `EPOLL_CTL_ADD`: the interest is noted first, so that another thread that already gets its
/// events and closes the descriptor comes second in the ledger too. `keep` is given its ticket's word.
#[inline(always)]
pub fn adding(registration: &Registration, keep: impl FnOnce(u64)) {
    let token = thread::token();
    if !GATE.is_quiet() || !GATE.enter(token) {
        return keep(adding_later(registration, token));
    }
    if !is_followed()
        && let Some(ticket) = CORE.reserve_at_once(registration)
    {
        keep(ticket);
        return leave_unfollowed(token);
    }
    keep(adding_rarely(registration, token));
}

/// The same in every other case, by the holder of the gate.
#[cold]
#[inline(never)]
fn adding_rarely(registration: &Registration, token: usize) -> u64 {
    CORE.totals.version.add(1);
    let ahead = thread::block().map_or(0, |block| block.ahead.swap(0, Ordering::Relaxed));
    let ticket = if ahead == 0 { CORE.reserve(registration) } else { charged(ahead, || CORE.reserve(registration)) };
    leave(token);
    ticket
}

#[cold]
#[inline(never)]
fn adding_later(registration: &Registration, token: usize) -> u64 {
    static PROMISED: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only that no two are the same matters.
    let serial = PROMISED.fetch_add(1, Ordering::Relaxed) | QUEUED;
    let ahead = thread::block().map_or(0, |block| block.ahead.swap(0, Ordering::Relaxed));
    queue(Change::Adding(*registration, serial, ahead), token);
    Ticket::Queued { serial }.to_word()
}

/// After it, if it succeeded and the record was not made at once.
#[cold]
#[inline(never)]
pub fn added_late(registration: &Registration, ticket: Ticket) {
    if matches!(ticket, Ticket::Queued { .. }) {
        change(Change::Confirmed(*registration));
    } else if CORE.instance_of(registration.epfd).is_some() || process::is_own() {
        change(Change::Added(*registration));
    }
}

/// After it, if it failed.
#[cold]
pub fn not_added(registration: &Registration, ticket: Ticket, error: i32) {
    used_by_ctl(registration.epfd, registration.site);
    match (ticket, error) {
        (Ticket::None, libc::EEXIST) if CORE.find(registration.epfd, registration.fd).is_none() => {
            if process::is_own() {
                change(Change::Found(*registration));
            }
        }
        (Ticket::None, _) => {}
        (ticket, libc::EEXIST) => change(Change::Existed(*registration, ticket)),
        (ticket, _) => change(Change::Undone(*registration, ticket)),
    }
    if error == libc::EBADF {
        look_for_dead(registration.epfd, registration.fd);
    }
}

/// An `EPOLL_CTL_DEL` succeeded.
#[inline(always)]
pub fn deleted(epfd: i32, fd: i32, site: usize) {
    if CORE.instance_of(epfd).is_none() {
        return deleted_unknown(epfd, fd);
    }
    let token = thread::token();
    if !GATE.is_quiet() || !GATE.enter(token) {
        return queue(Change::Deleted { epfd, fd }, token);
    }
    if !is_followed() && CORE.deleted_at_once(epfd, fd) {
        return leave_unfollowed(token);
    }
    deleted_rarely(epfd, fd, site, token);
}

/// The same in every other case, by the holder of the gate.
#[cold]
#[inline(never)]
fn deleted_rarely(epfd: i32, fd: i32, site: usize, token: usize) {
    used_by_ctl(epfd, site);
    CORE.totals.version.add(1);
    CORE.deleted(epfd, fd);
    leave(token);
}

#[cold]
#[inline(never)]
fn deleted_unknown(epfd: i32, fd: i32) {
    if process::is_own() {
        change(Change::Deleted { epfd, fd });
    }
}

/// An `EPOLL_CTL_MOD` or `EPOLL_CTL_DEL` failed.
#[cold]
pub fn not_changed(epfd: i32, fd: i32, error: i32, site: usize) {
    used_by_ctl(epfd, site);
    match error {
        // The kernel does not know the pair that the ledger knows: the number has another file now.
        libc::ENOENT if CORE.find(epfd, fd).is_some() && process::is_own() => change(Change::Gone { epfd, fd }),
        libc::EBADF => look_for_dead(epfd, fd),
        _ => {}
    }
}

/// One of two descriptors is not open, says the kernel: which, if the ledger believes in it?
fn look_for_dead(epfd: i32, fd: i32) {
    for fd in [epfd, fd] {
        let slot = CORE.descriptors.get(fd);
        if slot.is_known() && !sys::is_open(fd) && process::is_own() {
            change(Change::NotThere { fd, slot });
        }
    }
}

/// Whether the kernel has a descriptor that may be what its word in the table says.
fn is_there(fd: i32, slot: Slot) -> bool {
    sys::is_open(fd) && (slot.instance() == 0 || crate::procfs::may_be_epoll(fd))
}

/// A wait ended. `owner` is the calling thread's block, `site` the return address, read
/// for the first wait alone.
#[inline(always)]
pub fn waited(epfd: i32, end: WaitEnd, owner: usize, site: &usize) {
    let Some(instance) = CORE.instance_of(epfd) else {
        if !matches!(end, WaitEnd::Failed { .. }) {
            waited_on_unknown(epfd, end, owner, site);
        }
        return;
    };
    if instance.owner.is_only(owner) {
        instance.alone.count_alone(end);
    } else {
        waited_amid_others(instance, epfd, end, owner, *site);
    }
}

/// The same for the first wait on an instance, and where several threads wait on it.
#[cold]
#[inline(never)]
fn waited_amid_others(instance: &records::Instance, epfd: i32, end: WaitEnd, owner: usize, site: usize) {
    if instance.owner.claim(owner) {
        instance.waiter.store(site, Ordering::Relaxed);
        if instance.forked.load(Ordering::Relaxed) == records::Instance::FROM_BEFORE {
            used(instance, epfd, site);
        }
        return instance.alone.count_alone(end);
    }
    if instance.owner.block() == owner {
        instance.alone.count_alone(end);
    } else {
        instance.owner.join();
        instance.shared.count_shared(end);
    }
    if let WaitEnd::Events { first, .. } = end {
        instance.doubles.waited(epfd, first);
    }
}

#[cold]
#[inline(never)]
fn waited_on_unknown(epfd: i32, end: WaitEnd, owner: usize, site: &usize) {
    if process::is_own() {
        change(Change::Adopted { fd: epfd });
        if CORE.instance_of(epfd).is_some() {
            waited(epfd, end, owner, site);
        }
    }
}

/// A wait failed with EBADF.
#[cold]
pub fn waited_on_bad(epfd: i32) {
    look_for_dead(epfd, -1);
}

/// Where a descriptor was added to an instance, if what it refers to now is watched there.
pub fn site_of(epfd: i32, fd: i32) -> Option<usize> {
    CORE.find(epfd, fd).map(|(_, interest)| interest.site() as usize)
}

/// Who is concerned with an instance.
pub struct Crowd {
    /// Its interests.
    pub watches: u64,
    /// The waits of the thread that waited first.
    pub waits: u64,
    /// Other threads have waited, too.
    pub is_shared: bool,
}

pub fn crowd_of(epfd: i32) -> Option<Crowd> {
    let instance = CORE.instance_of(epfd)?;
    let (waits, others) = (instance.alone.waits.get(), instance.shared.waits.get());
    Some(Crowd { watches: instance.watches.get(), waits, is_shared: others != 0 })
}

/// Whether the close of a descriptor is to be told before it is made, by `closing`.
#[inline(always)]
pub fn concerns(fd: i32) -> bool {
    // The gate first: once it is quiet, what this thread noted stands in the table.
    !GATE.is_quiet() || CORE.descriptors.get(fd).is_known()
}

/// The same, true also of what takes longer to find out.
#[inline(always)]
pub fn may_concern(fd: i32) -> bool {
    !GATE.is_quiet() || CORE.descriptors.low(fd).map_or(fd >= 0, |place| place.get().is_known())
}

/// Before the real close of a descriptor: whoever gets the number next must find it free. `at`: the call's return address.
#[cold]
#[inline(never)]
pub fn closing(fd: i32, at: usize) {
    if concerns(fd) && process::is_own() {
        change(Change::Closed { fd, at });
    }
}

/// Before the real close of a range of descriptors, both ends included. `for_now`: limits count what it ends until the
/// caller says that it is `closed`. `at`: the call's return address; 0: not known.
pub fn closing_range(first: u32, last: u32, for_now: bool, at: usize) {
    let bound = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let (first, last) = (bound(first), bound(last));
    if (!GATE.is_quiet() || first <= CORE.descriptors.highest()) && process::is_own() {
        match thread::block() {
            Some(block) if for_now && charges::tracks() => {
                change(Change::ClosedFor { first, last, at, closer: &block.owed });
            }
            _ => change(Change::ClosedRange { first, last, at }),
        }
    }
}

/// Before the real close of a descriptor, whose caller says when it is `closed`.
#[inline(always)]
pub fn closing_for_now(fd: i32, at: usize) {
    if fd >= 0 && concerns(fd) {
        closing_range(fd as u32, fd as u32, true, at);
    }
}

/// After the real close.
#[inline(always)]
pub fn closed() {
    if charges::tracks() {
        settle_closed();
    }
}

#[cold]
#[inline(never)]
fn settle_closed() {
    if let Some(block) = thread::block()
        && (!GATE.is_quiet() || !block.owed.is_empty())
    {
        done_closing(block);
    }
}

/// A close that this block's thread was making is done.
pub fn done_closing(block: &'static Block) {
    change(Change::DoneClosing { closer: &block.owed });
}

/// What a descriptor is to a limit.
pub enum Sought {
    NoEpoll,
    /// Its record.
    Known(u32, &'static records::Instance),
    /// An epoll, whose record cannot be looked at now.
    NotNow,
}

/// The instance of a descriptor, for a limit: taken into the ledger first, if it came out of sight.
pub fn instance_for_limit(epfd: i32) -> Sought {
    let known = || {
        let slot = CORE.descriptors.get(epfd);
        CORE.instance_at(slot.instance()).map(|instance| Sought::Known(slot.instance(), instance))
    };
    for _ in 0..PATIENCE {
        if let Some(known) = known() {
            return known;
        }
        if GATE.is_quiet() || GATE.holder() == thread::token() {
            break;
        }
        // A note about it may wait: let the gate's holder work.
        sys::yield_now();
    }
    if !process::is_own() || !crate::procfs::is_epoll(epfd) {
        return Sought::NoEpoll;
    }
    change(Change::Adopted { fd: epfd });
    known().unwrap_or(Sought::NotNow)
}

/// Tries to charge something until that succeeds, or fails at a moment when nothing that is to be given back waits in the
/// gate's queue. (A close of this very thread may have left a note there.)
pub fn when_settled<T>(charge: impl Fn() -> Result<T, ()>) -> Result<T, ()> {
    let token = thread::token();
    for _ in 0..PATIENCE {
        let notes = GATE.notes_left();
        let was_quiet = GATE.is_quiet();
        if let Ok(charged) = charge() {
            return Ok(charged);
        }
        if was_quiet && GATE.notes_left() == notes || GATE.holder() == token {
            break;
        }
        if GATE.enter(token) {
            leave(token);
        } else {
            sys::yield_now();
        }
    }
    Err(())
}

/// Before a refusal: whether the descriptors that the ledger knows are still open, as the kernel says. Those that are not
/// were closed out of sight (fclose, a system call of the program's own), and what they were charged is given back. So is
/// what a thread was closing that ended meanwhile. True: there was something.
///
/// Takes a system call a descriptor, hence no more than a small part of the program's time: what is left is found later.
#[cold]
#[inline(never)]
pub fn look_for_the_gone() -> bool {
    /// CLOCK_MONOTONIC when the next look may begin.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    const PART: u64 = 16;
    const LONG: u64 = 1_000_000_000;
    if !process::is_own() {
        return false;
    }
    let began = clock::monotonic();
    let next = NEXT.load(Ordering::Relaxed);
    if began < next {
        return false;
    }
    // Not for ever: who looks may be in another process than the copy of this word.
    let taken = NEXT.compare_exchange(next, began.saturating_add(LONG), Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if !taken {
        return false;
    }
    let mut found = false;
    for block in thread::all().filter(|block| !block.owed.is_empty() && thread::has_ended(block)) {
        left_closing(block);
        found = true;
    }
    for fd in 0..=CORE.descriptors.highest() {
        let slot = CORE.descriptors.get(fd);
        if slot.is_known() && !is_there(fd, slot) {
            change(Change::NotThere { fd, slot });
            found = true;
        }
    }
    let end = clock::monotonic();
    NEXT.store(end.saturating_add(PART * end.saturating_sub(began)), Ordering::Relaxed);
    found
}

/// The thread of this block ended in a close (cancelled, it may be), before the kernel had made it or after: the kernel is
/// asked.
pub fn left_closing(block: &'static Block) {
    charges::was_paid(&block.owed);
    done_closing(block);
    let token = thread::token();
    // Aside: a hook's frame may be left by pthread_exit in a handler at any instruction, what reads /proc may not.
    let reconciled = crate::aside::undisturbed(reconcile) == Some(true);
    if reconciled && charges::tracks_user() && GATE.enter(token) {
        CORE.pay();
        leave(token);
    }
}

/// Gives back what was charged ahead for a call, and not needed.
pub fn give_back(ahead: charges::Ahead) {
    charges::give_back_ahead(ahead, CORE.instance_at(ahead.of));
}

/// A recording has begun: all that is known goes into it as soon as the gate is free. (Not now, if this is a handler that has
/// interrupted its holder: then when that leaves.)
pub fn mirror_soon() {
    let token = thread::token();
    if GATE.enter(token) {
        leave(token);
    }
}

/// Whether the calling thread has the gate: this is a handler that has interrupted it there.
pub fn is_interrupted() -> bool {
    GATE.holder() == thread::token()
}

/// A wait on an instance ended, for the recording.
#[inline(always)]
pub fn recorded_wait(epfd: i32, end: WaitEnd, owner: usize) {
    let index = CORE.descriptors.get(epfd).instance();
    if let Some(instance) = CORE.instance_at(index) {
        record::instance_waited(index, end, instance.owner.block() == owner);
    }
}

/// Whether the ledger knows a descriptor as that of an instance.
pub fn is_instance(epfd: i32) -> bool {
    CORE.instance_of(epfd).is_some()
}

/// Whether the ledger has an interest of this instance in what this descriptor refers to.
pub fn is_watched(epfd: i32, fd: i32) -> bool {
    CORE.find(epfd, fd).is_some()
}

/// Whether a descriptor is an epoll instance, or is watched by one.
pub fn is_known(fd: i32) -> bool {
    CORE.descriptors.get(fd).is_known()
}

/// Begins to charge what limits count. False: another thread has the gate all the time.
pub fn track(user: bool) -> bool {
    let token = thread::token();
    for _ in 0..PATIENCE {
        if enter_or_seize(token) {
            empty_queue();
            if !charges::tracks() {
                CORE.track();
            }
            if user && !charges::tracks_user() {
                charges::track_user_too();
                CORE.pay();
            }
            leave(token);
            return true;
        }
        sys::yield_now();
    }
    false
}

/// How often a rare call lets other threads run before it gives up: a second at least, where they do.
const PATIENCE: u32 = 100_000;

/// Whether it is known already that a number was a duplicate of another, and neither is known otherwise. May say no.
#[inline(always)]
pub fn are_joined(old: i32, new: i32) -> bool {
    GATE.is_idle() && CORE.descriptors.are_joined(old, new)
}

/// `new` is a duplicate of `old`: the return of dup, dup2, dup3 or F_DUPFD, called `at`.
#[inline(always)]
pub fn duplicated(old: i32, new: i32, at: &usize) {
    // The gate first: what its holder makes known of `old` while it knows nothing of `new` would be missed. Once it is
    // idle, what a holder made known stands in the table.
    if !GATE.is_idle() || !CORE.descriptors.join(old, new, || GATE.is_idle()) {
        duplicated_known(old, new, *at);
    }
}

#[cold]
#[inline(never)]
fn duplicated_known(old: i32, new: i32, at: usize) {
    if old != new && process::is_own() {
        change(Change::Duplicated { old, new, at });
    }
}

// ---- the process ----

/// In the child of a fork, before anything else is told. The other threads are gone, whatever they were doing.
pub fn after_fork() {
    let token = thread::token();
    let holder = GATE.holder();
    let torn = holder != 0 && holder != token;
    if holder != token {
        GATE.seize_alone(token);
        LATE.store(false, Ordering::Relaxed);
        empty_queue();
        let half_written = GATE.forget_notes();
        CORE.after_fork();
        if torn || half_written != 0 {
            CORE.forget_everything();
        }
        GATE.leave();
    } else {
        // Forked by a signal handler that interrupted this thread inside the gate: it will go on, and leave.
        CORE.after_fork();
    }
}

/// Peaks and the counts of the ledger begin again (epollshim_reset).
pub fn restart() {
    let token = thread::token();
    if GATE.enter(token) {
        for count in [
            &CORE.totals.vanished,
            &CORE.totals.unseen_instances,
            &CORE.totals.unseen_watches,
            &CORE.totals.healed,
            &CORE.totals.lost,
        ] {
            count.set(0);
        }
        for (_, instance) in CORE.live_instances() {
            instance.alone.clear();
            instance.shared.clear();
            instance.waits_marked.set(records::Instance::UNMARKED);
        }
        CORE.restart_peaks();
        leave(token);
    }
}

/// What a descriptor stands for.
pub fn slot_of(fd: i32) -> Slot {
    CORE.descriptors.get(fd)
}

/// The records as they are; peaks may be behind.
pub fn records() -> &'static Core {
    &CORE
}

/// For reports: the records as they are, peaks included.
pub fn view() -> &'static Core {
    CORE.reach();
    for (_, instance) in CORE.live_instances() {
        instance.reach();
    }
    &CORE
}
