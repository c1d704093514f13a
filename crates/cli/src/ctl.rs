//! `epollshim ctl`: controls a running process by the control pages of its recording.
//!
//! ```text
//! names     parses process ids, and finds those of a name
//! target    finds the recording of a process, and checks the permission to control it
//! exchange  writes a request, and waits for the answer
//! ```

mod exchange;
mod names;
mod target;

use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use epollshim_format::{control, faults, limits};
use epollshim_recording::{Format, Look, Options, armed, load_with};

use crate::args::{Armed, Ctl, Order};
use crate::text::{printable, shown};
use crate::{Failure, print, report, say};
use exchange::{Exchange, Outcome, When};
pub use names::pid;
use target::{State, Target};

/// The process did not carry out the order.
const NOT_DONE: i32 = 1;
/// No call of the process returned in time.
const STANDS: i32 = 3;

/// Carries out an order. Returns the exit status, the highest one for several processes.
pub fn ctl(asked: &Ctl) -> Result<i32, Failure> {
    let order = asked.order.as_ref().unwrap_or(&Order::Status);
    let wait = asked.wait.as_deref().unwrap_or(if is_snapshot(order) { "1" } else { "5" });
    let wait = seconds(wait)?;
    // No process is known yet, so all faults are allowed in this check.
    let lines = lines(order, true)?;
    if let [pid] = asked.pids.as_slice() {
        return one(pid, order, lines, wait);
    }
    for (index, word) in asked.pids.iter().enumerate() {
        pid(word).map_err(|failure| if index == 0 { failure } else { neither(word) })?;
    }
    if matches!(order, Order::Snapshot { output: Some(_), .. }) {
        return Err(Failure::usage("snapshot -o: the file takes the report of one process; name one PID"));
    }
    let mut highest = 0;
    for pid in &asked.pids {
        let status = one(pid, order, lines.clone(), wait).unwrap_or_else(|failure| {
            say(&failure.text);
            failure.status
        });
        highest = highest.max(status);
    }
    Ok(highest)
}

/// The message for a word after the first process id. It may be a misspelt order.
fn neither(word: &OsStr) -> Failure {
    let word = shown(word);
    let orders = "status, inject, limit, off, snapshot";
    Failure::usage(format!("'{word}' is neither a process id nor an order; orders: {orders}"))
}

/// A snapshot is withdrawn if no call returns in time, because nobody reads its result later.
fn is_snapshot(order: &Order) -> bool {
    matches!(order, Order::Snapshot { .. })
}

fn one(pid: &OsStr, order: &Order, lines: Vec<Vec<u8>>, wait: Duration) -> Result<i32, Failure> {
    let target = Target::find(pid)?;
    if matches!(order, Order::Status) {
        return status(&target).map(|()| 0);
    }
    let mut exchange = Exchange::begin(&target, wait)?;
    if let Order::Inject { rules, .. } = order {
        check_rules(&joined(rules, b";"), exchange.allows_impossible())?;
    }
    let when = if is_snapshot(order) { When::Now } else { When::Sometime };
    match exchange.request(lines, when)? {
        Outcome::Done(text) => match order {
            Order::Snapshot { format, output } => {
                let reconciled = text == control::RECONCILED;
                if !reconciled {
                    say(&format!("{target}: not compared with the kernel: its threads kept changing descriptors"));
                }
                snapshot(&target, reconciled, format, output.as_deref())
            }
            _ => Ok(0),
        },
        Outcome::Refused(text) => Err(failure(NOT_DONE, format!("{target}: {}", printable(&text)))),
        Outcome::NotTaken => {
            let why = not_taken(&target, wait, when, order);
            let Order::Snapshot { format, output } = order else { return Err(failure(STANDS, why)) };
            say(&why);
            snapshot(&target, false, format, output.as_deref()).map(|_| STANDS)
        }
    }
}

fn failure(status: i32, text: String) -> Failure {
    Failure { status, text }
}

/// The request to the shim, one order per line.
fn lines(order: &Order, impossible: bool) -> Result<Vec<Vec<u8>>, Failure> {
    let line = |word: &str, text: &[u8]| [word.as_bytes(), b" ", text].concat();
    Ok(match order {
        // The recording contains the status.
        Order::Status => Vec::new(),
        Order::Snapshot { .. } => vec![b"snapshot".to_vec()],
        Order::Inject { replace, rules } => {
            let rules = joined(rules, b";");
            check_rules(&rules, impossible)?;
            let before = if *replace { Some(b"off faults".to_vec()) } else { None };
            before.into_iter().chain([line("inject", &rules)]).collect()
        }
        Order::Limit { limits } => {
            let limits = joined(limits, b",");
            limits::parse(&limits).map_err(|fault| Failure::usage(format!("limit: {fault}")))?;
            vec![line("limit", &limits)]
        }
        Order::Off { what } => [(Armed::Faults, &b"off faults"[..]), (Armed::Limits, b"off limits")]
            .into_iter()
            .filter(|(armed, _)| what.is_none_or(|what| what == *armed))
            .map(|(_, line)| line.to_vec())
            .collect(),
    })
}

fn joined(words: &[OsString], between: &[u8]) -> Vec<u8> {
    let mut text = words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>().join(between);
    // Each order is a line. White space in rules may be a space as well.
    text.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    text
}

fn check_rules(rules: &[u8], impossible: bool) -> Result<(), Failure> {
    std::str::from_utf8(rules).map_err(|_| Failure::usage("inject: the rules are not UTF-8 text"))?;
    faults::check(rules, impossible).map(drop).map_err(|fault| Failure::usage(format!("inject: {fault}")))
}

fn seconds(word: &str) -> Result<Duration, Failure> {
    let number = word.parse::<f64>().ok().filter(|_| word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    number.and_then(|number| Duration::try_from_secs_f64(number.min(1e9)).ok()).ok_or_else(|| {
        Failure::usage(format!("--wait: '{}' is not a number of seconds, such as 5 or 0.5", printable(word)))
    })
}

fn not_taken(target: &Target, wait: Duration, when: When, order: &Order) -> String {
    let why = match target.state() {
        State::Stopped => "it is stopped; ",
        _ => "",
    };
    let then = match (when, order) {
        (When::Sometime, _) => "the request stays pending until one does".to_owned(),
        (When::Now, _) => "the report shows what it recorded, not compared with the kernel".to_owned(),
    };
    format!("{target}: no epoll call returned within {} s; {why}{then}", wait.as_secs_f64())
}

/// Prints what is armed. The recording contains it, so the process need not answer. The open file
/// is read, because its name may lead to another file by now.
fn status(target: &Target) -> Result<(), Failure> {
    let path = format!("/proc/self/fd/{}", target.file.as_raw_fd());
    let set = load_with(Path::new(&path), &Options::default())
        .map_err(|error| failure(NOT_DONE, format!("{}: {error}", target.shown_path())))?;
    let Some(process) = set.processes.first() else {
        return Err(failure(NOT_DONE, format!("{target}: its recording {} cannot be read", target.shown_path())));
    };
    let (is_armed, text) = armed(process, Look::default());
    let mut page = format!("{target}: {}\n{text}", if is_armed { "armed now" } else { "nothing is armed" });
    if target.is_asked() {
        page.push_str("\nA request is pending until its next recorded call returns.\n");
    }
    print(&page)
}

/// Reports on the recording as it is now. Returns the exit status.
fn snapshot(target: &Target, reconciled: bool, format: &str, output: Option<&Path>) -> Result<i32, Failure> {
    let options = Options { is_judged: true, ..Options::default() };
    let loaded = load_with(target.path(), &options);
    // Checked after the file was read, to detect that the name led to another file.
    if !target.has_its_name() {
        let place = target.shown_path();
        return Err(failure(
            NOT_DONE,
            format!("{target}: its recording {place} was replaced or removed; it cannot be reported"),
        ));
    }
    let mut set = loaded.map_err(|error| failure(NOT_DONE, printable(&error.to_string())))?;
    set.processes.iter_mut().for_each(|process| process.reconciled = reconciled);
    // The command line accepts only known formats.
    report::write(&set, Format::named(format).unwrap_or(Format::Text), output)?;
    Ok(report::missing(&set).map_or(0, |what| {
        say(&what);
        NOT_DONE
    }))
}

#[cfg(test)]
mod tests {
    use super::{joined, lines, seconds};
    use crate::args::{Armed, Order};
    use epollshim_format::control;

    fn texts(order: &Order) -> Vec<String> {
        let lines = lines(order, false).unwrap_or_default();
        assert!(lines.iter().all(|line| control::orders(line).all(|order| order.is_some())), "{order:?}");
        lines.into_iter().map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
    }

    #[test]
    fn an_order_is_lines_that_the_shim_knows() {
        let rules = vec!["epoll_ctl:error=ENOSPC".into(), "epoll_wait:timeout".into()];
        assert_eq!(
            texts(&Order::Inject { replace: true, rules }),
            ["off faults", "inject epoll_ctl:error=ENOSPC;epoll_wait:timeout"]
        );
        assert_eq!(
            texts(&Order::Limit { limits: vec!["watches=1".into(), "events=2".into()] }),
            ["limit watches=1,events=2"]
        );
        assert_eq!(texts(&Order::Off { what: None }), ["off faults", "off limits"]);
        assert_eq!(texts(&Order::Off { what: Some(Armed::Limits) }), ["off limits"]);
        assert!(texts(&Order::Status).is_empty());
        assert_eq!(joined(&["a\nb".into(), "c".into()], b";"), b"a b;c");
    }

    #[test]
    fn a_wait_is_seconds_and_parts_of_them() {
        assert_eq!(seconds("0.25").ok().map(|wait| wait.as_millis()), Some(250));
        assert_eq!(seconds("0").ok().map(|wait| wait.as_millis()), Some(0));
        for bad in ["", "-1", "inf", "NaN", "1e3", "5s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
