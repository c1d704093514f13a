//! The command line of `epollshim top`.

use std::ffi::OsString;

use clap::Args;

use super::Format;

const ABOUT: &str = "\
Watch running programs by what they do with epoll: calls, waits, events and
errors a second, how long they are blocked, what they watch; Enter shows one
program's calls and instances.

It reads the recordings that the programs write (epollshim run --record DIR) and
nothing else of them: they are not stopped, get no signal, and wait for nothing.
A word of digits is a process, any other a directory of recordings, or one of
them. (./123 is a directory.) Without any: all processes of this user that
record; root sees everybody's. Those that are started later are picked up.";

const EXAMPLES: &str = "\
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
#[command(long_about = ABOUT, after_help = EXAMPLES)]
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
