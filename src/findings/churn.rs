//! Instances that are created and closed again and again, grouped by call site.

use crate::sync::Ordering;

use epollshim_format::findings::{Id, churn};

use super::{Note, put, withdraw};
use crate::{clock, ledger, process, sys};

pub fn evaluate() {
    withdraw(Id::Churn);
    let time = sys::processor_time(0).unwrap_or(0);
    let lived = clock::monotonic().saturating_sub(process::began());
    for (site, made) in ledger::records().creation_sites.all() {
        // Skip most sites early: counting the open instances walks all of them.
        if churn::severity(made, time, lived).is_none() {
            continue;
        }
        let open = ledger::view().live_instances().filter(|(_, instance)| {
            instance.site.load(Ordering::Relaxed) as u64 == site && instance.inherited.load(Ordering::Relaxed) == 0
        });
        let ended = made.saturating_sub(open.count() as u64);
        if let Some(severity) = churn::severity(ended, time, lived) {
            let detail = [ended, made, time, lived];
            put(&Note { site: site as usize, detail, ..Note::of(Id::Churn, severity) }, ended);
        }
    }
}
