//! The manual pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epollshim_format::options::NAMES;

use super::common::{output, stderr, stdout, tool};
use super::{assets, commands, root};
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(assets().join("man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert_eq!(pages.len(), commands().len() + 2, "{pages:?}");
    pages
}

#[test]
fn the_manual_pages_are_well_formed() {
    let pages = pages();
    if let Some(man) = tool("man") {
        for page in &pages {
            let mut command = Command::new(&man);
            command.env("MANROFFSEQ", "").args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(page);
            let output = output(&mut command);
            assert!(output.status.success(), "{}: {}", page.display(), stderr(&output));
            assert_eq!(stderr(&output), "", "{}", page.display());
        }
    }
    if let Some(mandoc) = tool("mandoc") {
        let output = output(Command::new(mandoc).args(["-T", "lint", "-W", "warning"]).args(&pages));
        assert!(output.status.success(), "{}", stdout(&output));
    }
}

/// A page as a reader sees it, 80 columns wide.
fn rendered(page: &Path) -> Option<String> {
    let man = tool("man")?;
    let mut command = Command::new(man);
    command.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").env_remove("MANPAGER").env_remove("PAGER");
    Some(stdout(&output(command.args(["-E", "UTF-8", "-P", "cat", "-l"]).arg(page))))
}

#[test]
fn the_manual_pages_fit_80_columns_and_have_what_a_page_has() {
    for page in pages() {
        let Some(text) = rendered(&page) else { return };
        let name = page.file_stem().unwrap().to_str().unwrap();
        let (title, section) = (name.to_uppercase(), page.extension().unwrap().to_str().unwrap());
        assert!(text.starts_with(&format!("{title}({section})")), "{text}");
        assert!(text.contains(&format!("epollshim {}", env!("CARGO_PKG_VERSION"))), "{name}: its version");
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{name}: {wide:#?}");
        let cut: Vec<&str> = text.lines().filter(|line| line.ends_with('\u{2010}')).collect();
        assert!(cut.is_empty(), "{name}: a word that cannot be searched for: {cut:#?}");
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(text.lines().any(|line| line == heading), "{name}: no {heading}");
        }
    }
}

#[test]
fn the_library_s_page_has_each_option_that_it_reads_and_no_other() {
    let page = fs::read_to_string(root().join("docs/libepollshim.7")).unwrap();
    let options = page.split(".SH OPTIONS\n").nth(1).unwrap().split("\n.SH ").next().unwrap();
    let mut printed: Vec<&str> = options
        .split("\n.TP\n.BR ")
        .skip(1)
        .map(|entry| entry.split_once(" = ").unwrap_or_else(|| panic!("{entry}")).0)
        .collect();
    printed.sort_unstable();
    let mut read = NAMES.to_vec();
    read.sort_unstable();
    assert_eq!(printed, read);
    // Names of options that do not exist appear nowhere else in the page.
    let names = page.split(|c: char| c != '_' && !c.is_ascii_uppercase()).filter(|word| word.starts_with("EPOLLSHIM_"));
    for name in names {
        assert!(NAMES.contains(&name), "{name}");
    }
}
