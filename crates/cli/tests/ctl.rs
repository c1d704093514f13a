//! `epollshim ctl`, as a user sees it: a running program is steered, and nothing else comes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{HUNG, compile, epollshim, output, run, scratch, skipped, stderr, stdout, tool, until};
use epollshim_format::control;
use epollshim_format::recording::{DIRECTORY, SEGMENTS, entry, kind};
use serde_json::Value;

/// What is started here ends here, by its own pid.
struct Running {
    child: Child,
    recordings: PathBuf,
}

impl Running {
    fn start(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let recordings = scratch("ctl").join("rec");
        let child = epollshim()
            .args(["run", "--exec", "--report", "none", "--record"])
            .arg(&recordings)
            .arg("--")
            .arg(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running { child, recordings }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn ctl(&self, words: &[&str]) -> Output {
        ctl(&self.pid(), words)
    }

    /// An order that is carried out.
    fn told(&self, words: &[&str]) -> String {
        let output = self.ctl(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Its first recording.
    fn recording(&self) -> PathBuf {
        until("there is a recording", || Some(fs::read_dir(&self.recordings).ok()?.next()?.ok()?.path()))
    }

    fn alive(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.pid())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Until it can be steered.
    fn ready(&self) {
        until("it can be steered", || self.ctl(&["status"]).status.success().then_some(()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ctl(pid: &str, words: &[&str]) -> Output {
    run(&[&["ctl", pid], words].concat())
}

/// One line on stderr, and this exit status.
fn refused(output: &Output, status: i32, said: &str) {
    let line = stderr(output);
    assert_eq!((output.status.code(), line.lines().count()), (Some(status), 1), "{line}");
    assert!(line.contains(said) && line.starts_with("epollshim: "), "{said}: {line}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
}

/// tests/programs/puppet.c
struct Puppet {
    running: Running,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Puppet {
    fn start() -> Puppet {
        Puppet::start_with(&[])
    }

    fn start_with(variables: &[(&str, &str)]) -> Puppet {
        let mut running = Running::start(&compile("puppet", &[]), &[], variables);
        let (to, from) = (running.child.stdin.take().unwrap(), running.child.stdout.take().unwrap());
        let mut puppet = Puppet { running, to, from: BufReader::new(from) };
        assert_eq!(puppet.heard().to_string(), puppet.running.pid());
        puppet
    }

    fn say(&mut self, line: &str) {
        self.to.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn heard(&mut self) -> i64 {
        let line = self.line();
        line.parse().unwrap_or_else(|_| panic!("'{line}'"))
    }

    fn does(&mut self, line: &str) -> i64 {
        self.say(line);
        self.heard()
    }

    /// An order that is taken as one call returns.
    fn told(&mut self, words: &[&str]) -> String {
        let pid = self.running.pid();
        self.told_of(&pid, words)
    }

    fn told_of(&mut self, pid: &str, words: &[&str]) -> String {
        let child =
            epollshim().args(["ctl", pid]).args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let directory = self.running.recordings.clone();
        until("the request stands", || {
            let stands = fs::read_dir(&directory).unwrap().flatten().any(|entry| {
                let file = File::open(entry.path()).unwrap();
                entry.file_name().to_string_lossy().contains(&format!(".{pid}."))
                    && word(&file, pages(&file) + control::BELL as u64) != 0
            });
            stands.then_some(())
        });
        self.does("m 1");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        stdout(&output)
    }
}

fn word(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).unwrap();
    u64::from_le_bytes(bytes)
}

/// Where the control pages begin.
fn pages(file: &File) -> u64 {
    let at = (0..SEGMENTS)
        .map(|index| (DIRECTORY + index * entry::SIZE) as u64)
        .find(|at| word(file, at + entry::KIND as u64) == kind::CONTROL)
        .expect("control pages");
    word(file, at + entry::START as u64)
}

/// tests/programs/crowd.c
struct Crowd {
    running: Running,
    page: PathBuf,
}

const ENOSPC: u64 = 0;
const OTHERS: u64 = 1;
const BEGUN: u64 = 2;
const RETURNED: u64 = 3;

impl Crowd {
    fn start(threads: &str) -> Crowd {
        let page = scratch("crowd").join("page");
        fs::write(&page, [0; 4096]).unwrap();
        let running = Running::start(&compile("crowd", &["-pthread"]), &[page.to_str().unwrap(), threads], &[]);
        Crowd { running, page }
    }

    fn count(&self, index: u64) -> u64 {
        word(&File::open(&self.page).unwrap(), index * 8)
    }

    /// Until it has made so many more calls.
    fn goes_on(&self, calls: u64) {
        let before = self.count(RETURNED);
        until("it goes on", || (self.count(RETURNED) >= before + calls).then_some(()));
    }

    fn ends(mut self) -> bool {
        OpenOptions::new().write(true).open(&self.page).unwrap().write_all_at(&1u64.to_le_bytes(), 32).unwrap();
        let mut child = std::mem::replace(&mut self.running.child, Command::new("true").spawn().unwrap());
        child.wait().unwrap().success()
    }
}

// ---- what it is for ----

/// Where no answer may come, it is waited for so long.
const SILENCE: Duration = Duration::from_secs(2);

/// What a server answers to a new client's PING within this time.
fn ping(port: u16, patience: Duration) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut bytes = [0; 64];
    // With a time limit a read fails with EINTR also where no handler ran: when the machine was frozen, say (signal(7)).
    let read = loop {
        match stream.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => break read,
        }
    };
    match read {
        Ok(length) => String::from_utf8_lossy(&bytes[..length]).into_owned(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => String::new(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_server_s_clients_see_a_fault_that_is_armed_while_it_runs_and_none_after_off() {
    let Some(redis) = tool("redis-server") else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let number = port.to_string();
    let server = Running::start(&redis, &["--port", &number, "--save", "", "--bind", "127.0.0.1"], &[]);
    until("it answers", || TcpStream::connect(("127.0.0.1", port)).ok());
    let mut old = TcpStream::connect(("127.0.0.1", port)).unwrap();
    old.set_read_timeout(Some(HUNG)).unwrap();
    let mut old_is_served = || {
        old.write_all(b"PING\r\n").unwrap();
        let mut bytes = [0; 7];
        old.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"+PONG\r\n");
    };
    old_is_served();
    assert_eq!(ping(port, HUNG), "+PONG\r\n");

    server.told(&["inject", "epoll_ctl:error=ENOSPC:op=ADD"]);
    assert_eq!(ping(port, SILENCE), "");
    old_is_served();
    let status = server.told(&[]);
    assert!(status.contains("armed now") && status.contains("epoll_ctl:error=ENOSPC:op=ADD"), "{status}");
    server.told(&["off"]);
    assert_eq!(ping(port, HUNG), "+PONG\r\n");

    server.told(&["limit", "watches=1"]);
    assert_eq!(ping(port, SILENCE), "");
    let status = server.told(&["status"]);
    let row = status.lines().find(|line| line.trim_start().starts_with("watches")).unwrap_or_default();
    // Limit, peak, refused, let through.
    assert_eq!(row.split_whitespace().nth(1), Some("1"), "{status}");
    assert!(row.split_whitespace().nth(3).is_some_and(|refused| refused != "0"), "{status}");
    server.told(&["off", "limits"]);
    assert_eq!(ping(port, HUNG), "+PONG\r\n");
    assert!(server.told(&["status"]).contains("nothing is armed"));
}

#[test]
fn a_rule_strikes_as_often_as_the_program_counts() {
    let crowd = Crowd::start("4");
    crowd.running.ready();
    crowd.goes_on(100);
    crowd.running.told(&["inject", "epoll_ctl:error=ENOSPC:op=ADD:max=50"]);
    crowd.goes_on(2000);
    assert_eq!((crowd.count(ENOSPC), crowd.count(OTHERS)), (50, 0));
    let status = crowd.running.told(&["status"]);
    let row = status.lines().find(|line| line.contains("max=50")).unwrap_or_default();
    assert_eq!(row.split_whitespace().next_back(), Some("50"), "{status}");
    // In its place; and behind it.
    crowd.running.told(&["inject", "--replace", "epoll_wait:timeout:max=1"]);
    crowd.running.told(&["inject", "epoll_wait:timeout:max=2", "epoll_wait:timeout:max=3"]);
    let status = crowd.running.told(&["status"]);
    let rules: Vec<_> = status.lines().filter(|line| line.contains("max=")).map(|line| line.trim()).collect();
    assert!(rules.len() == 3 && (0..3).all(|at| rules[at].contains(&format!("max={}", at + 1))), "{status}");
    crowd.running.told(&["off", "faults"]);
    assert!(crowd.ends());
}

#[test]
fn a_snapshot_has_exactly_the_calls_that_the_program_has_made() {
    let mut puppet = Puppet::start();
    puppet.does("m 1000");
    puppet.does("l");
    puppet.does("a");
    let json: Value = serde_json::from_str(&puppet.told(&["snapshot", "--format", "json"])).unwrap();
    let report = &json["processes"][0];
    let calls: i64 = report["calls"].as_object().unwrap().values().map(|call| call["calls"].as_i64().unwrap()).sum();
    assert_eq!(calls, puppet.does("m 0"));
    assert_eq!(report["process"]["end"], "running");
    // It was compared with the kernel: what fclose took away is known to be gone.
    assert_eq!(report["coverage"]["reconciled"], true, "{report}");
    assert_eq!((&report["watches"]["live"], &report["watches"]["vanished"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(report["control"]["requests"], 1);
    let text = puppet.told(&["snapshot"]);
    assert!(text.contains("Watches: 1 alive") && text.contains("still running"), "{text}");
    assert!(text.contains("the kernel's own lists were compared"), "{text}");
    let file = scratch("snapshot").join("now.html");
    puppet.told(&["snapshot", "--format", "html", "-o", file.to_str().unwrap()]);
    assert!(fs::read_to_string(&file).unwrap().starts_with("<!"));
}

#[test]
fn a_snapshot_of_busy_threads_lies_between_what_they_have_begun_and_what_has_returned() {
    let crowd = Crowd::start("8");
    crowd.running.ready();
    for _ in 0..10 {
        crowd.goes_on(500);
        let returned = crowd.count(RETURNED);
        let json: Value = serde_json::from_str(&crowd.running.told(&["snapshot", "--format=json"])).unwrap();
        let begun = crowd.count(BEGUN);
        let calls = json["processes"][0]["calls"].as_object().unwrap();
        let made: u64 = calls.values().map(|call| call["calls"].as_u64().unwrap()).sum();
        // And 8 creates.
        assert!((returned + 8..=begun + 8).contains(&made), "{returned} <= {made} - 8 <= {begun}");
    }
    assert!(crowd.ends());
}

// ---- a program that does not look ----

#[test]
fn a_request_to_a_program_that_waits_stands_and_is_taken_when_the_wait_ends() {
    let mut puppet = Puppet::start();
    puppet.say("b");
    assert_eq!(puppet.line(), "waiting");
    let began = Instant::now();
    let output = puppet.running.ctl(&["inject", "epoll_ctl:error=ENOSPC:op=ADD:when=1", "--wait", "0.3"]);
    refused(&output, 3, "no epoll call of it has returned within 0.3 s; the request stands");
    // It waits as long as it was told to; that it does not wait for the call, which comes later, is seen by its end.
    assert!(began.elapsed() >= Duration::from_millis(300));
    // What nobody waits for does not stand; what stood still does, and more is put behind it.
    // A report of what is recorded needs no answer.
    let output = puppet.running.ctl(&["--wait", "0.1", "snapshot"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("this is what it has recorded, not compared with the kernel"),
        "{}",
        stderr(&output)
    );
    assert!(stdout(&output).contains("still running after"), "{}", stdout(&output));
    // Of several processes, one of which is none.
    let pid = puppet.running.child.id().to_string();
    let output = epollshim().args(["ctl", "--wait=0.1", &pid, "1999999999", &pid, "snapshot"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("no epoll call of it has returned").count(), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("there is no process 1999999999"), "{}", stderr(&output));
    // What is armed is in the recording: the process need not answer.
    let status = puppet.running.told(&[]);
    assert!(status.contains("nothing is armed\n") && status.contains("A request waits"), "{status}");
    let behind = ["inject", "epoll_ctl:error=ENOMEM:op=ADD:when=2", "--wait=0.1"];
    refused(&puppet.running.ctl(&behind), 3, "the request stands");
    // The wait ends with its line, and the very next calls find the faults.
    puppet.say("a");
    assert_eq!((puppet.heard(), puppet.heard()), (1, i64::from(libc::ENOSPC)));
    assert_eq!((puppet.does("a"), puppet.does("a")), (i64::from(libc::ENOMEM), 0));
    let status = puppet.running.told(&["status"]);
    assert!(status.contains("Control: 1 request from outside"), "{status}");
}

#[test]
fn a_stopped_program_is_said_to_be_stopped_and_goes_on_as_it_was_told() {
    let crowd = Crowd::start("1");
    crowd.running.ready();
    let signal = |signal| {
        // SAFETY: a child that is not waited for yet.
        assert_eq!(unsafe { libc::kill(crowd.running.child.id() as i32, signal) }, 0);
    };
    signal(libc::SIGSTOP);
    until("it is stopped", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", crowd.running.pid())).unwrap();
        stat.contains(") T ").then_some(())
    });
    let rule = ["inject", "epoll_ctl:error=ENOSPC:op=ADD:max=3", "--wait", "0.1"];
    refused(&crowd.running.ctl(&rule), 3, "it is stopped");
    signal(libc::SIGCONT);
    crowd.goes_on(100);
    assert_eq!(crowd.count(ENOSPC), 3);
}

#[test]
fn commands_at_the_same_time_come_one_after_the_other() {
    let crowd = Crowd::start("4");
    crowd.running.ready();
    let commands: Vec<Child> = (1..=12)
        .map(|fd| {
            let rule = format!("epoll_ctl:error=ENOSPC:fd={}", 90_000 + fd);
            let pid = crowd.running.pid();
            epollshim().args(["ctl", &pid, "--wait", "30", "inject", &rule]).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for command in commands {
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let status = crowd.running.told(&["status"]);
    assert!((1..=12).all(|fd| status.contains(&format!("fd={}", 90_000 + fd))), "{status}");
    // 64 rules are the most: the process says so, and keeps what it has.
    let many = vec!["epoll_wait:timeout:epfd=99999"; 60].join(";");
    refused(&crowd.running.ctl(&["inject", &many]), 1, "more than 64 rules");
    assert_eq!(crowd.running.told(&["status"]).matches("fd=900").count(), 12);
    assert!(crowd.ends());
}

// ---- fork, exec ----

#[test]
fn the_child_of_a_fork_and_the_program_behind_an_exec_have_pages_of_their_own() {
    let mut puppet = Puppet::start();
    let parent = puppet.running.pid();
    puppet.told(&["inject", "epoll_ctl:error=ENOSPC:op=ADD"]);
    let child = puppet.does("f").to_string();
    refused(&ctl(&child, &["status"]), 2, "has no recording of its own");
    // A fault goes with the fork.
    assert_eq!(puppet.does("a"), i64::from(libc::ENOSPC));
    puppet.told_of(&child, &["off"]);
    assert_eq!(puppet.does("a"), 0);
    // The parent has heard nothing of it: it waits for its child.
    refused(&ctl(&parent, &["--wait=0.1", "limit", "watches=1"]), 3, "stands");
    assert_eq!(puppet.does("a"), 0);
    assert_eq!(puppet.does("x").to_string(), child);
    assert_eq!(puppet.does("a"), 0);
    puppet.told_of(&child, &["inject", "epoll_ctl:error=EPERM:op=ADD"]);
    assert_eq!(puppet.does("a"), i64::from(libc::EPERM));
    let recordings = fs::read_dir(&puppet.running.recordings).unwrap().count();
    assert_eq!(recordings, 3);
}

#[test]
fn a_process_that_ends_or_becomes_another_program_has_not_answered() {
    for (line, said) in [("q", "it has ended"), ("x", "it became another program")] {
        let mut puppet = Puppet::start();
        let pid = puppet.running.pid();
        let command = epollshim()
            .args(["ctl", &pid, "--wait", "20", "off"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let file = File::open(puppet.running.recording()).unwrap();
        let pages = pages(&file);
        until("the request stands", || (word(&file, pages + control::BELL as u64) != 0).then_some(()));
        if line == "q" {
            puppet.running.child.kill().unwrap();
        } else {
            puppet.say(line);
        }
        refused(&command.wait_with_output().unwrap(), 1, said);
        if line == "q" {
            // Not waited for yet.
            refused(&ctl(&pid, &[]), 2, "has ended; its parent has not waited for it yet");
            puppet.running.child.wait().unwrap();
            refused(&ctl(&pid, &[]), 2, &format!("there is no process {pid}"));
        }
    }
}

// ---- what is refused ----

#[test]
fn a_wrong_order_is_told_in_one_line_before_the_process_hears_of_it() {
    let mut puppet = Puppet::start();
    for (words, said) in [
        (&["inject", "epoll_wat:timeout"][..], "inject: unknown call 'epoll_wat'"),
        (&["inject", ""], "inject: "),
        (&["inject", "epoll_ctl:error=ENOSPC;;"], "inject: rule 2 is empty"),
        (&["inject", "epoll_wait:retval=-9999"], "EPOLLSHIM_INJECT_IMPOSSIBLE=1 allows it"),
        (&["limit", "instance=8"], "limit: unknown limit 'instance'"),
        (&["limit", ""], "limit: "),
        (&["off", "everything"], "everything"),
        (&["--wait", "soon"], "--wait: 'soon' is no number of seconds"),
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
    puppet.told(&["inject", "epoll_ctl:retval=7:op=ADD"]);
    puppet.told(&["limit", "watches=5"]);
}

#[test]
fn a_process_that_cannot_be_steered_is_told_in_one_line_that_says_why() {
    let puppet = Puppet::start();
    let pid = puppet.running.pid();
    refused(&ctl("redis", &[]), 2, "'redis' is no process id");
    refused(&ctl("4294967294", &[]), 2, "there is no process 4294967294");
    refused(&ctl(&std::process::id().to_string(), &[]), 2, "runs without the shim");
    let mut bare = epollshim();
    bare.args(["run", "--exec", "--report=none", "--", "sleep", "60"]);
    let mut bare = bare.spawn().unwrap();
    let shimmed = bare.id().to_string();
    until("the shim is in it", || {
        let maps = fs::read_to_string(format!("/proc/{shimmed}/maps")).unwrap();
        (maps.contains("libepollshim") && maps.contains("/sleep")).then_some(())
    });
    refused(&ctl(&shimmed, &[]), 2, "keeps no recording: start it by epollshim run --record DIRECTORY");
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
    // Where nobody may execute it.
    let binary = std::env::temp_dir().join(format!("epollshim-ctl-{}", std::process::id()));
    common::copy(common::binary(), &binary);
    let mut puppet = Puppet::start();
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new(&setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).arg("ctl").args(words);
        output(&mut command)
    };
    let refusal = as_nobody(&[&puppet.running.pid(), "inject", "epoll_ctl:error=ENOSPC"]);
    refused(&refusal, 2, "is user 0's, not yours (65534): only that user and root may steer it");
    assert_eq!(puppet.does("a"), 0);
    let file = File::open(puppet.running.recording()).unwrap();
    assert_eq!(word(&file, pages(&file) + control::REQUESTS as u64), 0);
    assert_eq!(word(&file, pages(&file) + control::BELL as u64), 0);
    // And the file itself is closed to him.
    let mut open = Command::new(&setpriv);
    open.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", "exec 3<>\"$0\""]);
    assert!(!output(open.arg(puppet.running.recording())).status.success());

    // Root may steer another's.
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
    refused(&ctl(line.trim(), &["--wait=0.1", "inject", "epoll_ctl:error=ENOSPC:op=ADD"]), 3, "stands");
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

// ---- damage ----

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }
}

#[test]
fn damaged_control_pages_arm_nothing_and_are_told() {
    let crowd = Crowd::start("4");
    crowd.running.ready();
    // What a damaged page might bring back: its text stays there.
    crowd.running.told(&["inject", "epoll_ctl:error=ENOSPC:op=ADD:max=20;epoll_wait:error=EINTR:max=20"]);
    crowd.goes_on(500);
    let before = (crowd.count(ENOSPC), crowd.count(OTHERS));
    assert_eq!(before, (20, 20));
    let path = crowd.running.recording();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let pages = pages(&file);
    let ring = |number: u64, step: u64| {
        let bell = pages + control::BELL as u64;
        file.write_all_at(&number.to_le_bytes(), bell).unwrap();
        while word(&file, bell) != 0 {
            assert!(crowd.running.alive(), "step {step}");
            std::thread::yield_now();
        }
    };
    // The whole request again, by its own number and by those that come after it.
    let made = word(&file, pages + control::MADE as u64);
    for step in 0..100 {
        ring(made + step / 4, step);
    }
    let mut random = Random(1);
    for step in 0..5000u64 {
        // A bit, a byte or a word: in the words that steer, in the texts, or anywhere.
        let place = match random.below(4) {
            0 => random.below(8),
            1 => random.below(192),
            2 => control::REQUEST as u64 + random.below(128),
            _ => random.below(control::BYTES as u64 - 8),
        };
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, pages + place).unwrap();
        match random.below(3) {
            0 => bytes[0] ^= 1 << random.below(8),
            1 => bytes[0] = random.below(256) as u8,
            _ => bytes = random.below(u64::MAX).to_le_bytes(),
        }
        file.write_all_at(&bytes, pages + place).unwrap();
        // Rung for a text that is there, by a number that is not its own.
        match step % 8 {
            0 => ring(random.below(u64::MAX), step),
            4 => ring(made + random.below(1 << 20), step),
            _ => ring(word(&file, pages + control::BELL as u64), step),
        }
        if step % 500 == 499 {
            crowd.goes_on(200);
        }
    }
    crowd.goes_on(1000);
    assert_eq!((crowd.count(ENOSPC), crowd.count(OTHERS)), before, "nothing was armed");
    // It can be steered as before.
    crowd.running.told(&["inject", "epoll_ctl:error=ENOSPC:op=ADD:max=7"]);
    crowd.goes_on(1000);
    assert_eq!(crowd.count(ENOSPC), before.0 + 7);
    let status = crowd.running.told(&["off"]) + &crowd.running.told(&["status"]);
    let ignored = word(&file, pages + control::DAMAGED as u64);
    assert!(ignored >= 1250, "{ignored}");
    assert!(status.contains("IGNORED (control page damaged)"), "{status}");
    let report = epollshim().arg("report").arg(&path).output().unwrap();
    assert!(stdout(&report).contains("IGNORED (control page damaged)"), "{}", stdout(&report));
    assert!(crowd.ends());
}

#[test]
fn a_crowd_that_is_killed_amid_orders_leaves_its_recording_whole() {
    let mut random = Random(7);
    for round in 0..25 {
        let mut crowd = Crowd::start("8");
        crowd.goes_on(20);
        let pid = crowd.running.pid();
        let commands: Vec<_> = [
            &["inject", "epoll_ctl:error=ENOSPC:op=ADD:prob=0.5"][..],
            &["snapshot", "--format=json"],
            &["off"],
            &["limit", "watches=3,memory=1M"],
        ]
        .into_iter()
        .map(|words| {
            let (pid, words) = (pid.clone(), words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
            std::thread::spawn(move || {
                let mut done = 0;
                loop {
                    let output = output(epollshim().args(["ctl", &pid]).args(&words));
                    match output.status.code() {
                        Some(0) => done += 1,
                        // It was killed: before, or meanwhile.
                        Some(1 | 2) => return (done, stderr(&output)),
                        _ => panic!("{:?}: {}", output.status, stderr(&output)),
                    }
                }
            })
        })
        .collect();
        std::thread::sleep(Duration::from_millis(50 + random.below(150)));
        crowd.running.child.kill().unwrap();
        crowd.running.child.wait().unwrap();
        let mut done = 0;
        for command in commands {
            let (times, said) = command.join().unwrap();
            done += times;
            assert!(said.contains("has ended") || said.contains("there is no process"), "round {round}: {said}");
        }
        let (begun, returned) = (crowd.count(BEGUN), crowd.count(RETURNED));
        let output = epollshim().args(["report", "--format=json"]).arg(&crowd.running.recordings).output().unwrap();
        assert!(output.status.success(), "round {round}: {}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let process = &report["processes"][0];
        assert_eq!(process["recording"]["notes"], Value::from(Vec::<Value>::new()), "round {round}, {done} orders");
        assert_eq!(process["process"]["end"], "signal");
        let calls = process["calls"].as_object().unwrap();
        let made: u64 = calls.values().map(|call| call["calls"].as_u64().unwrap()).sum();
        let creates = calls["epoll_create1"]["calls"].as_u64().unwrap();
        assert!((returned..=begun).contains(&(made - creates)), "round {round}: {returned} <= {made} <= {begun}");
    }
}

// ---- its help ----

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
