//! The epoll calls that are counted, by the names that `<sys/epoll.h>` gives them.

/// A counted call. The operations of `epoll_ctl` are counted separately, and reported together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Call {
    Create = 0,
    Create1 = 1,
    CtlAdd = 2,
    CtlMod = 3,
    CtlDel = 4,
    /// `epoll_ctl` with an operation that the kernel does not know: it fails with EINVAL.
    CtlOther = 5,
    Wait = 6,
    Pwait = 7,
    Pwait2 = 8,
}

impl Call {
    pub const COUNT: usize = 9;
    pub const ALL: [Call; Call::COUNT] = [
        Call::Create,
        Call::Create1,
        Call::CtlAdd,
        Call::CtlMod,
        Call::CtlDel,
        Call::CtlOther,
        Call::Wait,
        Call::Pwait,
        Call::Pwait2,
    ];
    /// The calls that wait for events.
    pub const WAITS: [Call; 3] = [Call::Wait, Call::Pwait, Call::Pwait2];

    /// The function of `<sys/epoll.h>` that this is a call of.
    #[must_use]
    pub const fn function(self) -> &'static str {
        match self {
            Call::Create => "epoll_create",
            Call::Create1 => "epoll_create1",
            Call::CtlAdd | Call::CtlMod | Call::CtlDel | Call::CtlOther => "epoll_ctl",
            Call::Wait => "epoll_wait",
            Call::Pwait => "epoll_pwait",
            Call::Pwait2 => "epoll_pwait2",
        }
    }
}

/// The functions in the order in which a report lists them, each with the counted calls that it
/// covers.
pub const FUNCTIONS: [(&str, &[Call]); 6] = [
    ("epoll_create", &[Call::Create]),
    ("epoll_create1", &[Call::Create1]),
    ("epoll_ctl", &[Call::CtlAdd, Call::CtlMod, Call::CtlDel, Call::CtlOther]),
    ("epoll_wait", &[Call::Wait]),
    ("epoll_pwait", &[Call::Pwait]),
    ("epoll_pwait2", &[Call::Pwait2]),
];

#[cfg(test)]
mod tests {
    use super::{Call, FUNCTIONS};

    #[test]
    fn every_call_belongs_to_its_function_once() {
        for call in Call::ALL {
            let mut times = 0;
            for (name, calls) in FUNCTIONS {
                for listed in calls {
                    if *listed == call {
                        assert_eq!(name, call.function());
                        times += 1;
                    }
                }
            }
            assert_eq!(times, 1, "{call:?}");
        }
    }
}
