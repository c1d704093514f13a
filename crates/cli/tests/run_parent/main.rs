//! Tests `epollshim run` as the parent of its program: its report after any kind of end, signals,
//! and what it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod signals;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{compile, epollshim, output, scratch, skipped, stderr, stdout, tool, until};
use serde_json::Value;

/// `epollshim run FLAGS... --`, with a private directory for temporary files.
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

    /// The private directories that exist.
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

/// Sends a signal to a process that is not reaped.
fn kill(pid: u32, signal: i32) {
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// `job`, started with these flags. Its input is a pipe.
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
    // Shown by function, since the program has symbols.
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
    let printed: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(printed["schema"], "epollshim.report/1");
    let ended = output(place.run(&["--report-format", "json", "-o", "-"]).arg(&program));
    let printed: Value = serde_json::from_str(&stdout(&ended)).unwrap();
    assert_eq!(printed["schema"], "epollshim.report/1");
    place.is_clean();
    // Nowhere to write: refused before anything starts.
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
    // This holds without a report, too.
    let ended = output(place.run(&["--report=none", "--fail-on=size-lie:info"]).arg(lies));
    assert_eq!((ended.status.code(), stderr(&ended).as_str()), (Some(1), line));
    let rules = scratch("rules").join("known.supp");
    fs::write(&rules, "size-lie:^main$\n").unwrap();
    let flags = ["--report=none", "--fail-on=size-lie:info", "--suppressions", rules.to_str().unwrap()];
    let ended = output(place.run(&flags).arg(lies));
    assert_eq!((ended.status.code(), stderr(&ended).as_str()), (Some(0), ""));
    // A program that cannot be checked is not a success.
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
fn a_named_directory_is_kept_and_the_next_command_is_printed() {
    let place = Place::new();
    let recordings = scratch("named").join("rec");
    let name = recordings.to_str().unwrap();
    let program = compile("size_lie", &[]);
    for time in 1..=2 {
        let ended = output(place.run(&["--record", name]).arg(&program));
        let text = stderr(&ended);
        assert!(text.contains("Findings: ") && text.contains(&format!("epollshim report {name}")), "{text}");
        // Each run reports only its own processes.
        assert!(!text.contains("processes together"), "{text}");
        assert_eq!(fs::read_dir(&recordings).unwrap().count(), time);
    }
    let ended = output(place.run(&["--report=none", "--record", name]).arg(&program));
    assert_eq!(stderr(&ended), "");
    place.is_clean();
}

#[test]
fn processes_that_still_run_are_named_with_the_command_that_reports_them() {
    let place = Place::new();
    let (job, directory) = (compile("job", &[]), scratch("daemon"));
    let (pipe, out) = (directory.join("pipe"), directory.join("out"));
    let script = format!(
        "mkfifo {0}; exec 3<> {0}; setsid {1} < {0} > {2} 2> /dev/null & until grep -q pid {2}; do sleep 0.05; done",
        pipe.display(),
        job.display(),
        out.display()
    );
    // stderr is a file, because the process that keeps running holds it open.
    let said = directory.join("stderr");
    let mut command = place.run(&["--inject=epoll_create1:delay_enter=1", "--inject=accept4:error=EMFILE"]);
    let status =
        command.args(shell(&script)).stdout(Stdio::null()).stderr(File::create(&said).unwrap()).status().unwrap();
    let text = fs::read_to_string(&said).unwrap();
    assert!(status.success(), "{text}");
    let printed = fs::read_to_string(&out).unwrap();
    let pid: u32 = printed.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(text.contains(&format!("epollshim: still running: job (pid {pid})\n")), "{text}");
    assert_eq!(text.matches(" changed nothing").count(), 1, "{text}");
    assert!(text.contains("rule 'accept4:error=EMFILE' changed nothing so far: "), "{text}");
    let [kept] = &place.left()[..] else { panic!("{text}") };
    // SAFETY: takes nothing, cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    // Root's directory is inside one that no other user can list.
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
fn a_program_whose_parent_is_killed_continues_and_its_recording_is_kept() {
    let place = Place::new();
    let mut command = place.run(&[]);
    command.arg(compile("job", &[]));
    let mut job = Job::start(command);
    // `wait` would close it.
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
    let printed = epollshim().arg("report").arg(kept).output().unwrap();
    assert!(stdout(&printed).contains("size-lie"), "{}", stdout(&printed));
    fs::remove_dir_all(kept).unwrap();
    let printed = output(place.run(&["-o", "/dev/full"]).arg(compile("size_lie", &[])));
    assert_eq!(printed.status.code(), Some(2), "{}", stderr(&printed));
    let [kept] = &place.left()[..] else { panic!("{:?}", place.left()) };
    let line = format!("epollshim: the recordings are kept in {0}: epollshim report {0}\n", kept.display());
    assert_eq!(stderr(&printed), format!("epollshim: /dev/full: No space left on device\n{line}"));
    fs::remove_dir_all(kept).unwrap();
    // Closed from the start. Nothing that the program or the command prints may be written into a
    // file that gets its number.
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
    let printed = output(epollshim().env("TMPDIR", "/no/such/directory").args(["run", "--"]).arg(&program));
    assert!(printed.status.success() && stderr(&printed).starts_with("epollshim: size_lie"), "{}", stderr(&printed));
    // A file system without space, in a new mount namespace. The build is bound to /mnt, because it
    // may be in /tmp.
    let script = r#"mount --bind "$4" /mnt && mount -t tmpfs -o size=64k none /tmp && mkdir -p "$1" &&
        mount -t tmpfs -o size=64k none "$1" && cd / && TMPDIR="$1" && export TMPDIR && exec "/mnt/$0" run $3 -- "/mnt/$2""#;
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
    let printed = in_full("");
    let text = stderr(&printed);
    assert!(printed.status.success(), "{text}");
    let why = "No space left on device; each process reports itself when it exits\n";
    assert!(text.starts_with("epollshim: no directory for recordings: ") && text.contains(why), "{text}");
    assert!(text.contains("size-lie") && text.contains("Instances: 1 created"), "{text}");
    // What could not be checked is not a success.
    assert_eq!(in_full("--fail-on=ghost").status.code(), Some(2));
}

#[test]
fn a_run_in_a_run_reports_its_own_processes() {
    let place = Place::new();
    let program = compile("size_lie", &[]);
    let inner = format!("{} run -- {}", common::binary().display(), program.display());
    let printed = output(place.run(&[]).args(shell(&format!("{inner}; {}; :", program.display()))));
    let text = stderr(&printed);
    assert!(printed.status.success(), "{text}");
    // One report of each process.
    assert_eq!(text.matches("epollshim: size_lie (pid ").count(), 2, "{text}");
    place.is_clean();
}

#[test]
fn the_user_s_variables_are_unchanged() {
    let place = Place::new();
    for (flags, variable, line) in [
        (&[][..], None, "EPOLLSHIM_CENSUS=1"),
        (&["--census=0"], None, "EPOLLSHIM_CENSUS=0"),
        (&[], Some(("EPOLLSHIM_CENSUS", "0")), "EPOLLSHIM_CENSUS=0"),
        (&[], None, "EPOLLSHIM_REPORT=none"),
    ] {
        let mut command = place.run(flags);
        command.arg("env").envs(variable);
        let printed = stdout(&output(&mut command));
        assert!(printed.lines().any(|one| one == line), "{line}: {printed}");
    }
    // No report, and no recording.
    let printed = stdout(&output(place.run(&["--report=none"]).arg("env")));
    assert!(!printed.contains("EPOLLSHIM_RECORD") && !printed.contains("EPOLLSHIM_CENSUS"), "{printed}");
    // In addition, a report of each process.
    let file = scratch("own").join("report");
    let printed = output(place.run(&["--report", file.to_str().unwrap()]).arg(compile("size_lie", &[])));
    assert!(stderr(&printed).contains("size-lie"), "{}", stderr(&printed));
    assert!(fs::read_to_string(&file).unwrap().contains("size-lie"));
    place.is_clean();
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
        let printed = stderr(&output(place.run(&[]).args(words)));
        let name = words[0];
        let (first, second) = printed.trim_end().split_once('\n').unwrap_or_else(|| panic!("{printed}"));
        assert!(first.starts_with(&format!("epollshim: {name} (pid ")), "{printed}");
        assert!(first.contains(sentence) && first.ends_with(": nothing to report"), "{printed}");
        let why = "epollshim: no process made an epoll call that the shim could see; run `epollshim check ";
        assert!(second.starts_with(why), "{printed}");
    }
    let printed = stderr(&output(place.run(&["--only", "other"]).arg(compile("size_lie", &[]))));
    assert!(printed.contains("no process of a program that --only names made an epoll call"), "{printed}");
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
            let printed = stderr(&output(place.run(&[]).arg(&program).args(["-c", "exit 0"])));
            assert!(
                printed.starts_with("epollshim: warning: ") && printed.contains("setuid (user 65534)"),
                "{printed}"
            );
        }
    }
    place.is_clean();
}
