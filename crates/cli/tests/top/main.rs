//! Tests `epollshim top` as users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../pty/mod.rs"]
mod pty;

mod view;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use common::{compile, epollshim, output, run, scratch, stderr, stdout, tool, until};
use serde_json::Value;

/// A program that records into a directory. It ends with the test.
struct Running {
    child: Child,
    printed: PathBuf,
}

impl Running {
    /// `steady`, when it is ready.
    fn steady(directory: &Path) -> Running {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM.get_or_init(|| compile("steady", &[]));
        let printed = scratch("printed").join("printed");
        let mut command = epollshim();
        command
            .args(["run", "--exec", "--report", "none", "--record"])
            .arg(directory)
            .arg("--")
            .arg(program)
            .arg(&printed);
        let running = Running { child: command.spawn().unwrap(), printed };
        until("the program works", || (running.word(0) > 10).then_some(()));
        running
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn word(&self, place: usize) -> u64 {
        let bytes = fs::read(&self.printed).unwrap_or_default();
        bytes.get(place * 8..place * 8 + 8).map_or(0, |word| u64::from_le_bytes(word.try_into().unwrap()))
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes of `top --once --format json`, by their ids.
fn once(words: &[&str], subject: &Path) -> Vec<Value> {
    once_or_nothing(words, subject).unwrap_or_else(|said| panic!("{said}"))
}

/// The error is the line that says why there is no recording (yet).
fn once_or_nothing(words: &[&str], subject: &Path) -> Result<Vec<Value>, String> {
    let output = output(epollshim().args(["top", "--once", "--format", "json"]).args(words).arg(subject));
    if output.status.code() == Some(1) && stderr(&output).contains("has no recording") {
        return Err(stderr(&output));
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(printed["schema"], "epollshim.top/1");
    Ok(printed["processes"].as_array().unwrap().clone())
}

fn near(printed: &Value, wanted: f64, tolerance: f64) {
    let printed = printed.as_f64().unwrap();
    assert!((printed - wanted).abs() <= tolerance, "printed {printed}, counted {wanted}");
}

#[test]
fn the_rates_are_those_that_the_program_counted() {
    let directory = scratch("rates");
    let program = Running::steady(&directory);
    let before = program.word(0);
    let processes = once(&["--interval", "2"], &directory);
    let after = program.word(0);
    assert_eq!(processes.len(), 1);
    let (process, rates) = (&processes[0], &processes[0]["rates"]);
    assert_eq!(process["pid"], program.pid());
    assert_eq!(process["comm"], "steady");
    assert_eq!((&process["instances"], &process["watches"]), (&2.into(), &1.into()));
    // The rounds in the interval: not more than the program made while top ran, at 500 per second.
    // It uses an absolute clock and catches up, so only a delay at either end counts. The tolerance
    // of 3 % is 60 ms of such a delay.
    let seconds = rates["interval_ns"].as_f64().unwrap() / 1e9;
    let rounds = rates["errors"].as_f64().unwrap() * seconds;
    assert!(rounds <= (after - before) as f64 + 1.0, "{rounds} of {}", after - before);
    near(&rates["errors"], 500.0, 15.0);
    // They may differ by the round in progress at either end.
    let one = 1.01 / seconds;
    let round = rates["errors"].as_f64().unwrap();
    near(&rates["waits"], 2.0 * round, 2.0 * one);
    near(&rates["events"], round, one);
    near(&rates["calls"], 3.0 * round, 3.0 * one);
    near(&rates["functions"]["epoll_ctl"]["errors"]["EEXIST"], round, 0.001);
    near(&rates["empty_share"], 0.5, 0.005);
    near(&rates["events_per_wait"], 0.5, 0.005);
    // Its waits find their event at once.
    assert!(rates["blocked_share"].as_f64().unwrap() < 0.2, "{rates}");
    let (p50, p99) = (&rates["blocked_ns"]["p50"], &rates["blocked_ns"]["p99"]);
    assert!(p50.as_u64().unwrap() <= p99.as_u64().unwrap(), "{rates}");
}

#[test]
fn the_list_is_one_line_per_process_for_scripts() {
    let directory = scratch("list");
    let program = Running::steady(&directory);
    let pid = program.pid().to_string();
    for subject in [directory.to_str().unwrap(), &pid] {
        let output = run(&["top", "--once", "-d", "0.5", subject]);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
        let text = stdout(&output);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((lines[0].len(), lines[1].len()), (16, 16), "{text}");
        assert_eq!((lines[0][0], lines[0][8], lines[0][15]), ("PID", "ERRORS/S", "PROGRAM"));
        assert_eq!((lines[1][0], lines[1][13], lines[1][15]), (pid.as_str(), "running", "steady"));
        assert!(lines[1][1].parse::<f64>().unwrap() > 500.0, "{text}");
    }
    // Without arguments: all processes of this user.
    assert!(stdout(&run(&["top", "--once", "-d", "0.1"])).lines().any(|line| line.trim_start().starts_with(&pid)));
}

#[test]
fn a_forked_child_and_a_program_after_exec_are_shown_from_their_own_recordings() {
    let Some(python) = tool("python3") else { return };
    let directory = scratch("family");
    let poll = "e = select.epoll()\nwhile True: e.poll(0.01)\n";
    let script = format!(
        "import os, select, sys\nselect.epoll().poll(0)\nif os.fork() == 0:\n  {}\n\
         select.epoll().poll(1)\nos.execv(sys.executable, ['second', '-c', 'import select\\n' + {poll:?}])",
        "open(sys.argv[1], 'w').write(str(os.getpid()))\n  p = os.getppid()\n  e = select.epoll()\n  while os.getppid() == p: e.poll(0.01)\n  os._exit(0)"
    );
    let printed = directory.join("pid");
    let mut command = epollshim();
    command
        .args(["run", "--exec", "--report", "none", "--record"])
        .arg(&directory)
        .arg("--")
        .arg(python)
        .arg("-c")
        .arg(script);
    let parent = Running { child: command.arg(&printed).spawn().unwrap(), printed: printed.clone() };
    let child = until("the child", || fs::read_to_string(&printed).ok()?.parse::<u32>().ok());
    // The child has its parent's recording mapped as well.
    let processes = once(&["-d", "0.3"], Path::new(&child.to_string()));
    assert_eq!((processes.len(), &processes[0]["pid"]), (1, &child.into()));
    let calls = |process: &Value| process["rates"]["calls"].as_f64().unwrap_or(0.0);
    assert!(calls(&processes[0]) > 20.0, "{processes:?}");
    // The parent waits for a second, and then it is another program.
    until("the exec", || {
        // Directly after the exec it has no recording.
        let processes = once_or_nothing(&["-d", "0.2"], Path::new(&parent.pid().to_string())).ok()?;
        let second = processes.iter().find(|one| one["state"] == "running" && calls(one) > 20.0)?;
        second["arguments"].as_str()?.starts_with("second").then_some(())
    });
    drop(parent);
    until("the child's end", || (!Path::new(&format!("/proc/{child}")).exists()).then_some(()));
}

/// What was noted before an exec that looked as if it would succeed stays if the exec fails.
#[test]
fn a_process_whose_exec_failed_is_still_shown_and_then_as_killed() {
    let Some(python) = tool("python3") else { return };
    let directory = scratch("failed-exec");
    let recordings = directory.join("recordings");
    let not_a_program = directory.join("empty");
    fs::write(&not_a_program, "").unwrap();
    fs::set_permissions(&not_a_program, fs::Permissions::from_mode(0o755)).unwrap();
    let printed = directory.join("pid");
    let script = "import os, select, sys\ne = select.epoll()\ne.poll(0)\n\
                  try: os.execv(sys.argv[2], ['x'])\nexcept OSError: open(sys.argv[1], 'w').write(str(os.getpid()))\n\
                  while True: e.poll(0.01)\n";
    let mut command = epollshim();
    command
        .args(["run", "--exec", "--report", "none", "--record"])
        .arg(&recordings)
        .arg("--")
        .arg(python)
        .args(["-c", script]);
    let mut program =
        Running { child: command.arg(&printed).arg(&not_a_program).spawn().unwrap(), printed: printed.clone() };
    until("the exec that fails", || fs::read_to_string(&printed).ok().filter(|text| !text.is_empty()));

    let processes = once(&["-d", "0.3"], Path::new(&program.pid().to_string()));
    assert_eq!((processes.len(), processes[0]["state"].as_str()), (1, Some("running")), "{processes:?}");
    let end = || {
        let output = run(&["report", "--format", "json", recordings.to_str().unwrap()]);
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let process = report.pointer("/processes/0/process").or(report.get("process")).unwrap();
        process["end"].as_str().unwrap().to_owned()
    };
    assert_eq!(end(), "running");
    // Long enough after the exec that this cannot be another thread's last call before a successful
    // exec.
    std::thread::sleep(Duration::from_millis(1300));
    program.kill();
    assert_eq!(end(), "signal");
}

#[test]
fn nothing_to_watch_is_exit_status_1_and_explains_how_to_record() {
    let directory = scratch("nothing");
    let mut ended = Running::steady(&directory);
    ended.kill();
    let mut plain = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = plain.id().to_string();
    for subject in [directory.to_str().unwrap(), &pid] {
        let output = run(&["top", "--once", "-d", "0.1", subject]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()));
        let printed = stderr(&output);
        assert!(printed.lines().count() == 1 && printed.contains("epollshim run --record"), "{printed}");
    }
    plain.kill().unwrap();
    plain.wait().unwrap();
}

#[test]
fn usage_errors_are_one_line_and_exit_status_2() {
    for words in [
        &["99999999"][..],
        &["/no/such/directory"],
        &["/etc/passwd"],
        &["--interval", "0", "/tmp"],
        &["--sort", "colour"],
        &["--format", "json"],
        &["."],
    ] {
        let output = run(&[&["top"], words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{words:?}: {}", stderr(&output));
    }
    assert!(stderr(&run(&["top"])).contains("--once"), "stdout is no terminal");
    let help = stdout(&run(&["top", "--help"]));
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
}

#[test]
fn the_program_under_watch_is_not_touched() {
    let directory = scratch("untouched");
    let program = Running::steady(&directory);
    if tool("strace").is_some() {
        let trace = directory.join("strace");
        let calls = "trace=kill,tkill,tgkill,pidfd_send_signal,pidfd_open,rt_sigqueueinfo,rt_tgsigqueueinfo,ptrace,\
                     process_vm_readv,process_vm_writev,process_madvise,prlimit64,mmap,setpriority,sched_setaffinity";
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-o"]).arg(&trace).args(["-e", calls]).arg(common::binary());
        let output = output(command.args(["top", "--once", "-d", "0.3", &program.pid().to_string()]));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let trace = fs::read_to_string(&trace).unwrap();
        let pid = program.pid().to_string();
        // The trace contains mappings of top itself. None may be of the recording, and no call may
        // name the program.
        let touched: Vec<&str> =
            trace.lines().filter(|line| line.contains(".rec>") || line.contains(&format!("({pid},"))).collect();
        assert!(touched.is_empty(), "{touched:?}");
        for call in ["kill(", "sigqueueinfo(", "ptrace(", "process_vm_", "pidfd_"] {
            assert!(!trace.contains(call), "{call}: {trace}");
        }
    }
    let before = program.word(0);
    once(&["--interval", "0.2"], &directory);
    assert!(program.word(0) > before, "it goes on");
    assert_eq!(program.word(1), 0, "signals that it got");
}

#[test]
fn a_process_that_is_killed_meanwhile_is_shown_as_killed() {
    let directory = scratch("killed");
    let (stays, mut goes) = (Running::steady(&directory), Running::steady(&directory));
    let command = epollshim()
        .args(["top", "--once", "-d", "1.5", "--format", "json"])
        .arg(&directory)
        .stdout(Stdio::piped())
        .spawn();
    let top = command.unwrap();
    // It is killed before or during the first reading, or between the two.
    std::thread::sleep(Duration::from_millis(100));
    goes.kill();
    let output = top.wait_with_output().unwrap();
    let printed: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let process = |pid| printed["processes"].as_array().unwrap().iter().find(|one| one["pid"] == pid).cloned();
    assert_eq!(process(stays.pid()).unwrap()["state"], "running");
    // A process that counted in the interval was alive in it. That it has gone is noticed in the
    // next reading.
    assert!(process(goes.pid()).is_none_or(|one| ["killed", "running"].contains(&one["state"].as_str().unwrap())));
    assert!(once(&["-d", "0.1"], &directory).iter().all(|one| one["pid"] == stays.pid()));
}

#[test]
fn files_that_are_no_recordings_do_not_keep_it_from_the_others() {
    let directory = scratch("hostile");
    let program = Running::steady(&directory);
    let real = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&real).unwrap();
    let pid = program.pid();
    for (serial, content) in
        [&b""[..], b"EPOLLREC", &bytes[..100], &bytes[..5000], &[0xff; 50_000], &vec![b'E'; 40_000]].iter().enumerate()
    {
        fs::write(directory.join(format!("epollshim.{pid}.{serial}.rec")), content).unwrap();
    }
    let pipe = std::ffi::CString::new(directory.join("epollshim.1.1.rec").to_str().unwrap()).unwrap();
    // SAFETY: a zero-terminated path.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    std::os::unix::fs::symlink("/dev/zero", directory.join("epollshim.1.2.rec")).unwrap();
    let output = output(epollshim().args(["top", "--once", "-d", "0.3"]).arg(&directory));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output).lines().count(), 2, "{}", stdout(&output));
    let printed = stderr(&output);
    assert!(printed.contains("the file is empty") && printed.contains("not a recording"), "{printed}");
}

#[test]
fn a_copy_of_a_recording_is_not_taken_for_a_program() {
    let directory = scratch("copy");
    let program = Running::steady(&directory);
    let real = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let copies = scratch("copies");
    fs::copy(&real, copies.join(real.file_name().unwrap())).unwrap();
    assert_eq!(run(&["top", "--once", "-d", "0.1", copies.to_str().unwrap()]).status.code(), Some(1));
    drop(program);
}
