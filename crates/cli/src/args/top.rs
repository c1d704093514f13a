//! The command line of `epollshim top`.

use std::ffi::OsString;

use clap::Args;

use super::Format;

const ABOUT: &str = "\
Watch running programs by what they do with epoll: calls, waits, events and
errors per second, how long they are blocked, and what they watch.

The programs must keep recordings (epollshim run --record DIR). top reads only
these files: programs are not stopped, get no signal, and wait for nothing.

A number is a process id. Any other argument is a directory of recordings, or a
recording (./123 is a directory). Without arguments, top shows all recorded
processes of this user, or of all users for root. Programs that start later are
added.";

const EXAMPLES: &str = "\
Keys: q quits, Enter opens a program, Esc closes it, s sorts by the next column,
p pauses, + and - change the interval, ? shows all keys.

Environment: There are no colours if NO_COLOR is set.

Exit status:
  0  success
  1  --once: no recorded program runs, or a recording could not be read
     completely
  2  usage error

Examples:
  epollshim top rec
  epollshim top $(pidof redis-server)
  epollshim top --once --format json | jq '.processes[].rates.calls'";

#[derive(Args, Debug)]
#[command(about = "Watch running programs by what they do with epoll")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Top {
    /// Print the list for one interval, and exit. For scripts
    #[arg(long)]
    pub once: bool,
    /// Read again after this many seconds, from 0.1 to 3600
    #[arg(long, short = 'd', value_name = "SECONDS", default_value = "1", value_parser = crate::top::interval)]
    pub interval: std::time::Duration,
    /// Sort by this column: calls, waits, events, events-per-wait, empty,
    /// blocked, p99-wait, p99-work, errors, instances, watches, findings,
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
    /// Processes, recordings, or directories of recordings
    #[arg(value_name = "PID|DIR")]
    pub subjects: Vec<OsString>,
}
