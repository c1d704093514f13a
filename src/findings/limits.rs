//! Limits that are nearly reached: of descriptors, of watches, or those that the user has set. And
//! calls that the kernel refused because of a limit.

use epollshim_format::findings::{Id, Severity, near_limit};
use libc::c_int;

use super::{Note, all, note, put, withdraw_evaluated};
use crate::buffer::Buffer;
use crate::ledger::core::Registration;
use crate::{ledger, procfs, sys};

/// Called after the kernel has refused to create an instance.
pub fn creation_refused(error: c_int, site: usize) {
    if matches!(error, libc::EMFILE | libc::ENFILE | libc::ENOMEM) {
        refused(true, (-1, -1), error, site);
    }
}

/// Called after the kernel has refused an `epoll_ctl` with ENOSPC or ENOMEM.
pub fn ctl_refused(registration: &Registration, error: c_int) {
    refused(false, (registration.epfd, registration.fd), error, registration.site);
}

fn refused(creates: bool, (epfd, fd): (c_int, c_int), error: c_int, site: usize) {
    note(&Note {
        variant: error as u8,
        epfd,
        fd,
        site,
        detail: [u64::from(creates), error as u64, 0, 0],
        ..Note::of(Id::NearLimit, Severity::Warning)
    });
}

pub fn evaluate() {
    withdraw_evaluated(Id::NearLimit);
    descriptors();
    watches();
}

fn report(variant: u8, peak: u64, limit: u64, severity: Severity, denied: u64) {
    let note = Note { variant, detail: [peak, limit, denied, 0], ..Note::of(Id::NearLimit, severity) };
    put(&note, 1);
}

fn descriptors() {
    let numbers = u64::try_from(ledger::view().descriptors.highest() + 1).unwrap_or(0);
    let watches = ledger::view().totals.watches_peak.get();
    if let Ok(limit) = sys::descriptor_limit()
        && let was_met = all().any(|finding| finding.id == Id::Exhausted)
        && let Some(severity) = near_limit::of_descriptors(numbers, limit.rlim_cur, watches, was_met)
    {
        report(near_limit::DESCRIPTORS, numbers, limit.rlim_cur, severity, 0);
    }
}

fn watches() {
    let peak = ledger::view().totals.watches_peak.get();
    // The limit is in the hundreds of thousands on most machines, so few programs need to read it.
    const FEW: u64 = 1000;
    if peak < FEW {
        return;
    }
    let limit = Buffer::lend(|text: &mut Buffer<u8>| {
        if !procfs::read_file(c"/proc/sys/fs/epoll/max_user_watches", text) {
            return None;
        }
        procfs::number(text.as_slice().trim_ascii()).and_then(|limit| u64::try_from(limit).ok())
    });
    if let Some(limit) = limit
        && near_limit::is_near(peak, limit)
    {
        report(near_limit::WATCHES, peak, limit, Severity::Warning, 0);
    }
}

/// Reports a limit that the user has set, if its peak is near. `key` is its number in
/// [`near_limit::KEYS`].
pub fn near_own_limit(key: u8, peak: u64, limit: u64, denied: u64) {
    if let Some(severity) = near_limit::of_own(peak, limit, denied) {
        report(near_limit::SET + key, peak, limit, severity, denied);
    }
}
