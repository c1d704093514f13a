//! The shells' completions, by the names of the files that the shells look for.
//!
//! The scripts of clap_complete for bash and fish do not know that a command with arguments of its own stands behind
//! `epollshim run FLAGS`: run.bash and run.fish do.

use clap::builder::PossibleValuesParser;
use clap::{Command, ValueHint};
use clap_complete::Shell;

pub fn all(command: &Command) -> Vec<(String, Vec<u8>)> {
    let zsh = completion(Shell::Zsh, command);
    [("epollshim", bash(command)), ("_epollshim", zsh), ("epollshim.fish", fish(command))]
        .map(|(name, text)| (name.to_string(), text.into_bytes()))
        .into()
}

/// What may stand behind a flag, where the command line itself does not know: the library's parser does.
fn hinted(command: &Command) -> Command {
    let words = |name: &str| -> Option<&'static [&'static str]> {
        Some(match name {
            "report_format" | "log_format" => &["text", "json"],
            "log_time" => &["none", "wall", "relative"],
            "on_bad_config" => &["exit", "ignore"],
            "inject_impossible" => &["0", "1"],
            _ => return None,
        })
    };
    let hint = |name: &str| match name {
        "report" | "log" | "inject_log" | "inject_replay" | "output" | "shim" | "suppressions" => {
            Some(ValueHint::FilePath)
        }
        "session" | "record" | "debug" => Some(ValueHint::DirPath),
        "limit" | "inject" | "seed" | "log_filter" | "record_ring" | "stacks" | "only" => Some(ValueHint::Other),
        "command" => Some(ValueHint::CommandWithArguments),
        "subject" => Some(ValueHint::CommandName),
        _ => None,
    };
    command.clone().mut_subcommands(|command| {
        command.mut_args(|argument| {
            let name = argument.get_id().to_string();
            let argument = match words(&name) {
                Some(words) => argument.value_parser(PossibleValuesParser::new(words)),
                None => argument,
            };
            match hint(&name) {
                Some(hint) => argument.value_hint(hint),
                None => argument,
            }
        })
    })
}

fn completion(shell: Shell, command: &Command) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut hinted(command), "epollshim", &mut text);
    String::from_utf8(text).expect("a script in UTF-8")
}

/// The flags of `epollshim run` whose value is the next word.
fn run_flags(command: &Command) -> Vec<String> {
    let run = command.find_subcommand("run").expect("epollshim run");
    let flags = run.get_arguments().filter(|flag| flag.get_action().takes_values() && !flag.is_require_equals_set());
    flags.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect()
}

fn bash(command: &Command) -> String {
    let script = completion(Shell::Bash, command).replace("-F _epollshim ", "-F _epollshim_or_command ");
    format!("{}{script}", include_str!("run.bash").replace("@FLAGS@", &run_flags(command).join(" | ")))
}

fn fish(command: &Command) -> String {
    let script = completion(Shell::Fish, command);
    format!("{script}{}", include_str!("run.fish").replace("@FLAGS@", &run_flags(command).join(" ")))
}
