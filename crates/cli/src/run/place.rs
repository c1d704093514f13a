//! Where the recordings of a run are: a directory that the user names, or a private one that is
//! removed afterwards.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use epollshim_format::options;

use crate::sys;
use crate::text::{reason, shown};

/// How the names of private directories begin.
const PREFIX: &str = "epollshim-run.";

/// Bytes that must be free for the first recordings: some take 300 KB.
const LEAST: u64 = 1 << 20;

pub struct Place {
    pub path: PathBuf,
    /// Made by this run, for it alone.
    pub is_private: bool,
    /// The recordings that were there before.
    before: BTreeSet<PathBuf>,
}

impl Place {
    /// The directory that the user names. It need not exist.
    pub fn given(path: &OsStr) -> Place {
        let path = PathBuf::from(path);
        let before = epollshim_recording::recordings(&path).unwrap_or_default();
        Place { path, is_private: false, before }
    }

    /// Makes a directory of mode 0700 in `$TMPDIR`, or in /tmp where that cannot be used. Err: why
    /// not, a line.
    ///
    /// Of root it has mode 1733, as every directory of recordings that root's processes make: a
    /// server that gives up root makes its recordings as another user.
    pub fn private() -> Result<Place, String> {
        let wanted = std::env::var_os("TMPDIR").filter(|path| !path.is_empty());
        let mut why = None;
        for parent in wanted.into_iter().chain([OsString::from("/tmp")]) {
            match make_in(Path::new(&parent)) {
                Ok(path) => return Ok(Place { path, is_private: true, before: BTreeSet::new() }),
                Err(error) => drop(why.get_or_insert(format!("{}: {}", shown(&parent), reason(&error)))),
            }
        }
        Err(why.unwrap_or_default())
    }

    /// Whether a recording was made by this run.
    pub fn has(&self, recording: &Path) -> bool {
        !self.before.contains(recording)
    }

    /// Why a process can make no recording here; None: it can, as far as is known.
    pub fn trouble(&self) -> Option<String> {
        is_full(&self.path).err().map(|error| reason(&error))
    }

    pub fn remove(&self) {
        if self.is_private {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Whether a value of EPOLLSHIM_RECORD is the private directory of another run.
pub fn is_another_run_s(value: &OsStr) -> bool {
    Path::new(value).file_name().is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()))
}

fn make_in(parent: &Path) -> Result<PathBuf, Error> {
    let parent = std::path::absolute(parent)?;
    is_full(&parent)?;
    for _ in 0..100 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = parent.join(format!("{PREFIX}{}.{now:x}", std::process::id()));
        let entry = [b"EPOLLSHIM_RECORD=", path.as_os_str().as_bytes()].concat();
        if options::parse([entry.as_slice()].into_iter()).1.is_some() {
            return Err(ErrorKind::InvalidFilename.into());
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                if sys::effective_user() == 0 {
                    fs::set_permissions(&path, Permissions::from_mode(0o1733))?;
                }
                return Ok(path);
            }
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Fails where a file system has no space, or no place for another file.
fn is_full(path: &Path) -> Result<(), Error> {
    let (bytes, files) = sys::free(path)?;
    if bytes < LEAST || files == 0 { Err(Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{is_another_run_s, make_in};
    use std::ffi::OsStr;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn a_private_directory_is_its_user_s_alone() {
        let path = make_in(&std::env::temp_dir()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(mode, if crate::sys::effective_user() == 0 { 0o1733 } else { 0o700 });
        assert!(is_another_run_s(path.as_os_str()));
        assert!(!is_another_run_s(OsStr::new("/home/u/rec")));
    }

    #[test]
    fn a_place_that_cannot_be_used_says_why() {
        assert!(make_in(Path::new("/proc/self")).is_err());
        assert!(make_in(Path::new("/no/such/directory")).is_err());
    }
}
