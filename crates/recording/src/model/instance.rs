//! An epoll instance, and an interest of one.

use epollshim_format::call::Call;

pub struct Instance {
    /// Its place in the table.
    pub index: u64,
    pub id: u64,
    pub site: u64,
    pub origin: Origin,
    /// `size` or `flags`.
    pub argument: i32,
    pub inherited: bool,
    /// The descriptor that the creating call returned.
    pub epfd: i32,
    pub watches: u64,
    pub watches_peak: u64,
    pub began: u64,
    /// The lower half of its wait count when all instances were last marked. All ones: not marked
    /// yet.
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
    /// The call that created it. None: no such call was seen.
    pub fn call(&self) -> Option<&'static str> {
        match self.origin {
            Origin::Create => Some(Call::Create.function()),
            Origin::Create1 => Some(Call::Create1.function()),
            Origin::Unseen => None,
        }
    }

    /// The `size` that was passed to `epoll_create`.
    pub fn size(&self) -> Option<i32> {
        (self.origin == Origin::Create).then_some(self.argument)
    }

    /// Whether it was created with close-on-exec. A later `fcntl` is not in the recording.
    pub fn cloexec(&self) -> Option<bool> {
        match self.origin {
            Origin::Create => Some(false),
            Origin::Create1 => Some(self.argument & libc::EPOLL_CLOEXEC != 0),
            Origin::Unseen => None,
        }
    }

    /// The creating call as C source.
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
    /// The place of its instance in the table.
    pub instance: u64,
    pub fd: i32,
    pub site: u64,
}
