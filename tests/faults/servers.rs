//! Functions whose failure decides the fate of servers: `bind`, `listen`, `connect`, `setsockopt`,
//! `fork`, `pthread_create`.

use std::process::Command;

use super::{program, run};

fn under(rules: &str) -> String {
    let mut command = Command::new(program("fault_servers"));
    if !rules.is_empty() {
        command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_INJECT", rules);
    }
    let run = run(&mut command);
    assert!(run.status.success() && run.stderr.is_empty(), "{rules}: {}\n{}{}", run.status, run.stdout, run.stderr);
    run.stdout
}

#[test]
fn each_call_of_a_server_can_fail_and_is_not_made_then() {
    // 106 is EISCONN: the socket is connected already.
    let bare = "bind 0 listen 0 setsockopt 0 connect 0 fork 0 pthread_create 0 raw 0\n\
                bind 0 listen 0 setsockopt 0 connect 106 fork 0 pthread_create 0 raw 0\n";
    assert_eq!(under(""), bare);
    assert_eq!(under("all:error=EIO:when=1000"), bare);
    for (rules, first) in [
        // These rules fail a call of the first round. Only its line is compared.
        ("listen:error=EADDRINUSE:when=1", "bind 0 listen 98 setsockopt 0 connect 111 fork 0 pthread_create 0 raw 0\n"),
        (
            "setsockopt:error=ENOPROTOOPT:when=1",
            "bind 0 listen 0 setsockopt 92 connect 0 fork 0 pthread_create 0 raw 0\n",
        ),
        ("connect:error=EINTR:when=1", "bind 0 listen 0 setsockopt 0 connect 4 fork 0 pthread_create 0 raw 0\n"),
        ("fork:error=EAGAIN:when=1", "bind 0 listen 0 setsockopt 0 connect 0 fork 11 pthread_create 0 raw 0\n"),
        (
            "pthread_create:error=EAGAIN:when=1",
            "bind 0 listen 0 setsockopt 0 connect 0 fork 0 pthread_create 11 raw 0\n",
        ),
        ("49:error=EADDRINUSE:when=2", "bind 0 listen 0 setsockopt 0 connect 0 fork 0 pthread_create 0 raw 98\n"),
        ("%net:error=ENOMEM:fd=3", "bind 12 listen 12 setsockopt 12 connect 22 fork 0 pthread_create 0 raw 0\n"),
    ] {
        let printed = under(rules);
        assert_eq!(printed.split_inclusive('\n').next(), Some(first), "{rules}");
    }
    let printed = under("bind:error=EADDRINUSE:when=1");
    assert!(printed.starts_with("bind 98 "), "{printed}");
    assert!(printed.lines().nth(1).unwrap().starts_with("bind 0 "), "{printed}");
    // These actions happen once in each process. The child of a fork repeats none of them.
    assert_eq!(under("fork,pthread_create:delay_exit=1us;fork:signal=CHLD"), bare);
}

#[test]
fn any_error_of_these_calls_is_one_that_its_manual_page_has() {
    for seed in ["1", "2", "3", "4"] {
        let mut command = Command::new(program("fault_servers"));
        command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_SEED", seed);
        let run = run(command.env("EPOLLSHIM_INJECT", "fork,pthread_create:error=any"));
        let words: Vec<&str> = run.stdout.split_whitespace().collect();
        assert!(["11", "12", "38"].contains(&words[9]) && ["11", "22", "1"].contains(&words[11]), "{}", run.stdout);
    }
}
