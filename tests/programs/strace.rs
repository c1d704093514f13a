//! The calls that the kernel saw: strace's log of a run, counted by process.

use std::collections::{BTreeMap, HashMap};

/// The calls to trace: those of epoll, and those that show which thread belongs to which process.
/// `?`: only if this machine has the call.
pub const FILTER: &str = "trace=?epoll_create,epoll_create1,epoll_ctl,?epoll_wait,epoll_pwait,?epoll_pwait2,\
                          execve,clone,?clone3,?fork,?vfork";

/// One process's epoll calls.
#[derive(Debug, Default, PartialEq)]
pub struct Account {
    pub calls: BTreeMap<String, Calls>,
    /// Successful calls of `epoll_ctl` by operation.
    pub added: i64,
    pub modified: i64,
    pub deleted: i64,
}

#[derive(Debug, Default, PartialEq)]
pub struct Calls {
    /// Waits that returned.
    pub returned: i64,
    /// Waits of a thread that ended in the call.
    pub unfinished: i64,
    pub errors: BTreeMap<String, i64>,
}

/// The system call that glibc uses for `call`: newer architectures lack the older calls.
pub fn kernel_name(call: &str) -> &str {
    match call {
        _ if cfg!(target_arch = "x86_64") => call,
        "epoll_create" => "epoll_create1",
        "epoll_wait" => "epoll_pwait",
        _ => call,
    }
}

/// The process that strace started: the first one in the log.
pub fn first_process(log: &str) -> Option<i32> {
    log.split_whitespace().next()?.parse().ok()
}

/// The log's calls by process. A line is `TID CALL(ARGUMENTS) = RESULT`, or such a line in two
/// parts, `TID CALL(ARGUMENTS <unfinished ...>` and `TID <... CALL resumed>REST`, or an event of
/// the process (`+++ exited`).
pub fn accounts(log: &str) -> BTreeMap<i64, Account> {
    let mut begun: HashMap<i64, String> = HashMap::new();
    let mut whole: Vec<(i64, String)> = Vec::new();
    for line in log.lines() {
        let (tid, rest) = line.split_once(' ').unwrap_or_else(|| panic!("strace: {line}"));
        let tid: i64 = tid.parse().unwrap_or_else(|_| panic!("strace: {line}"));
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            assert!(begun.insert(tid, start.to_owned()).is_none(), "strace: {line}");
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (_, end) = resumed.split_once(" resumed>").unwrap_or_else(|| panic!("strace: {line}"));
            let start = begun.remove(&tid).unwrap_or_else(|| panic!("strace: {line}"));
            whole.push((tid, start + end));
        } else if !rest.starts_with("+++") {
            whole.push((tid, rest.to_owned()));
        }
    }
    whole.extend(begun.into_iter().map(|(tid, start)| (tid, format!("{start}) = ?"))));

    let process = processes(&whole);
    let mut accounts: BTreeMap<i64, Account> = BTreeMap::new();
    for (tid, call) in &whole {
        let (name, rest) = call.split_once('(').unwrap_or_else(|| panic!("strace: {call}"));
        if name.starts_with("epoll_") {
            let account = accounts.entry(process(*tid)).or_default();
            note(account, name, rest);
        }
    }
    accounts
}

/// The process of a thread: itself, unless a clone with CLONE_THREAD created it.
fn processes(calls: &[(i64, String)]) -> impl Fn(i64) -> i64 {
    let mut parent: HashMap<i64, i64> = HashMap::new();
    for (tid, call) in calls {
        if let (true, Some(child)) = (call.contains("CLONE_THREAD"), result(call).parse().ok()) {
            parent.insert(child, *tid);
        }
    }
    move |mut tid| {
        while let Some(&of) = parent.get(&tid) {
            tid = of;
        }
        tid
    }
}

/// The text after the last `=`: `3`, `-1 EINTR (Interrupted system call)`, `?`.
fn result(call: &str) -> &str {
    call.rsplit_once(") = ").or_else(|| call.rsplit_once("= ")).map_or("", |(_, result)| result.trim())
}

fn note(account: &mut Account, name: &str, rest: &str) {
    let result = result(rest);
    let calls = account.calls.entry(name.to_owned()).or_default();
    if result.starts_with('?') {
        calls.unfinished += 1;
        return;
    }
    calls.returned += 1;
    if let Some(error) = result.strip_prefix("-1 ") {
        let errno = error.split_whitespace().next().unwrap_or(error);
        *calls.errors.entry(errno.to_owned()).or_default() += 1;
    } else if name == "epoll_ctl" {
        assert_eq!(result, "0", "strace: {rest}");
        match rest.split(", ").nth(1) {
            Some("EPOLL_CTL_ADD") => account.added += 1,
            Some("EPOLL_CTL_MOD") => account.modified += 1,
            Some("EPOLL_CTL_DEL") => account.deleted += 1,
            _ => panic!("strace: {rest}"),
        }
    }
}

#[test]
fn a_log_with_interleaved_threads_is_counted_by_process() {
    let log = "\
10 epoll_create1(EPOLL_CLOEXEC) = 5
10 epoll_ctl(5, EPOLL_CTL_ADD, 6, {events=EPOLLIN, data={u32=6, u64=6}}) = 0
10 epoll_wait(5,  <unfinished ...>
10 <... epoll_wait resumed>[{events=EPOLLIN, data={u32=6, u64=6}}], 8, -1) = 1
10 clone3({flags=CLONE_VM|CLONE_THREAD, child_tid=0x7f} <unfinished ...>
11 epoll_wait(5,  <unfinished ...>
10 <... clone3 resumed> => {parent_tid=[11]}, 88) = 11
10 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = 12
12 epoll_ctl(5, EPOLL_CTL_DEL, 6, 0x7ffc) = -1 ENOENT (No such file or directory)
12 +++ exited with 0 +++
10 epoll_wait(5, 0x7ffc, 8, -1) = -1 EINTR (Interrupted system call)
11 <... epoll_wait resumed> <unfinished ...>) = ?
10 +++ exited with 0 +++
";
    let accounts = accounts(log);
    let waits = &accounts[&10].calls["epoll_wait"];
    assert_eq!((waits.returned, waits.unfinished, waits.errors["EINTR"]), (2, 1, 1));
    assert_eq!((accounts[&10].added, accounts[&10].deleted), (1, 0));
    assert_eq!(accounts[&12].calls["epoll_ctl"].errors["ENOENT"], 1);
    assert_eq!(accounts.keys().collect::<Vec<_>>(), [&10, &12]);
    assert_eq!(first_process(log), Some(10));
}
