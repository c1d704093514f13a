//! Invariants that hold for any bytes of a recording. The fuzzer checks its own inputs
//! (fuzz/targets/recording.rs), and `mutations.rs` checks damaged recordings.

use epollshim_recording::{Format, Set, read, render};

/// Reads a recording and writes it in every format. Returns whether it could be read.
pub fn recording(bytes: &[u8]) -> bool {
    let process = match read(bytes) {
        Ok(process) => process,
        Err(damage) => {
            let text = damage.to_string();
            assert!(damage.place <= bytes.len() && !text.contains('\n') && text.len() < 200, "{text}");
            return false;
        }
    };
    for thread in &process.threads {
        assert!(thread.records.len() as u64 <= thread.seen);
        let became = [thread.seen, thread.overwritten, thread.dropped, thread.unfinished];
        assert_eq!(u128::from(thread.begun), became.map(u128::from).into_iter().sum::<u128>(), "{became:?}");
        assert!(thread.records.is_sorted_by_key(|record| record.began));
    }
    let mut set = Set::default();
    set.processes.push(process);
    for format in Format::ALL {
        let mut out = Vec::new();
        render(&set, format, &mut out).expect("memory takes all");
        let text = std::str::from_utf8(&out).expect("reports are UTF-8");
        match format {
            Format::Text => {
                assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text}");
            }
            Format::Folded => assert!(text.lines().all(is_a_stack), "{text}"),
            Format::Json | Format::Perfetto => {
                serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("valid JSON");
            }
            Format::Html => assert!(text.ends_with("</html>\n")),
            Format::Junit => is_a_document(text),
            Format::Prometheus => assert!(text.ends_with("\nepollshim_unread_recordings 0\n")),
        }
    }
    true
}

/// Whether a line has frames, a space and a count.
fn is_a_stack(line: &str) -> bool {
    line.rsplit_once(' ').is_some_and(|(stack, count)| stack.contains(';') && count.parse::<u64>().is_ok())
}

/// Checks that elements are closed in reverse order of opening, and that the text has only
/// characters that XML allows. (tools.rs runs an XML parser.)
fn is_a_document(text: &str) {
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control() && !"\u{fffe}\u{ffff}".contains(letter)));
    let mut open: Vec<&str> = Vec::new();
    let mut pieces = text.split('<');
    assert_eq!(pieces.next(), Some(""));
    for piece in pieces {
        let (tag, behind) = piece.split_once('>').expect("a tag ends");
        assert!(!behind.contains('>') && tag.matches('"').count() % 2 == 0, "{piece}");
        let name = tag.split(' ').next().unwrap_or_default();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{piece}"),
            None if tag.ends_with(['/', '?']) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for reference in text.split('&').skip(1) {
        assert!(
            ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|known| reference.starts_with(known)),
            "{reference}"
        );
    }
}
