//! `epollshim explain`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{run, stderr, stdout};
use epollshim_format::findings::Id;

#[test]
fn each_finding_is_explained_and_all_are_listed() {
    let list = stdout(&run(&["explain"]));
    assert_eq!(list.lines().count(), Id::ALL.len(), "{list}");
    for (id, line) in Id::ALL.iter().zip(list.lines()) {
        assert!(line.starts_with(id.name()) && line.len() <= 80, "{line}");
        let page = run(&["explain", id.name()]);
        assert!(page.status.success(), "{}", stderr(&page));
        assert!(stdout(&page).starts_with(&format!("# {}: ", id.name())), "{}", stdout(&page));
    }
    let two = stdout(&run(&["explain", "ghost", "leak"]));
    assert!(two.contains("# ghost: ") && two.contains("\n\n# leak: "), "{two}");
}

#[test]
fn an_unknown_finding_is_an_error_of_use_in_one_line() {
    let output = run(&["explain", "gost"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "epollshim: there is no finding 'gost'; did you mean ghost?\n");
    assert_eq!(stdout(&output), "");
}
