//! Call sites, and what became of the records of calls.

use super::page::Page;
use crate::facts::{Facts, SiteFacts};
use crate::scale::{grouped, time};

const SITES: usize = 12;

pub(super) fn sites(facts: &Facts, page: &mut Page) {
    if facts.sites.is_empty() {
        return;
    }
    page.gap();
    let of = if facts.has_rings { "the last call records of each thread" } else { "all call records" };
    page.line(format!("Call sites (calls counted in {of})"));
    for site in facts.sites.iter().take(SITES) {
        one_site(site, page);
    }
    page.more(facts.sites.len().saturating_sub(SITES) + facts.more_sites);
}

fn one_site(site: &SiteFacts, page: &mut Page) {
    let best = site.site.best();
    page.line(format!("  {best}"));
    if !best.starts_with(&site.site.text) {
        page.line(format!("      {}", site.site.text));
    }
    let mut parts = Vec::new();
    if !site.calls.is_empty() {
        parts.push(site.what());
        parts.push(format!("{} total", time(site.time)));
    }
    for (count, what) in [
        (site.failed, "failed"),
        (site.events, if site.events == 1 { "event" } else { "events" }),
        (site.instances, if site.instances == 1 { "live instance" } else { "live instances" }),
        (site.watches, if site.watches == 1 { "live watch" } else { "live watches" }),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", grouped(count)));
        }
    }
    page.wrapped("      ", &parts.join(", "));
}

pub(super) fn records(facts: &Facts, page: &mut Page) {
    let records = &facts.records;
    if records.begun == 0 {
        return;
    }
    page.gap();
    let lost = if records.dropped > 0 {
        format!("{} dropped", grouped(records.dropped))
    } else {
        format!("{} overwritten", grouped(records.overwritten))
    };
    page.line(format!("Call records: {} kept, {lost}", grouped(records.seen)));
    if records.held < records.seen {
        page.line(format!("  (html and perfetto show only the last {})", grouped(records.held)));
    }
    if records.unfinished > 0 {
        page.line(format!("  unfinished or damaged: {}", grouped(records.unfinished)));
    }
    if records.left > 0 {
        page.line(format!(
            "  calls without a record (in progress, cancelled or left by a jump): {}",
            grouped(records.left)
        ));
    }
}
