//! How a process ends, as its report and its recording say.

/// How the process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Exit,
    UnderscoreExit,
    Exec,
    /// By `syscall(SYS_exit_group)`.
    ExitGroup,
    /// By a signal of its own: abort().
    Signal,
    /// It has not.
    Running,
}

impl End {
    pub fn name(self) -> &'static str {
        match self {
            End::Exit => "exit",
            End::UnderscoreExit => "_exit",
            End::Exec => "exec",
            End::ExitGroup => "exit_group",
            End::Signal => "signal",
            End::Running => "running",
        }
    }
}
