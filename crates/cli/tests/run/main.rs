//! Tests `epollshim run` as users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod options;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{binary, compile, epollshim, library, output, run, scratch, stderr, stdout, tool, until};
use serde_json::Value;

fn reports(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_exit_status_is_the_program_s() {
    for (words, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 3"], 3),
        (&["sh", "-c", "exit 255"], 255),
        (&["/no/such/program"], 127),
        (&["no-such-program-anywhere"], 127),
        (&["/etc/passwd"], 126),
        (&["/"], 126),
    ] {
        let printed = if status > 125 && status < 128 { 1 } else { 0 };
        for flags in [&["run"][..], &["run", "--exec"], &["run", "--report=none"]] {
            let output = run(&[flags, &["--"], words].concat());
            assert_eq!(output.status.code(), Some(status), "{words:?}");
            if printed == 1 || flags.len() > 1 {
                assert_eq!(stderr(&output).lines().count(), printed, "{words:?}: {}", stderr(&output));
                let line = format!("epollshim: {}: ", words[0]);
                assert!(printed == 0 || stderr(&output).starts_with(&line), "{}", stderr(&output));
            } else {
                assert!(stderr(&output).contains(": nothing to report\n"), "{words:?}: {}", stderr(&output));
            }
        }
    }
}

#[test]
fn a_program_that_a_signal_ends_is_seen_to_end_by_it() {
    for flag in ["--quiet", "--exec"] {
        let output = run(&["run", flag, "--", "sh", "-c", "kill -TERM $$"]);
        assert_eq!(output.status.signal(), Some(libc::SIGTERM));
        let shell = format!("'{}' run {flag} -- sh -c 'kill -KILL $$'; echo $?", binary().display());
        let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
        assert_eq!(stdout(&output), "137\n");
    }
}

#[test]
fn with_exec_the_program_takes_the_command_s_place_and_gets_its_signals() {
    let script = "trap 'exit 7' USR1; echo $$; while :; do sleep 0.05; done";
    let mut child =
        epollshim().args(["run", "--exec", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut text = String::new();
    let pid = until("it says its pid", || {
        let mut bytes = [0; 32];
        let length = out.read(&mut bytes).unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        text.strip_suffix('\n')?.parse::<u32>().ok()
    });
    assert_eq!(pid, child.id());
    // SAFETY: the child is not waited for yet.
    assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGUSR1) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn ignored_and_blocked_signals_and_closed_descriptors_are_the_caller_s() {
    let program = compile("state", &[]);
    for (ignored, flag) in [(true, "--quiet"), (false, "--quiet"), (true, "--exec"), (false, "--exec")] {
        let mut command = epollshim();
        command.args(["run", flag, "--"]).arg(&program);
        // SAFETY: only async-signal-safe functions, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::signal(libc::SIGPIPE, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
                let mut mask = std::mem::zeroed();
                libc::sigemptyset(&mut mask);
                libc::sigaddset(&mut mask, libc::SIGUSR1);
                libc::sigprocmask(libc::SIG_BLOCK, &mask, std::ptr::null_mut());
                libc::close(0);
                Ok(())
            });
        }
        let text = stdout(&output(&mut command));
        let sigpipe = if ignored { "ignored" } else { "default" };
        assert!(text.ends_with(&format!("sigpipe {sigpipe} usr1 blocked open 011\n")), "{text}");
    }
}

#[test]
fn glibc_s_first_real_time_signal_stays_blocked_and_is_passed_on() {
    const SIGRTMIN: i32 = 34;
    for flag in ["--quiet", "--exec"] {
        let mut command = epollshim();
        command.args(["run", flag, "--report=none", "--", "grep", "SigBlk", "/proc/self/status"]);
        // SAFETY: only async-signal-safe functions, between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let mut mask = std::mem::zeroed();
                libc::sigemptyset(&mut mask);
                libc::sigaddset(&mut mask, SIGRTMIN);
                libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut());
                Ok(())
            });
        }
        assert_eq!(stdout(&output(&mut command)), "SigBlk:\t0000000200000000\n", "{flag}");
    }
    let script = "trap 'exit 7' 34; echo ready; while :; do sleep 0.05; done";
    let mut command = epollshim();
    command.args(["run", "--report=none", "--", "sh", "-c", script]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // SAFETY: the child is not waited for yet.
    assert_eq!(unsafe { libc::kill(child.id() as i32, SIGRTMIN) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn a_script_that_names_no_interpreter_is_given_to_the_shell() {
    let directory = scratch("plain-script");
    let script = directory.join("plain-script");
    fs::write(&script, "echo \"$0 $1\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for flag in ["--quiet", "--exec"] {
        for name in ["plain-script", script.to_str().unwrap()] {
            let mut command = epollshim();
            command.env("PATH", format!("/nowhere:{}:/usr/bin:/bin", directory.display()));
            let ran = output(command.args(["run", flag, "--report=none", "--", name, "a word"]));
            assert_eq!(stdout(&ran), format!("{} a word\n", script.display()), "{flag} {name}: {}", stderr(&ran));
        }
    }
}

#[test]
fn the_version_is_printed_with_the_commit_that_was_checked_out() {
    let text = stdout(&run(&["--version"]));
    let words: Vec<&str> = text.trim_end().splitn(3, ' ').collect();
    assert_eq!(words[..2], ["epollshim", env!("CARGO_PKG_VERSION")]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    if !root.join(".git").exists() || tool("git").is_none() {
        assert_eq!(words.len(), 2, "{text}");
        return;
    }
    // The commit need not be the newest one, because the command was built before.
    let printed = words[2].trim_matches(['(', ')']);
    let commit = printed.strip_suffix("-changed").unwrap_or(printed);
    let kind = output(Command::new("git").arg("-C").arg(root).args(["cat-file", "-t", commit]));
    assert!(commit.len() == 12 && stdout(&kind) == "commit\n", "{text}: {}", stderr(&kind));
}

#[test]
fn the_library_is_preloaded_before_the_others() {
    let show = ["run", "--report", "none", "--", "sh", "-c", "echo $LD_PRELOAD"];
    let ours = library();
    let ours = ours.to_str().unwrap();
    assert_eq!(stdout(&run(&show)), format!("{ours}\n"));
    // libm stands for any library. The loader prints an error if it does not find it.
    let output = output(epollshim().env("LD_PRELOAD", "libm.so.6 /x/libepollshim.so").args(show));
    assert_eq!(stdout(&output), format!("{ours}:libm.so.6\n"), "{}", stderr(&output));
}

#[test]
fn faults_of_several_flags_reach_the_program() {
    let Some(python) = tool("python3") else { return };
    let directory = scratch("python");
    let report = directory.join("report.json");
    let script = "import select\n\
        e = select.epoll()\n\
        for call in (lambda: e.register(0), lambda: e.poll(0)):\n  try: call(); print('ok')\n  except OSError as error: print(error.errno)\n";
    let (read, _write) = std::io::pipe().unwrap();
    let mut command = epollshim();
    command.args(["run", "--report-format", "json", "--report"]).arg(&report);
    command.args(["--inject", "epoll_ctl:error=ENOSPC", "--inject", "epoll_wait:error=EINTR:when=1"]).arg("--");
    let output = output(command.arg(python).args(["-c", script]).stdin(read));
    // Python retries after EINTR.
    assert_eq!(stdout(&output), "28\nok\n", "{}", stderr(&output));
    let reports = reports(&report);
    let report = reports.last().unwrap();
    assert_eq!(report["calls"]["epoll_ctl"]["errors"]["ENOSPC"], 1, "{report}");
    assert_eq!(report["calls"]["epoll_wait"]["errors"]["EINTR"], 1, "{report}");
    assert_eq!(report["faults"].as_array().unwrap().len(), 2);
}

#[test]
fn redis_runs_and_reports() {
    let Some(redis) = tool("redis-server") else { return };
    let directory = scratch("redis");
    let report = directory.join("report.json");
    let port = testkit::free_port();
    let mut command = epollshim();
    command.args(["run", "--exec", "--report-format", "json", "--report"]).arg(&report).arg("--").arg(redis);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(&directory);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("redis listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    // SAFETY: the child is not waited for yet.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let reports = reports(&report);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0]["process"]["pid"], child.id());
    assert!(reports[0]["calls"]["epoll_wait"]["calls"].as_u64().unwrap() > 0);
}

#[test]
fn it_warns_if_the_shim_will_not_act_and_still_starts_the_program() {
    let program = match common::try_compile("plain", &["-static"]) {
        Ok(program) => program,
        Err(error) => return common::skipped(&format!("cc -static: {error}"), true),
    };
    let script = scratch("script").join("script");
    fs::write(&script, format!("#!{}\n", program.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for path in [&program, &script] {
        let path = path.to_str().unwrap();
        let output = run(&["run", "--", path]);
        assert_eq!(stdout(&output), "plain\n");
        let text = stderr(&output);
        assert!(text.starts_with(&format!("epollshim: warning: {path}")) && text.contains("static program"), "{text}");
        // The warning is repeated in place of the report.
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("epollshim: NOT SEEN: ") && last.contains("static program"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        let quiet = run(&["run", "--quiet", "--", path]);
        assert_eq!((stdout(&quiet).as_str(), stderr(&quiet).as_str()), ("plain\n", ""));
    }
}

#[test]
fn help_and_the_version_are_on_stdout_and_usage_errors_are_one_line() {
    for words in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["run", "--help"],
        &["report", "--help"],
        &["diff", "--help"],
        &["top", "--help"],
        &["check", "--help"],
        &["inspect", "--help"],
        &["ctl", "--help"],
        &["explain", "--help"],
        &["sweep", "--help"],
        &["help", "run"],
    ] {
        let output = run(words);
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}");
        let text = stdout(&output);
        assert!(text.contains("Examples:") && text.contains("Exit status") || text.contains("exit status"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{words:?}: {text}");
    }
    let nothing: [&str; 0] = [];
    let output = run(&nothing);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && stderr(&output).contains("Usage: epollshim"));
    for (words, line) in [
        (&["chekc"][..], "unrecognized subcommand 'chekc'; did you mean check?"),
        (&["run"], "the following required arguments were not provided: <CMD>...; see epollshim run --help"),
        (&["check"], "the following required arguments were not provided: <BINARY|PID>; see epollshim check --help"),
        (&["check", "--format", "xml", "x"], "invalid value 'xml' for '--format <text|json>'"),
        (&["run", "--report"], "a value is required for '--report <WHERE>' but none was supplied"),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let text = stderr(&output);
        assert!(text.starts_with(&format!("epollshim: {line}")) && text.lines().count() == 1, "{words:?}: {text}");
    }
}

#[test]
fn the_program_s_own_flags_are_its_own_without_the_two_dashes() {
    let output = run(&["run", "--report", "none", "sh", "-c", "echo $1 $2", "--", "--limit", "-q"]);
    assert_eq!(stdout(&output), "--limit -q\n", "{}", stderr(&output));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = epollshim().args(["check", "sh"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "epollshim: stdout: No space left on device\n");
}

#[test]
fn a_rule_that_never_fires_is_named() {
    let program = compile("size_lie", &[]);
    let rules = ["accept4:error=EMFILE", "epoll_ctl:error=ENOSPC:when=1000", "epoll_ctl:delay_enter=1"];
    let flags = rules.iter().flat_map(|rule| ["--inject", rule]);
    let text = stderr(&output(epollshim().arg("run").args(flags).arg("--").arg(&program)));
    let named: Vec<&str> = text.lines().filter(|line| line.starts_with("epollshim: rule ")).collect();
    let expected = [
        "epollshim: rule 'accept4:error=EMFILE' changed nothing: the program made no call that it names",
        "epollshim: rule 'epoll_ctl:error=ENOSPC:when=1000' changed nothing: it counted 3 calls, and its conditions \
         held for none",
    ];
    assert_eq!(named, expected, "{text}");
}

/// `true` opens and closes nothing, so it leaves no recording.
#[test]
fn without_a_recording_it_is_said_that_rules_cannot_be_judged() {
    let said = "epollshim: --inject: not known whether a rule fired: no process left a recording, which would have the \
                counts; --inject-log FILE lists each fault";
    let is_said = |flags: &[&str]| {
        let text = stderr(&run(&[&["run"], flags, &["--", "true"]].concat()));
        (text.lines().filter(|line| *line == said).count(), text)
    };
    let (times, text) = is_said(&["--inject", "accept4:error=EMFILE"]);
    assert_eq!(times, 1, "{text}");
    for flags in [&["--quiet"][..], &["--inject", "accept4:error=EMFILE", "--report", "none"]] {
        let (times, text) = is_said(flags);
        assert_eq!(times, 0, "{text}");
    }
    // A fault that hits the only call of a program is counted, and named as fired.
    let text = stderr(&run(&["run", "--inject", "open,openat:error=EACCES", "--", "cat", "/etc/hostname"]));
    assert!(!text.contains("not known") && !text.contains("changed nothing") && text.contains("Faults "), "{text}");
}
