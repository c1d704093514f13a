//! Call stacks of a recording. A site whose address lies in the arena stands for a stack
//! (`epollshim_format::recording::stacks`).

use std::sync::Arc;

use epollshim_format::recording::stacks::{DEEPEST, PART};

use crate::bytes::Bytes;
use crate::model::Process;
use crate::sites::Site;

/// The parts of the arena of stacks that the file has.
#[derive(Default)]
pub struct Stacks {
    /// The address of each part in the process, and its words.
    parts: Vec<(u64, Vec<u64>)>,
}

impl Stacks {
    /// Adds the part at an address. Stacks that the file does not hold are not found.
    pub fn add(&mut self, address: u64, segment: Bytes) {
        let words = segment.0.len().min(PART) / 8;
        self.parts.push((address, (0..words).map(|word| segment.word(word * 8)).collect()));
    }

    /// The return addresses of the stack that a site stands for, the innermost first. None: the
    /// site is itself an address.
    pub fn frames(&self, site: u64) -> Option<&[u64]> {
        self.parts.iter().find_map(|(address, words)| {
            let at = usize::try_from(site.checked_sub(*address)? / 8).ok().filter(|at| *at < words.len())?;
            let length = usize::try_from(*words.get(at)?).unwrap_or(usize::MAX).min(DEEPEST);
            words.get(at + 1..at + 1 + length)
        })
    }

    /// The return address of a site.
    pub fn address(&self, site: u64) -> u64 {
        self.frames(site).map_or(site, |frames| frames.first().copied().unwrap_or(0))
    }
}

impl Process {
    /// The return address of a site.
    pub fn address(&self, site: u64) -> u64 {
        self.stacks.address(site)
    }

    /// All frames of a site's stack, the innermost first. Empty if the site is itself an address.
    pub fn stack(&self, site: u64) -> Vec<Arc<Site>> {
        self.stacks.frames(site).into_iter().flatten().filter_map(|address| self.site(*address)).collect()
    }
}
