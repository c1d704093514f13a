//! The user's other tools work as without the library: valgrind's tools, sanitizers, gdb, tracers,
//! the loader's options, small limits, and programs that are built for another C library.
//!
//! Long because all of these tools run through the same comparison with a bare run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use testkit::modes::{MODES, Mode};
use testkit::{Run, c_program, c_program_with, compile, have, reports, root, run, scratch, shim};

/// The command, as `cargo build --release` builds it.
fn command() -> PathBuf {
    let command = shim().with_file_name("epollshim");
    assert!(command.exists(), "{} does not exist: run make tested", command.display());
    command
}

fn words(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// A run of `command` bare, and one in each mode, each with the directory of its report.
fn in_all_modes(command: impl Fn() -> Command, check: impl Fn(Mode, &Run, &Run, &Path)) {
    let bare = run(&mut command());
    for mode in MODES {
        let directory = scratch("mode");
        let with = run(mode.preload(&mut command(), &directory));
        check(mode, &bare, &with, &directory);
    }
}

/// How often a function was called, over all processes that reported.
fn calls(directory: &Path, function: &str) -> u64 {
    let all = reports(&directory.join("report.json"));
    all.iter().map(|report| report["calls"][function]["calls"].as_u64().unwrap_or(0)).sum()
}

/// The program must end, print and be counted as expected. For programs whose standard error does
/// not matter.
fn ends_alike(command: impl Fn() -> Command, creations: u64) {
    in_all_modes(command, |mode, bare, with, directory| {
        let printed = with.stdout.replace("preload yes", "preload no");
        assert_eq!((with.status, &printed), (bare.status, &bare.stdout), "{mode:?}: {}", with.stderr);
        assert_eq!(calls(directory, "epoll_create1"), creations, "{mode:?}");
    });
}

// ---- valgrind ----

/// Sums of what the loader allocates for a library and for its thread-local storage.
/// [`findings_of`] leaves them out, as it does everything else that differs from run to run: pids,
/// addresses, and the library's frames between the program's and libc's.
const SUMS: [&str; 5] =
    ["total heap usage", "in use at exit", "still reachable:", "possibly lost:", "All heap blocks were freed"];
/// drd prints these for programs that use stacks of their own, and has no way to learn of such
/// stacks (src/valgrind.rs).
const OF_STACKS: [&str; 3] = ["client switching stacks", "--max-stackframe", "further instances of this message"];

fn findings_of(stderr: &str) -> Vec<String> {
    let mut lines: Vec<String> = stderr
        .lines()
        .map(|line| line.trim_start_matches(|c: char| c == '=' || c == '-' || c.is_ascii_digit()).trim())
        .filter(|line| !line.is_empty() && !line.contains("libepollshim.so"))
        .filter(|line| !SUMS.iter().chain(&OF_STACKS).any(|part| line.contains(part)))
        .filter(|line| !line.starts_with("Command:") && !line.starts_with("Parent PID"))
        .map(|line| {
            let words = line.split(' ').map(|word| if word.starts_with("0x") { "ADDRESS" } else { word });
            // The first frame has "at", the others "by". Without the library's frames another one
            // may be the first.
            let line = words.collect::<Vec<_>>().join(" ").replace("at ADDRESS", "by ADDRESS");
            // The counts of reports, and what valgrind's own suppressions for the loader cover.
            [" in loss record", " (suppressed:"].iter().fold(line, |line, cut| match line.split_once(cut) {
                Some((kept, _)) => kept.to_owned(),
                None => line,
            })
        })
        .collect();
    // Reports of several processes, in no order, each once: the summary says how many errors each
    // has.
    lines.sort_unstable();
    lines.dedup();
    lines
}

fn finds_the_same(valgrind: &str, program: &Path) {
    if !have("valgrind") {
        return;
    }
    let command = || {
        let mut command = words(valgrind);
        command.arg(program);
        command
    };
    in_all_modes(command, |mode, bare, with, _| {
        assert_eq!((with.status, &with.stdout), (bare.status, &bare.stdout), "{valgrind}, {mode:?}:\n{}", with.stderr);
        let (with, bare) = (findings_of(&with.stderr), findings_of(&bare.stderr));
        let only = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|line| !other.contains(line)).cloned().collect()
        };
        assert!(with == bare, "{valgrind} {mode:?}: more: {:#?}, less: {:#?}", only(&with, &bare), only(&bare, &with));
    });
}

#[test]
fn memcheck_reports_nothing_of_ours() {
    finds_the_same("valgrind --error-exitcode=9", &c_program("hosts/tools_threads"));
}

#[test]
fn memcheck_reports_each_error_and_each_leak_of_the_program_as_it_does_bare() {
    let program = c_program("hosts/tools_errors");
    finds_the_same("valgrind --leak-check=full --track-fds=yes", &program);
}

#[test]
fn helgrind_and_drd_report_no_race_of_ours() {
    let program = c_program("hosts/tools_threads");
    finds_the_same("valgrind --tool=helgrind --error-exitcode=9", &program);
    finds_the_same("valgrind --tool=drd --error-exitcode=9", &program);
}

// ---- sanitizers ----

/// A program built with a sanitizer. None: this compiler has no such sanitizer here.
fn sanitized(compiler: &str, flags: &str, program: &str) -> Option<PathBuf> {
    if !have(compiler) {
        return None;
    }
    let flags: Vec<&str> = ["-std=gnu11", "-O1", "-g", "-pthread"].into_iter().chain(flags.split(' ')).collect();
    let built =
        |name: &str| compile::program(compiler, &flags, &root().join("c-tests/hosts").join(format!("{name}.c")), &[]);
    // An empty program shows whether the compiler and its runtime library support it. A program
    // with errors would end as the sanitizer likes, and its output would be lost.
    let tried = built("nothing");
    if !tried.as_ref().is_ok_and(|nothing| run(&mut Command::new(nothing)).status.success()) {
        testkit::skipped(&format!("{compiler} has no {flags:?}: {tried:?}"), false);
        return None;
    }
    Some(built(program).unwrap_or_else(|error| panic!("{compiler} {flags:?}: {error}")))
}

#[test]
fn tsan_finds_no_race_of_ours() {
    for compiler in ["gcc", "clang"] {
        let Some(program) = sanitized(compiler, "-fsanitize=thread", "tools_threads") else { continue };
        // Whether a race occurs depends on timing: several runs.
        for _ in 0..4 {
            ends_alike(|| Command::new(&program), 4);
        }
    }
}

/// Runtimes that are linked as libraries are loaded after this library. ASan refuses that order
/// unless it is configured not to check.
const UNORDERED: (&str, &str) = ("ASAN_OPTIONS", "verify_asan_link_order=0");

#[test]
fn sanitizers_of_memory_find_what_they_find_bare() {
    for (compiler, flags) in [
        ("gcc", "-fsanitize=address"),
        ("gcc", "-fsanitize=address,undefined -static-libasan"),
        ("gcc", "-fsanitize=leak"),
        ("gcc", "-fsanitize=undefined"),
        ("clang", "-fsanitize=address"),
    ] {
        let Some(program) = sanitized(compiler, flags, "tools_threads") else { continue };
        for misuse in [None, Some("a longer word")] {
            let start = || {
                let mut command = Command::new(&program);
                command.args(misuse).env(UNORDERED.0, UNORDERED.1);
                command
            };
            in_all_modes(start, |mode, bare, with, directory| {
                assert_eq!(with.status, bare.status, "{compiler} {flags} {mode:?}: {}", with.stderr);
                let names = |run: &Run| run.stderr.lines().filter(|line| line.starts_with("SUMMARY")).count();
                assert_eq!(names(with), names(bare), "{compiler} {flags} {mode:?}: {}", with.stderr);
                // Also for a program that the sanitizer ended.
                assert_eq!(calls(directory, "epoll_create1"), 4, "{compiler} {flags} {mode:?}");
            });
        }
    }
}

#[test]
fn leaks_that_only_the_kernel_knows_are_found_by_lsan_and_the_report_is_written() {
    for flags in ["-fsanitize=address", "-fsanitize=leak"] {
        let Some(program) = sanitized("gcc", flags, "tools_errors") else { continue };
        let start = || {
            let mut command = Command::new(&program);
            command.env(UNORDERED.0, UNORDERED.1);
            command
        };
        in_all_modes(start, |mode, bare, with, directory| {
            let summary = |run: &Run| run.stderr.lines().find(|line| line.starts_with("SUMMARY")).unwrap().to_owned();
            // The twenty of `leaks`. The stream is in a list of the C library.
            assert!(summary(bare).contains("leaked in 20 allocation"), "{}", bare.stderr);
            assert_eq!((with.status, summary(with)), (bare.status, summary(bare)), "{flags} {mode:?}");
            assert_eq!(calls(directory, "epoll_create1"), 1, "{flags} {mode:?}");
        });
    }
}

#[test]
fn run_starts_a_program_with_asan_and_its_children() {
    let Some(program) = sanitized("gcc", "-fsanitize=address", "tools_threads") else { return };
    for words in [vec![program.as_os_str()], vec!["sh".as_ref(), "-c".as_ref(), program.as_os_str()]] {
        for (options, expected) in [(None, 0), (Some("exitcode=3"), 0), (Some("verify_asan_link_order=1"), 1)] {
            let report = scratch("asan").join("report.json");
            let mut start = Command::new(command());
            start.args(["run", "--report-format", "json", "--report"]).arg(&report).arg("--").args(&words);
            start.env_remove("ASAN_OPTIONS").envs(options.map(|options| ("ASAN_OPTIONS", options)));
            let run = run(&mut start);
            assert_eq!(run.status.code(), Some(expected), "{words:?} {options:?}: {}", run.stderr);
        }
    }
}

// ---- programs for other C libraries ----

fn musl_program(flags: &[&str]) -> Option<PathBuf> {
    if !have("musl-gcc") {
        return None;
    }
    let source = root().join("c-tests/hosts/tools_foreign.c");
    Some(testkit::compile::program("musl-gcc", &["-O1", "-pthread"], &source, flags).unwrap())
}

/// The report of the program must contain the same as that of the same program for glibc.
#[test]
fn a_program_for_musl_is_seen() {
    let Some(program) = musl_program(&[]) else { return };
    for mode in MODES {
        let directory = scratch("musl");
        // Call stacks are the only option that musl does not support.
        let run = run(mode.preload(&mut Command::new(&program), &directory).env_remove("EPOLLSHIM_STACKS"));
        assert_eq!((run.status.code(), run.stdout.as_str()), (Some(7), "child 3, preload yes\n"), "{}", run.stderr);
        assert_eq!(run.stderr, "", "{mode:?}");
        assert_eq!(calls(&directory, "epoll_create1"), 150, "{mode:?}");
        assert_eq!(calls(&directory, "epoll_wait"), 150, "{mode:?}");
    }
}

#[test]
fn stacks_for_musl_are_refused_before_main() {
    let Some(program) = musl_program(&[]) else { return };
    let run = run(Command::new(&program).env("LD_PRELOAD", shim()).env("EPOLLSHIM_STACKS", "8"));
    let message = "epollshim: EPOLLSHIM_STACKS: call stacks need glibc 2.35 or later (_dl_find_object); musl has no such function\n";
    assert_eq!((run.status.code(), run.stdout.as_str(), run.stderr.as_str()), (Some(2), "", message));
}

/// The parent has all options, call stacks included. A child for musl runs, and is seen too.
#[test]
fn children_for_musl_run_and_so_do_their_children() {
    let Some(foreign) = musl_program(&[]) else { return };
    let native = c_program("hosts/tools_foreign");
    for mode in MODES {
        // system() in a program for glibc starts a shell, which starts a program for musl, which
        // starts one for glibc again.
        let directory = scratch("children");
        let inner = format!("{} {}", foreign.display(), native.display());
        let mut command = Command::new(&native);
        let run = run(mode.preload(command.arg(inner), &directory));
        assert_eq!(run.status.code(), Some(7), "{mode:?}: {}", run.stderr);
        assert_eq!(run.stdout, "child 3, preload yes\n".repeat(3), "{mode:?}: {}", run.stderr);
        assert_eq!(calls(&directory, "epoll_create1"), 450, "{mode:?}: of all three programs");
    }
}

#[test]
fn run_starts_a_program_for_musl_with_the_library() {
    let Some(program) = musl_program(&[]) else { return };
    let started = run(Command::new(command()).args(["run", "--"]).arg(&program));
    let said = (started.status.code(), started.stdout.as_str());
    assert_eq!(said, (Some(7), "child 3, preload yes\n"), "{}", started.stderr);
    assert!(!started.stderr.contains("warning") && !started.stderr.contains("NOT SEEN"), "{}", started.stderr);
}

#[test]
fn static_programs_run_and_their_children_are_seen() {
    let native = c_program("hosts/tools_foreign");
    for flags in [["-static"], ["-static-pie"]] {
        let program = c_program_with("hosts/tools_foreign", &flags);
        ends_alike(
            || {
                let mut command = Command::new(&program);
                command.arg(&native);
                command
            },
            150,
        );
    }
}

#[test]
fn run_reports_that_a_program_is_for_another_machine() {
    let file = scratch("machine").join("program");
    // The header of a program for 32-bit ARM. Nothing executes it, except a shell that takes it for
    // a script.
    let mut bytes = std::fs::read(c_program("hosts/tools_foreign")).unwrap();
    bytes[4] = 1;
    bytes[18] = 40;
    std::fs::write(&file, bytes).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = run(Command::new(command()).args(["run", "--"]).arg(&file));
    assert!(!run.status.success());
    let why = "not seen: a program for arm (32-bit); the shim is for x86-64; it and its children run without the shim";
    assert!(run.stderr.contains(why), "{}", run.stderr);
}

// ---- gdb ----

fn debugged(mode: Option<Mode>, directory: &Path, commands: &[&str]) -> Run {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "--batch", "-ex", "set confirm off", "-ex", "set debuginfod enabled off"]);
    if let Some(mode) = mode {
        // Only for the program: gdb itself calls epoll as well.
        let mut program = Command::new("none");
        mode.preload(&mut program, directory);
        for (name, value) in program.get_envs() {
            let set = format!("set environment {} {}", name.display(), value.unwrap_or_default().display());
            gdb.arg("-ex").arg(set);
        }
    }
    gdb.args(commands.iter().flat_map(|command| ["-ex", *command]));
    run(gdb.arg(c_program("hosts/tools_debugged")))
}

/// Runs the bare program and each mode, and compares the lines that matter.
fn debugs_alike(commands: &[&str], compared: impl for<'a> Fn(&'a str) -> Option<&'a str>) -> Vec<String> {
    let lines = |run: &Run| -> Vec<String> { run.stdout.lines().filter_map(&compared).map(str::to_owned).collect() };
    let bare = debugged(None, Path::new(""), commands);
    for mode in MODES {
        let with = debugged(Some(mode), &scratch("gdb"), commands);
        assert_eq!(lines(&with), lines(&bare), "{mode:?}:\n{}{}", with.stdout, with.stderr);
    }
    lines(&bare)
}

#[test]
fn gdb_calls_functions_that_the_library_replaces() {
    if !have("gdb") {
        return;
    }
    let calls = [
        "break main",
        "run",
        "print (int)close(9)",
        "print (int)dup(2)",
        "print (int)epoll_create1(0)",
        "print (int)fcntl(2, 0, 7)",
        "print (int)close(3)",
        "continue",
    ];
    let lines = debugs_alike(&calls, |line| (line.starts_with('$') || line.contains(" events")).then_some(line));
    assert_eq!(lines, ["$1 = -1", "$2 = 3", "$3 = 4", "$4 = 7", "$5 = 0", "1 events"]);
}

#[test]
fn gdb_steps_over_hooks_and_knows_who_called_them() {
    if !have("gdb") {
        return;
    }
    let stepping = ["break once", "run", "next", "next", "next", "next", "next", "next", "continue"];
    let lines = debugs_alike(&stepping, |line| line.starts_with(|c: char| c.is_ascii_digit()).then_some(line));
    assert!(lines.len() >= 6, "{lines:?}");
    // In the hook, or in the real function that it has called; and at a system call in that
    // function.
    for stop in ["break epoll_wait", "catch syscall epoll_ctl", "catch syscall dup"] {
        let frames =
            ["break main", "run", stop, "continue", "bt", "finish", "next", "continue", "continue", "continue"];
        // The two outermost frames are the program's.
        let frames = debugs_alike(&frames, |line| {
            let frame = line.strip_prefix('#')?.split_once(" in ")?.1;
            ["once", "main"].into_iter().find(|name| frame.starts_with(&format!("{name} (")))
        });
        assert_eq!(frames.last().map(String::as_str), Some("main"), "{stop}");
    }
}

#[test]
fn gdb_attaches_to_a_wait_and_leaves_it_unharmed() {
    if !have("gdb") {
        return;
    }
    let program = c_program("hosts/tools_debugged");
    let attached = |mode: Option<Mode>| {
        let directory = scratch("attach");
        let output = directory.join("output");
        let mut command = Command::new(&program);
        if let Some(mode) = mode {
            mode.preload(&mut command, &directory);
        }
        let mut program = command.arg("waits").stdout(std::fs::File::create(&output).unwrap()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::fs::read_to_string(&output).unwrap() != "waits\n" && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = program.id().to_string();
        let gdb = run(Command::new("gdb").args(["-nx", "--batch", "-p", &pid, "-ex", "bt", "-ex", "detach"]));
        assert!(gdb.stdout.contains(" in main ") && gdb.stdout.contains("epoll_wait"), "{}{}", gdb.stdout, gdb.stderr);
        let status = program.wait().unwrap();
        (directory, status, std::fs::read_to_string(&output).unwrap())
    };
    let (_, status, bare) = attached(None);
    for mode in MODES {
        let (directory, with_status, with) = attached(Some(mode));
        assert_eq!((with_status, with), (status, bare.clone()), "{mode:?}");
        assert_eq!(calls(&directory, "epoll_wait"), 2, "{mode:?}");
    }
}

// ---- locked memory, and other limits ----

/// A copy of the library that every user may load, and a directory to which every user may write.
fn for_everybody() -> &'static (PathBuf, PathBuf) {
    static PLACE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("epollshim-tools-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        for file in [shim(), c_program("hosts/tools_locked")] {
            testkit::copy(&file, directory.join(file.file_name().unwrap()));
        }
        (directory.join("libepollshim.so"), directory.join("tools_locked"))
    })
}

/// Runs as a user without rights, who may lock 8 MiB: Linux's default
/// (include/uapi/linux/resource.h, MLOCK_LIMIT).
fn as_a_user(program: &Path) -> Command {
    let mut command = Command::new("sh");
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all";
    command.args(["-c", &format!("ulimit -l 8192 && exec {nobody} \"$0\" \"$@\"")]).arg(program);
    command
}

#[test]
fn mlockall_and_later_calls_succeed_as_an_ordinary_user() {
    if !have("setpriv") {
        return;
    }
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root can become a user without rights");
        return;
    }
    let (library, program) = for_everybody();
    // 1: MCL_CURRENT, 2: MCL_FUTURE, 4: MCL_ONFAULT.
    for arguments in [["first", "3"], ["late", "3"], ["first", "2"], ["late", "1"], ["late", "7"]] {
        for mode in MODES {
            let directory = library.with_file_name(format!("{mode:?}-{}", arguments.join("-")));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
            for full in [None, Some("full")] {
                let bare = run(as_a_user(program).args(arguments).args(full));
                let mut command = as_a_user(program);
                // The shell and setpriv pass these variables on to the program.
                let with = run(mode.preload(command.args(arguments).args(full), &directory).env("LD_PRELOAD", library));
                assert_eq!(
                    bare.stdout, "mlockall 0, threads 4, allocations succeed\n",
                    "{} {}",
                    bare.status, bare.stderr
                );
                assert!(
                    with.stdout == bare.stdout && with.status == bare.status,
                    "{mode:?} {arguments:?}: {}{}",
                    with.stdout,
                    with.stderr
                );
                if mode == Mode::Default {
                    assert_eq!(calls(&directory, "epoll_create1"), if arguments[0] == "late" { 6 } else { 5 });
                }
                std::fs::remove_file(directory.join("report.json")).unwrap();
            }
        }
    }
    let _ = std::fs::remove_dir_all(library.parent().unwrap());
}

#[test]
fn small_limits_of_memory_and_stack_change_nothing() {
    let program = c_program("hosts/tools_foreign");
    for limits in ["ulimit -v 200000", "ulimit -s 256", "ulimit -s 128 && ulimit -v 100000", "ulimit -d 60000"] {
        let start = || {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")]).arg(&program);
            command
        };
        ends_alike(start, 150);
    }
}

// ---- loaders, allocators, tracers ----

#[test]
fn options_of_the_loader_and_of_malloc_change_nothing() {
    let program = c_program("hosts/tools_foreign");
    for (name, value) in [
        ("LD_BIND_NOW", "1"),
        ("LD_BIND_NOT", "1"),
        ("LD_WARN", "1"),
        ("MALLOC_PERTURB_", "165"),
        ("GLIBC_TUNABLES", "glibc.malloc.perturb=90:glibc.malloc.tcache_count=0:glibc.rtld.nns=8"),
        ("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=0"),
        ("LD_DYNAMIC_WEAK", "1"),
    ] {
        let start = || {
            let mut command = Command::new(&program);
            command.env(name, value);
            command
        };
        ends_alike(start, 150);
    }
}

#[test]
fn an_auditor_of_the_loader_changes_nothing() {
    let source = scratch("audit").join("audit.c");
    let library = source.with_file_name("audit.so");
    // With la_symbind64 the loader binds each call as the auditor answers, and lazily.
    let text = "#define _GNU_SOURCE\n#include <link.h>\n\
        unsigned la_version(unsigned v) { return v; }\n\
        unsigned la_objopen(struct link_map *m, Lmid_t l, uintptr_t *c) \
        { (void)m; (void)l; (void)c; return LA_FLG_BINDTO | LA_FLG_BINDFROM; }\n\
        uintptr_t la_symbind64(Elf64_Sym *s, unsigned n, uintptr_t *r, uintptr_t *d, unsigned *f, const char *t) \
        { (void)n; (void)r; (void)d; (void)f; (void)t; return s->st_value; }\n";
    std::fs::write(&source, text).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(built.success());
    let program = c_program("hosts/tools_foreign");
    let start = || {
        let mut command = Command::new(&program);
        command.env("LD_AUDIT", &library);
        command
    };
    ends_alike(start, 150);
}

#[test]
fn a_tracer_follows_the_program_until_it_ends() {
    let program = c_program("hosts/tools_foreign");
    for tracer in ["strace -f -o /dev/null", "ltrace -f -o /dev/null"] {
        let name = tracer.split(' ').next().unwrap();
        if !have(name) {
            continue;
        }
        // strace exits with the program's status, ltrace with 0.
        let status = run(words(tracer).arg(&program)).status;
        let bare = run(&mut Command::new(&program));
        // ltrace 0.7.3 loses a forked child in one of four runs, with the library and without. One
        // run of many must be complete.
        let tries = if name == "ltrace" { 30 } else { 1 };
        for mode in MODES {
            let attempt = || {
                let directory = scratch("traced");
                let mut preloaded = Command::new("none");
                mode.preload(&mut preloaded, &directory);
                // env(1) sets them after the tracer has started.
                let variables = preloaded.get_envs().map(|(name, value)| {
                    let mut variable = name.to_owned();
                    variable.push("=");
                    variable.push(value.unwrap_or(OsStr::new("")));
                    variable
                });
                let mut traced = words(tracer);
                traced.arg("env").args(variables).arg(&program);
                (run(&mut traced), directory)
            };
            let is_whole = |with: &Run| with.stdout.replace("yes", "no") == bare.stdout;
            let runs = (1..tries).map(|_| attempt()).find(|(with, _)| is_whole(with));
            let (with, directory) = runs.unwrap_or_else(attempt);
            assert!(is_whole(&with), "{tracer} {mode:?}: {}{}", with.stdout, with.stderr);
            assert_eq!(with.status, status, "{tracer} {mode:?}");
            assert_eq!(calls(&directory, "epoll_create1"), 150, "{tracer} {mode:?}");
        }
    }
}
