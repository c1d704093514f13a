//! Phases of a program, set by the process that drives it. A server starts, serves and stops. A
//! program that ends by itself only starts.
//!
//! A rule with `phase=` reads a word in a page that the processes of the program share with the
//! process that drives them (docs/faults.md).

use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use epollshim_format::faults::shared;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    #[default]
    Start,
    Serve,
    Stop,
}

impl Phase {
    pub const ALL: [Phase; 3] = [Phase::Start, Phase::Serve, Phase::Stop];

    pub const fn name(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Serve => "serve",
            Phase::Stop => "stop",
        }
    }

    pub fn named(name: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.name() == name)
    }

    const fn word(self) -> u64 {
        match self {
            Phase::Start => shared::Phase::Start as u64,
            Phase::Serve => shared::Phase::Serve as u64,
            Phase::Stop => shared::Phase::Stop as u64,
        }
    }
}

/// Creates the shared page in the directory of a session, which must belong to the user alone. The
/// phase is start.
pub fn make(session: &Path) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(session.join(shared::NAME))?;
    file.set_len(shared::SIZE as u64)
}

/// Sets the phase for the processes of a session.
pub fn begin(session: &Path, phase: Phase) -> Result<(), Error> {
    let file: File = OpenOptions::new().write(true).open(session.join(shared::NAME))?;
    file.write_all_at(&phase.word().to_ne_bytes(), shared::PHASE as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Phase, begin, make};
    use std::fs;

    #[test]
    fn the_word_of_the_page_says_the_phase() {
        let folder = crate::sweep::folder::Folder::of_sweep().unwrap();
        make(&folder.0).unwrap();
        assert!(make(&folder.0).is_err(), "another run's is left alone");
        for phase in Phase::ALL {
            begin(&folder.0, phase).unwrap();
            let page = fs::read(folder.0.join("faults.1")).unwrap();
            assert_eq!((page.len(), page.get(16..24)), (4096, Some(&(phase as u64).to_ne_bytes()[..])));
            assert_eq!(Phase::named(phase.name()), Some(phase));
        }
    }
}
