//! Faults that a kernel may cause at any time do not affect the clients of a server, and rules that
//! never fire do not affect the tests of Python.

use super::*;

/// Faults that a kernel may cause at any wait of any program.
const HARMLESS: [&str; 6] = [
    "epoll_wait:error=EINTR:prob=0.05",
    "epoll_wait:batch=1",
    "epoll_wait:error=EINTR:prob=0.05;epoll_wait:batch=1",
    "epoll_wait:shuffle",
    "epoll_wait:delay_exit=100us:prob=0.1",
    "epoll_wait:timeout:prob=0.05",
];

/// Asserts that every rule fired, and that results with EINTR are reported as such.
#[track_caller]
fn bit(report: &Value, rules: &str) {
    agrees(report);
    for (rule, fired) in rules.split(';').zip(fired(report)) {
        assert!(fired > 0, "{rule}: {report}");
        if rule.contains("EINTR") {
            assert!(of_call(report, "epoll_wait", "EINTR").1 >= fired, "{report}");
        }
    }
}

#[test]
fn redis_serves_every_client_despite_faults_in_its_waits() {
    let Some([server, benchmark]) = installed(["redis-server", "redis-benchmark"]) else { return };
    for rules in HARMLESS {
        let (mut redis, port) = redis(&server, &[("EPOLLSHIM_INJECT", rules), ("EPOLLSHIM_SEED", "7")]);
        until_ready(&mut redis);
        let text = port.to_string();
        let tests = "ping,set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset";
        let said = load::tool(&benchmark, &["-p", &text, "-c", "50", "-n", "1000", "-q", "-t", tests]);
        assert!(!said.to_lowercase().contains("error"), "{rules}: {said}");
        assert!(said.matches("requests per second").count() >= 11, "{rules}: {said}");
        let ended = redis.end(libc::SIGTERM);
        assert_eq!(ended.status.code(), Some(0), "{rules}: {}", ended.stdout);
        bit(only_report(&ended), rules);
    }
}

#[test]
fn nginx_serves_every_client_despite_faults_in_its_waits() {
    let Some([server, wrk]) = installed(["nginx", "wrk"]) else { return };
    for rules in HARMLESS {
        let (nginx, port) = nginx(&server, &[("EPOLLSHIM_INJECT", rules), ("EPOLLSHIM_SEED", "7")]);
        for path in ["page", "proxied"] {
            let url = format!("http://127.0.0.1:{port}/{path}");
            let said = load::tool(&wrk, &["-t", "2", "-c", "30", "-d", "1s", "--timeout", "30s", &url]);
            assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{rules}: {said}");
        }
        let ended = nginx.end(libc::SIGQUIT);
        assert_eq!(ended.status.code(), Some(0), "{rules}: {}", ended.log);
        // No kernel returns 0 events from a wait without a timeout. nginx logs this error, and
        // continues.
        let known =
            if rules.contains("timeout") { "epoll_wait() returned no events without timeout" } else { "(none)" };
        for line in ended.log.lines().filter(|line| !line.contains(known)) {
            assert!(line.contains("[notice]"), "{rules}: {}", ended.log);
        }
        let workers: Vec<_> =
            ended.reports.values().filter(|report| report["calls"]["epoll_wait"].is_object()).collect();
        assert_eq!(workers.len(), 2, "{rules}");
        // One worker may accept too few connections for a random rule to fire; at least one of the
        // two accepts enough.
        assert!(workers.iter().any(|report| fired(report).iter().all(|fired| *fired > 0)), "{rules}: {workers:?}");
        for report in workers {
            agrees(report);
        }
    }
}

#[test]
fn asyncio_serves_every_client_despite_faults_in_its_waits() {
    let Some(python) = python() else { return };
    for rules in HARMLESS {
        let (server, port) = asyncio(&python, &[("EPOLLSHIM_INJECT", rules), ("EPOLLSHIM_SEED", "7")]);
        load::echo(port, 8, 60);
        let ended = server.end(libc::SIGTERM);
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(7), ""), "{rules}");
        assert!(ended.stdout.contains("served 8 connections, 102480 bytes"), "{rules}: {}", ended.stdout);
        bit(only_report(&ended), rules);
    }
}

/// The outcome of each test of epoll and selectors, from regrtest's JUnit file.
fn outcomes(python: &Path, options: &[(&str, &str)]) -> BTreeMap<String, &'static str> {
    let xml = testkit::scratch("python").join("outcomes.xml");
    let mut command = Command::new(python);
    command.args(["-m", "test", "-u", "none", "--junit-xml"]).arg(&xml).args(["test_epoll", "test_selectors"]);
    if !options.is_empty() {
        command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_REPORT", "none").envs(options.iter().copied());
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = std::fs::read_to_string(&xml).unwrap_or_else(|error| panic!("{error}\n{}", testkit::show(&output)));
    text.split("<testcase name=\"")
        .skip(1)
        .map(|case| {
            let (name, rest) = case.split_once('"').unwrap();
            let failed = rest.contains("<failure") || rest.contains("<error");
            (name.to_owned(), if failed { "failed" } else { "not failed" })
        })
        .collect()
}

#[test]
fn python_s_own_tests_have_the_same_outcomes_with_rules_that_never_fire_and_with_a_log() {
    let Some(python) = python_with_tests() else { return };
    let log = testkit::scratch("log").join("log");
    let bare = outcomes(&python, &[]);
    assert!(bare.values().filter(|outcome| **outcome == "not failed").count() >= 50, "{bare:?}");
    for option in [
        ("EPOLLSHIM_INJECT", "all:error=EIO:when=4000000000"),
        ("EPOLLSHIM_LIMIT", "instances=100000,watches=1000000,memory=1G"),
        ("EPOLLSHIM_LOG", log.to_str().unwrap()),
    ] {
        assert_eq!(outcomes(&python, &[option]), bare, "{option:?}");
    }
    assert!(std::fs::metadata(&log).unwrap().len() > 1000);
}
