//! The folders of a sweep: one for the whole sweep, which is removed at its end, and in it one per
//! run.

use std::fs::{self, DirBuilder, Permissions};
use std::io::Error;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::phases;
use super::spec::{FAULTS, HOME, RECORDINGS, SESSION, SPEC, Spec, TMP};
use crate::Failure;
use crate::sys;
use crate::text::{reason, shown};

/// A folder that is removed with its contents when it is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    /// The folder of a sweep, in `$TMPDIR` or /tmp.
    ///
    /// Root's folder can be traversed by every user who knows its name, which has 128 random bits.
    /// A server that gives up root writes its recordings and files as another user.
    pub fn of_sweep() -> Result<Folder, Failure> {
        let parent = std::env::temp_dir();
        let make = || -> Result<PathBuf, Error> {
            let parent = fs::canonicalize(&parent)?;
            let path = parent.join(format!("epollshim-sweep.{:032x}", sys::random()?));
            DirBuilder::new().mode(0o700).create(&path)?;
            if is_root() {
                fs::set_permissions(&path, Permissions::from_mode(0o711))?;
            }
            Ok(path)
        };
        make().map(Folder).map_err(|error| Failure::usage(format!("{}: {}", shown(&parent), reason(&error))))
    }

    /// The folder of a run, with the request in it.
    pub fn of_run(top: &Path, name: &str, make: impl FnOnce(&Path) -> Spec) -> Result<(Folder, Spec), Error> {
        let folder = Folder(top.join(name));
        let (inner, shared) = if is_root() { (0o755, 0o1777) } else { (0o700, 0o700) };
        directory(&folder.0, inner)?;
        for name in [HOME, TMP, RECORDINGS, FAULTS] {
            directory(&folder.0.join(name), shared)?;
        }
        directory(&folder.0.join(SESSION), 0o700)?;
        phases::make(&folder.0.join(SESSION))?;
        let spec = make(&folder.0);
        fs::write(folder.0.join(SPEC), serde_json::to_vec(&spec).map_err(Error::other)?)?;
        Ok((folder, spec))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_root() -> bool {
    sys::effective_user() == 0
}

fn directory(path: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(path)?;
    // The umask applies to the mode of a mkdir.
    fs::set_permissions(path, Permissions::from_mode(mode))
}
