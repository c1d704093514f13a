//! The links from the documents of a package to its examples.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{have, scratch};

use super::packages::{deb, made, unpacked};
use super::{documents, done};

/// The examples that a page links to, as `](../examples/...)` or `](examples/...)`.
fn linked_examples(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    links.filter(|link| link.contains("examples/")).map(str::to_owned).collect()
}

#[test]
fn each_example_that_a_document_links_to_is_in_the_packages() {
    if !made() {
        return;
    }
    let top = unpacked();
    let mut places = vec![top.clone()];
    if let Some(deb) = deb().filter(|_| have("dpkg-deb")) {
        let stage = scratch("deb-links");
        done(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&stage));
        places.push(stage.join("usr/share/doc/epollshim"));
    }
    let mut count = 0;
    for place in places {
        let pages = documents().into_iter().filter(|name| name.ends_with(".md"));
        for page in pages.map(|name| place.join(name)) {
            for link in linked_examples(&page) {
                let file = page.parent().unwrap().join(&link);
                assert!(file.exists(), "{}: {link}", page.display());
                count += 1;
            }
        }
    }
    assert!(count >= 15, "{count} links");
}
