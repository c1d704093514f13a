//! `epollshim explain`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

mod pty;

use common::{epollshim, run, stderr, stdout, until};
use epollshim_format::findings::Id;

#[test]
fn each_finding_is_explained_and_all_are_listed() {
    let list = stdout(&run(&["explain"]));
    assert_eq!(list.lines().count(), Id::ALL.len(), "{list}");
    for (id, line) in Id::ALL.iter().zip(list.lines()) {
        assert!(line.starts_with(id.name()) && line.len() <= 80, "{line}");
        let page = run(&["explain", id.name()]);
        assert!(page.status.success(), "{}", stderr(&page));
        assert!(stdout(&page).starts_with(&format!("{}: ", id.name())), "{}", stdout(&page));
    }
    let two = stdout(&run(&["explain", "ghost", "leak"]));
    assert!(two.starts_with("ghost: ") && two.contains("\n\nleak: "), "{two}");
}

/// A table of four columns, two of which are wrapped, a heading, and a link to another page.
#[test]
fn a_page_is_plain_text_of_80_columns_in_a_pipe() {
    let page = stdout(&run(&["explain", "ctl-error"]));
    assert!(page.contains("\nHow to fix it\n-------------\n"), "{page}");
    let row = "\n  ADD, then MOD; MOD, then   EEXIST, ENOENT  on purpose: the thread's   info\n  ADD                  ";
    assert!(page.contains(row), "{page}");
    for line in page.lines() {
        let is_marked = line.starts_with(['|', '`']) || ["## ", "](", "|---"].iter().any(|mark| line.contains(mark));
        assert!(!is_marked && line.chars().count() <= 80, "{line}");
    }
    let page = stdout(&run(&["explain", "stalled"]));
    assert!(page.contains("epollshim inspect (docs/inspect.md)"), "{page}");
}

#[test]
fn an_unknown_finding_is_a_usage_error_in_one_line() {
    let output = run(&["explain", "gost"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "epollshim: there is no finding 'gost'; did you mean ghost?\n");
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_terminal_gets_a_page_without_marks_at_its_width() {
    for (width, colour) in [(60, ""), (110, "1")] {
        let mut command = epollshim();
        command.args(["explain", "ghost"]).env("TERM", "xterm").env("NO_COLOR", colour).env_remove("COLUMNS");
        let mut terminal = pty::Terminal::with(command, width, 50);
        assert!(terminal.wait().success());
        let page = until("the end of the page", || {
            let text = terminal.text();
            text.contains("manticoresearch").then(|| text.replace('\r', ""))
        });
        assert!(!page.contains("##") && !page.contains('`'), "{page}");
        assert_eq!(page.contains("\u{1b}[1mghost: a closed descriptor"), colour.is_empty(), "{page}");
        if !colour.is_empty() {
            // Examples are unchanged. All other lines fit the width, and fill it.
            let prose = || page.lines().filter(|line| !line.starts_with("    ")).map(|line| line.chars().count());
            assert!(prose().all(|columns| columns <= width.into()) && prose().max() > Some(100), "{page}");
        }
    }
}
