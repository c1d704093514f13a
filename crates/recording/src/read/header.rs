//! The header of a recording, and its directory of segments.

use epollshim_format::recording::{
    DIRECTORY, FIRST_SEGMENT, MACHINE, MAGIC, PAGE, SEGMENTS, VERSION, end, entry, header,
};

use super::{Damage, damage};
use crate::bytes::Bytes;
use crate::model::{End, Header, Notes};

/// Checks that a file begins like a recording that this program can read.
pub fn check_header(file: Bytes) -> Result<(), Damage> {
    let bytes = file.0;
    if bytes.is_empty() {
        return damage(0, "the file is empty");
    }
    match file.get(header::MAGIC) {
        Some(MAGIC) => {}
        Some(0) => return damage(header::MAGIC, "the header was never written"),
        _ => return damage(header::MAGIC, "not a recording (it does not begin with EPOLLREC)"),
    }
    if bytes.len() < PAGE {
        return damage(bytes.len(), format!("the file ends within its header, which has {PAGE} bytes"));
    }
    if file.word(header::VERSION) != VERSION {
        let version = file.word(header::VERSION);
        return damage(header::VERSION, format!("layout version {version}; this program reads version {VERSION}"));
    }
    if file.word(header::MACHINE) != MACHINE {
        let machine = file.word(header::MACHINE);
        return damage(
            header::MACHINE,
            format!("written for ELF machine {machine}; this program reads {MACHINE} (x86-64)"),
        );
    }
    Ok(())
}

pub fn the_header(file: Bytes) -> Header {
    let error = |word| u32::try_from(word).ok().filter(|error| *error != 0);
    let arguments = file.text(header::ARGUMENTS_LENGTH, header::ARGUMENTS, header::ARGUMENTS_BYTES);
    Header {
        pid: file.word(header::PID),
        ppid: file.word(header::PPID),
        began: file.word(header::BEGAN),
        began_unix: file.word(header::BEGAN_UNIX),
        ended: file.word(header::ENDED),
        end: match file.word(header::END) {
            end::NOT_YET => End::NotYet,
            end::EXIT => End::Exit,
            end::UNDERSCORE_EXIT => End::UnderscoreExit,
            end::EXEC => End::Exec,
            end::ABORT => End::Abort,
            end::ABORTED => End::Aborted,
            end::EXIT_GROUP => End::ExitGroup,
            end::SIGNAL => End::Raised,
            other => End::Other(other),
        },
        seed: (file.word(header::HAS_SEED) == 1).then(|| file.word(header::SEED)),
        threads_dropped: file.word(header::THREADS_DROPPED),
        calls_dropped: file.word(header::CALLS_DROPPED),
        entries_dropped: file.word(header::ENTRIES_DROPPED),
        ring: file.word(header::RING),
        trouble: error(file.word(header::TROUBLE)),
        children_lost: file.word(header::CHILDREN_LOST),
        children_trouble: error(file.word(header::CHILDREN_TROUBLE)),
        unseen: file.word(header::UNSEEN),
        why_unseen: file.word(header::UNSEEN_WHY),
        first_unseen: file.text(header::UNSEEN_LENGTH, header::UNSEEN_PATH, header::UNSEEN_BYTES).to_vec(),
        records_most: file.word(header::RECORDS_MOST),
        records_stopped: file.word(header::RECORDS_STOPPED),
        comm: file.part(header::COMM, 16).until_zero().to_vec(),
        exe: file.text(header::EXE_LENGTH, header::EXE, header::EXE_BYTES).to_vec(),
        arguments: self::arguments(arguments),
    }
}

/// Splits the content of `/proc/PID/cmdline` into arguments.
pub fn arguments(text: &[u8]) -> Vec<Vec<u8>> {
    match text.strip_suffix(b"\0").unwrap_or(text) {
        b"" => Vec::new(),
        text => text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect(),
    }
}

/// An entry of the directory of segments.
pub struct Segment {
    pub index: usize,
    pub kind: u64,
    pub start: usize,
    pub end: usize,
    pub extra: u64,
}

/// The segments that lie where segments may lie and overlap no other. `head` is the beginning of
/// the file, at least to the end of the directory.
pub fn segments(head: Bytes, notes: &mut Notes) -> Vec<Segment> {
    let mut taken: Vec<Segment> = Vec::new();
    for index in 0..SEGMENTS {
        let words = head.part(DIRECTORY + index * entry::SIZE, entry::SIZE);
        let (Some(kind), Some(extra)) = (words.get(entry::KIND), words.get(entry::EXTRA)) else {
            let length = head.0.len();
            notes.add_lost(|| format!("the file ends at byte {length}, within the directory of its segments"));
            break;
        };
        if kind == 0 {
            break;
        }
        let (start, length) = (words.word(entry::START), words.word(entry::LENGTH));
        let Some((start, end)) = range(start, length) else {
            notes.add(|| format!("segment {index}: skipped, it cannot begin at {start} and have {length} bytes"));
            continue;
        };
        if taken.iter().any(|other| start < other.end && other.start < end) {
            notes.add(|| format!("segment {index}: skipped, it overlaps another"));
            continue;
        }
        taken.push(Segment { index, kind, start, end, extra });
    }
    taken
}

/// The range of a segment, if a segment may lie there.
fn range(start: u64, length: u64) -> Option<(usize, usize)> {
    let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
    let end = start.checked_add(length)?;
    (start >= FIRST_SEGMENT && length > 0 && start % PAGE == 0 && length % PAGE == 0).then_some((start, end))
}

/// The words of the header that never change in one recording.
pub(super) fn identity(front: Bytes) -> [u64; 4] {
    [header::MAGIC, header::PID, header::BEGAN, header::BEGAN_UNIX].map(|place| front.word(place))
}
