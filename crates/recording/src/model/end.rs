//! How a process ended.

use epollshim_format::signal;

use super::Process;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    #[default]
    NotYet,
    Exit,
    UnderscoreExit,
    Exec,
    /// Aborted by a limit.
    Abort,
    /// Ended by `abort()`.
    Aborted,
    /// Ended by `syscall(SYS_exit_group)`.
    ExitGroup,
    /// Ended by a signal that it sent to itself.
    Raised,
    /// A number that this version does not know.
    Other(u64),
}

impl End {
    /// Whether a process with this end is still running if it has its recording mapped. An exec or
    /// a signal is noted before it happens. The note stays if the exec then fails or the signal
    /// does not end the process, because the library does not run after it.
    pub fn is_open(self) -> bool {
        matches!(self, End::NotYet | End::Exec | End::Raised)
    }

    /// Whether the library itself has evaluated the findings that it evaluates at the end of a
    /// process.
    pub fn is_judged(self) -> bool {
        self != End::NotYet
    }
}

impl Process {
    /// How the process ended, as in the JSON schema.
    pub fn end(&self) -> &'static str {
        match self.header.end {
            End::Exit => "exit",
            End::UnderscoreExit => "_exit",
            End::Exec => "exec",
            End::Abort | End::Raised | End::Other(_) => "signal",
            End::Aborted => "abort",
            End::ExitGroup => "exit_group",
            End::NotYet if self.runs => "running",
            End::NotYet => "signal",
        }
    }

    /// How the process ended, as text for people.
    pub fn ended(&self) -> String {
        match self.header.end {
            End::Exit => "ended by exit",
            End::UnderscoreExit => "ended by _exit",
            End::Exec => "replaced itself (exec)",
            End::Abort => "aborted by a limit",
            End::Aborted => "ended by abort",
            End::ExitGroup => "ended by syscall(SYS_exit_group)",
            End::Raised => "ended by a signal that it sent to itself",
            End::Other(_) => "ended in a way unknown to this version",
            End::NotYet if self.runs => "still running",
            End::NotYet => match self.killed_by() {
                Some(signal) => return format!("killed by {signal}"),
                None => "killed",
            },
        }
        .to_owned()
    }

    /// The signal that ended it, if that is known: `SIGSEGV`, or `signal 71` if it has no name.
    pub fn killed_by(&self) -> Option<String> {
        let number = match self.header.end {
            End::Abort => libc::SIGABRT as u8,
            End::NotYet if !self.runs => self.signal?,
            _ => return None,
        };
        Some(signal::name(number).map_or_else(|| format!("signal {number}"), str::to_owned))
    }

    /// Whether the time of its end is known. Otherwise [`Process::duration`] is the least time that
    /// it can have run. A killed process cannot note its end; only its parent knows
    /// ([`Process::signal`]).
    pub fn end_is_known(&self) -> bool {
        self.header.end != End::NotYet || self.runs || self.signal.is_some()
    }

    /// Whether it ran for more than a second after the end that it noted, because the exec failed
    /// or the signal did not end it. Other threads may run for a short time until a successful exec
    /// ends them, so activity right after the note proves nothing.
    pub fn has_outlived_its_exec(&self) -> bool {
        const WHILE: u64 = 1_000_000_000;
        matches!(self.header.end, End::Exec | End::Raised) && self.last_seen() > self.header.ended.saturating_add(WHILE)
    }
}
