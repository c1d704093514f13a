//! Requests to valgrind: instructions that change nothing on a processor, and that valgrind
//! recognises in the code that it translates (valgrind.h, "The code sequences for amd64").

use crate::image;

/// Whether the program runs under valgrind (`VG_USERREQ__RUNNING_ON_VALGRIND`).
#[inline(always)]
pub fn is_running() -> bool {
    request(0x1001, [0; 5]) != 0
}

/// The first request of a tool, by the letters of its name (`VG_USERREQ_TOOL_BASE`).
const fn tool(one: u8, other: u8) -> usize {
    (one as usize) << 24 | (other as usize) << 16
}

/// Marks bytes as defined, whatever they were copied from (`VG_USERREQ__MAKE_MEM_DEFINED`). Some
/// bytes of a program's `epoll_event` may be undefined: programs set `data.fd`, which is only half
/// of it.
pub fn define<T>(value: &mut T) {
    request(tool(b'M', b'C') + 2, [core::ptr::from_mut(value) as usize, size_of::<T>(), 0, 0, 0]);
}

/// Whether memcheck lets the program read bytes (`VG_USERREQ__GET_VBITS`). Some memory is mapped
/// but memcheck reports reads of it, its own for example. None: this tool does not check that.
pub fn is_addressable(address: usize) -> Option<bool> {
    let mut bits = [0u8; 8];
    match request(tool(b'M', b'C') + 8, [address, bits.as_mut_ptr() as usize, bits.len(), 0, 0]) {
        0 => None,
        answer => Some(answer == 1),
    }
}

/// Makes helgrind and drd ignore memory of this library (`_VG_USERREQ__HG_ARANGE_MAKE_UNTRACKED`,
/// `VG_USERREQ__DRD_START_SUPPRESSION`). They cannot tell its atomics, which are plain moves on
/// this processor, from races. Both tools forget this when the memory is unmapped.
#[inline(never)]
pub fn ignore(start: *const u8, bytes: usize) {
    request(tool(b'H', b'G') + 295, [start as usize, bytes, 0, 0, 0]);
    request(tool(b'D', b'R') + 2, [start as usize, bytes, 0, 0, 0]);
}

/// Makes helgrind and drd ignore the library's static variables. Called once, at load.
pub fn ignore_statics() {
    if !is_running() {
        return;
    }
    for (start, bytes, _) in image::segments().filter(|(.., flags)| flags & libc::PF_W != 0) {
        ignore(start, bytes);
    }
}

/// A stack that is registered with valgrind. Otherwise valgrind takes a switch to it for an
/// allocation on the old stack, or for a return from it, and memcheck reports every use of the
/// frames between.
pub struct Stack(usize);

impl Stack {
    /// `VG_USERREQ__STACK_REGISTER`, with the lowest and the highest byte. It is omitted under drd,
    /// which answers `VG_USERREQ__DRD_GET_VALGRIND_THREAD_ID`: drd does not need it, and its
    /// assertion `a1 <= a2` fails at the end of every process that registers a stack (valgrind
    /// 3.19).
    #[inline(never)]
    pub fn register(start: *mut u8, bytes: usize) -> Stack {
        if request(tool(b'D', b'R'), [0; 5]) != 0 {
            return Stack(0);
        }
        let start = start as usize;
        Stack(request(0x1501, [start, start.wrapping_add(bytes).wrapping_sub(1), 0, 0, 0]))
    }

    /// `VG_USERREQ__STACK_DEREGISTER`.
    #[inline(never)]
    pub fn deregister(self) {
        if self.0 != 0 {
            request(0x1502, [self.0, 0, 0, 0, 0]);
        }
    }
}

/// valgrind's answer; 0 if the program does not run under valgrind.
#[inline(always)]
fn request(code: usize, arguments: [usize; 5]) -> usize {
    let [a, b, c, d, e] = arguments;
    let words = [code, a, b, c, d, e];
    crate::arch::valgrind::request(&words)
}
