//! The completions of the shells, by the file names that the shells search for.
//!
//! The scripts of clap_complete for bash and fish do not know that `epollshim run FLAGS` and
//! `epollshim sweep FLAGS` are followed by a command with its own arguments; run.bash and run.fish
//! add this. Nor do they know which processes `ctl` and `top` accept, namely those that have a
//! recording mapped; pids.bash, pids.fish and pids.zsh add these.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use epollshim_format::findings::Id;

pub fn all(command: &Command) -> Vec<(String, Vec<u8>)> {
    let zsh = zsh(command);
    [("epollshim", bash(command)), ("_epollshim", zsh), ("epollshim.fish", fish(command))]
        .map(|(name, text)| (name.to_string(), text.into_bytes()))
        .into()
}

/// Adds the values of flags that the command line does not check itself, because the library's
/// parser does.
fn hinted(command: &Command) -> Command {
    // The `--fail-on` of report. That of diff takes one word.
    let fail_on: Vec<&'static str> = ["error", "warning", "all"].iter().chain(Id::NAMES).copied().collect();
    let words = |name: &str| -> Option<&'static [&'static str]> {
        Some(match name {
            "report_format" | "log_format" => &["text", "json"],
            "log_time" => &["none", "wall", "relative"],
            "on_bad_config" => &["exit", "ignore"],
            "inject_impossible" => &["0", "1"],
            "ids" => Id::NAMES,
            _ => return None,
        })
    };
    let hint = |name: &str| match name {
        "report" | "log" | "inject_log" | "inject_replay" | "output" | "shim" | "suppressions" | "input" | "accept"
        | "write_accept" | "resume" => Some(ValueHint::FilePath),
        "session" | "record" | "debug" | "dir" => Some(ValueHint::DirPath),
        "limit" | "inject" | "seed" | "log_filter" | "record_ring" | "stacks" | "only" => Some(ValueHint::Other),
        "calls" | "errors" | "at" | "shallow" | "workload" | "ready_when" | "stop_with" | "mask" | "clean_runs"
        | "jobs" | "timeout" => Some(ValueHint::Other),
        "command" => Some(ValueHint::CommandWithArguments),
        "subject" => Some(ValueHint::CommandName),
        "paths" | "a" | "b" => Some(ValueHint::AnyPath),
        _ => None,
    };
    command.clone().mut_subcommands(|command| {
        command.mut_args(|argument| {
            let name = argument.get_id().to_string();
            let is_list = argument.get_value_delimiter().is_some();
            let argument = match (name.as_str(), words(&name)) {
                ("fail_on", _) if is_list => argument.value_parser(PossibleValuesParser::new(fail_on.clone())),
                ("fail_on", _) => argument.value_parser(PossibleValuesParser::new(["new", "new:info", "new:error"])),
                (_, Some(words)) => argument.value_parser(PossibleValuesParser::new(words)),
                (_, None) => argument,
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

/// The flags with a separate value, for subcommands that take a command: `"run --limit"`.
fn flags_with_values(command: &Command) -> Vec<String> {
    let mut all = Vec::new();
    for name in ["run", "sweep"] {
        let subcommand = command.find_subcommand(name).expect("a subcommand that starts a command");
        let has_value = |flag: &&Arg| flag.get_action().takes_values() && !flag.is_require_equals_set();
        for flag in subcommand.get_arguments().filter(has_value) {
            all.extend(flag.get_long().map(|long| format!("\"{name} --{long}\"")));
            all.extend(flag.get_short().map(|short| format!("\"{name} -{short}\"")));
        }
    }
    all
}

fn bash(command: &Command) -> String {
    let script = completion(Shell::Bash, command).replace("-F _epollshim ", "-F _epollshim_or_command ");
    format!(
        "{}{}{script}",
        include_str!("pids.bash"),
        include_str!("run.bash").replace("@FLAGS@", &flags_with_values(command).join(" | "))
    )
}

/// Replaces files by processes where clap_complete has no better completion.
fn zsh(command: &Command) -> String {
    let script = completion(Shell::Zsh, command);
    let mut out = String::new();
    for line in script.lines() {
        let is_pid = line.starts_with("':pid -- ") || line.starts_with("'*::subjects -- ");
        let line = match line.rsplit_once(':').filter(|_| is_pid) {
            Some((before, _)) => format!("{before}:_epollshim_pids' \\"),
            None => line.to_owned(),
        };
        // The functions of the script precede its last lines, which call the first one.
        if line.starts_with("(( $+functions[_epollshim_commands] ))") {
            out.push_str(include_str!("pids.zsh"));
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn fish(command: &Command) -> String {
    // fish's script has no values for positional arguments.
    let ids = format!(
        "complete -c epollshim -n \"__fish_epollshim_using_subcommand explain\" -f -a \"{}\"\n",
        Id::NAMES.join(" ")
    );
    let script = completion(Shell::Fish, command) + &ids + include_str!("pids.fish");
    format!("{script}{}", include_str!("run.fish").replace("@FLAGS@", &flags_with_values(command).join(" ")))
}
