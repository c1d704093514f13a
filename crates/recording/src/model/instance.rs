//! An epoll instance, and an interest of one.

use epollshim_format::call::Call;

pub struct Instance {
    /// In the table.
    pub index: u64,
    pub id: u64,
    pub site: u64,
    pub origin: Origin,
    /// `size` or `flags`.
    pub argument: i32,
    pub inherited: bool,
    /// The descriptor that it was made under.
    pub epfd: i32,
    pub watches: u64,
    pub watches_peak: u64,
    pub began: u64,
    /// The lower half of its waits when all were last marked; all ones: not yet.
    pub mark: u32,
    pub waits: u64,
    pub events: u64,
    pub empty: u64,
    pub full: u64,
    pub interrupted: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Create,
    Create1,
    Unseen,
}

impl Instance {
    /// The call that made it; None where that was not seen.
    pub fn call(&self) -> Option<&'static str> {
        match self.origin {
            Origin::Create => Some(Call::Create.function()),
            Origin::Create1 => Some(Call::Create1.function()),
            Origin::Unseen => None,
        }
    }

    /// The promise made to epoll_create.
    pub fn size(&self) -> Option<i32> {
        (self.origin == Origin::Create).then_some(self.argument)
    }

    /// As it was made: a later fcntl is not in the recording.
    pub fn cloexec(&self) -> Option<bool> {
        match self.origin {
            Origin::Create => Some(false),
            Origin::Create1 => Some(self.argument & libc::EPOLL_CLOEXEC != 0),
            Origin::Unseen => None,
        }
    }

    /// The creating call as C spells it.
    pub fn made_by(&self) -> String {
        match self.origin {
            Origin::Create => format!("epoll_create({})", self.argument),
            Origin::Create1 if self.argument == 0 => "epoll_create1(0)".into(),
            Origin::Create1 if self.argument == libc::EPOLL_CLOEXEC => "epoll_create1(EPOLL_CLOEXEC)".into(),
            Origin::Create1 => format!("epoll_create1({:#x})", self.argument),
            Origin::Unseen => "creation not seen".into(),
        }
    }
}

pub struct Interest {
    /// Its instance's place in the table.
    pub instance: u64,
    pub fd: i32,
    pub site: u64,
}
