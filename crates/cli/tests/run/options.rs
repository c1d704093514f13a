//! Options and variables, and the library that is used.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::{self, binary, compile, epollshim, library, output, run, scratch, stderr, stdout};
#[test]
fn every_flag_becomes_the_variable_of_its_name() {
    for flag in ["--exec", "--quiet"] {
        let directory = scratch("flags");
        let here = fs::canonicalize(&directory).unwrap();
        let mut command = epollshim();
        command.current_dir(&directory).env("EPOLLSHIM_SEED", "1").env("EPOLLSHIM_ONLY", "sh").args([
            "run",
            flag,
            "--report=r.%p",
            "--report-format=json",
            "--limit=instances=8",
            "--limit=watches=9",
            "--inject=epoll_wait:error=EINTR",
            "--inject=epoll_ctl:retval=7",
            "--inject-impossible",
            "--session=s",
            "--seed=0x2a",
            "--log=l.%p",
            "--log-format=json",
            "--log-time=wall",
            "--log-filter=failed",
            "--on-bad-config=ignore",
            "--",
            "env",
        ]);
        let text = stdout(&output(&mut command));
        let mut set: Vec<&str> = text.lines().filter(|line| line.starts_with("EPOLLSHIM_")).collect();
        set.sort_unstable();
        if flag != "--exec" {
            // Set by the parent for its own report.
            assert!(set.contains(&"EPOLLSHIM_CENSUS=1"), "{set:?}");
            assert!(set.iter().any(|one| one.starts_with("EPOLLSHIM_RECORD=/")), "{set:?}");
            set.retain(|one| !one.starts_with("EPOLLSHIM_CENSUS=") && !one.starts_with("EPOLLSHIM_RECORD="));
        }
        let here = here.display();
        assert_eq!(
            set,
            [
                "EPOLLSHIM_INJECT=epoll_wait:error=EINTR;epoll_ctl:retval=7",
                "EPOLLSHIM_INJECT_IMPOSSIBLE=1",
                "EPOLLSHIM_LIMIT=instances=8,watches=9",
                &format!("EPOLLSHIM_LOG={here}/l.%p"),
                "EPOLLSHIM_LOG_FILTER=failed",
                "EPOLLSHIM_LOG_FORMAT=json",
                "EPOLLSHIM_LOG_TIME=wall",
                "EPOLLSHIM_ONLY=sh",
                "EPOLLSHIM_ON_BAD_CONFIG=ignore",
                &format!("EPOLLSHIM_REPORT={here}/r.%p"),
                "EPOLLSHIM_REPORT_FORMAT=json",
                "EPOLLSHIM_SEED=0x2a",
                &format!("EPOLLSHIM_SESSION={here}/s"),
            ]
        );
    }
}

#[test]
fn a_bad_option_is_reported_in_one_line_and_nothing_is_started() {
    let mark = scratch("bad").join("started");
    let touch = ["--", "touch", mark.to_str().unwrap()];
    for (flags, line) in [
        (&["--report-format", "xml"][..], "--report-format: unknown value 'xml'; allowed: text, json"),
        (&["--report", ""], "--report: empty; expected stderr, none or a file name"),
        (&["--report", "/tmp/%q"], "--report: unknown pattern at '%q'"),
        (&["--limit", "instance=8"], "--limit: unknown limit 'instance' in 'instance=8'; did you mean instances?"),
        (&["--limit", "instances=8", "--limit", "watches=-1"], "--limit: '-1' is negative in 'watches=-1'"),
        (&["--limit", "instances=8", "--limit", ""], "--limit: element 2 is empty"),
        (&["--inject", "epoll_wiat:error=EINTR"], "--inject: unknown call 'epoll_wiat'"),
        (&["--inject", "epoll_wait:error=EINTR", "--inject", ""], "--inject: rule 2 is empty"),
        (
            &["--inject", "epoll_ctl:retval=7"],
            "--inject: no kernel returns 7 from epoll_ctl in 'epoll_ctl:retval=7'; --inject-impossible allows it",
        ),
        (&["--inject-replay", "/no/such.log"], "--inject-replay: /no/such.log: No such file or directory"),
        (&["--inject-replay=/"], "--inject-replay: /: is a directory"),
        (&["--inject-impossible=2"], "--inject-impossible: unknown value '2'; allowed: 0, 1"),
        (&["--seed", "x"], "--seed: 'x' is not a number"),
        (&["--log", "/tmp/"], "--log: '/tmp/' is a directory"),
        (&["--log-format", "jsn"], "--log-format: unknown value 'jsn'; allowed: text, json; did you mean json?"),
        (&["--log-time", "day"], "--log-time: unknown value 'day'; allowed: none, wall, relative"),
        (&["--log-filter", "slow"], "--log-filter: slow has no value"),
        (&["--only", "a,,b"], "--only: empty; expected program names"),
        (&["--on-bad-config", "die"], "--on-bad-config: unknown value 'die'"),
        (&["--session", ""], "--session: empty; expected a directory"),
        (&["--limti", "x"], "unexpected argument '--limti' found; did you mean --limit?"),
        (&["--record", ""], "--record: empty; expected a directory"),
        (&["--record-ring", "3"], "--record-ring: '3' is too small"),
        (&["--census=2"], "--census: unknown value '2'; allowed: 0, 1"),
        (&["--stacks", "65"], "--stacks: '65' is too large; expected a number of callers from 0 to 64"),
        (&["--shim", "/no/such.so"], "--shim: /no/such.so: No such file or directory"),
        (&["--shim", "/etc/passwd"], "--shim: /etc/passwd: not a shared object"),
    ] {
        let output = run(&[&["run"], flags, &touch].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{flags:?}: {text}");
        assert!(text.starts_with(&format!("epollshim: {line}")), "{flags:?}: {text}");
        assert!(!mark.exists(), "{flags:?}");
    }
    for (name, value, line) in [
        ("EPOLLSHIM_LIMIT", "x", "EPOLLSHIM_LIMIT: "),
        ("EPOLLSHIM_REPROT", "x", "EPOLLSHIM_REPROT: no such option; did you mean EPOLLSHIM_REPORT?"),
        (
            "EPOLLSHIM_INJECT",
            "epoll_ctl:retval=7",
            "EPOLLSHIM_INJECT: no kernel returns 7 from epoll_ctl in 'epoll_ctl:retval=7'; EPOLLSHIM_INJECT_IMPOSSIBLE=1 allows it",
        ),
        ("EPOLLSHIM_INJECT_REPLAY", "/no/such.log", "EPOLLSHIM_INJECT_REPLAY: /no/such.log: No such file"),
        ("EPOLLSHIM_CENSUS", "yes", "EPOLLSHIM_CENSUS: unknown value 'yes'; allowed: 0, 1"),
    ] {
        let output = output(epollshim().env(name, value).arg("run").args(touch));
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        assert!(stderr(&output).starts_with(&format!("epollshim: {line}")), "{}", stderr(&output));
        assert!(!mark.exists(), "{name}");
    }
    // A variable that a flag replaces is not read.
    let output = output(epollshim().env("EPOLLSHIM_LIMIT", "x").args(["run", "--limit", "instances=1"]).args(touch));
    assert!(output.status.success() && mark.exists(), "{}", stderr(&output));
}

#[test]
fn the_shim_prints_the_same_about_a_bad_option() {
    for (name, flag, value) in [
        ("EPOLLSHIM_LIMIT", "--limit", "instances=x"),
        ("EPOLLSHIM_INJECT", "--inject", "epoll_wait:when=3"),
        ("EPOLLSHIM_LOG_FILTER", "--log-filter", "fialed"),
    ] {
        let by_shim = output(Command::new("true").env("LD_PRELOAD", library()).env(name, value));
        let by_flag = run(&["run", flag, value, "--", "true"]);
        assert_eq!(stderr(&by_shim).replace(name, flag), stderr(&by_flag));
        assert_eq!((by_shim.status.code(), by_flag.status.code()), (Some(2), Some(2)));
    }
}

#[test]
fn a_bad_option_that_may_be_ignored_is_reported_and_the_program_runs_bare() {
    let output =
        run(&["run", "--on-bad-config", "ignore", "--limit", "x=1", "--", "sh", "-c", "echo ${LD_PRELOAD-bare}"]);
    assert_eq!(stdout(&output), "bare\n");
    let text = stderr(&output);
    assert!(text.starts_with("epollshim: --limit: unknown limit 'x'"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn the_library_is_found_beside_the_command_or_in_lib() {
    let real = &binary();
    for (place, is_found) in [
        ("bin/libepollshim.so", true),
        ("lib/libepollshim.so", true),
        ("lib64/libepollshim.so", true),
        ("lib/x86_64-linux-gnu/libepollshim.so", true),
        ("release/libepollshim.so", true),
        ("share/libepollshim.so", false),
    ] {
        let tree = fs::canonicalize(scratch("tree")).unwrap();
        let put = |from: &Path, to: PathBuf| {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            common::copy(from, to);
        };
        put(real, tree.join("bin/epollshim"));
        put(&library(), tree.join(place));
        // Package managers install such symbolic links.
        symlink(tree.join("bin/epollshim"), tree.join("link")).unwrap();
        for command in ["bin/epollshim", "link"] {
            let output = output(Command::new(tree.join(command)).args([
                "run",
                "--report=none",
                "--",
                "sh",
                "-c",
                "echo $LD_PRELOAD",
            ]));
            if is_found {
                assert_eq!(stdout(&output), format!("{}\n", tree.join(place).display()), "{}", stderr(&output));
            } else {
                assert_eq!(output.status.code(), Some(2));
                assert!(stderr(&output).contains("libepollshim.so is not in"), "{}", stderr(&output));
                assert!(stderr(&output).contains("give its path with --shim"), "{}", stderr(&output));
            }
        }
        fs::remove_dir_all(tree).unwrap();
    }
}

#[test]
fn only_the_shim_is_taken_for_it() {
    let directory = scratch("wrong");
    let foreign = directory.join("foreign.so");
    let mut bytes = fs::read(library()).unwrap();
    // e_machine: aarch64.
    bytes[18] = 183;
    fs::write(&foreign, bytes).unwrap();
    let spaced = directory.join("a b.so");
    symlink(library(), &spaced).unwrap();
    let other = compile("library", &["-shared", "-fPIC"]);
    for (path, why) in [
        (foreign.as_path(), "built for aarch64, not for x86-64"),
        (&other, "not epollshim's library (no symbol epollshim_version)"),
        (&spaced, "LD_PRELOAD cannot name a file with a space in its path"),
        (&directory, "not a shared object"),
    ] {
        let output = run(&[OsStr::new("run"), "--shim".as_ref(), path.as_ref(), "--".as_ref(), "true".as_ref()]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1);
    }
    // Relative paths work, too.
    let mut command = epollshim();
    command.current_dir(library().parent().unwrap());
    let output = output(command.args(["run", "--exec", "--shim", "libepollshim.so", "--", "true"]));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}
