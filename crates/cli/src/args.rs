//! Parses the command line. A usage error is one line.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::Failure;
use crate::text::printable;

mod check;
mod ctl;
mod diff;
mod explain;
mod fail_on;
mod inspect;
mod report;
mod run;
mod sweep;
mod top;

pub use check::Check;
pub use ctl::{Armed, Ctl, Order};
pub use diff::Diff;
pub use explain::Explain;
pub use fail_on::{FailOn, FailOnNew, FailOnSeen};
pub use inspect::Inspect;
pub use report::Report;
pub use run::Run;
pub use sweep::{Sweep, SweepFormat};
pub use top::Top;

const ABOUT: &str = "Find descriptor leaks and epoll hangs, and make calls fail, in any program";

/// The version, and the commit if it is known (build.rs).
const VERSION: &str = env!("VERSION_AND_COMMIT");

#[derive(Parser, Debug)]
#[command(name = "epollshim", version = VERSION, about = ABOUT, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Exit status: that of the command; 2 for a usage error, which is one line on
stderr.

Examples:
  epollshim run -- redis-server             report what it did with epoll
  epollshim run --inject epoll_wait:error=EINTR:when=3 -- ./app
  epollshim inspect 4711                    why does it hang, spin or leak?

Run `epollshim COMMAND --help` for the flags of a command.";

#[derive(Subcommand, Debug)]
enum Command {
    Run(Box<Run>),
    Report(Report),
    Diff(Diff),
    Top(Top),
    Check(Check),
    Inspect(Inspect),
    Explain(Explain),
    Ctl(Ctl),
    Sweep(Box<Sweep>),
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Json,
}

/// What the arguments ask for.
pub enum Asked {
    Run(Box<Run>),
    Report(Report),
    Diff(Diff),
    Top(Top),
    Check(Check),
    Inspect(Inspect),
    Explain(Explain),
    Ctl(Ctl),
    Sweep(Box<Sweep>),
    /// Help or the version, on request.
    Text(String),
    /// Help, because there were no arguments.
    Help(String),
}

/// The command line for clap, from which the manual pages and the completions are made.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
    let words: Vec<OsString> = words.into_iter().collect();
    match Cli::try_parse_from(&words) {
        Ok(Cli { command: Command::Run(asked) }) => Ok(Asked::Run(asked)),
        Ok(Cli { command: Command::Report(asked) }) => Ok(Asked::Report(asked)),
        Ok(Cli { command: Command::Diff(asked) }) => Ok(Asked::Diff(asked)),
        Ok(Cli { command: Command::Top(asked) }) => Ok(Asked::Top(asked)),
        Ok(Cli { command: Command::Check(asked) }) => Ok(Asked::Check(asked)),
        Ok(Cli { command: Command::Inspect(asked) }) => Ok(Asked::Inspect(asked)),
        Ok(Cli { command: Command::Explain(asked) }) => Ok(Asked::Explain(asked)),
        Ok(Cli { command: Command::Ctl(asked) }) => Ok(Asked::Ctl(asked)),
        Ok(Cli { command: Command::Sweep(asked) }) => Ok(Asked::Sweep(asked)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Asked::Text(help(&error))),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(Asked::Help(help(&error))),
            _ => Err(Failure::usage(one_line(&error, words.get(1)))),
        },
    }
}

fn help(error: &clap::Error) -> String {
    format!("{}\n", error.render().to_string().trim_end())
}

/// A usage error in one line: the first paragraph of clap's message, and a suggestion.
fn one_line(error: &clap::Error, subcommand: Option<&OsString>) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<&str> = first.split_whitespace().collect();
    let words = words.join(" ");
    let mut line = printable(words.strip_prefix("error: ").unwrap_or(&words));
    if error.kind() == ErrorKind::ValueValidation {
        // The message contains the allowed values.
        return with_plain_range(line);
    }
    let meant = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| match error.get(kind) {
            Some(ContextValue::String(one)) => Some(one.clone()),
            Some(ContextValue::Strings(several)) => several.first().cloned(),
            _ => None,
        });
    line.push_str("; ");
    match meant {
        Some(word) => line.push_str(&format!("did you mean {word}?")),
        None => {
            let name = subcommand.and_then(|name| name.to_str());
            let known = name.filter(|name| command().find_subcommand(name).is_some());
            line.push_str(&known.map_or("see epollshim --help".into(), |name| format!("see epollshim {name} --help")));
        }
    }
    line
}

/// Rewrites clap's message about a number outside a range, `...: 0 is not in 1..=100`.
fn with_plain_range(line: String) -> String {
    let range = line.rsplit_once(" is not in ").and_then(|(start, range)| Some((start, range.split_once("..=")?)));
    match range.and_then(|(start, range)| Some((start.rsplit_once(": ")?.0, range))) {
        Some((start, (least, most))) => format!("{start}: expected a number from {least} to {most}"),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::command;
    use epollshim_format::options::{NAMES, PREFIX};

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_option_of_the_shim_has_a_flag_of_its_name() {
        let cli = command();
        let run =
            cli.find_subcommand("run").map(|run| run.get_arguments().filter_map(|flag| flag.get_long()).collect());
        let flags: Vec<&str> = run.unwrap_or_default();
        for name in NAMES {
            let flag = name.strip_prefix(PREFIX).unwrap_or_default().to_lowercase().replace('_', "-");
            assert!(flags.contains(&flag.as_str()), "{name}");
        }
        let own = ["shim", "quiet", "exec", "format", "output", "fail-on", "debug"];
        assert!(own.iter().all(|flag| flags.contains(flag)), "{flags:?}");
        assert_eq!(flags.len(), NAMES.len() + own.len(), "{flags:?}");
    }
}
