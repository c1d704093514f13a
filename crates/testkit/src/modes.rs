//! The two configurations in which a host is tested: the default, and every option on.

use std::path::Path;
use std::process::Command;

use crate::shim;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Default,
    /// A full recording, a log, a census, call stacks, a fault that never fires, and a limit that
    /// is never reached.
    Everything,
}

pub const MODES: [Mode; 2] = [Mode::Default, Mode::Everything];

impl Mode {
    /// Preloads the library into `command`. The report goes to `directory`/report.json, one line
    /// per process; the log and the recordings go below `directory` too.
    pub fn preload<'a>(self, command: &'a mut Command, directory: &Path) -> &'a mut Command {
        command
            .env("LD_PRELOAD", shim())
            .env("EPOLLSHIM_REPORT", directory.join("report.json"))
            .env("EPOLLSHIM_REPORT_FORMAT", "json");
        if self == Mode::Everything {
            command
                .env("EPOLLSHIM_RECORD", directory.join("recordings"))
                .env("EPOLLSHIM_RECORD_RING", "full")
                .env("EPOLLSHIM_LOG", directory.join("log.%p"))
                .env("EPOLLSHIM_CENSUS", "1")
                .env("EPOLLSHIM_STACKS", "8")
                .env("EPOLLSHIM_INJECT", "epoll_ctl:error=ENOMEM:when=1000000000")
                .env("EPOLLSHIM_LIMIT", "watches=100000000");
        }
        command
    }
}
