//! The command line of `epollshim inspect`.

use std::ffi::OsString;

use clap::Args;

use super::{FailOnSeen, Format};

const ABOUT: &str = "\
Look at a running process from outside: its epoll instances, what each watches
and whether that is ready now, which thread waits on which, and what is wrong.

The process needs no library of epollshim. It is not stopped, gets no signal,
and nothing in it is changed. Its descriptors are copied (pidfd_getfd), asked,
and the copies closed at once. It is looked at for a tenth of a second, or 0.3
where a thread uses up its processor: what is found is so at each look.

What may not be looked at is listed. Each process of the same user can be looked
at where kernel.yama.ptrace_scope is 0; else root and CAP_SYS_PTRACE can.";

const EXAMPLES: &str = "\
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
#[command(long_about = ABOUT, after_help = EXAMPLES)]
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
