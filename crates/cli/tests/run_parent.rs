//! `epollshim run` as the parent of its program: what it reports after whatever end, signals, and
//! what it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{compile, epollshim, output, scratch, skipped, stderr, stdout, tool, until};
use serde_json::Value;

/// `epollshim run FLAGS... --`, with a directory for temporary files of its own.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new() -> Place {
        Place { directory: fs::canonicalize(scratch("tmp")).unwrap() }
    }

    fn run(&self, flags: &[&str]) -> Command {
        let mut command = epollshim();
        command.env("TMPDIR", &self.directory).arg("run").args(flags).arg("--");
        command
    }

    /// The private directories that are there.
    fn left(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.left(), Vec::<PathBuf>::new(), "the private directory is removed");
    }
}

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// A process that was not waited for.
fn kill(pid: u32, signal: i32) {
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// `job`, started with these flags; its input is a pipe.
struct Job {
    parent: Child,
    pid: u32,
    out: BufReader<std::process::ChildStdout>,
}

impl Job {
    fn start(mut command: Command) -> Job {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut parent = command.spawn().unwrap();
        let mut job = Job { out: BufReader::new(parent.stdout.take().unwrap()), parent, pid: 0 };
        let line = job.line();
        job.pid = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        assert!(line.ends_with(&format!("parent {}\n", job.parent.id())), "{line}");
        job
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    fn end(self) -> Output {
        let mut rest = self;
        drop(rest.parent.stdin.take());
        let mut said = String::new();
        rest.out.read_to_string(&mut said).unwrap();
        let mut output = rest.parent.wait_with_output().unwrap();
        output.stdout = said.into_bytes();
        output
    }
}

// ---- after whatever end there is a report ----

#[test]
fn a_program_that_is_killed_is_reported_by_its_parent() {
    let place = Place::new();
    let mut command = place.run(&[]);
    command.arg(compile("job", &[]));
    let job = Job::start(command);
    kill(job.pid, libc::SIGKILL);
    let pid = job.pid;
    let ended = job.end();
    let text = stderr(&ended);
    assert_eq!(ended.status.signal(), Some(libc::SIGKILL), "{text}");
    assert!(text.starts_with(&format!("epollshim: job (pid {pid}) was killed by SIGKILL after ")), "{text}");
    assert!(text.contains("Instances: 1 created, 1 alive"), "{text}");
    // By function: the program has its symbols.
    assert!(text.contains("main"), "{text}");
    place.is_clean();
}

#[test]
fn a_program_without_standard_error_or_free_descriptors_is_reported() {
    let place = Place::new();
    for (arguments, limit) in [(&["mute"][..], 1024), (&[], 5)] {
        let mut command = place.run(&[]);
        command.arg(compile("job", &[])).args(arguments);
        // SAFETY: only an async-signal-safe call, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                Ok(())
            });
        }
        let ended = Job::start(command).end();
        let text = stderr(&ended);
        assert!(ended.status.success(), "{arguments:?} {limit}: {text}");
        assert!(text.contains("Instances: 1 created"), "{arguments:?} {limit}: {text}");
        place.is_clean();
    }
}

#[test]
fn several_processes_are_one_report_and_findings_come_first() {
    let place = Place::new();
    let program = compile("size_lie", &[]);
    let script = format!("{0} & {0} & wait; kill -SEGV $$", program.display());
    let ended = output(place.run(&[]).args(shell(&script)));
    let text = stderr(&ended);
    assert_eq!(ended.status.signal(), Some(libc::SIGSEGV), "{text}");
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
    assert!(text.contains("was killed by SIGSEGV"), "{text}");
    assert!(at("Findings: ") < at("Processes "), "{text}");
    assert!(at("Processes ") < at("epollshim: size_lie (pid "), "{text}");
    assert!(text.lines().any(|line| line.contains("size-lie") && line.contains("in 2 processes")), "{text}");
    place.is_clean();
}

#[test]
fn the_report_is_written_as_report_writes_it() {
    let place = Place::new();
    let program = compile("size_lie", &[]);
    let directory = scratch("output");
    let file = directory.join("report.json");
    let name = file.to_str().unwrap();
    let ended = output(place.run(&["--format", "json", "-o", name]).arg(&program));
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(stderr(&ended), format!("epollshim: report written to {name} (1 recording)\n"));
    let told: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(told["schema"], "epollshim.report/1");
    let ended = output(place.run(&["--report-format", "json", "-o", "-"]).arg(&program));
    let told: Value = serde_json::from_str(&stdout(&ended)).unwrap();
    assert_eq!(told["schema"], "epollshim.report/1");
    place.is_clean();
    // Nowhere: before anything starts.
    let mark = directory.join("started");
    let ended = output(place.run(&["-o", "/no/such/place"]).arg("touch").arg(&mark));
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(stderr(&ended), "epollshim: --output: /no/such/place: No such file or directory\n");
    assert!(!mark.exists());
    for flags in [&["-o", "x"][..], &["--format", "json"], &["--fail-on", "leak"]] {
        let ended = output(place.run(&[flags, &["--exec"]].concat()).arg("true"));
        assert_eq!((ended.status.code(), stderr(&ended).lines().count()), (Some(2), 1), "{}", stderr(&ended));
    }
}

#[test]
fn fail_on_makes_the_exit_status_1_where_it_was_0() {
    let place = Place::new();
    let (lies, plain) = (compile("size_lie", &[]), compile("plain", &[]));
    let lies = lies.to_str().unwrap();
    for (fail_on, script, status) in [
        ("size-lie:info", lies, 1),
        ("ghost", lies, 0),
        ("all", &format!("{lies}; exit 3"), 3),
        ("all", &plain.display().to_string(), 0),
    ] {
        let ended = output(place.run(&["--fail-on", fail_on]).args(shell(script)));
        assert_eq!(ended.status.code(), Some(status), "{fail_on} {script}: {}", stderr(&ended));
    }
    let line = "epollshim: 1 finding that --fail-on names: size-lie\n";
    // Also where no report is wanted.
    let ended = output(place.run(&["--report=none", "--fail-on=size-lie:info"]).arg(lies));
    assert_eq!((ended.status.code(), stderr(&ended).as_str()), (Some(1), line));
    let rules = scratch("rules").join("known.supp");
    fs::write(&rules, "size-lie:^main$\n").unwrap();
    let flags = ["--report=none", "--fail-on=size-lie:info", "--suppressions", rules.to_str().unwrap()];
    let ended = output(place.run(&flags).arg(lies));
    assert_eq!((ended.status.code(), stderr(&ended).as_str()), (Some(0), ""));
    // A program that cannot be checked is no success.
    match common::try_compile("plain", &["-static"]) {
        Ok(program) => {
            let ended = output(place.run(&["--fail-on=all"]).arg(program));
            assert_eq!(ended.status.code(), Some(1), "{}", stderr(&ended));
            assert!(stderr(&ended).ends_with("nothing was checked\n"), "{}", stderr(&ended));
        }
        Err(error) => skipped(&format!("cc -static: {error}"), true),
    }
    place.is_clean();
}

#[test]
fn a_directory_that_is_named_stays_and_the_next_command_is_said() {
    let place = Place::new();
    let recordings = scratch("named").join("rec");
    let name = recordings.to_str().unwrap();
    let program = compile("size_lie", &[]);
    for time in 1..=2 {
        let ended = output(place.run(&["--record", name]).arg(&program));
        let text = stderr(&ended);
        assert!(text.contains("Findings: ") && text.contains(&format!("epollshim report {name}")), "{text}");
        // Each run reports its own.
        assert!(!text.contains("processes together"), "{text}");
        assert_eq!(fs::read_dir(&recordings).unwrap().count(), time);
    }
    let ended = output(place.run(&["--report=none", "--record", name]).arg(&program));
    assert_eq!(stderr(&ended), "");
    place.is_clean();
}

#[test]
fn processes_that_go_on_are_named_with_the_command_that_reports_them() {
    let place = Place::new();
    let (job, directory) = (compile("job", &[]), scratch("daemon"));
    let (pipe, out) = (directory.join("pipe"), directory.join("out"));
    let script = format!(
        "mkfifo {0}; exec 3<> {0}; setsid {1} < {0} > {2} 2> /dev/null & until grep -q pid {2}; do sleep 0.05; done",
        pipe.display(),
        job.display(),
        out.display()
    );
    // Its standard error is a file: what goes on holds it.
    let said = directory.join("stderr");
    let mut command = place.run(&[]);
    let status =
        command.args(shell(&script)).stdout(Stdio::null()).stderr(File::create(&said).unwrap()).status().unwrap();
    let text = fs::read_to_string(&said).unwrap();
    assert!(status.success(), "{text}");
    let told = fs::read_to_string(&out).unwrap();
    let pid: u32 = told.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(text.contains(&format!("epollshim: still running: job (pid {pid})\n")), "{text}");
    let [kept] = &place.left()[..] else { panic!("{text}") };
    // SAFETY: takes nothing, cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    // Root's is in a directory that nobody else can list.
    assert_eq!(mode(kept), if is_root { 0o711 } else { 0o700 });
    let first = fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    assert!(!is_root || mode(&first) == 0o1733, "{}", first.display());
    let command = format!("epollshim report {}", kept.display());
    assert!(text.contains(&format!("{command}; then remove it: rm -r {}\n", kept.display())), "{text}");
    let root = common::epollshim().arg("report").arg(kept).output().unwrap();
    assert!(stdout(&root).contains(&format!("job (pid {pid}), still running")), "{}", stdout(&root));
    kill(pid, libc::SIGTERM);
    until("it ends", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    let later = common::epollshim().arg("report").arg(kept).output().unwrap();
    assert!(stdout(&later).contains("ended by exit"), "{}", stdout(&later));
}

#[test]
fn a_program_whose_parent_is_killed_goes_on_and_its_recording_stays() {
    let place = Place::new();
    let mut command = place.run(&[]);
    command.arg(compile("job", &[]));
    let mut job = Job::start(command);
    // To wait closes it.
    let input = job.parent.stdin.take();
    kill(job.parent.id(), libc::SIGKILL);
    assert_eq!(job.parent.wait().unwrap().signal(), Some(libc::SIGKILL));
    kill(job.pid, libc::SIGUSR1);
    assert_eq!(job.line(), format!("signal {}: 1\n", libc::SIGUSR1));
    drop(input);
    let pid = job.pid;
    until("it ends", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    let [kept] = &place.left()[..] else { panic!("{:?}", place.left()) };
    let later = epollshim().arg("report").arg(kept).output().unwrap();
    assert!(stdout(&later).contains("Instances: 1 created"), "{}", stdout(&later));
}

#[test]
fn a_report_that_cannot_be_printed_is_kept() {
    let place = Place::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = place.run(&[]).arg(compile("size_lie", &[])).stderr(full).status().unwrap();
    assert!(status.success());
    let [kept] = &place.left()[..] else { panic!("{:?}", place.left()) };
    let told = epollshim().arg("report").arg(kept).output().unwrap();
    assert!(stdout(&told).contains("size-lie"), "{}", stdout(&told));
    fs::remove_dir_all(kept).unwrap();
    let told = output(place.run(&["-o", "/dev/full"]).arg(compile("size_lie", &[])));
    assert_eq!(told.status.code(), Some(2), "{}", stderr(&told));
    let [kept] = &place.left()[..] else { panic!("{:?}", place.left()) };
    let line = format!("epollshim: the recordings are kept in {0}: epollshim report {0}\n", kept.display());
    assert_eq!(stderr(&told), format!("epollshim: /dev/full: No space left on device\n{line}"));
    fs::remove_dir_all(kept).unwrap();
    // Closed from the start: nothing of the program's or of the command's is written into what has
    // its number.
    let script = r#""$0" run -- "$1" 2>&-"#;
    let mut closed = Command::new("sh");
    closed.args(["-c", script]).arg(common::binary()).arg(compile("size_lie", &[])).env("TMPDIR", &place.directory);
    assert!(output(&mut closed).status.success());
    assert_eq!(place.left().len(), 1);
}

#[test]
fn a_standard_error_that_the_program_made_non_blocking_gets_the_whole_report() {
    let place = Place::new();
    let (mut read, write) = std::io::pipe().unwrap();
    // SAFETY: takes numbers; the descriptor is open.
    unsafe {
        libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, 4096);
        libc::fcntl(write.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
    }
    let mut command = place.run(&[]);
    command.args(shell(&format!("yes >&2 2>/dev/null; {}; :", compile("size_lie", &[]).display()))).stderr(write);
    let mut child = command.spawn().unwrap();
    drop(command);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut text = Vec::new();
    read.read_to_end(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("Findings: ") && text.contains("Coverage: "), "{text}");
    place.is_clean();
}

// ---- where it records ----

#[test]
fn without_a_place_in_tmpdir_another_is_taken_and_without_any_processes_report_themselves() {
    let program = compile("size_lie", &[]);
    let told = output(epollshim().env("TMPDIR", "/no/such/directory").args(["run", "--"]).arg(&program));
    assert!(told.status.success() && stderr(&told).starts_with("epollshim: size_lie"), "{}", stderr(&told));
    // A file system without space, in a mount namespace of its own.
    // What was built is bound to /mnt: it may lie in /tmp.
    let script = r#"mount --bind "$4" /mnt && mount -t tmpfs -o size=64k none "$1" && mount -t tmpfs -o size=64k none /tmp &&
        cd / && TMPDIR="$1" && export TMPDIR && exec "/mnt/$0" run $3 -- "/mnt/$2""#;
    let mount = scratch("full");
    let built = &testkit::target();
    let bound = |path: &Path| path.strip_prefix(built).unwrap().to_path_buf();
    let in_full = |flag: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).arg(bound(&common::binary())).arg(&mount).arg(bound(&program));
        output(command.arg(flag).arg(built))
    };
    let probe = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none"]).arg(&mount).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return skipped("no mount namespace of its own: a full file system is not tried", true);
    }
    let told = in_full("");
    let text = stderr(&told);
    assert!(told.status.success(), "{text}");
    let why = "No space left on device; each process reports itself when it exits\n";
    assert!(text.starts_with("epollshim: no directory for recordings: ") && text.contains(why), "{text}");
    assert!(text.contains("size-lie") && text.contains("Instances: 1 created"), "{text}");
    // What could not be checked is no success.
    assert_eq!(in_full("--fail-on=ghost").status.code(), Some(2));
}

#[test]
fn a_run_in_a_run_reports_its_own_processes() {
    let place = Place::new();
    let program = compile("size_lie", &[]);
    let inner = format!("{} run -- {}", common::binary().display(), program.display());
    let told = output(place.run(&[]).args(shell(&format!("{inner}; {}; :", program.display()))));
    let text = stderr(&told);
    assert!(told.status.success(), "{text}");
    // One of each.
    assert_eq!(text.matches("epollshim: size_lie (pid ").count(), 2, "{text}");
    place.is_clean();
}

#[test]
fn variables_of_the_user_s_stay_as_they_are() {
    let place = Place::new();
    for (flags, variable, line) in [
        (&[][..], None, "EPOLLSHIM_CENSUS=1"),
        (&["--census=0"], None, "EPOLLSHIM_CENSUS=0"),
        (&[], Some(("EPOLLSHIM_CENSUS", "0")), "EPOLLSHIM_CENSUS=0"),
        (&[], None, "EPOLLSHIM_REPORT=none"),
    ] {
        let mut command = place.run(flags);
        command.arg("env").envs(variable);
        let told = stdout(&output(&mut command));
        assert!(told.lines().any(|one| one == line), "{line}: {told}");
    }
    // No report, no recording.
    let told = stdout(&output(place.run(&["--report=none"]).arg("env")));
    assert!(!told.contains("EPOLLSHIM_RECORD") && !told.contains("EPOLLSHIM_CENSUS"), "{told}");
    // A report of each process besides.
    let file = scratch("own").join("report");
    let told = output(place.run(&["--report", file.to_str().unwrap()]).arg(compile("size_lie", &[])));
    assert!(stderr(&told).contains("size-lie"), "{}", stderr(&told));
    assert!(fs::read_to_string(&file).unwrap().contains("size-lie"));
    place.is_clean();
}

// ---- signals ----

#[test]
fn a_signal_to_the_parent_is_passed_on_once_and_one_from_the_program_is_not() {
    let place = Place::new();
    let mut command = place.run(&[]);
    command.arg(compile("job", &[]));
    let mut job = Job::start(command);
    for number in [libc::SIGUSR1, libc::SIGINT, libc::SIGQUIT] {
        kill(job.parent.id(), number);
        assert_eq!(job.line(), format!("signal {number}: 1\n"));
    }
    kill(job.parent.id(), libc::SIGTERM);
    assert_eq!(job.line(), format!("signal {}: 1\n", libc::SIGTERM));
    let ended = job.end();
    assert_eq!((ended.status.code(), stdout(&ended).as_str()), (Some(7), ""), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("exited with status 7"), "{}", stderr(&ended));
    place.is_clean();
    // To the group, of which the program is: it has it already.
    let mut command = place.run(&[]);
    command.arg(compile("job", &[])).process_group(0);
    let mut job = Job::start(command);
    // SAFETY: takes numbers; the group's first process was not waited for.
    assert_eq!(unsafe { libc::kill(-(job.parent.id() as i32), libc::SIGUSR1) }, 0);
    assert_eq!(job.line(), format!("signal {}: 1\n", libc::SIGUSR1));
    std::thread::sleep(std::time::Duration::from_millis(200));
    // And the next one to the parent alone, which the program has not.
    kill(job.parent.id(), libc::SIGUSR1);
    assert_eq!(job.line(), format!("signal {}: 2\n", libc::SIGUSR1));
    kill(job.parent.id(), libc::SIGTERM);
    assert_eq!(job.line(), format!("signal {}: 1\n", libc::SIGTERM));
    assert_eq!(job.end().status.code(), Some(7));
    // `kill 0` is for the group, and each has it from the kernel.
    let script = "n=0; trap 'n=$((n+1))' USR1; kill -USR1 0; for i in 1 2 3 4 5 6 7 8; do sleep 0.05; done; echo $n";
    let told = output(place.run(&[]).args(shell(script)).process_group(0));
    assert_eq!((told.status.code(), stdout(&told).as_str()), (Some(0), "1\n"), "{}", stderr(&told));
}

#[test]
fn what_the_program_inherits_is_the_caller_s() {
    let place = Place::new();
    let signals = |command: &mut Command| {
        let told = output(command.args(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]));
        assert!(told.status.success(), "{}", stderr(&told));
        stdout(&told)
    };
    let prepare = |command: &mut Command| {
        // SAFETY: only async-signal-safe calls, between fork and exec.
        unsafe {
            command.pre_exec(|| {
                for number in [libc::SIGCHLD, libc::SIGHUP, libc::SIGTSTP] {
                    libc::signal(number, libc::SIG_IGN);
                }
                let mut mask = std::mem::zeroed();
                libc::sigemptyset(&raw mut mask);
                libc::sigaddset(&raw mut mask, libc::SIGTERM);
                libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR2);
                libc::alarm(3600);
                Ok(())
            })
        };
    };
    let (mut bare, mut run) = (Command::new("env"), place.run(&[]));
    prepare(&mut bare);
    prepare(&mut run);
    assert_eq!(signals(&mut bare), signals(&mut run));
    // With SIGCHLD ignored the end of the program is known all the same.
    let mut run = place.run(&[]);
    prepare(&mut run);
    assert_eq!(output(run.args(shell("exit 3"))).status.code(), Some(3));
    // A session leader's alarm, and nohup.
    let mut run = place.run(&[]);
    // SAFETY: only async-signal-safe calls, between fork and exec.
    unsafe {
        run.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            libc::alarm(1);
            Ok(())
        })
    };
    run.arg(compile("job", &[]));
    let mut job = Job::start(run);
    kill(job.parent.id(), libc::SIGHUP);
    assert_eq!(job.line(), format!("signal {}: 1\n", libc::SIGALRM));
    kill(job.parent.id(), libc::SIGTERM);
    assert_eq!(job.line(), format!("signal {}: 1\n", libc::SIGTERM));
    assert_eq!(job.end().status.code(), Some(7), "the SIGHUP that was ignored did not end it");
    place.is_clean();
}

#[test]
fn a_pipe_ends_when_the_program_lets_go_of_it() {
    let place = Place::new();
    let script = "\"$0\" run -- yes | head -n 1; echo done";
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script]).arg(common::binary()).env("TMPDIR", &place.directory);
    let told = output(&mut command);
    assert_eq!(stdout(&told), "y\ndone\n");
    assert!(stderr(&told).contains("yes (pid ") && stderr(&told).contains("SIGPIPE"), "{}", stderr(&told));
    // It has closed its input and output, and sleeps.
    let mut command = place.run(&[]);
    command.args(shell("exec >&- <&-; exec sleep 60")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(child.stdout.take().unwrap().read(&mut [0]).unwrap(), 0);
    let mut to = child.stdin.take().unwrap();
    until("its input is closed", || to.write_all(b"x").is_err().then_some(()));
    kill(child.id(), libc::SIGTERM);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    place.is_clean();
}

#[test]
fn the_parent_leaves_no_core_of_its_own() {
    let place = Place::new();
    let directory = scratch("core");
    let mut command = place.run(&["--quiet"]);
    command.current_dir(&directory).args(shell("ulimit -c 0; kill -ABRT $$"));
    // SAFETY: only an async-signal-safe call, between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit);
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
            Ok(())
        })
    };
    let told = output(&mut command);
    assert_eq!((told.status.signal(), told.status.core_dumped()), (Some(libc::SIGABRT), false));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

// ---- nothing to report ----

#[test]
fn nothing_to_report_is_explained() {
    let place = Place::new();
    for (words, sentence) in [
        (&["true"][..], "exited with status 0"),
        (&["sh", "-c", "exit 3"], "exited with status 3"),
        (&["sh", "-c", "kill -KILL $$"], "was killed by SIGKILL"),
    ] {
        let told = stderr(&output(place.run(&[]).args(words)));
        let name = words[0];
        let (first, second) = told.trim_end().split_once('\n').unwrap_or_else(|| panic!("{told}"));
        assert!(first.starts_with(&format!("epollshim: {name} (pid ")), "{told}");
        assert!(first.contains(sentence) && first.ends_with(": nothing to report"), "{told}");
        let why = "epollshim: no process made an epoll call that the shim could see; epollshim check ";
        assert!(second.starts_with(why), "{told}");
    }
    let told = stderr(&output(place.run(&["--only", "other"]).arg(compile("size_lie", &[]))));
    assert!(told.contains("no process of a program that --only names made an epoll call"), "{told}");
    if let Some(shell) = tool("bash") {
        // A setuid program of another user.
        // SAFETY: takes nothing, cannot fail.
        if unsafe { libc::getuid() } != 0 {
            skipped("not root: no file can be given to another user", true);
        } else {
            let program = scratch("setuid").join("shell");
            common::copy(shell, &program);
            std::os::unix::fs::chown(&program, Some(65534), Some(65534)).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
            let told = stderr(&output(place.run(&[]).arg(&program).args(["-c", "exit 0"])));
            assert!(told.starts_with("epollshim: warning: ") && told.contains("setuid (user 65534)"), "{told}");
        }
    }
    place.is_clean();
}
