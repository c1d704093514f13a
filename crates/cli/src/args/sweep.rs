//! The command line of `epollshim sweep`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

const ABOUT: &str = "\
Find out which failing calls a program does not survive.

Clean runs of CMD under the library find the points: each call that can fail, by
function, call stack, and which time it was. Then CMD is run once per point, and
that one call fails as the kernel might let it fail. The result is compared with
the clean runs. A suspicious trial is run twice more. The finds are listed at
the end, each with a command line that repeats it.

A program that ends by itself is its own workload: its output and the files that
it writes must stay the same. For a server, --workload is a shell command that
uses it and exits with 0, and --ready-when says when the workload may start.

Each run has an empty directory as its working directory and TMPDIR. If the
system allows it, each run also has a network and process ids of its own.
Nothing is left behind.";

const EXAMPLES: &str = "\
Verdicts:
  finds     crash, sanitizer report, hang, spin (it is busy forever),
            deaf (it runs, and serves no client), exit 0 with lost output,
            wrong output, other process lost, abort, leak, closed twice
  survived  clean failure; same; same, with a new message (nothing else
            differs from the clean runs)
  neither   not reached: that run did not come to the call

Finds: The last line of each find repeats it, in a shell or under a debugger.
Fix the find, and sweep again: after a change, call stacks have other hashes. To
accept a find, add it to a file for --accept, with a reason. --write-accept
creates such a file.

Exit status:
  0  CMD survives every trial, except those that --accept lists
  1  it does not
  2  usage error; or CMD or its workload fails before anything is tried
  If a signal ends the sweep, epollshim ends by that signal.

Examples:
  epollshim sweep -- ./app
  epollshim sweep --calls epoll_ctl,accept4 --all-errors -- ./app
  epollshim sweep --workload 'redis-cli -p 7000 ping' \\
      --ready-when 'port 7000' -- redis-server --port 7000";

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SweepFormat {
    Text,
    Json,
    Junit,
    Html,
}

#[derive(Args, Debug)]
#[command(about = "Fail each call of a program in turn, and report what breaks it")]
#[command(long_about = ABOUT, after_help = EXAMPLES, next_line_help = true)]
#[command(override_usage = "epollshim sweep [FLAGS] [--] CMD [ARGUMENT]...")]
pub struct Sweep {
    /// Fail only these functions: names, %creat (all that make descriptors)
    /// or epoll. Default: all that can fail because a resource is missing,
    /// without those that take memory (malloc, mmap)
    #[arg(long, value_name = "CALL,...", value_delimiter = ',', verbatim_doc_comment)]
    pub calls: Vec<String>,
    /// Try these errors where a function may return them: EMFILE,ENOMEM.
    /// Default: the most likely one
    #[arg(long, value_name = "ERRNO,...", value_delimiter = ',', conflicts_with = "all_errors", verbatim_doc_comment)]
    pub errors: Vec<String>,
    /// Try every error that a function may return
    #[arg(long)]
    pub all_errors: bool,
    /// Fail the call that time and every later time
    #[arg(long)]
    pub persistent: bool,
    /// Fail the call once in each process. Default: once in all processes
    /// together
    #[arg(long, verbatim_doc_comment)]
    pub each_process: bool,
    /// Fail every call of a call stack, up to 100. Default: the first and the
    /// second
    #[arg(long, verbatim_doc_comment)]
    pub every_call: bool,
    /// Fail only calls with this on their call stack: a function, FILE:LINE,
    /// or OBJECT+OFFSET
    #[arg(long, value_name = "SITE", verbatim_doc_comment)]
    pub at: Option<String>,
    /// Fail calls only at this many points, drawn by --seed
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub shallow: Option<u32>,
    /// Draw the same sample again
    #[arg(long, value_name = "NUMBER", requires = "shallow")]
    pub seed: Option<u64>,
    /// Try no errors; calls succeed in unusual ways: waits with one event at
    /// a time, interrupted waits, and delays of wait, accept and connect
    #[arg(long, conflicts_with_all = ["errors", "all_errors", "persistent"], verbatim_doc_comment)]
    pub success_faults: bool,
    /// Fail only calls in these phases of a server: start (until it is
    /// ready), serve (until the stop signal), stop (after it)
    #[arg(long, value_name = "start,serve,stop", value_delimiter = ',', requires = "workload", verbatim_doc_comment)]
    #[arg(value_parser = ["start", "serve", "stop"], hide_possible_values = true)]
    pub phase: Vec<String>,
    /// Try one failure: the RULE of a find, or any rule of run --inject
    #[arg(long, verbatim_doc_comment, value_name = "RULE", conflicts_with_all = ["calls", "errors", "all_errors", "persistent", "each_process", "phase", "every_call", "at", "shallow", "success_faults"])]
    pub only: Option<String>,
    /// Fail no call. Instead, lower the limit of open descriptors
    /// (RLIMIT_NOFILE) step by step, then that of processes and threads
    /// (RLIMIT_NPROC), without the library
    #[arg(long, conflicts_with_all = ["calls", "errors", "all_errors", "persistent", "each_process", "phase", "only", "every_call", "at", "shallow", "success_faults"], verbatim_doc_comment)]
    pub limits: bool,
    /// CMD is a server: run this shell command to use it. Exit status 0 means
    /// that the server works
    #[arg(long, value_name = "COMMAND", verbatim_doc_comment)]
    pub workload: Option<String>,
    /// Start the workload at this condition: 'port N' (something listens
    /// there) or 'line REGEX' (CMD prints such a line). Default: anything
    /// listens
    #[arg(long, value_name = "CONDITION", requires = "workload", verbatim_doc_comment)]
    pub ready_when: Option<String>,
    /// Stop the server by this signal
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", requires = "workload")]
    pub stop_with: String,
    /// Use FILE as the standard input of CMD. Default: it is empty
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Run CMD in this working directory. Files that it writes there are not
    /// compared
    #[arg(long, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub dir: Option<PathBuf>,
    /// Do not compare the parts of the output that match. May be repeated
    #[arg(long, value_name = "REGEX", verbatim_doc_comment)]
    pub mask: Vec<String>,
    /// Make at most this many clean runs first, fewer if two in a row bring
    /// no new point
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100), verbatim_doc_comment)]
    pub clean_runs: u32,
    /// Make this many runs at the same time. Default: one per processor; 1
    /// for a server without a network of its own
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024), verbatim_doc_comment)]
    pub jobs: Option<u32>,
    /// Allow each part of a clean run this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Leave CMD in the network of this machine
    #[arg(long)]
    pub share_network: bool,
    /// Accept the finds that FILE lists, in lines such as
    /// crash:^epoll_create1 EMFILE make$, with a reason in a comment above
    /// each. May be repeated
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub accept: Vec<PathBuf>,
    /// Append the finds of this sweep to FILE, for --accept. Then fill in the
    /// reasons
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub write_accept: Option<PathBuf>,
    /// Append each finished trial to FILE, and skip those that it already
    /// has: an interrupted sweep continues
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub resume: Option<PathBuf>,
    /// Write the result in this format
    #[arg(
        long,
        value_enum,
        default_value_t = SweepFormat::Text,
        hide_possible_values = true,
        value_name = "text|json|junit|html"
    )]
    pub format: SweepFormat,
    /// Write to FILE, completely or not at all. Default: stdout. If the
    /// format is not text, the text is printed on stderr as well
    #[arg(long, short, value_name = "FILE", verbatim_doc_comment)]
    pub output: Option<PathBuf>,
    /// Search DIRECTORY for debug files by build id, besides /usr/lib/debug.
    /// May be repeated
    #[arg(long, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub debug: Vec<PathBuf>,
    /// Use this library
    #[arg(long, value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}
