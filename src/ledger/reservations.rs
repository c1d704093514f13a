//! What limits count: what lives, what is being made, and what is being closed.
//!
//! The ledger's own totals are not enough for a limit: a note may still wait in the lock's queue, and a close is noted
//! before the kernel has made it. So whatever is limited is charged before the real call is made, and given back after
//! the real call that ends it. A charge that was made ahead is handed to the ledger with the note, and belongs to the record from then on; what the
//! record turns out not to need is given back at once. The sum is never less than what the kernel holds.
//!
//! Kept only once a limit was set (`tracks`); then for good. Charges are made by any thread, without the lock; everything
//! else here happens under it.

use crate::sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use epollshim_format::kernel_memory;

use super::records::{Instance, Interest};
use crate::session;

pub use crate::session::Kind;

/// What one process has charged. Relaxed throughout: a read-modify-write of one word has one order for all threads, and
/// nothing else is published by it.
static INSTANCES: AtomicU64 = AtomicU64::new(0);
static WATCHES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

static TRACKS: AtomicU8 = AtomicU8::new(NOTHING);
const NOTHING: u8 = 0;
const PROCESS: u8 = 1;
const USER_TOO: u8 = 2;

/// Changes in the child of a fork: what was charged ahead before it is not charged there.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// Whether a limit was ever set.
#[inline(always)]
pub fn tracks() -> bool {
    TRACKS.load(Ordering::Relaxed) != NOTHING
}

pub fn tracks_user() -> bool {
    TRACKS.load(Ordering::Relaxed) == USER_TOO
}

pub fn epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// What is charged now.
pub fn charged() -> (u64, u64, u64) {
    (INSTANCES.load(Ordering::Relaxed), WATCHES.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

/// What a call has charged before it was made. In one word, for [`crate::thread::Block::ahead`]; 0: nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Prepaid {
    pub instance: bool,
    pub watch: bool,
    /// The user's count too, in the session.
    pub user: bool,
    /// Of a watch: the record of its instance, whose own count was charged, and which use of that record it was (the
    /// instance's id, as much of it as fits); 0: no instance's.
    pub of: u32,
    pub life: u32,
}

/// The part of an instance's id that is kept with what is charged to it: 24 bits.
const LIFE: u64 = (1 << 24) - 1;
/// Below it, in [`Instance::charged`], the count.
const LIFE_SHIFT: u32 = 40;
const COUNT: u64 = (1 << LIFE_SHIFT) - 1;

impl Prepaid {
    pub fn to_word(self) -> u64 {
        u64::from(self.life) << LIFE_SHIFT
            | u64::from(self.of) << 8
            | u64::from(self.instance)
            | u64::from(self.watch) << 1
            | u64::from(self.user) << 2
    }

    pub fn from_word(word: u64) -> Prepaid {
        Prepaid {
            instance: word & 1 != 0,
            watch: word & 2 != 0,
            user: word & 4 != 0,
            of: (word >> 8) as u32,
            life: (word >> LIFE_SHIFT) as u32,
        }
    }
}

/// Charges `amount` unless that would exceed `limit`. Ok: the new sum.
pub fn charge(count: &AtomicU64, amount: u64, limit: Option<u64>) -> Result<u64, ()> {
    let limit = limit.unwrap_or(u64::MAX);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_add(amount).filter(|sum| *sum <= limit))
        .map(|before| before + amount)
        .map_err(drop)
}

fn give_back(count: &AtomicU64, amount: u64) {
    let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(amount)));
}

pub fn charge_instance(limit: Option<u64>) -> Result<u64, ()> {
    charge(&INSTANCES, 1, limit)
}

pub fn charge_watch(limit: Option<u64>) -> Result<u64, ()> {
    charge(&WATCHES, 1, limit)
}

pub fn charge_bytes(amount: u64, limit: Option<u64>) -> Result<u64, ()> {
    charge(&BYTES, amount, limit)
}

pub fn give_back_instance() {
    give_back(&INSTANCES, 1);
}

pub fn give_back_watch() {
    give_back(&WATCHES, 1);
}

pub fn give_back_bytes(amount: u64) {
    give_back(&BYTES, amount);
}

/// Begins an instance's own count: no charge to the record's former instance is one to this, and none of them is given
/// back to it.
pub fn begin_count(instance: &Instance, watches: u64) {
    instance.charged.store((instance.id.get() & LIFE) << LIFE_SHIFT | watches & COUNT, Ordering::Relaxed);
}

/// Charges a watch to its instance, unless that would exceed `limit`. Ok: the new sum, and which life of the record it
/// was charged to.
pub fn charge_to(instance: &Instance, limit: Option<u64>) -> Result<(u64, u32), ()> {
    let limit = limit.unwrap_or(COUNT).min(COUNT - 1);
    instance
        .charged
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now & COUNT < limit).then_some(now + 1))
        .map(|before| ((before & COUNT) + 1, (before >> LIFE_SHIFT) as u32))
        .map_err(drop)
}

pub fn give_back_to(instance: &Instance, life: u32) {
    let _ = instance.charged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
        (now >> LIFE_SHIFT == u64::from(life) && now & COUNT != 0).then(|| now - 1)
    });
}

fn life_of(instance: &Instance) -> u32 {
    (instance.charged.load(Ordering::Relaxed) >> LIFE_SHIFT) as u32
}

/// Gives back what was charged ahead and is not needed. `of` is the instance that a watch was charged to.
pub fn give_back_prepaid(prepaid: Prepaid, of: Option<&Instance>) {
    if prepaid.instance {
        give_back(&INSTANCES, 1);
        give_back(&BYTES, kernel_memory::INSTANCE);
        if prepaid.user {
            session::release(Kind::Instances);
        }
    }
    if prepaid.watch {
        give_back(&WATCHES, 1);
        give_back(&BYTES, kernel_memory::INTEREST);
        if let Some(instance) = of {
            give_back_to(instance, prepaid.life);
        }
        if prepaid.user {
            session::release(Kind::Watches);
        }
    }
}

// ---- under the lock ----

/// What the change that is being applied has charged ahead (`Prepaid::to_word`).
static IN_HAND: AtomicU64 = AtomicU64::new(0);
/// Who closes, if the change that is being applied is a close that the kernel has yet to make.
static CLOSER: AtomicPtr<PendingRelease> = AtomicPtr::new(core::ptr::null_mut());

/// The most instances whose own counts a closer gives back later; those beyond get theirs at once.
const LIST: usize = 32;

/// What a thread gives back when the close that it is making is done.
#[repr(C)]
pub struct PendingRelease {
    instances: AtomicU64,
    watches: AtomicU64,
    user_instances: AtomicU64,
    user_watches: AtomicU64,
    length: AtomicU64,
    /// When it was noted (`epoch`): a child of fork has nothing of it charged.
    epoch: AtomicU32,
    /// Records of instances, each with its life of the time in the upper half.
    list: [AtomicU64; LIST],
}

impl PendingRelease {
    /// Gives all of it back; `find` has the instance of a record.
    pub fn settle(&self, find: impl Fn(u32) -> Option<&'static Instance>) {
        if self.epoch.load(Ordering::Relaxed) != epoch() {
            return self.forget();
        }
        let (instances, watches) = (self.instances.swap(0, Ordering::Relaxed), self.watches.swap(0, Ordering::Relaxed));
        give_back(&INSTANCES, instances);
        give_back(&WATCHES, watches);
        give_back(&BYTES, kernel_memory::estimate(instances, watches));
        for _ in 0..self.user_instances.swap(0, Ordering::Relaxed) {
            session::release(Kind::Instances);
        }
        for _ in 0..self.user_watches.swap(0, Ordering::Relaxed) {
            session::release(Kind::Watches);
        }
        let length = self.length.swap(0, Ordering::Relaxed) as usize;
        for entry in self.list.iter().take(length) {
            let word = entry.load(Ordering::Relaxed);
            if let Some(instance) = find(word as u32) {
                give_back_to(instance, (word >> 32) as u32);
            }
        }
    }

    fn forget(&self) {
        for count in [&self.instances, &self.watches, &self.user_instances, &self.user_watches, &self.length] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Before something is noted.
    fn begin(&self) {
        if self.epoch.swap(epoch(), Ordering::Relaxed) != epoch() {
            self.forget();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.instances.load(Ordering::Relaxed) == 0 && self.watches.load(Ordering::Relaxed) == 0
    }

    fn note(&self, index: u32, instance: &Instance) {
        let at = self.length.load(Ordering::Relaxed);
        match self.list.get(at as usize) {
            Some(entry) => {
                entry.store(u64::from(index) | u64::from(life_of(instance)) << 32, Ordering::Relaxed);
                self.length.store(at + 1, Ordering::Relaxed);
            }
            None => give_back_to(instance, life_of(instance)),
        }
    }
}

/// Applies a change that comes with something charged ahead.
#[cold]
#[inline(never)]
pub fn with<T>(prepaid: u64, find: impl Fn(u32) -> Option<&'static Instance>, apply: impl FnOnce() -> T) -> T {
    IN_HAND.store(prepaid, Ordering::Relaxed);
    let result = apply();
    let left = Prepaid::from_word(IN_HAND.swap(0, Ordering::Relaxed));
    give_back_prepaid(left, find(left.of));
    result
}

/// Applies a close that the kernel has yet to make.
pub fn on_behalf_of(closer: &'static PendingRelease, apply: impl FnOnce()) {
    closer.begin();
    CLOSER.store(core::ptr::from_ref(closer).cast_mut(), Ordering::Relaxed);
    apply();
    CLOSER.store(core::ptr::null_mut(), Ordering::Relaxed);
}

fn closer() -> Option<&'static PendingRelease> {
    // SAFETY: null, or part of a thread's block, which is never unmapped.
    unsafe { CLOSER.load(Ordering::Relaxed).as_ref() }
}

/// Takes what is in hand, if it is what is wanted.
fn from_hand(wanted: impl Fn(Prepaid) -> bool) -> Option<Prepaid> {
    let prepaid = Prepaid::from_word(IN_HAND.load(Ordering::Relaxed));
    wanted(prepaid).then(|| {
        IN_HAND.store(0, Ordering::Relaxed);
        prepaid
    })
}

#[inline(always)]
pub fn opened(instance: &Instance) {
    if tracks() {
        charge_opened(instance);
    }
}

#[cold]
#[inline(never)]
fn charge_opened(instance: &Instance) {
    begin_count(instance, 0);
    let paid = match from_hand(|prepaid| prepaid.instance) {
        Some(prepaid) => prepaid.user,
        None => {
            let _ = (charge_instance(None), charge_bytes(kernel_memory::INSTANCE, None));
            pay_if_own(instance, Kind::Instances)
        }
    };
    instance.paid.store(u8::from(paid), Ordering::Relaxed);
}

#[inline(always)]
pub fn ended(instance: &Instance) {
    if tracks() {
        give_back_ended(instance);
    }
}

#[cold]
#[inline(never)]
fn give_back_ended(instance: &Instance) {
    let paid = instance.paid.swap(0, Ordering::Relaxed) != 0;
    match closer() {
        Some(pending) => {
            pending.instances.fetch_add(1, Ordering::Relaxed);
            pending.user_instances.fetch_add(u64::from(paid), Ordering::Relaxed);
        }
        None => give_back_prepaid(Prepaid { instance: true, user: paid, ..Prepaid::default() }, None),
    }
}

/// `find` has the instance of a record.
pub fn added(index: u32, instance: &Instance, interest: &Interest, find: impl Fn(u32) -> Option<&'static Instance>) {
    if !tracks() {
        return;
    }
    let paid = match from_hand(|prepaid| prepaid.watch) {
        Some(prepaid) => {
            // It may have been charged to another instance, if the number changed hands since, or to none.
            if prepaid.of != index || prepaid.life != life_of(instance) {
                if let Some(other) = find(prepaid.of) {
                    give_back_to(other, prepaid.life);
                }
                let _ = charge_to(instance, None);
            }
            prepaid.user
        }
        None => {
            let _ = (charge_watch(None), charge_bytes(kernel_memory::INTEREST, None), charge_to(instance, None));
            pay_if_own(instance, Kind::Watches)
        }
    };
    if paid {
        interest.raise(Interest::PAID);
    }
}

/// Called while the interest still has its flags.
pub fn removed(index: u32, instance: &Instance, interest: &Interest) {
    if !tracks() {
        return;
    }
    let paid = interest.has(Interest::PAID);
    match closer() {
        Some(pending) => {
            pending.watches.fetch_add(1, Ordering::Relaxed);
            pending.user_watches.fetch_add(u64::from(paid), Ordering::Relaxed);
            pending.note(index, instance);
        }
        None => {
            let life = life_of(instance);
            give_back_prepaid(
                Prepaid { watch: true, user: paid, of: index, life, ..Prepaid::default() },
                Some(instance),
            );
        }
    }
}

/// Begins to track, or begins anew (in the child of a fork, after everything was forgotten): this is what there is.
pub fn begin(instances: u64, watches: u64) {
    INSTANCES.store(instances, Ordering::Relaxed);
    WATCHES.store(watches, Ordering::Relaxed);
    BYTES.store(kernel_memory::estimate(instances, watches), Ordering::Relaxed);
    IN_HAND.store(0, Ordering::Relaxed);
    CLOSER.store(core::ptr::null_mut(), Ordering::Relaxed);
    // Release: who sees that it is tracked adds to these sums.
    super::follow();
    TRACKS.fetch_max(PROCESS, Ordering::Release);
}

/// The user's counts from now on, too.
pub fn track_user_too() {
    TRACKS.store(USER_TOO, Ordering::Release);
}

/// Puts what was made unasked into the user's count, but not what this process was handed with an instance. True: done.
fn pay_if_own(instance: &Instance, kind: Kind) -> bool {
    let is_own = tracks_user() && instance.inherited.load(Ordering::Relaxed) == 0;
    if is_own {
        pay_for(kind);
    }
    is_own
}

/// Puts one that lives into the user's count, whatever the limit.
pub fn pay_for(kind: Kind) {
    let _ = session::claim(kind, None);
}

/// Whether one more of what this process was in for, before an exec or in a close that was not made, is to be claimed anew.
pub fn paid_before(kind: Kind) -> bool {
    session::take_former(kind)
}

/// What was given back, or will be, in the user's count, and may be found to live on.
pub fn was_paid(pending: &PendingRelease) {
    session::set_former(Kind::Instances, pending.user_instances.load(Ordering::Relaxed));
    session::set_former(Kind::Watches, pending.user_watches.load(Ordering::Relaxed));
}

/// In the child of a fork.
pub fn next_epoch() {
    EPOCH.fetch_add(1, Ordering::Relaxed);
}
