//! The command line of `epollshim diff`.

use std::path::PathBuf;

use clap::Args;

use super::{FailOnNew, Format};

const ABOUT: &str = "\
Compare two recordings, or two directories of recordings.

Prints the findings, instances, descriptors, calls and failed calls that are new
in B, gone, or more or fewer than in A.

Places in the code are compared by function and file, so A and B may be of
different builds of a program. Places without a known function are compared by
object and offset.

Descriptors are compared only if A and B were recorded with a census (see
epollshim run --census).";

const EXAMPLES: &str = "\
Exit status:
  0  success
  1  --fail-on: B has a new finding, or a recording of B is PARTIAL,
     missing, or could not be read
  2  usage error

Examples:
  epollshim diff before after
  epollshim diff before after --fail-on new
  epollshim diff before after --format json | jq '.findings[].state'";

#[derive(Args, Debug)]
#[command(about = "Compare two recordings: what is new, gone, or more frequent")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Diff {
    /// Print text, or one JSON object (schema epollshim.diff/1)
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// Write to FILE, completely or not at all. Default: stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Search DIRECTORY for debug files by build id, as for report
    #[arg(long, value_name = "DIRECTORY")]
    pub debug: Vec<PathBuf>,
    /// Exit with 1 if B has warnings or errors that A does not have. new:info
    /// and new:error change the severity from which findings count
    #[arg(long, value_name = "new[:SEVERITY]", value_parser = FailOnNew::parse, verbatim_doc_comment)]
    pub fail_on: Option<FailOnNew>,
    /// Leave out the findings that FILE lists. May be repeated
    #[arg(long, value_name = "FILE")]
    pub suppressions: Vec<PathBuf>,
    /// Compare only the newest of several runs in a directory
    #[arg(long)]
    pub latest: bool,
    /// The recordings from before: a directory of them, or one file
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The recordings from after
    #[arg(value_name = "B")]
    pub b: PathBuf,
}
