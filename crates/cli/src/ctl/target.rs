//! Finds the process to control, and its own recording.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use epollshim_format::control;
use epollshim_format::recording::{DIRECTORY, MAGIC, PAGE, SEGMENTS, VERSION, entry, header, kind};
use epollshim_recording::running::{Mapped, mapped_by};

use super::names::pid;
use crate::process::{NoProcess, Status};
use crate::text::{reason, shown};
use crate::{Failure, sys};

/// A process and its open recording.
pub struct Target {
    pid: u32,
    name: String,
    /// When it started, in clock ticks after boot. Another process that reuses the number started
    /// at another time.
    start: u64,
    inode: u64,
    path: PathBuf,
    pub file: File,
    /// The offset of the control pages in the file.
    pub control: u64,
    /// Its process id in its own pid namespace, and when its recording began. The checksum of a
    /// request includes both.
    pub own_pid: u64,
    pub began_unix: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Runs,
    Stopped,
    Ended,
    /// It became another program (exec), which has another recording.
    Replaced,
}

/// `name (pid N)`, for messages.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

impl Target {
    /// The process of a process id, if it has a recording that the caller may write. The error is
    /// one line.
    pub fn find(word: &OsStr) -> Result<Target, Failure> {
        let pid = pid(word)?;
        let facts = Facts::of(pid)?;
        facts.check_user(pid)?;
        let name = facts.name.clone();
        let refused = |why: String| Failure::usage(format!("{name} (pid {pid}) {why}"));
        let mapped = mapped_by(pid).map_err(|error| match error.kind() {
            ErrorKind::NotFound => no_process(pid),
            // It ended between two reads.
            _ if error.raw_os_error() == Some(libc::ESRCH) => no_process(pid),
            _ if sys::effective_user() == 0 => refused(format!("cannot be inspected ({})", reason(&error))),
            _ => refused(format!(
                "cannot be inspected ({}): it changed its user, or is not dumpable; try again as root",
                reason(&error)
            )),
        })?;
        let own: Vec<&Mapped> = mapped.iter().filter(|one| names_pid(&one.path, facts.own_pid)).collect();
        if own.is_empty() {
            return Err(refused(without_recording(pid)));
        }
        let mut found: Option<Target> = None;
        let mut why_not = None;
        for one in own {
            match open(pid, one, &facts, &name) {
                Ok(target) if found.as_ref().is_some_and(|known| known.began_unix >= target.began_unix) => {}
                Ok(target) => found = Some(target),
                Err(why) => why_not = why_not.or(Some(why)),
            }
        }
        found.ok_or_else(|| refused(why_not.unwrap_or_default()))
    }

    /// The path of the recording.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn shown_path(&self) -> String {
        shown(&self.path)
    }

    pub fn state(&self) -> State {
        match life(self.pid) {
            Some(life) if life.start == self.start && !life.has_ended => match () {
                () if self.is_unmapped() => State::Replaced,
                () if life.is_stopped => State::Stopped,
                () => State::Runs,
            },
            _ => State::Ended,
        }
    }

    /// Whether the file still has the control pages of the process, that is, whether nobody
    /// truncated it or wrote another recording into it.
    pub fn has_its_control_pages(&self) -> bool {
        let is_long_enough =
            self.file.metadata().is_ok_and(|data| data.len() >= self.control.saturating_add(control::BYTES as u64));
        let word = |at: usize| {
            let mut bytes = [0; 8];
            self.file.read_exact_at(&mut bytes, at as u64).ok().map(|()| u64::from_le_bytes(bytes))
        };
        is_long_enough
            && word(header::MAGIC) == Some(MAGIC)
            && word(header::PID) == Some(self.own_pid)
            && word(header::BEGAN_UNIX) == Some(self.began_unix)
    }

    /// Whether a request is pending that no call has taken yet.
    pub fn is_asked(&self) -> bool {
        let mut bell = [0; 8];
        let place = self.control + control::BELL as u64;
        self.file.read_exact_at(&mut bell, place).is_ok() && bell != [0; 8]
    }

    /// Whether the name of the recording still leads to the file that the process writes.
    pub fn has_its_name(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|data| data.is_file() && data.ino() == self.inode)
    }

    /// Whether the process has memory without the recording in it. (A process that is being killed
    /// loses its memory before it ends.)
    fn is_unmapped(&self) -> bool {
        mapped_by(self.pid).is_ok_and(|mapped| !mapped.iter().any(|one| one.inode == self.inode))
            && fs::read(format!("/proc/{}/maps", self.pid)).is_ok_and(|maps| !maps.is_empty())
    }
}

fn no_process(pid: u32) -> Failure {
    Failure::usage(NoProcess::Absent.message(pid))
}

/// What is asked of a process before it is controlled.
struct Facts {
    /// For display.
    name: String,
    users: Vec<u32>,
    own_pid: u64,
    start: u64,
}

impl Facts {
    fn of(pid: u32) -> Result<Facts, Failure> {
        let status = Status::of(pid).map_err(|none| Failure::usage(none.message(pid)))?;
        let Some(life) = life(pid) else { return Err(no_process(pid)) };
        Ok(Facts {
            name: status.name(),
            users: status.field("Uid").split_whitespace().filter_map(|word| word.parse().ok()).collect(),
            // Its process ids in nested namespaces, from this one inwards. The last is its own.
            own_pid: status
                .field("NSpid")
                .split_whitespace()
                .next_back()
                .and_then(|word| word.parse().ok())
                .unwrap_or(u64::from(pid)),
            start: life.start,
        })
    }

    /// Root may control any process, since it may trace, kill and change it anyway.
    fn check_user(&self, pid: u32) -> Result<(), Failure> {
        let caller = sys::effective_user();
        if caller == 0 || self.users.contains(&caller) {
            return Ok(());
        }
        let (name, owner) = (&self.name, self.users.first().copied().unwrap_or_default());
        Err(Failure::usage(format!(
            "{name} (pid {pid}) belongs to user {owner}, and you are user {caller}; only its owner and root can control it"
        )))
    }
}

struct Life {
    start: u64,
    has_ended: bool,
    is_stopped: bool,
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)).
fn life(pid: u32) -> Option<Life> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name, in parentheses, may contain any byte, so fields are counted from its end. State is
    // field 3.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, threads) = (fields.first()?, fields.get(20 - 3)?.parse::<u64>().ok()?);
    Some(Life {
        start: fields.get(22 - 3)?.parse().ok()?,
        // A main thread that ended before the others is a zombie as well.
        has_ended: threads <= 1 && matches!(*state, "Z" | "X"),
        is_stopped: matches!(*state, "T" | "t"),
    })
}

/// Whether a recording's name `epollshim.PID.START.rec` has this process id. A recording inherited
/// by a fork has that of the parent.
fn names_pid(path: &Path, pid: u64) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').nth(1).is_some_and(|word| word.parse() == Ok(pid))
}

const ENDED: &str = "has ended, or is a kernel thread";

/// Why the process has no recording.
fn without_recording(pid: u32) -> String {
    let has = |file: &str, word: &[u8]| {
        fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|text| text.windows(word.len()).any(|part| part == word))
    };
    let is_ending = || fs::read(format!("/proc/{pid}/maps")).map_or(true, |maps| maps.is_empty());
    if is_ending() {
        return ENDED.to_owned();
    }
    let remedy = "start it with epollshim run --record DIRECTORY -- ...";
    if !has("maps", b"/libepollshim.so") {
        // A process that is being killed loses its mappings one by one.
        std::thread::sleep(std::time::Duration::from_millis(50));
        if is_ending() {
            return ENDED.to_owned();
        }
        return format!("is not running under epollshim; {remedy}");
    }
    if !has("environ", b"EPOLLSHIM_RECORD=") {
        return format!("keeps no recording; {remedy}");
    }
    "has no recording of its own: its first epoll call creates one, if it may write into the directory".to_owned()
}

/// Opens a recording that a process has mapped. The error says why it cannot be used.
fn open(pid: u32, mapped: &Mapped, facts: &Facts, name: &str) -> Result<Target, String> {
    let gone = |how: &str| format!("can no longer be controlled: its recording {} {how}", shown(&mapped.path));
    if mapped.is_deleted {
        return Err(gone("was deleted"));
    }
    let Some(path) = mapped.reachable(pid) else {
        return Err(gone("was replaced, or is where it cannot be reached"));
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)
        .map_err(|error| match fs::symlink_metadata(&path) {
            Ok(data) if error.kind() == ErrorKind::PermissionDenied => format!(
                "cannot be controlled by you: its recording {} belongs to user {}; only that user and root can",
                shown(&path),
                data.uid()
            ),
            _ => format!("cannot be controlled: {}: {}", shown(&path), reason(&error)),
        })?;
    let broken = |what: &str| format!("cannot be controlled: its recording {} {what}", shown(&path));
    let data = file.metadata().map_err(|error| broken(&reason(&error)))?;
    if !data.is_file() || data.ino() != mapped.inode {
        return Err(gone("was replaced"));
    }
    let mut head = vec![0u8; DIRECTORY + SEGMENTS * entry::SIZE];
    file.read_exact_at(&mut head, 0).map_err(|_| broken("is cut short"))?;
    let word = |at: usize| {
        let bytes = head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    if word(header::MAGIC) != MAGIC || word(header::VERSION) != VERSION || word(header::PID) != facts.own_pid {
        return Err(broken("is damaged, or was written by another version"));
    }
    let segment =
        (0..SEGMENTS).map(|index| DIRECTORY + index * entry::SIZE).find(|at| word(at + entry::KIND) == kind::CONTROL);
    let Some(at) = segment else {
        return Err(broken("has no control pages: an older version wrote it, or it is damaged"));
    };
    let (start, length) = (word(at + entry::START), word(at + entry::LENGTH));
    let is_whole = start % PAGE as u64 == 0
        && length >= control::BYTES as u64
        && start.checked_add(length).is_some_and(|end| end <= data.len());
    if !is_whole {
        return Err(broken("has a damaged entry for its control pages"));
    }
    Ok(Target {
        pid,
        name: name.to_owned(),
        start: facts.start,
        inode: mapped.inode,
        control: start,
        own_pid: facts.own_pid,
        began_unix: word(header::BEGAN_UNIX),
        path,
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::{Target, life, names_pid};
    use std::path::Path;

    #[test]
    fn a_recording_of_a_parent_is_not_its_child_s() {
        assert!(names_pid(Path::new("/a/epollshim.12.1700000000.rec"), 12));
        assert!(!names_pid(Path::new("/a/epollshim.12.1700000000.rec"), 1));
        assert!(!names_pid(Path::new("/a/epollshim.rec"), 1));
    }

    #[test]
    fn what_is_no_process_is_said_in_a_line() {
        for (word, said) in
            [("-1", "'-1' is not a process id, such as 1234"), ("4294967295", "there is no process 4294967295")]
        {
            let failure = Target::find(word.as_ref()).err();
            assert_eq!(failure.map(|failure| (failure.status, failure.text)), Some((2, said.into())));
        }
    }

    #[test]
    fn this_process_lives() {
        assert!(life(std::process::id()).is_some_and(|life| !life.has_ended && life.start > 0));
    }
}
