//! The command line of `epollshim check`.

use std::ffi::OsString;

use clap::Args;

use super::Format;

const ABOUT: &str = "\
Say beforehand what the shim will see of a program, and what not: from its ELF
file and those of the libraries that it needs, without starting it. The first
line is the verdict.

A word of digits is a process id: then what its memory has mapped is looked at,
and its epoll instances, their interests and its descriptors are listed, without
stopping it. (./123 is a file.)

What a program loads while it runs (dlopen), and the programs that a script of
a shell starts, cannot be known from its file: where that decides, the verdict
is \"unknown\". A script whose last line is exec PROGRAM is followed.";

const EXAMPLES: &str = "\
Exit status: 0 seen, 1 partly or not seen or unknown, 2 an error of use (no such
file, not a program, no permission).

Examples:
  epollshim check redis-server
  epollshim check --format json ./app | jq -r '.verdict, .reasons[].text'
  epollshim check $(pidof -s nginx)";

#[derive(Args, Debug)]
#[command(about = "Say beforehand what the shim will see of a program, and what not")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Check {
    /// Text for people, or one JSON object (schema epollshim.check/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// A program (a path, or a name that PATH leads to), or a process id
    #[arg(value_name = "BINARY|PID")]
    pub subject: OsString,
}
