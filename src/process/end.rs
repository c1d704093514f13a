//! How a process ends, as its report and its recording say.

/// How the process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Exit,
    UnderscoreExit,
    Exec,
    /// A limit aborted it.
    Signal,
    /// By abort().
    Aborted,
    /// By the system call itself: `syscall(SYS_exit_group)`.
    ExitGroup,
    /// By a signal that it sends to itself.
    Raised,
    /// It has not.
    Running,
}

impl End {
    pub fn name(self) -> &'static str {
        match self {
            End::Exit => "exit",
            End::UnderscoreExit => "_exit",
            End::Exec => "exec",
            End::Signal | End::Raised => "signal",
            End::Aborted => "abort",
            End::ExitGroup => "exit_group",
            End::Running => "running",
        }
    }
}
