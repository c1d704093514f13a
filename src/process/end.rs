//! How a process ends, as its report and its recording give it.

/// How the process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Exit,
    UnderscoreExit,
    Exec,
    /// A limit aborted the process.
    Signal,
    /// The program called abort().
    Aborted,
    /// The program made the system call itself: `syscall(SYS_exit_group)`.
    ExitGroup,
    /// The process sent itself a signal.
    Raised,
    /// The process has not ended.
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
