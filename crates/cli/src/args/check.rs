//! The command line of `epollshim check`.

use std::ffi::OsString;

use clap::Args;

use super::Format;

const ABOUT: &str = "\
Predict what the shim will see of a program, without starting it.

check reads the program's ELF file and those of its libraries. The first line
of the output is the verdict.

A number is a process id (./123 is a file). check then reads what the process
has mapped, and lists its epoll instances, their interests and its descriptors.
The process is not stopped.

A file does not show which libraries a program loads while it runs (dlopen), or
which programs a shell script starts. If the answer depends on that, the verdict
is \"unknown\". A script whose last line is exec PROGRAM is followed.";

const EXAMPLES: &str = "\
Exit status:
  0  seen
  1  partly seen, not seen, or unknown
  2  usage error: no such file, not a program, or no permission

Examples:
  epollshim check redis-server
  epollshim check --format json ./app | jq -r '.verdict, .reasons[].text'
  epollshim check $(pidof -s nginx)";

#[derive(Args, Debug)]
#[command(about = "Predict what the shim will see of a program")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Check {
    /// Print text, or one JSON object (schema epollshim.check/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// A program (a path, or a name to look up in PATH), or a process id
    #[arg(value_name = "BINARY|PID")]
    pub subject: OsString,
}
