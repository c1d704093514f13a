//! The record of one call.

use epollshim_format::function::Function;
use epollshim_format::recording::record;

/// The record of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub number: u64,
    pub began: u64,
    pub duration: u64,
    /// None: a number that this version does not know.
    pub function: Option<Function>,
    pub flags: u8,
    /// The operation of `epoll_ctl`.
    pub operation: u16,
    /// 0 if the call did not fail.
    pub errno: u32,
    pub result: i64,
    pub first: i32,
    pub second: i32,
    pub extra: u64,
    pub caller: u64,
}

impl Record {
    pub fn name(&self) -> &'static str {
        self.function.map_or("(unknown)", Function::name)
    }

    pub fn failed(&self) -> bool {
        self.result < 0
    }

    pub fn waits(&self) -> bool {
        self.function.is_some_and(Function::waits)
    }

    /// The events that it returned.
    pub fn events(&self) -> u64 {
        if self.waits() { u64::try_from(self.result).unwrap_or(0) } else { 0 }
    }

    pub fn injected(&self) -> bool {
        u64::from(self.flags) & record::INJECTED != 0
    }

    pub fn limited(&self) -> bool {
        u64::from(self.flags) & record::LIMITED != 0
    }

    pub fn end(&self) -> u64 {
        self.began.saturating_add(self.duration)
    }

    /// The timeout of a wait in nanoseconds, or `Some(None)` if it has none. None: the call was not
    /// passed to the kernel, and its timeout is not known.
    pub fn timeout(&self) -> Option<Option<u64>> {
        match self.extra {
            record::UNKNOWN_TIMEOUT => None,
            record::NO_TIMEOUT => Some(None),
            nanoseconds => Some(Some(nanoseconds)),
        }
    }
}
