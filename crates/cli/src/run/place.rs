//! The directory of the recordings: one that the user names, or a private one that is removed
//! afterwards.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use epollshim_format::options;
use epollshim_recording::OF_RUN as PREFIX;

use crate::sys;
use crate::text::{reason, shown};

/// The bytes that must be free for the first recordings. Some take 300 KB.
const LEAST: u64 = 1 << 20;

pub struct Place {
    pub path: PathBuf,
    /// It was created for this run.
    pub is_private: bool,
    /// The recordings that existed before this run.
    before: BTreeSet<PathBuf>,
}

impl Place {
    /// The directory that the user names. It need not exist.
    pub fn given(path: &OsStr) -> Place {
        let path = PathBuf::from(path);
        let before = epollshim_recording::recordings(&path).unwrap_or_default();
        Place { path, is_private: false, before }
    }

    /// Creates a directory of mode 0700 in `$TMPDIR`, or in /tmp if that fails. The error is one
    /// line.
    ///
    /// For root it is a directory of mode 1733 in one of mode 0711. A server that gives up root,
    /// and its children, create and open their files by name as another user, which mode 0700 would
    /// deny. The inner directory has a random name and cannot be listed: only processes that
    /// inherit the name in their environment find it.
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

    /// Why no recording can be created here. None: no reason is known.
    pub fn trouble(&self) -> Option<String> {
        is_full(&self.path).err().map(|error| reason(&error))
    }

    pub fn remove(&self) {
        if self.is_private {
            let _ = fs::remove_dir_all(self.top());
        }
    }

    /// The directory to remove when the recordings are no longer needed.
    pub fn top(&self) -> &Path {
        let parent = self.path.parent().filter(|parent| self.is_private && is_another_run_s(parent.as_os_str()));
        parent.unwrap_or(&self.path)
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
        let is_shared = sys::effective_user() == 0;
        let inner = if is_shared { path.join(format!("{PREFIX}{:032x}", sys::random()?)) } else { path.clone() };
        let entry = [b"EPOLLSHIM_RECORD=", inner.as_os_str().as_bytes()].concat();
        if options::parse([entry.as_slice()].into_iter()).1.is_some() {
            return Err(ErrorKind::InvalidFilename.into());
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                if is_shared {
                    share(&path, &inner).inspect_err(|_| drop(fs::remove_dir_all(&path)))?;
                }
                return Ok(inner);
            }
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Creates `inner` in root's new directory `path`. Every user may create files in `inner`, and only
/// the owner of a file may remove it. Every user may traverse `path`, and only root may list it.
fn share(path: &Path, inner: &Path) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(inner)?;
    // The umask applies to the mode of a mkdir.
    fs::set_permissions(inner, Permissions::from_mode(0o1733))?;
    fs::set_permissions(path, Permissions::from_mode(0o711))
}

/// Fails if a file system has no free space or no free inode.
fn is_full(path: &Path) -> Result<(), Error> {
    let (bytes, files) = sys::free(path)?;
    if bytes < LEAST || files == 0 { Err(Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Place, is_another_run_s, make_in};
    use std::collections::BTreeSet;
    use std::ffi::OsStr;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn a_private_directory_is_its_user_s_alone() {
        let place =
            || Place { path: make_in(&std::env::temp_dir()).unwrap(), is_private: true, before: BTreeSet::new() };
        let (place, other) = (place(), place());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let (path, top) = (&place.path, place.top());
        if crate::sys::effective_user() == 0 {
            assert_eq!((mode(path), mode(top)), (0o1733, 0o711));
            assert_eq!(path.parent(), Some(top));
            assert_ne!(path.file_name(), other.path.file_name());
        } else {
            assert_eq!((mode(path), path.as_path()), (0o700, top));
        }
        place.remove();
        other.remove();
        assert!(!top.exists() && !other.top().exists());
        assert!(is_another_run_s(path.as_os_str()));
        assert!(!is_another_run_s(OsStr::new("/home/u/rec")));
    }

    #[test]
    fn a_place_that_cannot_be_used_says_why() {
        assert!(make_in(Path::new("/proc/self")).is_err());
        assert!(make_in(Path::new("/no/such/directory")).is_err());
    }
}
