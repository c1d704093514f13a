//! Parses a process id. If it is a name instead, the error lists the processes of that name.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::Failure;
use crate::text::shown;

/// The kernel cuts the name of a process after this many bytes (Linux v6.1 include/linux/sched.h,
/// TASK_COMM_LEN).
const LONGEST: usize = 15;
/// At most this many processes are listed.
const LISTED: usize = 8;

/// Parses a process id.
pub fn pid(word: &OsStr) -> Result<u32, Failure> {
    let digits = word.to_str().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|word| word.parse().ok()).ok_or_else(|| Failure::usage(no_pid(word)))
}

fn no_pid(word: &OsStr) -> String {
    let text = format!("'{}' is not a process id", shown(word));
    let is_name = word.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    if !is_name {
        return format!("{text}, such as 1234");
    }
    let found = named(word.as_bytes());
    let mut pids: Vec<String> = found.iter().take(LISTED).map(ToString::to_string).collect();
    if found.len() > LISTED {
        pids.push(format!("and {} more", found.len() - LISTED));
    }
    match found.len() {
        0 => format!("{text}, and no process has that name; pgrep -f finds processes by their command lines"),
        1 => format!("{text}; process {} has that name", pids.join("")),
        number => format!("{text}; {number} processes have that name: {}", pids.join(", ")),
    }
}

/// The processes of a name, which is that of the process or of its program's file.
fn named(name: &[u8]) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let comm = fs::read(entry.path().join("comm")).ok()?;
            let is_comm = comm.trim_ascii_end() == name.get(..LONGEST).unwrap_or(name);
            let is_file =
                || fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe.ends_with(OsStr::from_bytes(name)));
            (is_comm || is_file()).then_some(pid)
        })
        .collect();
    pids.sort_unstable();
    pids
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{named, pid};
    use std::process::Command;

    #[test]
    fn a_name_is_no_pid_and_its_processes_are_listed() {
        let directory = std::env::temp_dir().join(format!("epollshim-names-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        // Longer than a name of the kernel.
        let program = directory.join("sleeps-for-a-long-time");
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let said = |word: &str| pid(word.as_ref()).unwrap_err().text;
        let none = "'sleeps-for-a-long-time' is not a process id, and no process has that name; \
                    pgrep -f finds processes by their command lines";
        assert_eq!(said("sleeps-for-a-long-time"), none);
        let mut children = [(); 2].map(|()| Command::new(&program).arg("60").spawn().unwrap());
        let mut pids = children.each_ref().map(std::process::Child::id);
        pids.sort_unstable();
        let both = said("sleeps-for-a-long-time");
        children.iter_mut().for_each(|child| child.kill().and(child.wait()).map(drop).unwrap());
        std::fs::remove_dir_all(&directory).unwrap();
        let [one, other] = pids;
        assert_eq!(
            both,
            format!("'sleeps-for-a-long-time' is not a process id; 2 processes have that name: {one}, {other}")
        );
        assert_eq!(named(b"sleeps-for-a-long-time"), [] as [u32; 0]);
        assert_eq!(pid("12".as_ref()).ok(), Some(12));
        assert_eq!(said("-1"), "'-1' is not a process id, such as 1234");
        assert_eq!(said("7x"), "'7x' is not a process id, such as 1234");
    }
}
