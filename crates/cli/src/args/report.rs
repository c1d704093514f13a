//! The command line of `epollshim report`.

use std::path::PathBuf;

use clap::Args;

use super::FailOn;

const ABOUT: &str = "\
Report what is in recordings (epollshim run --record DIRECTORY): of programs
that ended, were killed, or still run. First what was found wrong in all
processes together, then each process by itself.

A recording that is damaged is reported as far as it can be read, and marked
PARTIAL.";

const EXAMPLES: &str = "\
Exit status: 0; 1 if something was found that --fail-on names, or if a recording
could not be read whole; with --fail-on also if a recording is PARTIAL, or there
is none: what is missing may be what --fail-on names. 2 for a usage error.

Formats: text; json (epollshim.report/1); html: one page that needs nothing
else; perfetto: for ui.perfetto.dev, a track for each thread; prometheus: for
node_exporter's textfile collector (-o NAME.prom); junit: for CI servers, a
suite for each program, a test case for each kind of finding, which fails for
errors and warnings; folded: stacks with counts, for flamegraph.pl and inferno.

Runs: a directory that two runs recorded into has the processes of both. The
report says so, and --latest takes the newest run alone. A process is of an
earlier one's run if that one is its parent, if both ran at the same time, or
if it began within a second of that run's end and has the same parent.

Examples:
  epollshim run --record rec -- nginx
  epollshim report rec
  epollshim report --latest rec old/epollshim.4711.1.rec
  epollshim report rec --format html -o report.html
  epollshim report rec --format json | jq '.merged.calls'
  epollshim report rec --format folded | flamegraph.pl > stacks.svg
  epollshim report rec --fail-on error,leak --suppressions known.supp";

#[derive(Args, Debug)]
#[command(about = "Report what is in recordings")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Report {
    /// What the report is written as
    #[arg(
        long,
        default_value = "text",
        value_parser = ["text", "json", "html", "perfetto", "prometheus", "junit", "folded"],
        hide_possible_values = true,
        value_name = "text|json|html|perfetto|prometheus|junit|folded"
    )]
    pub format: String,
    /// The file to write: whole, or not at all. Without it: stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A directory of debug files by build id (.build-id/xx/yyyy.debug),
    /// beside /usr/lib/debug. May be given several times
    #[arg(long, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub debug: Vec<PathBuf>,
    /// Exit with 1 if one of these was found: ids, or error, warning, all.
    /// An id counts from warning up; leak:info and leak:error say otherwise
    #[arg(
        long,
        value_name = "ID[:SEVERITY],...",
        value_delimiter = ',',
        value_parser = FailOn::parse,
        verbatim_doc_comment
    )]
    pub fail_on: Vec<FailOn>,
    /// Leave out the findings that a file names, in lines such as
    /// leak:libfoo.so. May be given several times
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub suppressions: Vec<PathBuf>,
    /// Of a directory that was used by several runs: the newest run alone
    #[arg(long)]
    pub latest: bool,
    /// Directories of recordings, and recordings
    #[arg(value_name = "DIR|FILE", required = true)]
    pub paths: Vec<PathBuf>,
}
