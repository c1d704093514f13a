//! The ledger without a kernel: what random operations found, each by itself.

use super::{Core, Creation, Registration, Ticket};
use crate::ledger::records::{LastUsed, Origin};

pub fn create(core: &Core, fd: i32) {
    core.created(fd, Creation { origin: Origin::Create1, argument: 0, site: 1 });
}

fn add(core: &Core, epfd: i32, fd: i32) -> Ticket {
    Ticket::from_word(core.reserve(&Registration { epfd, fd, site: 2 }))
}

pub fn live(core: &Core) -> (u64, u64) {
    (core.totals.instances.get(), core.churn.watches.get())
}

#[test]
fn an_instance_lives_until_its_last_descriptor_is_closed() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    CORE.duplicated(3, 4, 0);
    add(&CORE, 4, 7);
    CORE.closed(3, None);
    assert_eq!(live(&CORE), (1, 1));
    assert!(CORE.find(4, 7).is_some());
    CORE.closed(4, None);
    assert_eq!((live(&CORE), CORE.totals.vanished.get()), ((0, 0), 1));
    // Nothing is left of the watched file either: its close costs nothing.
    assert!(!CORE.descriptors.get(7).is_known());
}

#[test]
fn an_interest_outlives_its_number_while_a_dup_lives() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (1, 1));
    // The number belongs to somebody else now.
    assert!(CORE.find(3, 7).is_none());
    add(&CORE, 3, 7);
    assert_eq!(live(&CORE), (1, 2));
    CORE.closed(8, None);
    assert_eq!((live(&CORE), CORE.totals.vanished.get()), ((1, 1), 1));
    assert!(CORE.find(3, 7).is_some());
}

#[test]
fn a_dup2_over_the_only_instance_that_watched_its_source_ends_both() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 3, 0);
    assert_eq!(live(&CORE), (0, 0));
    // Two numbers of one file that no epoll knows: an instance made later is not mixed up with them.
    create(&CORE, 9);
    CORE.closed(3, None);
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (1, 0));
}

#[test]
fn a_refused_interest_leaves_no_trace_and_no_peak() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    let registration = Registration { epfd: 3, fd: 7, site: 2 };
    let ticket = Ticket::from_word(CORE.reserve(&registration));
    assert_ne!(ticket, Ticket::None);
    assert_eq!(Ticket::from_word(ticket.to_word()), ticket);
    CORE.undo(&registration, ticket);
    CORE.reach();
    assert_eq!((live(&CORE), CORE.totals.watches_peak.get()), ((1, 0), 0));
    assert!(!CORE.descriptors.get(7).is_known());
    // A late undo of a record that is another's by now changes nothing.
    add(&CORE, 3, 8);
    CORE.undo(&registration, ticket);
    assert_eq!(live(&CORE), (1, 1));
}

#[test]
fn what_a_forked_child_closes_may_live_on_in_its_parent() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.after_fork();
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (1, 1));
    // The kernel decides: it has it no longer, and nobody was wrong.
    CORE.compare(3, CORE.descriptors.get(3).instance(), &mut [], true, |_| false, |_| false);
    assert_eq!((live(&CORE), CORE.totals.healed.get()), ((1, 0), 0));
}

#[test]
fn of_two_interests_of_one_number_the_certain_one_is_the_kernels() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    CORE.closed(7, None);
    CORE.after_fork();
    add(&CORE, 3, 7);
    CORE.closed(7, None);
    // The kernel lists one 7: that of the file behind 8.
    CORE.compare(3, CORE.descriptors.get(3).instance(), &mut [7], true, |_| true, |_| false);
    assert_eq!((live(&CORE), CORE.totals.unseen_watches.get()), ((1, 1), 0));
}

#[test]
fn closing_a_range_closes_what_is_in_it() {
    static CORE: Core = Core::new();
    for fd in [3, 4, 5] {
        create(&CORE, fd);
    }
    add(&CORE, 3, 70_000);
    CORE.closed_range(4, 4, 0);
    assert_eq!(live(&CORE), (2, 1));
    CORE.closed_range(70_000, i32::MAX, 0);
    assert_eq!(live(&CORE), (2, 0));
    CORE.closed_range(0, i32::MAX, 0);
    assert_eq!(live(&CORE), (0, 0));
}

#[test]
fn an_eventfd_in_thousands_of_lists_is_found_in_each() {
    static CORE: Core = Core::new();
    for fd in 3..2003 {
        create(&CORE, fd);
        add(&CORE, fd, 2);
    }
    for fd in (3..2003).rev() {
        CORE.deleted(fd, 2);
    }
    assert_eq!((live(&CORE), CORE.totals.unseen_watches.get()), ((2000, 0), 0));
}

#[test]
fn a_dup_told_late_counts_once() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    // The dup found the gate busy: an ADD made its source known, and perhaps the new number too.
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    CORE.duplicated(7, 8, 0);
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (1, 1));
    CORE.closed(8, None);
    assert_eq!((live(&CORE), CORE.totals.vanished.get()), ((1, 0), 1));
}

#[test]
fn a_nested_instance_that_is_met_under_two_numbers_is_one() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    // That it is an epoll turns up later.
    assert_eq!((CORE.adopt(7), live(&CORE)), (CORE.adopt(8), (2, 1)));
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (2, 1));
    CORE.closed(8, None);
    assert_eq!(live(&CORE), (1, 0));
}

#[test]
fn a_nested_instance_outlives_its_interest_whatever_its_numbers_words_say() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    // No peak is behind.
    add(&CORE, 3, 6);
    CORE.deleted(3, 6);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    // The word of 7 goes on saying that it is a file.
    CORE.adopt(8);
    CORE.closed(8, None);
    CORE.reach();
    let last_used = LastUsed::new();
    CORE.take_in_hand(3, &last_used);
    assert!(last_used.instance_of(3).is_some());
    assert!(!CORE.deleted_at_once(3, 7, &last_used) && !CORE.closed_at_once(7, 0));
    CORE.deleted(3, 7);
    assert_eq!(live(&CORE), (2, 0));
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (1, 0));
}

#[test]
fn what_was_watched_at_most_is_known_however_an_interest_goes() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    create(&CORE, 8);
    add(&CORE, 3, 7);
    add(&CORE, 3, 8);
    // The kernel does not know the second pair: an instance in the list of another, from which another process has taken it.
    CORE.gone(3, 8);
    CORE.reach();
    assert_eq!((live(&CORE), CORE.totals.watches_peak.get()), ((2, 1), 2));
}

#[test]
fn a_comparison_that_may_not_mend_tells_and_changes_nothing() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    add(&CORE, 3, 8);
    let index = CORE.descriptors.get(3).instance();
    let agrees = |kernel: &mut [i32]| CORE.compare(3, index, kernel, false, |_| true, |_| false);
    assert!(agrees(&mut [8, 7]));
    assert!(!agrees(&mut [7]) && !agrees(&mut [7, 8, 9]) && !agrees(&mut [7, 8, 8]) && !agrees(&mut [7, 9]));
    assert!(agrees(&mut [7, 8]));
    // What a thread is just adding is nobody's mistake.
    assert!(CORE.compare(3, index, &mut [7], false, |_| true, |_| true));
    // An interest whose number is gone is found all the same.
    CORE.duplicated(7, 9, 0);
    CORE.closed(7, None);
    assert!(agrees(&mut [7, 8]) && !agrees(&mut [8]));
    CORE.begin_comparison();
    assert!(!CORE.end_meeting(false));
    assert_eq!((live(&CORE), CORE.totals.healed.get(), CORE.totals.unseen_watches.get()), ((1, 2), 0, 0));
    CORE.meet(3);
    assert!(CORE.end_meeting(false));
}
