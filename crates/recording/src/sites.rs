//! Finds the function and line of an address, from the objects and debug files on this machine.
//!
//! An object is used only if its build id is the recorded one or, if none was recorded, if it has
//! not changed since. The lines of another version would be wrong. Files that a recording names are
//! opened read-only, and only if they are plain files of a bounded size.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use addr2line::demangle_auto;
use gimli::{EndianArcSlice, RunTimeEndian};
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

use crate::load::{Options, copy};
use crate::modules::{Module, Place, plain};

/// The largest object or debug file that is read.
const LARGEST: u64 = 1 << 30;
/// The most bytes of objects that are read for a report, and the most addresses that are looked up.
const BUDGET: u64 = 4 << 30;
const LOOKUPS: usize = 20_000;
/// An address farther than this from the symbol before it does not get its name.
const FARTHEST: u64 = 1 << 20;

/// A place in a program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Site {
    /// `object+0xoffset`, or a bare address.
    pub text: String,
    pub function: Option<String>,
    /// The distance from the beginning of the function, if no line is known.
    pub offset: Option<u64>,
    /// The function is only the nearest known symbol before the place, and ends before the place.
    pub behind: bool,
    pub file: Option<String>,
    pub line: Option<u32>,
    /// The functions that `function` was inlined into, with the places, the innermost first.
    pub inlined_into: Vec<String>,
}

impl Site {
    pub fn plain(text: String) -> Site {
        Site { text, ..Site::default() }
    }

    /// `src/main.c:12`, with only the last directory.
    pub fn location(&self) -> Option<String> {
        let file = self.file.as_deref()?;
        let mut parts = file.rsplit('/');
        let name = parts.next().unwrap_or(file);
        let near = match parts.next() {
            Some(directory) if !directory.is_empty() && directory != "." => format!("{directory}/{name}"),
            _ => name.to_owned(),
        };
        Some(match self.line {
            Some(line) => format!("{near}:{line}"),
            None => near,
        })
    }

    /// The place, and the places that it was inlined into. All but the last function are marked as
    /// inlined, as perf-script(1) and gdb do.
    pub fn frames(&self) -> impl Iterator<Item = String> {
        let last = self.inlined_into.len();
        let frames = std::iter::once(self.best()).chain(self.inlined_into.iter().cloned());
        frames.enumerate().map(move |(index, frame)| if index < last { format!("{frame} [inlined]") } else { frame })
    }

    /// The most precise description that is known, such as `aeApiCreate (src/ae_epoll.c:43)`.
    pub fn best(&self) -> String {
        match (&self.function, self.location()) {
            (Some(function), Some(location)) => format!("{function} ({location})"),
            (Some(_), None) if self.behind => self.text.clone(),
            (Some(function), None) => format!("{function}+{:#x}", self.offset.unwrap_or(0)),
            (None, Some(location)) => location,
            (None, None) => self.text.clone(),
        }
    }
}

type Slice = EndianArcSlice<RunTimeEndian>;

/// The symbols and lines of an object.
struct Known {
    /// The address at which its first byte is linked, rounded down to a page.
    base: u64,
    /// Address, size and name, sorted by address.
    symbols: Vec<(u64, u64, String)>,
    lines: Option<addr2line::Context<Slice>>,
}

type Key = (Vec<u8>, Option<Vec<u8>>);

pub struct Resolver<'a> {
    options: &'a Options,
    objects: HashMap<Key, Option<Rc<Known>>>,
    sites: HashMap<(Key, u64), Site>,
    budget: u64,
    lookups: usize,
}

impl Resolver<'_> {
    pub fn new(options: &Options) -> Resolver<'_> {
        Resolver { options, objects: HashMap::new(), sites: HashMap::new(), budget: BUDGET, lookups: LOOKUPS }
    }

    /// Looks up an address. An object without a recorded build id must not have changed since
    /// `began` (nanoseconds since 1970).
    pub fn site(&mut self, place: Place<'_>, address: u64, began: u64) -> Site {
        let mut site = Site::plain(place.text(address));
        let Some(module) = place.module else { return site };
        if self.options.raw || !module.path.starts_with(b"/") {
            return site;
        }
        let key = (module.path.clone(), module.build_id.clone());
        // A return address follows the call instruction, so the call is one byte before it.
        let offset = address.saturating_sub(1).saturating_sub(module.start);
        let cached = (key, offset);
        if let Some(known) = self.sites.get(&cached) {
            return known.clone();
        }
        if self.lookups == 0 {
            return site;
        }
        self.lookups -= 1;
        if let Some(known) = self.object(module, &cached.0, began) {
            known.describe(offset, &mut site);
        }
        self.sites.insert(cached, site.clone());
        site
    }

    /// As `site`, for an address in the addresses of the object's file.
    pub fn site_in_file(&mut self, module: &Module, address: u64, began: u64, mut site: Site) -> Site {
        let key = (module.path.clone(), module.build_id.clone());
        if let Some(known) = self.object(module, &key, began) {
            known.describe(address.saturating_sub(1).saturating_sub(known.base), &mut site);
        }
        site
    }

    fn object(&mut self, module: &Module, key: &Key, began: u64) -> Option<Rc<Known>> {
        if let Some(known) = self.objects.get(key) {
            return known.clone();
        }
        let known = self.open(module, began).map(Rc::new);
        self.objects.insert(key.clone(), known.clone());
        known
    }

    fn open(&mut self, module: &Module, began: u64) -> Option<Known> {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(&module.path));
        let own = match &module.build_id {
            Some(build_id) => self.read(path, Some(build_id)),
            None if unchanged(path, began) => self.read(path, None),
            None => None,
        };
        // A copy among the debug files may replace the object itself.
        let debug = module.build_id.as_ref().and_then(|id| self.debug_file(id, path, own.as_deref()));
        Known::new(own.as_deref(), debug.as_deref())
    }

    /// The bytes of a file, if it is an object and, if `build_id` is given, has that build id.
    fn read(&mut self, path: &Path, build_id: Option<&[u8]>) -> Option<Vec<u8>> {
        let bytes = copy(path, LARGEST.min(self.budget)).ok()?;
        self.budget = self.budget.saturating_sub(bytes.len() as u64);
        let own = object::File::parse(&*bytes).ok()?.build_id().ok()?;
        (build_id.is_none() || own == build_id).then_some(bytes)
    }

    /// Finds a debug file by build id, then by the object's debug link (gdb's manual, "Separate
    /// Debug Files").
    fn debug_file(&mut self, build_id: &[u8], path: &Path, own: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut digits = build_id.iter().map(|byte| format!("{byte:02x}"));
        let name = format!(".build-id/{}/{}.debug", digits.next()?, digits.collect::<String>());
        let system = PathBuf::from("/usr/lib/debug");
        let mut places: Vec<PathBuf> = self.options.debug.iter().chain([&system]).map(|at| at.join(&name)).collect();
        if let Some((link, _)) = own.and_then(|own| object::File::parse(own).ok()?.gnu_debuglink().ok()?)
            && let (Ok(link), Some(at)) = (std::str::from_utf8(link), path.parent())
            && !link.contains('/')
        {
            places.extend([at.join(link), at.join(".debug").join(link)]);
            places.push(system.join(at.strip_prefix("/").unwrap_or(at)).join(link));
        }
        places.iter().find_map(|place| self.read(place, Some(build_id)))
    }
}

/// Whether a file is unchanged since the process began. Its ctime shows it, even if an installer
/// sets the mtime back.
fn unchanged(path: &Path, began: u64) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(facts) = path.metadata() else { return false };
    u64::try_from(facts.ctime()).is_ok_and(|seconds| seconds.saturating_mul(1_000_000_000) <= began)
}

impl Known {
    fn new(own: Option<&[u8]>, debug: Option<&[u8]>) -> Option<Known> {
        let own = own.and_then(|own| object::File::parse(own).ok());
        let debug = debug.and_then(|debug| object::File::parse(debug).ok());
        let first = own.as_ref().or(debug.as_ref())?;
        // The loader maps whole pages, so the base is the page of the first segment.
        let base = first.segments().map(|segment| segment.address()).min().unwrap_or(0) & !0xfff;
        let mut symbols: Vec<(u64, u64, String)> = Vec::new();
        for file in [own.as_ref(), debug.as_ref()].into_iter().flatten() {
            for symbol in file.symbols().chain(file.dynamic_symbols()) {
                if symbol.kind() == SymbolKind::Text
                    && symbol.is_definition()
                    && let Ok(name) = symbol.name()
                    && !name.is_empty()
                {
                    symbols.push((symbol.address(), symbol.size(), name.to_owned()));
                }
            }
        }
        symbols.sort();
        symbols.dedup_by_key(|(address, ..)| *address);
        let lines = debug.as_ref().and_then(lines).or_else(|| own.as_ref().and_then(lines));
        Some(Known { base, symbols, lines })
    }

    /// Adds function and line to a site. `offset` is the distance from the first mapped byte.
    fn describe(&self, offset: u64, site: &mut Site) {
        let address = self.base.saturating_add(offset);
        let mut frames = self.lines(address).into_iter();
        if let Some(innermost) = frames.next() {
            (site.function, site.file, site.line) = (innermost.function, innermost.file, innermost.line);
            site.inlined_into = frames.map(|frame| frame.best()).collect();
        }
        if site.function.is_none()
            && let Some((name, distance, behind)) = self.symbol(address)
        {
            site.behind = behind;
            site.function = Some(name);
            site.offset = Some(distance + 1);
        }
    }

    /// The functions that contain an address, the innermost first. There are several if functions
    /// were inlined.
    fn lines(&self, address: u64) -> Vec<Site> {
        /// The most nested functions that are returned.
        const MOST: usize = 32;
        let Some(Ok(mut frames)) = self.lines.as_ref().map(|lines| lines.find_frames(address).skip_all_loads()) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        while let Ok(Some(frame)) = frames.next()
            && all.len() < MOST
        {
            let name = frame.function.as_ref().and_then(|function| function.demangle().ok());
            let function = name.map(|name| plain(name.as_bytes()));
            let file = frame.location.as_ref().and_then(|place| place.file).map(|file| plain(file.as_bytes()));
            let line = frame.location.as_ref().and_then(|place| place.line).filter(|line| *line != 0);
            if file.is_some() || function.is_some() {
                all.push(Site { function, file, line, ..Site::default() });
            }
        }
        all
    }

    /// The nearest symbol before an address, its distance, and whether it is known to end before
    /// the address.
    fn symbol(&self, address: u64) -> Option<(String, u64, bool)> {
        let before = self.symbols.partition_point(|(start, ..)| *start <= address).checked_sub(1)?;
        let (start, size, name) = self.symbols.get(before)?;
        let distance = address.saturating_sub(*start);
        let name = demangle_auto(Cow::Borrowed(name), None);
        (distance < FARTHEST).then(|| (plain(name.as_bytes()), distance, *size != 0 && distance >= *size))
    }
}

fn lines(file: &object::File<'_>) -> Option<addr2line::Context<Slice>> {
    file.section_by_name(".debug_info").or_else(|| file.section_by_name(".zdebug_info"))?;
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let load = |id: gimli::SectionId| -> Result<Slice, gimli::Error> {
        let section = file.section_by_name(id.name());
        // A compressed section states its uncompressed size, which may be forged: it is bounded.
        let sane =
            section.filter(|section| section.compressed_data().is_ok_and(|data| data.uncompressed_size <= LARGEST));
        let data = sane.and_then(|section| section.uncompressed_data().ok()).unwrap_or_default();
        Ok(EndianArcSlice::new(Arc::from(&*data), endian))
    };
    addr2line::Context::from_dwarf(gimli::Dwarf::load(load).ok()?).ok()
}
