//! Makes the manual pages, by their file names. libepollshim(7) is written by hand
//! (docs/libepollshim.7). All pages have its date. Its version is filled in here.

use std::io::Write;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

const LIBRARY: &str = include_str!("../../../../docs/libepollshim.7");
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn all(command: Command) -> Vec<(String, Vec<u8>)> {
    let mut command =
        command.disable_help_subcommand(true).subcommand_help_heading("COMMANDS").subcommand_value_name("COMMAND");
    command.build();
    let mut commands: Vec<Command> = command.get_subcommands().cloned().collect();
    commands.push(command);
    let names: Vec<String> = commands.iter().map(name_of).collect();
    let pages = commands.iter().map(|command| (format!("{}.1", name_of(command)), manual(command, &names)));
    let library = LIBRARY.replace("@VERSION@", VERSION).into_bytes();
    pages.chain([("libepollshim.7".to_string(), library)]).collect()
}

fn name_of(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_string()
}

/// The page of a command: the sections of clap_mangen, then those made from the text after its
/// `--help`.
fn manual(command: &Command, names: &[String]) -> Vec<u8> {
    let name = name_of(command);
    let date = LIBRARY.lines().find_map(|line| line.strip_prefix(".TH LIBEPOLLSHIM 7 "));
    let date = date.and_then(|rest| rest.split(' ').next()).expect("the date of libepollshim.7");
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(date)
        .source(format!("epollshim {VERSION}"))
        .manual("User Commands");
    let mut page = Vec::new();
    let out = &mut page;
    man.render_title(out)
        // Words that are hyphenated at the end of a line cannot be searched for. (The HY register
        // does the same after groff's .EE.)
        .and_then(|()| out.write_all(b".nh\n.nr HY 0\n.ad l\n"))
        .and_then(|()| man.render_name_section(out))
        .and_then(|()| man.render_synopsis_section(out))
        .and_then(|()| man.render_description_section(out))
        .and_then(|()| man.render_options_section(out))
        .and_then(|()| if has_pages(command) { man.render_subcommands_section(out) } else { Ok(()) })
        .expect("a page in memory");
    if !has_pages(command) {
        orders(out, command);
    }

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

/// Whether this is `epollshim` itself, whose commands have pages of their own.
fn has_pages(command: &Command) -> bool {
    command.get_name() == name_of(command)
}

/// Describes the orders of a command (`epollshim ctl PID off`) on its page.
fn orders(page: &mut Vec<u8>, command: &Command) {
    let mut title = command.get_subcommand_help_heading();
    for order in command.get_subcommands().filter(|order| !order.is_hide_set()) {
        let mut roff = Roff::new();
        if let Some(title) = title.take() {
            roff.control("SH", [title.to_uppercase().as_str()]);
        }
        let usage = order.clone().render_usage().to_string();
        roff.control("TP", []);
        roff.text([bold(usage.trim_start_matches("Usage: "))]);
        roff.text([roman(order.get_about().map(ToString::to_string).unwrap_or_default())]);
        page.extend_from_slice(roff.to_roff().as_bytes());

        // The flags of the command are on its page already.
        let above = |name: &str| name == "help" || command.get_arguments().any(|flag| flag.get_id() == name);
        let own = order.clone().mut_args(|flag| if above(flag.get_id().as_str()) { flag.hide(true) } else { flag });
        let mut options = Vec::new();
        Man::new(own).render_options_section(&mut options).expect("a page in memory");
        let options = String::from_utf8_lossy(&options);
        if let Some((_, options)) = options.split_once(".SH OPTIONS\n") {
            page.extend_from_slice(format!(".RS\n{options}.RE\n").as_bytes());
        }
    }
}

/// Makes a section of a paragraph of `--help`. It is `Title: text`, or `Title:` followed by
/// indented lines, which are not filled. A paragraph without a title becomes a note.
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

/// The lines of a section. A page indents them by seven columns, so the gap before remarks, which
/// are aligned, is reduced until all lines fit into 80 columns.
fn narrow(lines: &str) -> Vec<String> {
    const GAP: &str = "   ";
    let lines: Vec<&str> = lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
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
