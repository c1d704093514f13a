//! `epollshim run`, as a user sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
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
        let told = if status > 125 && status < 128 { 1 } else { 0 };
        for flags in [&["run"][..], &["run", "--exec"], &["run", "--report=none"]] {
            let output = run(&[flags, &["--"], words].concat());
            assert_eq!(output.status.code(), Some(status), "{words:?}");
            if told == 1 || flags.len() > 1 {
                assert_eq!(stderr(&output).lines().count(), told, "{words:?}: {}", stderr(&output));
                let line = format!("epollshim: {}: ", words[0]);
                assert!(told == 0 || stderr(&output).starts_with(&line), "{}", stderr(&output));
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
    // Not of necessity the newest one: the command was built before.
    let told = words[2].trim_matches(['(', ')']);
    let commit = told.strip_suffix("-changed").unwrap_or(told);
    let kind = output(Command::new("git").arg("-C").arg(root).args(["cat-file", "-t", commit]));
    assert!(commit.len() == 12 && stdout(&kind) == "commit\n", "{text}: {}", stderr(&kind));
}

#[test]
fn the_library_stands_before_what_was_preloaded() {
    let show = ["run", "--report", "none", "--", "sh", "-c", "echo $LD_PRELOAD"];
    let ours = library();
    let ours = ours.to_str().unwrap();
    assert_eq!(stdout(&run(&show)), format!("{ours}\n"));
    // libm, as any library: the loader must find it, or it complains on stderr.
    let output = output(epollshim().env("LD_PRELOAD", "libm.so.6 /x/libepollshim.so").args(show));
    assert_eq!(stdout(&output), format!("{ours}:libm.so.6\n"), "{}", stderr(&output));
}

#[test]
fn every_flag_becomes_the_variable_of_its_name() {
    for flag in ["--exec", "--quiet"] {
        let directory = scratch("flags");
        let here = fs::canonicalize(&directory).unwrap();
        let mut command = epollshim();
        command.current_dir(&directory).env("EPOLLSHIM_SEED", "1").env("EPOLLSHIM_ONLY", "sh").args([
            "run",
            flag,
            "--report=r.%p",
            "--report-format=json",
            "--limit=instances=8",
            "--limit=watches=9",
            "--inject=epoll_wait:error=EINTR",
            "--inject=epoll_ctl:retval=7",
            "--inject-impossible",
            "--session=s",
            "--seed=0x2a",
            "--log=l.%p",
            "--log-format=json",
            "--log-time=wall",
            "--log-filter=failed",
            "--on-bad-config=ignore",
            "--",
            "env",
        ]);
        let text = stdout(&output(&mut command));
        let mut set: Vec<&str> = text.lines().filter(|line| line.starts_with("EPOLLSHIM_")).collect();
        set.sort_unstable();
        if flag != "--exec" {
            // What the parent sets for its own report.
            assert!(set.contains(&"EPOLLSHIM_CENSUS=1"), "{set:?}");
            assert!(set.iter().any(|one| one.starts_with("EPOLLSHIM_RECORD=/")), "{set:?}");
            set.retain(|one| !one.starts_with("EPOLLSHIM_CENSUS=") && !one.starts_with("EPOLLSHIM_RECORD="));
        }
        let here = here.display();
        assert_eq!(
            set,
            [
                "EPOLLSHIM_INJECT=epoll_wait:error=EINTR;epoll_ctl:retval=7",
                "EPOLLSHIM_INJECT_IMPOSSIBLE=1",
                "EPOLLSHIM_LIMIT=instances=8,watches=9",
                &format!("EPOLLSHIM_LOG={here}/l.%p"),
                "EPOLLSHIM_LOG_FILTER=failed",
                "EPOLLSHIM_LOG_FORMAT=json",
                "EPOLLSHIM_LOG_TIME=wall",
                "EPOLLSHIM_ONLY=sh",
                "EPOLLSHIM_ON_BAD_CONFIG=ignore",
                &format!("EPOLLSHIM_REPORT={here}/r.%p"),
                "EPOLLSHIM_REPORT_FORMAT=json",
                "EPOLLSHIM_SEED=0x2a",
                &format!("EPOLLSHIM_SESSION={here}/s"),
            ]
        );
    }
}

#[test]
fn a_bad_option_is_told_in_one_line_and_nothing_is_started() {
    let mark = scratch("bad").join("started");
    let touch = ["--", "touch", mark.to_str().unwrap()];
    for (flags, line) in [
        (&["--report-format", "xml"][..], "--report-format: unknown value 'xml'; allowed: text, json"),
        (&["--report", ""], "--report: empty; expected stderr, none or a file name"),
        (&["--report", "/tmp/%q"], "--report: unknown pattern at '%q'"),
        (&["--limit", "instance=8"], "--limit: unknown limit 'instance' in 'instance=8'; did you mean instances?"),
        (&["--limit", "instances=8", "--limit", "watches=-1"], "--limit: '-1' is negative in 'watches=-1'"),
        (&["--limit", "instances=8", "--limit", ""], "--limit: element 2 is empty"),
        (&["--inject", "epoll_wiat:error=EINTR"], "--inject: unknown call 'epoll_wiat'"),
        (&["--inject", "epoll_wait:error=EINTR", "--inject", ""], "--inject: rule 2 is empty"),
        (&["--inject", "epoll_ctl:retval=7"], "--inject: no kernel returns 7 from epoll_ctl"),
        (&["--inject-impossible=2"], "--inject-impossible: unknown value '2'; allowed: 0, 1"),
        (&["--seed", "x"], "--seed: 'x' is not a number"),
        (&["--log", "/tmp/"], "--log: '/tmp/' is a directory"),
        (&["--log-format", "jsn"], "--log-format: unknown value 'jsn'; allowed: text, json; did you mean json?"),
        (&["--log-time", "day"], "--log-time: unknown value 'day'; allowed: none, wall, relative"),
        (&["--log-filter", "slow"], "--log-filter: slow has no value"),
        (&["--only", "a,,b"], "--only: empty; expected program names"),
        (&["--on-bad-config", "die"], "--on-bad-config: unknown value 'die'"),
        (&["--session", ""], "--session: empty; expected a directory"),
        (&["--limti", "x"], "unexpected argument '--limti' found; did you mean --limit?"),
        (&["--record", ""], "--record: empty; expected a directory"),
        (&["--record-ring", "3"], "--record-ring: '3' is too small"),
        (&["--census=2"], "--census: unknown value '2'; allowed: 0, 1"),
        (&["--stacks", "65"], "--stacks: '65' is too large; expected a number of callers from 0 to 64"),
        (&["--shim", "/no/such.so"], "--shim /no/such.so: No such file or directory"),
        (&["--shim", "/etc/passwd"], "--shim /etc/passwd: not a shared object"),
    ] {
        let output = run(&[&["run"], flags, &touch].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{flags:?}: {text}");
        assert!(text.starts_with(&format!("epollshim: {line}")), "{flags:?}: {text}");
        assert!(!mark.exists(), "{flags:?}");
    }
    for (name, value, line) in [
        ("EPOLLSHIM_LIMIT", "x", "EPOLLSHIM_LIMIT: "),
        ("EPOLLSHIM_REPROT", "x", "EPOLLSHIM_REPROT: no such option; did you mean EPOLLSHIM_REPORT?"),
        ("EPOLLSHIM_CENSUS", "yes", "EPOLLSHIM_CENSUS: unknown value 'yes'; allowed: 0, 1"),
    ] {
        let output = output(epollshim().env(name, value).arg("run").args(touch));
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        assert!(stderr(&output).starts_with(&format!("epollshim: {line}")), "{}", stderr(&output));
        assert!(!mark.exists(), "{name}");
    }
    // What a flag replaces is not read.
    let output = output(epollshim().env("EPOLLSHIM_LIMIT", "x").args(["run", "--limit", "instances=1"]).args(touch));
    assert!(output.status.success() && mark.exists(), "{}", stderr(&output));
}

#[test]
fn the_shim_says_the_same_of_a_bad_option() {
    for (name, flag, value) in [
        ("EPOLLSHIM_LIMIT", "--limit", "instances=x"),
        ("EPOLLSHIM_INJECT", "--inject", "epoll_wait:when=3"),
        ("EPOLLSHIM_LOG_FILTER", "--log-filter", "fialed"),
    ] {
        let by_shim = output(Command::new("true").env("LD_PRELOAD", library()).env(name, value));
        let by_flag = run(&["run", flag, value, "--", "true"]);
        assert_eq!(stderr(&by_shim).replace(name, flag), stderr(&by_flag));
        assert_eq!((by_shim.status.code(), by_flag.status.code()), (Some(2), Some(2)));
    }
}

#[test]
fn a_bad_option_that_is_to_be_ignored_is_told_and_the_program_runs_bare() {
    let output =
        run(&["run", "--on-bad-config", "ignore", "--limit", "x=1", "--", "sh", "-c", "echo ${LD_PRELOAD-bare}"]);
    assert_eq!(stdout(&output), "bare\n");
    let text = stderr(&output);
    assert!(text.starts_with("epollshim: --limit: unknown limit 'x'"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn the_library_is_found_beside_the_command_or_in_lib() {
    let real = &binary();
    for (place, is_found) in [
        ("bin/libepollshim.so", true),
        ("lib/libepollshim.so", true),
        ("lib64/libepollshim.so", true),
        ("lib/x86_64-linux-gnu/libepollshim.so", true),
        ("release/libepollshim.so", true),
        ("share/libepollshim.so", false),
    ] {
        let tree = fs::canonicalize(scratch("tree")).unwrap();
        let put = |from: &Path, to: PathBuf| {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            common::copy(from, to);
        };
        put(real, tree.join("bin/epollshim"));
        put(&library(), tree.join(place));
        // By a symbolic link from elsewhere, as package managers make them.
        symlink(tree.join("bin/epollshim"), tree.join("link")).unwrap();
        for command in ["bin/epollshim", "link"] {
            let output = output(Command::new(tree.join(command)).args([
                "run",
                "--report=none",
                "--",
                "sh",
                "-c",
                "echo $LD_PRELOAD",
            ]));
            if is_found {
                assert_eq!(stdout(&output), format!("{}\n", tree.join(place).display()), "{}", stderr(&output));
            } else {
                assert_eq!(output.status.code(), Some(2));
                assert!(stderr(&output).contains("libepollshim.so is not in"), "{}", stderr(&output));
                assert!(stderr(&output).contains("--shim PATH"), "{}", stderr(&output));
            }
        }
        fs::remove_dir_all(tree).unwrap();
    }
}

#[test]
fn only_the_shim_is_taken_for_it() {
    let directory = scratch("wrong");
    let foreign = directory.join("foreign.so");
    let mut bytes = fs::read(library()).unwrap();
    // e_machine: aarch64.
    bytes[18] = 183;
    fs::write(&foreign, bytes).unwrap();
    let spaced = directory.join("a b.so");
    symlink(library(), &spaced).unwrap();
    let other = compile("library", &["-shared", "-fPIC"]);
    for (path, why) in [
        (foreign.as_path(), "built for aarch64, not for x86-64"),
        (&other, "not epollshim's library (no symbol epollshim_version)"),
        (&spaced, "LD_PRELOAD cannot name a file with a space in its path"),
        (&directory, "not a shared object"),
    ] {
        let output = run(&[OsStr::new("run"), "--shim".as_ref(), path.as_ref(), "--".as_ref(), "true".as_ref()]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1);
    }
    // A relative path is as good as any.
    let mut command = epollshim();
    command.current_dir(library().parent().unwrap());
    let output = output(command.args(["run", "--exec", "--shim", "libepollshim.so", "--", "true"]));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
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
    // Python begins again after EINTR.
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
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
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
fn it_warns_where_the_shim_will_not_act_and_starts_the_program_all_the_same() {
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
        // It says so again where the report would be.
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("epollshim: NOT SEEN: ") && last.contains("static program"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        let quiet = run(&["run", "--quiet", "--", path]);
        assert_eq!((stdout(&quiet).as_str(), stderr(&quiet).as_str()), ("plain\n", ""));
    }
}

#[test]
fn help_and_the_version_are_on_stdout_and_errors_of_use_are_one_line() {
    for words in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["run", "--help"],
        &["report", "--help"],
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
        (&["run"], "the following required arguments were not provided: <CMD>...; epollshim --help says more"),
        (&["check"], "the following required arguments were not provided: <BINARY|PID>; epollshim --help says more"),
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
