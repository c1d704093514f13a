//! Folded stacks, as flamegraph.pl, inferno and speedscope read them: one line per stack, the
//! outermost frame first, with a count.
//!
//! ```text
//! server;open descriptors;sockets;main (server.c:90);serve (server.c:41) 12
//! ```
//!
//! The first frames name what is counted: open descriptors, live epoll instances, live interests,
//! or how often a finding occurred. The frames of the stack follow, or only the call site if no
//! stacks were recorded.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use crate::Set;
use crate::findings;
use crate::model::Process;
use crate::modules::plain;
use crate::sites::Site;

pub fn render(set: &Set, out: &mut dyn Write) -> io::Result<()> {
    let mut counts = Counts::default();
    set.processes.iter().for_each(|process| counts.add_process(process));
    counts.0.iter().try_for_each(|(stack, count)| writeln!(out, "{stack} {count}"))
}

/// Counts by stack.
#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn add_process(&mut self, process: &Process) {
        let program = plain(&process.header.comm);
        for row in process.census.iter().flat_map(|census| &census.rows) {
            let frames = frames(process, row.site);
            self.add(&[&program, "open descriptors", row.kind.plural()], &frames, row.live);
        }
        for instance in &process.instances {
            self.add(&[&program, "epoll instances"], &frames(process, instance.site), 1);
        }
        for interest in &process.interests {
            self.add(&[&program, "epoll interests"], &frames(process, interest.site), 1);
        }
        for found in findings::of([process]) {
            let site = found.site.iter().cloned().collect();
            let frames = if found.stack.is_empty() { site } else { found.stack.clone() };
            self.add(&[&program, "findings", found.finding.id.name()], &frames, found.finding.count);
        }
    }

    /// `stack` begins with the innermost frame.
    fn add(&mut self, what: &[&str], stack: &[Arc<Site>], count: u64) {
        if count == 0 {
            return;
        }
        let callers = stack.iter().rev().map(|site| site.best());
        let unseen = stack.is_empty().then(|| "(not seen)".to_owned());
        let frames = what.iter().map(|word| (*word).to_owned()).chain(callers).chain(unseen);
        // A semicolon ends a frame, even in the name of a function.
        let line = frames.map(|frame| frame.replace(';', ":")).collect::<Vec<_>>().join(";");
        let sum = self.0.entry(line).or_default();
        *sum = sum.saturating_add(count);
    }
}

/// The stack of a site, the innermost frame first, or the site itself if it has no stack. Empty if
/// the site is not known.
fn frames(process: &Process, site: u64) -> Vec<Arc<Site>> {
    let stack = process.stack(site);
    if stack.is_empty() { process.site(site).into_iter().collect() } else { stack }
}
