//! The parent while its child runs. It stops when the child stops, and forwards signals that were
//! meant for the child.
//!
//! Both are in one process group. Signals of the terminal (Ctrl-C, Ctrl-\, Ctrl-Z, a new size)
//! reach the child directly, and the parent discards them. A signal to the parent's process id is
//! forwarded. A signal to the whole group (`kill %1`, timeout(1)) is not, since the child has it: a
//! [`Witness`] detects this. A signal that the child or its descendants send is not forwarded
//! either, as with sudo(8).

use std::io::Error;

use super::family;
use super::looks::Looks;
use crate::sys::child::{self, Change, Child, Got, Witness};

/// Waits for the end of the child, and returns how it ended. Calls `looks` meanwhile.
pub fn wait_for_end(child: &Child, looks: &mut Looks) -> Result<Change, Error> {
    let mut witness = Witness::start();
    loop {
        match child.change()? {
            Some(Change::Stopped(signal)) => stopped(child, signal),
            Some(end) => return Ok(end),
            None => {
                looks.look();
                let got = child.signal(looks.wait());
                let Some(got) = got.filter(|got| got.signal != libc::SIGCHLD) else { continue };
                let is_group_s = witness.has(got.signal);
                if got.signal == libc::SIGCONT {
                    // SIGCONT to a group continues all of its members. A child in another group, or
                    // one that was stopped alone, must be continued by this process.
                    if (!is_group_s || !child.is_in_this_group()) && family::is_stopped(child.pid) {
                        match child.change()? {
                            // It did not stop again since the last check.
                            None => child.go_on(),
                            Some(Change::Stopped(signal)) => stopped(child, signal),
                            Some(end) => return Ok(end),
                        }
                    }
                } else if !is_group_s && is_for_child(child, &got) {
                    child.pass(&got);
                }
            }
        }
    }
}

/// Stops this process as well, so that the shell notices that its job has stopped and takes the
/// terminal back.
///
/// Not if SIGSTOP stopped a child in the background (a debugger, `kill -STOP`): no process waits
/// for it, and this process would miss its end.
fn stopped(child: &Child, signal: i32) {
    let is_job_control = matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
    if is_job_control || child.is_in_front() {
        child::stop(signal);
    }
}

fn is_for_child(child: &Child, got: &Got) -> bool {
    match got.sender {
        // SIGALRM: alarm(2) of a program that became this process by exec. SIGHUP: the terminal of
        // the session that this process leads was closed.
        None => got.signal == libc::SIGALRM || got.signal == libc::SIGHUP && child::leads_session(),
        Some(sender) => sender != std::process::id() as i32 && !family::descends(sender, child.pid),
    }
}
