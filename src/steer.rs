//! Arms faults and limits while the program runs: on request of the program (capi.rs) or from
//! outside (record/control.rs).
//!
//! Not for hooks: it takes the ledger's lock as a report does.

use core::fmt::{self, Write};

use epollshim_format::control::{self, Order, status};
use epollshim_format::faults;
use epollshim_format::limits::{self, Limits};
use epollshim_format::problem::Fault;
use libc::c_int;

use crate::buffer::Buffer;
use crate::config::{self, Config};
use crate::ledger::Here;
use crate::policy::{self, rules};
use crate::session::Trouble;
use crate::{census, init, ledger, record, report, sigsafe};

/// Carries out an order of the control page: see [`crate::record::Orders`].
pub fn obey(here: Here, order: Order, is_done: bool, answer: &mut Buffer<u8>) -> Result<(), u64> {
    carry_out(here, order, is_done, answer).map_err(|refusal| {
        answer.clear();
        let _ = write!(answer, "{refusal}");
        if refusal.errno() == libc::EBUSY { status::BUSY } else { status::REFUSED }
    })
}

#[inline(never)]
fn carry_out<'a>(here: Here, order: Order<'a>, is_done: bool, answer: &mut Buffer<u8>) -> Result<(), Refusal<'a>> {
    match order {
        Order::Inject(rules) if is_done => inject(rules)?,
        Order::Inject(rules) => check_rules(rules)?,
        Order::Limit(limits) if is_done => limit(limits)?,
        Order::Limit(limits) => drop(parse_limits(limits)?),
        _ if !is_done => {}
        Order::OffFaults => clear_rules()?,
        Order::OffLimits => limit(b"")?,
        Order::Snapshot => {
            // What the comparison finds is mirrored as the ledger changes.
            if ledger::reconcile(here).is_exact() {
                let _ = answer.write_str(control::RECONCILED);
            }
            record::write_modules();
            // Also evaluate the findings that are otherwise evaluated at exit.
            report::evaluate_now();
            census::mirror::refresh();
            policy::mirror::write();
        }
    }
    Ok(())
}

/// Why faults or limits were not armed.
pub enum Refusal<'a> {
    /// The text has a mistake.
    Fault(Fault<'a>),
    Rules(rules::Refusal),
    /// Another thread holds the ledger's lock.
    Limits,
    Session(Trouble, &'static Config),
    /// `descriptors=` counts with a census, and there is none.
    NoCensus,
    /// The options were not read yet.
    Unread,
}

impl Refusal<'_> {
    pub fn errno(&self) -> c_int {
        match self {
            Refusal::Limits | Refusal::Rules(rules::Refusal::Busy) => libc::EBUSY,
            Refusal::Fault(_) | Refusal::Rules(_) => libc::EINVAL,
            Refusal::Session(..) => libc::EACCES,
            Refusal::NoCensus | Refusal::Unread => libc::ENOTSUP,
        }
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Fault(fault) => fault.fmt(f),
            Refusal::Rules(refusal) => refusal.fmt(f),
            Refusal::Limits => f.write_str("another thread is changing the counts; try again"),
            Refusal::Session(trouble, config) => {
                // A path needs more stack than a handler may have.
                let written = sigsafe::on_own_stack(|| {
                    let directory = config.session_directory();
                    trouble.of(directory.as_c().unwrap_or_default()).fmt(f)
                });
                written.unwrap_or(Err(fmt::Error))
            }
            Refusal::NoCensus => {
                f.write_str("descriptors= needs a census: start the program with EPOLLSHIM_CENSUS=1 or EPOLLSHIM_LIMIT=descriptors=N")
            }
            Refusal::Unread => f.write_str("epollshim has not read its options yet"),
        }
    }
}

/// Whether [`inject`] would accept a text.
pub fn check_rules(text: &[u8]) -> Result<(), Refusal<'_>> {
    faults::check(text, config::allows_impossible()).map(drop).map_err(Refusal::Fault)
}

/// Arms rules after those that are already armed: all of them or none.
pub fn inject(text: &[u8]) -> Result<(), Refusal<'_>> {
    check_rules(text)?;
    if let Some(config) = config::get() {
        init::share(text, config.impossible, config).map_err(|trouble| Refusal::Session(trouble, config))?;
    }
    init::seed();
    if let Some(seed) = config::seed() {
        record::note_seed(seed);
    }
    let armed = rules::arm(faults::parse(text, config::allows_impossible()).filter_map(Result::ok));
    policy::arm();
    policy::mirror::write();
    armed.map_err(Refusal::Rules)
}

/// Disarms all rules.
pub fn clear_rules() -> Result<(), Refusal<'static>> {
    let cleared = rules::clear();
    policy::arm();
    policy::mirror::write();
    cleared.map_err(Refusal::Rules)
}

/// Parses limits. An empty text has none.
pub fn parse_limits(text: &[u8]) -> Result<Limits, Refusal<'_>> {
    if text.is_empty() { Ok(Limits::default()) } else { limits::parse(text).map_err(Refusal::Fault) }
}

/// Sets limits, which replace all that are set.
pub fn limit(text: &[u8]) -> Result<(), Refusal<'_>> {
    let wanted = parse_limits(text)?;
    if wanted.descriptors.is_some() && !census::is_on() {
        return Err(Refusal::NoCensus);
    }
    let config = config::get().ok_or(Refusal::Unread)?;
    let set = init::set_limits(&wanted, config);
    policy::arm();
    policy::mirror::write();
    set.map_err(|trouble| trouble.map_or(Refusal::Limits, |trouble| Refusal::Session(trouble, config)))
}
