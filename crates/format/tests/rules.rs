//! The meaning of well-formed rules.
#![allow(clippy::unwrap_used, clippy::panic)]

use epollshim_format::faults::shared::Phase;
use epollshim_format::faults::{Operation, Outcome, RULES, Rule, Scope, When, check, parse};
use epollshim_format::function::{Function, Functions};

fn one(text: &str) -> Rule<'_> {
    let mut rules = parse(text.as_bytes(), true);
    let rule = rules.next().unwrap().unwrap_or_else(|fault| panic!("{text}: {fault}"));
    assert!(rules.next().is_none(), "{text}");
    rule
}

/// The rule `epoll_wait:timeout`, as a base for others.
fn plain(text: &str) -> Rule<'_> {
    Rule {
        text: text.as_bytes(),
        functions: set(&[Function::EpollWait]),
        only_duplicates: false,
        outcome: None,
        is_made: false,
        signal: 0,
        delay_enter: 0,
        delay_exit: 0,
        batch: 0,
        forge: 0,
        shuffle: false,
        when: When { first: 1, last: u64::MAX, step: 1 },
        scope: Scope::Process,
        chance: None,
        operation: None,
        fd: None,
        epfd: None,
        events: 0,
        caller: b"",
        site: None,
        stack_name: b"",
        stack: None,
        depth: 0,
        phase: None,
        after: 0,
        max: u64::MAX,
        legal: true,
    }
}

fn set(functions: &[Function]) -> Functions {
    let mut set = Functions::default();
    functions.iter().for_each(|function| set.insert(*function));
    set
}

#[test]
fn every_action_and_every_condition_sets_its_own_field() {
    let ctl = set(&[Function::EpollCtl]);
    let expect = |text: &'static str, change: &dyn Fn(&mut Rule)| {
        let mut rule = plain(text);
        change(&mut rule);
        assert_eq!(one(text), rule);
    };
    expect("epoll_wait:error=EINTR", &|rule| rule.outcome = Some(Outcome::Error(4)));
    expect("epoll_wait:error=eintr", &|rule| rule.outcome = Some(Outcome::Error(4)));
    expect("epoll_wait:error=4095", &|rule| rule.outcome = Some(Outcome::Error(4095)));
    expect("epoll_wait:error=ERESTARTSYS", &|rule| rule.outcome = Some(Outcome::Error(512)));
    expect("epoll_wait:error=any", &|rule| rule.outcome = Some(Outcome::AnyError));
    expect("epoll_wait:error=EWOULDBLOCK", &|rule| rule.outcome = Some(Outcome::Error(11)));
    expect("epoll_wait:retval=0x10", &|rule| rule.outcome = Some(Outcome::Value(16)));
    expect("epoll_wait:retval=178956970", &|rule| rule.outcome = Some(Outcome::Value(178_956_970)));
    expect("epoll_wait:timeout", &|rule| rule.outcome = Some(Outcome::Timeout));
    expect("epoll_wait:signal=SIGUSR1", &|rule| rule.signal = 10);
    expect("epoll_wait:signal=RTMIN+1", &|rule| rule.signal = 35);
    expect("epoll_wait:delay_enter=10", &|rule| rule.delay_enter = 10_000);
    expect("epoll_wait:delay_exit=1.5ms", &|rule| rule.delay_exit = 1_500_000);
    expect("epoll_wait:batch=1", &|rule| rule.batch = 1);
    expect("epoll_wait:batch=2147483647", &|rule| rule.batch = i32::MAX as u32);
    expect("epoll_wait:forge=EPOLLHUP|ERR", &|rule| rule.forge = 0x18);
    expect("epoll_wait:shuffle", &|rule| rule.shuffle = true);
    expect("epoll_wait:shuffle:scope=process", &|rule| rule.shuffle = true);
    expect("epoll_wait:shuffle:scope=thread", &|rule| (rule.shuffle, rule.scope) = (true, Scope::Thread));
    expect("epoll_wait:shuffle:scope=rule", &|rule| (rule.shuffle, rule.scope) = (true, Scope::Rule));
    expect("epoll_wait:shuffle:prob=0.5", &|rule| (rule.shuffle, rule.chance) = (true, Some(1 << 63)));
    expect("epoll_wait:shuffle:prob=1", &|rule| rule.shuffle = true);
    expect("epoll_wait:shuffle:prob=0", &|rule| (rule.shuffle, rule.chance) = (true, Some(0)));
    expect("epoll_wait:shuffle:epfd=3", &|rule| (rule.shuffle, rule.epfd) = (true, Some(3)));
    expect("epoll_wait:shuffle:stack=0123456789abcdef/8", &|rule| {
        (rule.shuffle, rule.stack, rule.depth) = (true, Some(0x0123_4567_89ab_cdef), 8);
    });
    for text in ["epoll_wait:shuffle:site=libstdc++.so.6+0x1F", "epoll_wait:shuffle:site=libstdc++.so.6+1f"] {
        expect(text, &|rule| {
            (rule.shuffle, rule.caller, rule.site) = (true, b"libstdc++.so.6", Some(0x1f));
        });
    }
    expect("epoll_wait:shuffle:scope=tree", &|rule| (rule.shuffle, rule.scope) = (true, Scope::Tree));
    expect("epoll_wait:shuffle:phase=stop", &|rule| (rule.shuffle, rule.phase) = (true, Some(Phase::Stop)));
    expect("epoll_wait:shuffle:caller=libuv.so.1", &|rule| (rule.shuffle, rule.caller) = (true, b"libuv.so.1"));
    expect("epoll_wait:shuffle:stack~main", &|rule| (rule.shuffle, rule.stack_name) = (true, b"main"));
    expect("epoll_wait:shuffle:stack~/^a=b", &|rule| (rule.shuffle, rule.stack_name) = (true, b"/^a=b"));
    expect("epoll_wait:shuffle:stack=0123456789abcdEF", &|rule| {
        (rule.shuffle, rule.stack) = (true, Some(0x0123_4567_89ab_cdef));
    });
    expect("epoll_wait:shuffle:after=2s", &|rule| (rule.shuffle, rule.after) = (true, 2_000_000_000));
    expect("epoll_wait:shuffle:max=0", &|rule| (rule.shuffle, rule.max) = (true, 0));
    expect("epoll_ctl:error=5:op=ADD", &|rule| {
        (rule.functions, rule.outcome, rule.operation) = (ctl, Some(Outcome::Error(5)), Some(Operation::Add));
    });
    expect("epoll_ctl:error=5:op=EPOLL_CTL_DEL:fd=7", &|rule| {
        (rule.functions, rule.outcome) = (ctl, Some(Outcome::Error(5)));
        (rule.operation, rule.fd) = (Some(Operation::Del), Some(7));
    });
    expect("epoll_ctl:error=5:events=EPOLLET|IN", &|rule| {
        (rule.functions, rule.outcome, rule.events) = (ctl, Some(Outcome::Error(5)), 0x8000_0001);
    });
    // strtok, and so strace, ignores empty tokens. The last `when` applies.
    expect(",epoll_wait,::error=4::when=1:when=3..5:", &|rule| {
        (rule.outcome, rule.when) = (Some(Outcome::Error(4)), When { first: 3, last: 5, step: 1 });
    });
    expect("?epoll_wait,?epoll_wait3:error= +4", &|rule| rule.outcome = Some(Outcome::Error(4)));
}

#[test]
fn calls_are_named_singly_or_together() {
    let closes = set(&[Function::Close, Function::Fclose, Function::Closedir, Function::Pclose]);
    for (names, functions) in [
        ("epoll", Functions::EPOLL),
        ("all", Functions::ALL.without(Functions::ON_REQUEST)),
        ("epoll_create,epoll_create1", set(&[Function::EpollCreate, Function::EpollCreate1])),
        ("__close,dup,dup2,dup3", set(&[Function::Close, Function::Dup, Function::Dup2, Function::Dup3])),
        ("fcntl64,close_range", set(&[Function::Fcntl, Function::CloseRange])),
        ("epoll,close", Functions(0b111_1111).with(closes)),
        ("pipe2", set(&[Function::Pipe, Function::Pipe2, Function::Popen])),
        ("!epoll", Functions::EPOLL.with(Functions::ON_REQUEST).inverted()),
        ("none,close", closes),
        ("/^dup,3", set(&[Function::Dup, Function::Dup2, Function::Dup3, Function::Close])),
        ("inject=close", closes),
        ("fault=close", closes),
        ("-e inject=close", closes),
        ("-einject=close", closes),
    ] {
        assert_eq!(one(&format!("{names}:error=5")).functions, functions, "{names}");
    }
    for (names, only_duplicates) in
        [("%creat", true), ("%creat,fcntl", false), ("%creat,%desc", false), ("!%creat,epoll", false), ("close", false)]
    {
        assert_eq!(one(&format!("{names}:error=5")).only_duplicates, only_duplicates, "{names}");
    }
}

#[test]
fn a_rule_is_legal_if_a_kernel_may_do_it_to_each_of_its_calls() {
    for (text, legal) in [
        ("epoll_ctl:retval=0", true),
        ("epoll_ctl:retval=1", false),
        ("epoll_create1:retval=2147483647", true),
        ("epoll_create1:retval=2147483648", false),
        ("epoll_create1:retval=-1", true),
        ("epoll_create1:retval=-4096", false),
        ("epoll_pwait2:retval=178956970", true),
        ("epoll_pwait2:retval=178956971", false),
        ("close:retval=0", true),
        ("close_range:retval=1", false),
        ("dup3,fcntl:retval=7", true),
        ("epoll:retval=0", true),
        ("epoll_wait,epoll_ctl:retval=1", false),
        ("all:error=4095", true),
        ("epoll_wait:forge=EPOLLHUP|EPOLLERR", true),
        ("epoll_wait:forge=EPOLLHUP|EPOLLIN", false),
    ] {
        assert_eq!(one(text).legal, legal, "{text}");
        assert_eq!(check(text.as_bytes(), false).is_ok(), legal, "{text}");
    }
}

#[test]
fn rules_come_in_order_and_as_many_as_there_is_room_for() {
    let text = "epoll_wait:timeout;epoll_ctl:error=ENOSPC:when=3";
    let rules: Vec<_> = parse(text.as_bytes(), false).map(|rule| rule.unwrap().text).collect();
    assert_eq!(rules, [&b"epoll_wait:timeout"[..], b"epoll_ctl:error=ENOSPC:when=3"]);
    assert_eq!(check(text.as_bytes(), false), Ok(2));

    let full = vec!["close:error=EIO"; RULES].join(";");
    assert_eq!(check(full.as_bytes(), false), Ok(RULES));
    let more = full + ";close:error=EIO";
    assert_eq!(check(more.as_bytes(), false).unwrap_err().to_string(), "too many rules; at most 64 are allowed");
    assert_eq!(parse(more.as_bytes(), false).count(), RULES + 1);
    // Nothing follows the first problem.
    assert_eq!(parse(b"close:error=EIO;;close:error=EIO", false).count(), 2);
}

#[test]
fn every_form_of_when_is_understood() {
    let inf = u64::MAX;
    for (text, first, last, step) in [
        ("1", 1, inf, 0),
        ("3+", 3, inf, 1),
        ("3+2", 3, inf, 2),
        ("3..7", 3, 7, 1),
        ("3..7+", 3, 7, 1),
        ("3..7+2", 3, 7, 2),
        ("7..7", 7, 7, 1),
        ("+3++2", 3, inf, 2),
        (" 3.. 7", 3, 7, 1),
        ("65536..18446744073709551615", 65536, inf, 1),
    ] {
        let rule = format!("epoll_wait:timeout:when={text}");
        assert_eq!(one(&rule).when, When { first, last, step }, "{text}");
    }
}

/// Whether strace 6.1 tampers with the calls numbered 1, 2, ... (tamper_with_syscall_entering of
/// src/syscall.c): it counts FIRST and LAST down, and restarts at STEP.
fn strace(when: When, calls: usize) -> Vec<bool> {
    let (mut first, mut last) = (when.first, when.last);
    let tampers = |_| {
        if first == 0 || last == 0 {
            return false;
        }
        if last != u64::MAX {
            last -= 1;
        }
        first -= 1;
        if first == 0 {
            first = when.step;
            return true;
        }
        false
    };
    (0..calls).map(tampers).collect()
}

#[test]
fn a_rule_fires_on_the_calls_that_strace_tampers_with() {
    const CALLS: u64 = 40;
    for first in 1..12 {
        for last in (first..20).chain([u64::MAX]) {
            for step in 0..9 {
                let when = When { first, last, step };
                let here: Vec<_> = (1..=CALLS).map(|ordinal| when.holds(ordinal)).collect();
                assert_eq!(here, strace(when, CALLS as usize), "{when:?}");
            }
        }
    }
    let far = When { first: u64::MAX - 1, last: u64::MAX, step: u64::MAX };
    assert!(far.holds(u64::MAX - 1) && !far.holds(u64::MAX) && !far.holds(0));
}

#[test]
fn a_wrong_place_or_phase_is_refused() {
    for text in [
        "dup:error=5:stack=0123456789abcdef/0",
        "dup:error=5:stack=0123456789abcdef/65",
        "dup:error=5:stack=0123456789abcdef/",
        "dup:error=5:stack=0123456789abcde/8",
        "dup:error=5:site=app",
        "dup:error=5:site=app+",
        "dup:error=5:site=app+0x",
        "dup:error=5:site=app+g",
        "dup:error=5:site=+1",
        "dup:error=5:site=/bin/app+1",
        "dup:error=5:site=app+11112222333344445",
        "dup:error=5:site=app+1:caller=app",
        "dup:error=5:phase=begin",
        "dup:error=5:scope=session",
    ] {
        assert!(check(text.as_bytes(), true).is_err(), "{text}");
    }
}
