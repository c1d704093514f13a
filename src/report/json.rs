//! The report as one line of JSON, schema `epollshim.report/1`. Each process writes one line, so a
//! file that several processes share is JSON Lines.

use core::fmt::{self, Display, Write};

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::descriptor::{Descriptor, Json};
use epollshim_format::findings::{Finding, Message};
use epollshim_format::quoted::Quoted;
use epollshim_format::{REPORT_SCHEMA, errno, kernel_memory};

use super::census;
use super::facts::{Described, Distribution, Facts, InstanceFacts};
use super::values::{List, OrNull};
use crate::findings::suppressions;
use crate::policy::{limits, rules};
use crate::{config, log, record, seccomp};

impl Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return write!(f, r#"{{"count":0,"sum":0,"p50":null,"p90":null,"p99":null,"max":null}}"#);
        }
        write!(
            f,
            r#"{{"count":{},"sum":{},"p50":{},"p90":{},"p99":{},"max":{}}}"#,
            self.count, self.sum, self.p50, self.p90, self.p99, self.max
        )
    }
}

/// Err: there was not enough memory.
pub fn render(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    let totals = &facts.ledger.totals;
    write!(
        out,
        concat!(
            r#"{{"schema":"{}","process":{{"pid":{},"ppid":{},"comm":{},"exe":{},"argv":[{}],"start_unix_ns":{},"#,
            r#""duration_ns":{},"end":"{}","seed":{}}},"calls":{{{}}},"#
        ),
        REPORT_SCHEMA,
        facts.pid,
        facts.ppid,
        Quoted(facts.comm()),
        Quoted(facts.exe()),
        List(|| facts.arguments().map(Quoted)),
        facts.began_unix,
        facts.duration,
        facts.end.name(),
        OrNull(config::seed()),
        List(|| FUNCTIONS.iter().filter(|(_, calls)| facts.sums.calls(calls) != 0).map(|(name, calls)| OfCall {
            facts,
            name,
            calls
        })),
    )?;
    write!(
        out,
        r#""instances":{{"created":{},"live":{},"peak":{},"list":[{}]}},"#,
        facts.created(),
        totals.instances.get(),
        totals.instances_peak.get(),
        List(|| facts.instances().map(|instance| OfInstance { facts, instance })),
    )?;
    write!(
        out,
        r#""watches":{{"added":{},"modified":{},"deleted":{},"vanished":{},"live":{},"peak":{}}},"#,
        facts.sums.successes(Call::CtlAdd),
        facts.sums.successes(Call::CtlMod),
        facts.sums.successes(Call::CtlDel),
        totals.vanished.get(),
        facts.ledger.live_watches(),
        totals.watches_peak.get(),
    )?;
    write!(
        out,
        concat!(
            r#""waits":{{"empty":{},"full":{},"interrupted":{},"events":{{"total":{},{}}},"#,
            r#""blocked_ns":{},"work_ns":{},"batch":{}}},"#
        ),
        facts.sums.empty(),
        facts.sums.full(),
        facts.sums.interrupted(),
        facts.sums.events(),
        List(|| facts.sums.kinds().map(|(name, count)| Pair(name, count))),
        facts.sums.blocked(None),
        facts.sums.work(),
        facts.sums.batch(),
    )?;
    write!(
        out,
        r#""kernel_memory":{{"live":{},"peak":{},"source":"{}"}},"limits":[{}],"faults":[{}],"findings":[{}],"#,
        facts.ledger.memory(),
        totals.memory_peak.get(),
        kernel_memory::SOURCE,
        List(|| limits::in_force().map(OfLimit)),
        List(|| rules::armed().map(OfRule)),
        List(|| facts.findings().iter().map(|finding| OfFinding { facts, finding })),
    )?;
    census::json(facts, out)?;
    if let Some((requests, damaged)) = record::requests() {
        write!(out, r#""control":{{"requests":{requests},"damaged":{damaged}}},"#)?;
    }
    if suppressions::are_there() {
        write!(out, r#""suppressions":[{}],"#, List(|| facts.suppressed().map(OfSuppression)))?;
    }
    if let Some((written, dropped)) = log::counts() {
        write!(out, r#""log":{{"written":{written},"dropped":{dropped}}},"#)?;
    }
    if let Some(losses) = record::losses() {
        let file = losses.has_file.then(record::path).flatten();
        let error = |number| (number != 0).then(|| Quoted(errno::name(number as u32).unwrap_or("other").as_bytes()));
        write!(
            out,
            r#""recording":{{"file":{},"trouble":{},"children_lost":{},"children_trouble":{}}},"#,
            OrNull(file.as_ref().and_then(|path| path.as_c()).map(|path| Quoted(path.to_bytes()))),
            OrNull(error(losses.trouble)),
            losses.children,
            OrNull(error(losses.children_trouble)),
        )?;
    }
    writeln!(
        out,
        concat!(
            r#""coverage":{{"unseen_instances":{},"unseen_watches":{},"healed":{},"lost":{},"uncounted":{},"#,
            r#""uncompared":{},"reconciled":{},"seccomp":{},"unseen_epfds":[{}],"go":{}}}}}"#
        ),
        totals.unseen_instances.get(),
        totals.unseen_watches.get(),
        totals.healed.get(),
        totals.lost.get(),
        crate::thread::uncounted(),
        facts.uncompared,
        facts.reconciled,
        OrNull(seccomp::installed_filters().map(Filters)),
        facts.unseen_epfds(),
        super::unseen::is_go(),
    )
}

/// The program's seccomp filters, and how many of them it has installed itself.
struct Filters(u32);

impl Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"installed":{},"inherited":{},"strict":{},"forbidden":[{}]}}"#,
            self.0,
            seccomp::is_inherited(),
            seccomp::is_strict(),
            List(|| seccomp::left_out().map(InQuotes)),
        )
    }
}

pub struct Pair(pub &'static str, pub u64);

impl Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#""{}":{}"#, self.0, self.1)
    }
}

struct OfCall<'a> {
    facts: &'a Facts,
    name: &'static str,
    calls: &'static [Call],
}

impl Display for OfCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sums = &self.facts.sums;
        let errors = || {
            (0..errno::NAMED)
                .map(|error| (error, sums.errors(self.calls, error)))
                .filter(|(_, count)| *count != 0)
                .map(|(error, count)| Pair(errno::name(error as u32).unwrap_or("other"), count))
        };
        write!(f, r#""{}":{{"calls":{},"errors":{{{}}}"#, self.name, sums.calls(self.calls), List(errors))?;
        // Only waits are timed, because reading a clock costs more than counting the call.
        let timed = self.calls.first().copied().filter(|call| Call::WAITS.contains(call));
        let latency = timed.map(|call| sums.blocked(Some(call)));
        write!(
            f,
            r#","injected":{},"limited":{},"latency_ns":{}}}"#,
            sums.injected(self.calls),
            sums.limited(self.calls),
            OrNull(latency)
        )
    }
}

struct OfLimit(limits::LimitStatus);

impl Display for OfLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = &self.0;
        write!(
            f,
            r#"{{"key":"{}","limit":{},"peak":{},"denied":{},"let_through":{}"#,
            status.key.name(),
            OrNull(status.limit),
            status.peak,
            status.denied,
            status.let_through,
        )?;
        if let Some(mode) = status.mode {
            write!(f, r#","mode":"{mode}""#)?;
        }
        f.write_char('}')
    }
}

struct OfRule(rules::RuleStatus);

impl Display for OfRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = &self.0;
        f.write_str(r#"{"rule":""#)?;
        for byte in rule.text() {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                other => write!(f, "\\u{:04x}", other)?,
            }
        }
        write!(f, r#"","matched":{},"fired":{},"legal":{}}}"#, rule.matched, rule.fired, rule.legal)
    }
}

struct OfFinding<'a> {
    facts: &'a Facts,
    finding: &'a Finding,
}

impl Display for OfFinding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.finding;
        let site = self.facts.map.site(finding.site as usize);
        let other = self.facts.map.site(finding.other as usize);
        write!(
            f,
            r#"{{"id":"{}","severity":"{}","count":{},"epfd":{},"fd":{},"site":{},"other_site":{},"stack":{},"message":{}"#,
            finding.id.name(),
            finding.severity.name(),
            finding.count,
            OrNull(finding.epfd),
            OrNull(finding.fd),
            OrNull(site.as_ref().map(InQuotes)),
            OrNull(other.as_ref().map(InQuotes)),
            Stack(self.facts, finding.site as usize),
            InQuotes(Message(finding)),
        )?;
        let roles = finding.roles();
        write!(f, r#","site_role":"{}","other_role":"{}""#, roles.site, roles.other)?;
        if let Some(site) = self.facts.map.site(finding.created_at() as usize) {
            write!(f, r#","created_site":{}"#, InQuotes(site))?;
        }
        write!(f, r#","other_stack":{}"#, Stack(self.facts, finding.other as usize))?;
        if let Some(Described { fd, kept, now }) = Described::of(finding) {
            write!(f, r#","descriptor":{}"#, Json { fd, of: Descriptor(kept.as_bytes()) })?;
            if let Some(now) = now {
                write!(f, r#","descriptor_now":{}"#, Json { fd, of: Descriptor(now.as_bytes()) })?;
            }
        }
        if let Some(index) = census::of_leak(finding) {
            write!(f, r#","descriptors":[{}]"#, census::Examples(index))?;
        }
        f.write_char('}')
    }
}

/// A rule, as it was written, and how many findings it suppresses.
struct OfSuppression((&'static [u8], u64));

impl Display for OfSuppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, count) = self.0;
        write!(f, r#"{{"rule":{},"findings":{count}}}"#, Quoted(rule))
    }
}

struct OfInstance<'a> {
    facts: &'a Facts,
    instance: InstanceFacts,
}

impl Display for OfInstance<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = &self.instance;
        let descriptors = || self.facts.descriptors_of(instance.index);
        let site = self.facts.map.site(instance.site);
        write!(
            f,
            r#"{{"id":{},"epfds":[{}],"call":{},"size":{},"cloexec":{},"inherited":{},"site":{},"stack":{},"#,
            instance.id,
            List(descriptors),
            OrNull(instance.call().map(|call| Quoted(call.as_bytes()))),
            OrNull(instance.size()),
            descriptors().next().is_some_and(crate::sys::is_cloexec),
            instance.inherited,
            OrNull(site.as_ref().map(InQuotes)),
            Stack(self.facts, instance.site),
        )?;
        write!(
            f,
            r#""watches":{},"peak_watches":{},"waits":{},"events":{},"empty":{},"full":{},"interrupted":{},"kernel_bytes":{}}}"#,
            instance.watches,
            instance.peak,
            instance.waits,
            instance.events,
            instance.empty,
            instance.full,
            instance.interrupted,
            instance.kernel_bytes(),
        )
    }
}

/// The places of a site's stack, as JSON strings.
pub struct Stack<'a>(pub &'a Facts, pub usize);

impl Display for Stack<'_> {
    // Once, for size.
    #[inline(never)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", List(|| self.0.map.stack(self.1).map(InQuotes)))
    }
}

/// Something displayable as a JSON string.
pub struct InQuotes<T>(pub T);

impl<T: Display> Display for InQuotes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|letter| match letter {
                    '"' | '\\' => write!(self.0, "\\{letter}"),
                    letter => self.0.write_char(letter),
                })
            }
        }
        f.write_char('"')?;
        write!(Escaping(f), "{}", self.0)?;
        f.write_char('"')
    }
}
