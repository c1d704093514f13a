//! The interposed functions, by number, and sets of them.

mod set;

use crate::errno;
use crate::for_each_function;
use crate::functions::{Classes, Role, Row};

pub use set::{Functions, SETS};

macro_rules! functions {
    ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
       $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {
        /// A function that the library interposes. The numbers of the first twelve are those of
        /// recordings.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Function {
            $($variant),*
        }

        impl Function {
            /// Recordings contain the calls of this many functions, the first ones:
            /// [`crate::recording::record::CALL`].
            pub const RECORDED: usize = 12;
            pub const ALL: [Function; Function::COUNT] = [$(Function::$variant),*];
            pub const COUNT: usize = [$(stringify!($variant)),*].len();
        }

        /// The table, indexed by the functions' numbers.
        pub static TABLE: [Row; Function::COUNT] = [$(Row {
            function: Function::$variant,
            words: concat!(stringify!($name), " ", $system_call, $(" ", stringify!($alias),)* " ", $arguments),
            number: $number,
            role: Role::$role,
            classes: Classes::NONE$(.with(Classes::$class))*,
            is_cancellation_point: yes_or_no!($cancellation),
            takes_descriptor: yes_or_no!($descriptor),
            errors: const { crate::functions::Errors::of(&[$(errno::of_name(stringify!($error))),*]) },
        }),*];
    };
}

macro_rules! yes_or_no {
    (yes) => {
        true
    };
    (no) => {
        false
    };
}

for_each_function!(functions);

impl Function {
    #[must_use]
    pub const fn row(self) -> &'static Row {
        #[allow(clippy::indexing_slicing, reason = "a row for each number")]
        &TABLE[self as usize]
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name()
    }

    /// Whether `<sys/epoll.h>` declares it.
    #[must_use]
    pub const fn is_epoll(self) -> bool {
        Functions::EPOLL.has(self)
    }

    /// Whether it waits for events.
    #[must_use]
    pub const fn waits(self) -> bool {
        Functions::WAITS.has(self)
    }

    /// Whether it creates an epoll instance.
    #[must_use]
    pub const fn creates(self) -> bool {
        matches!(self.row().role, Role::Instance)
    }

    /// Whether it returns an address: a whole word, where others return an int. The address is null
    /// if it fails, except for `mmap`.
    #[must_use]
    pub const fn returns_address(self) -> bool {
        matches!(self.row().role, Role::Stream | Role::Adopt | Role::Memory) && !matches!(self, Function::PosixMemalign)
    }

    /// Whether it is hooked only if a rule names it.
    #[must_use]
    pub const fn is_on_request(self) -> bool {
        Functions::ON_REQUEST.has(self)
    }

    /// What it returns if it fails with an error number, and the new value of errno (0: errno is
    /// not changed).
    #[must_use]
    pub const fn failure(self, error: i32) -> (isize, i32) {
        match self {
            // POSIX: these return the error number.
            Function::PosixSpawn | Function::PosixSpawnp | Function::PthreadCreate | Function::PosixMemalign => {
                (error as isize, 0)
            }
            Function::Mmap => (-1, error),
            _ if self.returns_address() => (0, error),
            _ => (-1, error),
        }
    }

    /// Whether a result is a failure that errno explains.
    #[must_use]
    pub const fn has_failed(self, result: isize) -> bool {
        if self.returns_address() && !matches!(self, Function::Mmap) { result == 0 } else { result == -1 }
    }

    /// The function under which this one is counted when calls are counted by system call, as
    /// strace does: the first one in the table with the same system call.
    #[must_use]
    pub const fn counted_as(self) -> Function {
        #[allow(clippy::indexing_slicing, reason = "an entry for each number")]
        COUNTED_AS[self as usize]
    }

    /// Its system call number; -1: it is not a system call.
    #[must_use]
    pub const fn number(self) -> i64 {
        #[allow(clippy::indexing_slicing, reason = "an entry for each number")]
        TABLE_OF_NUMBERS[self as usize]
    }

    /// The function with this system call number. None: no interposed function has it. (The system
    /// calls eventfd and signalfd without flags, 284 and 282, are not used by glibc.)
    #[must_use]
    pub const fn of_number(number: i64) -> Option<Function> {
        let mut at = 0;
        while at < Function::COUNT {
            #[allow(clippy::indexing_slicing, reason = "the loop's condition")]
            let row = &TABLE_OF_NUMBERS[at];
            if *row == number && number >= 0 {
                #[allow(clippy::indexing_slicing, reason = "as long as the table")]
                return Some(Function::ALL[at]);
            }
            at += 1;
        }
        None
    }
}

/// Whether a word is among those of a text. Evaluated at compile time.
#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let mut start = 0;
    while start + word.len() <= text.len() {
        let mut at = 0;
        while at < word.len() && text[start + at] == word[at] {
            at += 1;
        }
        let end = start + word.len();
        let is_whole = (start == 0 || text[start - 1] == b' ') && (end == text.len() || text[end] == b' ');
        if at == word.len() && is_whole {
            return true;
        }
        start += 1;
    }
    false
}

#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const COUNTED_AS: [Function; Function::COUNT] = {
    let mut counted_as = Function::ALL;
    let mut at = 0;
    while at < Function::COUNT {
        let mut first = 0;
        while !is_same(SYSTEM_CALLS[first], SYSTEM_CALLS[at]) {
            first += 1;
        }
        counted_as[at] = Function::ALL[first];
        at += 1;
    }
    counted_as
};

#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The system call number of a function on processors with Linux's generic table, such as aarch64;
/// -1: it is not in the table (Linux v6.1 include/uapi/asm-generic/unistd.h).
#[allow(clippy::indexing_slicing, reason = "the loop's condition")]
const fn generic_number(name: &str) -> i64 {
    const GENERIC: [(&str, i64); 30] = [
        ("epoll_create1", 20),
        ("epoll_ctl", 21),
        ("epoll_pwait", 22),
        ("epoll_pwait2", 441),
        ("close", 57),
        ("close_range", 436),
        ("dup", 23),
        ("dup3", 24),
        ("fcntl", 25),
        ("openat", 56),
        ("open_by_handle_at", 265),
        ("socket", 198),
        ("socketpair", 199),
        ("accept", 202),
        ("accept4", 242),
        ("pipe2", 59),
        ("eventfd", 19),
        ("timerfd_create", 85),
        ("signalfd", 74),
        ("inotify_init1", 26),
        ("memfd_create", 279),
        ("pidfd_open", 434),
        ("pidfd_getfd", 438),
        ("fanotify_init", 262),
        ("recvmsg", 212),
        ("recvmmsg", 243),
        ("bind", 200),
        ("listen", 201),
        ("connect", 203),
        ("setsockopt", 208),
    ];
    let mut at = 0;
    while at < GENERIC.len() {
        if is_same(GENERIC[at].0, name) {
            return GENERIC[at].1;
        }
        at += 1;
    }
    -1
}

macro_rules! numbers {
    ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
       $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {
        /// The numbers by function, for constants, which may not read a static.
        const TABLE_OF_NUMBERS: [i64; Function::COUNT] =
            [$(if cfg!(target_arch = "x86_64") { $number } else { generic_number(stringify!($name)) }),*];
        const SYSTEM_CALLS: [&str; Function::COUNT] = [$($system_call),*];
        const ROLES: [Role; Function::COUNT] = [$(Role::$role),*];
        const MAKE_DESCRIPTORS: [bool; Function::COUNT] =
            [$(matches!(Role::$role, Role::Instance | Role::Create | Role::Duplicate | Role::Stream)),*];
        const MAKE_PAIRS: [bool; Function::COUNT] = [$(has_word($arguments, "pair=pair")),*];
        /// Functions whose first argument is a descriptor that existed before the call.
        const TAKE_DESCRIPTORS: [bool; Function::COUNT] = [$(yes_or_no!($descriptor)),*];
        /// What a user may write where a function is expected: names, then sets.
        pub const NAMES: [&str; Function::COUNT + SETS.len()] = with_sets([$(stringify!($name)),*]);
    };
}
for_each_function!(numbers);

#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const fn with_sets(names: [&'static str; Function::COUNT]) -> [&'static str; Function::COUNT + SETS.len()] {
    let mut all = [""; Function::COUNT + SETS.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < Function::COUNT { names[at] } else { SETS[at - Function::COUNT] };
        at += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{Function, Functions, NAMES, TABLE};
    use crate::functions::Role;

    #[test]
    fn each_function_has_its_own_number_and_name() {
        for (place, function) in Function::ALL.into_iter().enumerate() {
            assert_eq!(function as usize, place);
            assert_eq!(function.row().function, function);
            let named = Functions::named(function.name().as_bytes()).unwrap_or_default();
            assert!(named.has(function), "{}", function.name());
            assert_eq!(TABLE.iter().filter(|row| row.name() == function.name()).count(), 1);
        }
        assert_eq!(Functions::named(b"fcntl64"), Functions::named(b"fcntl"));
        assert_eq!(Functions::named(b"__close"), Some(Functions::of(&[Function::Close])));
        assert_eq!(Functions::named(b"freopen64"), Functions::named(b"freopen"));
        assert_eq!(Functions::named(b"path=path"), None);
        assert_eq!(Functions::named(b"eventfd2"), Functions::named(b"eventfd"));
        assert_eq!(Functions::named(b""), None);
        assert_eq!(Functions::named(b"read"), None);
    }

    #[test]
    fn a_name_of_a_system_call_is_all_functions_that_it_makes() {
        let named = |word: &[u8]| Functions::named(word).unwrap_or_default();
        assert_eq!(named(b"pipe2"), Functions::of(&[Function::Pipe, Function::Pipe2, Function::Popen]));
        let closes = [Function::Close, Function::Fclose, Function::Closedir, Function::Pclose];
        assert_eq!(named(b"close"), Functions::of(&closes));
        assert_eq!(named(b"pipe"), Functions::of(&[Function::Pipe]));
        assert!(named(b"openat").has(Function::Open) && named(b"openat").has(Function::Mkstemp));
        assert_eq!(Function::Pipe2.counted_as(), Function::Pipe);
        assert_eq!(Function::Close.counted_as(), Function::Close);
        assert_eq!(named(b"257"), Functions::of(&[Function::OpenAt]));
        assert_eq!(Function::of_number(290), Some(Function::Eventfd));
        assert_eq!(Function::of_number(-1), None);
        assert_eq!(Functions::named(b"0"), None);
    }

    #[test]
    fn the_sets_hold_what_their_names_say() {
        let set = |word: &[u8]| Functions::named(word).unwrap_or_default();
        for function in Function::ALL {
            let row = function.row();
            assert!(Functions::ALL.has(function));
            assert_eq!(function.is_epoll(), function.name().starts_with("epoll_"));
            assert_eq!(function.waits(), function.name().contains("wait"));
            assert_eq!(function.creates(), row.role == Role::Instance);
            assert!(!row.errors.all().is_empty(), "{}", row.name());
        }
        assert!(set(b"%creat").has(Function::Accept4) && set(b"%creat").has(Function::Dup2));
        assert!(!set(b"%creat").has(Function::Close) && !set(b"%creat").has(Function::EpollWait));
        assert!(set(b"%desc").has(Function::Open) && !set(b"desc").has(Function::Socket));
        assert!(set(b"%net").has(Function::Socket) && set(b"network") == set(b"%net"));
        assert_eq!(set(b"/^epoll_p"), Functions::of(&[Function::EpollPwait, Function::EpollPwait2]));
        assert_eq!(Functions::named(b"none"), Some(Functions::NONE));
        assert!(!set(b"all").meets(Functions::ON_REQUEST) && set(b"all").with(Functions::ON_REQUEST) == Functions::ALL);
        assert!(!set(b"/.").meets(Functions::ON_REQUEST) && set(b"malloc") == Functions::of(&[Function::Malloc]));
        assert_eq!(Functions::named(b"/("), None);
        assert_eq!(set(b"epoll").inverted().with(Functions::EPOLL), Functions::ALL);
        assert!(NAMES.contains(&"close_range") && NAMES.contains(&"%creat"));
        let mut some = Functions::default();
        assert!(some.is_empty());
        some.insert(Function::Dup3);
        some.insert(Function::Dup);
        assert!(some.has(Function::Dup3) && !some.has(Function::Dup2) && !some.meets(Functions::EPOLL));
        assert_eq!((some.before(Function::Dup), some.before(Function::Dup3)), (0, 1));
    }
}
