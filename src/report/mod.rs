//! The exit report: when it is due, what it contains, and how it is written without harming the
//! program.
//!
//! Called at every kind of process end and through the C interface. It may run in a signal handler
//! (`_exit` is legal there), with any lock of the program held. So nothing here allocates the
//! program's memory, takes a lock, or calls libc. All signals are blocked while it runs.

mod census;
mod facts;
mod file;
mod findings;
mod json;
mod program;
mod sites;
mod symbols;
mod text;
mod unseen;
mod values;

use core::fmt::Write;

use epollshim_format::findings::{Finding, Severity};
use epollshim_format::options::Format;

use crate::at_load::AtLoad;
use crate::buffer::Buffer;
use crate::config::{self, Config, Destination};
use crate::elf::Name;
use crate::ledger::{self, Here};
use crate::output::Line;
use crate::process::End;
use crate::sigsafe::on_own_stack;
use crate::{libc_kind, loaded, output, process, record, sys, thread};

use facts::Facts;
pub use facts::{InstanceFacts, Sums};
pub use program::{Program, is_executable, note_start};

/// Makes `exit` and `quick_exit` call the report as their last handler. A handler that is
/// registered before main runs after all that are registered later, and after the destructors of
/// libraries. The registering functions lock and may allocate, which is allowed here (glibc 2.36
/// stdlib/cxa_atexit.c).
pub fn register_exit_handlers(at_load: &AtLoad) {
    type Handler = extern "C-unwind" fn(*mut libc::c_void);
    unsafe extern "C" {
        fn __cxa_atexit(handler: Handler, argument: *mut libc::c_void, dso: *mut libc::c_void) -> libc::c_int;
    }
    extern "C-unwind" fn at_exit(_: *mut libc::c_void) {
        at_end(End::Exit);
    }
    extern "C-unwind" fn at_quick_exit() {
        at_end(End::Exit);
    }
    if libc_kind::is_glibc() {
        // The handler belongs to no library (null), so that it does not run early when this library
        // is terminated.
        // SAFETY: the handler outlives the process (-z nodelete); glibc has the function since 2.2.
        unsafe { __cxa_atexit(at_exit, core::ptr::null_mut(), core::ptr::null_mut()) };
    }
    // The first name is glibc's since 2.10, whose public function is part of each object. The
    // second is musl's.
    let find = |name| loaded::find_anywhere(at_load, &Name::new(name));
    if let Some(register) = find(c"__cxa_at_quick_exit") {
        type Register = extern "C" fn(Handler, *mut libc::c_void) -> libc::c_int;
        // SAFETY: the function of that name has this type. The handler outlives the process (-z
        // nodelete).
        unsafe { core::mem::transmute::<usize, Register>(register)(at_exit, core::ptr::null_mut()) };
    } else if let Some(register) = find(c"at_quick_exit") {
        type Register = extern "C" fn(extern "C-unwind" fn()) -> libc::c_int;
        // SAFETY: the function has the type of <stdlib.h>. The handler outlives the process (-z
        // nodelete).
        unsafe { core::mem::transmute::<usize, Register>(register)(at_quick_exit) };
    }
}

/// musl runs the destructors of libraries after the handlers of `atexit`, in the reverse order of
/// their constructors (1.2.3 src/exit/exit.c, ldso/dynlink.c). This library's destructor runs last,
/// because its constructor ran first.
#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C-unwind" fn() = {
    extern "C-unwind" fn destruct() {
        if !libc_kind::is_glibc() {
            at_end(End::Exit);
        }
    }
    destruct
};

/// Makes a sanitizer that ends the program deliver the report first. ASan and LSan end the program
/// in their own destructor, before other exit handlers, by a direct system call. A callback that
/// the program sets replaces this one.
pub fn register_death_callback(at_load: &AtLoad) {
    let name = Name::new(c"__sanitizer_set_death_callback");
    let Some(register) = loaded::find_anywhere(at_load, &name) else { return };
    extern "C-unwind" fn at_death() {
        at_end(End::UnderscoreExit);
    }
    // SAFETY: the function has this type in sanitizer/common_interface_defs.h. The callback
    // outlives the process (-z nodelete).
    unsafe { core::mem::transmute::<usize, extern "C" fn(extern "C-unwind" fn())>(register)(at_death) };
}

/// Makes the child of a fork claim its memory at once. Otherwise, if it lent the memory to a vfork
/// child before its first counted call, that child would be taken for the owner. (A child forked by
/// a raw system call claims at its first call.) The registering functions lock and may allocate,
/// which is allowed here (glibc 2.36 posix/register-atfork.c).
pub fn register_fork_handler(at_load: &AtLoad) {
    type Handler = Option<extern "C-unwind" fn()>;
    extern "C-unwind" fn claim() {
        process::claim_after_fork();
    }
    let before: Handler = Some(crate::findings::herd::before_fork);
    let find = |name| loaded::find_anywhere(at_load, &Name::new(name));
    // glibc's pthread_atfork calls this function since 2.3.2. pthread_atfork itself is a symbol of
    // libc only in musl; with glibc, every object has its own copy.
    if let Some(register) = find(c"__register_atfork") {
        type Register = extern "C" fn(Handler, Handler, Handler, *mut libc::c_void) -> libc::c_int;
        // SAFETY: the function of that name has this type. The handlers outlive the process
        // (-z nodelete), and make system calls only.
        unsafe { core::mem::transmute::<usize, Register>(register)(before, None, Some(claim), core::ptr::null_mut()) };
    } else if let Some(register) = find(c"pthread_atfork") {
        type Register = extern "C" fn(Handler, Handler, Handler) -> libc::c_int;
        // SAFETY: the function has the type of <pthread.h>. The handlers outlive the process (-z
        // nodelete), and make system calls only.
        unsafe { core::mem::transmute::<usize, Register>(register)(before, None, Some(claim)) };
    }
}

/// Notes what the program begins with. Go's runtime ends the process by a direct system call, which
/// no hook sees. So the report of a Go program is made now, and says what will not be seen. On
/// stderr it is one line.
pub fn look_at_load(at_load: &AtLoad) {
    unseen::note_load(at_load);
    let Some(config) = config::get().filter(|_| unseen::is_go()) else { return };
    match (&config.report, config.format) {
        (Destination::None, _) => {}
        (Destination::Descriptor(2), Format::Text) => output::tell(|line| {
            let pid = process::pid();
            let _ = writeln!(
                line,
                "epollshim: process {pid}: NOT SEEN: Go's runtime makes its epoll calls itself, and ends without a \
                 report; epollshim inspect {pid} shows its instances"
            );
        }),
        _ => deliver(config, End::Running),
    }
}

/// Delivers the report, once, if there is something to report. A child in another process's memory
/// has no report. What it did there is in the owner's report.
#[inline(never)] // for size
pub fn at_end(end: End) {
    if !process::is_used() && !unseen::is_there() || !process::is_owner() {
        return;
    }
    if !process::is_used() {
        record::begin_for_census();
    }
    sys::give_ballast_back();
    crate::census::evaluation::ends_now();
    let due = due(end);
    if due.is_none() {
        evaluate_for_recording(end);
    }
    record::at_end(end);
    match due {
        Some(config) if process::begin_report() => deliver(config, end),
        Some(_) => {}
        None if record::is_wanted() && process::begin_report() => record::complain(),
        None => {}
    }
    ledger::fork_shared::leave();
    crate::findings::listeners::leave();
}

/// Delivers the report before a signal that is expected to end the process. If the process
/// continues nevertheless, its end delivers a complete report that says so. Later signals deliver
/// none.
pub fn before_signal() {
    if !process::is_used() || !process::is_owner() || !process::begin_signal_report() {
        return;
    }
    sys::give_ballast_back();
    match due(End::Raised) {
        Some(config) => deliver(config, End::Raised),
        None => evaluate_for_recording(End::Raised),
    }
    record::at_end(End::Raised);
}

/// Evaluates the findings that follow from sums, including those about limits that the user has
/// set.
fn evaluate(end: End) {
    // Order matters: findings about use close to a limit depend on whether the limit was reached,
    // and leaks depend on which descriptors no instance in use watches.
    crate::census::exhausted::evaluate();
    crate::findings::evaluation::evaluate(end);
    crate::census::evaluation::evaluate(end);
    crate::policy::limits::evaluate();
}

/// Evaluates for the recording what a report would find now.
pub fn evaluate_now() {
    on_own_stack(|| {
        crate::census::reconcile();
        evaluate(End::Running);
    });
}

/// Evaluates for the recording only, if no report is due.
#[inline(never)] // for size
fn evaluate_for_recording(end: End) {
    if record::is_on() {
        on_own_stack(|| {
            if unseen::is_there() {
                ledger::reconcile(Here::AtEnd);
            }
            crate::census::reconcile();
            evaluate(end);
        });
    }
}

/// Delivers the report before an exec that is expected to succeed. If it fails nevertheless, the
/// process continues, and its end delivers a complete report that says so.
///
/// May be called in another process's memory. Then only the instances that the exec passes on are
/// noted.
pub fn before_exec(program: Program, caller: usize) {
    ledger::before_exec(caller, || is_executable(program));
    if !process::is_used() || !process::is_owner() {
        return;
    }
    let due = due(End::Exec);
    if (due.is_some() || record::is_on()) && is_executable(program) {
        match due {
            Some(config) => deliver(config, End::Exec),
            None => evaluate_for_recording(End::Exec),
        }
        record::at_end(End::Exec);
    }
}

/// Returns the configuration if a report is due. It is due if the process made an epoll call, or
/// has an instance that was created by no call that the library saw. The caller owns the memory.
fn due(end: End) -> Option<&'static Config> {
    let config = config::get()?;
    if matches!(config.report, Destination::None) {
        return None;
    }
    let counted = thread::all().any(|block| facts::calls(block) != 0) || census_reports(end);
    let counted = counted || end != End::Exec && unseen::is_there();
    counted.then_some(config)
}

/// With a census every process has something to report, except those that are about to exec another
/// program.
fn census_reports(end: End) -> bool {
    let is_grave = |finding: Finding| finding.severity > Severity::Info;
    crate::census::is_on()
        && (end != End::Exec && crate::census::has_seen_something() || crate::findings::all().any(is_grave))
}

/// Renders the report and writes it to where the options say.
#[inline(never)] // for size
fn deliver(config: &Config, end: End) {
    let deliver = || {
        on_own_stack(|| {
            Buffer::lend(|text| {
                if !render(Here::AtEnd, config.format, end, text) {
                    return false;
                }
                match config.report {
                    Destination::None => {}
                    Destination::Descriptor(fd) => output::to_descriptor(config, fd, text.as_slice()),
                    Destination::File(pattern) => file::to_file(config, pattern, config.format, text.as_slice()),
                }
                true
            })
        })
    };
    // If there was no memory, nothing has been written yet.
    let is_final = !matches!(end, End::Exec | End::Running);
    if deliver() != Some(true) && !(is_final && sys::unlock_all() && deliver() == Some(true)) {
        let mut line = Line::new();
        let _ = writeln!(line, "epollshim: no memory for the report of process {}; it is lost", process::pid());
        output::to_stderr(config, line.as_bytes());
    }
}

/// False: there was not enough memory.
fn render(here: Here, format: Format, end: End, into: &mut Buffer<u8>) -> bool {
    let compared = ledger::reconcile(here);
    let reconciled = compared.is_exact() & crate::census::reconcile();
    evaluate(end);
    let facts = Facts::gather(end, reconciled, compared.unknown);
    let rendered = match format {
        Format::Text => text::render(&facts, into),
        Format::Json => json::render(&facts, into),
    };
    facts.end();
    rendered.is_ok()
}

/// Delivers the report of a process that a limit is about to abort.
pub fn at_abort() {
    at_end(End::Signal);
}

/// Writes a report of the current state to a descriptor (`epollshim_report`). Err: an error number.
pub fn write_now(fd: i32) -> sys::Result<()> {
    let format = config::get().map_or(Format::Text, |config| config.format);
    let here = ledger::place();
    on_own_stack(|| {
        Buffer::lend(|text| {
            if render(here, format, End::Running, text) {
                output::write_all(fd, text.as_slice())
            } else {
                Err(libc::ENOMEM)
            }
        })
    })
    .unwrap_or(Err(libc::ENOMEM))
}
