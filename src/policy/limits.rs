//! Limits: what a call would exceed, and what becomes of it then.
//!
//! A call charges what it needs before it is made (ledger/charges.rs, session.rs), the narrowest count first, and gets
//! past a limit only with the charge in its hand: so no number of racing threads gets one too many. What is charged to a
//! call that the kernel then refuses is given back after it.

use core::fmt::Write;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use epollshim_format::function::Function;
use epollshim_format::limits::{Limits, OnLimit, OnSize};
use libc::c_int;

use crate::hooks::Frame;
use crate::ledger::charges::{self, Ahead};
use crate::ledger::kernel_memory;
use crate::ledger::records::{Instance, Origin};
use crate::session::{self, Kind};
use crate::{ledger, process, report, sys};

/// The limits that count something, in the order of the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    Instances = 0,
    UserInstances = 1,
    Watches = 2,
    InstanceWatches = 3,
    UserWatches = 4,
    Memory = 5,
    Size = 6,
    Events = 7,
}

impl Key {
    pub const COUNT: usize = 8;
    pub const ALL: [Key; Key::COUNT] = [
        Key::Instances,
        Key::UserInstances,
        Key::Watches,
        Key::InstanceWatches,
        Key::UserWatches,
        Key::Memory,
        Key::Size,
        Key::Events,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Key::Instances => "instances",
            Key::UserInstances => "user-instances",
            Key::Watches => "watches",
            Key::InstanceWatches => "instance-watches",
            Key::UserWatches => "user-watches",
            Key::Memory => "memory",
            Key::Size => "size",
            Key::Events => "events",
        }
    }

    /// What a refused call gets.
    const fn errno(self) -> c_int {
        match self {
            Key::Instances | Key::UserInstances => libc::EMFILE,
            Key::Memory => libc::ENOMEM,
            _ => libc::ENOSPC,
        }
    }
}

/// What a limit counts in a process.
#[repr(C)]
pub struct LimitTally {
    /// Calls that got its errno.
    pub denied: AtomicU64,
    /// Calls that were let through beyond it (on-limit=warn); of `events`: waits whose maxevents was lowered.
    pub let_through: AtomicU64,
    /// The highest count that it has met.
    pub peak: AtomicU64,
}

impl LimitTally {
    fn clear(&self) {
        for count in [&self.denied, &self.let_through, &self.peak] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// One more than each limit; 0: none. Relaxed: each is looked at by itself.
static LIMITS: [AtomicU64; Key::COUNT] = [const { AtomicU64::new(0) }; Key::COUNT];
/// 0: ignore; 1: warn; 2: enforce.
static ON_SIZE: AtomicU8 = AtomicU8::new(0);
/// 0: deny; 1: warn; 2: abort.
static ON_LIMIT: AtomicU8 = AtomicU8::new(0);
/// Limits of which a breach was told on stderr, by bit.
static TOLD: AtomicU32 = AtomicU32::new(0);

pub fn limit(key: Key) -> Option<u64> {
    LIMITS.get(key as usize)?.load(Ordering::Relaxed).checked_sub(1)
}

/// What is made of the promise to epoll_create.
pub fn on_size() -> Option<&'static str> {
    match ON_SIZE.load(Ordering::Relaxed) {
        1 => Some("warn"),
        2 => Some("enforce"),
        _ => None,
    }
}

pub fn tally(key: Key) -> Option<&'static LimitTally> {
    process::tally()?.limits.get(key as usize)
}

/// The highest count that a limit has met, what is there now included.
fn peak(key: Key) -> u64 {
    let (instances, watches, bytes) = charges::charged();
    let now = match key {
        Key::Instances => instances,
        Key::Watches => watches,
        Key::Memory => bytes,
        Key::UserInstances => session::sum(Kind::Instances),
        Key::UserWatches => session::sum(Kind::Watches),
        _ => 0,
    };
    tally(key).map_or(0, |tally| tally.peak.load(Ordering::Relaxed)).max(now)
}

/// A limit, for the report.
pub struct Told {
    pub key: Key,
    /// None: of `size`, which each instance has its own of.
    pub limit: Option<u64>,
    pub peak: u64,
    pub denied: u64,
    pub let_through: u64,
    /// What is made of a breach, where the key itself says it.
    pub mode: Option<&'static str>,
}

/// The limits that are set now.
pub fn told() -> impl Iterator<Item = Told> {
    Key::ALL.into_iter().filter_map(|key| {
        let limit = limit(key);
        let mode = if key == Key::Size { on_size() } else { None };
        if limit.is_none() && mode.is_none() {
            return None;
        }
        let of =
            |count: fn(&LimitTally) -> &AtomicU64| tally(key).map_or(0, |tally| count(tally).load(Ordering::Relaxed));
        Some(Told {
            key,
            limit,
            peak: peak(key),
            denied: of(|tally| &tally.denied),
            let_through: of(|tally| &tally.let_through),
            mode,
        })
    })
}

/// Counts begin anew; peaks at what is there.
pub fn restart() {
    if let Some(tally) = process::tally() {
        tally.limits.iter().for_each(LimitTally::clear);
    }
}

/// Sets these limits, in place of those that were set. False: they cannot be kept (another thread has the ledger).
pub fn set(limits: &Limits) -> bool {
    let wants_user = limits.user_instances.is_some() || limits.user_watches.is_some();
    let counts = wants_user
        || limits.size != OnSize::Ignore
        || [limits.instances, limits.watches, limits.instance_watches, limits.memory].iter().any(Option::is_some);
    if counts && !ledger::track(wants_user) {
        return false;
    }
    let values = [
        limits.instances,
        limits.user_instances,
        limits.watches,
        limits.instance_watches,
        limits.user_watches,
        limits.memory,
        None,
        limits.events.map(u64::from),
    ];
    for (place, value) in LIMITS.iter().zip(values) {
        place.store(value.map_or(0, |value| value + 1), Ordering::Relaxed);
    }
    ON_SIZE.store(limits.size as u8, Ordering::Relaxed);
    ON_LIMIT.store(limits.on_limit as u8, Ordering::Relaxed);
    TOLD.store(0, Ordering::Relaxed);
    true
}

/// Whether any limit is set.
pub fn are_set() -> bool {
    ON_SIZE.load(Ordering::Relaxed) != 0 || LIMITS.iter().any(|limit| limit.load(Ordering::Relaxed) != 0)
}

const _: () = assert!(OnLimit::Deny as u8 == 0 && OnLimit::Warn as u8 == 1 && OnLimit::Abort as u8 == 2);
const _: () = assert!(OnSize::Ignore as u8 == 0 && OnSize::Warn as u8 == 1 && OnSize::Enforce as u8 == 2);

/// What comes of asking.
pub enum Verdict {
    /// Charged ahead.
    Go(Ahead),
    /// The errno of the limit that it would exceed. Nothing is charged.
    Refused(c_int),
}

/// Whether a call is one that limits look at.
pub fn concern(frame: &Frame, function: Function) -> bool {
    match function {
        Function::EpollCreate | Function::EpollCreate1 => true,
        Function::EpollCtl => frame.int(1) == libc::EPOLL_CTL_ADD,
        _ => function.waits() && limit(Key::Events).is_some(),
    }
}

/// Charges what a call needs.
pub fn admit(frame: &Frame, function: Function) -> Verdict {
    if !charges::tracks() {
        return Verdict::Go(Ahead::default());
    }
    if function.creates() {
        admit_instance(frame, function)
    } else if function == Function::EpollCtl && frame.int(1) == libc::EPOLL_CTL_ADD {
        admit_watch(frame)
    } else {
        Verdict::Go(Ahead::default())
    }
}

/// The lowest `maxevents` that a limit asks for.
pub fn most_events(asked: c_int) -> c_int {
    let most = limit(Key::Events).and_then(|most| c_int::try_from(most).ok()).unwrap_or(c_int::MAX);
    if asked > most && asked <= super::MAX_EVENTS {
        if let Some(tally) = tally(Key::Events) {
            tally.let_through.fetch_add(1, Ordering::Relaxed);
        }
        return most;
    }
    asked
}

/// Asks `charge` for one more within a limit. Err: refused. Ok: charged, within the limit or, if so wanted, beyond it.
fn ask(key: Key, name: &str, charge: impl Fn(Option<u64>) -> Result<u64, ()>) -> Result<u64, ()> {
    let most = limit(key);
    let sum = match charge(most) {
        Ok(sum) => sum,
        Err(()) => {
            breach(key, most.unwrap_or(0), name)?;
            charge(None).unwrap_or(0)
        }
    };
    if most.is_some()
        && let Some(tally) = tally(key)
    {
        tally.peak.fetch_max(sum, Ordering::Relaxed);
    }
    Ok(sum)
}

/// A limit would be exceeded. Err: refuse. Ok: let it through.
fn breach(key: Key, most: u64, name: &str) -> Result<(), ()> {
    let warns = match key {
        Key::Size if ON_SIZE.load(Ordering::Relaxed) == OnSize::Warn as u8 => true,
        _ => ON_LIMIT.load(Ordering::Relaxed) == OnLimit::Warn as u8,
    };
    if warns {
        if let Some(tally) = tally(key) {
            tally.let_through.fetch_add(1, Ordering::Relaxed);
        }
        tell_once(key, most, name, "let through");
        return Ok(());
    }
    Err(())
}

fn tell_once(key: Key, most: u64, name: &str, what: &str) {
    if TOLD.fetch_or(1 << key as u32, Ordering::Relaxed) & 1 << key as u32 == 0 {
        report::tell(|line| {
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
        return Verdict::Go(Ahead::default());
    }
    let name = function.name();
    if ask(Key::Instances, name, charges::charge_instance).is_err() {
        return refuse(Key::Instances, name);
    }
    if ask(Key::Memory, name, |most| charges::charge_bytes(kernel_memory::INSTANCE, most)).is_err() {
        charges::give_back_instance();
        return refuse(Key::Memory, name);
    }
    let user = charges::tracks_user();
    if user && ask(Key::UserInstances, name, |most| session::claim(Kind::Instances, most)).is_err() {
        charges::give_back_instance();
        charges::give_back_bytes(kernel_memory::INSTANCE);
        return refuse(Key::UserInstances, name);
    }
    Verdict::Go(Ahead { instance: true, user, ..Ahead::default() })
}

fn admit_watch(frame: &Frame) -> Verdict {
    let Some((of, instance)) = ledger::instance_for_limit(frame.int(0)) else {
        // No epoll, or not open: the kernel refuses.
        return Verdict::Go(Ahead::default());
    };
    match admit_to(of, instance) {
        Ok(ahead) => Verdict::Go(ahead),
        Err(_) if !would_add(frame) => Verdict::Go(Ahead::default()),
        Err(key) => refuse(key, "epoll_ctl"),
    }
}

fn admit_to(of: u32, instance: &Instance) -> Result<Ahead, Key> {
    const NAME: &str = "an EPOLL_CTL_ADD";
    let charged = ask(Key::InstanceWatches, NAME, |most| charges::charge_to(instance, most))
        .map_err(|()| Key::InstanceWatches)?;
    let back = |key: Key| {
        charges::give_back_to(instance);
        key
    };
    let is_by_size = instance.origin.load(Ordering::Relaxed) == Origin::Create as u8;
    let size = u64::try_from(instance.argument.get()).unwrap_or(0);
    if is_by_size && ON_SIZE.load(Ordering::Relaxed) != 0 {
        if charged > size {
            breach(Key::Size, size, NAME).map_err(|()| back(Key::Size))?;
        }
        if let Some(tally) = tally(Key::Size) {
            tally.peak.fetch_max(charged, Ordering::Relaxed);
        }
    }
    ask(Key::Watches, NAME, charges::charge_watch).map_err(|()| back(Key::Watches))?;
    let back = |key: Key| {
        charges::give_back_watch();
        back(key)
    };
    let bytes = kernel_memory::INTEREST;
    ask(Key::Memory, NAME, |most| charges::charge_bytes(bytes, most)).map_err(|()| back(Key::Memory))?;
    let user = charges::tracks_user();
    if user {
        ask(Key::UserWatches, NAME, |most| session::claim(Kind::Watches, most)).map_err(|()| {
            charges::give_back_bytes(bytes);
            back(Key::UserWatches)
        })?;
    }
    Ok(Ahead { watch: true, user, of, ..Ahead::default() })
}

/// Whether the kernel would add what an ADD asks for, as far as can be known without adding it. What it would refuse for
/// a reason of its own (EBADF, EPERM, EFAULT, EINVAL, EEXIST) is to be refused for that reason.
///
/// An `epoll_ctl` with an unknown operation is checked like any other before it fails with EINVAL (Linux v6.1
/// fs/eventpoll.c, `do_epoll_ctl`).
fn would_add(frame: &Frame) -> bool {
    let (epfd, fd) = (frame.int(0), frame.int(2));
    epfd != fd && !ledger::is_watched(epfd, fd) && sys::probe_epoll_ctl(epfd, fd, frame.word(3)) == Err(libc::EINVAL)
}

/// Refuses, or ends the program if that is wanted.
fn refuse(key: Key, name: &str) -> Verdict {
    if let Some(tally) = tally(key) {
        tally.denied.fetch_add(1, Ordering::Relaxed);
    }
    if ON_LIMIT.load(Ordering::Relaxed) == OnLimit::Abort as u8 && !(key == Key::Size && on_size() == Some("warn")) {
        let most = limit(key).unwrap_or(0);
        tell_once(key, most, name, "refused, and the program aborted (on-limit=abort)");
        report::at_abort();
        // SAFETY: ends the process, as the option's user asked.
        unsafe { libc::abort() };
    }
    Verdict::Refused(key.errno())
}
