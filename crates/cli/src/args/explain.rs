//! The command line of `epollshim explain`.

use clap::Args;

const ABOUT: &str = "\
Explain a finding: what it means, what it costs, and how to fix it.

Without an ID, list all findings.";

const EXAMPLES: &str = "\
Output: On a terminal, as wide as the terminal, with colours unless NO_COLOR is
set. Otherwise plain text of 80 columns.

Exit status: 0; 2 if there is no such finding.

Examples:
  epollshim explain
  epollshim explain ghost | less";

#[derive(Args, Debug)]
#[command(about = "Explain what a finding means, and how to fix it")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Explain {
    /// Ids of findings, as reports print them
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
}
