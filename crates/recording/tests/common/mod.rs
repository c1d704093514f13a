//! Makes recordings from the layout alone, as a writer would, for the tests and the fuzzer's first
//! inputs.
#![allow(dead_code)]

use epollshim_format::call::Call;
use epollshim_format::census::Kind;
use epollshim_format::control;
use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::function::Function;
use epollshim_format::histogram;
use epollshim_format::recording::{
    DIRECTORY, FIRST_SEGMENT, MACHINE, MAGIC, PAGE, VERSION, area, census, entry, finding, findings, header, instance,
    interest, kind, record, stacks, stopped, thread, totals,
};

pub const SECOND: u64 = 1_000_000_000;

pub struct Recording {
    pub bytes: Vec<u8>,
    segments: usize,
    ring: usize,
}

/// A call that is written to a ring.
#[derive(Clone, Copy)]
pub struct CallOf {
    pub function: Function,
    pub began: u64,
    pub duration: u64,
    pub operation: u16,
    pub errno: u32,
    pub result: i64,
    pub first: i32,
    pub second: i32,
    pub extra: u64,
    pub caller: u64,
}

impl CallOf {
    pub fn wait(began: u64, duration: u64, epfd: i32, result: i64, caller: u64) -> CallOf {
        CallOf {
            function: Function::EpollWait,
            began,
            duration,
            operation: 0,
            errno: if result < 0 { 4 } else { 0 },
            result,
            first: epfd,
            second: 64,
            extra: u64::MAX,
            caller,
        }
    }

    pub fn ctl(began: u64, operation: u16, epfd: i32, fd: i32, caller: u64) -> CallOf {
        CallOf {
            function: Function::EpollCtl,
            operation,
            second: fd,
            extra: 0x8000_0001,
            duration: 300,
            ..CallOf::wait(began, 0, epfd, 0, caller)
        }
    }

    pub fn create(began: u64, epfd: i32, caller: u64) -> CallOf {
        CallOf {
            function: Function::EpollCreate1,
            first: 0o2_000_000,
            second: 0,
            result: i64::from(epfd),
            extra: 0,
            duration: 900,
            ..CallOf::wait(began, 0, 0, 0, caller)
        }
    }
}

impl Recording {
    pub fn new(pid: u64, comm: &[u8], began: u64, ring: usize) -> Recording {
        let mut made = Recording { bytes: vec![0; FIRST_SEGMENT], segments: 0, ring };
        for (place, value) in [
            (header::MAGIC, MAGIC),
            (header::VERSION, VERSION),
            (header::MACHINE, MACHINE),
            (header::PID, pid),
            (header::PPID, 1),
            (header::BEGAN, began),
            (header::BEGAN_UNIX, 1_700_000_000 * SECOND + began),
            (header::RING, ring as u64),
        ] {
            made.word(place, value);
        }
        made.text(header::COMM, comm);
        let exe = [b"/srv/", comm].concat();
        made.word(header::EXE_LENGTH, exe.len() as u64);
        made.text(header::EXE, &exe);
        made.arguments(&[comm, b"--port", b"80"]);
        made
    }

    pub fn arguments(&mut self, arguments: &[&[u8]]) {
        let text: Vec<u8> = arguments.iter().flat_map(|argument| [*argument, b"\0"].concat()).collect();
        self.word(header::ARGUMENTS_LENGTH, text.len() as u64);
        self.text(header::ARGUMENTS, &text);
    }

    pub fn word(&mut self, place: usize, value: u64) {
        self.bytes[place..place + 8].copy_from_slice(&value.to_le_bytes());
    }

    pub fn text(&mut self, place: usize, text: &[u8]) {
        self.bytes[place..place + text.len()].copy_from_slice(text);
    }

    pub fn ended(&mut self, at: u64, how: u64) {
        self.word(header::ENDED, at);
        self.word(header::END, how);
    }

    /// Adds a segment of zeros, and returns its place.
    pub fn segment(&mut self, kind: u64, length: usize, extra: u64) -> usize {
        let start = self.bytes.len();
        let length = length.next_multiple_of(PAGE);
        self.bytes.resize(start + length, 0);
        let place = DIRECTORY + self.segments * entry::SIZE;
        self.segments += 1;
        self.word(place + entry::START, start as u64);
        self.word(place + entry::LENGTH, length as u64);
        self.word(place + entry::EXTRA, extra);
        self.word(place + entry::KIND, kind);
        start
    }

    pub fn totals(&mut self, instances: [u64; 2], watches: [u64; 2], vanished: u64) {
        let at = self.segment(kind::TOTALS, PAGE, 0);
        for (place, value) in [
            (totals::INSTANCES, instances[0]),
            (totals::INSTANCES_PEAK, instances[1]),
            (totals::WATCHES, watches[0]),
            (totals::WATCHES_PEAK, watches[1]),
            (totals::VANISHED, vanished),
            (totals::MEMORY_PEAK, instances[1] * 704 + watches[1] * 192),
        ] {
            self.word(at + place, value);
        }
    }

    fn bump(&mut self, place: usize, by: u64) {
        let old = u64::from_le_bytes(self.bytes[place..place + 8].try_into().unwrap());
        self.word(place, old + by);
    }

    /// `at` is the place of the thread's segment.
    fn histogram(&mut self, at: usize, number: usize, value: u64) {
        let top = at + thread::TOPS + number * thread::TOP_SIZE;
        self.bump(at + thread::BUCKETS + number * thread::BUCKETS_SIZE + histogram::bucket(value) * 8, 1);
        self.bump(top + thread::TOP_SUM, value);
        let max = top + thread::TOP_MAX;
        let old = u64::from_le_bytes(self.bytes[max..max + 8].try_into().unwrap());
        self.word(max, old.max(value));
    }

    /// Adds a thread that made these calls: all are counted, and the last ones are in its ring.
    /// Returns its place.
    pub fn thread(&mut self, tid: u64, calls: &[CallOf]) -> usize {
        let at = self.segment(kind::THREAD, thread::RING + self.ring * record::SIZE, tid);
        let mut last_end = 0;
        for (number, call) in calls.iter().enumerate() {
            self.counted(at, call, &mut last_end);
            if self.ring == 0 {
                continue;
            }
            self.record(at + thread::RING + number % self.ring * record::SIZE, number as u64, call);
        }
        self.word(at + thread::BEGUN, calls.len() as u64);
        self.word(at + thread::LAST_WAIT_END, last_end);
        at
    }

    fn record(&mut self, place: usize, number: u64, call: &CallOf) {
        for (word, value) in [
            (record::BEGAN, call.began),
            (record::DURATION, call.duration),
            (record::CALL, call.function as u64 | u64::from(call.operation) << 16 | u64::from(call.errno) << 32),
            (record::RESULT, call.result as u64),
            (record::ARGUMENTS, u64::from(call.first as u32) | u64::from(call.second as u32) << 32),
            (record::EXTRA, call.extra),
            (record::CALLER, call.caller),
            (record::NUMBER, number + 1),
        ] {
            self.word(place + word, value);
        }
    }

    /// Adds a thread that made these calls, with every record kept (the ring's length must be 0).
    /// What does not fit in the thread's segment is in segments of these sizes, and what does not
    /// fit there was dropped. Returns its place, and the places of its areas.
    pub fn thread_full(&mut self, tid: u64, calls: &[CallOf], more: &[usize]) -> (usize, Vec<usize>) {
        let thread = self.segments as u64;
        let at = self.segment(kind::THREAD, thread::RING + area::IN_THREAD, tid);
        let mut last_end = 0;
        calls.iter().for_each(|call| self.counted(at, call, &mut last_end));
        let (mut number, mut areas) = (0, Vec::new());
        for (index, bytes) in [area::IN_THREAD].iter().chain(more).enumerate() {
            let start = if index == 0 { at + thread::RING } else { self.segment(kind::RECORDS, *bytes, thread) };
            areas.push(start);
            self.word(start + area::FIRST, number as u64);
            let places = (bytes - area::RECORDS) / record::SIZE;
            let here = &calls[number..(number + places).min(calls.len())];
            for (place, call) in here.iter().enumerate() {
                let first = number as u64;
                self.record(start + area::RECORDS + place * record::SIZE, first + place as u64, call);
            }
            number += here.len();
            // A writer that finds the last area full has taken one more place there.
            let asked = if number == calls.len() { here.len() } else { places + 1 };
            self.word(start + area::TAKEN, asked as u64);
        }
        self.word(at + thread::DROPPED, (calls.len() - number) as u64);
        self.word(at + thread::LAST_WAIT_END, last_end);
        (at, areas)
    }

    fn counted(&mut self, at: usize, call: &CallOf, last_end: &mut u64) {
        let which = match (call.function, call.operation) {
            (Function::EpollCreate, _) => Call::Create,
            (Function::EpollCreate1, _) => Call::Create1,
            (Function::EpollCtl, 1) => Call::CtlAdd,
            (Function::EpollCtl, 2) => Call::CtlDel,
            (Function::EpollCtl, 3) => Call::CtlMod,
            (Function::EpollWait, _) => Call::Wait,
            (Function::EpollPwait, _) => Call::Pwait,
            (Function::EpollPwait2, _) => Call::Pwait2,
            _ => return,
        };
        let counters = at + thread::OF_CALLS + which as usize * thread::CALL_SIZE;
        self.bump(at + thread::CALLS + which as usize * 8, 1);
        if call.result < 0 {
            self.bump(counters + thread::CALL_ERRORS + call.errno as usize * 8, 1);
        }
        if let Some(wait) = Call::WAITS.iter().position(|wait| *wait == which) {
            self.histogram(at, thread::BLOCKED + wait, call.duration);
            if *last_end != 0 {
                self.histogram(at, thread::WORK, call.began - *last_end);
            }
            *last_end = call.began + call.duration;
            match call.result {
                0 => self.bump(at + thread::EMPTY, 1),
                1.. => {
                    self.histogram(at, thread::BATCH, call.result as u64);
                    self.bump(at + thread::KINDS, call.result as u64);
                    self.bump(at + thread::FULL, u64::from(call.result == 64));
                }
                _ => {}
            }
        }
    }

    /// Adds a table of instances: index, id, epfd, watches, creating address, time.
    pub fn instances(&mut self, of: &[(usize, u64, i32, u64, u64, u64)]) {
        let at = self.segment(kind::INSTANCES, 64 * instance::SIZE, 0);
        for (index, id, epfd, watches, site, began) in of {
            let at = at + index * instance::SIZE;
            for (word, value) in [
                (instance::ID, *id),
                (instance::SITE, *site),
                (instance::ORIGIN, 2 << 32 | 0o2_000_000),
                (instance::EPFD, *epfd as u64),
                (instance::WATCHES, *watches),
                (instance::WATCHES_PEAK, watches + 2),
                (instance::BEGAN, *began),
                (instance::WAITS, 90),
                (instance::WAITS + 8, 100),
                (instance::WAITS + 40, 10),
            ] {
                self.word(at + word, value);
            }
        }
    }

    /// Adds a table of interests: the instance's index, descriptor, adding address.
    pub fn interests(&mut self, of: &[(u64, i32, u64)]) {
        let at = self.segment(kind::INTERESTS, 64 * interest::SIZE, 0);
        for (index, (instance, fd, site)) in of.iter().enumerate() {
            let at = at + (index + 1) * interest::SIZE;
            self.word(at + interest::SITE, *site);
            self.word(at + interest::INSTANCE, instance | u64::from(*fd as u32) << 32);
        }
    }

    /// Adds control pages: the number of requests, and of those ignored as damaged.
    pub fn control(&mut self, requests: u64, damaged: u64) {
        let at = self.segment(kind::CONTROL, control::BYTES, 0);
        self.word(at + control::REQUESTS, requests);
        self.word(at + control::DAMAGED, damaged);
    }

    /// Adds the table of findings: the first ones, and the number of those that did not fit.
    /// Returns its place.
    pub fn findings(&mut self, of: &[Finding], dropped: u64) -> usize {
        let at = self.segment(kind::FINDINGS, findings::SIZE, 0);
        self.word(at + findings::DROPPED, dropped);
        for (index, one) in of.iter().enumerate() {
            let place = at + findings::FIRST + index * finding::SIZE;
            let descriptor = |fd: Option<i32>| fd.map_or(0, |fd| fd as u64 + 1);
            for (word, value) in [
                (finding::KEY, index as u64 + 1),
                (finding::WHAT, one.id as u64 | u64::from(one.variant) << 8),
                (finding::SEVERITY, one.severity as u64),
                (finding::COUNT, one.count),
                (finding::DESCRIPTORS, descriptor(one.epfd) | descriptor(one.fd) << 32),
                (finding::SITE, one.site),
                (finding::OTHER, one.other),
                (finding::FIRST, one.first),
            ] {
                self.word(place + word, value);
            }
            for (index, detail) in one.detail.iter().enumerate() {
                self.word(place + finding::DETAIL + index * 8, *detail);
            }
        }
        at
    }

    pub fn modules(&mut self, text: &str) {
        let at = self.segment(kind::MODULES, text.len(), 0);
        self.text(at, text.as_bytes());
    }
}

/// A finding of this kind at a place, with nothing else set.
pub fn finding_of(id: Id, severity: Severity, count: u64, site: u64) -> Finding {
    Finding {
        id,
        severity,
        variant: 0,
        count,
        epfd: None,
        fd: None,
        site,
        other: 0,
        detail: [0; 4],
        first: 0,
        place: 0,
    }
}

/// The address of the programs' code.
pub const CODE: u64 = 0x5555_0000_0000;
const LIBRARY: u64 = 0x7fff_0000_0000;

/// A server process that accepts and serves connections, and forgets some. It has two threads; the
/// ring of the second has wrapped.
pub fn server(pid: u64, began: u64, killed: bool) -> Recording {
    let mut made = Recording::new(pid, b"server", began, 64);
    let (accept, serve, wait) = (CODE + 0x1130, CODE + 0x1204, LIBRARY + 0x2f0);
    let mut calls = vec![CallOf::create(began + 1000, 5, CODE + 0x1010), CallOf::ctl(began + 3000, 1, 5, 4, accept)];
    for step in 0..20u64 {
        let at = began + 1_000_000 * (step + 1);
        let fd = 7 + (step % 4) as i32;
        calls.push(CallOf::wait(at, 700_000 + step * 1000, 5, 1 + (step % 3) as i64, wait));
        calls.push(CallOf::ctl(at + 800_000, if step % 5 == 4 { 2 } else { 1 }, 5, fd, serve));
    }
    calls.push(CallOf::wait(began + 30_000_000, 2_000_000, 5, -1, wait));
    made.totals([1, 2], [3, 7], 2);
    made.thread(pid, &calls);
    let busy: Vec<CallOf> = (0..1000u64)
        .map(|step| CallOf::wait(began + 40_000 * (step + 1), 30_000 + step % 7 * 900, 5, (step % 5) as i64, wait))
        .collect();
    let at = made.thread(pid + 1, &busy);
    // The thread is in a call that has begun and not ended.
    made.word(at + thread::BEGUN, 1001);
    made.instances(&[(1, 1, 5, 3, CODE + 0x1010, began + 1900)]);
    made.interests(&[(1, 4, accept), (1, 7, serve), (1, 8, serve)]);
    made.modules(&format!(
        "{CODE:x} {:x} 00112233445566778899aabbccddeeff00112233 /srv/server (deleted)\n{LIBRARY:x} {:x} - /srv/libloop.so\n",
        CODE + 0x8000,
        LIBRARY + 0x9000
    ));
    made.control(49, 43);
    // Findings of both at one site are merged. Only the killed process has the ghost.
    let failed = finding_of(Id::CtlError, Severity::Warning, if killed { 40 } else { 2 }, serve);
    let failed =
        Finding { variant: 17, epfd: Some(5), fd: Some(8), detail: [1, 17, 0, 0], first: began + 9000, ..failed };
    let small = finding_of(Id::SizeLie, Severity::Warning, 1, CODE + 0x1010);
    let small = Finding { epfd: Some(5), detail: [7, 1, 0, 0], ..small };
    let ghost = finding_of(Id::Ghost, Severity::Error, 3, accept);
    let ghost = Finding { epfd: Some(5), fd: Some(7), other: serve, first: began + 20_000, ..ghost };
    let all = [failed, small, ghost];
    made.findings(if killed { &all } else { &all[..2] }, u64::from(killed));
    if !killed {
        made.ended(began + 50_000_000, 1);
    }
    made
}

/// A process whose records are all kept. It has two threads; one has three areas, and calls that
/// were dropped.
pub fn full(pid: u64, began: u64) -> Recording {
    let mut made = Recording::new(pid, b"keeper", began, 0);
    made.word(header::RECORDS_MOST, 1 << 20);
    made.word(header::RECORDS_STOPPED, stopped::MOST);
    made.totals([1, 1], [0, 0], 0);
    let calls = |many: u64, caller: u64| -> Vec<CallOf> {
        (0..many).map(|step| CallOf::wait(began + step * 900, 700, 3, (step % 3) as i64, caller)).collect()
    };
    made.thread_full(pid, &calls(1023 + 63 + 127 + 40, CODE + 0x100), &[4096, 8192]);
    made.thread_full(pid + 1, &calls(20, CODE + 0x200), &[]);
    made.ended(began + SECOND, 1);
    made
}

/// The address of its arena of call stacks.
const ARENA: u64 = 0x7f00_0000_0000;

/// A program with a census and call stacks: two frames for an instance, one for what it opened.
pub fn with_stacks() -> Recording {
    let mut made = Recording::new(88, b"deep", SECOND, 4);
    made.totals([1, 1], [0, 0], 0);
    made.thread(88, &[CallOf::create(SECOND + 5, 3, CODE + 0x1010)]);
    made.instances(&[(1, 1, 3, 0, ARENA, SECOND + 5)]);
    let at = made.segment(kind::STACKS, stacks::PART, ARENA);
    for (index, word) in [2, CODE + 0x1010, CODE + 0x2020, 1, CODE + 0x3030].into_iter().enumerate() {
        made.word(at + index * 8, word);
    }
    let at = made.segment(kind::CENSUS, PAGE, 0);
    made.word(at + census::PEAK, 9);
    made.word(at + census::AT_START, 3);
    let at = made.segment(kind::PLACES, census::place::ENTRIES * census::place::SIZE, 0);
    for (index, [site, kind, live, peak, closed]) in [[0, 1, 3, 3, 0], [ARENA + 24, 3, 5, 6, 2]].into_iter().enumerate()
    {
        let at = at + (index + 1) * census::place::SIZE;
        made.word(at + census::place::KEY, census::place::key(site, Kind::from_number(kind)));
        made.word(at + census::place::COUNTS, live | closed << census::place::CLOSED);
        made.word(at + census::place::PEAK, peak);
    }
    made.modules(&format!("{CODE:x} {:x} - /srv/deep\n", CODE + 0x8000));
    made.ended(SECOND + 1000, 1);
    made
}

/// The smallest complete recording: no ring, one thread.
pub fn small() -> Recording {
    let mut made = Recording::new(77, b"tiny", SECOND, 4);
    made.totals([1, 1], [0, 0], 0);
    made.thread(77, &[CallOf::create(SECOND + 5, 3, CODE), CallOf::wait(SECOND + 90, 10, 3, 0, CODE)]);
    made.ended(SECOND + 1000, 2);
    made
}
