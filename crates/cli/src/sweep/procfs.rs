//! Reads /proc for the processes of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Fields of /proc/PID/stat (proc(5)).
struct Stat {
    name: String,
    state: char,
    parent: i32,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, rest) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { name, state, parent })
}

fn numbers(directory: &str) -> Vec<i32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

pub fn name(pid: i32) -> String {
    stat(pid).map_or_else(|| "?".into(), |stat| stat.name)
}

/// Whether the main thread of a process runs, or waits for a processor or a disk.
pub fn is_at_work(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| matches!(stat.state, 'R' | 'D'))
}

/// The living descendants of a process, without `except` and their descendants.
pub fn below(root: i32, except: &[i32]) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    for pid in numbers("/proc") {
        let Some(stat) = stat(pid) else { continue };
        children.entry(stat.parent).or_default().push(pid);
        if matches!(stat.state, 'Z' | 'X') {
            ended.insert(pid);
        }
    }
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten().filter(|child| !except.contains(child)) {
            open.push(*child);
            if !ended.contains(child) {
                found.push(*child);
            }
        }
    }
    found
}

/// The time in nanoseconds that all living threads have run or waited for a processor. For a thread
/// that never sleeps this is the elapsed time, even on a loaded machine.
pub fn busy_time(pids: &[i32]) -> u64 {
    let of_thread = |pid: i32, tid: i32| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
        let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
        Some(fields.next()?.ok()? + fields.next()?.ok()?)
    };
    let of_process = |pid: &i32| {
        numbers(&format!("/proc/{pid}/task")).into_iter().filter_map(|tid| of_thread(*pid, tid)).sum::<u64>()
    };
    pids.iter().map(of_process).sum()
}

/// The number of descriptors of each process.
pub fn descriptors(pids: &[i32]) -> Vec<u64> {
    pids.iter().map(|pid| numbers(&format!("/proc/{pid}/fd")).len() as u64).collect()
}

/// The number of threads of all processes together.
pub fn tasks(pids: &[i32]) -> u64 {
    pids.iter().map(|pid| numbers(&format!("/proc/{pid}/task")).len() as u64).sum()
}

/// The kind of a descriptor, from its link in /proc/PID/fd: `socket`, `eventpoll`, or a path.
fn what(link: &Path) -> String {
    let text = link.to_string_lossy();
    let text = text.strip_prefix("anon_inode:").unwrap_or(&text).trim_matches(['[', ']']);
    if text.starts_with('/') { text.to_owned() } else { text.split(':').next().unwrap_or(text).to_owned() }
}

/// The number of descriptors of all processes, by kind. Paths in `folder` are relative to it.
pub fn kinds(pids: &[i32], folder: &Path) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for pid in pids {
        for fd in numbers(&format!("/proc/{pid}/fd")) {
            let Ok(link) = fs::read_link(format!("/proc/{pid}/fd/{fd}")) else { continue };
            *kinds.entry(what(link.strip_prefix(folder).unwrap_or(&link))).or_default() += 1;
        }
    }
    kinds
}

/// The state of each thread: program, thread, its system call, and the descriptor of the call.
pub fn threads(pids: &[i32]) -> Vec<(i32, String)> {
    const MOST: usize = 64;
    let mut lines = Vec::new();
    for pid in pids {
        let program = name(*pid);
        for tid in numbers(&format!("/proc/{pid}/task")) {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}")).unwrap_or_default();
            let own = read("comm");
            let own =
                Some(own.trim_end()).filter(|own| *own != program).map(|own| format!(", {own}")).unwrap_or_default();
            let place = place(*pid, &read("syscall"));
            lines.push((tid, format!("{program} (pid {pid}, thread {tid}{own}): {place}")));
        }
    }
    lines.truncate(MOST);
    lines
}

/// Parses /proc/PID/task/TID/syscall: a number, and arguments in hexadecimal (proc(5)).
fn place(pid: i32, call: &str) -> String {
    let mut words = call.split_ascii_whitespace();
    let number = match words.next() {
        Some("running") => return "runs".into(),
        Some("-1") => return "waits outside of a system call".into(),
        Some(number) => number,
        None => return "state unknown".into(),
    };
    let Some(name) = number.parse().ok().and_then(call_named) else { return format!("in system call {number}") };
    let fd = words.next().and_then(|word| i32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let link = fd.filter(|_| ON_DESCRIPTOR.contains(&name));
    match link.and_then(|fd| Some((fd, fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?))) {
        Some((fd, link)) => format!("in {name} of fd {fd} ({})", what(&link)),
        None => format!("in {name}"),
    }
}

/// The calls of [`call_named`] whose first argument is a descriptor.
const ON_DESCRIPTOR: [&str; 10] =
    ["read", "write", "epoll_wait", "epoll_pwait", "epoll_pwait2", "accept", "connect", "recvfrom", "recvmsg", "flock"];

/// System calls in which threads commonly wait.
fn call_named(number: i64) -> Option<&'static str> {
    Some(match number {
        libc::SYS_read => "read",
        libc::SYS_write => "write",
        libc::SYS_poll => "poll",
        libc::SYS_ppoll => "ppoll",
        libc::SYS_select => "select",
        libc::SYS_pselect6 => "pselect6",
        libc::SYS_epoll_wait => "epoll_wait",
        libc::SYS_epoll_pwait => "epoll_pwait",
        libc::SYS_epoll_pwait2 => "epoll_pwait2",
        libc::SYS_accept | libc::SYS_accept4 => "accept",
        libc::SYS_connect => "connect",
        libc::SYS_recvfrom => "recvfrom",
        libc::SYS_recvmsg => "recvmsg",
        libc::SYS_futex => "futex",
        libc::SYS_wait4 | libc::SYS_waitid => "wait",
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => "nanosleep",
        libc::SYS_pause => "pause",
        libc::SYS_rt_sigsuspend => "sigsuspend",
        libc::SYS_rt_sigtimedwait => "sigtimedwait",
        libc::SYS_flock => "flock",
        libc::SYS_io_uring_enter => "io_uring_enter",
        _ => return None,
    })
}

/// The TCP ports in this network on which a process listens.
pub fn listening() -> BTreeSet<u16> {
    const LISTEN: &str = "0A";
    let mut ports = BTreeSet::new();
    for file in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        for line in fs::read_to_string(file).unwrap_or_default().lines().skip(1) {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (Some(local), Some(_), Some(LISTEN)) = (fields.next(), fields.next(), fields.next()) else { continue };
            let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            ports.extend(port);
        }
    }
    ports
}
