//! The process that makes one run. It isolates the program from the machine, starts and watches it,
//! and ends all that is left.
//!
//! `epollshim sweep` starts itself for each run, under the name [`NAME`]. So this process has one
//! thread and may fork. When the sweep ends, even by SIGKILL, the kernel sends this process
//! SIGTERM, which ends the run. In a process id namespace, the first ancestor of the program is
//! process 1 of the namespace, and its end ends all processes in it.

use std::fs::{self, File};
use std::io::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use super::procfs;
use super::spec::{ERR, OUT, OUTCOME, Outcome, SPEC, Spec};
use super::stage::Stage;
use crate::sys::sandbox::{self, NEW_NETWORK, NEW_PROCESSES, NEW_USER, Taken};
use crate::text::reason;

/// `argv[0]` of this process.
pub const NAME: &str = "epollshim-sweep-run";

/// Makes the run of a folder, writes the outcome into the folder, and returns the exit status.
pub fn main(folder: &Path, parent: u32) -> i32 {
    let taken = Taken::block(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP]);
    let status = make(folder, parent, &taken);
    if taken.is_stopped() {
        wait_for_killed(parent);
    }
    // The sweep was killed, and cannot remove its folder. The last of its runs removes it.
    if sandbox::parent() != parent
        && let Some(top) = folder.parent()
    {
        let _ = fs::remove_dir_all(top);
    }
    status
}

/// Waits until a parent that was killed has ended, or half a second. The kernel sends the signal of
/// PR_SET_PDEATHSIG when the thread that started this process ends (prctl(2)): other threads of the
/// parent may still be there, and until they have ended this process keeps its parent.
fn wait_for_killed(parent: u32) {
    for _ in 0..50 {
        if sandbox::parent() != parent {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn make(folder: &Path, parent: u32, taken: &Taken) -> i32 {
    if sandbox::end_with_parent(libc::SIGTERM, parent).is_err() {
        return 1;
    }
    sandbox::pass_on_no_descriptors();
    let spec = fs::read(folder.join(SPEC)).ok().and_then(|text| serde_json::from_slice::<Spec>(&text).ok());
    let Some(spec) = spec else { return 1 };
    let mut outcome = Outcome::default();
    isolate(&spec, &mut outcome);
    if !outcome.has_processes {
        sandbox::adopt_orphans();
        run(&spec, outcome, taken);
        end_all(std::process::id() as i32);
        return 0;
    }
    match sandbox::fork() {
        Ok(0) => {
            // The parent is outside of this namespace, so its process id reads as 0.
            let _ = sandbox::end_with_parent(libc::SIGKILL, 0);
            if let Err(error) = sandbox::mount_proc() {
                // /proc shows the processes of another namespace, so neither the library nor this
                // process can use it.
                outcome.trouble = Some(format!("{UNMOUNTED}{}", reason(&error)));
                write(&spec, &outcome);
            } else {
                run(&spec, outcome, taken);
            }
            sandbox::leave(0)
        }
        Ok(first) => {
            loop {
                match taken.next(60_000) {
                    Some(libc::SIGCHLD) => break,
                    Some(_) => {
                        sandbox::send(first, libc::SIGKILL);
                        break;
                    }
                    None => {}
                }
            }
            i32::from(sandbox::wait_for(first).is_err())
        }
        Err(_) => 1,
    }
}

/// The beginning of `trouble` if a process id namespace is unusable.
pub const UNMOUNTED: &str = "mount /proc: ";

/// Moves this process into new namespaces, as far as permitted. A user namespace gives it the
/// privilege to create the others.
fn isolate(spec: &Spec, outcome: &mut Outcome) {
    let wanted =
        if spec.shares_processes { 0 } else { NEW_PROCESSES } | if spec.shares_network { 0 } else { NEW_NETWORK };
    let (user, group) = crate::sys::user();
    let mut tried = sandbox::unshare(wanted);
    if tried.is_err() {
        tried = sandbox::unshare(wanted | NEW_USER);
        if tried.is_ok() {
            let _ = fs::write("/proc/self/setgroups", "deny");
            let _ = fs::write("/proc/self/uid_map", format!("{user} {user} 1"));
            let _ = fs::write("/proc/self/gid_map", format!("{group} {group} 1"));
        }
    }
    match tried {
        Ok(()) => {
            outcome.has_processes = !spec.shares_processes;
            outcome.has_network = !spec.shares_network && sandbox::start_loopback().is_ok();
        }
        Err(error) => outcome.lacks = Some(format!("no namespaces (unshare: {})", reason(&error))),
    }
}

fn run(spec: &Spec, outcome: Outcome, taken: &Taken) {
    let outcome = match start(spec, &outcome) {
        Ok(pid) => Stage::new(spec, outcome, taken, pid).play(),
        Err(error) => Outcome { trouble: Some(reason(&error)), ..outcome },
    };
    write(spec, &outcome);
}

fn write(spec: &Spec, outcome: &Outcome) {
    if let Ok(text) = serde_json::to_vec(outcome) {
        let _ = fs::write(spec.folder.join(OUTCOME), text);
    }
}

/// Starts the program, and returns its process id.
fn start(spec: &Spec, outcome: &Outcome) -> Result<i32, Error> {
    let (program, arguments) = spec.command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(spec.environment.iter().cloned()).current_dir(&spec.directory);
    command.stdin(match &spec.input {
        Some(file) => Stdio::from(File::open(file)?),
        None => Stdio::null(),
    });
    command.stdout(File::create(spec.folder.join(OUT))?).stderr(File::create(spec.folder.join(ERR))?);
    let limits = sandbox::Start {
        descriptors: spec.descriptors,
        processes: spec.processes,
        counted: spec.counted,
        ends_with_parent: !outcome.has_processes,
    };
    sandbox::in_own_session(&mut command, limits);
    command.spawn().map(|child| child.id() as i32)
}

/// Kills every process below one, until none is left.
fn end_all(root: i32) {
    for _ in 0..1000 {
        let left = procfs::below(root, &[]);
        left.iter().for_each(|pid| sandbox::send(*pid, libc::SIGKILL));
        while sandbox::reap().is_some() {}
        if left.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
