//! Orders and processes that are refused, and the help.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use epollshim_format::control;

use super::common::{self, compile, epollshim, output, run, skipped, stderr, stdout, tool, until};
use super::{Crowd, Puppet, ctl, pages, refused, word};
#[test]
fn a_wrong_request_is_one_line_and_is_not_sent_to_the_process() {
    let mut puppet = Puppet::start();
    for (words, said) in [
        (&["inject", "epoll_wat:timeout"][..], "inject: unknown call 'epoll_wat'"),
        (&["inject", ""], "inject: "),
        (&["inject", "epoll_ctl:error=ENOSPC;;"], "inject: rule 2 is empty"),
        (&["inject", "epoll_wait:retval=-9999"], "EPOLLSHIM_INJECT_IMPOSSIBLE=1 allows it"),
        (&["limit", "instance=8"], "limit: unknown limit 'instance'"),
        (&["limit", ""], "limit: "),
        (&["off", "everything"], "everything"),
        (&["--wait", "soon"], "--wait: 'soon' is not a number of seconds"),
        (&["stop"], "stop"),
        (&["inject"], "RULES"),
    ] {
        refused(&puppet.running.ctl(words), 2, said);
    }
    refused(&run(&["ctl"]), 2, "PID");
    assert_eq!(puppet.does("a"), 0);
    let file = File::open(puppet.running.recording()).unwrap();
    assert_eq!(word(&file, pages(&file) + control::REQUESTS as u64), 0);

    let mut puppet = Puppet::start_with(&[("EPOLLSHIM_INJECT_IMPOSSIBLE", "1")]);
    puppet.order(&["inject", "epoll_ctl:retval=7:op=ADD"]);
    puppet.order(&["limit", "watches=5"]);
}

#[test]
fn a_process_that_cannot_be_controlled_is_one_line_with_the_reason() {
    let puppet = Puppet::start();
    let pid = puppet.running.pid();
    refused(&ctl("redis", &[]), 2, "'redis' is not a process id");
    refused(&ctl("4294967294", &[]), 2, "there is no process 4294967294");
    refused(&ctl(&std::process::id().to_string(), &[]), 2, "is not running under epollshim");
    let mut bare = epollshim();
    bare.args(["run", "--exec", "--report=none", "--", "sleep", "60"]);
    let mut bare = bare.spawn().unwrap();
    let shimmed = bare.id().to_string();
    until("the shim is in it", || {
        let maps = fs::read_to_string(format!("/proc/{shimmed}/maps")).unwrap();
        (maps.contains("libepollshim") && maps.contains("/sleep")).then_some(())
    });
    refused(&ctl(&shimmed, &[]), 2, "keeps no recording; start it with epollshim run --record DIRECTORY");
    bare.kill().unwrap();
    bare.wait().unwrap();

    let file = puppet.running.recording();
    let moved = file.with_extension("moved");
    fs::rename(&file, &moved).unwrap();
    refused(&ctl(&pid, &[]), 2, "has no recording of its own");
    fs::copy(&moved, &file).unwrap();
    fs::rename(&moved, file.with_extension("other.rec")).unwrap();
    fs::remove_file(file.with_extension("other.rec")).unwrap();
    refused(&ctl(&pid, &[]), 2, "was deleted");

    let crowd = Crowd::start("1");
    crowd.running.ready();
    let threads = fs::read_dir(format!("/proc/{}/task", crowd.running.pid())).unwrap();
    let names: Vec<String> = threads.map(|thread| thread.unwrap().file_name().into_string().unwrap()).collect();
    let thread = names.iter().find(|name| **name != crowd.running.pid()).unwrap();
    refused(&ctl(thread, &[]), 2, &format!("is a thread of crowd (pid {})", crowd.running.pid()));
}

#[test]
fn another_user_is_refused_and_nothing_is_armed() {
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return skipped("another user's command needs root to start it", true);
    }
    let Some(setpriv) = tool("setpriv") else { return };
    // A directory that other users can reach.
    let binary = std::env::temp_dir().join(format!("epollshim-ctl-{}", std::process::id()));
    common::copy(common::binary(), &binary);
    let mut puppet = Puppet::start();
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new(&setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).arg("ctl").args(words);
        output(&mut command)
    };
    let refusal = as_nobody(&[&puppet.running.pid(), "inject", "epoll_ctl:error=ENOSPC"]);
    refused(&refusal, 2, "belongs to user 0, and you are user 65534; only its owner and root can control it");
    assert_eq!(puppet.does("a"), 0);
    let file = File::open(puppet.running.recording()).unwrap();
    assert_eq!(word(&file, pages(&file) + control::REQUESTS as u64), 0);
    assert_eq!(word(&file, pages(&file) + control::BELL as u64), 0);
    // The file itself is inaccessible to that user, too.
    let mut open = Command::new(&setpriv);
    open.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", "exec 3<>\"$0\""]);
    assert!(!output(open.arg(puppet.running.recording())).status.success());

    // Root may control the process of another user.
    let directory = std::env::temp_dir().join(format!("epollshim-ctl-{}-rec", std::process::id()));
    let program = std::env::temp_dir().join(format!("epollshim-ctl-{}-puppet", std::process::id()));
    let library = std::env::temp_dir().join(format!("epollshim-ctl-{}-libepollshim.so", std::process::id()));
    common::copy(compile("puppet", &[]), &program);
    common::copy(common::library(), &library);
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(65534), Some(65534)).unwrap();
    let mut child = Command::new(&setpriv)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "env"])
        .arg(format!("LD_PRELOAD={}", library.display()))
        .arg(format!("EPOLLSHIM_RECORD={}", directory.display()))
        .args(["EPOLLSHIM_REPORT=none"])
        .arg(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    refused(&ctl(line.trim(), &["--wait=0.1", "inject", "epoll_ctl:error=ENOSPC:op=ADD"]), 3, "stays pending");
    child.stdin.as_mut().unwrap().write_all(b"m 1\na\n").unwrap();
    line.clear();
    from.read_line(&mut line).unwrap();
    from.read_line(&mut line).unwrap();
    assert_eq!(line.lines().nth(1), Some("28"), "ENOSPC");
    drop(child.stdin.take());
    child.wait().unwrap();
    fs::remove_dir_all(&directory).unwrap();
    [binary, program, library].iter().for_each(|file| fs::remove_file(file).unwrap());
}

#[test]
fn its_help_fits_a_terminal() {
    for words in [
        &["ctl", "--help"][..],
        &["ctl", "-h"],
        &["ctl", "1", "inject", "--help"],
        &["ctl", "1", "limit", "--help"],
        &["ctl", "1", "off", "--help"],
        &["ctl", "1", "snapshot", "--help"],
        &["ctl", "1", "status", "--help"],
    ] {
        let output = run(words);
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {}", stderr(&output));
        let text = stdout(&output);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{words:?}: {text}");
        assert!(text.contains("epollshim ctl"), "{words:?}: {text}");
    }
}
