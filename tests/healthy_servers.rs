//! Healthy servers with a census, under load and when they are shut down: no finding is an error,
//! and each warning is explained here. `epollshim inspect` on their processes under load finds no
//! problem, changes nothing, and stops no process.
//!
//! `make test` runs the servers that it installs, for a second. `make test-servers` runs all for 20
//! seconds, and again beside 8 busy processes:
//!
//! | variable | |
//! |---|---|
//! | `SERVERS_SECONDS` | load before `inspect`, which then runs for a quarter of it (at least 1) |
//! | `SERVERS_BUSY` | the number of busy processes beside the servers |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[allow(dead_code)]
mod programs;
mod servers;

use std::io::Write;
use std::time::Duration;

use servers::found::{Explained, found, is_explained};
use servers::{Busy, Place, Serving, watched};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap())
}

/// Starts a server, loads it, inspects it under load, and shuts it down.
///
/// `explained`: the warnings of the library; `explained_outside`: those of `inspect`.
#[track_caller]
fn is_well(name: &str, start: fn(&Place) -> Option<Serving>, explained: &[Explained], explained_outside: &[Explained]) {
    let seconds = number("SERVERS_SECONDS");
    let time = Duration::from_secs(seconds.unwrap_or(1));
    let looked = Duration::from_secs(seconds.map_or(1, |seconds| (seconds / 4).max(1)));
    let _busy = number("SERVERS_BUSY").map(|number| Busy::processes(number as usize));
    // In the short run, the library and `inspect` examine the same run of the server.
    let lives: &[bool] = if seconds.is_some() { &[true, false] } else { &[true] };
    for is_preloaded in lives.iter().copied() {
        let place = Place::new(name, is_preloaded);
        let Some(serving) = start(&place) else { return };
        watched::changes_no_descriptor(&serving);
        let rate = serving.load(if is_preloaded { time } else { looked });
        let watched = watched::load(&serving, looked);
        serving.end();
        let outside = is_explained(&format!("{name}, by inspect"), &watched.findings, explained_outside);
        let line = format!(
            "{name} ({}): {:.0} requests per second, {:.0} while it is inspected ({} times; ratio {:.2}); inspect found {outside}",
            if is_preloaded { "with the library" } else { "bare" },
            rate.per_second(),
            watched.rate.per_second(),
            watched.looks,
            watched.rate.per_second() / rate.per_second(),
        );
        // Written to stderr directly: the test harness hides the output of tests that pass.
        let say =
            |line: &str| if seconds.is_some() { _ = writeln!(std::io::stderr(), "{line}") } else { println!("{line}") };
        say(&line);
        if is_preloaded {
            let (processes, findings) = found(&place);
            assert!(processes > 0, "{name}: no recording");
            let inside = is_explained(name, &findings, explained);
            say(&format!("{name}: {processes} processes, found in reports and recordings: {inside}"));
        }
    }
}

#[test]
fn redis() {
    is_well("redis", servers::start::redis, &[], &[]);
}

#[test]
fn nginx() {
    is_well("nginx", servers::start::nginx, &[], &[]);
}

#[test]
fn memcached() {
    is_well("memcached", servers::start::memcached, &[], &[]);
}

#[test]
fn node() {
    is_well("node", servers::start::node, &[], &[]);
}

#[test]
fn asyncio() {
    is_well("asyncio", servers::start::asyncio, &[], &[]);
}

#[test]
fn haproxy() {
    let explained = [
        (
            "herd",
            "this listening socket is watched by 2 instances",
            "true of 2.6: each thread adds the listening sockets to an instance of its own, without EPOLLEXCLUSIVE",
        ),
        (
            "close-in-wait",
            "closed while another thread waits",
            "true: at a soft stop one thread closes the listening sockets while the other waits; haproxy looks into its own \
             table of descriptors before it believes an event",
        ),
    ];
    is_well("haproxy", servers::start::haproxy, &explained, &[]);
}

#[test]
fn tokio() {
    is_well("tokio", servers::start::tokio, &[], &[]);
}

#[test]
fn sshd() {
    is_well("sshd", servers::start::sshd, &[], &[]);
}

#[test]
#[ignore = "make test-servers"]
fn postgres() {
    is_well("postgres", servers::start::postgres, &[], &[]);
}

#[test]
#[ignore = "make test-servers"]
fn apache() {
    let explained = [(
        "herd",
        "related processes, each with its own instance, without EPOLLEXCLUSIVE",
        "true: each worker of 2.4's event MPM adds the listening socket to an instance of its own",
    )];
    is_well("apache", servers::start::apache, &explained, &[]);
}

#[test]
#[ignore = "make test-servers"]
fn mosquitto() {
    is_well("mosquitto", servers::start::mosquitto, &[], &[]);
}

#[test]
#[ignore = "make test-servers"]
fn squid() {
    is_well("squid", servers::start::squid, &[], &[]);
}

#[test]
#[ignore = "make test-servers"]
fn unbound() {
    is_well("unbound", servers::start::unbound, &[], &[]);
}

#[test]
#[ignore = "make test-servers"]
fn named() {
    is_well("named", servers::start::named, &[], &[]);
}

#[test]
#[ignore = "make test-servers"]
fn mariadb() {
    is_well("mariadb", servers::start::mariadb, &[], &[]);
}

#[test]
#[ignore = "make test-servers"]
fn php_fpm() {
    is_well("php-fpm", servers::start::php_fpm, &[], &[]);
}

#[test]
#[ignore = "make test-servers"]
fn puma() {
    let explained = [
        (
            "ctl-error",
            "EPOLL_CTL_ADD) failed with EEXIST",
            "true: libev leaves out EPOLL_CTL_DEL before it adds again; on EEXIST it calls EPOLL_CTL_MOD where the mask differs \
             (ev_epoll.c)",
        ),
        (
            "close-in-wait",
            "a descriptor was closed while another thread waits",
            "true: threads of the pool close connections that the reactor watches; libev keeps a generation in the data of its \
             events, and passes over one of a number that was closed",
        ),
    ];
    is_well("puma", servers::start::puma, &explained, &[]);
}

#[test]
#[ignore = "make test-servers"]
fn celery() {
    let explained = [(
        "ctl-error",
        "EPOLL_CTL_ADD) failed with EEXIST",
        "true: kombu adds what it watches already in each round, with the same mask, and passes over EEXIST (kombu/utils/eventio.py)",
    )];
    is_well("celery", servers::start::celery, &explained, &[]);
}

#[test]
#[ignore = "make test-servers"]
fn wine() {
    let explained = [(
        "fd-inherited",
        "socket was left open in a program started by exec",
        "on purpose: a program is given its socket to the server, whose number is the value of WINESERVERSOCKET",
    )];
    is_well("wine", servers::start::wine, &explained, &[]);
}
