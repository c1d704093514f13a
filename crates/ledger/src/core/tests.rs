//! The ledger without a kernel: cases that random operations found.

extern crate std;

use std::vec::Vec;

use super::{Creation, File, Head, Line, Registration, Ticket};
use crate::kernel::tests::{Heap, Nobody};
use crate::lock::flags;
use crate::records::{LastUsed, Origin};

/// A ledger that no observer follows, and that asks nothing.
pub type Core = super::Core<Heap, Nobody>;

pub fn create(core: &Core, fd: i32) {
    core.prepare(&[fd]);
    core.created(fd, Creation { origin: Origin::Create1, argument: 0, site: 1 });
}

fn add(core: &Core, epfd: i32, fd: i32) -> Ticket {
    core.prepare(&[epfd, fd]);
    Ticket::from_word(core.reserve(&Registration { epfd, fd, site: 2 }))
}

pub fn live(core: &Core) -> (u64, u64) {
    (core.totals.instances.get(), core.churn.watches.get())
}

/// Compares with a list of the kernel's: numbers, and what they refer to now. If it may correct,
/// numbers come first.
pub fn compare(core: &Core, epfd: i32, kernel: &[(i32, File)], may_correct: bool, is_under_way: bool) -> bool {
    let mut lines: Vec<_> = kernel.iter().map(|(fd, file)| Line { fd: *fd, place: 0, file: *file }).collect();
    lines.sort_by_key(|line| line.fd);
    if may_correct {
        core.correct_numbers(core.descriptors.get(epfd).instance(), &lines);
    }
    core.compare(epfd, &lines, &mut Vec::new(), may_correct, |_| is_under_way)
}

/// Walks every list, both ways, and the index of pairs: each live interest is in each of its lists
/// once.
pub fn check_lists(core: &Core) {
    let (mut by_instance, mut by_description, mut away) = (0, 0, 0);
    for (index, instance) in core.live_instances() {
        let (mut at, mut before) = (instance.first.get(), 0);
        let mut listed = 0;
        while let Some(interest) = core.interest(at) {
            assert!(interest.is_live() && interest.instance() == index);
            assert_eq!(interest.previous.get(), before);
            (at, before, listed) = (interest.next.get(), at, listed + 1);
            assert!(listed <= core.live_watches());
        }
        assert_eq!(listed, instance.watches.get());
        by_instance += listed;
    }
    for index in 1..core.records.end() {
        let Some(description) = core.description(index).filter(|one| one.epoch() != 0) else { continue };
        let (mut at, mut before) = (description.interests(), 0);
        while let Some(interest) = core.interest(at) {
            assert!(interest.is_live() && interest.description() == index);
            assert!(before == 0 || interest.previous_sibling() == before);
            assert_eq!(core.find_among(description, interest.instance(), interest.fd()).map(|one| one.0), Some(at));
            away += u32::from(at != index);
            (at, before, by_description) = (interest.sibling(), at, by_description + 1);
            assert!(by_description <= core.live_watches());
        }
    }
    assert_eq!((by_instance, by_description), (core.live_watches(), core.live_watches()));
    assert_eq!(core.check_pairs(), away);
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
    // Nothing is known of the watched file either.
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
    // The number refers to something else now.
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
    // Two numbers of one file that no epoll knows. An instance that is created later is not
    // confused with them.
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
    // A late undo of a record that was reused changes nothing.
    add(&CORE, 3, 8);
    CORE.undo(&registration, ticket);
    assert_eq!(live(&CORE), (1, 1));
}

#[test]
fn a_file_that_a_forked_child_closes_may_stay_open_in_its_parent() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.after_fork();
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (1, 1));
    // The kernel decides: it no longer has the interest, and the ledger was not wrong.
    compare(&CORE, 3, &[], true, false);
    assert_eq!((live(&CORE), CORE.totals.healed.get()), ((1, 0), 0));
}

#[test]
fn of_two_interests_of_one_number_the_certain_one_is_kept() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    CORE.closed(7, None);
    CORE.after_fork();
    add(&CORE, 3, 7);
    CORE.closed(7, None);
    // The kernel lists one 7: that of the file behind 8.
    compare(&CORE, 3, &[(7, File::Unknown)], true, false);
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
    check_lists(&CORE);
    for fd in (3..2003).rev() {
        CORE.deleted(fd, 2);
    }
    assert_eq!((live(&CORE), CORE.totals.unseen_watches.get()), ((2000, 0), 0));
}

#[test]
fn many_files_in_the_lists_of_many_instances_are_found_in_each_while_the_index_grows() {
    const INSTANCES: i32 = 300;
    const FILES: i32 = 100;
    static CORE: Core = Core::new();
    for epfd in 0..INSTANCES {
        create(&CORE, epfd);
        for fd in 1000..1000 + FILES {
            assert_ne!(add(&CORE, epfd, fd), Ticket::None);
        }
    }
    check_lists(&CORE);
    // In an order that begins in the middle of every list.
    for step in 0..INSTANCES {
        let epfd = (step * 7 + INSTANCES / 2) % INSTANCES;
        for fd in (1000..1000 + FILES).filter(|fd| fd % 3 == step % 3) {
            CORE.deleted(epfd, fd);
        }
        if step % 2 == 0 {
            CORE.closed(epfd, Some(0));
        }
    }
    check_lists(&CORE);
    assert_eq!((CORE.totals.instances.get(), CORE.totals.unseen_watches.get()), (150, 0));
    CORE.closed_range(1000, 1000 + FILES, 0);
    assert_eq!(live(&CORE), (150, 0));
    check_lists(&CORE);
}

#[test]
fn a_dup_that_is_noted_late_counts_once() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    // The dup found the lock busy: an ADD made its source known, and perhaps the new number too.
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    CORE.duplicated(7, 8, 0);
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (1, 1));
    CORE.closed(8, None);
    assert_eq!((live(&CORE), CORE.totals.vanished.get()), ((1, 0), 1));
}

#[test]
fn a_nested_instance_that_is_seen_under_two_numbers_is_one() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    // It becomes known later that it is an epoll.
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
    // The word of 7 still says that it is a file.
    CORE.adopt(8);
    CORE.closed(8, None);
    CORE.reach();
    let last_used = LastUsed::new();
    CORE.set_last_used(3, &last_used);
    assert!(last_used.instance_of(3).is_some());
    assert!(!CORE.deleted_at_once(3, 7, &last_used) && !CORE.closed_at_once(7, 0));
    CORE.deleted(3, 7);
    assert_eq!(live(&CORE), (2, 0));
    CORE.closed(7, None);
    assert_eq!(live(&CORE), (1, 0));
}

#[test]
fn the_peak_of_watches_is_known_however_an_interest_ends() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    create(&CORE, 8);
    add(&CORE, 3, 7);
    add(&CORE, 3, 8);
    // The kernel does not know the second pair: an instance in the list of another, from which
    // another process has taken it.
    CORE.gone(3, 8);
    CORE.reach();
    assert_eq!((live(&CORE), CORE.totals.watches_peak.get()), ((2, 1), 2));
}

#[test]
fn a_comparison_that_may_not_correct_reports_and_changes_nothing() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    add(&CORE, 3, 8);
    let agrees = |kernel: &[i32]| {
        let lines: Vec<_> = kernel.iter().map(|fd| (*fd, File::Unknown)).collect();
        compare(&CORE, 3, &lines, false, false)
    };
    assert!(agrees(&[8, 7]));
    assert!(!agrees(&[7]) && !agrees(&[7, 8, 9]) && !agrees(&[7, 8, 8]) && !agrees(&[7, 9]));
    assert!(agrees(&[7, 8]));
    // An interest that a thread is adding is not an error.
    assert!(compare(&CORE, 3, &[(7, File::Unknown)], false, true));
    // An interest whose number is closed is found nevertheless.
    CORE.duplicated(7, 9, 0);
    CORE.closed(7, None);
    assert!(agrees(&[7, 8]) && !agrees(&[8]));
    assert_eq!((live(&CORE), CORE.totals.healed.get(), CORE.totals.unseen_watches.get()), ((1, 2), 0, 0));
}

#[test]
fn a_number_that_refers_to_another_file_is_not_the_watched_one() {
    static CORE: Core = Core::new();
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    let moved = [(7, File::Other)];
    assert!(compare(&CORE, 3, &[(7, File::Watched)], false, false) && !compare(&CORE, 3, &moved, false, false));
    compare(&CORE, 3, &moved, true, false);
    assert!(compare(&CORE, 3, &moved, false, false));
    // Nothing is lost by it, and a close of the number ends nothing: 8 keeps what is watched.
    CORE.closed(7, Some(0));
    assert_eq!((live(&CORE), CORE.totals.unseen_watches.get()), ((1, 1), 0));
    // It comes back where no hook saw it.
    let back = [(7, File::Watched)];
    assert!(!compare(&CORE, 3, &back, false, false));
    compare(&CORE, 3, &back, true, false);
    assert!(compare(&CORE, 3, &back, false, false) && CORE.find(3, 7).is_some());
    CORE.closed(8, Some(0));
    assert_eq!(live(&CORE), (1, 1));
    // Another process may have kept it all the time: the kernel knows.
    CORE.closed(7, Some(0));
    assert!(compare(&CORE, 3, &[(7, File::Closed)], false, false));
    let healed = CORE.totals.healed.get();
    compare(&CORE, 3, &[], true, false);
    assert_eq!((live(&CORE), CORE.totals.unseen_watches.get()), ((1, 0), 0));
    assert_eq!(CORE.totals.healed.get(), healed);
    check_lists(&CORE);
}

/// The kernel's instances, each by its descriptors and the length of its list.
fn regroup(core: &Core, kernel: &[(&[i32], u32)]) {
    let heads: Vec<_> = kernel
        .iter()
        .flat_map(|(fds, count)| fds.iter().map(|fd| Head { leader: fds[0], count: *count, ..Head::of(*fd) }))
        .collect();
    assert!(!core.is_grouped(&heads));
    core.regroup(&heads, &mut Vec::new(), &mut Vec::new());
    assert!(core.is_grouped(&heads));
    for (fds, _) in kernel {
        assert!(fds.iter().all(|fd| core.descriptors.get(*fd).instance() == core.descriptors.get(fds[0]).instance()));
    }
    check_lists(core);
}

#[test]
fn numbers_are_regrouped_as_the_kernel_has_them() {
    static CORE: Core = Core::new();
    for fd in [3, 4, 5] {
        create(&CORE, fd);
    }
    CORE.duplicated(3, 6, 0);
    CORE.duplicated(3, 7, 0);
    add(&CORE, 3, 9);
    // One becomes two: the one that watches as much as before continues.
    let before = CORE.descriptors.get(6).instance();
    regroup(&CORE, &[(&[3, 7], 0), (&[4], 0), (&[5], 0), (&[6], 1)]);
    assert_eq!((live(&CORE), CORE.descriptors.get(6).instance()), ((4, 1), before));
    // Two become one.
    regroup(&CORE, &[(&[3, 5, 7], 0), (&[4], 0), (&[6], 1)]);
    // Two exchange numbers, and one has lost all of its own.
    regroup(&CORE, &[(&[3, 4], 0), (&[5, 7], 0)]);
    assert_eq!(live(&CORE), (2, 0));
    // A count that was wrong ends nothing too early.
    if let Some(description) = CORE.description(CORE.descriptors.get(3).description()) {
        description.set_descriptors(1);
    }
    regroup(&CORE, &[(&[3, 4], 0), (&[5, 7], 0)]);
    CORE.closed(3, None);
    assert_eq!(live(&CORE), (2, 0));
    for fd in [4, 5, 7] {
        CORE.closed(fd, None);
    }
    assert_eq!(live(&CORE), (0, 0));
    // Known as a watched file, under two numbers, and then as an epoll.
    create(&CORE, 3);
    add(&CORE, 3, 7);
    CORE.duplicated(7, 8, 0);
    regroup(&CORE, &[(&[3], 1), (&[7, 8], 0)]);
    assert_eq!(live(&CORE), (2, 1));
}

#[test]
fn waiting_changes_request_memory_again_if_the_thread_that_was_to_get_it_is_gone() {
    static CORE: Core = Core::new();
    let asks = || CORE.lock.slow_path_flags() & flags::MEMORY != 0;
    create(&CORE, 3);
    for fd in 10.. {
        if CORE.records.is_nearly_out() {
            break;
        }
        CORE.reserve(&Registration { epfd: 3, fd, site: 2 });
    }
    assert!(asks(), "the holder who found little left has said so");
    // Another thread has begun to get memory, and does not exist in the child of a fork.
    CORE.lock.clear_slow_path(flags::MEMORY);
    assert!(CORE.is_nearly_out() && asks(), "or the changes would wait forever");
    CORE.grow();
    assert!(!CORE.is_nearly_out() && !asks());
}
