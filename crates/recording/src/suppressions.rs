//! Removes findings from the report, by the rules of `epollshim_format::suppressions`.

use std::collections::BTreeMap;

use epollshim_format::findings::{Finding, Id};
use epollshim_format::suppressions::{Rule, parse};

use crate::Set;
use crate::model::Process;
use crate::modules::plain;

/// A rule, and how many findings it suppressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suppression {
    /// As it was written, safe for a terminal.
    pub rule: String,
    /// How many findings of all processes it suppresses.
    pub findings: u64,
}

impl Set {
    /// Removes the findings that the rules in a text match. Lines that are not rules are ignored.
    /// `suppressions` then has the number of findings of each rule. Must be called at most once.
    pub fn suppress(&mut self, text: &[u8]) {
        let mut rules: BTreeMap<Id, Vec<(usize, Rule)>> = BTreeMap::new();
        for (index, rule) in parse(text).filter_map(Result::ok).enumerate() {
            rules.entry(rule.id).or_default().push((index, rule));
            self.suppressions.push(Suppression { rule: plain(rule.text), findings: 0 });
        }
        for process in &mut self.processes {
            let found = std::mem::take(&mut process.findings);
            for finding in found {
                let of_its_kind = rules.get(&finding.id).map(Vec::as_slice).unwrap_or_default();
                match of_its_kind.iter().find(|(_, rule)| is_about(rule, process, &finding)) {
                    Some((index, _)) => {
                        if let Some(suppression) = self.suppressions.get_mut(*index) {
                            suppression.findings += 1;
                        }
                    }
                    None => process.findings.push(finding),
                }
            }
        }
    }
}

/// Matches the rule with the names of the finding's two places: object, function and source file.
fn is_about(rule: &Rule, process: &Process, finding: &Finding) -> bool {
    let matches = |name: &[u8]| rule.matches(finding.id, name);
    let places = [finding.site, finding.other].map(|site| process.address(site));
    places.into_iter().filter(|address| *address != 0).any(|address| {
        let site = process.site(address);
        let function = site.as_deref().filter(|site| !site.behind).and_then(|site| site.function.as_deref());
        let file = site.as_deref().and_then(|site| site.file.as_deref());
        let of_object =
            process.modules.place(address).module.is_some_and(|module| matches(&module.path) || matches(module.name()));
        of_object || [function, file].into_iter().flatten().any(|name| matches(name.as_bytes()))
    })
}
