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
            Format::Text => assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}"),
            Format::Json | Format::Perfetto => {
                serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("valid JSON");
            }
            Format::Html => assert!(text.ends_with("</html>\n")),
            Format::Prometheus => assert!(text.ends_with("# EOF\n")),
        }
    }
    true
}
