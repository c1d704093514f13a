//! Reads ELF files: the kind of file, what it needs and imports, and its code.
//!
//! Files may be damaged or malicious. Whatever is wrong in one is an error here, never a panic.
//! Only the parts that are needed are read.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use object::LittleEndian;
use object::elf::{self as format, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::read::{ReadCache, ReadRef, StringTable};

/// Sections with more executable code than this are skipped.
const MOST_CODE: u64 = 1 << 30;
/// A longer file is not a program, but a sparse file.
const MOST_FILE: u64 = 1 << 36;

#[derive(Debug)]
pub enum Unreadable {
    System(std::io::Error),
    /// What is wrong with the file.
    Format(&'static str),
}

impl From<std::io::Error> for Unreadable {
    fn from(error: std::io::Error) -> Self {
        Unreadable::System(error)
    }
}

impl From<object::read::Error> for Unreadable {
    fn from(_: object::read::Error) -> Self {
        Unreadable::Format("a damaged ELF file")
    }
}

/// The beginning of every ELF file, for any machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub is_64: bool,
    pub is_little: bool,
    pub file_type: u16,
    pub machine: u16,
}

impl Header {
    /// Parses the first bytes of a file. None: not an ELF file.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Header> {
        let bytes: [u8; 20] = *bytes.first_chunk()?;
        let [0x7f, b'E', b'L', b'F', class, data, .., t0, t1, m0, m1] = bytes else { return None };
        let is_little = data == format::ELFDATA2LSB.0;
        let number = |bytes| if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
        Some(Header {
            is_64: class == format::ELFCLASS64.0,
            is_little,
            file_type: number([t0, t1]),
            machine: number([m0, m1]),
        })
    }

    /// Whether a process of this file would be of the kind that the shim supports.
    #[must_use]
    pub fn is_native(self) -> bool {
        self.is_64 && self.is_little && self.machine == format::EM_X86_64.0
    }

    /// Whether it is a program or a shared object.
    #[must_use]
    pub fn is_loadable(self) -> bool {
        self.file_type == format::ET_EXEC.0 || self.file_type == format::ET_DYN.0
    }

    #[must_use]
    pub fn architecture(self) -> String {
        // Numbers and names of e_machine: Linux include/uapi/linux/elf-em.h.
        match (self.machine, self.is_64, self.is_little) {
            (62, true, _) => "x86-64".into(),
            (62, false, _) => "x32 (32-bit)".into(),
            (3, ..) => "i386 (32-bit)".into(),
            (183, ..) => "aarch64".into(),
            (40, ..) => "arm (32-bit)".into(),
            (243, true, _) => "riscv64".into(),
            (21, _, true) => "ppc64le".into(),
            (21, ..) => "ppc64".into(),
            (22, ..) => "s390x".into(),
            (8, ..) => "mips".into(),
            (258, ..) => "loongarch".into(),
            (machine, ..) => format!("machine {machine}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Started by an interpreter that loads libraries.
    Dynamic,
    Static,
    /// Static and position-independent.
    StaticPie,
    /// A shared object without an interpreter.
    Library,
}

/// What is read of an x86-64 file.
#[derive(Clone, Debug)]
pub struct Elf {
    pub kind: Kind,
    pub interpreter: Option<Vec<u8>>,
    pub soname: Option<Vec<u8>>,
    pub needed: Vec<Vec<u8>>,
    pub rpath: Option<Vec<u8>>,
    pub runpath: Option<Vec<u8>>,
    /// Names of undefined dynamic symbols.
    pub imports: BTreeSet<String>,
    /// Whether imports could be read. They are located by section headers.
    pub has_sections: bool,
    pub is_go: bool,
    /// Whether it is epollshim's library.
    pub is_shim: bool,
}

impl Elf {
    /// Whether its interpreter is musl's loader.
    #[must_use]
    pub fn is_for_musl(&self) -> bool {
        let base = self.interpreter.as_deref().and_then(|path| path.rsplit(|byte| *byte == b'/').next());
        base.is_some_and(|base| base.starts_with(b"ld-musl-"))
    }
}

/// Reads the beginning of a regular file.
pub fn header(path: &Path) -> Result<Header, Unreadable> {
    let (file, _) = open(path)?;
    let mut bytes = [0u8; 20];
    file.read_exact_at(&mut bytes, 0).map_err(|_| Unreadable::Format("not an ELF file"))?;
    Header::of(&bytes).ok_or(Unreadable::Format("not an ELF file"))
}

fn open(path: &Path) -> Result<(File, u64), Unreadable> {
    // Checked before opening: to open a pipe or a device may block or have side effects.
    let data = std::fs::metadata(path)?;
    if !data.is_file() {
        return Err(Unreadable::Format(if data.is_dir() { "a directory" } else { "not a regular file" }));
    }
    if data.len() > MOST_FILE {
        return Err(Unreadable::Format("too large for a program"));
    }
    Ok((File::open(path)?, data.len()))
}

/// Reads an x86-64 file.
pub fn read_file(path: &Path) -> Result<Elf, Unreadable> {
    let (file, _) = open(path)?;
    read(&ReadCache::new(file))
}

/// Calls `tell` for each piece of executable code of an x86-64 file, with its address.
pub fn each_code(path: &Path, tell: impl FnMut(u64, &[u8])) -> Result<(), Unreadable> {
    let (file, _) = open(path)?;
    code(&ReadCache::new(file), tell)
}

const LE: LittleEndian = LittleEndian;
type Native = FileHeader64<LittleEndian>;

pub fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Elf, Unreadable> {
    let header = Native::parse(data)?;
    let sections = sections(header, data);
    let mut elf = Elf {
        kind: Kind::Static,
        interpreter: None,
        soname: None,
        needed: Vec::new(),
        rpath: None,
        runpath: None,
        imports: BTreeSet::new(),
        has_sections: !sections.is_empty(),
        is_go: false,
        is_shim: false,
    };
    let segments = header.program_headers(LE, data)?;
    let mut is_pie = false;
    let mut has_dynamic = false;
    for segment in segments {
        if let Some(name) = segment.interpreter(LE, data)? {
            elf.interpreter = Some(name.to_vec());
        }
        if let Some(entries) = segment.dynamic(LE, data)? {
            has_dynamic = true;
            is_pie |= dynamic(&mut elf, entries, segments, data);
        }
    }
    elf.kind = match (elf.interpreter.is_some(), header.e_type(LE) == format::ET_DYN) {
        (true, _) => Kind::Dynamic,
        (false, false) => Kind::Static,
        (false, true) if is_pie || !has_dynamic => Kind::StaticPie,
        (false, true) => Kind::Library,
    };
    for section in sections.iter() {
        let name = sections.section_name(LE, section).unwrap_or_default();
        elf.is_go |= name == b".go.buildinfo" || name == b".note.go.buildid";
    }
    if let Ok(symbols) = sections.symbols(LE, data, format::SHT_DYNSYM) {
        for symbol in symbols.iter() {
            let Ok(name) = symbols.symbol_name(LE, symbol) else { continue };
            if symbol.is_undefined(LE) {
                elf.imports.insert(String::from_utf8_lossy(name).into_owned());
            } else {
                elf.is_shim |= name == b"epollshim_version";
            }
        }
        elf.imports.remove("");
    }
    Ok(elf)
}

/// The section headers. Empty if they were stripped or are damaged; the loader does not need them.
fn sections<'data, R: ReadRef<'data>>(header: &'data Native, data: R) -> SectionTable<'data, Native, R> {
    header.sections(LE, data).unwrap_or_default()
}

/// Reads the entries of the dynamic segment. Returns whether the file is a position-independent
/// executable.
fn dynamic<'data, R: ReadRef<'data>>(
    elf: &mut Elf,
    entries: &'data [format::Dyn64<LittleEndian>],
    segments: &'data [format::ProgramHeader64<LittleEndian>],
    data: R,
) -> bool {
    let entries: Vec<(format::DynamicTag, u64)> = entries
        .iter()
        .map(|entry| (entry.d_tag(LE), entry.d_val(LE)))
        .take_while(|(tag, _)| *tag != format::DT_NULL)
        .collect();
    let value = |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let strings = value(format::DT_STRTAB).zip(value(format::DT_STRSZ)).and_then(|(address, size)| {
        let offset = segments.iter().find_map(|segment| {
            let start = segment.p_vaddr(LE);
            let within = address.checked_sub(start)?;
            (segment.p_type(LE) == format::PT_LOAD && within < segment.p_filesz(LE))
                .then(|| segment.p_offset(LE).checked_add(within))?
        })?;
        Some(StringTable::new(data, offset, offset.checked_add(size)?))
    });
    let string = |at: u64| {
        let text = strings.as_ref()?.get(u32::try_from(at).ok()?).ok()?;
        Some(text.to_vec())
    };
    let mut is_pie = false;
    for (tag, value) in &entries {
        match *tag {
            format::DT_NEEDED => elf.needed.extend(string(*value)),
            format::DT_SONAME => elf.soname = string(*value),
            format::DT_RPATH => elf.rpath = string(*value),
            format::DT_RUNPATH => elf.runpath = string(*value),
            format::DT_FLAGS_1 => is_pie = value & format::DF_1_PIE.0 != 0,
            _ => {}
        }
    }
    is_pie
}

/// Calls `tell` for each piece of executable code: by section, or by segment if there are no
/// sections.
pub fn code<'data, R: ReadRef<'data>>(data: R, mut tell: impl FnMut(u64, &[u8])) -> Result<(), Unreadable> {
    let header = Native::parse(data)?;
    let sections = sections(header, data);
    for section in sections.iter() {
        let is_code = section.sh_flags(LE).contains(format::SHF_EXECINSTR);
        if is_code && section.sh_size(LE) <= MOST_CODE {
            tell(section.sh_addr(LE), section.data(LE, data).unwrap_or_default());
        }
    }
    if sections.is_empty() {
        for segment in header.program_headers(LE, data)? {
            let is_code = segment.p_type(LE) == format::PT_LOAD && segment.p_flags(LE).contains(format::PF_X);
            if is_code && segment.p_filesz(LE) <= MOST_CODE {
                tell(segment.p_vaddr(LE), segment.data(LE, data).unwrap_or_default());
            }
        }
    }
    Ok(())
}
