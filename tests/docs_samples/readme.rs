//! README.md: three screens, whose commands work when they are pasted.

use super::pasted::{Reader, commands};
use super::sample::is_real;
use super::{has_python, named_as_in};
use testkit::{free_port, have, root, until};

const README: &str = "README.md";

fn text() -> String {
    std::fs::read_to_string(root().join(README)).unwrap()
}

#[test]
fn it_fits_three_screens() {
    let text = text();
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(wide.is_empty(), "wider than 100 columns: {wide:#?}");
    assert!(text.lines().count() <= 150, "{} lines", text.lines().count());
}

/// The anchors of a page: its headings, as GitHub writes them in addresses.
fn anchors(page: &str) -> Vec<String> {
    let headings =
        page.lines().filter_map(|line| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()));
    let kept = |letter: &char| letter.is_alphanumeric() || "-_ ".contains(*letter);
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn each_link_leads_somewhere() {
    let text = text();
    let links: Vec<&str> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 10);
    for link in links {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = if file.is_empty() { README } else { file };
        let page = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{link}: {error}"));
        assert!(anchor.is_empty() || anchors(&page).iter().any(|it| it == anchor), "{link}: no such heading");
    }
}

#[test]
fn run_finds_the_leak() {
    let reader = Reader::new(free_port());
    let shown = text().lines().find_map(|line| line.trim_start().strip_prefix("$ sed ").map(str::to_owned)).unwrap();
    let printed = reader.pastes(&format!("sed {shown}\n{}", commands(README, "cc -g -o leak guide/leak.c")));
    is_real(README, "$ sed ", &printed);
}

#[test]
fn inspect_finds_the_server_that_is_stuck() {
    if !has_python() {
        return;
    }
    let reader = Reader::new(free_port());
    let block = commands(README, "python3 guide/stuck.py &");
    // On a loaded machine the server may still be reading when it is looked at.
    let printed = until("inspect finds the server stalled", || {
        let printed = reader.pastes(&block);
        printed.contains("stalled").then_some(printed)
    });
    is_real(README, "Findings: 1", &printed);
}

#[test]
fn nginx_survives_a_process_without_descriptors() {
    if !have("nginx") || !have("curl") {
        return;
    }
    for (document, first, shown) in [
        (README, "epollshim run --inject accept4:error=EMFILE", "hello"),
        (
            "docs/faults.md",
            "$ epollshim run --inject accept4:error=EMFILE",
            "$ epollshim run --inject accept4:error=EMFILE",
        ),
    ] {
        let printed = Reader::new(free_port()).pastes(&commands(document, first));
        is_real(document, shown, &printed);
    }
}

#[test]
fn sweep_finds_the_crash() {
    let printed = Reader::new(free_port()).pastes(&commands(README, "cc -g -o save tour/save.c"));
    is_real(README, "1. crash: ", &named_as_in(README, &printed));
}
