//! The plan of a call: what `before` has decided about it, for `after`.

use crate::sync::Ordering;

use epollshim_format::call::Call;
use epollshim_format::function::Function;
use libc::c_int;

use crate::counters::OwnCounter;
use crate::frame::Frame;
use crate::sys;
use crate::thread::Block;

/// What was decided about a call. It lies on the stack of the call, below its frame.
#[repr(C, align(16))]
pub struct Plan {
    /// The function that the entry calls after the real call, an [`After`](crate::frame::After).
    /// Assembly reads it: it must be the first field.
    pub after: usize,
    pub function: Function,
    pub(super) target: Target,
    pub is_injected: bool,
    pub is_limited: bool,
    /// A fault held the call back.
    pub is_delayed: bool,
    /// A fault lowered how many events a wait asks for.
    pub(super) is_shortened: bool,
    pub(super) is_logged: bool,
    pub(super) is_recorded: bool,
    pub(super) is_only_recorded: bool,
    /// The answer was already counted when it was decided, because the program may be aborted for
    /// it.
    pub(super) is_counted: bool,
    /// The delay before a wait was cut short by a signal handler.
    pub(super) is_interrupted: bool,
    /// The signal is pending for this thread, and blocked. `mask` is the signal mask to restore.
    pub(super) is_pending: bool,
    pub(super) signal: c_int,
    /// The errno of an answer, or of a call that is made and is reported as failed. 0: none.
    pub(super) error: c_int,
    /// The arguments that the program passed.
    pub(super) words: [usize; 6],
    /// CLOCK_MONOTONIC before the call. 0: nothing needs it.
    pub(super) began: u64,
    pub(super) delay_exit: u64,
    pub(super) shuffle: Option<u64>,
    pub(super) forge: u32,
    /// The epoch of the reservation (`reservations::epoch`).
    pub(super) epoch: u32,
    /// What limits have reserved for the call (`Prepaid::to_word`).
    pub(super) prepaid: u64,
    /// The room for descriptors that was reserved, and the generation of processes that reserved it
    /// (`census::generation`).
    pub(super) room: u32,
    pub(super) generation: u8,
    pub(super) mask: sys::SignalSet,
    /// The timeout of a wait that must not block: zero.
    pub(super) no_time: libc::timespec,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// The function that the program called.
    Real,
    /// Another real function, which is called instead.
    Instead,
    /// No real function: the answer is made up (effects.rs).
    Answer,
}

impl Plan {
    pub(super) fn new(function: Function, frame: &Frame) -> Plan {
        Plan {
            after: 0,
            function,
            target: Target::Real,
            is_injected: false,
            is_limited: false,
            is_delayed: false,
            is_shortened: false,
            is_logged: false,
            is_recorded: false,
            is_only_recorded: false,
            is_counted: false,
            is_interrupted: false,
            is_pending: false,
            signal: 0,
            error: 0,
            words: frame.words,
            began: 0,
            delay_exit: 0,
            shuffle: None,
            forge: 0,
            epoch: 0,
            prepaid: 0,
            room: 0,
            generation: 0,
            mask: 0,
            no_time: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        }
    }

    /// Whether the function that the program called is the one that runs.
    pub fn is_real(&self) -> bool {
        self.target == Target::Real
    }

    /// Whether the call is recorded, and nothing else is done to it.
    pub fn is_only_recorded(&self) -> bool {
        self.is_only_recorded
    }

    /// Whether a fault made up the result of the call, or a part of it.
    pub fn is_made_up(&self) -> bool {
        let is_altered = self.forge != 0 || self.shuffle.is_some() || self.is_interrupted || self.is_shortened;
        self.is_injected && (self.target == Target::Answer || is_altered || self.is_overruled())
    }

    /// Whether the call is made, and its success is replaced by the errno `error`.
    pub(super) fn is_overruled(&self) -> bool {
        self.target == Target::Real && self.error != 0
    }

    /// Whether a fault sent the thread a signal.
    pub fn is_signalled(&self) -> bool {
        self.signal != 0
    }

    /// Whether a real function is called.
    pub fn is_made(&self) -> bool {
        self.target != Target::Answer
    }
}

/// The counter of the planned call. None: the function works on descriptors of any kind, and is not
/// counted.
pub(super) fn call_of(plan: &Plan) -> Option<Call> {
    Some(match plan.function {
        Function::EpollCreate => Call::Create,
        Function::EpollCreate1 => Call::Create1,
        Function::EpollCtl => match plan.words[1] as c_int {
            libc::EPOLL_CTL_ADD => Call::CtlAdd,
            libc::EPOLL_CTL_MOD => Call::CtlMod,
            libc::EPOLL_CTL_DEL => Call::CtlDel,
            _ => Call::CtlOther,
        },
        Function::EpollWait => Call::Wait,
        Function::EpollPwait => Call::Pwait,
        Function::EpollPwait2 => Call::Pwait2,
        _ => return None,
    })
}

/// Counts a call that was not made. Neither the ledger nor the counters of the instance change.
pub(super) fn count(plan: &mut Plan, block: &Block) {
    plan.is_counted = true;
    let Some(call) = call_of(plan) else { return };
    let counters = &block.counters;
    if plan.error != 0 {
        counters.failed(call, plan.error);
    } else {
        counters.calls(call).bump();
        counters.call(call).made_up.bump();
    }
    if plan.is_injected {
        counters.call(call).injected.bump();
    }
    if plan.is_limited {
        counters.call(call).limited.bump();
    }
    if plan.function.waits() {
        counters.last_wait_end.store(0, Ordering::Relaxed);
    }
}
