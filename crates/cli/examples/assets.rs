//! What is installed besides the command, made from its command line: the manual pages and the shells' completions.
//! `make` runs this, with the directory to write them into; none of it is part of the command.
//!
//! libepollshim(7) is written by hand (docs/libepollshim.7): its date is that of all pages, and the version is put into
//! it here.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::{Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

const LIBRARY_PAGE: &str = include_str!("../../../docs/libepollshim.7");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() {
    let directory = std::env::args_os().nth(1).expect("the directory to write into");
    let directory = Path::new(&directory);
    let write = |name: &str, text: &[u8]| {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory for it");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };

    let mut command = epollshim_cli::args::command();
    write("completions/epollshim", bash(&command).as_bytes());
    write("completions/_epollshim", completion(Shell::Zsh, &command).as_bytes());
    write("completions/epollshim.fish", fish(&command).as_bytes());

    // A page of a command that is no more would be installed.
    let _ = fs::remove_dir_all(directory.join("man"));
    write("man/libepollshim.7", LIBRARY_PAGE.replace("@VERSION@", VERSION).as_bytes());
    command =
        command.disable_help_subcommand(true).subcommand_help_heading("COMMANDS").subcommand_value_name("COMMAND");
    command.build();
    let mut pages = vec![command];
    let mut at = 0;
    while let Some(page) = pages.get(at) {
        let below: Vec<Command> = page.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
        pages.extend(below);
        at += 1;
    }
    let names: Vec<String> = pages.iter().map(page_name).collect();
    for page in pages {
        write(&format!("man/{}.1", page_name(&page)), &manual(&page, &names));
    }
}

fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_string()
}

/// A command's page: clap_mangen's sections, then those that the text behind its `--help` makes.
fn manual(command: &Command, names: &[String]) -> Vec<u8> {
    let name = page_name(command);
    let date = LIBRARY_PAGE.lines().find_map(|line| line.strip_prefix(".TH LIBEPOLLSHIM 7 "));
    let date = date.and_then(|rest| rest.split(' ').next()).expect("the date of libepollshim.7");
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(date)
        .source(format!("epollshim {VERSION}"))
        .manual("User Commands");
    let mut page = Vec::new();
    let out = &mut page;
    man.render_title(out)
        // Names that are cut in two at the end of a line cannot be searched for.
        .and_then(|()| out.write_all(b".nh\n.ad l\n"))
        .and_then(|()| man.render_name_section(out))
        .and_then(|()| man.render_synopsis_section(out))
        .and_then(|()| man.render_description_section(out))
        .and_then(|()| man.render_options_section(out))
        .and_then(|()| if command.has_subcommands() { man.render_subcommands_section(out) } else { Ok(()) })
        .expect("a page in memory");

    let mut roff = Roff::new();
    for paragraph in command.get_after_help().map(ToString::to_string).unwrap_or_default().split("\n\n") {
        section(&mut roff, paragraph);
    }
    roff.control("SH", ["SEE ALSO"]);
    let others = names.iter().filter(|other| **other != name).map(|other| (other.as_str(), "1"));
    let mut others: Vec<_> = others.chain([("strace", "1"), ("epoll", "7"), ("libepollshim", "7")]).collect();
    others.sort_by_key(|(name, section)| (*section, *name));
    for (at, (other, section)) in others.iter().enumerate() {
        let comma = if at + 1 < others.len() { "," } else { "" };
        roff.text([bold(*other), roman(format!("({section}){comma}"))]);
    }
    out.extend_from_slice(roff.to_roff().as_bytes());
    page
}

/// A paragraph of `--help` as a section: `Title: text`, or `Title:` and indented lines, which stay as they are. One
/// without a title is a note.
fn section(roff: &mut Roff, paragraph: &str) {
    let (title, text) = match paragraph.split_once(':') {
        Some((title, text)) if title.len() <= 20 && title.starts_with(char::is_uppercase) => (title, text),
        _ => ("Notes", paragraph),
    };
    roff.control("SH", [title.to_uppercase().as_str()]);
    match text.strip_prefix('\n') {
        Some(lines) => {
            roff.control("EX", []);
            for line in narrow(lines) {
                roff.text([roman(line)]);
            }
            roff.control("EE", []);
        }
        None => {
            for line in text.trim_start().lines() {
                roff.text([roman(line)]);
            }
        }
    }
}

/// Lines of `--help` for a page, which indents them by seven columns: the gap before remarks, which stand below each
/// other, loses what is too much for 80.
fn narrow(lines: &str) -> Vec<String> {
    const GAP: &str = "   ";
    let lines: Vec<&str> = lines.lines().map(str::trim_start).collect();
    let excess = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).saturating_sub(80 - 7);
    let narrower = |line: &&str| match line.find(GAP) {
        Some(at) => {
            let (words, rest) = line.split_at(at);
            let remark = rest.trim_start();
            let gap = (rest.len() - remark.len()).saturating_sub(excess).max(2);
            format!("{words}{:gap$}{remark}", "")
        }
        None => line.to_string(),
    };
    lines.iter().map(narrower).collect()
}

/// What may stand behind a flag, where the command line itself does not know: the library's parser does.
fn hinted(command: &Command) -> Command {
    let words = |name: &str| match name {
        "report_format" | "log_format" => Some(["text", "json"]),
        "on_bad_config" => Some(["exit", "ignore"]),
        "inject_impossible" => Some(["0", "1"]),
        _ => None,
    };
    let hint = |name: &str| match name {
        "report" | "log" | "output" | "shim" => Some(ValueHint::FilePath),
        "session" | "record" | "debug" => Some(ValueHint::DirPath),
        "limit" | "inject" | "seed" | "log_filter" | "record_ring" | "only" => Some(ValueHint::Other),
        "command" => Some(ValueHint::CommandWithArguments),
        "subject" => Some(ValueHint::CommandName),
        _ => None,
    };
    command.clone().mut_subcommands(|command| {
        command.mut_args(|argument| {
            let name = argument.get_id().to_string();
            let argument = match words(&name) {
                Some(words) => argument.value_parser(words),
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

// The scripts of clap_complete for bash and fish do not know that a command with arguments of its own stands behind
// `epollshim run FLAGS`.

fn bash(command: &Command) -> String {
    let script = completion(Shell::Bash, command).replace("-F _epollshim ", "-F _epollshim_or_command ");
    format!("{}{script}", include_str!("run.bash").replace("@FLAGS@", &run_flags(command).join(" | ")))
}

fn fish(command: &Command) -> String {
    let script = completion(Shell::Fish, command);
    format!("{script}{}", include_str!("run.fish").replace("@FLAGS@", &run_flags(command).join(" ")))
}
