//! The parent while its child runs: it stops when the child stops, and passes on the signals that
//! were meant for the child.
//!
//! Both are in one process group. What a terminal sends (Ctrl-C, Ctrl-\, Ctrl-Z, a new size)
//! reaches the child without the parent, which only takes it away. What kill(2) sends to the
//! parent's id is passed on; what it sends to the group (`kill %1`, timeout(1)) the child has
//! already: a [`Witness`] tells. What the child or one of its own sends is not passed on either, as
//! by sudo(8).

use std::io::Error;

use super::family;
use super::looks::Looks;
use crate::sys::child::{self, Change, Child, Got, Witness};

/// Until the child ends; how. Meanwhile it is looked at.
pub fn to_its_end(child: &Child, looks: &mut Looks) -> Result<Change, Error> {
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
                    // A group is continued as a whole. A child in another, or one that alone is
                    // stopped, is not.
                    if (!is_group_s || !child.is_in_this_group()) && family::is_stopped(child.pid) {
                        match child.change()? {
                            // It has not stopped anew since it was last looked at.
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

/// The shell that waits for this process must learn that its job has stopped, and give the terminal
/// to somebody else. A child that was stopped by SIGSTOP behind the scenes (a debugger, `kill
/// -STOP`) holds up nobody: then this process would miss the end.
fn stopped(child: &Child, signal: i32) {
    let is_job_control = matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
    if is_job_control || child.is_in_front() {
        child::stop(signal);
    }
}

fn is_for_child(child: &Child, got: &Got) -> bool {
    match got.sender {
        // alarm(2) of a program that has become this one, and the end of a terminal whose session
        // this process leads.
        None => got.signal == libc::SIGALRM || got.signal == libc::SIGHUP && child::leads_session(),
        Some(sender) => sender != std::process::id() as i32 && !family::descends(sender, child.pid),
    }
}
