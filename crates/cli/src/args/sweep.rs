//! The command line of `epollshim sweep`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

const ABOUT: &str = "\
Find out which failing calls a program does not survive.

Clean runs under the library find each place where CMD makes a call that can
fail: a function, its call stack, and which time it was. Then CMD is run once
for each of them, with that one call failing as the kernel might let it fail.
What happens is compared with the clean runs. Anything suspicious is run twice
again, and listed at the end with a line that repeats it.

A program that ends by itself is its own workload: what it prints and the files
that it writes must stay the same. For a server, --workload names a shell
command that uses it and exits with 0; --ready-when says when it may begin.

Each run has an empty folder as working directory and as TMPDIR, and, where the
system allows it, a network and processes of its own. Nothing is left behind.";

const EXAMPLES: &str = "\
Exit status: 0 if CMD survives everything that was tried, but for what --accept
names; 1 if it does not; 2 for a usage error, or if CMD or its workload fails
before anything is tried. If a signal ends the sweep, it is that signal.

Verdicts: crash, sanitizer report, hang, spin (it burns a processor), deaf (it
lives, and serves nobody), exit 0 with lost output, wrong output, other process
lost, abort, leak and closed twice are finds. It survives with: clean failure,
same but said so, same. Not reached: that run never came to the call.

Finds: the last line of one repeats it, in a shell or with a debugger before
the command in it. Fix what it names and sweep again: after a change the stack
has another name. What is meant to be so goes into a file for --accept, with
its reason; --write-accept makes one.

Examples:
  epollshim sweep -- ./app
  epollshim sweep --workload 'redis-cli -p 7000 ping' \\
      --ready-when 'port 7000' -- redis-server --port 7000
  epollshim sweep --calls epoll_ctl,accept4 --all-errors -- ./app
  epollshim sweep --persistent -- ./app     the call fails for ever
  epollshim sweep --limits -- ./app         fewer and fewer descriptors
  epollshim sweep --accept accepted --format junit -o sweep.xml -- ./app";

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SweepFormat {
    Text,
    Json,
    Junit,
    Html,
}

#[derive(Args, Debug)]
#[command(about = "Fail each call of a program in turn, and say what it does not survive")]
#[command(long_about = ABOUT, after_help = EXAMPLES, next_line_help = true)]
#[command(override_usage = "epollshim sweep [FLAGS] [--] CMD [ARGUMENT]...")]
pub struct Sweep {
    /// The functions to fail: names, %creat (all that make descriptors),
    /// epoll. Without it: all that can fail for want of a resource
    #[arg(long, value_name = "CALL,...", value_delimiter = ',', verbatim_doc_comment)]
    pub calls: Vec<String>,
    /// The errors to try, of those that are legal for a function:
    /// EMFILE,ENOMEM. Without it: the one that is most likely
    #[arg(long, value_name = "ERRNO,...", value_delimiter = ',', conflicts_with = "all_errors", verbatim_doc_comment)]
    pub errors: Vec<String>,
    /// Try every legal error of each function
    #[arg(long)]
    pub all_errors: bool,
    /// The call fails that time and every time after
    #[arg(long)]
    pub persistent: bool,
    /// The call fails once in each process; without it once in all of them
    /// together
    #[arg(long, verbatim_doc_comment)]
    pub each_process: bool,
    /// Fail every call of a call stack (100 at most); without it the first
    /// and the second
    #[arg(long, verbatim_doc_comment)]
    pub every_call: bool,
    /// Fail only calls with this on their call stacks: a function, FILE:LINE,
    /// or OBJECT+OFFSET
    #[arg(long, value_name = "SITE", verbatim_doc_comment)]
    pub at: Option<String>,
    /// Fail calls at this many points only, drawn by --seed
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub shallow: Option<u32>,
    /// Draw the same sample again
    #[arg(long, value_name = "NUMBER", requires = "shallow")]
    pub seed: Option<u64>,
    /// Let calls succeed, but unkindly, in place of errors: waits with one
    /// event at a time, interrupted waits, delayed waits, accept and connect
    #[arg(long, conflicts_with_all = ["errors", "all_errors", "persistent"], verbatim_doc_comment)]
    pub success_faults: bool,
    /// Fail only calls that a server makes until it is ready (start), until
    /// the stop signal (serve), and after it (stop)
    #[arg(long, value_name = "start,serve,stop", value_delimiter = ',', requires = "workload", verbatim_doc_comment)]
    #[arg(value_parser = ["start", "serve", "stop"], hide_possible_values = true)]
    pub phase: Vec<String>,
    /// Try one failure: RULE is that of a find, or any of EPOLLSHIM_INJECT
    #[arg(long, verbatim_doc_comment, value_name = "RULE", conflicts_with_all = ["calls", "errors", "all_errors", "persistent", "each_process", "phase", "every_call", "at", "shallow", "success_faults"])]
    pub only: Option<String>,
    /// Do not fail any call: lower the limit of open descriptors
    /// (RLIMIT_NOFILE) step by step, then that of processes and threads
    /// (RLIMIT_NPROC), without the library
    #[arg(long, conflicts_with_all = ["calls", "errors", "all_errors", "persistent", "each_process", "phase", "only", "every_call", "at", "shallow", "success_faults"], verbatim_doc_comment)]
    pub limits: bool,
    /// A shell command that uses the server CMD, and exits with 0 if all is
    /// well
    #[arg(long, value_name = "COMMAND", verbatim_doc_comment)]
    pub workload: Option<String>,
    /// When the workload may begin: 'port N' (something listens there), or
    /// 'line REGEX' (CMD prints one). Without it: when anything listens
    #[arg(long, value_name = "CONDITION", requires = "workload", verbatim_doc_comment)]
    pub ready_when: Option<String>,
    /// The signal that ends the server
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", requires = "workload")]
    pub stop_with: String,
    /// What CMD reads as standard input; without it nothing
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The working directory of CMD, of all runs. What is written there is
    /// not compared
    #[arg(long, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub dir: Option<PathBuf>,
    /// What differs from run to run in the output: it is not compared. May be
    /// given several times
    #[arg(long, value_name = "REGEX", verbatim_doc_comment)]
    pub mask: Vec<String>,
    /// The most clean runs that are made first. Fewer are enough if two in a
    /// row bring no new point
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100), verbatim_doc_comment)]
    pub clean_runs: u32,
    /// How many runs are made at the same time; without it: one for each
    /// processor, and one alone for a server without a network of its own
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024), verbatim_doc_comment)]
    pub jobs: Option<u32>,
    /// Seconds that each part of a clean run may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Leave CMD in the network of this machine
    #[arg(long)]
    pub share_network: bool,
    /// A list of finds that are accepted, in lines such as
    /// crash:^epoll_create1 EMFILE make$, with the reason in a comment above
    /// each: they do not count. May be given several times
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub accept: Vec<PathBuf>,
    /// Add the finds of this sweep to such a list, and leave what is there.
    /// The reasons are to be filled in
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub write_accept: Option<PathBuf>,
    /// Keep each finished trial in this file, and leave out those that it
    /// already has: a sweep that was cut off goes on
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub resume: Option<PathBuf>,
    /// What the result is written as
    #[arg(
        long,
        value_enum,
        default_value_t = SweepFormat::Text,
        hide_possible_values = true,
        value_name = "text|json|junit|html"
    )]
    pub format: SweepFormat,
    /// The file to write: whole, or not at all. Without it: stdout. The text
    /// is printed on stderr where the file has another format
    #[arg(long, short, value_name = "FILE", verbatim_doc_comment)]
    pub output: Option<PathBuf>,
    /// A directory of debug files by build id, beside /usr/lib/debug. May be
    /// given several times
    #[arg(long, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub debug: Vec<PathBuf>,
    /// The library to use
    #[arg(long, value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// The program, and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}
