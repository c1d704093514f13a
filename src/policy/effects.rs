//! The effects of faults on a call, and the tests of a call that rules need.

use libc::epoll_event;

use crate::buffer::exchange;
use crate::frame::Frame;
use crate::{clock, config, loaded, real, sys};

/// Runs instead of a real function: returns a value, and sets errno unless `error` is 0.
pub extern "C-unwind" fn answer(value: isize, error: usize) -> isize {
    if error != 0 {
        sys::set_errno(error as i32);
    }
    value
}

/// The same for a cancellation point. A thread that gets nothing but made-up answers can still be
/// cancelled.
pub extern "C-unwind" fn answer_of_a_cancellation_point(value: isize, error: usize) -> isize {
    // SAFETY: `pthread_testcancel` has no precondition. It may unwind, and nothing in this frame
    // needs to be dropped.
    unsafe { real::pthread_testcancel()() };
    answer(value, error)
}

/// The events that an `epoll_ctl` asks for. None: the address cannot be read, and the kernel will
/// fail the call (EFAULT).
pub fn asked_for(frame: &Frame) -> Option<u32> {
    sys::event_at(frame.word(3)).map(|event| event.events)
}

/// Sleeps before a wait. False: a signal handler ran before the time was over. The thread can be
/// cancelled in it as in the wait itself, which is why it uses the sleep of libc.
pub fn pause(nanoseconds: u64) -> bool {
    unsafe extern "C-unwind" {
        fn clock_nanosleep(
            clock: libc::clockid_t,
            flags: libc::c_int,
            until: *const libc::timespec,
            rest: *mut libc::timespec,
        ) -> libc::c_int;
    }
    let end = clock::monotonic().saturating_add(nanoseconds);
    let until = libc::timespec { tv_sec: (end / 1_000_000_000) as i64, tv_nsec: (end % 1_000_000_000) as i64 };
    // SAFETY: `until` is a valid timespec for the whole call, and an absolute sleep writes no
    // remaining time. The function leaves errno alone. It may unwind, and nothing from here up to
    // the hook's entry needs to be dropped.
    let error =
        unsafe { clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const until, core::ptr::null_mut()) };
    // Any other error comes from a sandbox that forbids sleeping: no handler ran.
    error != libc::EINTR
}

/// Sleeps for all of the time, however many handlers run in between.
pub fn pause_fully(nanoseconds: u64) {
    let end = clock::monotonic().saturating_add(nanoseconds);
    // The clock is read as well, because a seccomp filter may answer EINTR forever.
    while sys::sleep_until(end) == Err(libc::EINTR) && clock::monotonic() < end {}
}

/// The events that a wait has delivered.
///
/// # Safety
/// The kernel must have written `count` events at the address that is the wait's second argument.
pub unsafe fn delivered<'a>(frame: &Frame, count: usize) -> &'a mut [epoll_event] {
    // SAFETY: by this function's contract, the kernel has written `count` events there.
    // `epoll_event` is packed, so any address is aligned.
    unsafe { core::slice::from_raw_parts_mut(frame.word(1) as *mut epoll_event, count) }
}

/// Shuffles events by a random number (Fisher-Yates).
pub fn shuffle(events: &mut [epoll_event], mut random: u64) {
    for last in (1..events.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = ((random >> 33) as usize) % (last + 1);
        exchange(events, last, other);
    }
}

// ---- who calls ----

/// Whether this libc can find the caller of a function. If it can, the program's own names are read
/// from /proc, so hooks must not call this.
pub fn can_tell_callers() -> bool {
    let can_tell = loaded::can_find_objects();
    if can_tell {
        config::learn_file_name();
    }
    can_tell
}

/// Whether the object that contains a return address has this base name, or a versioned name of it
/// (`libuv.so` matches `libuv.so.1`).
pub fn is_called_by(caller: usize, name: impl Iterator<Item = u8> + Clone) -> bool {
    match loaded::path_of(caller) {
        None => false,
        // The program itself.
        Some(b"") => config::is_named(|own| has_name(own, name.clone())),
        Some(path) => has_name(path, name),
    }
}

/// Whether a return address is `address` in the addresses of its file.
pub fn is_at(caller: usize, address: u64) -> bool {
    loaded::place_in_file(caller).is_some_and(|(_, at)| at as u64 == address)
}

fn has_name(path: &[u8], name: impl Iterator<Item = u8>) -> bool {
    let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let mut rest = base.iter();
    for byte in name {
        if rest.next().is_none_or(|found| *found != byte && byte != b'?') {
            return false;
        }
    }
    matches!(rest.next(), None | Some(b'.'))
}

#[cfg(test)]
mod tests {
    use super::{has_name, shuffle};
    use libc::epoll_event;

    #[test]
    fn a_caller_is_known_by_its_base_name_with_or_without_a_version() {
        let is = |path: &str, name: &str| has_name(path.as_bytes(), name.bytes());
        assert!(is("/usr/lib/libuv.so.1.0.0", "libuv.so"));
        assert!(is("/usr/lib/libuv.so.1", "libuv.so.1"));
        assert!(is("redis-server", "redis-server"));
        assert!(!is("/usr/lib/libuv.so.1", "libuv.so.10"));
        assert!(!is("/usr/lib/libuvx.so", "libuv"));
        assert!(!is("/libuv.so/libc.so.6", "libuv.so"));
        assert!(is("/usr/lib/my lib.so", "my?lib.so"));
        assert!(!is("/usr/lib/mylib.so", "my?lib.so"));
        assert!(!is("/usr/lib/my", "my?"));
    }

    #[test]
    fn a_shuffle_keeps_every_event_and_repeats_with_its_number() {
        let order = |random| {
            let mut events = [epoll_event { events: 0, u64: 0 }; 16];
            for (place, event) in events.iter_mut().enumerate() {
                event.u64 = place as u64;
            }
            shuffle(&mut events, random);
            events.map(|event| event.u64)
        };
        let mut sorted = order(7);
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
        sorted.sort_unstable();
        assert_eq!(sorted, core::array::from_fn(|place| place as u64));
    }
}
