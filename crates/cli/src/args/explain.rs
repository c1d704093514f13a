//! The command line of `epollshim explain`.

use clap::Args;

const ABOUT: &str = "\
Say what a finding of the report means, what it costs, and how to fix it.
Without an ID: list all findings, a line each.";

const EXAMPLES: &str = "\
Output: on a terminal as wide as that, with colours unless NO_COLOR is set;
else plain text of 80 columns.

Exit status: 0, or 2 for a finding that there is none of.

Examples:
  epollshim explain
  epollshim explain ghost | less";

#[derive(Args, Debug)]
#[command(about = "Say what a finding means, and how to fix it")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Explain {
    /// Findings, as the report names them
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
}
