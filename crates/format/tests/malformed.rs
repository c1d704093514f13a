//! The messages about bad options, word for word: `malformed.txt` has an entry of the environment,
//! and below it the message.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::collections::BTreeMap;

use epollshim_format::faults;
use epollshim_format::options::parse;

#[test]
fn every_message_is_the_expected_one() {
    let lines: Vec<_> = include_str!("malformed.txt").lines().collect();
    let mut cases = BTreeMap::<_, usize>::new();
    for case in lines.chunks(2) {
        let (entry, wanted) = (case[0], case[1].trim_start());
        let (_, problem) = parse([entry.as_bytes()].into_iter());
        assert_eq!(problem.map(|problem| problem.to_string()).as_deref(), Some(wanted), "{entry}");
        *cases.entry(entry.split('=').next()).or_default() += 1;
    }
    let of_faults = cases[&Some("EPOLLSHIM_INJECT")];
    let of_limits = cases[&Some("EPOLLSHIM_LIMIT")];
    assert!(of_faults >= 40 && of_limits >= 20, "{cases:?}");
}

#[test]
fn a_message_is_one_line_of_printable_ascii_whatever_the_option() {
    let text = [b"epoll_wait:\x1b[31m\n\xff".as_slice(), &[b'\''; 300]].concat();
    let complaint = faults::check(&text, false).map_err(|fault| fault.to_string()).unwrap_err();
    assert!(complaint.starts_with(r"unknown action or condition '\x1b[31m\n\xff\'\'"), "{complaint}");
    assert!(complaint.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{complaint}");
    assert!(complaint.len() < 1000, "{complaint}");
}
