//! `malloc` and its relatives, and `mmap`: hooked only where a rule of the start names them. The library exports none of them, so that a
//! program without such a rule pays nothing.
//!
//! Where there is one, the constructor writes the entry's address into the words by which the loaded objects refer to the function.
//! The entry goes on to the one that the order of search finds first: an allocator of the program's own, or a library's. Words that lead
//! elsewhere are left alone. libc's own calls, those within an object that defines the function, those of objects that are loaded later, and
//! addresses that `dlsym` gives are not seen.

use core::ffi::CStr;

use epollshim_format::function::Function;

#[cfg(not(portable))]
use super::assembly as entries;
#[cfg(portable)]
use super::portable as entries;
use crate::at_load::AtLoad;
use crate::elf::Name;
use crate::policy::rules;
use crate::real::{self, Real};
use crate::{loaded, sys};

/// The function of a name, what it goes on to, and its entry.
fn entry_of(name: &CStr) -> Option<(Function, &'static Real, usize)> {
    macro_rules! entry {
        ($variant:ident $function:ident) => {
            (Function::$variant, &real::function::$function, entries::$function as *const () as usize)
        };
    }
    Some(match name.to_bytes() {
        b"malloc" => entry!(Malloc malloc),
        b"calloc" => entry!(Calloc calloc),
        b"realloc" => entry!(Realloc realloc),
        b"posix_memalign" => entry!(PosixMemalign posix_memalign),
        b"aligned_alloc" => entry!(AlignedAlloc aligned_alloc),
        // One function, on processors of 64 bits.
        b"mmap" | b"mmap64" => entry!(Mmap mmap),
        _ => return None,
    })
}

/// Hooks what rules have asked for. Before main.
pub fn hook(at_load: &AtLoad) {
    let requested = rules::requested();
    if requested.is_empty() {
        return;
    }
    loaded::each_reference(at_load, &mut |object, reference| {
        let Some((_, real, entry)) = entry_of(reference.name).filter(|(function, ..)| requested.has(*function)) else {
            return;
        };
        let real = real::resolve_as(real, loaded::find_anywhere(at_load, &Name::new(reference.name)));
        // SAFETY: the loader has filled it in, or will when it is first called by.
        let now = unsafe { reference.place.read_volatile() };
        // Not bound yet: it leads to the object's own code, which has it bound to what the order of search finds first.
        if now == real || reference.is_lazy && object.holds(now) {
            // SAFETY: the entry does what the function does, for whoever calls it.
            let _ = unsafe { sys::write_word(reference.place, entry) };
        }
    });
}
