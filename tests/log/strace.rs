//! A line of the log reads as strace writes the same call.

use std::fs::File;
use std::path::Path;

use super::{Line, bare, corners, lines, read, walk};
use testkit::installed;
use testkit::{scratch, shim, show};

/// Converts strace's lines into the form of the log:
///
/// | strace | the log |
/// |---|---|
/// | `10 call`, ` <0.000010>` (-f, -T) | removed here, like the log's `[pid P tid T]` and `<...>` |
/// | `data={u32=5, u64=5}` | `data=0x5` |
/// | `epoll_pwait(..., mask, 8)`: the size of the mask | written only if it is another |
/// | the address of the time or mask of a failed call | its value, if it can be read |
/// | all events of a wait | the first 16, and `...` |
/// | a plain number | `<kind>` after the descriptor of an epoll_ctl, removed here |
fn strace_as_our_log(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| {
            let line = line.split_once(' ').unwrap().1.trim_start();
            if line.starts_with("+++") || line.starts_with("---") {
                return None;
            }
            let line = line.rsplit_once(" <").map_or(line, |(line, _)| line);
            let (call, result) = line.rsplit_once("= ").unwrap();
            let mut call = call.trim_end().to_owned();
            if call.starts_with("epoll_pwait") {
                call = call.replace(", 8)", ")");
            }
            while let Some((before, rest)) = call.split_once("data={u32=") {
                let (_, rest) = rest.split_once("u64=").unwrap();
                let (number, rest) = rest.split_once('}').unwrap();
                call = format!("{before}data={:#x}{rest}", number.parse::<u64>().unwrap());
            }
            Some(format!("{call} = {result}"))
        })
        .collect()
}

fn without_kinds(said: &str) -> String {
    let mut out = String::new();
    let mut rest = said;
    while let Some((before, after)) = rest.split_once('<') {
        out += before;
        rest = after.split_once('>').unwrap().1;
    }
    out + rest
}

/// Runs a program under the shim and strace at the same time. Returns the lines of strace and of
/// the log.
fn traced(program: &Path, arguments: &[&str], calls: &str) -> Option<(Vec<String>, Vec<Line>)> {
    let [strace] = installed(["strace"])?;
    let dir = scratch("traced");
    let (trace, log) = (dir.join("strace"), dir.join("log"));
    let mut command = bare(&strace, &["-f", "-T", "-v", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"]);
    command.arg(&trace);
    // The log goes to descriptor 2. A file would be opened and closed for each line, which strace
    // would see too.
    for (name, value) in [
        ("LD_PRELOAD", shim().to_str().unwrap()),
        ("EPOLLSHIM_REPORT", "none"),
        ("EPOLLSHIM_LOG", "stderr"),
        ("EPOLLSHIM_LOG_FILTER", calls),
    ] {
        command.arg("-E").arg(format!("{name}={value}"));
    }
    let output = command.arg(program).args(arguments).stderr(File::create(&log).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}{}", show(&output), read(&log));
    // strace prints its own messages about addresses that it cannot read there.
    let said: String =
        read(&log).lines().filter(|line| line.starts_with("[pid ")).map(|line| format!("{line}\n")).collect();
    Some((strace_as_our_log(&read(&trace)), lines(&said)))
}

/// A line with a star in place of each time, mask and address after the third argument.
fn without_values(line: &str) -> String {
    let mut arguments = line.splitn(4, ", ");
    let first: Vec<&str> = arguments.by_ref().take(3).collect();
    let (rest, result) = arguments.next().unwrap().rsplit_once(") = ").unwrap();
    let rest = rest.replace("tv_sec=", "").replace(", tv_nsec=", " ");
    let is_value = |word: &&str| word.starts_with(['{', '[', '~']) || word.starts_with("0x");
    let rest: Vec<&str> = rest.split(", ").map(|word| if is_value(&word) { "*" } else { word }).collect();
    format!("{}, {}) = {result}", first.join(", "), rest.join(", "))
}

/// Asserts that strace and the log agree about one call.
#[track_caller]
fn agree(strace: &str, log: &Line) {
    let said = without_kinds(&log.said);
    if let Some((first, rest)) = said.split_once(", ...]") {
        let first_of = |text: &str| text.matches("{events=").count();
        assert!(first_of(strace) > 16 && first_of(&said) == 16, "{strace}\n{said}");
        assert!(strace.starts_with(first) && strace.ends_with(rest), "{strace}\n{said}");
    } else if said.contains(") = -1 E") && log.call.starts_with("epoll_pwait") {
        assert_eq!(without_values(&said), without_values(strace));
    } else {
        assert_eq!(said, strace);
    }
}

const EPOLL: &str = "epoll_create,epoll_create1,epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2";

#[test]
fn a_line_reads_as_strace_writes_it() {
    let Some((strace, log)) = traced(walk(), &[], EPOLL) else { return };
    for (strace, log) in strace.iter().zip(&log) {
        agree(strace, log);
        assert_eq!(log.has_duration, log.call.contains("wait"), "{log:?}");
    }
    assert_eq!(log.len(), strace.len());
    for errno in ["EEXIST", "ENOENT", "EBADF", "EPERM", "EFAULT", "EINVAL", "ELOOP", "EMFILE", "EINTR"] {
        assert!(log.iter().any(|line| line.said.contains(&format!("= -1 {errno} ("))), "no {errno}");
    }
    for kind in ["4<eventfd>", "5<epoll>", "6<file>", "4<socket>", "<pipe>"] {
        assert!(log.iter().any(|line| line.said.contains(kind)), "no {kind}");
    }
}

#[test]
fn a_line_of_a_descriptor_call_reads_as_strace_writes_it() {
    let Some((mut strace, log)) = traced(walk(), &["descriptors"], "close,dup,dup2,dup3,fcntl,close_range") else {
        return;
    };
    // The loader's calls come before those of the program.
    strace.drain(..strace.len() - log.len());
    for (strace, log) in strace.iter().zip(&log) {
        agree(strace, log);
    }
    assert_eq!(log.len(), 25);
}

#[test]
fn a_corner_case_reads_as_strace_writes_it() {
    let Some((strace, log)) = traced(corners(), &[], EPOLL) else { return };
    for (strace, log) in strace.iter().zip(&log) {
        agree(strace, log);
    }
    assert_eq!(log.len(), strace.len());
    for said in [
        "EPOLLNVAL",
        "0xff0800 /* EPOLL??? */",
        "0x4d /* EPOLL_CTL_??? */",
        ", 7) = -1 EINVAL",
        ", 18446744073709551615) =",
    ] {
        assert!(log.iter().any(|line| line.said.contains(said)), "no {said}");
    }
}

#[test]
fn flags_of_descriptors_read_as_strace_writes_them() {
    let Some((strace, log)) = traced(corners(), &["descriptors"], "dup3,fcntl,close_range") else { return };
    for (strace, log) in strace.iter().zip(&log) {
        agree(strace, log);
    }
    assert_eq!(log.len(), strace.len());
}
