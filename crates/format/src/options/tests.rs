extern crate std;
use super::{Format, Log, LogTime, OnBadConfig, Options, Report, parse};
use crate::function::Functions;
use std::format;
use std::string::{String, ToString};

fn read<'a>(entries: &'a [&'a str]) -> (Options<'a>, Option<String>) {
    let (options, problem) = parse(entries.iter().map(|entry| entry.as_bytes()));
    (options, problem.map(|problem| problem.to_string()))
}

fn complaint(entry: &str) -> String {
    read(&[entry]).1.unwrap_or_default()
}

#[test]
fn without_variables_the_defaults_hold() {
    assert_eq!(read(&["PATH=/bin", "EPOLLSHIM", "X=EPOLLSHIM_REPORT=7"]), (Options::default(), None));
}

#[test]
fn every_word_is_understood() {
    let (options, problem) = read(&[
        "EPOLLSHIM_REPORT=/tmp/a-%p-%e-%t-%%.json",
        "EPOLLSHIM_REPORT_FORMAT=json",
        "EPOLLSHIM_ONLY=nginx,redis-server",
        "EPOLLSHIM_ON_BAD_CONFIG=ignore",
        "EPOLLSHIM_LIMIT=instances=8",
        "EPOLLSHIM_INJECT=epoll_wait:error=EINTR;epoll_ctl:retval=0",
        "EPOLLSHIM_INJECT_IMPOSSIBLE=0",
        "EPOLLSHIM_INJECT_LOG=faults.%p",
        "EPOLLSHIM_INJECT_REPLAY=faults.71",
        "EPOLLSHIM_SEED=42",
        "EPOLLSHIM_LOG=log.%p",
        "EPOLLSHIM_LOG_FORMAT=json",
        "EPOLLSHIM_LOG_TIME=wall",
        "EPOLLSHIM_LOG_FILTER=failed,epoll_ctl",
        "EPOLLSHIM_SESSION=run",
        "EPOLLSHIM_SUPPRESSIONS=known.supp",
        "EPOLLSHIM_CENSUS=1",
        "EPOLLSHIM_STACKS=64",
    ]);
    assert_eq!(problem, None);
    assert_eq!(options.report, Report::File(b"/tmp/a-%p-%e-%t-%%.json"));
    assert_eq!(options.format, Format::Json);
    assert_eq!(options.only, Some(&b"nginx,redis-server"[..]));
    assert_eq!(options.on_bad_config, OnBadConfig::Ignore);
    assert_eq!(options.limit.and_then(|limits| limits.instances), Some(8));
    assert_eq!(options.inject, b"epoll_wait:error=EINTR;epoll_ctl:retval=0");
    assert!(!options.impossible);
    assert_eq!(options.inject_log, Some(Log::File(b"faults.%p")));
    assert_eq!(options.inject_replay, Some(&b"faults.71"[..]));
    assert_eq!(options.seed, Some(42));
    assert_eq!(options.log, Some(Log::File(b"log.%p")));
    assert_eq!(options.log_format, Format::Json);
    assert_eq!(options.log_time, LogTime::Wall);
    assert!(options.log_filter.failed && options.log_filter.functions == Functions(1 << 2));
    assert_eq!(options.session, Some(&b"run"[..]));
    assert_eq!(options.suppressions, Some(&b"known.supp"[..]));
    assert!(options.census);
    assert_eq!(options.stacks, 64);
    assert_eq!(read(&["EPOLLSHIM_REPORT=none"]).0.report, Report::None);
    for (word, number) in [("-", 1), ("/dev/stdout", 1), ("/dev/fd/1", 1), ("/dev/fd/17", 17), ("/proc/self/fd/3", 3)] {
        assert_eq!(read(&[&format!("EPOLLSHIM_REPORT={word}")]).0.report, Report::Descriptor(number), "{word}");
        assert_eq!(read(&[&format!("EPOLLSHIM_LOG={word}")]).0.log, Some(Log::Descriptor(number)), "{word}");
    }
    for word in ["/dev/stderr", "/dev/fd/2"] {
        assert_eq!(read(&[&format!("EPOLLSHIM_REPORT={word}")]).0.report, Report::Stderr, "{word}");
    }
    assert_eq!(read(&["EPOLLSHIM_REPORT=/dev/fd/x"]).0.report, Report::File(b"/dev/fd/x"));
    assert_eq!(read(&["EPOLLSHIM_LOG=stderr"]).0.log, Some(Log::Stderr));
    assert_eq!(read(&["EPOLLSHIM_LOG=none"]).0.log, None);
}

#[test]
fn a_seed_is_decimal_or_hex() {
    for (text, seed) in [
        ("EPOLLSHIM_SEED=0", 0),
        ("EPOLLSHIM_SEED=0xdeadBEEF", 0xdead_beef),
        ("EPOLLSHIM_SEED=010", 10),
        ("EPOLLSHIM_SEED=0xffffffffffffffff", u64::MAX),
        ("EPOLLSHIM_SEED=18446744073709551615", u64::MAX),
    ] {
        assert_eq!(read(&[text]).0.seed, Some(seed), "{text}");
    }
}

#[test]
fn impossible_faults_are_allowed_by_a_variable_in_any_place() {
    let rule = "EPOLLSHIM_INJECT=epoll_ctl:retval=7";
    let allowed = "EPOLLSHIM_INJECT_IMPOSSIBLE=1";
    for entries in [[rule, allowed], [allowed, rule]] {
        let (options, problem) = read(&entries);
        assert_eq!((options.inject, problem), (&b"epoll_ctl:retval=7"[..], None));
    }
    let forbidden = [rule, "EPOLLSHIM_INJECT_IMPOSSIBLE=0"];
    let (options, problem) = read(&forbidden);
    assert!(options.inject.is_empty() && problem.is_some());
}

#[test]
fn a_message_names_the_variable_the_word_and_what_is_allowed() {
    assert_eq!(
        complaint("EPOLLSHIM_REPORT_FORMAT=xml"),
        "EPOLLSHIM_REPORT_FORMAT: unknown value 'xml'; allowed: text, json"
    );
    assert_eq!(
        complaint("EPOLLSHIM_REPORT_FORMAT=jsn"),
        "EPOLLSHIM_REPORT_FORMAT: unknown value 'jsn'; allowed: text, json; did you mean json?"
    );
    assert_eq!(complaint("EPOLLSHIM_ONLY=a,,b"), "EPOLLSHIM_ONLY: empty; expected program names, separated by commas");
    assert!(complaint("EPOLLSHIM_REPORT=/tmp/%q").contains("unknown pattern at '%q'"));
    assert!(complaint("EPOLLSHIM_REPORT=/tmp/x%").contains("unknown pattern at '%'"));
    assert!(complaint("EPOLLSHIM_REPORT=/tmp/").contains("is a directory"));
    assert!(complaint("EPOLLSHIM_REPORT=").contains("empty"));
    assert_eq!(complaint("EPOLLSHIM_REPROT=x"), "EPOLLSHIM_REPROT: no such option; did you mean EPOLLSHIM_REPORT?");
    assert_eq!(complaint("EPOLLSHIM_CENSUS=yes"), "EPOLLSHIM_CENSUS: unknown value 'yes'; allowed: 0, 1");
    assert_eq!(
        complaint("EPOLLSHIM_REPORT_FORMAT=\u{1b}[31m"),
        "EPOLLSHIM_REPORT_FORMAT: unknown value '\\x1b[31m'; allowed: text, json"
    );
}

#[test]
fn unrelated_variables_are_ignored() {
    assert_eq!(complaint("EPOLLSHIM_MY_HARNESS=1"), "");
}

#[test]
fn ignore_works_in_any_place() {
    let (options, problem) = read(&["EPOLLSHIM_REPORT_FORMAT=xml", "EPOLLSHIM_ON_BAD_CONFIG=ignore"]);
    assert_eq!(options.on_bad_config, OnBadConfig::Ignore);
    assert!(problem.is_some());
}
