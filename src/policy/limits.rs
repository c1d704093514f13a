//! The limits that are set, and what each has counted. Whether a call may be made within them:
//! limits/admission.rs.

mod admission;

use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use epollshim_format::limits::{Limits, OnLimit, OnSize};
use epollshim_format::recording::policy as layout;
use libc::c_int;

use super::tally;
use crate::ledger::reservations;
use crate::session::{self, Kind};
use crate::{census, findings, ledger};

pub use self::admission::{Above, Verdict, admit, concern, most_events, refuse, take_room};

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
    Descriptors = 8,
}

impl Key {
    pub const COUNT: usize = 9;
    pub const ALL: [Key; Key::COUNT] = [
        Key::Instances,
        Key::UserInstances,
        Key::Watches,
        Key::InstanceWatches,
        Key::UserWatches,
        Key::Memory,
        Key::Size,
        Key::Events,
        Key::Descriptors,
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
            Key::Descriptors => "descriptors",
        }
    }

    /// The errno of a refused call.
    pub const fn errno(self) -> c_int {
        match self {
            Key::Instances | Key::UserInstances | Key::Descriptors => libc::EMFILE,
            Key::Memory => libc::ENOMEM,
            _ => libc::ENOSPC,
        }
    }
}

/// What one limit has counted in a process.
#[repr(C)]
pub struct LimitTally {
    /// Calls that were refused.
    pub denied: AtomicU64,
    /// Calls that exceeded it and were let through (`on-limit=warn`). For `events`: waits whose
    /// `maxevents` was lowered.
    pub let_through: AtomicU64,
    /// The highest count that was checked against it.
    pub peak: AtomicU64,
}

impl LimitTally {
    fn clear(&self) {
        for count in [&self.denied, &self.let_through, &self.peak] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// Each limit plus one. 0: not set. Relaxed: each word is read by itself.
static LIMITS: [AtomicU64; Key::COUNT] = [const { AtomicU64::new(0) }; Key::COUNT];
/// How the size that was promised to `epoll_create` is treated ([`OnSize`]).
static ON_SIZE: AtomicU8 = AtomicU8::new(0);
/// What happens to a call that would exceed a limit ([`OnLimit`]).
static ON_LIMIT: AtomicU8 = AtomicU8::new(0);
/// The limits about which a warning was printed, one bit for each.
static WARNED: AtomicU32 = AtomicU32::new(0);

pub fn limit(key: Key) -> Option<u64> {
    LIMITS.get(key as usize)?.load(Ordering::Relaxed).checked_sub(1)
}

/// How the size that was promised to `epoll_create` is treated. None: it is ignored.
pub fn on_size() -> Option<&'static str> {
    match ON_SIZE.load(Ordering::Relaxed) {
        1 => Some("warn"),
        2 => Some("enforce"),
        _ => None,
    }
}

pub fn tally(key: Key) -> Option<&'static LimitTally> {
    tally::of_this_process()?.limits.get(key as usize)
}

/// The highest count of what a limit bounds, including the present one.
fn peak(key: Key) -> u64 {
    let (instances, watches, bytes) = reservations::charged();
    let now = match key {
        Key::Instances => instances,
        Key::Watches => watches,
        Key::Memory => bytes,
        Key::Descriptors => census::peak(),
        Key::UserInstances => session::sum(Kind::Instances),
        Key::UserWatches => session::sum(Kind::Watches),
        _ => 0,
    };
    tally(key).map_or(0, |tally| tally.peak.load(Ordering::Relaxed)).max(now)
}

/// A limit, for the report.
pub struct LimitStatus {
    pub key: Key,
    /// None: `size`, which differs for each instance, or not set.
    pub limit: Option<u64>,
    pub peak: u64,
    pub denied: u64,
    pub let_through: u64,
    /// For `size`: how a breach is treated.
    pub mode: Option<&'static str>,
}

/// The limits that are set now.
pub fn in_force() -> impl Iterator<Item = LimitStatus> {
    Key::ALL.into_iter().map(status).filter(|status| status.limit.is_some() || status.mode.is_some())
}

/// The state of a limit, set or not.
pub fn status(key: Key) -> LimitStatus {
    let of = |count: fn(&LimitTally) -> &AtomicU64| tally(key).map_or(0, |tally| count(tally).load(Ordering::Relaxed));
    LimitStatus {
        key,
        limit: limit(key),
        peak: peak(key),
        denied: of(|tally| &tally.denied),
        let_through: of(|tally| &tally.let_through),
        mode: if key == Key::Size { on_size() } else { None },
    }
}

/// Notes that `sum` was checked against a limit.
fn reached(key: Key, sum: u64) {
    if let Some(tally) = tally(key).filter(|tally| tally.peak.load(Ordering::Relaxed) < sum) {
        tally.peak.fetch_max(sum, Ordering::Relaxed);
        mirror_counts();
    }
}

/// Copies the counts of all limits into the recording. Called when one has changed.
#[cold]
pub fn mirror_counts() {
    let Some(start) = tally::recorded() else { return };
    for (index, key) in Key::ALL.into_iter().enumerate() {
        let at = layout::LIMITS + index * layout::LIMIT;
        let status = status(key);
        let mode = match status.mode {
            Some("warn") => 1,
            Some(_) => 2,
            None => 0,
        };
        let values = [
            (layout::LIMIT_SET, status.limit.map_or(0, |limit| limit.saturating_add(1))),
            (layout::LIMIT_PEAK, status.peak),
            (layout::LIMIT_DENIED, status.denied),
            (layout::LIMIT_LET_THROUGH, status.let_through),
            (layout::LIMIT_MODE, mode),
        ];
        values.into_iter().for_each(|(place, value)| tally::word(start, at + place).store(value, Ordering::Relaxed));
    }
}

/// Resets the counts to zero, and the peaks to what is present.
pub fn restart() {
    if let Some(tally) = tally::of_this_process() {
        tally.limits.iter().for_each(LimitTally::clear);
    }
}

/// Whether any of these limits needs reservations.
pub fn count_something(limits: &Limits) -> bool {
    wants_user(limits)
        || limits.size != OnSize::Ignore
        || [limits.instances, limits.watches, limits.instance_watches, limits.memory].iter().any(Option::is_some)
}

fn wants_user(limits: &Limits) -> bool {
    limits.user_instances.is_some() || limits.user_watches.is_some()
}

/// Replaces all limits. False: nothing is changed, since another thread holds the ledger.
pub fn set(limits: &Limits) -> bool {
    if count_something(limits) && !ledger::track(wants_user(limits)) {
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
        limits.descriptors,
    ];
    for (place, value) in LIMITS.iter().zip(values) {
        place.store(value.map_or(0, |value| value + 1), Ordering::Relaxed);
    }
    ON_SIZE.store(limits.size as u8, Ordering::Relaxed);
    ON_LIMIT.store(limits.on_limit as u8, Ordering::Relaxed);
    WARNED.store(0, Ordering::Relaxed);
    true
}

/// Whether any limit is set.
pub fn are_set() -> bool {
    ON_SIZE.load(Ordering::Relaxed) != 0 || LIMITS.iter().any(|limit| limit.load(Ordering::Relaxed) != 0)
}

const _: () = assert!(OnLimit::Deny as u8 == 0 && OnLimit::Warn as u8 == 1 && OnLimit::Abort as u8 == 2);
const _: () = assert!(OnSize::Ignore as u8 == 0 && OnSize::Warn as u8 == 1 && OnSize::Enforce as u8 == 2);

/// Reports limits that are nearly reached to findings. It must run after [`findings::evaluation`],
/// which retracts the earlier reports.
pub fn evaluate() {
    for status in in_force() {
        // A wait that gets fewer events loses none: the next wait gets them.
        if let Some(limit) = status.limit.filter(|_| status.key != Key::Events) {
            findings::limits::near_own_limit(status.key as u8, status.peak, limit, status.denied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use epollshim_format::findings::near_limit;

    #[test]
    fn the_sentence_knows_each_key_by_its_name() {
        for key in Key::ALL {
            assert_eq!(near_limit::KEYS[key as usize], key.name());
        }
    }
}
