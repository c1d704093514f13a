//! Descriptions of descriptors in a recording (`epollshim_format::descriptor`).

use std::collections::BTreeMap;

use epollshim_format::census::Kind;
use epollshim_format::descriptor::{self, Kept};
use epollshim_format::recording::{described, open_at_end};
use serde_json::{Map, Value};

use crate::bytes::Bytes;
use crate::modules::plain;

/// The description of a descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    pub fd: i32,
    fields: Vec<u8>,
}

impl Descriptor {
    /// None: the entry is not in use.
    fn read(entry: Bytes<'_>) -> Option<Descriptor> {
        let what = entry.word(described::WHAT);
        let fd = (what as u32).checked_sub(1)? as i32;
        let length = usize::try_from(what >> 32).unwrap_or(usize::MAX);
        let kept = Kept::read(length, |index| entry.word(described::FIELDS + index * 8));
        Some(Descriptor { fd, fields: kept.as_bytes().to_vec() })
    }

    /// `tcp 127.0.0.1:80 -> 127.0.0.1:50000 CLOSE_WAIT`.
    pub fn text(&self) -> String {
        plain(descriptor::Descriptor(&self.fields).to_string().as_bytes())
    }

    /// The object of a report.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("fd".into(), self.fd.into());
        object.insert("kind".into(), Value::Null);
        for (letter, value) in descriptor::Descriptor(&self.fields).fields() {
            let Some((key, of)) = descriptor::key(letter) else { continue };
            let text = String::from_utf8_lossy(value);
            let value = match of {
                descriptor::Value::Text => text.into(),
                descriptor::Value::Number => match text.parse::<u64>() {
                    Ok(number) => number.into(),
                    Err(_) => continue,
                },
                descriptor::Value::Flag => true.into(),
            };
            object.insert(key.into(), value);
        }
        object.into()
    }
}

/// The descriptors of findings, by the findings' places in the table.
pub fn of_findings(segment: Bytes<'_>) -> BTreeMap<u16, Descriptor> {
    let entries = segment.0.chunks_exact(described::SIZE).take(usize::from(u16::MAX));
    (0..).zip(entries).filter_map(|(place, entry)| Some((place, Descriptor::read(Bytes(entry))?))).collect()
}

/// The descriptors that were open at the end, by creating call and kind.
pub fn open_at_end(segment: Bytes<'_>) -> BTreeMap<(u64, Kind), Vec<Descriptor>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let count = usize::try_from(segment.word(open_at_end::COUNT)).unwrap_or(usize::MAX).min(open_at_end::MOST);
    let entries = segment.0.get(open_at_end::FIRST..).unwrap_or_default();
    for entry in entries.chunks_exact(open_at_end::SIZE).take(count).map(Bytes) {
        let key = (entry.word(open_at_end::SITE), Kind::from_number(entry.word(open_at_end::KIND)));
        if let Some(read) = Descriptor::read(entry.part(open_at_end::DESCRIBED, described::SIZE)) {
            all.entry(key).or_default().push(read);
        }
    }
    all
}

/// Lines of text. Equal neighbours share a line. `all` is the number of descriptors, described or
/// not.
pub fn lines(some: &[Descriptor], all: u64) -> Vec<String> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for one in some {
        let text = one.text();
        match lines.last_mut() {
            Some((numbers, known)) if *known == text => numbers.push_str(&format!(" {}", one.fd)),
            _ => lines.push((format!("fd {}", one.fd), text)),
        }
    }
    let mut lines: Vec<String> = lines.into_iter().map(|(numbers, text)| format!("{numbers}: {text}")).collect();
    let more = all.saturating_sub(some.len() as u64);
    if more > 0 && !lines.is_empty() {
        lines.push(format!("and {more} more"));
    }
    lines
}
