//! The command line of `epollshim inspect`.

use std::ffi::OsString;

use clap::Args;

use super::{FailOnSeen, Format};

const ABOUT: &str = "\
Look at a running process from outside: its epoll instances, what each watches
and whether that is ready, which thread waits on which instance, and what is
wrong.

The process need not run under epollshim. It is not stopped, gets no signal, and
nothing in it is changed. Its descriptors are copied (pidfd_getfd), and each
copy is closed at once.

inspect looks at the process several times within 0.1 seconds, or 0.3 seconds if
a thread is busy. A finding is reported only if it holds each time.

What inspect has no permission to see is listed. Root and CAP_SYS_PTRACE see
every process. Others see processes of their own user, if the sysctl
kernel.yama.ptrace_scope is 0.";

const EXAMPLES: &str = "\
Findings:
  stalled     data waits, no event will announce it, and the loop sleeps:
              an edge-triggered interest was not read until EAGAIN, or a
              one-shot interest was not rearmed
  ghost       the descriptor of an interest was closed or is another file
  fd-leak     TCP sockets stay in CLOSE_WAIT
  near-limit  few descriptors are left
  spin        a thread is busy because a descriptor stays ready

Exit status:
  0  success
  1  --fail-on names a finding
  2  usage error, no such process, or no permission to look at it

Examples:
  epollshim inspect $(pidof redis-server)
  epollshim inspect --watch=5 4711
  epollshim inspect --format json 4711 | jq '.processes[].findings'";

#[derive(Args, Debug)]
#[command(about = "Look at a running process from outside, and find what is wrong")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Inspect {
    /// Print text, or one JSON object (schema epollshim.inspect/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// Look again every SECONDS (default: 1) until the processes have ended
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
    /// Exit with 1 if one of these was found: ids, error, warning or all. An
    /// id counts from severity warning up; ghost:info and ghost:error change
    /// this
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
