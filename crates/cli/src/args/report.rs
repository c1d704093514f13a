//! The command line of `epollshim report`.

use std::path::PathBuf;

use clap::Args;

use super::FailOn;

const ABOUT: &str = "\
Report on recordings (epollshim run --record DIRECTORY) of programs that ended,
were killed, or are still running.

The report starts with the problems found in all processes together. A section
for each process follows.

A damaged recording is reported as far as it can be read, and marked PARTIAL.";

const EXAMPLES: &str = "\
Formats:
  text        for people
  json        one object (schema epollshim.report/1)
  html        one page that needs no other file
  perfetto    a trace for ui.perfetto.dev, with one track per thread
  prometheus  metrics for node_exporter's textfile collector (-o NAME.prom)
  junit       for CI servers: one suite per program, one test case per kind
              of finding, which fails for errors and warnings
  folded      stacks with counts, for flamegraph.pl and inferno

Runs: If two runs recorded into the same directory, the report covers the
processes of both, and says so. --latest selects the newest run. A process
belongs to the run of an earlier one if that one is its parent, if both ran at
the same time, or if it has the same parent and started within a second of the
end of that run.

Exit status:
  0  success
  1  --fail-on names a finding, or a recording could not be read
     completely; with --fail-on also if a recording is PARTIAL or missing
  2  usage error

Examples:
  epollshim report rec
  epollshim report rec --format html -o report.html
  epollshim report rec --fail-on error,leak --suppressions known.supp";

#[derive(Args, Debug)]
#[command(about = "Report on recordings")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(next_line_help = true)]
pub struct Report {
    /// Write the report in this format
    #[arg(
        long,
        default_value = "text",
        value_parser = ["text", "json", "html", "perfetto", "prometheus", "junit", "folded"],
        hide_possible_values = true,
        value_name = "text|json|html|perfetto|prometheus|junit|folded"
    )]
    pub format: String,
    /// Write to FILE, completely or not at all. Default: stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Search DIRECTORY for debug files by build id
    /// (.build-id/xx/yyyy.debug), besides /usr/lib/debug. May be repeated
    #[arg(long, value_name = "DIRECTORY", verbatim_doc_comment)]
    pub debug: Vec<PathBuf>,
    /// Exit with 1 if one of these was found: ids, error, warning or all. An
    /// id counts from severity warning up; leak:info and leak:error change
    /// this, and all counts every finding, info too
    #[arg(
        long,
        value_name = "ID[:SEVERITY],...",
        value_delimiter = ',',
        value_parser = FailOn::parse,
        verbatim_doc_comment
    )]
    pub fail_on: Vec<FailOn>,
    /// Leave out the findings that FILE lists, in lines such as
    /// leak:libfoo.so. May be repeated
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub suppressions: Vec<PathBuf>,
    /// Report only the newest of several runs in a directory
    #[arg(long)]
    pub latest: bool,
    /// Recordings, and directories of recordings
    #[arg(value_name = "DIR|FILE", required = true)]
    pub paths: Vec<PathBuf>,
}
