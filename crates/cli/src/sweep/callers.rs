//! Reads the stack of a thread: the functions that called each other, by the call frame information
//! of the objects that its process has mapped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use epollshim_recording::{Options, Places};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};
use object::{Object, ObjectSection, ObjectSegment};

use super::names;
use crate::sys::trace::Registers;

#[cfg(target_arch = "aarch64")]
use framehop::aarch64::{CacheAarch64 as Cache, UnwindRegsAarch64 as Regs, UnwinderAarch64 as NativeUnwinder};
#[cfg(target_arch = "x86_64")]
use framehop::x86_64::{CacheX86_64 as Cache, UnwindRegsX86_64 as Regs, UnwinderX86_64 as NativeUnwinder};

/// At most this many frames of a stack are read.
const MOST: usize = 10;
/// Larger files are not read.
const LARGEST: u64 = 1 << 30;

/// An object as it is mapped.
struct Mapped {
    range: Range<u64>,
    /// The difference between an address in memory and in the file.
    bias: u64,
    name: String,
}

/// The objects of one process, which are needed to read the stacks of its threads.
pub struct Objects<'a> {
    unwinder: NativeUnwinder<Vec<u8>>,
    mapped: Vec<Mapped>,
    places: Places<'a>,
    memory: Option<File>,
}

impl<'a> Objects<'a> {
    /// `options` names the directories of debug files.
    pub fn of(pid: i32, options: &'a Options) -> Objects<'a> {
        let mut objects = Objects {
            unwinder: NativeUnwinder::new(),
            mapped: Vec::new(),
            places: Places::new(options),
            memory: File::open(format!("/proc/{pid}/mem")).ok(),
        };
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        for (path, range) in ranges(&maps) {
            objects.add(&path, range);
        }
        objects
    }

    /// If the file of an object cannot be read, its frames are walked by frame pointers, and have
    /// no names.
    fn add(&mut self, path: &Path, range: Range<u64>) -> Option<()> {
        let facts = fs::metadata(path).ok().filter(|facts| facts.is_file() && facts.len() <= LARGEST);
        let bytes = fs::read(facts.and(Some(path))?).ok()?;
        let file = object::File::parse(&*bytes).ok()?;
        // The loader maps whole pages, so the range begins at the page of the first segment.
        let first = file.segments().map(|segment| segment.address()).min()? & !0xfff;
        let bias = range.start.wrapping_sub(first);
        let address = |name: &str| {
            file.section_by_name(name).map(|section| section.address()..section.address() + section.size())
        };
        let data = |name: &str| Some(file.section_by_name(name)?.uncompressed_data().ok()?.into_owned());
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: address(".text"),
            text: data(".text"),
            got_svma: address(".got"),
            eh_frame_svma: address(".eh_frame"),
            eh_frame: data(".eh_frame"),
            eh_frame_hdr_svma: address(".eh_frame_hdr"),
            eh_frame_hdr: data(".eh_frame_hdr"),
            ..Default::default()
        };
        let name = self.places.add_file(path);
        self.unwinder.add_module(Module::new(name.clone(), range.clone(), bias, sections));
        self.mapped.push(Mapped { range, bias, name });
        Some(())
    }

    /// The functions on the stack of a thread, innermost first: `make < main`.
    pub fn text(&mut self, registers: Registers) -> String {
        let memory = self.memory.as_ref();
        let mut read = |address: u64| {
            let mut word = [0; 8];
            memory.ok_or(())?.read_exact_at(&mut word, address).map_err(drop)?;
            Ok(u64::from_ne_bytes(word))
        };
        #[cfg(target_arch = "x86_64")]
        let regs = Regs::new(registers.at, registers.stack, registers.frame);
        #[cfg(target_arch = "aarch64")]
        let regs = Regs::new(registers.link, registers.stack, registers.frame);
        let mut cache = Cache::<_>::new();
        let mut frames = self.unwinder.iter_frames(registers.at, regs, &mut cache, &mut read);
        let mut addresses = Vec::new();
        while let Ok(Some(frame)) = frames.next()
            && addresses.len() < MOST
        {
            // Like a return address, which is that of the next instruction.
            addresses.push(frame.address_for_lookup() + 1);
        }
        let mut names = Vec::new();
        for name in addresses.into_iter().filter_map(|address| self.name(address)) {
            if names::starts_programs(&name) {
                break;
            }
            let is_first = name.starts_with("main ") || name.starts_with("main+");
            names.push(name);
            if is_first {
                break;
            }
        }
        names.join(" < ")
    }

    /// None: the address is in no object, or in epollshim's library.
    fn name(&mut self, address: u64) -> Option<String> {
        let object = self.mapped.iter().find(|object| object.range.contains(&address))?;
        if object.name.starts_with("libepollshim") {
            return None;
        }
        let site = self.places.site(&format!("{}+{:#x}", object.name, address.wrapping_sub(object.bias)));
        site.frames().next()
    }
}

/// The mapped files and their address ranges (proc_pid_maps(5)).
fn ranges(maps: &str) -> BTreeMap<PathBuf, Range<u64>> {
    let mut ranges: BTreeMap<PathBuf, Range<u64>> = BTreeMap::new();
    for line in maps.lines() {
        let Some((facts, path)) = line.find('/').and_then(|at| line.split_at_checked(at)) else { continue };
        let ends = facts.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let Some((Some(start), Some(end))) = ends.map(|(start, end)| (number(start), number(end))) else { continue };
        let range = ranges.entry(path.into()).or_insert(start..end);
        *range = range.start.min(start)..range.end.max(end);
    }
    ranges
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::{Objects, ranges};
    use crate::sys::trace;
    use epollshim_recording::Options;
    use std::path::Path;
    use std::process::{Command, Stdio};

    #[test]
    fn a_file_has_one_range() {
        let maps = "1000-2000 r--p 00000000 fe:01 7 /lib/a.so\n2000-4000 r-xp 00001000 fe:01 7 /lib/a.so\n5000-6000 rw-p 0 00:00 0 \n";
        let ranges = ranges(maps);
        assert_eq!(ranges.get(Path::new("/lib/a.so")), Some(&(0x1000..0x4000)));
        assert_eq!(ranges.len(), 1);
    }

    #[test]
    fn a_program_that_sleeps_stands_in_a_function_of_libc() {
        let mut child = Command::new("sleep").arg("100").stdin(Stdio::null()).spawn().expect("sleep");
        let pid = child.id() as i32;
        let is_asleep = || {
            let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
            call.starts_with(&format!("{} ", libc::SYS_clock_nanosleep))
        };
        while !is_asleep() {
            std::thread::yield_now();
        }
        let registers = trace::look(pid);
        let options = Options::default();
        let text = registers.map(|registers| Objects::of(pid, &options).text(registers));
        let _ = child.kill();
        let _ = child.wait();
        let text = text.expect("ptrace");
        assert!(text.contains("nanosleep") && text.contains(" < "), "{text}");
    }
}
