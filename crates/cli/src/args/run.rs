//! The command line of `epollshim run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::FailOn;

const ABOUT: &str = "\
Start a program under the shim, and report what it did when it has ended.

epollshim stays as the parent of CMD, in the same process group and on the same
terminal: Ctrl-C, Ctrl-Z, fg and signals work as without it. However CMD ends,
SIGKILL included, one report of all its processes is printed on stderr. They
record into a private directory, which is removed afterwards, unless --record
names another. If some go on when CMD has ended (a daemon), it is kept, and the
command that reports on it is printed.

With --exec CMD takes the place of epollshim: it has its process id, and each
process reports when it exits. For process 1 of a container, and supervisors.

Every option is read before CMD starts: a bad one is told in one line, and
nothing is started. Each flag under Options of the library sets the variable of
the same name in CMD's environment (--report-format: EPOLLSHIM_REPORT_FORMAT),
over one that is set. Without --exec, EPOLLSHIM_CENSUS is 1 unless it is set.";

const EXAMPLES: &str = "\
Exit status: 2 for an error of use, 126 where CMD cannot be executed, 127 where
there is no such CMD; else that of CMD, or 1 where it was 0 and --fail-on names
what was found. If a signal ended CMD, the same signal ends epollshim: a shell
shows 128+N.

Library: libepollshim.so is looked for beside this command, in ../lib, in
../lib64, in ../lib/x86_64-linux-gnu, and in ../release (a build tree).

Examples:
  epollshim run -- redis-server --port 7000
  epollshim run --fail-on error,fd-leak -o report.txt -- ./test
  epollshim run --record rec -- ./app       keeps the recordings
  epollshim run --report report.%p.json --report-format json -- nginx
  epollshim run --limit instances=8 --limit watches=1000 -- ./app
  epollshim run --inject epoll_create1:error=EMFILE:when=3 -- ./app
  epollshim run --log stderr --log-filter failed,slow=10ms -- ./app";

const LIBRARY: &str = "Options of the library";

#[derive(Args, Debug, Default)]
#[command(about = "Start a program under the shim, and report what it did", long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
#[command(override_usage = "epollshim run [FLAGS] [--] CMD [ARGUMENT]...")]
pub struct Run {
    /// What the report is written as: text, json, html, perfetto, prometheus
    /// or junit, as by epollshim report
    #[arg(
        long,
        value_parser = clap::builder::PossibleValuesParser::new(epollshim_recording::Format::ALL.map(|format| format.name())),
        hide_possible_values = true,
        value_name = "FORMAT",
        conflicts_with = "exec",
        verbatim_doc_comment
    )]
    pub format: Option<String>,
    /// The file to which the report is written, whole or not at all; - is
    /// stdout. Without it: stderr
    #[arg(long, short, value_name = "FILE", conflicts_with = "exec", verbatim_doc_comment)]
    pub output: Option<PathBuf>,
    /// Exit with 1, where CMD exits with 0, if one of these was found: ids,
    /// or error, warning, all; or if something could not be recorded
    #[arg(
        long,
        value_name = "ID,...",
        value_delimiter = ',',
        value_parser = FailOn::parse,
        conflicts_with = "exec",
        verbatim_doc_comment
    )]
    pub fail_on: Vec<FailOn>,
    /// A directory of debug files by build id, beside /usr/lib/debug. May be
    /// given several times
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "exec", verbatim_doc_comment)]
    pub debug: Vec<PathBuf>,
    /// Let CMD take the place of epollshim, which does not stay as its parent
    #[arg(long)]
    pub exec: bool,
    /// The library to use
    #[arg(long, value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// Do not warn of what the shim will not see of CMD (check says why)
    #[arg(long, short)]
    pub quiet: bool,
    /// Where processes write reports of their own when they exit: none for
    /// no report at all, - (stdout), or a file to which each is added (%p:
    /// pid, %e: program, %t: time of load, %%: a %), besides the one report
    /// of all. stderr, with --exec: each process reports there
    #[arg(long, value_name = "WHERE", help_heading = LIBRARY, verbatim_doc_comment)]
    pub report: Option<OsString>,
    /// Such reports as text, or as json: a line a process
    #[arg(long, help_heading = LIBRARY, value_name = "FORMAT")]
    pub report_format: Option<OsString>,
    /// Refuse what exceeds a limit: instances=8,watches=1000,memory=1M,...
    /// May be given several times
    #[arg(long, help_heading = LIBRARY, value_name = "LIMITS", verbatim_doc_comment)]
    pub limit: Vec<OsString>,
    /// Inject faults, in the words of strace -e inject= and some more:
    /// epoll_wait:error=EINTR:when=3;... May be given several times
    #[arg(long, help_heading = LIBRARY, value_name = "RULES", verbatim_doc_comment)]
    pub inject: Vec<OsString>,
    /// Allow faults that no kernel gives
    #[arg(long, help_heading = LIBRARY, value_name = "0|1", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub inject_impossible: Option<OsString>,
    /// Write a line for each fault to a file named as for --report, for
    /// --inject-replay
    #[arg(long, help_heading = LIBRARY, value_name = "FILE", verbatim_doc_comment)]
    pub inject_log: Option<OsString>,
    /// Inject what a file of --inject-log says: the same faults on the same
    /// calls, whatever the chances and the seed are
    #[arg(long, help_heading = LIBRARY, value_name = "FILE", verbatim_doc_comment)]
    pub inject_replay: Option<OsString>,
    /// The directory that processes share to count user- limits together
    #[arg(long, help_heading = LIBRARY, value_name = "DIRECTORY")]
    pub session: Option<OsString>,
    /// The seed of every random choice; without one it is drawn, and shown in
    /// the report
    #[arg(long, help_heading = LIBRARY, value_name = "NUMBER", verbatim_doc_comment)]
    pub seed: Option<OsString>,
    /// Write a line a call to stderr, or to a file named as for --report
    #[arg(long, help_heading = LIBRARY, value_name = "WHERE")]
    pub log: Option<OsString>,
    /// The log as text, which reads like strace, or as json: JSON Lines
    #[arg(long, help_heading = LIBRARY, value_name = "FORMAT")]
    pub log_format: Option<OsString>,
    /// The time before each line of text: none, wall (date and time of day)
    /// or relative (seconds since the process began)
    #[arg(long, help_heading = LIBRARY, value_name = "TIME", verbatim_doc_comment)]
    pub log_time: Option<OsString>,
    /// Which calls are logged: names of calls, failed, injected, limited,
    /// slow=TIME, epfd=N, fd=N
    #[arg(long, help_heading = LIBRARY, value_name = "WORDS", verbatim_doc_comment)]
    pub log_filter: Option<OsString>,
    /// Record into a directory, a file a process, which stay there: what is
    /// counted, and the last calls of each thread, whatever ends it
    #[arg(long, help_heading = LIBRARY, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub record: Option<OsString>,
    /// How many calls of each thread a recording holds (1024); full: all,
    /// as far as --record-max and the disk allow
    #[arg(long, help_heading = LIBRARY, value_name = "NUMBER|full", verbatim_doc_comment)]
    pub record_ring: Option<OsString>,
    /// The size up to which a full recording grows: 64K to 64G (1G)
    #[arg(long, help_heading = LIBRARY, value_name = "SIZE")]
    pub record_max: Option<OsString>,
    /// Do not report the findings that a file names, in lines such as
    /// leak:libfoo.so
    #[arg(long, help_heading = LIBRARY, value_name = "FILE", verbatim_doc_comment)]
    pub suppressions: Option<OsString>,
    /// Follow every descriptor from the call that makes it to the one that
    /// closes it: leaks, double closes, what reaches other programs. On
    /// without --exec; --census=0 switches it off
    #[arg(
        long,
        help_heading = LIBRARY,
        value_name = "0|1",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        verbatim_doc_comment
    )]
    pub census: Option<OsString>,
    /// Keep so many callers of each instance, interest and descriptor made or
    /// closed, and of each finding (0 to 64)
    #[arg(long, help_heading = LIBRARY, value_name = "NUMBER", verbatim_doc_comment)]
    pub stacks: Option<OsString>,
    /// Act in programs of these names alone, and only forward in others:
    /// nginx,redis-server
    #[arg(long, help_heading = LIBRARY, value_name = "NAMES", verbatim_doc_comment)]
    pub only: Option<OsString>,
    /// What a bad option does: exit, or ignore: say so, and run CMD without
    /// the shim
    #[arg(long, help_heading = LIBRARY, value_name = "WORD", verbatim_doc_comment)]
    pub on_bad_config: Option<OsString>,
    /// The program, and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}
