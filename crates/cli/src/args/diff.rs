//! The command line of `epollshim diff`.

use std::path::PathBuf;

use clap::Args;

use super::{FailOnNew, Format};

const ABOUT: &str = "\
Compare two recordings, or two directories of recordings: which findings,
instances, descriptors, calls and failed calls are new in B, gone, or more than
in A.

Places are compared by function and file, so that A and B may be of two builds
of a program; by object and offset where no function is known. Descriptors are
compared where both were recorded with a census (run --census).";

const EXAMPLES: &str = "\
Exit status: 0; with --fail-on new 1 if B has a finding that A has not, or if a
recording of B is PARTIAL, could not be read, or is missing; 2 for a usage
error.

Examples:
  epollshim run --record before -- ./app-1.0
  epollshim run --record after -- ./app-1.1
  epollshim diff before after
  epollshim diff before after --fail-on new
  epollshim diff before after --format json | jq '.findings[].state'";

#[derive(Args, Debug)]
#[command(about = "Compare two recordings: what is new, gone, or more")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Diff {
    /// Text for people, or one JSON object (schema epollshim.diff/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// The file to write: whole, or not at all. Without it: stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A directory of debug files by build id, as for report
    #[arg(long, value_name = "DIRECTORY")]
    pub debug: Vec<PathBuf>,
    /// Exit with 1 if B has findings that A has not: warnings and errors;
    /// new:info, new:error: from this severity up
    #[arg(long, value_name = "new[:SEVERITY]", value_parser = FailOnNew::parse, verbatim_doc_comment)]
    pub fail_on: Option<FailOnNew>,
    /// Leave out the findings that a file names. May be given several times
    #[arg(long, value_name = "FILE")]
    pub suppressions: Vec<PathBuf>,
    /// Of a directory that was used by several runs: the newest run alone
    #[arg(long)]
    pub latest: bool,
    /// What was recorded before: a directory of recordings, or one of them
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// What was recorded after
    #[arg(value_name = "B")]
    pub b: PathBuf,
}
