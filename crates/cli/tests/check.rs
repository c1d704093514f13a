//! Tests `epollshim check` as users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{compile, library, run, scratch, skipped, stderr, stdout, tool, try_compile};
use serde_json::Value;

fn check(subject: impl AsRef<Path>) -> Output {
    run(&["check", subject.as_ref().to_str().unwrap()])
}

fn verdict(output: &Output) -> String {
    stdout(output).lines().next().unwrap_or_default().to_string()
}

/// The verdict on a program, its exit status, and the same in JSON.
fn judged(subject: impl AsRef<Path>, status: i32) -> (String, Value) {
    let subject = subject.as_ref().to_str().unwrap();
    let text = run(&["check", subject]);
    assert_eq!(text.status.code(), Some(status), "{}{}", stdout(&text), stderr(&text));
    let json = run(&["check", "--format", "json", subject]);
    assert_eq!(json.status.code(), Some(status));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["schema"], "epollshim.check/1");
    assert_eq!(json["summary"], verdict(&text));
    (verdict(&text), json)
}

#[test]
fn a_program_that_uses_epoll_through_libc_is_seen() {
    let (line, json) = judged(compile("watch", &[]), 0);
    assert_eq!(line, "seen: all of its epoll calls go through libc");
    assert_eq!(json["verdict"], "seen");
    assert_eq!(json["program"]["kind"], "dynamic");
    let object = &json["objects"][0];
    assert_eq!(object["epoll"], serde_json::json!(["epoll_create1", "epoll_ctl", "epoll_wait"]));
    assert_eq!(object["descriptors"], serde_json::json!(["close", "dup"]));
    assert_eq!(json["objects"][1]["name"], "libc.so.6");
}

#[test]
fn a_program_without_epoll_has_nothing_to_be_seen() {
    let (line, _) = judged(compile("plain", &[]), 0);
    assert_eq!(line, "seen: its calls go through libc; none of them is an epoll call");
}

#[test]
fn calls_of_a_library_count_wherever_the_loader_finds_it() {
    let library = compile("library", &["-shared", "-fPIC"]);
    let place = library.parent().unwrap();
    fs::rename(&library, place.join("liblibrary.so")).unwrap();
    let search = format!("-L{}", place.display());
    for path in
        [format!("-Wl,-rpath,{}", place.display()), format!("-Wl,--disable-new-dtags,-rpath,{}", place.display())]
    {
        let (line, json) = judged(compile("with_library", &[&search, "-llibrary", &path]), 0);
        assert_eq!(line, "seen: all of its epoll calls go through libc");
        let found =
            json["objects"].as_array().unwrap().iter().find(|object| object["name"] == "liblibrary.so").unwrap();
        assert_eq!(found["epoll"], serde_json::json!(["epoll_create1"]));
    }
    // $ORIGIN: beside the program.
    let program = compile("with_library", &[&search, "-llibrary", "-Wl,-rpath,$ORIGIN"]);
    let (line, _) = judged(&program, 1);
    assert_eq!(line, "partly seen: liblibrary.so: cannot be read (needed by with_library)");
    fs::copy(place.join("liblibrary.so"), program.with_file_name("liblibrary.so")).unwrap();
    judged(&program, 0);
    // The library itself.
    let (_, json) = judged(place.join("liblibrary.so"), 0);
    assert_eq!(json["program"]["kind"], "library");
}

#[test]
fn direct_system_calls_are_listed_with_their_numbers() {
    let (line, json) = judged(compile("direct", &[]), 1);
    assert_eq!(line, "partly seen: it makes epoll_wait as a direct system call");
    let direct = &json["objects"][0]["direct"];
    assert_eq!((&direct[0]["number"], &direct[0]["name"]), (&232.into(), &"epoll_wait".into()));
    let page = stdout(&check(compile("direct", &[])));
    assert!(page.contains("epoll_wait (232) at 0x"), "{page}");

    let (line, json) = judged(compile("direct", &["-DALL"]), 1);
    assert_eq!(line, "not seen: it makes epoll_create1, epoll_wait as a direct system call");
    assert_eq!(json["verdict"], "not");

    let (line, _) = judged(compile("any", &[]), 1);
    assert_eq!(line, "partly seen: it has 1 direct system call with an unknown number");
}

#[test]
fn io_uring_by_libc_s_syscall_is_noticed() {
    for flags in [&["-O2"][..], &["-O0"], &["-O2", "-fno-pie", "-no-pie"]] {
        let (line, json) = judged(compile("uring", flags), 1);
        assert_eq!(line, "partly seen: it can use io_uring, whose operations are not seen", "{flags:?}");
        assert_eq!(json["reasons"][0]["id"], "io-uring");
    }
}

#[test]
fn a_static_program_is_not_seen() {
    for (flag, kind) in [("-static", "static"), ("-static-pie", "static-pie")] {
        match try_compile("watch", &[flag]) {
            Ok(program) => {
                let (line, json) = judged(&program, 1);
                assert!(line.starts_with("not seen: static program"), "{line}");
                assert_eq!(json["program"]["kind"], kind);
                // The loader does not need section headers, and neither does check.
                if let Some(strip) = tool("strip") {
                    Command::new(strip).arg("--strip-all").arg(&program).status().unwrap();
                    judged(&program, 1);
                }
            }
            Err(error) => skipped(&format!("cc {flag}: {error}"), true),
        }
    }
}

#[test]
fn programs_for_other_machines_and_other_c_libraries_are_not_seen() {
    let program = compile("watch", &[]);
    let bytes = fs::read(&program).unwrap();
    let changed = |name: &str, status: i32, change: &dyn Fn(&mut Vec<u8>)| {
        let path = program.with_file_name(name);
        let mut bytes = bytes.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        judged(path, status).0
    };
    // e_machine, EI_CLASS.
    assert_eq!(changed("arm", 1, &|bytes| bytes[18] = 183), "not seen: a program for aarch64; the shim is for x86-64");
    let line = changed("i386", 1, &|bytes| (bytes[4], bytes[18]) = (1, 3));
    assert_eq!(line, "not seen: a program for i386 (32-bit); the shim is for x86-64");
    let glibc = b"/lib64/ld-linux-x86-64.so.2\0";
    let at = bytes.windows(glibc.len()).position(|part| part == glibc).unwrap();
    let musl = b"/lib/ld-musl-x86_64.so.1\0\0\0\0";
    let line = changed("musl", 0, &|bytes| bytes[at..at + musl.len()].copy_from_slice(musl));
    assert_eq!(line, "seen: all of its epoll calls go through libc");
    let other = b"/lib/ld-uClibc.so.0\0\0\0\0\0\0\0\0\0";
    let line = changed("other", 1, &|bytes| bytes[at..at + other.len()].copy_from_slice(other));
    assert!(line.starts_with("not seen: its interpreter /lib/ld-uClibc.so.0 is neither glibc's nor musl's"), "{line}");
}

#[test]
fn rights_that_a_file_gives_hide_it() {
    let program = compile("watch", &[]);
    // SAFETY: takes nothing, cannot fail.
    if unsafe { libc::getuid() } != 0 {
        return skipped("not root: no file can be given to another user", true);
    }
    // The owner is another user, since root has the privileges of root's files anyway.
    chown(&program, Some(65534), Some(65534)).unwrap();
    for (mode, what) in [(0o4755, "setuid (user 65534)"), (0o2755, "setgid (group 65534)")] {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(&program).unwrap().mode() & 0o7777, mode);
        let (line, json) = judged(&program, 1);
        assert_eq!(line, format!("not seen: {what}; the loader ignores LD_PRELOAD (AT_SECURE)"));
        assert_eq!(json["program"]["privileges"], what);
        let output = run(&["run", "--", program.to_str().unwrap()]);
        assert!(stderr(&output).starts_with("epollshim: warning: "), "{}", stderr(&output));
        assert!(!stderr(&output).contains("Calls"), "the shim acted: {}", stderr(&output));
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let Some(setcap) = tool("setcap") else { return };
    let given = Command::new(setcap).arg("cap_net_bind_service=ep").arg(&program).output().unwrap();
    if !given.status.success() {
        return skipped(&format!("setcap: {}", stderr(&given)), true);
    }
    let (line, _) = judged(&program, 1);
    let what = "file capabilities (cap_net_bind_service)";
    assert_eq!(line, format!("partly seen: {what}; seen when you start it, not when others do (AT_SECURE)"));
}

#[test]
fn a_script_is_its_interpreter() {
    let place = scratch("script");
    let program = compile("watch", &[]);
    let script = |name: &str, first: &str| -> PathBuf {
        let path = place.join(name);
        fs::write(&path, format!("{first}\nhello\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let one = script("one", &format!("#!{}", program.display()));
    let two = script("two", &format!("#! {} -x", one.display()));
    let (_, json) = judged(two, 0);
    assert_eq!(json["program"]["scripts"].as_array().unwrap().len(), 2);
    assert_eq!(json["program"]["path"], program.to_str().unwrap());
    let (line, json) = judged(script("env", "#!/usr/bin/env -S A=1 sh -e"), 1);
    assert!(json["program"]["path"].as_str().unwrap().ends_with("/sh"), "{json}");
    assert_eq!((&json["verdict"], &json["reasons"][0]["id"]), (&"unknown".into(), &"shell-script".into()), "{json}");
    assert!(line.starts_with("unknown: ") && line.contains("/env is a shell script"), "{line}");
    let itself = place.join("loop");
    script("loop", &format!("#!{}", itself.display()));
    assert_eq!(check(&itself).status.code(), Some(2));
    let lost = check(script("lost", "#!/no/such/interpreter"));
    assert_eq!(stderr(&lost), "epollshim: /no/such/interpreter: No such file or directory\n");
}

/// The shims of pyenv and of many packages are such scripts.
#[test]
fn a_shell_script_that_becomes_a_program_is_followed() {
    let place = scratch("becomes");
    let program = compile("watch", &[]);
    let script = |name: &str, last: &str| -> PathBuf {
        let path = place.join(name);
        fs::write(&path, format!("#!/bin/sh\nset -e\n# {name}\n{last}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let one = script("one", &format!("exec \"{}\" \"$@\"", program.display()));
    let two = script("two", &format!("exec {} -x", one.display()));
    let (_, json) = judged(&two, 0);
    assert_eq!(json["program"]["path"], program.to_str().unwrap());
    assert_eq!(json["program"]["scripts"], serde_json::json!([two, one]));
    let (_, json) = judged(script("three", "exec \"$program\" \"$@\""), 1);
    assert_eq!(json["verdict"], "unknown");
    // An endless chain: the final program is unknown.
    let itself = place.join("itself");
    let (_, json) = judged(script("itself", &format!("exec {}", itself.display())), 1);
    assert_eq!(json["verdict"], "unknown");
}

#[test]
fn what_is_no_program_is_a_usage_error() {
    let place = scratch("none");
    let text = place.join("text");
    fs::write(&text, "hello\n").unwrap();
    let empty = place.join("empty");
    fs::write(&empty, "").unwrap();
    let cut = place.join("cut");
    fs::write(&cut, &fs::read(compile("plain", &[])).unwrap()[..200]).unwrap();
    let object = compile("plain", &["-c"]);
    for (subject, why) in [
        (text.to_str().unwrap(), "neither an ELF file nor a script"),
        (empty.to_str().unwrap(), "neither an ELF file nor a script"),
        (cut.to_str().unwrap(), "a damaged ELF file"),
        (object.to_str().unwrap(), "an object file or a core file"),
        ("/no/such/file", "No such file or directory"),
        ("no-such-program", "no such file, and no such program in PATH"),
        ("/", "a directory"),
        ("/dev/zero", "not a regular file"),
        ("", "no such file"),
        ("0", "not a process id"),
        ("99999999999", "not a process id"),
        ("4194303", "process 4194303: no such process"),
        ("2", "process 2: "),
    ] {
        let output = run(&["check", subject]);
        if subject == "2" && output.status.code() != Some(2) {
            // In a container, process 2 may be any process.
            continue;
        }
        assert_eq!(output.status.code(), Some(2), "{subject}: {}", stdout(&output));
        assert!(stderr(&output).contains(why), "{subject}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{subject}");
    }
}

/// A program that has printed that it is ready. It is killed if the test fails.
struct Ready(Child);

impl Ready {
    fn start(command: &mut Command) -> Ready {
        let mut child =
            Ready(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        child
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_is_shown_with_its_instances_and_interests() {
    let program = compile("watch", &[]);
    for under_shim in [false, true] {
        let mut command = Command::new(&program);
        if under_shim {
            command.env("LD_PRELOAD", library()).env("EPOLLSHIM_REPORT", "none");
        }
        let child = Ready::start(&mut command);
        let (line, json) = judged(child.0.id().to_string(), 0);
        assert_eq!(line, "seen: all of its epoll calls go through libc");
        let process = &json["process"];
        assert_eq!(process["shim"], under_shim);
        assert_eq!(process["pid"], child.0.id());
        assert_eq!(process["secure"], false);
        // 0 to 2, two instances, a dup of one, two pipes of which one end is closed and has a dup.
        let descriptors = fs::read_dir(format!("/proc/{}/fd", child.0.id())).unwrap().count();
        assert!(descriptors >= 10 && process["descriptors"] == descriptors, "{process}");
        let instances = process["instances"].as_array().unwrap();
        assert_eq!(instances.len(), 2, "{process}");
        let first = instances[0]["interests"].as_array().unwrap();
        assert_eq!(first.len(), 2, "{process}");
        assert_eq!(first[0]["events"], "EPOLLIN|EPOLLERR|EPOLLHUP|EPOLLET");
        assert_eq!((&first[0]["ghost"], &first[1]["ghost"]), (&false.into(), &true.into()), "{process}");
        assert!(first[0]["target"].as_str().unwrap().starts_with("pipe:["), "{process}");
        assert_eq!(instances[1]["epfds"].as_array().unwrap().len(), 2, "{process}");
        let page = stdout(&check(child.0.id().to_string()));
        assert!(page.contains("Epoll instances now: 2"), "{page}");
        assert!(page.contains("closed, but still watched"), "{page}");
    }
}

#[test]
fn the_seccomp_filters_of_each_thread_of_a_process_are_shown() {
    // In a container, this process has filters too, and its children inherit them.
    let filters = |json: &Value| json["process"]["seccomp"]["filters"].as_u64().unwrap_or(0);
    let child = Ready::start(&mut Command::new(compile("watch", &[])));
    let inherited = filters(&judged(child.0.id().to_string(), 0).1);
    let program = compile("filtered", &["-pthread"]);
    for arguments in [&[][..], &["thread"]] {
        let child = Ready::start(Command::new(&program).args(arguments));
        let (_, json) = judged(child.0.id().to_string(), 0);
        assert_eq!(json["process"]["seccomp"]["mode"], "filter", "{json}");
        assert_eq!(filters(&json), inherited + 1, "{json}");
        let page = stdout(&check(child.0.id().to_string()));
        assert!(
            page.contains("\n  seccomp     ") && page.contains("  - seccomp: the shim makes no system call"),
            "{page}"
        );
    }
}

#[test]
fn a_process_whose_program_was_removed_is_still_shown() {
    let program = compile("watch", &[]);
    let child = Ready::start(&mut Command::new(&program));
    fs::remove_file(&program).unwrap();
    let (line, json) = judged(child.0.id().to_string(), 0);
    assert_eq!(line, "seen: all of its epoll calls go through libc");
    assert_eq!(json["process"]["instances"].as_array().unwrap().len(), 2);
}

#[test]
fn lines_fit_into_80_columns_and_names_cannot_steer_the_terminal() {
    let place = scratch("names");
    let path = place.join("a\u{1b}[31m\nb");
    fs::copy(compile("watch", &[]), &path).unwrap();
    let output = check(&path);
    let page = stdout(&output);
    assert!(!page.contains('\u{1b}') && page.contains("a\\u{1b}[31m\\nb"), "{page}");
    for name in ["python3", "redis-server", "node", "nginx"] {
        let Some(program) = tool(name) else { continue };
        let page = stdout(&check(program));
        // The verdict is one line, however long.
        assert!(page.lines().skip(1).all(|line| line.chars().count() <= 80 || !line.contains(' ')), "{page}");
    }
}

/// Flipped bits and lost bytes anywhere in a program lead to a verdict or an error, and to nothing
/// else.
#[test]
fn damaged_programs_do_not_crash_it() {
    let bytes = fs::read(compile("direct", &[])).unwrap();
    let path = scratch("damaged").join("program");
    // xorshift64: the same damage each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..3000 {
        let mut damaged = bytes.clone();
        // Damage in the headers has the largest effect: those of the file, of the program, and at
        // the end those of sections.
        let zones = [(0, 1000), (bytes.len() - 2200, 2200), (0, bytes.len())];
        for _ in 0..=random(4) {
            let (start, length) = zones[random(zones.len())];
            damaged[start + random(length)] = [0, 0xff, random(256) as u8][random(3)];
        }
        if round % 5 == 0 {
            damaged.truncate(random(bytes.len()));
        }
        fs::write(&path, &damaged).unwrap();
        if let Ok(header) = epollshim_cli::elf::header(&path) {
            let _ = (header.architecture(), header.is_native());
        }
        if let Ok(elf) = epollshim_cli::elf::read_file(&path) {
            let _ = epollshim_cli::check::calls::Calls::of(&elf.imports);
        }
        let _ = epollshim_cli::elf::each_code(&path, |address, code| {
            let _ = epollshim_cli::check::code::sites(address, code);
        });
        // A check with the libraries is slower.
        if round % 10 == 0 {
            let _ = epollshim_cli::check::facts::gather(path.as_os_str())
                .map(|facts| epollshim_cli::check::verdict::judge(&facts).line);
        }
    }
}
