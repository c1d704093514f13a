//! The interposed functions, as faults and logs name them, and sets of them.

/// A function that the shim interposes, by the name that glibc gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Function {
    EpollCreate = 0,
    EpollCreate1 = 1,
    EpollCtl = 2,
    EpollWait = 3,
    EpollPwait = 4,
    EpollPwait2 = 5,
    Close = 6,
    Dup = 7,
    Dup2 = 8,
    Dup3 = 9,
    Fcntl = 10,
    CloseRange = 11,
}

impl Function {
    pub const COUNT: usize = 12;
    pub const ALL: [Function; Function::COUNT] = [
        Function::EpollCreate,
        Function::EpollCreate1,
        Function::EpollCtl,
        Function::EpollWait,
        Function::EpollPwait,
        Function::EpollPwait2,
        Function::Close,
        Function::Dup,
        Function::Dup2,
        Function::Dup3,
        Function::Fcntl,
        Function::CloseRange,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Function::EpollCreate => "epoll_create",
            Function::EpollCreate1 => "epoll_create1",
            Function::EpollCtl => "epoll_ctl",
            Function::EpollWait => "epoll_wait",
            Function::EpollPwait => "epoll_pwait",
            Function::EpollPwait2 => "epoll_pwait2",
            Function::Close => "close",
            Function::Dup => "dup",
            Function::Dup2 => "dup2",
            Function::Dup3 => "dup3",
            Function::Fcntl => "fcntl",
            Function::CloseRange => "close_range",
        }
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

    /// Whether it makes an epoll instance.
    #[must_use]
    pub const fn creates(self) -> bool {
        matches!(self, Function::EpollCreate | Function::EpollCreate1)
    }
}

/// A set of functions: bit N stands for the function whose number is N.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Functions(pub u16);

impl Functions {
    pub const EPOLL: Functions = Functions(0b11_1111);
    pub const WAITS: Functions = Functions(0b11_1000);
    pub const ALL: Functions = Functions((1 << Function::COUNT) - 1);

    #[must_use]
    pub const fn has(self, function: Function) -> bool {
        self.0 & 1 << function as u8 != 0
    }

    #[must_use]
    pub const fn with(self, other: Functions) -> Functions {
        Functions(self.0 | other.0)
    }

    /// Whether any function is in both.
    #[must_use]
    pub const fn meets(self, other: Functions) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn insert(&mut self, function: Function) {
        self.0 |= 1 << function as u8;
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What a word of a list of calls stands for: a function's name, `epoll` (the six of `<sys/epoll.h>`), or
    /// `all`. `fcntl64` is what `fcntl` is called in programs built for 64-bit file offsets.
    #[must_use]
    pub fn named(word: &[u8]) -> Option<Functions> {
        match word {
            b"epoll" => Some(Functions::EPOLL),
            b"all" => Some(Functions::ALL),
            b"fcntl64" => Some(Functions(1 << Function::Fcntl as u8)),
            _ => Function::ALL
                .into_iter()
                .find(|function| function.name().as_bytes() == word)
                .map(|function| Functions(1 << function as u8)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Function, Functions};

    #[test]
    fn a_function_has_its_place_and_its_name_alone() {
        for (place, function) in Function::ALL.into_iter().enumerate() {
            assert_eq!(function as usize, place);
            assert_eq!(Functions::named(function.name().as_bytes()), Some(Functions(1 << place)));
        }
        assert_eq!(Functions::named(b"fcntl64"), Functions::named(b"fcntl"));
        assert_eq!(Functions::named(b"__close"), None);
        assert_eq!(Functions::named(b""), None);
    }

    #[test]
    fn the_sets_hold_what_their_names_say() {
        for function in Function::ALL {
            assert!(Functions::ALL.has(function));
            assert_eq!(function.is_epoll(), function.name().starts_with("epoll_"));
            assert_eq!(function.waits(), function.name().contains("wait"));
            assert_eq!(function.creates(), function.name().starts_with("epoll_create"));
        }
        let mut set = Functions::default();
        assert!(set.is_empty());
        set.insert(Function::Dup3);
        assert!(set.has(Function::Dup3) && !set.has(Function::Dup2) && !set.meets(Functions::EPOLL));
    }
}
