//! The library itself, as it is mapped.

/// The loaded segments: start, bytes, and flags (`PF_W` and others).
pub fn segments() -> impl Iterator<Item = (*mut u8, usize, u32)> {
    unsafe extern "C" {
        /// The linker defines it: the start of this library, which is its ELF header.
        #[link_name = "__ehdr_start"]
        static HEADER: libc::Elf64_Ehdr;
    }
    let start = (&raw const HEADER).cast_mut().cast::<u8>();
    // SAFETY: the linker places the header and the table of segments in the first segment, which
    // nothing changes.
    let table = unsafe {
        let table = start.wrapping_add(HEADER.e_phoff as usize).cast::<libc::Elf64_Phdr>();
        core::slice::from_raw_parts(table, HEADER.e_phnum as usize)
    };
    let loaded = table.iter().filter(|segment| segment.p_type == libc::PT_LOAD);
    loaded.map(move |segment| (start.wrapping_add(segment.p_vaddr as usize), segment.p_memsz as usize, segment.p_flags))
}
