//! Properties that hold for any input of the parsers. The fuzzer checks them on its own inputs
//! (fuzz/targets), `corpus.rs` on the inputs that the fuzzer kept.

use core::fmt::Display;

use epollshim_format::faults::{self, Outcome, RULES, Rule};
use epollshim_format::function::{Function, Functions};
use epollshim_format::options;
use epollshim_format::{events, limits, log_filter, suppressions};

/// The longest time. Its sum with a clock's reading must fit into 64 bits.
const LONGEST: u64 = i64::MAX as u64;

pub fn limits(text: &[u8]) {
    let read = limits::parse(text);
    let entry = [b"EPOLLSHIM_LIMIT=", text].concat();
    let (options, problem) = options::parse([entry.as_slice()].into_iter());
    assert_eq!((options.limit, problem.is_some()), (read.ok(), read.is_err()));
    match read {
        Ok(read) => {
            let numbers = [read.instances, read.user_instances, read.watches, read.instance_watches, read.user_watches];
            assert!(numbers.iter().chain(&[read.memory]).flatten().all(|number| *number <= limits::MOST));
            assert!(read.events.is_none_or(|events| (1..=i32::MAX as u32).contains(&events)));
        }
        Err(fault) => is_a_line(fault),
    }
    if let Some(problem) = problem {
        is_a_line(problem);
    }
}

pub fn faults(text: &[u8]) {
    for impossible_allowed in [false, true] {
        let mut behind = 0;
        let mut count = 0;
        let mut fault = None;
        for rule in faults::parse(text, impossible_allowed) {
            assert_eq!(fault, None, "nothing follows a fault");
            match rule {
                Ok(rule) => {
                    let end = place(rule.text, text);
                    assert!(end >= behind + rule.text.len(), "rules come in order");
                    behind = end;
                    count += 1;
                    makes_sense(&rule, impossible_allowed);
                }
                Err(found) => fault = Some(found),
            }
        }
        assert!(count <= RULES);
        assert_eq!(faults::check(text, impossible_allowed), fault.map_or(Ok(count), Err));
        if let Some(fault) = fault {
            is_a_line(fault);
        }
        let impossible = [&b"EPOLLSHIM_INJECT_IMPOSSIBLE="[..], if impossible_allowed { b"1" } else { b"0" }].concat();
        let entry = [b"EPOLLSHIM_INJECT=", text].concat();
        let (options, problem) = options::parse([entry.as_slice(), &impossible].into_iter());
        assert_eq!(options.inject, if fault.is_none() { text } else { b"" });
        assert_eq!(problem.is_some(), fault.is_some());
        if let Some(problem) = problem {
            is_a_line(problem);
        }
    }
}

pub fn log_filter(text: &[u8]) {
    match log_filter::parse(text) {
        Ok(filter) => {
            assert_eq!(filter.functions.0 & !Functions::ALL.0, 0);
            assert!(filter.slow.is_none_or(|slow| slow <= LONGEST));
            for numbers in [filter.epfds, filter.fds] {
                let used = numbers.iter().take_while(|number| **number != -1).count();
                assert!(numbers[..used].iter().all(|number| *number >= 0));
                assert!(numbers[used..].iter().all(|number| *number == -1));
                assert!((1..used).all(|at| !numbers[..at].contains(&numbers[at])), "each is listed once");
            }
        }
        Err(fault) => is_a_line(fault),
    }
}

pub fn suppressions(text: &[u8]) {
    let mut behind = 0;
    let mut rules = 0;
    let mut first = None;
    for read in suppressions::parse(text) {
        match read {
            Ok(rule) => {
                let end = place(rule.text, text);
                assert!(end >= behind + rule.text.len(), "rules come in order");
                behind = end;
                rules += 1;
                place(rule.pattern, rule.text);
                assert_eq!(
                    suppressions::parse(rule.text).collect::<Vec<_>>(),
                    [Ok(rule)],
                    "a rule's text is that rule"
                );
                assert!(!rule.matches(rule.id, b""));
                let literal = rule.pattern.strip_prefix(b"^").unwrap_or(rule.pattern);
                let literal = literal.strip_suffix(b"$").unwrap_or(literal);
                assert!(literal.is_empty() || rule.matches(rule.id, literal), "a pattern is found in its own text");
                let _ = rule.matches(rule.id, text);
            }
            Err(wrong) => {
                assert!(wrong.line >= 1 && wrong.line <= text.iter().filter(|byte| **byte == b'\n').count() + 1);
                is_a_line(wrong);
                first.get_or_insert(wrong);
            }
        }
    }
    assert_eq!(suppressions::check(text), first.map_or(Ok(rules), Err));
}

fn makes_sense(rule: &Rule, impossible_allowed: bool) {
    let again: Vec<_> = faults::parse(rule.text, impossible_allowed).collect();
    assert_eq!(again, [Ok(*rule)], "a rule's text is that rule");
    assert!(rule.legal || impossible_allowed);
    assert_eq!(faults::check(rule.text, false).is_ok(), rule.legal);
    if !rule.caller.is_empty() {
        place(rule.caller, rule.text);
    }
    assert!(rule.functions.0 & !Functions::ALL.0 == 0);
    assert!(rule.signal <= 64 && rule.batch <= i32::MAX as u32);
    assert!([rule.delay_enter, rule.delay_exit, rule.after].iter().all(|time| *time <= LONGEST));
    assert!([rule.fd, rule.epfd].iter().flatten().all(|fd| *fd >= 0));
    assert!(1 <= rule.when.first && rule.when.first <= rule.when.last && rule.when.holds(rule.when.first));
    assert!(!rule.when.holds(rule.when.first - 1));
    match rule.outcome {
        Some(Outcome::Error(error)) => assert!((1..=4095).contains(&error)),
        Some(Outcome::Value(value)) => assert!(value >= 0 || !rule.legal),
        Some(Outcome::Timeout) => assert!(rule.functions.meets(Functions::WAITS) || rule.functions.is_empty()),
        None | Some(Outcome::AnyError) => {}
    }
    assert!(!rule.only_duplicates || rule.functions.has(Function::Fcntl));
    for bits in [rule.events, rule.forge].into_iter().filter(|bits| *bits != 0) {
        assert_eq!(events::mask(events::Mask(bits).to_string().as_bytes()), Ok(bits));
    }
}

/// The end of a part within the text from which it must be borrowed.
fn place(part: &[u8], text: &[u8]) -> usize {
    let (part, text) = (part.as_ptr_range(), text.as_ptr_range());
    assert!(text.start <= part.start && part.end <= text.end, "borrowed from the text");
    part.end.addr() - text.start.addr()
}

fn is_a_line(complaint: impl Display) {
    let line = complaint.to_string();
    assert!(line.len() < 1000, "{line}");
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
    let remedies = ["; expected ", " allow", "; add ", "; write ", "; remove ", "; keep ", " applies only to "];
    let has_remedy = line.ends_with('?') || remedies.iter().any(|remedy| line.contains(remedy));
    assert!(has_remedy, "it names what to write instead: {line}");
}
