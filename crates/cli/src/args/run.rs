//! The command line of `epollshim run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::FailOn;

const ABOUT: &str = "\
Run a program with libepollshim.so preloaded, and report what it did.

epollshim stays as the parent of CMD. Ctrl-C, Ctrl-Z, fg and signals work as
they do without epollshim.

When CMD has ended, one report on all its processes is printed on stderr, also
if CMD crashed or was killed by SIGKILL.

The processes record into a private directory, which is removed after the
report. --record DIRECTORY keeps the recordings. If processes are still running
when CMD has ended (a daemon), the private directory is kept, and the command
that reports on it is printed.

With --exec, CMD replaces epollshim and keeps its process id. Each process
reports when it exits. Use it for process 1 of a container and for supervisors.

All options are checked before CMD starts. If one is bad, CMD is not started.

Each flag under \"Options of the library\" sets a variable in the environment of
CMD: --report-format sets EPOLLSHIM_REPORT_FORMAT. A flag overrides a variable
that is set already. Without --exec, EPOLLSHIM_CENSUS is 1 unless it is set.";

const EXAMPLES: &str = "\
Exit status:
  N      CMD exited with N
  128+N  signal N ended CMD; epollshim ends by the same signal
  1      CMD exited with 0, and --fail-on names a finding, or something
         could not be recorded
  2      usage error; or CMD exited with 0, and the report was not written
  126    CMD cannot be executed
  127    CMD was not found

Library: libepollshim.so is searched for in the directory of this command, then
in ../lib, ../lib64, ../lib/x86_64-linux-gnu, ../lib/epollshim (a package), and
../release (a build tree).

Examples:
  epollshim run -- redis-server --port 7000
  epollshim run --fail-on error,fd-leak -o report.txt -- ./test
  epollshim run --inject epoll_create1:error=EMFILE:when=3 -- ./app";

const LIBRARY: &str = "Options of the library";

#[derive(Args, Debug, Default)]
#[command(about = "Run a program under the shim, and report what it did", long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
#[command(override_usage = "epollshim run [FLAGS] [--] CMD [ARGUMENT]...")]
pub struct Run {
    /// Write the report in this format: text, json, html, perfetto,
    /// prometheus or junit
    #[arg(
        long,
        value_parser = clap::builder::PossibleValuesParser::new(epollshim_recording::Format::ALL.map(|format| format.name())),
        hide_possible_values = true,
        value_name = "FORMAT",
        conflicts_with = "exec",
        verbatim_doc_comment
    )]
    pub format: Option<String>,
    /// Write the report to FILE; - is stdout. Default: stderr. The file is
    /// written completely or not at all
    #[arg(long, short, value_name = "FILE", conflicts_with = "exec", verbatim_doc_comment)]
    pub output: Option<PathBuf>,
    /// Exit with 1 if CMD exits with 0 and one of these was found: ids,
    /// error, warning or all. Also if something could not be recorded. An id
    /// counts from severity warning up: fd-leak:info counts any, and all
    /// counts every finding, info too
    #[arg(
        long,
        value_name = "ID[:SEVERITY],...",
        value_delimiter = ',',
        value_parser = FailOn::parse,
        conflicts_with = "exec",
        verbatim_doc_comment
    )]
    pub fail_on: Vec<FailOn>,
    /// Search DIRECTORY for debug files by build id, besides /usr/lib/debug.
    /// May be repeated
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "exec", verbatim_doc_comment)]
    pub debug: Vec<PathBuf>,
    /// Replace epollshim by CMD instead of staying as its parent
    #[arg(long)]
    pub exec: bool,
    /// Use this library
    #[arg(long, value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// Do not warn about what the shim cannot see of CMD
    #[arg(long, short)]
    pub quiet: bool,
    /// Append a report of each process to this file when it exits: FILE, or -
    /// for stdout. In FILE, %p is the process id, %e the program, %t the time
    /// of load, %% a percent sign. none: write no report at all, not even the
    /// one on all processes. Default, and only with --exec: stderr
    #[arg(long, value_name = "WHERE", help_heading = LIBRARY, verbatim_doc_comment)]
    pub report: Option<OsString>,
    /// Write the reports of --report as text, or as json (one line per
    /// process)
    #[arg(long, help_heading = LIBRARY, value_name = "FORMAT", verbatim_doc_comment)]
    pub report_format: Option<OsString>,
    /// Refuse calls that exceed a limit:
    /// instances=8,watches=1000,memory=1M,... May be repeated
    #[arg(long, help_heading = LIBRARY, value_name = "LIMITS", verbatim_doc_comment)]
    pub limit: Vec<OsString>,
    /// Inject faults, in the syntax of strace -e inject= with extensions:
    /// epoll_wait:error=EINTR:when=3;... May be repeated
    #[arg(long, help_heading = LIBRARY, value_name = "RULES", verbatim_doc_comment)]
    pub inject: Vec<OsString>,
    /// Allow faults that no kernel produces
    #[arg(long, help_heading = LIBRARY, value_name = "0|1", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub inject_impossible: Option<OsString>,
    /// Append one line per fault to FILE, named as for --report; see
    /// --inject-replay
    #[arg(long, help_heading = LIBRARY, value_name = "FILE", verbatim_doc_comment)]
    pub inject_log: Option<OsString>,
    /// Inject the faults that FILE lists, on the same calls. FILE is the
    /// output of --inject-log. Probabilities and the seed are ignored
    #[arg(long, help_heading = LIBRARY, value_name = "FILE", verbatim_doc_comment)]
    pub inject_replay: Option<OsString>,
    /// Share the counts of user- limits through this directory
    #[arg(long, help_heading = LIBRARY, value_name = "DIRECTORY")]
    pub session: Option<OsString>,
    /// Seed the random choices. Default: drawn, and shown in the report
    #[arg(long, help_heading = LIBRARY, value_name = "NUMBER", verbatim_doc_comment)]
    pub seed: Option<OsString>,
    /// Write one line per call to stderr, or to a file named as for --report
    #[arg(long, help_heading = LIBRARY, value_name = "WHERE")]
    pub log: Option<OsString>,
    /// Write the log as text, which reads like strace, or as json (JSON
    /// Lines)
    #[arg(long, help_heading = LIBRARY, value_name = "FORMAT", verbatim_doc_comment)]
    pub log_format: Option<OsString>,
    /// Begin each line of text with this time: none, wall (date and time of
    /// day) or relative (seconds since the process started)
    #[arg(long, help_heading = LIBRARY, value_name = "TIME", verbatim_doc_comment)]
    pub log_time: Option<OsString>,
    /// Log only these calls: names of functions, failed, injected, limited,
    /// slow=TIME, epfd=N, fd=N
    #[arg(long, help_heading = LIBRARY, value_name = "WORDS", verbatim_doc_comment)]
    pub log_filter: Option<OsString>,
    /// Record into DIRECTORY, one file per process, and keep the files: all
    /// counts, and the last calls of each thread. They survive SIGKILL
    #[arg(long, help_heading = LIBRARY, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub record: Option<OsString>,
    /// Keep this many calls of each thread in a recording; full: all, as far
    /// as --record-max and the disk allow. Default: 1024
    #[arg(long, help_heading = LIBRARY, value_name = "NUMBER|full", verbatim_doc_comment)]
    pub record_ring: Option<OsString>,
    /// Let a full recording grow to this size, from 64K to 64G. Default: 1G
    #[arg(long, help_heading = LIBRARY, value_name = "SIZE")]
    pub record_max: Option<OsString>,
    /// Do not report the findings that FILE lists, in lines such as
    /// leak:libfoo.so
    #[arg(long, help_heading = LIBRARY, value_name = "FILE", verbatim_doc_comment)]
    pub suppressions: Option<OsString>,
    /// Follow every descriptor from its creation to its close: leaks, double
    /// closes, descriptors that other programs inherit. Default: 1; with
    /// --exec: 0. --census=0 turns it off
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
    /// Keep this many callers (0 to 64) of each call that makes or closes an
    /// instance, interest or descriptor, and of each finding
    #[arg(long, help_heading = LIBRARY, value_name = "NUMBER", verbatim_doc_comment)]
    pub stacks: Option<OsString>,
    /// Act only in programs of these names: nginx,redis-server. In all others
    /// calls are passed on
    #[arg(long, help_heading = LIBRARY, value_name = "NAMES", verbatim_doc_comment)]
    pub only: Option<OsString>,
    /// What a bad option does: exit, or ignore (print the error, and run CMD
    /// without the shim)
    #[arg(long, help_heading = LIBRARY, value_name = "WORD", verbatim_doc_comment)]
    pub on_bad_config: Option<OsString>,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}
