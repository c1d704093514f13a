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
    /// By a limit.
    Abort,
    /// By `abort()`.
    Aborted,
    /// By `syscall(SYS_exit_group)`.
    ExitGroup,
    /// By a signal that it sent to itself.
    Raised,
    /// A number that this version does not know.
    Other(u64),
}

impl End {
    /// Whether a process that still has its recording mapped is at work. (What is noted before an exec, or before a signal, stays
    /// where the exec fails or the signal does not come: nothing of ours comes behind it.)
    pub fn is_open(self) -> bool {
        matches!(self, End::NotYet | End::Exec | End::Raised)
    }

    /// Whether the library has judged what it judges at an end.
    pub fn is_judged(self) -> bool {
        self != End::NotYet
    }
}

impl Process {
    /// How it ended, as the schema spells it.
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

    /// The same for people.
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

    /// The signal that ended it, where that is known: `SIGSEGV`, or `signal 71` of one that has no name.
    pub fn killed_by(&self) -> Option<String> {
        let number = match self.header.end {
            End::Abort => libc::SIGABRT as u8,
            End::NotYet if !self.runs => self.signal?,
            _ => return None,
        };
        Some(signal::name(number).map_or_else(|| format!("signal {number}"), str::to_owned))
    }

    /// Whether it is known when it ended. Otherwise [`Process::duration`] is the least that it can have run. A killed
    /// process notes nothing; its parent knows ([`Process::signal`]).
    pub fn end_is_known(&self) -> bool {
        self.header.end != End::NotYet || self.runs || self.signal.is_some()
    }

    /// Whether it went on for long after what it noted as its end: an exec that failed, a signal that did not come. (An exec that
    /// succeeds takes the other threads with it; what they do meanwhile is no proof.)
    pub fn has_outlived_its_exec(&self) -> bool {
        const WHILE: u64 = 1_000_000_000;
        matches!(self.header.end, End::Exec | End::Raised) && self.last_seen() > self.header.ended.saturating_add(WHILE)
    }
}
