//! Instances that hold more than their `size` promised.

use crate::sync::Ordering;

use epollshim_format::findings::{Id, Severity};

use super::{Note, note};
use crate::ledger;
use crate::ledger::records::{Instance, Origin};

/// An instance ends with this descriptor: its peak is final.
#[inline(always)]
pub fn ended(instance: &Instance, epfd: i32) {
    if is_one(instance) {
        tell(instance, epfd);
    }
}

/// Those that live, each once in its life.
pub fn evaluate() {
    let view = ledger::view();
    for (index, instance) in view.live_instances().filter(|(_, instance)| is_one(instance)) {
        tell(instance, view.descriptor_of(index));
    }
}

#[inline(always)]
fn is_one(instance: &Instance) -> bool {
    // No branch between the two: see core/plain.rs.
    (instance.origin.load(Ordering::Relaxed) == Origin::Create as u8)
        & (instance.peak() > u64::from(instance.argument.get().unsigned_abs()))
}

#[cold]
#[inline(never)]
fn tell(instance: &Instance, epfd: i32) {
    if instance.told.swap(1, Ordering::Relaxed) == 0 {
        note(&Note {
            epfd,
            site: instance.site.load(Ordering::Relaxed),
            detail: [instance.peak(), u64::from(instance.argument.get().unsigned_abs()), 0, 0],
            ..Note::of(Id::SizeLie, Severity::Warning)
        });
    }
}
