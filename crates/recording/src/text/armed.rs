//! Limits and faults that are armed, and requests from outside.

use super::page::Page;
use crate::look::Look;
use crate::model::Process;
use crate::scale::grouped;

/// Limits and faults, as in the exit report.
pub(super) fn armed(process: &Process, page: &mut Page) {
    if !process.limits.is_empty() {
        page.gap();
        page.line(format!("{:<22}{:>14}{:>14}{:>14}{:>14}", "Limits", "limit", "peak", "refused", "let through"));
        for of in &process.limits {
            let limit = of.limit.map_or_else(|| of.mode.unwrap_or_default().to_owned(), grouped);
            let [peak, denied, let_through] = [of.peak, of.denied, of.let_through].map(grouped);
            page.line(format!("  {:<20}{limit:>14}{peak:>14}{denied:>14}{let_through:>14}", of.key));
        }
    }
    if !process.rules.is_empty() {
        page.gap();
        page.line(format!("{:<50}{:>14}{:>14}", "Faults", "matched", "fired"));
        for of in &process.rules {
            let [matched, fired] = [of.matched, of.fired].map(grouped);
            // A long rule gets its own line.
            let is_long = of.text.chars().count() > 48;
            if is_long {
                page.wrapped("  ", &of.text);
            }
            page.line(format!("  {:<48}{matched:>14}{fired:>14}", if is_long { "" } else { &of.text }));
            if !of.legal {
                page.line("    (impossible: no kernel does this)".into());
            }
            if let Some(last) = of.firings.last() {
                page.line(format!("    last: {}", last.said(process)));
                if let Some(site) = process.site(last.site) {
                    page.frames("      called at ", &site, &process.stack(last.site));
                }
            }
        }
        if let Some(seed) = process.header.seed {
            page.line(format!("  to repeat random choices: EPOLLSHIM_SEED={seed}"));
        }
    }
}

/// Returns whether limits or faults are armed, and a page that lists only them and the requests
/// from outside.
pub fn armed_alone(process: &Process, look: Look) -> (bool, String) {
    let mut page = Page::new(look);
    armed(process, &mut page);
    let is_armed = !page.text.is_empty();
    control(process, &mut page);
    (is_armed, page.text)
}

pub(super) fn control(process: &Process, page: &mut Page) {
    let of = process.control;
    if of.requests > 0 || of.damaged > 0 {
        page.gap();
        let ignored = match of.damaged {
            0 => String::new(),
            damaged => format!(", {} IGNORED (control page damaged)", grouped(damaged)),
        };
        let plural = if of.requests == 1 { "" } else { "s" };
        page.line(format!("Control: {} request{plural} from outside{ignored}", grouped(of.requests)));
    }
}
