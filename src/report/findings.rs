//! The findings in both formats of the report: without suppressed ones, the worst first, and within
//! a severity the most frequent first.

use epollshim_format::findings::Finding;
use epollshim_format::suppressions::Rule;

use super::sites::{Map, name_of};
use super::symbols;
use crate::buffer::{Buffer, sort_by_key};
use crate::findings::{self, suppressions};
use crate::stacks;

/// Adds the findings that are shown to `into`, in order, and to `suppressed` how many each rule
/// suppresses.
pub fn gather(map: &Map, into: &mut Buffer<Finding>, suppressed: &mut Buffer<u64>) {
    for _ in suppressions::rules() {
        suppressed.push(0);
    }
    for finding in findings::all() {
        match suppressions::rules().position(|rule| is_about(&rule, map, &finding)) {
            Some(rule) => suppressed.as_mut_slice().iter_mut().skip(rule).take(1).for_each(|count| *count += 1),
            None => {
                into.push(finding);
            }
        }
    }
    sort_by_key(into.as_mut_slice(), |finding| {
        (u64::MAX - finding.severity as u64, finding.id, u64::MAX - finding.count, finding.site, finding.other)
    });
}

/// Matches the names of the finding's two places: objects, and exported functions.
fn is_about(rule: &Rule, map: &Map, finding: &Finding) -> bool {
    let matches = |name: &[u8]| rule.matches(finding.id, name);
    rule.id == finding.id
        && [finding.site as usize, finding.other as usize].map(stacks::first).into_iter().any(|address| {
            let Some(site) = map.site(address) else { return false };
            matches(site.path())
                || matches(name_of(site.path()))
                || symbols::function(map, &site, address).is_some_and(matches)
        })
}
