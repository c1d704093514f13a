//! Instances that watch more than their `size` promised.

use crate::sync::Ordering;

use epollshim_format::findings::{Id, Severity};

use super::{Note, note};
use crate::ledger;

/// Notes that an instance has watched more than its size. `site` is where it was created, and
/// `peak` the most that it watched.
pub fn outgrown(epfd: i32, site: usize, peak: u64, size: u64) {
    note(&Note { epfd, site, detail: [peak, size, 0, 0], ..Note::of(Id::SizeLie, Severity::Info) });
}

/// Reports the open instances that have outgrown their size, each once in its life.
pub fn evaluate() {
    let view = ledger::view();
    for (index, instance) in view.live_instances().filter(|(_, instance)| instance.has_outgrown_its_size()) {
        if instance.is_size_reported.swap(1, Ordering::Relaxed) == 0 {
            let site = instance.site.load(Ordering::Relaxed);
            outgrown(view.descriptor_of(index), site, instance.peak(), instance.size());
        }
    }
}
