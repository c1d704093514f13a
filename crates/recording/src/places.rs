//! Finds the function and line of a place in an object's file, such as `app+0x11f2`. The log of
//! faults has its frames in this form.

use std::collections::BTreeMap;
use std::path::Path;

use epollshim_format::faults::decisions;

use crate::load::{Options, Set};
use crate::modules::Module;
use crate::sites::{Resolver, Site};

/// The objects that the processes of recordings had mapped.
pub struct Places<'a> {
    resolver: Resolver<'a>,
    /// By the name in the log: the object, and when a process that had mapped it began, in
    /// nanoseconds since 1970.
    objects: BTreeMap<Vec<u8>, (Module, u64)>,
}

impl<'a> Places<'a> {
    pub fn new(options: &'a Options) -> Places<'a> {
        Places { resolver: Resolver::new(options), objects: BTreeMap::new() }
    }

    /// Adds the objects of all processes of a set.
    pub fn add(&mut self, set: &Set) {
        for process in &set.processes {
            for module in process.modules.all() {
                let name = decisions::object(module.name().iter().copied()).collect();
                self.objects.entry(name).or_insert_with(|| (module.clone(), process.header.began_unix));
            }
        }
    }

    /// Adds a file, and returns its name in the log. The file must not have changed since it was
    /// mapped.
    pub fn add_file(&mut self, path: &Path) -> String {
        let path = path.as_os_str().as_encoded_bytes().to_vec();
        let module = Module { start: 0, end: 0, build_id: None, path };
        let name: Vec<u8> = decisions::object(module.name().iter().copied()).collect();
        let text = String::from_utf8_lossy(&name).into_owned();
        self.objects.insert(name, (module, u64::MAX));
        text
    }

    /// Looks up a return address, given in the addresses of an object's file. An unknown one is
    /// returned as it is.
    pub fn site(&mut self, frame: &str) -> Site {
        let site = Site::plain(frame.to_owned());
        let halves = frame.rsplit_once("+0x").map(|(name, offset)| (name, u64::from_str_radix(offset, 16)));
        match halves {
            Some((name, Ok(address))) => match self.objects.get(name.as_bytes()) {
                Some((module, began)) => self.resolver.site_in_file(module, address, *began, site),
                None => site,
            },
            _ => site,
        }
    }
}
