//! Hosts whose allocator, or another preloaded library, calls hooks while it is initialized; and
//! what the library must not do because of them: look up, load or lock anything in a hook.
//!
//! Long because all of these hosts run through the same comparison with a bare run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)]
mod programs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use programs::{Running, free_port, load};
use testkit::modes::{MODES, Mode};
use testkit::{c_program, c_program_with, reports, run, scratch, shim};
use testkit::{installed, skipped};

/// The path of a system library, by its file name.
fn library(name: &str) -> Option<PathBuf> {
    let output = Command::new("cc").arg(format!("-print-file-name={name}")).output().expect("cc");
    let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    if !path.is_absolute() {
        skipped(&format!("{name} is not installed"), false);
    }
    path.is_absolute().then_some(path)
}

/// A library that is built from `c-tests/hosts/NAME.c`, for preloading.
fn preload(name: &str, flags: &[&str]) -> PathBuf {
    c_program_with(&format!("hosts/{name}"), &[&["-shared", "-fPIC"], flags].concat())
}

/// The position of another library in `LD_PRELOAD`.
#[derive(Clone, Copy, Debug)]
enum Place {
    BeforeTheShim,
    BehindTheShim,
}

const PLACES: [Place; 2] = [Place::BeforeTheShim, Place::BehindTheShim];

/// `LD_PRELOAD` with the shim and another library.
fn beside(other: &Path, place: Place) -> String {
    let (shim, other) = (shim().display().to_string(), other.display().to_string());
    match place {
        Place::BeforeTheShim => format!("{other}:{shim}"),
        Place::BehindTheShim => format!("{shim}:{other}"),
    }
}

/// A program of c-tests/hosts, its arguments, and how many reports it writes.
struct Host {
    binary: PathBuf,
    arguments: &'static [&'static str],
    reports: usize,
    /// The least number of instances that its main process creates itself.
    instances: u64,
}

fn threads(arguments: &'static [&'static str]) -> Host {
    // Twelve children.
    Host { binary: c_program("hosts/allocator_threads"), arguments, reports: 13, instances: 600 }
}

/// Runs the host bare and under the shim, in both modes: it must end and print the same.
fn runs_alike(host: &Host, bare: &Path, preloads: &[String], environment: &[(&str, &Path)]) {
    let command = || {
        let mut command = Command::new(&host.binary);
        command.args(host.arguments).envs(environment.iter().copied());
        command
    };
    let native = run(command().env("LD_PRELOAD", bare));
    assert!(native.status.success(), "bare: {}\n{}{}", native.status, native.stdout, native.stderr);
    for preload in preloads {
        for mode in MODES {
            let directory = scratch("allocator");
            let shimmed = run(mode.preload(&mut command(), &directory).env("LD_PRELOAD", preload));
            let what = format!("{} {mode:?} with {preload}", host.binary.display());
            assert_eq!(shimmed.stdout, native.stdout, "{what}\n{}", shimmed.stderr);
            assert_eq!(shimmed.status, native.status, "{what}\n{}", shimmed.stderr);
            let reports = reports(&directory.join("report.json"));
            assert_eq!(reports.len(), host.reports, "{what}");
            let main = reports.iter().max_by_key(|report| report["instances"]["created"].as_u64()).unwrap();
            assert!(main["instances"]["created"].as_u64() >= Some(host.instances), "{what}: {main:#}");
            if mode == Mode::Everything {
                let sites = main["census"]["sites"].as_array().unwrap();
                let deepest = sites.iter().filter_map(|site| site["stack"].as_array()).map(Vec::len).max();
                assert!(deepest > Some(1), "{what}: no call stacks: {sites:#?}");
            }
        }
    }
}

fn runs_with(host: &Host, allocator: &Path) {
    runs_alike(host, allocator, &PLACES.map(|place| beside(allocator, place)), &[]);
}

#[test]
fn a_program_linked_with_jemalloc_starts_and_keeps_call_stacks() {
    if library("libjemalloc.so.2").is_none() {
        return;
    }
    let linked = ["-Wl,--no-as-needed", "-l:libjemalloc.so.2"];
    let alone = [shim().display().to_string()];
    let host =
        Host { binary: c_program_with("hosts/allocator_init", &linked), arguments: &[], reports: 1, instances: 1 };
    runs_alike(&host, Path::new(""), &alone, &[]);
    let host = Host { binary: c_program_with("hosts/allocator_threads", &linked), ..threads(&[]) };
    runs_alike(&host, Path::new(""), &alone, &[]);
}

#[test]
fn threads_and_children_run_with_jemalloc_preloaded() {
    if let Some(allocator) = library("libjemalloc.so.2") {
        runs_with(&threads(&[]), &allocator);
    }
}

#[test]
fn threads_and_children_run_with_tcmalloc_preloaded() {
    if let Some(allocator) = library("libtcmalloc_minimal.so.4") {
        runs_with(&threads(&[]), &allocator);
    }
}

#[test]
fn threads_and_children_run_with_mimalloc_preloaded() {
    if let Some(allocator) = library("libmimalloc.so.2") {
        runs_with(&threads(&[]), &allocator);
    }
}

#[test]
fn an_allocator_that_must_not_be_re_entered_is_not() {
    let allocator = preload("strict_allocator", &[]);
    runs_with(&threads(&[]), &allocator);
    // The allocator creates an instance as well.
    let host = Host { binary: c_program("hosts/allocator_init"), arguments: &[], reports: 1, instances: 2 };
    runs_with(&host, &allocator);
}

/// The allocator initializes itself in a constructor that runs before the library's own.
#[test]
fn a_call_before_the_library_is_ready_is_counted_without_a_stack() {
    let path = scratch("early").join("report.json");
    let run = run(Command::new(c_program("hosts/allocator_init"))
        .env("LD_PRELOAD", beside(&preload("strict_allocator", &[]), Place::BehindTheShim))
        .env("EPOLLSHIM_STACKS", "8")
        .env("EPOLLSHIM_CENSUS", "1")
        .env("EPOLLSHIM_REPORT", &path)
        .env("EPOLLSHIM_REPORT_FORMAT", "json"));
    assert!(run.status.success(), "{}\n{}", run.status, run.stderr);
    let reports = reports(&path);
    let sites = reports[0]["census"]["sites"].as_array().unwrap();
    let made_by = |object: &str| {
        let of = |site: &&serde_json::Value| {
            site["kind"] == "epoll" && site["site"].as_str().is_some_and(|name| name.starts_with(object))
        };
        let site = sites.iter().find(of).unwrap_or_else(|| panic!("no epoll instance of {object}: {sites:#?}"));
        (site["born"].as_u64(), site["stack"].as_array().unwrap().len() > 1)
    };
    assert_eq!(made_by("strict_allocator+"), (Some(1), false));
    assert_eq!(made_by("allocator_init+"), (Some(1), true));
}

/// A hook must not need the loader's lock, which `dlopen` holds while it runs constructors.
#[test]
fn a_thread_uses_epoll_while_another_one_loads_a_library() {
    let host = c_program("hosts/loader_lock");
    let library = preload("loader_lock_library", &[]);
    let native = run(Command::new(&host).arg(&library));
    assert!(native.status.success(), "bare: {}\n{}", native.status, native.stdout);
    for mode in MODES {
        let shimmed = run(mode.preload(Command::new(&host).arg(&library), &scratch("loader")));
        assert_eq!((shimmed.status, &shimmed.stdout), (native.status, &native.stdout), "{mode:?}\n{}", shimmed.stderr);
    }
}

/// heaptrack's preloaded library. None: it is not installed.
fn heaptrack() -> Option<PathBuf> {
    let [command] = installed(["heaptrack"])?;
    Some(command.parent()?.with_file_name("lib/heaptrack/libheaptrack_preload.so"))
}

#[test]
fn heaptrack_records_a_program_under_the_shim() {
    let Some(preload) = heaptrack() else { return };
    let output = scratch("heaptrack").join("output");
    let preloads = PLACES.map(|place| beside(&preload, place));
    runs_alike(&threads(&["_exit"]), &preload, &preloads, &[("DUMP_HEAPTRACK_OUTPUT", &output)]);
    let recorded = std::fs::metadata(&output).expect("heaptrack's output").len();
    assert!(recorded > 10_000, "heaptrack recorded {recorded} bytes");
}

// --- Redis ---------------------------------------------------------------------------------

/// Runs a conversation and a load with Debian's redis-server, which is linked with jemalloc.
/// Returns its answers.
fn redis([server, benchmark]: &[PathBuf; 2], mode: Option<Mode>, preloads: &str) -> String {
    let directory = scratch("redis");
    let port = free_port();
    let text = port.to_string();
    let data = directory.to_str().unwrap().to_owned();
    let options = ["--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &data];
    let mut host = Command::new("");
    match mode {
        Some(mode) => mode.preload(&mut host, &directory),
        None => host.env("EPOLLSHIM_REPORT", "none"),
    };
    host.env("LD_PRELOAD", preloads).env("DUMP_HEAPTRACK_OUTPUT", directory.join("heaptrack"));
    let environment: Vec<(&str, &str)> =
        host.get_envs().map(|(name, value)| (name.to_str().unwrap(), value.unwrap().to_str().unwrap())).collect();
    let mut redis = Running::start_with(&environment, directory.clone(), server, &options);
    redis.until_listening(port);
    let answers = load::conversation(port, "PING\r\nSET key value\r\nGET key\r\nINCR counter\r\nFLUSHALL\r\nQUIT\r\n");
    load::tool(benchmark, &["-p", &text, "-c", "20", "-n", "2000", "-q", "-t", "set,get,lpush"]);
    let ended = redis.end(libc::SIGTERM);
    assert!(ended.status.success(), "{mode:?} with {preloads}: {}\n{}", ended.status, ended.stderr);
    if mode.is_some() {
        let all = reports(&directory.join("report.json"));
        assert!(all[0]["calls"]["epoll_wait"]["calls"].as_u64() > Some(100), "{mode:?} with {preloads}: {:#}", all[0]);
    }
    answers
}

#[test]
fn redis_serves_a_load_with_each_other_library_preloaded() {
    let Some(programs) = installed(["redis-server", "redis-benchmark"]) else { return };
    let answers = redis(&programs, None, "");
    assert!(answers.starts_with("+PONG\r\n+OK\r\n$5\r\nvalue\r\n"), "{answers}");
    let mut preloads =
        vec![shim().display().to_string(), beside(&preload("strict_allocator", &[]), Place::BehindTheShim)];
    preloads.extend(heaptrack().map(|preload| beside(&preload, Place::BehindTheShim)));
    preloads.extend(library("libtcmalloc_minimal.so.4").map(|preload| beside(&preload, Place::BeforeTheShim)));
    for preloads in &preloads {
        for mode in MODES {
            assert_eq!(redis(&programs, Some(mode), preloads), answers, "{mode:?} with {preloads}");
        }
    }
}

// --- Looking up real functions -------------------------------------------------------------

/// Where the library keeps its records of real functions (`Real` of src/real.rs), one per line, for
/// c-tests/hosts/lookups.c.
fn places_of_reals(directory: &Path) -> PathBuf {
    let output = Command::new("nm").args(["-S", "--format=posix"]).arg(shim()).output().expect("nm");
    let text = String::from_utf8(output.stdout).unwrap();
    let places: Vec<&str> = text
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|words| words[0].contains("epollshim4real") && words.get(3) == Some(&"18"))
        .map(|words| words[2])
        .collect();
    assert!(places.len() >= 67, "{} functions in {}", places.len(), shim().display());
    let path = directory.join("places");
    std::fs::write(&path, places.join("\n")).unwrap();
    path
}

/// Runs c-tests/hosts/lookups.c with other libraries after the shim. Returns how many functions are
/// not libc's.
fn lookups(flags: &[&str], behind: &[&Path]) -> usize {
    let directory = scratch("lookups");
    let binary = c_program_with("hosts/lookups", flags);
    let preload: Vec<String> = [shim(), preload("witness", &[])]
        .iter()
        .map(PathBuf::as_path)
        .chain(behind.iter().copied())
        .map(|path| path.display().to_string())
        .collect();
    let run = run(Command::new(&binary)
        .arg(places_of_reals(&directory))
        .env("LD_PRELOAD", preload.join(":"))
        .env("EPOLLSHIM_REPORT", "none")
        // These are looked up only if a rule names them.
        .env("EPOLLSHIM_INJECT", "malloc,calloc,realloc,posix_memalign,aligned_alloc,mmap:error=ENOMEM:when=1000000000")
        .env("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0"));
    assert!(run.status.success(), "{preload:?}: {}\n{}{}", run.status, run.stdout, run.stderr);
    let counts = run.stdout.lines().find(|line| line.contains(" compared, ")).expect("the counts");
    let counts: Vec<usize> = counts.split(' ').filter_map(|word| word.parse().ok()).collect();
    counts[1]
}

#[test]
fn every_real_function_is_the_one_that_dlsym_finds_in_libc() {
    assert_eq!(lookups(&[], &[]), 0);
}

#[test]
fn every_real_function_is_the_one_that_dlsym_finds_in_another_preload() {
    let map = scratch("interposer").join("versions");
    std::fs::write(&map, "INTERPOSER_1 { };\nINTERPOSER_2 { };\n").unwrap();
    let map = format!("-Wl,--version-script={}", map.display());
    for hash in ["-Wl,--hash-style=gnu", "-Wl,--hash-style=sysv", "-Wl,--hash-style=both"] {
        let interposer = preload("interposer", &[&map, hash]);
        // epoll_ctl, epoll_create1, epoll_wait, dup, close, __open_2 and __open64_2.
        assert_eq!(lookups(&[], &[&interposer]), 7, "{hash}");
    }
}

#[test]
fn a_sanitizer_after_the_shim_stays_in_the_chain() {
    for sanitizer in ["address", "thread"] {
        let flag = format!("-fsanitize={sanitizer}");
        let interposed = lookups(&[&flag], &[]);
        assert!(interposed >= 2, "{sanitizer}: {interposed}");
    }
}

// --- What the library may call -------------------------------------------------------------

/// Imported functions that a hook may reach, each with the reason why that is safe.
const FROM_ANYWHERE: [(&str, &str); 14] = [
    ("memcpy", "touches what it is given alone"),
    ("memmove", "the same"),
    ("memset", "the same"),
    ("memcmp", "the same"),
    ("bcmp", "the same"),
    ("strlen", "the same"),
    ("__errno_location", "an address in the thread's own storage, which the loader makes with the thread"),
    ("getauxval", "reads the kernel's auxiliary vector (glibc 2.36 misc/getauxval.c)"),
    ("environ", "a word of libc's"),
    ("program_invocation_short_name", "a word of libc's"),
    ("_r_debug", "the loader's list of objects (src/loaded.rs)"),
    ("_dl_debug_addr", "the same in musl"),
    ("clock_nanosleep", "a rule of the user's delays a call that is a cancellation point"),
    ("abort", "the user's on-limit=abort ends the program"),
];

/// Imported functions that may allocate, load or lock. Only the constructor calls them. (Others of
/// this kind, such as dlopen, are found by `loaded::find_anywhere`, which takes an `AtLoad`.)
const FROM_THE_CONSTRUCTOR: [&str; 1] = ["__cxa_atexit"];

/// What the compiler's start files refer to, and other names of the variables listed before.
const FROM_START_FILES: [&str; 6] = [
    "_ITM_deregisterTMCloneTable",
    "_ITM_registerTMCloneTable",
    "__gmon_start__",
    "__cxa_finalize",
    "__environ",
    "__progname",
];

fn tool(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn only_the_constructor_calls_functions_that_may_allocate_load_or_lock() {
    let imports = tool(Command::new("nm").args(["-D", "--undefined-only", "--format=posix"]).arg(shim()));
    let strange: Vec<&str> = imports
        .lines()
        .filter_map(|line| line.split([' ', '@']).next())
        .filter(|name| !FROM_ANYWHERE.iter().any(|(known, _)| known == name))
        .filter(|name| !FROM_THE_CONSTRUCTOR.contains(name) && !FROM_START_FILES.contains(name))
        .collect();
    assert!(strange.is_empty(), "may a hook call these? {strange:?}");

    // Each reference to an imported function goes through the global offset table, and objdump
    // names it.
    let code = tool(Command::new("objdump").args(["-d", "-C", "--no-show-raw-insn"]).arg(shim()));
    let mut callers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut function = "";
    for line in code.lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            function = name.1;
        } else if let Some(name) = FROM_THE_CONSTRUCTOR.iter().find(|name| line.contains(&format!("<{name}@"))) {
            callers.entry(name).or_default().push(function);
        }
    }
    for name in FROM_THE_CONSTRUCTOR {
        let callers = callers.get(name).unwrap_or_else(|| panic!("{name} is not called at all"));
        let is_constructor = |function: &&str| function.contains("init::CONSTRUCTOR::construct");
        assert!(callers.iter().all(is_constructor), "{name} is called by {callers:?}");
    }
}

#[test]
fn the_library_needs_libc_alone() {
    let dynamic = tool(Command::new("readelf").args(["-d", "-W"]).arg(shim()));
    let needed: Vec<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    assert_eq!(needed, ["libc.so.6"]);
}

/// The oldest glibc on which the library must load.
const FLOOR: [u32; 2] = [2, 17];

#[test]
fn the_library_needs_nothing_newer_than_the_oldest_glibc() {
    let needs = tool(Command::new("objdump").args(["-p"]).arg(shim()));
    let versions: Vec<&str> = needs
        .lines()
        .skip_while(|line| !line.starts_with("Version References"))
        .filter_map(|line| line.split_whitespace().last())
        .filter(|word| word.contains('_'))
        .collect();
    assert!(versions.contains(&"GLIBC_2.2.5"), "{needs}");
    for version in versions {
        // A loader that does not know such a version (for example GLIBC_ABI_DT_RELR) refuses the
        // library.
        let numbers: Option<Vec<u32>> =
            version.strip_prefix("GLIBC_").and_then(|text| text.split('.').map(|part| part.parse().ok()).collect());
        let numbers = numbers.unwrap_or_else(|| panic!("{version} is no version of glibc"));
        assert!(numbers.as_slice() <= FLOOR.as_slice(), "{version}");
    }
}

/// If libgcc_s.so.1 cannot be loaded, the option for stacks is refused before main, as every option
/// that cannot be granted.
#[test]
fn stacks_without_an_unwinder_are_refused_before_main() {
    let binary = c_program("hosts/allocator_init");
    let broken = scratch("broken");
    std::fs::write(broken.join("libgcc_s.so.1"), "not a library").unwrap();
    let with = |on_bad_config: &str| {
        run(Command::new(&binary)
            .env("LD_PRELOAD", shim())
            .env("LD_LIBRARY_PATH", &broken)
            .env("EPOLLSHIM_STACKS", "8")
            .env("EPOLLSHIM_ON_BAD_CONFIG", on_bad_config))
    };
    let message = "epollshim: EPOLLSHIM_STACKS: libgcc_s.so.1 cannot be loaded\n";
    let refused = with("exit");
    assert_eq!((refused.status.code(), refused.stdout.as_str(), refused.stderr.as_str()), (Some(2), "", message));
    let ignored = with("ignore");
    assert_eq!((ignored.status.code(), ignored.stderr.as_str()), (Some(0), message));
}

#[test]
fn memory_is_failed_whichever_allocator_gives_it_and_wherever_that_is_loaded() {
    let binary = c_program("fault_memory");
    for name in ["libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"] {
        let Some(allocator) = library(name) else { continue };
        for place in PLACES {
            let mut command = Command::new(&binary);
            command.env("LD_PRELOAD", beside(&allocator, place)).env("EPOLLSHIM_REPORT", "none");
            let rules = "malloc,posix_memalign:error=ENOMEM:when=2";
            let failed = run(command.env("EPOLLSHIM_STACKS", "8").env("EPOLLSHIM_INJECT", rules));
            assert!(failed.status.success() && failed.stderr.is_empty(), "{name} {place:?}: {}", failed.stderr);
            let lines: Vec<&str> = failed.stdout.lines().filter(|line| !line.ends_with(" got")).collect();
            assert_eq!(lines, ["malloc ENOMEM", "posix_memalign ENOMEM"], "{name} {place:?}");
            assert_eq!(failed.stdout.lines().count(), 18, "{name} {place:?}");
        }
    }
}

#[test]
fn memory_is_failed_around_and_within_an_allocator_that_must_not_be_re_entered() {
    let allocator = preload("strict_allocator", &[]);
    for place in PLACES {
        let folder = scratch("strict");
        let mut command = Command::new(c_program("fault_memory"));
        command.arg("threads").env("LD_PRELOAD", beside(&allocator, place)).env("EPOLLSHIM_REPORT", "none");
        command.env("EPOLLSHIM_STACKS", "8").env("EPOLLSHIM_INJECT_LOG", folder.join("log"));
        // The allocator makes descriptor calls while it holds its lock, and maps pages.
        let rules = "malloc,realloc:error=ENOMEM:prob=0.05;mmap,close,eventfd:delay_enter=0:max=300";
        let failed = run(command.env("EPOLLSHIM_RECORD", folder.join("rec")).env("EPOLLSHIM_INJECT", rules));
        assert_eq!(failed.stdout, "done\n", "{place:?}: {}\n{}", failed.status, failed.stderr);
        let log = std::fs::read_to_string(folder.join("log")).unwrap();
        let times = |call: &str| log.lines().filter(|line| line.contains(&format!(" call={call} "))).count();
        assert!(times("malloc") > 50 && times("realloc") > 50 && times("mmap") > 0, "{place:?}: {log:.1000}");
    }
}
