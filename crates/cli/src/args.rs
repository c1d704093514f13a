//! What the command line looks like, and what is said of a wrong one: one line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::suggest::nearest;

use crate::Failure;
use crate::text::printable;

const ABOUT: &str = "Shows, limits and breaks the epoll calls of a program that nobody will change";

#[derive(Parser, Debug)]
#[command(name = "epollshim", version, about = ABOUT, after_help = EXAMPLES)]
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
  epollshim top rec                         watches those that still run
  epollshim check ./app                     what would the shim see of it?
  epollshim explain ghost                   what does that finding mean?
  epollshim ctl 123 inject epoll_ctl:error=ENOSPC
                                            steers a process that is recorded

Exit status: 2 for an error of use, which is told in one line on stderr; else
that of the command.

`epollshim COMMAND --help` says more.";

#[derive(Subcommand, Debug)]
enum Command {
    Run(Box<Run>),
    Report(Report),
    Top(Top),
    Check(Check),
    Explain(Explain),
    Ctl(Ctl),
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
    /// Do not warn where the shim will not act in CMD (check says why)
    #[arg(long, short)]
    pub quiet: bool,
    /// Where processes write reports of their own when they exit: none for
    /// no report at all, or a file to which each is added (%p: pid, %e:
    /// program, %t: time of load, %%: a %), besides the one report of all.
    /// stderr, with --exec: each process reports there
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
    /// Keep so many callers of each instance, interest and descriptor made
    /// (0 to 64)
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
Tell what is in recordings (epollshim run --record DIRECTORY): of programs that
ended, were killed, or still run. All processes of a directory are told, and all
together.

A recording that is damaged is told as far as it can be read, and marked.";

const REPORT_EXAMPLES: &str = "\
Exit status: 0; 1 if something was found that --fail-on names, if a recording
could not be read whole (truncated, not readable), or, with --fail-on, if one is
PARTIAL; 2 for an error of use (no recording there, a file that cannot be
written).

Formats: text; json (epollshim.report/1); html: one page, with plots, that needs
nothing else; perfetto: for ui.perfetto.dev, a track a thread; prometheus: for
node_exporter's textfile collector; junit: for CI servers, a suite a process, a
test case a kind of finding, which fails for errors and warnings.

Examples:
  epollshim run --record rec -- nginx
  epollshim report rec
  epollshim report rec --format html -o report.html
  epollshim report rec --format json | jq '.merged.calls'
  epollshim report rec --fail-on error,leak --suppressions known.supp";

#[derive(Args, Debug)]
#[command(about = "Tell what is in recordings")]
#[command(long_about = ABOUT_REPORT, after_help = REPORT_EXAMPLES)]
#[command(next_line_help = true)]
pub struct Report {
    /// What the report is written as
    #[arg(
        long,
        default_value = "text",
        value_parser = ["text", "json", "html", "perfetto", "prometheus", "junit"],
        hide_possible_values = true,
        value_name = "text|json|html|perfetto|prometheus|junit"
    )]
    pub format: String,
    /// The file to write: whole, or not at all. Without it: stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A directory of debug files by build id (.build-id/xx/yyyy.debug),
    /// beside /usr/lib/debug. May be given several times
    #[arg(long, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub debug: Vec<PathBuf>,
    /// Exit with 1 if one of these was found: ids, or error, warning, all
    #[arg(long, value_name = "ID,...", value_delimiter = ',', value_parser = FailOn::parse)]
    pub fail_on: Vec<FailOn>,
    /// Do not tell the findings that a file names, in lines such as
    /// leak:libfoo.so. May be given several times
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub suppressions: Vec<PathBuf>,
    /// A directory of recordings, or one of them
    #[arg(value_name = "DIR|FILE")]
    pub path: PathBuf,
}

/// What `--fail-on` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailOn {
    /// A kind of finding, of whatever severity.
    Id(Id),
    /// All of this severity or a higher one.
    Severity(Severity),
}

impl FailOn {
    fn parse(word: &str) -> Result<FailOn, String> {
        match word {
            "error" => Ok(FailOn::Severity(Severity::Error)),
            "warning" => Ok(FailOn::Severity(Severity::Warning)),
            "all" => Ok(FailOn::Severity(Severity::Info)),
            _ => Id::named(word).map(FailOn::Id).ok_or_else(|| {
                let known = Id::ALL.iter().map(|id| id.name()).chain(["error", "warning", "all"]);
                match nearest(word, known) {
                    Some(known) => format!("there is no finding of that name: did you mean {known}?"),
                    None => "there is no finding of that name (epollshim explain lists them)".into(),
                }
            }),
        }
    }

    #[must_use]
    pub fn names(self, finding: &Finding) -> bool {
        match self {
            FailOn::Id(id) => finding.id == id,
            FailOn::Severity(severity) => finding.severity >= severity,
        }
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

What a program loads while it runs (dlopen), and the programs that it starts,
cannot be known from its file.";

const CHECK_EXAMPLES: &str = "\
Exit status: 0 seen, 1 partly or not seen, 2 an error of use (no such file, not
a program, no permission).

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

const ABOUT_EXPLAIN: &str = "\
Say what a finding of the report means, what it costs, and how to mend it.
Without an ID: list all findings, a line each.";

const EXPLAIN_EXAMPLES: &str = "\
Exit status: 0, or 2 for a finding that there is none of.

Examples:
  epollshim explain
  epollshim explain ghost | less";

#[derive(Args, Debug)]
#[command(about = "Say what a finding means, and how to mend it")]
#[command(long_about = ABOUT_EXPLAIN, after_help = EXPLAIN_EXAMPLES)]
#[command(next_line_help = true)]
pub struct Explain {
    /// Findings, as the report names them
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
}

const ABOUT_CTL: &str = "\
Steer a running process that keeps a recording (epollshim run --record): arm
faults and limits, take them away, or take a report of it. Without an order:
status.

The process finds the request as one of its epoll calls returns, and is neither
stopped nor signalled. One that waits finds it when that wait ends: until then
the request stands, and further orders are added to it. Only its own user may
steer it, and root.";

const CTL_EXAMPLES: &str = "\
Exit status: 0 done; 1 refused by the process, it ended before, or its recording
was truncated, replaced (of snapshot) or overwritten meanwhile; 2 an error of
use (no such process, no recording, another user's, bad rules); 3 no call has
returned in time: the request stands (of status and snapshot: is withdrawn).

Examples:
  epollshim ctl $(pidof redis-server) inject epoll_ctl:error=ENOSPC:op=ADD
  epollshim ctl 123 inject --replace 'epoll_wait:error=EINTR:prob=0.1'
  epollshim ctl 123 limit instances=8,watches=1000
  epollshim ctl 123                         what is armed, and what it did
  epollshim ctl 123 off                     all faults and limits away
  epollshim ctl 123 snapshot --format html -o now.html";

#[derive(Args, Debug)]
#[command(about = "Steer a running process: faults, limits, a report of it")]
#[command(long_about = ABOUT_CTL, after_help = CTL_EXAMPLES)]
#[command(override_usage = "epollshim ctl [--wait SECONDS] PID [ORDER]")]
#[command(subcommand_value_name = "ORDER", subcommand_help_heading = "Orders", disable_help_subcommand = true)]
pub struct Ctl {
    /// How long to wait for the process's answer (5)
    #[arg(long, value_name = "SECONDS", default_value = "5", hide_default_value = true, global = true)]
    pub wait: String,
    /// The process
    #[arg(value_name = "PID")]
    pub pid: OsString,
    #[command(subcommand)]
    pub order: Option<Order>,
}

#[derive(Subcommand, Debug)]
pub enum Order {
    /// Tell what is armed, and how often it struck
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
    Top(Top),
    Check(Check),
    Explain(Explain),
    Ctl(Ctl),
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
        Ok(Cli { command: Command::Top(asked) }) => Ok(Asked::Top(asked)),
        Ok(Cli { command: Command::Check(asked) }) => Ok(Asked::Check(asked)),
        Ok(Cli { command: Command::Explain(asked) }) => Ok(Asked::Explain(asked)),
        Ok(Cli { command: Command::Ctl(asked) }) => Ok(Asked::Ctl(asked)),
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
