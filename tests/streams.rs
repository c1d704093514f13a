//! Streams, directories and other programs (`fopen`, `opendir`, `popen`, `posix_spawn` and related
//! functions): followed with a census, not followed without one, and reached by faults and limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use epollshim_format::function::TABLE;
use epollshim_format::functions::Role;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{c_program, c_program_with, report, root, run, scratch, shim, under_shim};

fn serious(report: &Value) -> Vec<&Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] != "info").collect()
}

/// Leaks of any severity: whether one is an error depends on how fast the machine is.
fn leaks(report: &Value) -> Vec<&Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == "fd-leak").collect()
}

/// The line of a source below c-tests/ that ends in a mark.
fn line_marked(source: &str, mark: &str) -> usize {
    let text = std::fs::read_to_string(root().join("c-tests").join(source)).unwrap();
    let mark = format!("/* {mark} */");
    text.lines().position(|line| line.ends_with(&mark)).unwrap_or_else(|| panic!("{source} has no {mark}")) + 1
}

/// The line of a site `object+0xoffset`, which must lie in the program itself.
fn line_of(binary: &Path, site: &Value) -> usize {
    let site = site.as_str().unwrap_or_else(|| panic!("no site: {site}"));
    let (object, offset) = site.split_once("+0x").unwrap_or_else(|| panic!("{site}"));
    assert_eq!(object, binary.file_name().unwrap().to_str().unwrap(), "{site}");
    let call = u64::from_str_radix(offset, 16).unwrap() - 1;
    let output = Command::new("addr2line").arg("-e").arg(binary).arg(format!("{call:#x}")).output().expect("addr2line");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().rsplit(':').next().unwrap().split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{text}"))
}

/// Runs a program with a census and these options. Returns its output and its report.
fn with_census(binary: &Path, arguments: &[&str], options: &[(&str, &str)]) -> (String, Value) {
    let path = scratch("streams").join("report");
    let mut command = Command::new(binary);
    command.args(arguments).env("EPOLLSHIM_CENSUS", "1").envs(options.iter().copied());
    let run = run(under_shim(&mut command, &path));
    assert!(run.status.success(), "{} {arguments:?}: {}\n{}{}", binary.display(), run.status, run.stdout, run.stderr);
    // Programs that it starts write reports too.
    let name = binary.file_name().unwrap().to_str().unwrap();
    let is_own =
        |report: &Value| report["process"]["comm"] == name[..name.len().min(15)] && report["process"]["end"] == "exit";
    let own = testkit::reports(&path).into_iter().find(is_own);
    (run.stdout, own.unwrap_or_else(|| panic!("{} {arguments:?}: no report", binary.display())))
}

#[test]
fn descriptors_that_streams_open_and_close_are_all_followed() {
    let program = c_program("streams");
    let native = run(&mut Command::new(&program));
    assert!(native.status.success(), "{}", native.stdout);
    for stacks in ["0", "8"] {
        let (output, report) = with_census(&program, &[], &[("EPOLLSHIM_STACKS", stacks)]);
        assert_eq!(output, native.stdout);
        let census = &report["census"];
        let line = output.lines().last().unwrap().strip_prefix("open ").unwrap();
        let open: BTreeSet<i64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let sites = census["sites"].as_array().unwrap().iter();
        let known: BTreeSet<i64> =
            sites.flat_map(|site| site["fds"].as_array().unwrap()).map(|fd| fd.as_i64().unwrap()).collect();
        assert_eq!(known, open, "{census:#}");
        // The census followed each descriptor: it found none only by comparing itself with the
        // kernel.
        assert_eq!((&census["healed"], &census["unseen"]), (&0.into(), &0.into()), "{census:#}");
        let kinds = &census["kinds"];
        assert_eq!((&kinds["directory"], &kinds["pipe"]), (&1.into(), &1.into()), "{census:#}");
        // A stream whose descriptor was closed by close(), and then reopened, is not a double
        // close.
        assert!(serious(&report).is_empty(), "{:#}", report["findings"]);
    }
}

#[test]
fn with_every_option_a_program_gets_what_it_gets_natively() {
    let program = c_program("streams");
    let native = run(&mut Command::new(&program));
    for mode in testkit::modes::MODES {
        let run = run(mode.preload(&mut Command::new(&program), &scratch("modes")));
        assert_eq!((run.stdout, run.status), (native.stdout.clone(), native.status), "{mode:?}");
    }
}

#[test]
fn a_stream_that_is_never_closed_is_named_where_the_program_opened_it() {
    for (make, end, kind) in [
        ("fopen(\"/dev/null\",\"r\")", "fclose", "files"),
        ("fopen64(\"/dev/null\",\"re\")", "fclose", "files"),
        ("freopen(\"/dev/null\",\"r\",fdopen(dup(0),\"r\"))", "fclose", "files"),
        ("tmpfile()", "fclose", "files"),
        ("opendir(\"/\")", "closedir", "directories"),
        ("popen(\"true\",\"re\")", "pclose", "ends of pipes"),
    ] {
        let flags = [format!("-DMAKE={make}"), format!("-DEND={end}"), "-DFIXED".to_owned()];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let name = "findings/fd_leak_stream";
        let broken = c_program_with(name, &flags[..2]);
        let (_, report) = with_census(&broken, &[], &[]);
        let leaks = leaks(&report);
        assert_eq!(leaks.len(), 1, "{make}: {leaks:#?}");
        let message = leaks[0]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("100 of 100 {kind} made here")), "{make}: {message}");
        assert_eq!(line_of(&broken, &leaks[0]["site"]), line_marked("findings/fd_leak_stream.c", "HERE"), "{make}");
        let (_, fixed) = with_census(&c_program_with(name, &flags), &[], &[]);
        assert!(self::leaks(&fixed).is_empty(), "{make}: {:#}", fixed["findings"]);
        assert_eq!((&fixed["census"]["healed"], &fixed["census"]["unseen"]), (&0.into(), &0.into()), "{make}");
    }
}

#[test]
fn a_stream_whose_descriptor_was_closed_before_it_is_a_double_close() {
    let program = c_program("findings/double_close_stream");
    let (_, report) = with_census(&program, &[], &[]);
    let serious = serious(&report);
    assert_eq!(serious.len(), 1, "{serious:#?}");
    assert_eq!(serious[0]["id"], "double-close");
    let of = |mark: &str| line_marked("findings/double_close_stream.c", mark);
    assert_eq!(line_of(&program, &serious[0]["site"]), of("HERE"));
    assert_eq!(line_of(&program, &serious[0]["other_site"]), of("OTHER"));
    let (_, fixed) = with_census(&c_program_with("findings/double_close_stream", &["-DFIXED"]), &[], &[]);
    assert!(self::serious(&fixed).is_empty(), "{:#}", fixed["findings"]);
}

/// A C++ program of c-tests/. None: there is no compiler.
fn cpp_program(name: &str) -> Option<PathBuf> {
    let source = root().join("c-tests").join(format!("{name}.cc"));
    testkit::have("g++").then(|| testkit::compile::program("g++", &["-O1", "-g"], &source, &[]).unwrap())
}

/// The lines of a call in the program itself: the line of the call, which may be in a header of the
/// C++ library, and the lines at which it was inlined.
fn inlined_at(binary: &Path, site: &Value) -> String {
    let (object, offset) = site.as_str().and_then(|site| site.split_once("+0x")).unwrap_or_else(|| panic!("{site}"));
    assert_eq!(object, binary.file_name().unwrap().to_str().unwrap(), "{site}");
    let call = u64::from_str_radix(offset, 16).unwrap() - 1;
    let output = Command::new("addr2line").args(["-i", "-e"]).arg(binary).arg(format!("{call:#x}")).output();
    let text = String::from_utf8(output.expect("addr2line").stdout).unwrap();
    text.lines().map(|line| line.split(" (").next().unwrap().to_owned() + "\n").collect()
}

#[test]
fn a_cpp_stream_is_named_by_the_programs_own_line() {
    let Some(binary) = cpp_program("cpp_streams") else { return };
    for stacks in ["0", "8"] {
        let (_, report) = with_census(&binary, &[], &[("EPOLLSHIM_STACKS", stacks)]);
        let found: Vec<String> =
            leaks(&report).into_iter().map(|finding| inlined_at(&binary, &finding["site"])).collect();
        assert_eq!(found.len(), 2, "{stacks}: {:#}", report["findings"]);
        for mark in ["constructor", "open"] {
            let line = format!("cpp_streams.cc:{}", line_marked("cpp_streams.cc", mark));
            assert!(found.iter().any(|lines| lines.lines().any(|one| one.ends_with(&line))), "{line}: {found:?}");
        }
        assert_eq!((&report["census"]["healed"], &report["census"]["unseen"]), (&0.into(), &0.into()));
    }
}

#[test]
fn descriptors_that_a_started_program_inherits_are_reported_for_each_call_that_starts_one() {
    let name = "findings/fd_inherited_started";
    let binary = c_program(name);
    for (how, inherits) in [
        ("system", Some("system")),
        ("popen", Some("popen")),
        ("spawn", Some("spawn")),
        ("path", Some("path")),
        ("chdir", Some("spawn")),
        ("copied", Some("spawn")),
        ("above", Some("spawn")),
        ("cloexec", None),
        ("close", None),
        ("many", None),
        ("dup2", None),
        ("open", None),
        ("closefrom", None),
    ] {
        let (output, report) = with_census(&binary, &[how], &[]);
        // The program prints whether the kernel passed the descriptor on.
        assert_eq!(output.trim(), if inherits.is_some() { "1" } else { "0" }, "{how}");
        let serious = serious(&report);
        assert_eq!(serious.len(), usize::from(inherits.is_some()), "{how}: {serious:#?}");
        if let Some(mark) = inherits {
            let of = |mark: &str| line_marked("findings/fd_inherited_started.c", mark);
            assert_eq!((&serious[0]["id"], &serious[0]["severity"]), (&"fd-inherited".into(), &"warning".into()));
            assert_eq!(line_of(&binary, &serious[0]["site"]), of("HERE"), "{how}");
            assert_eq!(line_of(&binary, &serious[0]["other_site"]), of(mark), "{how}");
        }
    }
    // The descriptor is inherited on purpose; no program is started; the library cannot know.
    for (how, has) in [("itself", "1"), ("none", "0"), ("unknown", "1")] {
        let (output, report) = with_census(&binary, &[how], &[]);
        assert_eq!(output.trim(), has, "{how}");
        assert!(serious(&report).is_empty(), "{how}: {:#}", report["findings"]);
    }
}

#[test]
fn file_actions_that_are_not_understood_are_counted() {
    let text = |how: &str| {
        run(Command::new(c_program("findings/fd_inherited_started"))
            .arg(how)
            .env("LD_PRELOAD", shim())
            .env("EPOLLSHIM_CENSUS", "1")
            .env_remove("EPOLLSHIM_REPORT"))
        .stderr
    };
    const LINE: &str = "  programs started with unknown file actions (inheritance not checked): 1\n";
    let unknown = text("unknown");
    assert!(unknown.contains(LINE), "{unknown}");
    assert!(!text("spawn").contains("unknown file actions"));
}

#[test]
fn popen_hands_no_earlier_stream_on_and_system_does() {
    let name = "findings/fd_inherited_popen";
    let binary = c_program(name);
    let (_, report) = with_census(&binary, &[], &[]);
    let serious = serious(&report);
    assert_eq!(serious.len(), 1, "{serious:#?}");
    let of = |mark: &str| line_marked("findings/fd_inherited_popen.c", mark);
    assert_eq!(line_of(&binary, &serious[0]["site"]), of("HERE"));
    assert_eq!(line_of(&binary, &serious[0]["other_site"]), of("OTHER"));
    for flag in ["-DFIXED", "-DNO_SYSTEM"] {
        let (_, report) = with_census(&c_program_with(name, &[flag]), &[], &[]);
        assert!(self::serious(&report).is_empty(), "{flag}: {:#}", report["findings"]);
    }
}

/// What `stream_calls` prints with a rule.
fn calls_with(rule: &str) -> Vec<String> {
    let mut command = Command::new(c_program("stream_calls"));
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "none");
    if !rule.is_empty() {
        command.env("EPOLLSHIM_INJECT", rule);
    }
    let run = run(&mut command);
    assert!(run.status.success(), "{rule}: {}\n{}{}", run.status, run.stdout, run.stderr);
    run.stdout.lines().map(str::to_owned).collect()
}

fn is_ours(role: Role) -> bool {
    matches!(role, Role::Stream | Role::Adopt | Role::StreamEnd | Role::Start)
}

#[test]
fn a_fault_makes_each_of_them_fail_as_it_fails_by_itself() {
    let plain = calls_with("");
    let rows: Vec<_> = TABLE.iter().filter(|row| is_ours(row.role)).collect();
    assert_eq!(plain.len(), rows.len(), "{plain:?}");
    for row in rows {
        let failed: Vec<_> = calls_with(&format!("{}:error=ELOOP", row.name()));
        let (ours, others): (Vec<_>, Vec<_>) =
            failed.iter().partition(|line| line.split(' ').next() == Some(row.name()));
        assert_eq!(ours.len(), 1, "{failed:?}");
        let error = libc::ELOOP;
        // A call that ends a stream has ended it, whatever it returns.
        let more = if row.role == Role::StreamEnd { " gone" } else { "" };
        assert_eq!(*ours[0], format!("{} {error}{more}", row.name()));
        assert!(others.iter().all(|line| plain.contains(line)), "{}: {others:?}", row.name());
    }
}

#[test]
fn a_system_calls_name_is_that_of_the_functions_too() {
    let failed = |rule: &str| -> BTreeSet<String> {
        let lines = calls_with(rule);
        let failed = lines.iter().filter(|line| line.split(' ').nth(1) == Some("24"));
        failed.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(failed("pipe2:error=EMFILE"), set(&["popen"]));
    assert_eq!(failed("fopen64:error=EMFILE"), set(&["fopen"]));
    assert_eq!(failed("fopen,opendir:error=EMFILE"), set(&["fopen", "opendir"]));
    assert_eq!(failed("close:error=EMFILE"), set(&["fclose", "closedir", "pclose"]));
    assert_eq!(failed("__close,fcntl:error=EMFILE"), set(&[]));
}

#[test]
fn the_log_has_a_line_for_each_of_them() {
    let directory = scratch("log");
    let log = directory.join("log");
    let run = run(Command::new(c_program("stream_calls"))
        .env("LD_PRELOAD", shim())
        .env("EPOLLSHIM_REPORT", "none")
        .env("EPOLLSHIM_INJECT", "opendir:error=EMFILE:when=1")
        .env("EPOLLSHIM_LOG_FILTER", "all")
        .env("EPOLLSHIM_LOG", &log));
    assert!(run.status.success(), "{}", run.stderr);
    let log = std::fs::read_to_string(log).unwrap();
    for wanted in [
        r#" fopen("/dev/null", "re") = 0x"#,
        r#" opendir("/") = NULL EMFILE (Too many open files) (INJECTED)"#,
        r#" popen("true", "re") = 0x"#,
        " fclose(0x",
        r#" system("exit 0") = 0"#,
    ] {
        assert!(log.contains(wanted), "{wanted}:\n{log}");
    }
    for row in TABLE.iter().filter(|row| is_ours(row.role)) {
        assert!(log.contains(&format!("] {}(", row.name())), "{}:\n{log}", row.name());
    }
    assert!(!log.contains("= NULL\n"), "{log}");
}

#[test]
fn a_path_of_null_is_logged_as_such() {
    let program = c_program("streams");
    let native = run(&mut Command::new(&program));
    for (format, wanted) in [("text", r#" freopen(NULL, "r", 0x"#), ("json", r#""path":null,"mode":"r""#)] {
        let log = scratch("null").join("log.%p");
        let run = run(Command::new(&program)
            .env("LD_PRELOAD", shim())
            .env("EPOLLSHIM_REPORT", "none")
            .env("EPOLLSHIM_LOG_FILTER", "all")
            .env("EPOLLSHIM_LOG_FORMAT", format)
            .env("EPOLLSHIM_LOG", &log));
        assert_eq!((run.stdout, run.status), (native.stdout.clone(), native.status), "{format}");
        let logs = std::fs::read_dir(log.parent().unwrap()).unwrap();
        let text: String = logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap()).collect();
        assert!(text.contains(wanted), "{format}: {wanted}:\n{text:.3000}");
    }
}

/// Existing programs print the same bare and with a census.
#[test]
fn existing_programs_behave_the_same_with_a_census() {
    let scripts: [(&str, &[&str]); 4] = [
        (
            "bash",
            &[
                "-c",
                "f() { while read -r line; do echo \"$line\"; done < /etc/passwd; }; f | sort | head -n 3; (cat <(echo x))",
            ],
        ),
        (
            "python3",
            &[
                "-c",
                "import os,subprocess,tempfile\n\
                 print(os.popen('echo a').read(), os.system('exit 3'), subprocess.run(['sh','-c','exit 4']).returncode)\n\
                 print(sorted(os.listdir('/'))[:3], tempfile.TemporaryFile().fileno() > 2)\n\
                 print(os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn('/bin/sh',['sh','-c','exit 5'],os.environ),0)[1]))",
            ],
        ),
        (
            "perl",
            &[
                "-e",
                "open(F,'<','/etc/passwd'); print scalar(<F>); close F; opendir(D,'/'); print 1 < readdir(D), `echo hi`; system('exit 3'); print $?>>8",
            ],
        ),
        ("git", &["--version"]),
    ];
    for (program, arguments) in scripts {
        let Ok(bare) = Command::new(program).args(arguments).output() else {
            eprintln!("skipped: {program} is not installed");
            continue;
        };
        let bare = String::from_utf8_lossy(&bare.stdout).into_owned();
        let path = scratch(program).join("report");
        let shimmed = run(under_shim(Command::new(program).args(arguments).env("EPOLLSHIM_CENSUS", "1"), &path));
        assert_eq!(shimmed.stdout, bare, "{program}: {}", shimmed.stderr);
        for report in testkit::reports(&path) {
            assert_eq!(report["census"]["unseen"], 0, "{program}: {}", report["census"]);
        }
    }
}

#[test]
fn without_a_census_nothing_is_noted() {
    let path = scratch("quiet").join("report");
    let mut command = Command::new(c_program("streams"));
    let run = run(under_shim(&mut command, &path));
    assert!(run.status.success(), "{}", run.stdout);
    assert!(path.exists() && report(&path)["census"].is_null() || !path.exists());
}
