//! Which calls are logged, and how their lines are marked.

use super::{Line, Logged, lines, read, tally, troubles, walk};
use testkit::scratch;

#[test]
fn a_filter_asks_for_names_and_outcomes_and_descriptors() {
    let run = |filter: &str| {
        let log = scratch("filter").join("log");
        let mut logged = Logged::new(walk(), &[], &log)
            .with("EPOLLSHIM_INJECT", "epoll_wait:error=EINTR:when=7;close:delay_enter=1us:when=3")
            .with("EPOLLSHIM_LIMIT", "instance-watches=15");
        if !filter.is_empty() {
            logged = logged.with("EPOLLSHIM_LOG_FILTER", filter);
        }
        let (_, reports) = logged.run();
        let lines = lines(&read(&log));
        assert_eq!(tally(&reports[0]).0, lines.len() as u64, "{filter}");
        assert_eq!(tally(&reports[0]).1, 0, "{filter}");
        lines
    };
    // Addresses differ from run to run. Everything else is the same.
    let stable = |lines: &[Line]| -> Vec<String> {
        let word =
            |text: &str| if text.starts_with("0x") && text.len() > 12 { "ADDRESS".into() } else { text.to_owned() };
        lines.iter().map(|line| line.said.split([' ', ',', ')']).map(word).collect::<Vec<_>>().join(" ")).collect()
    };
    let all = run("all");
    let with = |of: &dyn Fn(&Line) -> bool| -> Vec<String> {
        stable(&all).into_iter().zip(&all).filter(|(_, line)| of(line)).map(|(said, _)| said).collect()
    };
    let is_epoll = |line: &Line| line.call.starts_with("epoll_");
    let failed = |line: &Line| line.said.contains("= -1 ");
    let epfd_3 =
        |line: &Line| line.call != "epoll_create" && line.call != "epoll_create1" && line.said.contains("(3, ");
    let fd_4 = |line: &Line| line.call == "epoll_ctl" && (line.said.contains(", 4<") || line.said.contains(", 4, "));
    type Of<'a> = &'a dyn Fn(&Line) -> bool;
    let cases: &[(&str, Of)] = &[
        ("", &|line| is_epoll(line) || line.injected),
        ("epoll", &is_epoll),
        ("close", &|line| line.call == "close"),
        ("epoll_wait,close", &|line| line.call == "epoll_wait" || line.call == "close"),
        ("failed", &|line| is_epoll(line) && failed(line)),
        ("all,failed", &failed),
        ("injected", &|line| line.injected),
        ("epoll_wait,injected", &|line| line.call == "epoll_wait" && line.injected),
        ("limited", &|line| line.limited),
        ("injected,limited", &|line| line.injected || line.limited),
        ("epoll_create1,failed", &|line| line.call == "epoll_create1" && failed(line)),
        ("epoll_ctl,fd=4", &fd_4),
        ("epoll_ctl,fd=4,failed", &|line| fd_4(line) && failed(line)),
        ("epfd=3", &|line| is_epoll(line) && epfd_3(line)),
        ("epfd=3,failed,epoll_wait", &|line| line.call == "epoll_wait" && epfd_3(line) && failed(line)),
        ("epfd=3,fd=4,epoll_ctl", &|line| line.call == "epoll_ctl" && (epfd_3(line) || fd_4(line))),
        ("close,fd=4", &|line| line.call == "close" && line.said.starts_with("close(4)")),
        ("epoll_create,epfd=3", &|_| false),
        ("slow=1000s", &|_| false),
        ("slow=0", &|line| is_epoll(line) || line.injected),
        ("slow=1000s,failed", &|line| is_epoll(line) && failed(line)),
    ];
    for (filter, of) in cases {
        assert_eq!(stable(&run(filter)), with(of), "{filter}");
    }
    for (filter, of) in [("injected", &(|line: &Line| line.injected) as Of), ("limited", &|line| line.limited)] {
        assert!(!with(of).is_empty(), "nothing is {filter}");
    }
    // This includes waits of 2 ms without events, and excludes calls that are quick on any machine.
    let slow = run("slow=1ms");
    assert!(slow.iter().any(|line| line.said == "epoll_wait(3, [], 3, 2) = 0"), "{slow:?}");
}

#[test]
fn injected_and_limited_calls_are_marked() {
    let log = scratch("marks").join("log");
    let (_, reports) = Logged::new(troubles(), &["calls=10", "masks=1"], &log)
        .with("EPOLLSHIM_INJECT", "epoll_wait:error=EINTR:when=2;epoll_wait:batch=1:when=4;epoll_ctl:retval=0:op=DEL")
        .with("EPOLLSHIM_LIMIT", "watches=3")
        .run();
    let lines = lines(&read(&log));
    let marked = |of: fn(&Line) -> bool| lines.iter().filter(|line| of(line)).collect::<Vec<_>>();
    let [eintr, batch, del] = marked(|line| line.injected)[..] else { panic!("{lines:?}") };
    assert!(eintr.said.ends_with(", 1, -1) = -1 EINTR (Interrupted system call)"), "{eintr:?}");
    assert!(batch.said.ends_with(", data=0x5}], 1, -1) = 1") && batch.has_duration, "{batch:?}");
    assert!(del.said.contains("EPOLL_CTL_DEL") && del.said.ends_with(", NULL) = 0"), "{del:?}");
    let limited = marked(|line| line.limited);
    assert_eq!(limited.len(), 13, "{lines:?}");
    for line in limited {
        assert!(line.said.contains("EPOLL_CTL_ADD") && line.said.ends_with(" = -1 ENOSPC (No space left on device)"));
    }
    assert_eq!(tally(&reports[0]), (lines.len() as u64, 0, lines.len() as u64));
}

#[test]
fn a_call_that_was_only_delayed_or_signalled_is_not_marked_as_made_up() {
    let log = scratch("marks").join("log");
    Logged::new(troubles(), &["calls=2"], &log)
        .with("EPOLLSHIM_INJECT", "epoll_create1:delay_exit=1us;epoll_wait:signal=SIGCHLD:delay_enter=1us:when=1")
        .run();
    let text = read(&log);
    let of = |call: &str| text.lines().find(|line| line.contains(call)).unwrap();
    assert!(of("epoll_create1(").ends_with(" (DELAYED)") && !of("epoll_create1(").contains("INJECTED"), "{text}");
    assert!(of("epoll_wait(").ends_with(" (DELAYED) (SIGNALLED)") && !of("epoll_wait(").contains("INJECTED"), "{text}");
}
