//! What holds whatever bytes a recording has. The fuzzer runs this on its own inputs (fuzz/targets/recording.rs),
//! `mutations.rs` on valid recordings that were damaged.

use epollshim_recording::{Format, Set, read, render};

/// Reads, and writes every report. Whether it could be read.
pub fn recording(bytes: &[u8]) -> bool {
    let process = match read(bytes) {
        Ok(process) => process,
        Err(damage) => {
            let told = damage.to_string();
            assert!(damage.place <= bytes.len() && !told.contains('\n') && told.len() < 200, "{told}");
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

/// Frames, a space and a count.
fn is_a_stack(line: &str) -> bool {
    line.rsplit_once(' ').is_some_and(|(stack, count)| stack.contains(';') && count.parse::<u64>().is_ok())
}

/// Elements close in the order in which they were opened, and no text has what XML does not allow. (tools.rs has a parser look.)
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
        assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|known| reference.starts_with(known)), "{reference}");
    }
}
