//! What the command line looks like, and what is said of a wrong one: one line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::suggest::nearest;

use crate::Failure;
use crate::text::printable;

mod sweep;

pub use sweep::{Sweep, SweepFormat};

const ABOUT: &str = "Shows, limits and breaks the epoll calls of a program that nobody will change";

/// The version and, where it is known, the commit (build.rs).
const VERSION: &str = env!("VERSION_AND_COMMIT");

#[derive(Parser, Debug)]
#[command(name = "epollshim", version = VERSION, about = ABOUT, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  epollshim run -- redis-server             reports when it has ended
  epollshim run --inject epoll_wait:error=EINTR:when=3 -- ./app
  epollshim run --record rec -- ./app       keeps its recordings
  epollshim report rec                      tells what was recorded
  epollshim diff before after               what is new, gone, or more
  epollshim top rec                         watches those that still run
  epollshim check ./app                     what would the shim see of it?
  epollshim inspect 123                     why does it hang, burn or leak?
  epollshim explain ghost                   what does that finding mean?
  epollshim sweep -- ./app                  which failures does it not survive?
  epollshim ctl 123 inject epoll_ctl:error=ENOSPC
                                            steers a process that is recorded

Exit status: 2 for an error of use, which is told in one line on stderr; else
that of the command.

`epollshim COMMAND --help` says more.";

#[derive(Subcommand, Debug)]
enum Command {
    Run(Box<Run>),
    Report(Report),
    Diff(Diff),
    Top(Top),
    Check(Check),
    Inspect(Inspect),
    Explain(Explain),
    Ctl(Ctl),
    Sweep(Box<Sweep>),
}

const ABOUT_RUN: &str = "\
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

const RUN_EXAMPLES: &str = "\
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
#[command(about = "Start a program under the shim, and report what it did", long_about = ABOUT_RUN, after_help = RUN_EXAMPLES)]
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

const ABOUT_REPORT: &str = "\
Report what is in recordings (epollshim run --record DIRECTORY): of programs
that ended, were killed, or still run. First what was found wrong in all
processes together, then each process by itself.

A recording that is damaged is reported as far as it can be read, and marked
PARTIAL.";

const REPORT_EXAMPLES: &str = "\
Exit status: 0; 1 if something was found that --fail-on names, or if a recording
could not be read whole; with --fail-on also if a recording is PARTIAL, or there
is none: what is missing may be what --fail-on names. 2 for a usage error.

Formats: text; json (epollshim.report/1); html: one page that needs nothing
else; perfetto: for ui.perfetto.dev, a track for each thread; prometheus: for
node_exporter's textfile collector (-o NAME.prom); junit: for CI servers, a
suite for each program, a test case for each kind of finding, which fails for
errors and warnings; folded: stacks with counts, for flamegraph.pl and inferno.

Runs: a directory that two runs recorded into has the processes of both. The
report says so, and --latest takes the newest run alone. A process is of an
earlier one's run if that one is its parent, if both ran at the same time, or
if it began within a second of that run's end and has the same parent.

Examples:
  epollshim run --record rec -- nginx
  epollshim report rec
  epollshim report --latest rec old/epollshim.4711.1.rec
  epollshim report rec --format html -o report.html
  epollshim report rec --format json | jq '.merged.calls'
  epollshim report rec --format folded | flamegraph.pl > stacks.svg
  epollshim report rec --fail-on error,leak --suppressions known.supp";

#[derive(Args, Debug)]
#[command(about = "Report what is in recordings")]
#[command(long_about = ABOUT_REPORT, after_help = REPORT_EXAMPLES)]
#[command(next_line_help = true)]
pub struct Report {
    /// What the report is written as
    #[arg(
        long,
        default_value = "text",
        value_parser = ["text", "json", "html", "perfetto", "prometheus", "junit", "folded"],
        hide_possible_values = true,
        value_name = "text|json|html|perfetto|prometheus|junit|folded"
    )]
    pub format: String,
    /// The file to write: whole, or not at all. Without it: stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A directory of debug files by build id (.build-id/xx/yyyy.debug),
    /// beside /usr/lib/debug. May be given several times
    #[arg(long, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub debug: Vec<PathBuf>,
    /// Exit with 1 if one of these was found: ids, or error, warning, all.
    /// An id counts from warning up; leak:info and leak:error say otherwise
    #[arg(
        long,
        value_name = "ID[:SEVERITY],...",
        value_delimiter = ',',
        value_parser = FailOn::parse,
        verbatim_doc_comment
    )]
    pub fail_on: Vec<FailOn>,
    /// Leave out the findings that a file names, in lines such as
    /// leak:libfoo.so. May be given several times
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub suppressions: Vec<PathBuf>,
    /// Of a directory that was used by several runs: the newest run alone
    #[arg(long)]
    pub latest: bool,
    /// Directories of recordings, and recordings
    #[arg(value_name = "DIR|FILE", required = true)]
    pub paths: Vec<PathBuf>,
}

/// What `--fail-on` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailOn {
    /// A kind of finding, of this severity or a higher one.
    Id(Id, Severity),
    /// All of this severity or a higher one.
    Severity(Severity),
}

impl FailOn {
    fn parse(text: &str) -> Result<FailOn, String> {
        if let Some(severity) = severity(text) {
            return Ok(FailOn::Severity(severity));
        }
        let (word, least) = match text.split_once(':') {
            None => (text, Severity::Warning),
            Some((word, least)) => (word, severity(least).ok_or("a severity is info, warning or error")?),
        };
        Id::named(word).map(|id| FailOn::Id(id, least)).ok_or_else(|| {
            let known = Id::ALL.iter().map(|id| id.name()).chain(["error", "warning", "all"]);
            match nearest(word, known) {
                Some(known) => format!("there is no finding of that name: did you mean {known}?"),
                None => "there is no finding of that name (epollshim explain lists them)".into(),
            }
        })
    }

    #[must_use]
    pub fn names(self, finding: &Finding) -> bool {
        match self {
            FailOn::Id(id, least) => finding.id == id && finding.severity >= least,
            FailOn::Severity(least) => finding.severity >= least,
        }
    }
}

fn severity(word: &str) -> Option<Severity> {
    match word {
        "error" => Some(Severity::Error),
        "warning" => Some(Severity::Warning),
        "info" | "all" => Some(Severity::Info),
        _ => None,
    }
}

const ABOUT_DIFF: &str = "\
Compare two recordings, or two directories of recordings: which findings,
instances, descriptors, calls and failed calls are new in B, gone, or more than
in A.

Places are compared by function and file, so that A and B may be of two builds
of a program; by object and offset where no function is known. Descriptors are
compared where both were recorded with a census (run --census).";

const DIFF_EXAMPLES: &str = "\
Exit status: 0; with --fail-on new 1 if B has a finding that A has not, or if a
recording of B is PARTIAL, could not be read, or is missing; 2 for a usage
error.

Examples:
  epollshim run --record before -- ./app-1.0
  epollshim run --record after -- ./app-1.1
  epollshim diff before after
  epollshim diff before after --fail-on new
  epollshim diff before after --format json | jq '.findings[].state'";

#[derive(Args, Debug)]
#[command(about = "Compare two recordings: what is new, gone, or more")]
#[command(long_about = ABOUT_DIFF, after_help = DIFF_EXAMPLES)]
#[command(next_line_help = true)]
pub struct Diff {
    /// Text for people, or one JSON object (schema epollshim.diff/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// The file to write: whole, or not at all. Without it: stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A directory of debug files by build id, as for report
    #[arg(long, value_name = "DIRECTORY")]
    pub debug: Vec<PathBuf>,
    /// Exit with 1 if B has findings that A has not: warnings and errors;
    /// new:info, new:error: from this severity up
    #[arg(long, value_name = "new[:SEVERITY]", value_parser = FailOnNew::parse, verbatim_doc_comment)]
    pub fail_on: Option<FailOnNew>,
    /// Leave out the findings that a file names. May be given several times
    #[arg(long, value_name = "FILE")]
    pub suppressions: Vec<PathBuf>,
    /// Of a directory that was used by several runs: the newest run alone
    #[arg(long)]
    pub latest: bool,
    /// What was recorded before: a directory of recordings, or one of them
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// What was recorded after
    #[arg(value_name = "B")]
    pub b: PathBuf,
}

/// From which severity on a new finding fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailOnNew(pub Severity);

impl FailOnNew {
    fn parse(text: &str) -> Result<FailOnNew, String> {
        let least = match text.strip_prefix("new").map(|rest| (rest, rest.strip_prefix(':'))) {
            Some(("", _)) => Some(Severity::Warning),
            Some((_, Some(least))) => severity(least),
            _ => None,
        };
        least.map(FailOnNew).ok_or_else(|| "it takes new, new:info, new:warning or new:error".into())
    }
}

const ABOUT_TOP: &str = "\
Watch running programs by what they do with epoll: calls, waits, events and
errors a second, how long they are blocked, what they watch; Enter shows one
program's calls and instances.

It reads the recordings that the programs write (epollshim run --record DIR) and
nothing else of them: they are not stopped, get no signal, and wait for nothing.
A word of digits is a process, any other a directory of recordings, or one of
them. (./123 is a directory.) Without any: all processes of this user that
record; root sees everybody's. Those that are started later are picked up.";

const TOP_EXAMPLES: &str = "\
Keys: ? says all. q quits, Enter opens a program and Esc closes it, s sorts by
the next column, p pauses, + and - change the interval.

Exit status: 0; with --once 1 if nothing runs that records, or if a recording of
a program that runs could not be read whole; 2 for an error of use. No colours
where NO_COLOR is set.

Examples:
  epollshim run --record rec -- nginx
  epollshim top rec
  epollshim top $(pidof redis-server)
  epollshim top --once --interval 5 | awk 'NR > 1 && $9 > 0'    calls fail
  epollshim top --once --format json | jq '.processes[].rates.calls'";

#[derive(Args, Debug)]
#[command(about = "Watch running programs by what they do with epoll")]
#[command(long_about = ABOUT_TOP, after_help = TOP_EXAMPLES)]
#[command(next_line_help = true)]
pub struct Top {
    /// Print the list once, of one interval, and end: for scripts
    #[arg(long)]
    pub once: bool,
    /// Seconds from one reading to the next: 0.1 to 3600
    #[arg(long, short = 'd', value_name = "SECONDS", default_value = "1", value_parser = crate::top::interval)]
    pub interval: std::time::Duration,
    /// What the list is sorted by: calls, waits, events, events-per-wait,
    /// empty, blocked, p99-wait, p99-work, errors, instances, watches,
    /// threads, age, pid or program
    #[arg(
        long,
        value_name = "COLUMN",
        default_value = "calls",
        value_parser = clap::builder::PossibleValuesParser::new(crate::top::sorts()),
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    pub sort: String,
    /// With --once: text, or one JSON object (schema epollshim.top/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// Processes, directories of recordings, or recordings
    #[arg(value_name = "PID|DIR")]
    pub subjects: Vec<OsString>,
}

const ABOUT_CHECK: &str = "\
Say beforehand what the shim will see of a program, and what not: from its ELF
file and those of the libraries that it needs, without starting it. The first
line is the verdict.

A word of digits is a process id: then what its memory has mapped is looked at,
and its epoll instances, their interests and its descriptors are listed, without
stopping it. (./123 is a file.)

What a program loads while it runs (dlopen), and the programs that a script of
a shell starts, cannot be known from its file: where that decides, the verdict
is \"unknown\". A script whose last line is exec PROGRAM is followed.";

const CHECK_EXAMPLES: &str = "\
Exit status: 0 seen, 1 partly or not seen or unknown, 2 an error of use (no such
file, not a program, no permission).

Examples:
  epollshim check redis-server
  epollshim check --format json ./app | jq -r '.verdict, .reasons[].text'
  epollshim check $(pidof -s nginx)";

#[derive(Args, Debug)]
#[command(about = "Say beforehand what the shim will see of a program, and what not")]
#[command(long_about = ABOUT_CHECK, after_help = CHECK_EXAMPLES)]
#[command(next_line_help = true)]
pub struct Check {
    /// Text for people, or one JSON object (schema epollshim.check/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// A program (a path, or a name that PATH leads to), or a process id
    #[arg(value_name = "BINARY|PID")]
    pub subject: OsString,
}

const ABOUT_INSPECT: &str = "\
Look at a running process from outside: its epoll instances, what each watches
and whether that is ready now, which thread waits on which, and what is wrong.

The process needs no library of epollshim. It is not stopped, gets no signal,
and nothing in it is changed. Its descriptors are copied (pidfd_getfd), asked,
and the copies closed at once. It is looked at for a tenth of a second, or 0.3
where a thread uses up its processor: what is found is so at each look.

What may not be looked at is listed. Each process of the same user can be looked
at where kernel.yama.ptrace_scope is 0; else root and CAP_SYS_PTRACE can.";

const INSPECT_EXAMPLES: &str = "\
Findings:
  stalled     data waits, and no event will come for it: an edge-triggered
              interest that was not read until EAGAIN, or a one-shot interest
              that was not armed again, while the loop sleeps
  ghost       the descriptor of an interest is closed, or another file now
  fd-leak     TCP sockets in CLOSE_WAIT
  near-limit  few descriptors are left
  spin        a thread uses up its processor on a descriptor that stays ready

Exit status: 0; 1 if something was found that --fail-on names; 2 for a usage
error, or a process that does not exist or may not be looked at.

Examples:
  epollshim inspect $(pidof redis-server)
  epollshim inspect --fail-on warning $(pgrep nginx)
  epollshim inspect --watch=5 4711
  epollshim inspect --format json 4711 | jq '.processes[].findings'";

#[derive(Args, Debug)]
#[command(about = "Look at a running process: who waits for what, and what is wrong")]
#[command(long_about = ABOUT_INSPECT, after_help = INSPECT_EXAMPLES)]
#[command(next_line_help = true)]
pub struct Inspect {
    /// Text for people, or one JSON object (schema epollshim.inspect/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// Look again and again until the processes have ended, with so many
    /// seconds in between (1)
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = crate::inspect::interval,
        verbatim_doc_comment
    )]
    pub watch: Option<std::time::Duration>,
    /// Exit with 1 if one of these was found: ids, or error, warning, all.
    /// An id counts from warning up; ghost:info and ghost:error say otherwise
    #[arg(
        long,
        value_name = "ID[:SEVERITY],...",
        value_delimiter = ',',
        value_parser = FailOnSeen::parse,
        verbatim_doc_comment
    )]
    pub fail_on: Vec<FailOnSeen>,
    /// The processes
    #[arg(value_name = "PID", required = true)]
    pub pids: Vec<OsString>,
}

/// What `--fail-on` of `inspect` names: a kind of finding, or all, of a severity or a higher one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailOnSeen {
    pub id: Option<String>,
    pub least: Severity,
}

impl FailOnSeen {
    /// Other kinds of findings are known, and not found from outside.
    fn parse(text: &str) -> Result<FailOnSeen, String> {
        let id = text.split_once(':').map_or(text, |(id, _)| id);
        if !crate::inspect::IDS.contains(&id) {
            return Ok(match FailOn::parse(text)? {
                FailOn::Id(id, least) => FailOnSeen { id: Some(id.name().to_owned()), least },
                FailOn::Severity(least) => FailOnSeen { id: None, least },
            });
        }
        let least = match text.split_once(':') {
            None => Severity::Warning,
            Some((_, least)) => severity(least).ok_or("a severity is info, warning or error")?,
        };
        Ok(FailOnSeen { id: Some(id.to_owned()), least })
    }
}

const ABOUT_EXPLAIN: &str = "\
Say what a finding of the report means, what it costs, and how to fix it.
Without an ID: list all findings, a line each.";

const EXPLAIN_EXAMPLES: &str = "\
Output: on a terminal as wide as that, with colours unless NO_COLOR is set;
else plain text of 80 columns.

Exit status: 0, or 2 for a finding that there is none of.

Examples:
  epollshim explain
  epollshim explain ghost | less";

#[derive(Args, Debug)]
#[command(about = "Say what a finding means, and how to fix it")]
#[command(long_about = ABOUT_EXPLAIN, after_help = EXPLAIN_EXAMPLES)]
#[command(next_line_help = true)]
pub struct Explain {
    /// Findings, as the report names them
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
}

const ABOUT_CTL: &str = "\
Steer running processes that keep a recording (epollshim run --record): arm
faults and limits, take them away, or take a report of each. Without an order:
status.

The process finds the request as one of its epoll calls returns, and is neither
stopped nor signalled. One that waits finds it when that wait ends: until then
the request stands, and further orders are added to it. Only its own user may
steer it, and root.";

const CTL_EXAMPLES: &str = "\
Exit status: 0 done; 1 refused by the process, it ended before, or its recording
was truncated, overwritten or (of snapshot) replaced meanwhile; 2 a
usage error (no such process, no recording, another user's, bad rules); 3 no
call has returned in time: the request stands (of snapshot: what was recorded is
reported, not compared with the kernel). Of several processes the highest.

Examples:
  epollshim ctl $(pidof redis-server) inject epoll_ctl:error=ENOSPC:op=ADD
  epollshim ctl 123 inject --replace 'epoll_wait:error=EINTR:prob=0.1'
  epollshim ctl 123 limit instances=8,watches=1000
  epollshim ctl $(pidof nginx) off          of all workers
  epollshim ctl 123                         what is armed, and what it did
  epollshim ctl 123 off                     all faults and limits away
  epollshim ctl 123 snapshot --format html -o now.html";

#[derive(Args, Debug)]
#[command(about = "Steer a running process: faults, limits, a report of it")]
#[command(long_about = ABOUT_CTL, after_help = CTL_EXAMPLES)]
#[command(override_usage = "epollshim ctl [--wait SECONDS] PID... [ORDER]", subcommand_precedence_over_arg = true)]
#[command(subcommand_value_name = "ORDER", subcommand_help_heading = "Orders", disable_help_subcommand = true)]
pub struct Ctl {
    /// How long to wait (snapshot: 1; others: 5)
    #[arg(long, value_name = "SECONDS", global = true)]
    pub wait: Option<String>,
    /// The processes
    #[arg(value_name = "PID", required = true)]
    pub pids: Vec<OsString>,
    #[command(subcommand)]
    pub order: Option<Order>,
}

#[derive(Subcommand, Debug)]
pub enum Order {
    /// Print what is armed, and how often it fired
    Status,
    /// Arm faults behind those that are armed: the rules of run --inject
    #[command(override_usage = "epollshim ctl PID inject [--replace] RULES...")]
    Inject {
        /// In place of those that are armed
        #[arg(long)]
        replace: bool,
        /// Such as epoll_wait:error=EINTR:when=3
        #[arg(value_name = "RULES", required = true)]
        rules: Vec<OsString>,
    },
    /// Set limits in place of all that are set: those of run --limit
    #[command(override_usage = "epollshim ctl PID limit LIMITS...")]
    Limit {
        /// Such as instances=8,watches=1000
        #[arg(value_name = "LIMITS", required = true)]
        limits: Vec<OsString>,
    },
    /// Take all faults and limits away, or one of the two
    #[command(override_usage = "epollshim ctl PID off [faults|limits]")]
    Off {
        #[arg(value_name = "faults|limits", value_enum, hide_possible_values = true)]
        what: Option<Armed>,
    },
    /// Report the process as it stands, compared with the kernel's lists
    #[command(override_usage = "epollshim ctl PID snapshot [--format FORMAT] [-o FILE]")]
    Snapshot {
        /// text, json, html, perfetto or prometheus
        #[arg(
            long,
            default_value = "text",
            hide_default_value = true,
            value_parser = ["text", "json", "html", "perfetto", "prometheus"],
            hide_possible_values = true,
            value_name = "FORMAT"
        )]
        format: String,
        /// The file to write, whole or not at all; else stdout
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Armed {
    Faults,
    Limits,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Json,
}

/// What the arguments ask for.
pub enum Asked {
    Run(Box<Run>),
    Report(Report),
    Diff(Diff),
    Top(Top),
    Check(Check),
    Inspect(Inspect),
    Explain(Explain),
    Ctl(Ctl),
    Sweep(Box<Sweep>),
    /// Help or the version, asked for.
    Text(String),
    /// Help, where nothing was asked for.
    Help(String),
}

/// The command line as clap has it, for the manual pages and the completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
    match Cli::try_parse_from(words) {
        Ok(Cli { command: Command::Run(asked) }) => Ok(Asked::Run(asked)),
        Ok(Cli { command: Command::Report(asked) }) => Ok(Asked::Report(asked)),
        Ok(Cli { command: Command::Diff(asked) }) => Ok(Asked::Diff(asked)),
        Ok(Cli { command: Command::Top(asked) }) => Ok(Asked::Top(asked)),
        Ok(Cli { command: Command::Check(asked) }) => Ok(Asked::Check(asked)),
        Ok(Cli { command: Command::Inspect(asked) }) => Ok(Asked::Inspect(asked)),
        Ok(Cli { command: Command::Explain(asked) }) => Ok(Asked::Explain(asked)),
        Ok(Cli { command: Command::Ctl(asked) }) => Ok(Asked::Ctl(asked)),
        Ok(Cli { command: Command::Sweep(asked) }) => Ok(Asked::Sweep(asked)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Asked::Text(help(&error))),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(Asked::Help(help(&error))),
            _ => Err(Failure::of_use(told(&error))),
        },
    }
}

fn help(error: &clap::Error) -> String {
    format!("{}\n", error.render().to_string().trim_end())
}

/// A wrong command line in one line: what clap says in its first paragraph, and what may have been meant.
fn told(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<&str> = first.split_whitespace().collect();
    let words = words.join(" ");
    let mut line = printable(words.strip_prefix("error: ").unwrap_or(&words));
    let meant = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| match error.get(kind) {
            Some(ContextValue::String(one)) => Some(one.clone()),
            Some(ContextValue::Strings(several)) => several.first().cloned(),
            _ => None,
        });
    line.push_str("; ");
    match meant {
        Some(word) => line.push_str(&format!("did you mean {word}?")),
        None => line.push_str("epollshim --help says more"),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::command;
    use epollshim_format::options::{NAMES, PREFIX};

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_option_of_the_shim_has_a_flag_of_its_name() {
        let cli = command();
        let run =
            cli.find_subcommand("run").map(|run| run.get_arguments().filter_map(|flag| flag.get_long()).collect());
        let flags: Vec<&str> = run.unwrap_or_default();
        for name in NAMES {
            let flag = name.strip_prefix(PREFIX).unwrap_or_default().to_lowercase().replace('_', "-");
            assert!(flags.contains(&flag.as_str()), "{name}");
        }
        let own = ["shim", "quiet", "exec", "format", "output", "fail-on", "debug"];
        assert!(own.iter().all(|flag| flags.contains(flag)), "{flags:?}");
        assert_eq!(flags.len(), NAMES.len() + own.len(), "{flags:?}");
    }
}
