//! Tests the outputs and files of `epollshim sweep`: accepted finds, trials to resume, formats,
//! progress, exit statuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod pty;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::sweep::{finds, program, sweep, swept};
use common::{epollshim, output, scratch, stderr, stdout, until};
use serde_json::Value;
use testkit::{browser, schema};

/// A sweep whose result is text.
fn text(flags: &[&str], command: &[&str]) -> Output {
    output(epollshim().arg("sweep").args(flags).arg("--").args(command))
}

#[test]
fn an_accepted_find_does_not_count_and_is_shown_with_its_reason() {
    let program = program("null_loop");
    let program = program.to_str().unwrap();
    let list = scratch("accept").join("list");
    let name = list.to_str().unwrap();
    fs::write(&list, "# it is restarted\n# by its supervisor\ncrash:^epoll_create1 EMFILE make$\n\n# old\nhang:make\n")
        .unwrap();
    let output = text(&["--accept", name], &[program]);
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let end = "No finds.\n\naccepted: crash: epoll_create1 fails with EMFILE, in make: it is restarted by\n    its supervisor\n";
    assert!(shown.ends_with(end), "{shown}");
    assert_eq!(stderr(&output), format!("epollshim: --accept: {name}:6: matches no find: hang:make\n"));

    let (all, status) = swept(&["--accept", name], &[program]);
    assert_eq!((status, finds(&all).len()), (0, 0), "{all}");
    assert_eq!(all["accepted"][0]["reason"], "it is restarted by its supervisor", "{all}");
    assert_eq!(all["accepted"][0]["place"], "make", "{all}");

    fs::write(&list, "# another failure\ncrash:^epoll_create1 ENOMEM\n").unwrap();
    let output = text(&["--accept", name], &[program]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(!stdout(&output).contains("accepted:"), "{}", stdout(&output));
}

#[test]
fn a_find_in_a_stripped_program_is_known_by_the_object() {
    let program = program("null_loop");
    assert!(Command::new("strip").arg(&program).status().unwrap().success());
    let (all, _) = swept(&[], &[program.to_str().unwrap()]);
    assert_eq!(all["finds"][0]["place"], "null_loop", "{all}");
}

#[test]
fn a_list_is_written_whose_reasons_are_to_be_filled_in() {
    let program = program("null_loop");
    let program = program.to_str().unwrap();
    let list = scratch("accept").join("list");
    let name = list.to_str().unwrap();
    let output = text(&["--write-accept", name], &[program]);
    assert_eq!(output.status.code(), Some(1), "a find without a reason is not accepted");
    let printed = format!("epollshim: {name}: 1 find added; replace each WHY? by a reason\n");
    assert_eq!(stderr(&output), printed);
    let written = fs::read_to_string(&list).unwrap();
    assert!(written.ends_with("\n\n# WHY? SIGSEGV\ncrash:^epoll_create1 EMFILE make$\n"), "{written}");

    let refused = text(&["--accept", name], &[program]);
    let line = written.lines().count();
    let printed = format!("epollshim: --accept: {name}:{line}: crash:^epoll_create1 EMFILE make$ has no reason; ");
    assert!(stderr(&refused).starts_with(&printed) && refused.status.code() == Some(2), "{}", stderr(&refused));

    let reasoned = written.replace("WHY? SIGSEGV", "restarted");
    fs::write(&list, &reasoned).unwrap();
    let output = text(&["--accept", name, "--write-accept", name], &[program]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), format!("epollshim: {name}: 0 finds added\n"));
    assert_eq!(fs::read_to_string(&list).unwrap(), reasoned, "what was there stays");
}

#[test]
fn a_bad_list_is_refused_before_anything_is_tried() {
    let directory = scratch("accept");
    let list = directory.join("list");
    let name = list.to_str().unwrap();
    let nowhere = directory.join("no/list");
    for (flag, path, content, what) in [
        ("--accept", name, "# why\n\ncrahs:x\n", ":3: unknown verdict 'crahs'; did you mean crash?"),
        ("--accept", name, "# why\nhang\n", ":2: 'hang' has no pattern; wanted: verdict:pattern, such as crash:^epoll"),
        ("--accept", name, "# why\n\nhang:x\n", ":3: hang:x has no reason; write it in a comment on the line above"),
        ("--write-accept", name, "hang\n", ":1: 'hang' has no pattern; "),
        ("--accept", directory.to_str().unwrap(), "", ": not a plain file"),
        ("--accept", nowhere.to_str().unwrap(), "", ": No such file or directory"),
        ("--write-accept", nowhere.to_str().unwrap(), "", ": no such directory"),
        ("--output", nowhere.to_str().unwrap(), "", ": no such directory"),
    ] {
        fs::write(&list, content).unwrap();
        let output = sweep(&[flag, path], &["true"]);
        let printed = stderr(&output);
        let place =
            if what.ends_with("directory") && flag != "--accept" { path.trim_end_matches("/list") } else { path };
        assert!(printed.starts_with(&format!("epollshim: {flag}: {place}{what}")), "{what}: {printed}");
        assert_eq!((output.status.code(), printed.lines().count()), (Some(2), 1), "{printed}");
    }
}

/// Verdicts and lines of all trials.
fn trials(all: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let one = |trial: &Value| (text(&trial["verdict"]), text(&trial["line"]), trial["evidence"].to_string());
    all["trials"].as_array().unwrap().iter().map(one).collect()
}

/// The rules of the runs that c-tests/sweep/many.c has noted, without those of clean runs. A traced
/// repeat has a delay as well.
fn runs(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let failing = text.lines().filter(|line| line.contains("error="));
    failing.map(|rule| rule.trim_end_matches(":delay_enter=50ms").to_owned()).collect()
}

#[test]
fn a_sweep_that_was_killed_continues_and_makes_no_trial_twice() {
    let directory = scratch("resume");
    let (program, kept, noted) = (program("many"), directory.join("kept"), directory.join("runs"));
    let command = || {
        let mut command = epollshim();
        command
            .args(["sweep", "--format", "json", "-j", "1", "--calls", "eventfd", "--resume"])
            .arg(&kept)
            .arg("--")
            .arg(&program);
        command.env("RUNS", &noted).env("TMPDIR", &directory);
        command
    };
    let mut child = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let finished = || fs::read_to_string(&kept).unwrap_or_default().lines().count().saturating_sub(1);
    until("some trials", || (finished() >= 4).then_some(()));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL), "it was to be killed in the middle");
    let before: BTreeSet<String> = fs::read_to_string(&kept)
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["trial"]["rules"].as_str().unwrap().to_owned())
        .collect();
    // An incomplete line, as after a kill.
    let mut cut = fs::read_to_string(&kept).unwrap();
    cut.push_str("{\"trial\":{\"ru");
    fs::write(&kept, cut).unwrap();
    fs::remove_file(&noted).unwrap();

    let resumed = output(&mut command());
    let printed = format!("epollshim: {} of 12 trials were done before\n", before.len());
    assert_eq!(stderr(&resumed), printed);
    let after = runs(&noted);
    assert!(after.iter().all(|rules| !before.contains(rules)), "made twice: {after:?}");
    let all: Value = serde_json::from_str(&stdout(&resumed)).unwrap();
    assert_eq!(all["resumed"], before.len(), "{all}");
    let different: BTreeSet<&String> = after.iter().collect();
    assert_eq!(before.len() + different.len(), 12, "{after:?}");

    let (whole, status) = swept(&["--calls", "eventfd"], &[program.to_str().unwrap()]);
    assert_eq!((trials(&all), finds(&all)), (trials(&whole), finds(&whole)));
    assert_eq!((resumed.status.code(), status, finds(&all).len()), (Some(1), 1, 1));

    fs::remove_file(&noted).unwrap();
    let again = output(&mut command());
    assert_eq!(runs(&noted), [""; 0], "all is done");
    assert_eq!(trials(&serde_json::from_str(&stdout(&again)).unwrap()), trials(&whole));
}

#[test]
fn trials_of_another_program_or_another_command_are_refused() {
    let directory = scratch("resume");
    let (one, other, kept) = (program("whole"), program("null_loop"), directory.join("kept"));
    let program = directory.join("program");
    common::copy(&one, &program);
    let (program, name) = (program.to_str().unwrap(), kept.to_str().unwrap());
    let script = directory.join("script");
    fs::write(&script, "echo one\n").unwrap();
    let script = script.to_str().unwrap();
    let refused = |flags: &[&str], command: &[&str], what: &str| {
        let output = sweep(&[&["--resume", name], flags].concat(), command);
        let printed = stderr(&output);
        assert!(printed.starts_with(&format!("epollshim: --resume: {name}: {what}")), "{what}: {printed}");
        assert_eq!(
            (output.status.code(), stdout(&output).as_str(), printed.lines().count()),
            (Some(2), "", 1),
            "{printed}"
        );
    };
    assert_eq!(sweep(&["--resume", name], &[program, script]).status.code(), Some(0));
    let good = fs::read_to_string(&kept).unwrap();
    assert_eq!(sweep(&["--resume", name, "-j", "1"], &[program, script]).status.code(), Some(0), "the same");
    assert_eq!(fs::read_to_string(&kept).unwrap(), good, "and nothing is added");
    refused(
        &[],
        &[program, script, "more"],
        &format!("it is of another command: {program} {script}; remove it to start over"),
    );
    refused(&["--mask", "x"], &[program, script], "--mask differs: the earlier sweep ran without it; remove it");
    refused(&["--limits"], &[program, script], "--limits differs: the earlier sweep ran without it");
    fs::write(script, "echo two\n").unwrap();
    refused(&[], &[program, script], &format!("{script} has changed: 9 bytes, hash "));
    fs::write(script, "echo one\n").unwrap();
    fs::remove_file(program).unwrap();
    common::copy(&other, program);
    refused(&[], &[program, script], &format!("{program} has changed: build id "));
    fs::remove_file(program).unwrap();
    common::copy(&one, program);

    for (content, what) in [
        (
            good.replacen("sweep-trials/1", "sweep-trials/9", 1),
            "written by another version: epollshim.sweep-trials/9 of ",
        ),
        (good.replacen("\"version\":\"", "\"version\":\"0.0-", 1), "written by another version: "),
        (good.replacen("\"judged\"", "\"judge\"", 1), "line 2 is damaged; remove the line to repeat its trial"),
        ("{}\n".to_owned(), "not a file of epollshim sweep --resume"),
        ("a list of mine".to_owned(), "not a file of epollshim sweep --resume"),
    ] {
        fs::write(&kept, &content).unwrap();
        refused(&[], &[program, script], what);
        assert_eq!(fs::read_to_string(&kept).unwrap(), content, "a stranger's file stays as it is");
    }
    // Cut off before the first line was complete, so it counts as empty.
    fs::write(&kept, &good[..good.find('\n').unwrap() / 2]).unwrap();
    assert_eq!(sweep(&["--resume", name], &[program, script]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&kept).unwrap().lines().count(), good.lines().count());
}

#[test]
fn a_terminal_shows_how_far_a_sweep_is_and_a_log_does_not() {
    let program = program("many");
    let mut command = epollshim();
    // This takes longer than the time between two lines.
    command.args(["sweep", "-j", "1", "--clean-runs", "5", "--"]).arg(&program).env("PAUSE", "400");
    let mut terminal = pty::Terminal::with(command, 80, 24);
    assert_eq!(terminal.wait().code(), Some(1));
    until("the last line", || terminal.text().contains("-- /").then_some(()));
    let text = terminal.text();
    let drawn: Vec<&str> = text.split('\r').filter(|line| line.ends_with("\x1b[K")).collect();
    assert!(drawn.iter().all(|line| line.trim_end_matches("\x1b[K").len() < 80), "{drawn:?}");
    assert!(drawn.iter().any(|line| line.starts_with("clean run ") && line.contains(" of 5")), "{text:?}");
    let is_bar =
        |line: &&&str| line.starts_with('[') && line.contains(" of 12 trials, ") && line.contains(" a second, ");
    assert!(drawn.iter().any(|line| is_bar(&line)), "{text:?}");
    let bar_ends = text.rfind("\x1b[K").unwrap();
    assert!(text.find("Finds: 1").unwrap() > bar_ends, "the result is below: {text:?}");

    let output = self::text(&[], &[program.to_str().unwrap()]);
    assert_eq!(stderr(&output), "");
    let shown = stdout(&output);
    let is_to_paste = |line: &str| line.starts_with("   epollshim run --inject ");
    assert!(shown.lines().all(|line| line.chars().count() <= 80 || is_to_paste(line)), "{shown}");
    assert_eq!(shown.lines().filter(|line| is_to_paste(line)).count(), 1, "{shown}");
}

#[test]
fn an_interrupt_prints_what_was_found_and_ends_by_the_signal() {
    let directory = scratch("interrupt");
    let (program, kept) = (program("many"), directory.join("kept"));
    let mut command = epollshim();
    // The sweep must not be over before the signal is sent.
    command.args(["sweep", "-j", "1", "--resume"]).arg(&kept).arg("--").arg(&program).env("PAUSE", "600");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let finished = || fs::read_to_string(&kept).unwrap_or_default().lines().count().saturating_sub(1);
    until("a trial", || (finished() >= 2).then_some(()));
    pty::signal(child.id(), libc::SIGINT);
    let output = child.wait_with_output().unwrap();
    let printed = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGINT), "{printed}");
    assert!(printed.contains("\nINCOMPLETE: ") && printed.contains("\nNo finds.\n"), "{printed}");
    let last = format!("epollshim: interrupted; repeat the same command to continue from {}\n", kept.display());
    assert!(printed.ends_with(&last), "{printed}");
}

/// A list that accepts the crash of null_loop.
fn accepting() -> String {
    let list = scratch("accept").join("list");
    fs::write(&list, "# as <known>\ncrash:^epoll_create1 EMFILE make$\n").unwrap();
    list.to_str().unwrap().to_owned()
}

#[test]
fn a_test_case_for_each_trial_has_a_name_that_stays() {
    let program = program("null_loop");
    let program = program.to_str().unwrap();
    let junit = |flags: &[&str]| stdout(&text(&[&["--format", "junit"], flags].concat(), &[program]));
    let all = junit(&[]);
    assert!(all.contains("\n<testsuites name=\"epollshim\" tests=\"4\" failures=\"1\" errors=\"0\">\n"), "{all}");
    assert!(
        all.contains("<testsuite name=\"null_loop\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\" "),
        "{all}"
    );
    let crash =
        "<testcase classname=\"null_loop\" name=\"epoll_create1 fails with EMFILE, in make &lt; main\" time=\"0.";
    let (_, rest) = all.split_once(crash).unwrap_or_else(|| panic!("{all}"));
    let (case, _) = rest.split_once("</testcase>").unwrap();
    assert!(case.contains("<failure type=\"crash\" message=\"SIGSEGV\">\ncrash, 3 of 3 runs\n"), "{case}");
    assert!(case.contains("\nepollshim run --inject epoll_create1:error=EMFILE:stack="), "{case}");
    let accepted = junit(&["--accept", &accepting()]);
    assert!(accepted.contains(" tests=\"4\" failures=\"0\""), "{accepted}");
    let skipped = "<skipped message=\"accepted: crash: epoll_create1 fails with EMFILE, in make: as &lt;known&gt;\"/>";
    assert!(accepted.contains(skipped), "{accepted}");
    [&all, &accepted].into_iter().for_each(|xml| common::is_valid_for_jenkins(xml));
}

#[test]
fn a_page_has_the_finds_and_what_was_tried_and_needs_nothing_else() {
    let program = program("null_loop");
    let program = program.to_str().unwrap();
    let file = scratch("html").join("sweep.html");
    let name = file.to_str().unwrap();
    let output = text(&["--format", "html", "-o", name, "--errors", "EMFILE,ENFILE"], &[program]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert!(stderr(&output).contains("\n1. crash: epoll_create1 fails with EMFILE"), "the text: {}", stderr(&output));
    let page = fs::read_to_string(&file).unwrap();
    for part in [
        "<title>epollshim: sweep of null_loop</title>",
        "<h2>Finds: 1</h2>",
        "<span class=\"badge error\">crash</span> epoll_create1 fails with EMFILE",
        "<code class=\"paste\">epollshim run --inject epoll_create1:error=EMFILE:stack=",
        "<th scope=\"row\">epoll_create1<small>in make</small></th><td class=\"bad\"><span class=\"verdict\">crash</span></td>",
        "<td class=\"good\"><span class=\"verdict\">clean failure</span></td>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    browser::is_self_contained(&page);
    if !browser::opens_with(&page, file.parent().unwrap(), |_| ()) {
        common::skipped("no chromium here: the page was not opened", true);
    }
    let page = stdout(&text(&["--format", "html", "--accept", &accepting()], &[program]));
    let cell = "<td class=\"taken\"><span class=\"verdict\">crash</span>, accepted</td>";
    assert!(page.contains(cell) && page.contains(": as &lt;known&gt;</li>"), "{page}");
}

#[test]
fn the_json_output_matches_the_schema() {
    let python = match schema::python() {
        Ok(python) => python,
        Err(why) => return common::skipped(why, false),
    };
    let (crashes, serves) = (program("null_loop"), program("server"));
    let (crashes, serves) = (crashes.to_str().unwrap(), serves.to_str().unwrap());
    let calls = "--calls=epoll_create1,epoll_ctl";
    let server: &[&str] = &[serves, "7000", "strict"];
    let workload = format!("{serves} 7000 ask");
    for (flags, command) in [
        (&["--all-errors"][..], &[crashes][..]),
        (&["--accept", &accepting()], &[crashes]),
        (&["--limits"], &[crashes]),
        (&["--workload", &workload, "--ready-when", "port 7000", calls], server),
    ] {
        let (all, _) = swept(flags, command);
        assert_ne!(all["trials"], Value::Array(Vec::new()), "{flags:?}");
        schema::is_valid(python, "sweep", &format!("{all}\n"));
    }
    let (mut all, _) = swept(&[], &[crashes]);
    all["trials"][0]["runs"] = "3".into();
    assert!(!schema::validate(python, "sweep", "as-shipped", &format!("{all}\n")).status.success());
}
