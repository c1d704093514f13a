//! What only the sums tell: judged as a report is made, and when the process ends.

use epollshim_format::findings::{Id, Severity};

use super::{Note, put};
use crate::ledger;
use crate::report::{End, InstanceFacts};

/// Looks at what the ledger and the counters say now. Any number of times: what is so replaces what was.
pub fn judge(end: End) {
    sizes();
    super::census::judge(end);
}

/// Instances that hold more than their `size` promised.
fn sizes() {
    for (index, instance) in ledger::view().live_instances() {
        let facts = InstanceFacts::of(index, instance);
        if let Some(size) = facts.size()
            && facts.peak > u64::from(size.unsigned_abs())
        {
            let note = Note {
                epfd: ledger::view().descriptor_of(index),
                site: facts.site,
                detail: [facts.peak, u64::from(size.unsigned_abs()), 0, 0],
                ..Note::of(Id::SizeLie, Severity::Warning)
            };
            put(&note, 1);
        }
    }
}
