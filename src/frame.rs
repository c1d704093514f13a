//! A call of the program, as hooks pass it on: its arguments as words, and its return address.

use epollshim_format::function::{Function, Functions};
use libc::c_int;

/// What an entry leaves on the stack: the argument registers (only as many as are read; the others
/// are not written), a word that `before` passes to `after`, and above it the return address, where
/// the program's `call` put it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    pub words: [usize; 6],
    pub state: u64,
    pub caller: usize,
}

impl Frame {
    #[inline(always)]
    pub fn int(&self, index: usize) -> libc::c_int {
        self.word(index) as libc::c_int
    }

    #[inline(always)]
    pub fn word(&self, index: usize) -> usize {
        self.words.get(index).copied().unwrap_or(0)
    }
}

/// Chooses the function to call, and returns its address.
pub type Before = extern "C-unwind" fn(&mut Frame) -> usize;
/// Records the result, and returns it to the program.
pub type After = extern "C-unwind" fn(&mut Frame, isize) -> isize;

/// What a hook does before the real call and after it.
#[derive(Clone, Copy)]
pub struct Handlers {
    pub before: Before,
    pub after: After,
}

/// The argument that is the descriptor of an epoll instance.
pub fn epfd_of(function: Function, words: &[usize; 6]) -> Option<c_int> {
    let [first, ..] = *words;
    (function == Function::EpollCtl || function.waits()).then_some(first as c_int)
}

/// The argument that is an existing descriptor other than an epoll instance's.
pub fn fd_of(function: Function, words: &[usize; 6]) -> Option<c_int> {
    let [first, _, third, ..] = *words;
    match function {
        Function::EpollCtl => Some(third as c_int),
        _ if Functions::TAKE_DESCRIPTORS.has(function) => Some(first as c_int),
        _ => None,
    }
}
