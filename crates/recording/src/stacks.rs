//! Call stacks of a recording: a site that lies in the arena stands for a stack (`epollshim_format::recording::stacks`).

use std::collections::BTreeMap;
use std::sync::Arc;

use epollshim_format::recording::stacks::{DEEPEST, PART};

use crate::bytes::Bytes;
use crate::model::Process;
use crate::modules::Module;
use crate::sites::Site;

/// The parts of the arena that the file has.
#[derive(Default)]
pub struct Stacks {
    /// The address that a part had, and its words.
    parts: Vec<(u64, Vec<u64>)>,
}

impl Stacks {
    /// A part that was at an address. What the file does not hold of it reads as no stack.
    pub fn add(&mut self, address: u64, segment: Bytes) {
        let words = segment.0.len().min(PART) / 8;
        self.parts.push((address, (0..words).map(|word| segment.word(word * 8)).collect()));
    }

    /// The return addresses that a site stands for, the innermost first. None: it is an address of its own.
    pub fn frames(&self, site: u64) -> Option<&[u64]> {
        self.parts.iter().find_map(|(address, words)| {
            let at = usize::try_from(site.checked_sub(*address)? / 8).ok().filter(|at| *at < words.len())?;
            let length = usize::try_from(*words.get(at)?).unwrap_or(usize::MAX).min(DEEPEST);
            words.get(at + 1..at + 1 + length)
        })
    }

    /// Every stack that the file has, the innermost frame first. Parts are filled from their beginnings.
    pub fn all(&self) -> impl Iterator<Item = &[u64]> {
        self.parts.iter().flat_map(|(_, words)| {
            let mut at = 0;
            std::iter::from_fn(move || {
                let length = usize::try_from(*words.get(at)?).ok().filter(|length| (1..=DEEPEST).contains(length))?;
                let frames = words.get(at + 1..at + 1 + length)?;
                at += 1 + length;
                Some(frames)
            })
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

    /// Every frame of a site's stack, the innermost first; nothing of a site that is an address of its own.
    pub fn stack(&self, site: u64) -> Vec<Arc<Site>> {
        self.stacks.frames(site).into_iter().flatten().filter_map(|address| self.site(*address)).collect()
    }

    /// The stacks that were recorded whole (`EPOLLSHIM_STACKS=64`), each by the number that the library has for its innermost
    /// `depth` callers in logs and in `stack=HASH/DEPTH` (src/stacks.rs of the library, `hash`). Their frames are resolved if
    /// `Options::all_stacks` was set.
    pub fn stacks_by_hash(&self, depth: usize) -> BTreeMap<u64, Vec<Arc<Site>>> {
        let of = |frames: &[u64]| frames.iter().filter_map(|address| self.site(*address)).collect();
        let innermost = |frames: &[u64]| self.hash(frames.get(..depth).unwrap_or(frames));
        self.stacks.all().map(|frames| (innermost(frames), of(frames))).collect()
    }

    /// FNV-1a of the base names of the frames' objects, of which the program's is empty, and of the places in them.
    fn hash(&self, frames: &[u64]) -> u64 {
        let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        frames.iter().fold(0xcbf2_9ce4_8422_2325, |hash, address| {
            let module = self.modules.place(*address).module;
            let name = module.filter(|module| module.path != self.header.exe).map_or(&[][..], Module::name);
            let place = module.map_or(0, |module| {
                let offset = address.wrapping_sub(module.start);
                let starts = self.segments.get(&module.path).into_iter().flatten();
                // A return address: the call is right before it.
                offset - starts.filter(|start| **start < offset).max().unwrap_or(&0)
            });
            name.iter().chain(&place.to_le_bytes()).fold(hash, add)
        })
    }
}
