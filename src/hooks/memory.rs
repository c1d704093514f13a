//! `malloc` and its relatives, and `mmap`. They are hooked only if a rule that is set at the start
//! names them. The library does not export them, so a program without such a rule is not slowed
//! down.
//!
//! The constructor writes the entry's address into the words by which the loaded objects refer to
//! the function. The entry calls the function that the loader's search order finds first: that of
//! libc, of the program or of another library. References that are bound to something else are left
//! alone. The library does not see libc's own calls, calls within an object that defines the
//! function, calls of objects that are loaded later, and calls through an address from `dlsym`.

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

/// The function of a name, the real function, and the entry.
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
        // These are one function on 64-bit processors.
        b"mmap" | b"mmap64" => entry!(Mmap mmap),
        _ => return None,
    })
}

/// Hooks the functions that rules have named. Runs before main.
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
        // SAFETY: the loader has filled the word in, or fills it in at the first call through it.
        // It stays mapped while the object is loaded.
        let now = unsafe { reference.place.read_volatile() };
        // A lazy reference that is not bound yet leads to the object's own code, which would have
        // the loader bind it to what the search order finds first.
        if now == real || reference.is_lazy && object.holds(now) {
            // SAFETY: the entry has the type of the function, and does what the function does.
            let _ = unsafe { sys::write_word(reference.place, entry) };
        }
    });
}
