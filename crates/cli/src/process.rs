//! Who a process is, by its process id.

use crate::text::printable;

/// `/proc/PID/status` (proc_pid_status(5)) of a process that has not ended.
pub struct Status {
    text: String,
}

/// Why a process id leads to no process.
#[derive(Debug, PartialEq)]
pub enum NoProcess {
    /// There is none.
    Absent,
    /// It is the id of a thread of process `pid`, which is not its first.
    Thread { name: String, pid: u32 },
    /// Its parent has not waited for it yet.
    Ended { name: String },
}

impl Status {
    pub fn of(pid: u32) -> Result<Status, NoProcess> {
        let text = std::fs::read(format!("/proc/{pid}/status")).map_err(|_| NoProcess::Absent)?;
        Status { text: String::from_utf8_lossy(&text).into_owned() }.checked(pid)
    }

    fn checked(self, pid: u32) -> Result<Status, NoProcess> {
        match self.field("Tgid").parse() {
            // It ended and was waited for while the kernel wrote (task_tgid_nr_ns in kernel/pid.c).
            Ok(0) => return Err(NoProcess::Absent),
            Ok(process) if process != pid => return Err(NoProcess::Thread { name: self.name(), pid: process }),
            _ => {}
        }
        // A first thread that ended before the others is a zombie as well.
        if self.is_zombie() && matches!(self.field("Threads"), "" | "0" | "1") {
            return Err(NoProcess::Ended { name: self.name() });
        }
        Ok(self)
    }

    /// The rest of the line that begins with `name` and a colon, or nothing.
    pub fn field(&self, name: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    }

    /// Whether its first thread has ended and others run. The kernel shows descriptors and memory
    /// of a process by its first thread, so none are shown then.
    pub fn has_lost_its_first_thread(&self) -> bool {
        self.is_zombie()
    }

    fn is_zombie(&self) -> bool {
        self.field("State").starts_with(['Z', 'X'])
    }

    /// Its name, for display.
    pub fn name(&self) -> String {
        printable(self.field("Name"))
    }
}

impl NoProcess {
    /// One line for the user, who asked for process `pid`.
    pub fn message(&self, pid: u32) -> String {
        match self {
            NoProcess::Absent => format!("there is no process {pid}"),
            NoProcess::Thread { name, pid: process } => {
                format!("{pid} is a thread of {name} (pid {process}); use that process id")
            }
            NoProcess::Ended { name } => format!("{name} (pid {pid}) has ended; its parent has not waited for it yet"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::{NoProcess, Status};

    fn checked(text: &str) -> Result<String, String> {
        let status = Status { text: text.to_owned() }.checked(7);
        status.map(|status| status.name()).map_err(|none| none.message(7))
    }

    #[test]
    fn what_is_no_process_has_a_reason() {
        let refused = |text: &str| checked(text).expect_err(text);
        assert_eq!(checked("Name:\ta b\nState:\tS (sleeping)\nTgid:\t7\nThreads:\t1\n").as_deref(), Ok("a b"));
        assert_eq!(refused("Name:\ta\nState:\tX (dead)\nTgid:\t0\n"), "there is no process 7");
        assert_eq!(refused("Name:\ta\nTgid:\t5\n"), "7 is a thread of a (pid 5); use that process id");
        let ended = "a (pid 7) has ended; its parent has not waited for it yet";
        assert_eq!(refused("Name:\ta\nState:\tZ (zombie)\nTgid:\t7\nThreads:\t1\n"), ended);
        assert_eq!(refused("Name:\ta\nState:\tZ (zombie)\nTgid:\t7\n"), ended);
        assert_eq!(checked("Name:\ta\nState:\tZ (zombie)\nTgid:\t7\nThreads:\t2\n").as_deref(), Ok("a"));
        assert_eq!(Status::of(std::process::id()).map(drop), Ok(()));
        assert_eq!(Status::of(u32::MAX).map(drop), Err(NoProcess::Absent));
    }
}
