//! Findings, as both formats of the report tell them: the worst first, and of these the most frequent.

use epollshim_format::findings::{Finding, Severity};

use crate::buffer::{Buffer, sort_by_key};
use crate::findings;

/// All of them, in order, in `into`.
pub fn gather(into: &mut Buffer<Finding>) {
    for finding in findings::all() {
        into.push(finding);
    }
    sort_by_key(into.as_mut_slice(), |finding| {
        (u64::MAX - finding.severity as u64, finding.id, u64::MAX - finding.count, finding.site, finding.other)
    });
}

/// How many of a severity.
pub fn count(of: &[Finding], severity: Severity) -> usize {
    of.iter().filter(|finding| finding.severity == severity).count()
}
