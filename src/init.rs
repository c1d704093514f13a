//! Initialises the library: in the constructor, or in the first hook if that runs before the
//! constructor (another library's constructor may call it).
//!
//! Two threads may run this at once: the first one decides. Nothing here allocates. The options are
//! copied out of the environment, which programs overwrite (setproctitle), into a separate mapping.
//!
//! ```text
//! init/kept.rs     copies the options, and reads the program's names
//! init/refusal.rs  messages about options that cannot be put into force
//! ```

mod kept;
mod refusal;

use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use core::fmt::Write;

use epollshim_format::faults;
use epollshim_format::options::{self, OnBadConfig, Options};
use libc::c_char;

#[cfg(not(test))]
use crate::at_load::AtLoad;
use crate::buffer::Buffer;
#[cfg(not(test))]
use crate::config::ARGUMENTS;
use crate::config::{self, ACT, CONFIG, Config, Destination, FORWARD_ONLY, LogTo, STATE};
use crate::environment::{self, Environment};
use crate::findings::suppressions;
use crate::path::Path;
use crate::policy::rules::replay;
use crate::policy::{self, limits, rules};
use crate::session::{self, Trouble};
use crate::{
    census, clock, ledger, log, output, place, process, procfs, real, record, registers, seccomp, sigsafe, stacks, sys,
};
#[cfg(not(test))]
use crate::{libc_kind, loaded};

use kept::{Names, keep};
use refusal::Refusal;

/// The thread that has read the options or is reading them, by its thread pointer
/// (`registers::token`). 0: none has begun.
static DECIDER: AtomicUsize = AtomicUsize::new(0);
/// The decision is in force. Release and Acquire: a thread that continues sees all of it.
static IS_DECIDED: AtomicBool = AtomicBool::new(false);

/// The loader calls it with main's arguments, before main.
#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C-unwind" fn(libc::c_int, *const *const c_char, *const *const c_char) = {
    extern "C-unwind" fn construct(count: libc::c_int, _: *const *const c_char, _: *const *const c_char) {
        let errno = sys::errno();
        crate::valgrind::ignore_statics();
        if !loaded::are_listed() {
            refuse(OnBadConfig::Exit, format_args!("LD_PRELOAD: this program's C library is neither glibc nor musl"));
        }
        real::resolve_all();
        // musl's loader calls constructors without arguments.
        if libc_kind::is_glibc() {
            ARGUMENTS.store(count, Ordering::Relaxed);
        }
        decide(real::environment());
        // SAFETY: this function is the constructor, which only the loader calls.
        prepare_for_main(&unsafe { AtLoad::new() });
        settle();
        census::settle();
        sys::set_errno(errno);
    }
    construct
};

/// Whether to count in this process. Initialises the library if that has not happened.
pub fn acts() -> bool {
    if !IS_DECIDED.load(Ordering::Acquire) {
        let errno = sys::errno();
        decide(real::environment());
        sys::set_errno(errno);
    }
    if STATE.load(Ordering::Relaxed) == FORWARD_ONLY {
        print_inactive();
        return false;
    }
    // If it is still undecided, libc is not ready (preinit). Then count: nothing else is known yet.
    seccomp::find_inherited();
    process::prepare().is_ok()
}

fn decide(environment: *const *const c_char) {
    if environment.is_null() {
        return;
    }
    // One thread decides, so that rules are armed once. Relaxed: other words publish the decision
    // (`IS_DECIDED`, `CONFIG`).
    let own = registers::token();
    if let Err(other) = DECIDER.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed) {
        if other != own {
            wait_for_decision();
        }
        return;
    }
    clock::prepare();
    process::note_load();
    environment::note_load(environment);
    // SAFETY: getauxval takes no pointer, and the kernel laid out the auxiliary vector that it
    // reads.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    let (options, problem) = if secure { (Options::default(), None) } else { options::parse(Environment(environment)) };
    if let Some(problem) = problem {
        return refuse(options.on_bad_config, format_args!("{problem}"));
    }
    let names = Names::read();
    if options.only.is_some_and(|only| !names.are_among(only)) {
        return forward_only();
    }
    let Some(config) = keep(&options, &names, environment) else { return forward_only() };
    if let Err(trouble) = process::prepare() {
        return be_inactive(trouble, asks_for_more_than_a_report(&options));
    }
    sys::hold_ballast();
    if let Err(refusal) = arm(&options, config) {
        return refuse(options.on_bad_config, format_args!("{refusal}"));
    }
    STATE.store(ACT, Ordering::Relaxed);
    policy::arm();
    sys::expect_locked_memory();
    IS_DECIDED.store(true, Ordering::Release);
}

/// The part of the initialisation that a hook may not do.
#[cfg(not(test))]
fn prepare_for_main(at_load: &AtLoad) {
    if let (Err(trouble), Some(config)) = (stacks::load_unwinder(at_load), config::get()) {
        let refusal = if stacks::are_wanted() {
            Refusal::Stacks(trouble)
        } else {
            Refusal::Rules(rules::Refusal::Stacks(trouble))
        };
        if matches!(refusal, Refusal::Rules(_)) || !has_parent_under_shim() {
            refuse(config.on_bad_config, format_args!("{refusal}"));
        }
    }
    // Also while another thread is still reading the options: the handlers check for themselves
    // whether there is something to do.
    if STATE.load(Ordering::Relaxed) != FORWARD_ONLY {
        crate::report::register_exit_handlers(at_load);
        crate::report::register_fork_handler(at_load);
        crate::report::register_death_callback(at_load);
        crate::report::look_at_load(at_load);
        crate::hooks::memory::hook(at_load);
    }
}

/// All real functions are known. From now on hooks may take their fast paths if nothing is armed.
#[cfg(not(test))]
fn settle() {
    if IS_DECIDED.load(Ordering::Acquire) {
        if STATE.load(Ordering::Relaxed) == FORWARD_ONLY { policy::disarm() } else { policy::arm() }
    }
}

/// Waits for another thread that is reading the options, which takes less than a millisecond. This
/// happens if another library's constructor has started threads: before main, and once in a
/// thread's life. The wait is bounded, in case the other thread is gone.
fn wait_for_decision() {
    for _ in 0..10_000 {
        if IS_DECIDED.load(Ordering::Acquire) {
            return;
        }
        sys::yield_now();
    }
}

fn forward_only() {
    policy::disarm();
    STATE.store(FORWARD_ONLY, Ordering::Relaxed);
    IS_DECIDED.store(true, Ordering::Release);
}

/// Why the library is inactive although the options ask for it: a [`Trouble`](process::Trouble) as
/// an error number, with [`CANNOT_WIPE`] or without. 0: there is no reason, or it was printed.
static INACTIVE: AtomicU32 = AtomicU32::new(0);
/// A bit above the error numbers, which are below 4096: the memory was mapped, but the kernel would
/// not wipe it at fork.
const CANNOT_WIPE: u32 = 1 << 16;

/// Without memory that a fork wipes, a child's calls could not be distinguished from its parent's.
/// So nothing is counted, and the program runs as without the library. A program that has nothing
/// to report gets no message, just as it gets no report.
fn be_inactive(trouble: process::Trouble, prints_now: bool) {
    let reason = match trouble {
        process::Trouble::Map(error) => error as u32,
        process::Trouble::Wipe(error) => error as u32 | CANNOT_WIPE,
    };
    INACTIVE.store(reason, Ordering::Relaxed);
    forward_only();
    if prints_now {
        print_inactive();
    }
}

/// Whether the options ask for something that also matters to a program that never uses epoll.
fn asks_for_more_than_a_report(options: &Options) -> bool {
    options.wants_census() || options.record.is_some()
}

/// Prints why the library is inactive, once in a process.
#[cold]
fn print_inactive() {
    let reason = INACTIVE.load(Ordering::Relaxed);
    if reason == 0 || INACTIVE.compare_exchange(reason, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    let Some(config) = CONFIG.get() else { return };
    let error = (reason & !CANNOT_WIPE) as i32;
    let trouble = if reason & CANNOT_WIPE == 0 { process::Trouble::Map(error) } else { process::Trouble::Wipe(error) };
    output::tell_by(config, |line| {
        let pid = sys::getpid();
        let _ = writeln!(line, "epollshim: inactive in process {pid}, nothing is counted: {trouble}");
    });
}

/// Handles a bad option: prints the problem, and ends the program before main or forwards all
/// calls.
fn refuse(on_bad_config: OnBadConfig, problem: core::fmt::Arguments) {
    let mut line = output::Line::new();
    let _ = writeln!(line, "epollshim: {problem}");
    let _ = sys::write(2, line.as_bytes());
    match on_bad_config {
        OnBadConfig::Exit => sys::exit_group(2),
        OnBadConfig::Ignore => forward_only(),
    }
}

/// Puts the options into force. If another program under the library started this one, missing call
/// stacks are no reason to refuse: it runs without them.
fn arm<'a>(options: &Options<'a>, config: &'static Config) -> Result<(), Refusal<'a>> {
    if options.record.is_some() || options.wants_census() || options.limit.is_some() {
        seccomp::find_inherited();
    }
    if let Some(file) = config.suppressions {
        suppressions::read(file).map_err(|refusal| Refusal::Suppressions(refusal, file))?;
    }
    check_places(config)?;
    if let Some(directory) = config.record {
        record::prepare(directory).map_err(|error| Refusal::Record(error, directory))?;
    }
    // Also used for rules that the program arms later (epollshim_inject).
    if let Some(given) = options.seed {
        config::set_seed(given);
    }
    let mut inject = options.inject;
    if let Some(file) = options.inject_replay {
        let mut path = Path::new();
        path.push(file);
        let header =
            replay::read(path.as_c().unwrap_or_default(), inject).map_err(|refusal| Refusal::Replay(refusal, file))?;
        if let (Some(seed), None) = (header.seed, options.seed) {
            config::set_seed(seed);
        }
        faults::check(header.rules, options.impossible).map_err(Refusal::ReplayRules)?;
        inject = header.rules;
    }
    if !inject.is_empty() {
        seed();
        if let Err(trouble) = share(inject, options.impossible, config)
            && !has_parent_under_shim()
        {
            return Err(Refusal::Session(trouble, config));
        }
        rules::arm(faults::parse(inject, options.impossible).filter_map(Result::ok)).map_err(Refusal::Rules)?;
    }
    log::decisions::begin(config, inject).map_err(|error| Refusal::InjectLog(error, config))?;
    if options.stacks != 0
        && let Err(trouble) = stacks::prepare(options.stacks)
        && !has_parent_under_shim()
    {
        return Err(Refusal::Stacks(trouble));
    }
    if options.wants_census() {
        census::begin();
        stacks::want_callers_of_cpp_library();
    }
    match &options.limit {
        Some(limits) => set_limits(limits, config).map_err(|trouble| match trouble {
            Some(trouble) => Refusal::Session(trouble, config),
            None => Refusal::Limits,
        }),
        None => Ok(()),
    }
}

/// Checks whether the files of the report and of the log can be written, as far as that can be
/// known now. Checks nothing under a seccomp filter that is older than this program.
///
/// If another program under the library started this one, this refuses nothing: the new program may
/// run as another user or see other directories (a server's child, a sandbox).
#[cold]
#[inline(never)] // for size
fn check_places(config: &'static Config) -> Result<(), Refusal<'static>> {
    let report = if let Destination::File(pattern) = config.report { Some(pattern) } else { None };
    let log = if let LogTo::File(pattern) = config.log { Some(pattern) } else { None };
    for (option, pattern) in [("EPOLLSHIM_REPORT", report), ("EPOLLSHIM_LOG", log)] {
        let Some(pattern) = pattern else { continue };
        // This must come before the first call for which a filter that is older than this program
        // may kill.
        seccomp::find_inherited();
        if seccomp::is_inherited() {
            return Ok(());
        }
        let checked = sigsafe::unshared(|files| {
            place::may_become_output(files, output::expand(pattern).as_c().ok_or(libc::ENAMETOOLONG)?)
        });
        if let Some(Err(error)) = checked
            && !has_parent_under_shim()
        {
            return Err(Refusal::Place(option, pattern, error));
        }
    }
    Ok(())
}

/// Whether the parent process has loaded the library. Also true if the kernel does not let us read
/// that.
#[cold]
fn has_parent_under_shim() -> bool {
    const NAME: &[u8] = b"/libepollshim.so";
    let maps = Path::<64>::of(format_args!("/proc/{}/maps", sys::getppid()));
    Buffer::lend(|text| {
        let is_read = maps.as_c().is_some_and(|path| procfs::read_file(path, text));
        !is_read || text.as_slice().windows(NAME.len()).any(|part| part == NAME)
    })
}

/// Opens the session if one of the rules counts together with other processes.
pub fn share(rules: &[u8], impossible: bool, config: &Config) -> Result<(), Trouble> {
    if faults::need_session(rules, impossible) { session::faults::open(config) } else { Ok(()) }
}

/// Draws a seed unless one was given or drawn before. It has 32 bits, short enough to type.
pub fn seed() {
    if config::seed().is_none() {
        let random = sys::random().unwrap_or_else(|| clock::realtime() ^ u64::from(sys::getpid() as u32) << 16);
        config::set_seed(random & 0xffff_ffff);
    }
}

/// Sets limits, and opens the session if the user's counts are needed. Err(None): another thread
/// holds the ledger's lock.
pub fn set_limits(limits: &epollshim_format::limits::Limits, config: &'static Config) -> Result<(), Option<Trouble>> {
    if limits.user_instances.is_some() || limits.user_watches.is_some() {
        session::open(config).map_err(Some)?;
    }
    // What this process received through exec counts. What it opens by calls that no hook sees does
    // not.
    if limits::count_something(limits) {
        let here = ledger::place();
        sigsafe::on_own_stack(|| ledger::reconcile(here));
    }
    if limits::set(limits) { Ok(()) } else { Err(None) }
}
