//! Compares the ledger with a plain model of the kernel (`reference`), over random programs. A
//! difference is shrunk to the shortest program that shows it.
//!
//! The ledger sees what hooks see: the calls of one process, and nothing else. If the hooks see
//! everything, the ledger equals the kernel after each step. If something escaped them (a
//! descriptor in a message, another process that keeps a file open or removes an interest, an
//! exec), one correction by the kernel's lists makes it equal again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod reference;

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;

use epollshim_ledger::core::{Core, Creation, File as Refers, Head, Line, Registration, Ticket, Unmatched};
use epollshim_ledger::list::List;
use epollshim_ledger::lock::Hold;
use epollshim_ledger::lock_protocol::View;
use epollshim_ledger::records::Origin;
use epollshim_ledger::reservations::Kind;
use epollshim_ledger::{Change, Kernel, Memory, Observer, Picture, Room, Strangers};
use proptest::prelude::*;
use reference::Errno;

/// A call of the program's, or something that happens to it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open {
        close_on_exec: bool,
    },
    Create {
        close_on_exec: bool,
    },
    Add {
        epfd: i32,
        fd: i32,
        one_shot: bool,
    },
    Modify {
        epfd: i32,
        fd: i32,
        one_shot: bool,
    },
    Delete {
        epfd: i32,
        fd: i32,
    },
    Wait {
        epfd: i32,
    },
    Dup {
        old: i32,
    },
    Dup2 {
        old: i32,
        new: i32,
    },
    Close {
        fd: i32,
    },
    CloseRange {
        first: i32,
        last: i32,
    },
    /// The program continues in the parent or in the child. The other process keeps what it has.
    Fork {
        in_child: bool,
    },
    OtherEnds,
    Exec,
    Send {
        fd: i32,
    },
    Receive,
}

std::thread_local! {
    static KERNEL: RefCell<reference::Kernel> = RefCell::new(reference::Kernel::new());
}

fn kernel<T>(work: impl FnOnce(&mut reference::Kernel) -> T) -> T {
    KERNEL.with_borrow_mut(work)
}

struct Host;

impl Memory for Host {
    fn map(bytes: usize) -> Option<*mut u8> {
        let start = unsafe_map(bytes);
        (!start.is_null()).then_some(start)
    }

    unsafe fn unmap(start: *mut u8, bytes: usize) {
        // SAFETY: the caller promises that it is a whole mapping of `map`, which allocated it with
        // this layout.
        unsafe { dealloc(start, layout(bytes)) };
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 4096).unwrap()
}

fn unsafe_map(bytes: usize) -> *mut u8 {
    assert_ne!(bytes, 0);
    // SAFETY: the size is not zero.
    unsafe { alloc_zeroed(layout(bytes)) }
}

impl Kernel for Host {
    fn are_aliases(fd: i32, other: i32) -> Option<bool> {
        Some(kernel(|kernel| kernel.file(fd).is_some() && kernel.file(fd) == kernel.file(other)))
    }
    fn now() -> u64 {
        0
    }
    fn has_ended(_: Hold) -> bool {
        false
    }
    fn is_on_another_stack() -> bool {
        false
    }
    fn is_amid_a_hook(_: View, _: usize) -> bool {
        true
    }
    fn give_way(_: bool) {}
    fn claim(_: Kind) {}
    fn release(_: Kind) {}
    fn take_former(_: Kind) -> bool {
        false
    }
    fn process_number() -> u32 {
        1
    }
    fn has_shared_by_fork() -> bool {
        false
    }
}

struct Nobody;

impl Observer for Nobody {}

type Ledger = Core<Host, Nobody>;

/// A ledger that has seen nothing. Its memory is never freed, because records are `'static`.
fn begin() -> &'static Ledger {
    Box::leak(Box::new(Ledger::new()))
}

const CREATION: Creation = Creation { origin: Origin::Create1, argument: 0, site: 1 };

/// Makes a change, as hooks do (src/ledger/access.rs).
fn tell(ledger: &Ledger, change: Change) {
    let answers = ledger.prepare(&change.numbers());
    ledger.with_answers(Some(answers.rings()), || ledger.make(change));
}

/// The changes that hooks make around an `epoll_ctl(ADD)` (src/ledger/events/interests.rs).
fn add(ledger: &Ledger, epfd: i32, fd: i32, one_shot: bool) {
    let registration = Registration { epfd, fd, site: 2 };
    let is_known = ledger.find(epfd, fd).is_some();
    let answers = ledger.prepare(&[epfd, fd]);
    let reserve = || ledger.with_answers(Some(answers.rings()), || ledger.reserve(&registration));
    let ticket = if is_known { Ticket::None } else { Ticket::from_word(reserve()) };
    match kernel(|kernel| kernel.add(epfd, fd, one_shot)) {
        Ok(()) if matches!(ticket, Ticket::Noted { .. }) => {}
        Ok(()) => tell(ledger, Change::Added(registration)),
        Err(error) => {
            match (ticket, error) {
                (Ticket::None, Errno::Exist) if !is_known => tell(ledger, Change::Found(registration)),
                (Ticket::None, _) => {}
                (ticket, Errno::Exist) => tell(ledger, Change::Existed(registration, ticket)),
                (ticket, _) => tell(ledger, Change::Undone(registration, ticket)),
            }
            look_for_dead(ledger, &[epfd, fd], error);
        }
    }
}

fn not_changed(ledger: &Ledger, epfd: i32, fd: i32, error: Errno) {
    if error == Errno::Noent && ledger.find(epfd, fd).is_some() {
        tell(ledger, Change::Gone { epfd, fd });
    }
    look_for_dead(ledger, &[epfd, fd], error);
}

fn look_for_dead(ledger: &Ledger, numbers: &[i32], error: Errno) {
    for fd in numbers.iter().copied().filter(|_| error == Errno::Badf) {
        let slot = ledger.descriptors.get(fd);
        if slot.is_known() && kernel(|kernel| kernel.file(fd).is_none()) {
            tell(ledger, Change::NotThere { fd, slot, version: ledger.version() });
        }
    }
}

/// Makes a step in the kernel, and makes the changes in the ledger that hooks would make. Returns
/// the ledger of the process that continues.
fn make(ledger: &'static Ledger, step: Step) -> &'static Ledger {
    match step {
        Step::Open { close_on_exec } => _ = kernel(|kernel| kernel.open(close_on_exec)),
        Step::Create { close_on_exec } => {
            let fd = kernel(|kernel| kernel.create(close_on_exec));
            tell(ledger, Change::Created { fd, creation: CREATION, prepaid: 0 });
        }
        Step::Add { epfd, fd, one_shot } => add(ledger, epfd, fd, one_shot),
        Step::Modify { epfd, fd, one_shot } => {
            if let Err(error) = kernel(|kernel| kernel.modify(epfd, fd, one_shot)) {
                not_changed(ledger, epfd, fd, error);
            }
        }
        Step::Delete { epfd, fd } => match kernel(|kernel| kernel.delete(epfd, fd)) {
            Ok(()) => tell(ledger, Change::Deleted { epfd, fd }),
            Err(error) => not_changed(ledger, epfd, fd, error),
        },
        Step::Wait { epfd } => match kernel(|kernel| kernel.wait(epfd)) {
            Ok(_) if ledger.instance_of(epfd).is_none() => tell(ledger, Change::Adopted { fd: epfd }),
            Ok(_) => {}
            Err(error) => look_for_dead(ledger, &[epfd], error),
        },
        Step::Dup { old } => {
            if let Ok(new) = kernel(|kernel| kernel.dup(old)) {
                tell(ledger, Change::Duplicated { old, new, at: 3 });
            }
        }
        Step::Dup2 { old, new } => {
            if kernel(|kernel| kernel.dup2(old, new)).is_ok() {
                tell(ledger, Change::Duplicated { old, new, at: 3 });
            }
        }
        Step::Close { fd } => {
            tell(ledger, Change::Closed { fd, at: 4 });
            let _ = kernel(|kernel| kernel.close(fd));
        }
        Step::CloseRange { first, last } => {
            tell(ledger, Change::ClosedRange { first, last, at: 4 });
            kernel(|kernel| kernel.close_range(first, last));
        }
        Step::Fork { in_child } => {
            kernel(reference::Kernel::fork);
            if in_child {
                ledger.after_fork();
            }
        }
        Step::OtherEnds => kernel(reference::Kernel::other_ends),
        Step::Exec => {
            kernel(reference::Kernel::exec);
            return begin();
        }
        Step::Send { fd } => _ = kernel(|kernel| kernel.send(fd)),
        Step::Receive => _ = kernel(reference::Kernel::receive),
    }
    ledger
}

/// What the kernel says of all instances of this process, as `/proc` and kcmp(2) show it.
#[derive(Default)]
struct Reading {
    heads: Vec<Head>,
    lines: Vec<Line>,
    strangers: Vec<Strangers>,
}

fn read(ledger: &Ledger) -> Reading {
    kernel(|kernel| {
        let mut reading = Reading::default();
        for (instance, numbers) in kernel.own_instances() {
            let first = reading.lines.len() as u32;
            for (fd, file) in kernel.lists[&instance].keys() {
                let refers = match kernel.file(*fd) {
                    None => Refers::Closed,
                    Some(now) if now == *file => Refers::Watched,
                    Some(_) => Refers::Other,
                };
                reading.lines.push(Line { fd: *fd, place: 0, file: refers });
            }
            let count = reading.lines.len() as u32 - first;
            let leader = numbers[0];
            reading.heads.extend(numbers.iter().map(|fd| Head { leader, first, count, ..Head::of(*fd) }));
        }
        reading.heads.sort_by_key(|head| (head.leader, head.fd));
        for fd in 0..=ledger.descriptors.highest() {
            let alias = ledger.watched_alias(fd).filter(|watched| kernel.file(fd) != kernel.file(*watched));
            reading.strangers.extend(alias.map(|watched| (fd, watched)));
        }
        reading
    })
}

/// A list of the test's own.
#[derive(Default)]
struct Notes<T>(Vec<T>);

impl<T> List<T> for Notes<T> {
    fn reserve(&mut self, _: usize) -> bool {
        true
    }
    fn clear(&mut self) {
        self.0.clear();
    }
    fn push(&mut self, element: T) -> bool {
        self.0.push(element);
        true
    }
    fn as_slice(&self) -> &[T] {
        &self.0
    }
    fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }
}

fn agrees(ledger: &Ledger) -> bool {
    let reading = read(ledger);
    let picture = Picture { heads: &reading.heads, lines: &reading.lines, strangers: &reading.strangers };
    ledger.agrees(picture, &mut Notes::<Unmatched>(Vec::new()), |_| false)
}

fn correct(ledger: &Ledger) {
    let reading = read(ledger);
    let picture = Picture { heads: &reading.heads, lines: &reading.lines, strangers: &reading.strangers };
    let mut room = Room { numbers: Notes(Vec::new()), unmatched: Notes(Vec::new()), claims: Notes(Vec::new()) };
    let answers = ledger.prepare_for(picture);
    ledger.with_answers(Some(answers.rings()), || ledger.correct(picture, &mut room, |_| false));
}

/// Checks that the ledger's answer about each number is what the kernel has.
fn check(ledger: &Ledger, after: &str) {
    kernel(|kernel| {
        let instances = kernel.own_instances();
        assert_eq!(ledger.totals.instances.get(), instances.len() as u64, "instances {after}");
        let watches: usize = instances.keys().map(|file| kernel.interests(*file)).sum();
        assert_eq!(ledger.live_watches(), watches as u64, "interests {after}");
        for (file, numbers) in &instances {
            let records: Vec<_> = numbers.iter().map(|fd| ledger.descriptors.get(*fd).instance()).collect();
            assert!(records.iter().all(|record| *record != 0 && *record == records[0]), "{numbers:?} {after}");
            let instance = ledger.instance_of(numbers[0]).unwrap();
            assert_eq!(instance.watches.get(), kernel.interests(*file) as u64, "of instance {numbers:?} {after}");
            assert_eq!(ledger.interests_of(instance).count(), kernel.interests(*file), "listed {numbers:?} {after}");
            for fd in kernel.ours().keys() {
                let is_watched = kernel.lists[file].contains_key(&(*fd, kernel.file(*fd).unwrap()));
                assert_eq!(ledger.find(numbers[0], *fd).is_some(), is_watched, "{numbers:?} watches {fd} {after}");
            }
        }
    });
}

fn run(steps: &[Step], is_all_seen: bool) {
    kernel(|kernel| *kernel = reference::Kernel::new());
    let mut ledger = begin();
    for (number, step) in steps.iter().enumerate() {
        ledger = make(ledger, *step);
        if is_all_seen {
            check(ledger, &format!("after step {number}, {step:?}"));
            assert!(agrees(ledger), "after step {number}, {step:?}");
        }
    }
    if !agrees(ledger) {
        assert!(!is_all_seen);
        correct(ledger);
        if !agrees(ledger) {
            // Numbers that were duplicates of each other in the ledger were compared with one of
            // them alone.
            correct(ledger);
        }
        assert!(agrees(ledger), "one correction, and one of what it uncovered, are enough");
    }
    check(ledger, "at the end");
}

const NUMBERS: std::ops::Range<i32> = 3..11;

/// Steps that hooks see completely.
fn seen() -> impl Strategy<Value = Step> {
    let fd = || NUMBERS;
    prop_oneof![
        3 => any::<bool>().prop_map(|close_on_exec| Step::Open { close_on_exec }),
        3 => any::<bool>().prop_map(|close_on_exec| Step::Create { close_on_exec }),
        8 => (fd(), fd(), any::<bool>()).prop_map(|(epfd, fd, one_shot)| Step::Add { epfd, fd, one_shot }),
        1 => (fd(), fd(), any::<bool>()).prop_map(|(epfd, fd, one_shot)| Step::Modify { epfd, fd, one_shot }),
        3 => (fd(), fd()).prop_map(|(epfd, fd)| Step::Delete { epfd, fd }),
        1 => fd().prop_map(|epfd| Step::Wait { epfd }),
        2 => fd().prop_map(|old| Step::Dup { old }),
        2 => (fd(), fd()).prop_map(|(old, new)| Step::Dup2 { old, new }),
        3 => fd().prop_map(|fd| Step::Close { fd }),
        1 => (fd(), 0..3).prop_map(|(first, more)| Step::CloseRange { first, last: first + more }),
    ]
}

/// All steps.
fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => seen(),
        1 => any::<bool>().prop_map(|in_child| Step::Fork { in_child }),
        1 => Just(Step::OtherEnds),
        1 => Just(Step::Exec),
        1 => NUMBERS.prop_map(|fd| Step::Send { fd }),
        1 => Just(Step::Receive),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_ledger_that_sees_everything_equals_the_kernel_at_each_step(steps in prop::collection::vec(seen(), 1..60)) {
        run(&steps, true);
    }

    #[test]
    fn a_ledger_that_misses_something_equals_the_kernel_after_a_correction(steps in prop::collection::vec(any_step(), 1..60)) {
        run(&steps, false);
    }
}
