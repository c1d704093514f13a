use super::{Around, Care, Cared, Growth, Kind, Leak, Row};
use crate::findings::Severity;
use crate::recording::census::place;

#[test]
fn a_kind_has_its_number_and_is_known_by_what_proc_says() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_number(*kind as u64), *kind);
    }
    assert_eq!(Kind::of_target(b"socket:[123]"), Kind::Socket);
    assert_eq!(Kind::of_target(b"/dev/null"), Kind::File);
    assert_eq!(Kind::of_target(b"anon_inode:[io_uring]"), Kind::Other);
}

#[test]
fn only_a_number_that_keeps_growing_is_a_leak() {
    let leak = Growth { born: 100, alive: 100, floors: [8, 16, 32, 64], span: 1000, since: 500 };
    assert_eq!(leak.judge(), Leak::Certain);
    assert_eq!(Growth { alive: 50, ..leak }.judge(), Leak::Likely);
    assert_eq!(Growth { alive: 15, ..leak }.judge(), Leak::No);
    // Filled at the start, and then constant.
    assert_eq!(Growth { since: 1_000_000_000, ..leak }.judge(), Leak::No);
    // A server under a steady load, at its end.
    assert_eq!(Growth { born: 100_000, floors: [60, 64, 62, 61], ..leak }.judge(), Leak::No);
}

#[test]
fn a_slow_leak_is_distinguished_from_a_busy_server() {
    // One of a hundred stays open, while thirty are in use.
    let quiet = Growth { born: 9_000, alive: 90, floors: [40, 50, 70, 110], span: 1000, since: 500 };
    assert_eq!(quiet.judge(), Leak::Likely);
    // A thousand that no instance watches, whose number drifts.
    assert_eq!(Growth { alive: 1_190, floors: [1_000, 1_020, 1_060, 1_140], ..quiet }.judge(), Leak::No);
    assert_eq!(Growth { floors: [40, 50, 60, 70], ..quiet }.judge(), Leak::No);
    assert_eq!(Growth { floors: [40, 44, 52, 68], ..quiet }.judge(), Leak::No);
}

/// A row whose number of creations has just reached a power of two, and whose descriptors are all
/// open.
fn row(kind: Kind, live: u64, gone: u64) -> Row {
    Row {
        key: place::key(0x1000, kind),
        counts: live,
        floors: [live, live / 2, live / 4, live / 8, live / 16],
        gone,
        ..Row::default()
    }
}

#[test]
fn a_descriptor_that_has_lost_its_other_end_is_a_leak_even_if_watched() {
    let row = row(Kind::Socket, 256, 63 << 32 | 127 << 16 | 255);
    let around = Around { now: 1 << 40, is_running: true, ..Around::default() };
    assert_eq!(row.gone_of(256), 255);
    let mut cared = Cared::default();
    cared.add(Care::Gone, 250, 300);
    let found = row.judge(&cared, &around).map(|found| (found.severity, found.fd, found.detail[3]));
    assert_eq!(found, Some((Severity::Error, Some(300), 250)));
    // At one look they were few, or their number did not grow.
    assert!(!Row { gone: 63 << 32 | 64 << 16 | 70, ..row }.lingers());
    assert!(!Row { gone: 3 << 32 | 6 << 16 | 12, ..row }.lingers());
}

#[test]
fn timers_are_a_leak_if_nothing_needs_them() {
    let row = row(Kind::Timerfd, 256, 0);
    let severity = |care, now, companions| {
        let mut cared = Cared::default();
        cared.add(care, 256, 300);
        row.judge(&cared, &Around { companions, now, is_running: true, ..Around::default() })
            .map(|found| found.severity)
    };
    assert_eq!(severity(Care::Left, 1 << 40, 300), Some(Severity::Error));
    assert_eq!(severity(Care::Doubtful, 0, 300), None);
    assert_eq!(severity(Care::Silent, 0, 2), Some(Severity::Warning));
    assert_eq!(severity(Care::Silent, 1 << 40, 2), None);
    assert_eq!(severity(Care::Silent, 0, 256), None);
}
