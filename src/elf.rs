//! Symbol tables of the objects that are mapped into this process: what `dlsym` reads, without its
//! lock and without its allocations.
//!
//! May be called from anywhere. What it reads never changes after the loader has relocated the
//! object.

use core::ffi::{CStr, c_char};
use core::ops::Range;
use core::ptr::null;

use libc::{Elf64_Ehdr, Elf64_Phdr, Elf64_Rela, Elf64_Sym};

/// An entry of a dynamic section (`Elf64_Dyn` of <elf.h>).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Dynamic {
    tag: u64,
    value: u64,
}

// Names and values of <elf.h>.
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NULL: u64 = 0;
const DT_HASH: u64 = 4;
const DT_PLTRELSZ: u64 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_SONAME: u64 = 14;
const DT_JMPREL: u64 = 23;
const DT_VERSYM: u64 = 0x6fff_fff0;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const SHN_UNDEF: u16 = 0;
const SHN_ABS: u16 = 0xfff1;
const STB_GLOBAL: u8 = 1;
const STB_WEAK: u8 = 2;
const STB_GNU_UNIQUE: u8 = 10;
pub const STT_FUNC: u8 = 2;
const STT_TLS: u8 = 6;
pub const STT_GNU_IFUNC: u8 = 10;
const STV_DEFAULT: u8 = 0;
const STV_PROTECTED: u8 = 3;
/// Values of DT_VERSYM below it mean local, and global without a version.
const FIRST_VERSION: u16 = 2;
/// The bit of DT_VERSYM that hides a version from look-ups that name no version.
const HIDDEN: u16 = 0x8000;

/// A number of `size` bytes in a table of a file. None: the table ends before it.
pub fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// The relocations that fill in a word with a symbol's address (x86-64 psABI table 4.9; AAELF64): a
/// word of data, an entry of the global offset table, and an entry that may be filled in at the
/// first call.
const ABSOLUTE: u32 = if cfg!(target_arch = "x86_64") { 1 } else { 257 };
const GLOB_DAT: u32 = if cfg!(target_arch = "x86_64") { 6 } else { 1025 };
const JUMP_SLOT: u32 = if cfg!(target_arch = "x86_64") { 7 } else { 1026 };

/// A word that the loader fills in with a symbol's address.
pub struct Reference<'a> {
    pub name: &'a CStr,
    pub place: *mut usize,
    /// The loader may fill it in at the first call.
    pub is_lazy: bool,
}

/// Passes to `tell` each word of an object that the loader fills in.
///
/// # Safety
/// As for [`Symbols::of`].
pub unsafe fn each_reference(slide: usize, dynamic: *const Dynamic, tell: &mut dyn FnMut(&Reference)) {
    // SAFETY: the caller promises what `Symbols::of` needs.
    let Some(symbols) = (unsafe { Symbols::of(slide, dynamic) }) else { return };
    let value = |wanted: u64| {
        let mut entry = dynamic;
        // SAFETY: the caller's section ends with DT_NULL, at which the loop stops.
        while let Some(&Dynamic { tag, value }) = unsafe { entry.as_ref() }
            && tag != DT_NULL
        {
            if tag == wanted {
                return value as usize;
            }
            entry = entry.wrapping_add(1);
        }
        0
    };
    for (table, bytes) in [(value(DT_RELA), value(DT_RELASZ)), (value(DT_JMPREL), value(DT_PLTRELSZ))] {
        let table = if table < slide { table.wrapping_add(slide) } else { table };
        for at in (0..bytes / size_of::<Elf64_Rela>()).filter(|_| table != 0) {
            // SAFETY: the entry lies within the table, whose size the object gives.
            let Some(relocation) = (unsafe { (table as *const Elf64_Rela).wrapping_add(at).as_ref() }) else { return };
            let kind = relocation.r_info as u32;
            if !matches!(kind, ABSOLUTE | GLOB_DAT | JUMP_SLOT) || relocation.r_addend != 0 {
                continue;
            }
            // SAFETY: the index is within the object's table of symbols, whose names are
            // zero-terminated.
            let name = unsafe {
                let symbol = &*symbols.symbols.wrapping_add((relocation.r_info >> 32) as usize);
                CStr::from_ptr(symbols.strings.wrapping_add(symbol.st_name as usize))
            };
            let place = slide.wrapping_add(relocation.r_offset as usize) as *mut usize;
            tell(&Reference { name, place, is_lazy: kind == JUMP_SLOT });
        }
    }
}

/// A symbol's name, with its hash.
pub struct Name<'a> {
    text: &'a CStr,
    /// The hash of DT_GNU_HASH.
    hash: u32,
}

impl<'a> Name<'a> {
    pub fn new(text: &'a CStr) -> Self {
        let hash =
            text.to_bytes().iter().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)));
        Name { text, hash }
    }

    /// The hash of DT_HASH (System V gABI, chapter 5).
    fn old_hash(&self) -> u32 {
        self.text.to_bytes().iter().fold(0u32, |hash, byte| {
            let hash = (hash << 4).wrapping_add(u32::from(*byte));
            let high = hash & 0xf000_0000;
            (hash ^ (high >> 24)) & !high
        })
    }
}

/// The symbols that an object defines for other objects.
#[derive(Clone, Copy)]
pub struct Symbols {
    /// The difference between addresses in memory and addresses in the file.
    slide: usize,
    symbols: *const Elf64_Sym,
    strings: *const c_char,
    /// Null: the object has no versions.
    versions: *const u16,
    /// DT_GNU_HASH and DT_HASH; null: the object has no such table.
    gnu: *const u32,
    old: *const u32,
    /// The object's own name, in `strings`.
    soname: Option<usize>,
}

impl Symbols {
    /// # Safety
    /// `dynamic` must be the dynamic section of an object that is completely mapped, at its own
    /// addresses plus `slide`, and stays mapped.
    pub unsafe fn of(slide: usize, dynamic: *const Dynamic) -> Option<Symbols> {
        let mut found = Symbols {
            slide,
            symbols: null(),
            strings: null(),
            versions: null(),
            gnu: null(),
            old: null(),
            soname: None,
        };
        let mut entry = dynamic;
        // SAFETY: the caller's section ends with DT_NULL, at which the loop stops.
        while let Some(&Dynamic { tag, value }) = unsafe { entry.as_ref() }
            && tag != DT_NULL
        {
            let value = value as usize;
            // glibc replaces these addresses by those in memory, except in the vDSO. Other loaders
            // leave them as they are in the file.
            let address = if value < slide { value.wrapping_add(slide) } else { value };
            match tag {
                DT_SYMTAB => found.symbols = address as *const Elf64_Sym,
                DT_STRTAB => found.strings = address as *const c_char,
                DT_VERSYM => found.versions = address as *const u16,
                DT_GNU_HASH => found.gnu = address as *const u32,
                DT_HASH => found.old = address as *const u32,
                DT_SONAME => found.soname = Some(value),
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
        (!found.symbols.is_null() && !found.strings.is_null()).then_some(found)
    }

    /// The symbols of a complete ELF image.
    ///
    /// # Safety
    /// `base` must be the address of an ELF64 image that is mapped as it is in its file, and stays
    /// mapped.
    pub unsafe fn of_image(base: usize) -> Option<Symbols> {
        // SAFETY: the caller promises a complete image, in which the headers and what they describe
        // lie.
        unsafe {
            let header = &*(base as *const Elf64_Ehdr);
            if header.e_ident.first_chunk::<4>() != Some(b"\x7fELF") {
                return None;
            }
            let programs = base.wrapping_add(header.e_phoff as usize) as *const Elf64_Phdr;
            let programs = core::slice::from_raw_parts(programs, usize::from(header.e_phnum));
            let load = programs.iter().find(|program| program.p_type == PT_LOAD)?;
            let dynamic = programs.iter().find(|program| program.p_type == PT_DYNAMIC)?;
            let slide = base.wrapping_add(load.p_offset as usize).wrapping_sub(load.p_vaddr as usize);
            Symbols::of(slide, slide.wrapping_add(dynamic.p_vaddr as usize) as *const Dynamic)
        }
    }

    /// Whether this is the object's own name (DT_SONAME).
    pub fn is_named(&self, name: &CStr) -> bool {
        // SAFETY: DT_SONAME is an offset in DT_STRTAB, whose strings are zero-terminated.
        self.soname.is_some_and(|at| unsafe { CStr::from_ptr(self.strings.wrapping_add(at)) } == name)
    }

    /// The address of a symbol; of its default version if it has several.
    pub fn find(&self, name: &Name) -> Option<usize> {
        let symbol = self.find_symbol(name)?;
        let address = self.address_of(symbol);
        if symbol.st_info & 15 != STT_GNU_IFUNC {
            return Some(address);
        }
        // SAFETY: the value of such a symbol is the address of a function without arguments that
        // returns the address to use (x86-64 psABI).
        let choose = unsafe { core::mem::transmute::<usize, extern "C" fn() -> usize>(address) };
        Some(choose())
    }

    /// The addresses of a function's code.
    pub fn find_function(&self, name: &Name) -> Option<Range<usize>> {
        let symbol = self.find_symbol(name).filter(|symbol| symbol.st_info & 15 == STT_FUNC)?;
        let start = self.address_of(symbol);
        Some(start..start.saturating_add(symbol.st_size as usize))
    }

    fn address_of(&self, symbol: &Elf64_Sym) -> usize {
        let slide = if symbol.st_shndx == SHN_ABS { 0 } else { self.slide };
        slide.wrapping_add(symbol.st_value as usize)
    }

    fn find_symbol(&self, name: &Name) -> Option<&'static Elf64_Sym> {
        if !self.gnu.is_null() {
            self.find_by_gnu_hash(name)
        } else if !self.old.is_null() {
            self.find_by_old_hash(name)
        } else {
            None
        }
    }

    /// Looks in DT_GNU_HASH. The table starts with four words: the number of buckets, the index of
    /// the first symbol in the table, the number of words of the filter, and the filter's shift.
    /// Then come the filter, the buckets, and one hash per symbol, whose lowest bit marks the end
    /// of a bucket.
    fn find_by_gnu_hash(&self, name: &Name) -> Option<&'static Elf64_Sym> {
        let word = |at: usize| {
            // SAFETY: all indexes below lie within the table, by the numbers that the table itself
            // gives.
            unsafe { *self.gnu.wrapping_add(at) }
        };
        let (buckets, first, words, shift) = (word(0), word(1) as usize, word(2) as usize, word(3));
        let hash = name.hash;
        let at = 4 + 2 * ((hash as usize / 64) & words.wrapping_sub(1));
        let filter = u64::from(word(at)) | u64::from(word(at + 1)) << 32;
        if filter >> (hash % 64) & filter >> (hash.wrapping_shr(shift) % 64) & 1 == 0 {
            return None;
        }
        let bucket = 4 + 2 * words;
        let mut index = word(bucket + hash.checked_rem(buckets)? as usize) as usize;
        if index < first {
            return None;
        }
        loop {
            let found = word(bucket + buckets as usize + (index - first));
            if (found ^ hash) >> 1 == 0
                && let Some(symbol) = self.symbol_at(index, name)
            {
                return Some(symbol);
            }
            if found & 1 != 0 {
                return None;
            }
            index += 1;
        }
    }

    /// Looks in DT_HASH. The table starts with the numbers of buckets and of symbols. Then come the
    /// buckets, and for each symbol the next symbol of its bucket, or 0.
    fn find_by_old_hash(&self, name: &Name) -> Option<&'static Elf64_Sym> {
        let word = |at: usize| {
            // SAFETY: all indexes below lie within the table, by the numbers that the table itself
            // gives.
            unsafe { *self.old.wrapping_add(at) }
        };
        let buckets = word(0);
        let mut index = word(2 + name.old_hash().checked_rem(buckets)? as usize);
        while index != 0 {
            if let Some(symbol) = self.symbol_at(index as usize, name) {
                return Some(symbol);
            }
            index = word(2 + buckets as usize + index as usize);
        }
        None
    }

    /// The symbol with this index, if it is the one that `dlsym` finds under this name (glibc 2.36
    /// elf/dl-lookup.c, check_match and do_lookup_x).
    fn symbol_at(&self, index: usize, name: &Name) -> Option<&'static Elf64_Sym> {
        // SAFETY: the hash tables hold only indexes of DT_SYMTAB; DT_VERSYM has an entry for each
        // symbol; names are zero-terminated.
        let (symbol, version, text) = unsafe {
            let symbol = &*self.symbols.wrapping_add(index);
            let version = self.versions.wrapping_add(index);
            let version = if self.versions.is_null() { 0 } else { *version };
            (symbol, version, CStr::from_ptr(self.strings.wrapping_add(symbol.st_name as usize)))
        };
        let (binding, kind, visibility) = (symbol.st_info >> 4, symbol.st_info & 15, symbol.st_other & 3);
        let is_defined = symbol.st_shndx != SHN_UNDEF && (symbol.st_value != 0 || symbol.st_shndx == SHN_ABS);
        let is_for_others = matches!(binding, STB_GLOBAL | STB_WEAK | STB_GNU_UNIQUE)
            && matches!(visibility, STV_DEFAULT | STV_PROTECTED);
        let is_default = version & HIDDEN == 0 || version & !HIDDEN < FIRST_VERSION;
        let is_it = is_defined && is_for_others && is_default && kind != STT_TLS && text == name.text;
        is_it.then_some(symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_have_the_hashes_of_the_two_tables() {
        assert_eq!(Name::new(c"").hash, 0x1505);
        assert_eq!(Name::new(c"printf").hash, 0x156b_2bb8);
        assert_eq!(Name::new(c"printf").old_hash(), 0x0779_05a6);
        assert_eq!(Name::new(c"exit").old_hash(), 0x0006_cf04);
        assert_eq!(Name::new(c"flapenguin.me").old_hash(), 0x0398_7915);
    }
}
