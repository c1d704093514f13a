//! Signals, and what the program inherits.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use super::common::{self, compile, output, scratch, stderr, stdout, until};
use super::{Job, Place, kill, shell};
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
    // A signal to the group, which includes the program. It has the signal already.
    let mut command = place.run(&[]);
    command.arg(compile("job", &[])).process_group(0);
    let mut job = Job::start(command);
    // SAFETY: takes numbers; the group's first process was not waited for.
    assert_eq!(unsafe { libc::kill(-(job.parent.id() as i32), libc::SIGUSR1) }, 0);
    assert_eq!(job.line(), format!("signal {}: 1\n", libc::SIGUSR1));
    std::thread::sleep(std::time::Duration::from_millis(200));
    // The next one is only for the parent, so it is forwarded.
    kill(job.parent.id(), libc::SIGUSR1);
    assert_eq!(job.line(), format!("signal {}: 2\n", libc::SIGUSR1));
    kill(job.parent.id(), libc::SIGTERM);
    assert_eq!(job.line(), format!("signal {}: 1\n", libc::SIGTERM));
    assert_eq!(job.end().status.code(), Some(7));
    // `kill 0` is for the group, and each member has the signal from the kernel.
    let script = "n=0; trap 'n=$((n+1))' USR1; kill -USR1 0; for i in 1 2 3 4 5 6 7 8; do sleep 0.05; done; echo $n";
    let printed = output(place.run(&[]).args(shell(script)).process_group(0));
    assert_eq!((printed.status.code(), stdout(&printed).as_str()), (Some(0), "1\n"), "{}", stderr(&printed));
}

#[test]
fn the_program_inherits_what_the_caller_had() {
    let place = Place::new();
    let signals = |command: &mut Command| {
        let printed = output(command.args(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]));
        assert!(printed.status.success(), "{}", stderr(&printed));
        stdout(&printed)
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
    // The end of the program is known even if SIGCHLD is ignored.
    let mut run = place.run(&[]);
    prepare(&mut run);
    assert_eq!(output(run.args(shell("exit 3"))).status.code(), Some(3));
    // SIGALRM to a session leader, and nohup.
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
fn a_pipe_ends_when_the_program_closes_it() {
    let place = Place::new();
    let script = "\"$0\" run -- yes | head -n 1; echo done";
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script]).arg(common::binary()).env("TMPDIR", &place.directory);
    let printed = output(&mut command);
    assert_eq!(stdout(&printed), "y\ndone\n");
    assert!(stderr(&printed).contains("yes (pid ") && stderr(&printed).contains("SIGPIPE"), "{}", stderr(&printed));
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
    let printed = output(&mut command);
    assert_eq!((printed.status.signal(), printed.status.core_dumped()), (Some(libc::SIGABRT), false));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}
