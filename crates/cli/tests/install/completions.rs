//! The completions of the shells.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::assets;
use super::common::{self, output, scratch, stderr, stdout, tool};
/// A PATH that contains a program with a unique name.
fn path_with_program() -> OsString {
    let directory = scratch("bin");
    let program = directory.join("uniquely-named");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(directory).chain(std::env::split_paths(&path))).unwrap()
}

/// What a shell offers for the last of these words.
fn offered_by_bash(script: &Path, words: &[&str]) -> Vec<String> {
    let program = r#"
        . "$1" || exit
        shift
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        read -ra words < <(complete -p epollshim)
        for at in "${!words[@]}"; do [[ ${words[at]} == -F ]] && function=${words[at + 1]}; done
        "$function" epollshim "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut command = Command::new("bash");
    command.env("PATH", path_with_program());
    command.args(["--noprofile", "--norc", "-c", program, "bash"]).arg(script).args(words);
    let output = output(&mut command);
    assert_eq!(stderr(&output), "", "{words:?}");
    stdout(&output).split_whitespace().map(str::to_string).collect()
}

#[test]
fn bash_completes_commands_flags_and_the_program() {
    if tool("bash").is_none() {
        return;
    }
    let script = assets().join("completions/epollshim");
    for (words, offered) in [
        (&["epollshim", "r"][..], &["run", "report"][..]),
        (&["epollshim", "run", "--rep"], &["--report", "--report-format"]),
        (&["epollshim", "run", "--report-format", "j"], &["json"]),
        (&["epollshim", "run", "--on-bad-config", ""], &["exit", "ignore"]),
        (&["epollshim", "report", "--format", "p"], &["perfetto", "prometheus"]),
        (&["epollshim", "check", "--format", ""], &["text", "json"]),
        (&["epollshim", "explain", "gh"], &["ghost"]),
        (&["epollshim", "report", "--fail-on", "fd-"], &["fd-leak", "fd-inherited"]),
        (&["epollshim", "diff", "--fail-on", "new:e"], &["new:error"]),
        // The program has flags of its own.
        (&["epollshim", "run", "--", "ls", "--rep"], &[]),
        (&["epollshim", "run", "-q", "ls", "--rep"], &[]),
        (&["epollshim", "run", "-o", "file", "ls", "--rep"], &[]),
        (&["epollshim", "sweep", "--wr"], &["--write-accept"]),
        (&["epollshim", "sweep", "--format", "ju"], &["junit"]),
        (&["epollshim", "sweep", "--persistent", "ls", "--wr"], &[]),
        (&["epollshim", "run", "--report", "=", "none", "--limit", "watches=1", "ls", "--rep"], &[]),
    ] {
        assert_eq!(offered_by_bash(&script, words), offered, "{words:?}");
    }
    for before in [
        &["epollshim", "run"][..],
        &["epollshim", "run", "-q", "--seed", "1", "--"],
        &["epollshim", "sweep", "-j", "2", "--persistent", "--workload", "true"],
        &["epollshim", "sweep", "--"],
    ] {
        assert_eq!(offered_by_bash(&script, &[before, &["uniquely-n"]].concat()), ["uniquely-named"], "{before:?}");
    }
}

#[test]
fn bash_knows_the_processes_that_are_recorded() {
    if tool("bash").is_none() {
        return;
    }
    let script = assets().join("completions/epollshim");
    let directory = scratch("pids");
    let printed = directory.join("printed");
    let mut command = common::epollshim();
    command.args(["run", "--report=none", "--record"]).arg(directory.join("rec")).arg("--");
    let mut child = command.arg(common::compile("steady", &[])).arg(&printed).spawn().unwrap();
    // Compared by the arguments, since it need not be the child itself.
    let is_ours = |pid: &String| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        program == "steady\n" && String::from_utf8_lossy(&arguments).contains(printed.to_str().unwrap())
    };
    let offered = |words: &[&str]| offered_by_bash(&script, words).into_iter().find(is_ours);
    let pid = common::until("it is offered", || offered(&["epollshim", "ctl", ""]));
    assert_eq!(offered(&["epollshim", "top", &pid]), Some(pid.clone()));
    assert_eq!(offered(&["epollshim", "report", ""]), None);
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    child.wait().unwrap();
}

#[test]
fn fish_completes_commands_flags_and_the_program() {
    let Some(fish) = tool("fish") else { return };
    let script = assets().join("completions/epollshim.fish");
    let (home, path) = (scratch("fish"), path_with_program());
    let offered = |line: &str| {
        let mut command = Command::new(&fish);
        command.env("HOME", &home).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        command.env("PATH", &path);
        command.args(["--no-config", "-c", "source $argv[1]; complete -C $argv[2]"]).arg(&script).arg(line);
        let output = output(&mut command);
        assert_eq!(stderr(&output), "", "{line}");
        let first = |line: &str| line.split('\t').next().unwrap_or_default().to_string();
        stdout(&output).lines().map(first).collect::<Vec<_>>()
    };
    for (line, words) in [
        ("epollshim r", &["report", "run"][..]),
        ("epollshim run --rep", &["--report", "--report-format"]),
        ("epollshim run -- ls --rep", &[]),
        ("epollshim report --format p", &["perfetto", "prometheus"]),
        ("epollshim explain gh", &["ghost"]),
        ("epollshim run --report-format j", &["json"]),
        ("epollshim run uniquely-n", &["uniquely-named"]),
        ("epollshim run -q --seed 1 uniquely-n", &["uniquely-named"]),
        ("epollshim sweep --wr", &["--write-accept"]),
        ("epollshim sweep --format ju", &["junit"]),
        ("epollshim sweep -- ls --wr", &[]),
        ("epollshim sweep -j 2 --persistent --workload true uniquely-n", &["uniquely-named"]),
    ] {
        assert_eq!(offered(line), words, "{line}");
    }
}

#[test]
fn zsh_completes_commands_flags_and_the_program() {
    let Some(zsh) = tool("zsh") else { return };
    let functions = assets().join("completions");
    let (home, path) = (scratch("zsh"), path_with_program());
    // TAB is pressed in a terminal of zsh, and the completed line is printed.
    let program = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        {
            zpty -w shell "PS1= PS2= RPS1=; fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -D -u"
            zpty -w shell "zle-done() { print -rn -- \"<<\$BUFFER>>\" }; zle -N zle-done; bindkey '^X' zle-done; unsetopt zle_bracketed_paste beep; print -r rea''dy"
            zpty -r shell text '*ready*'
            zpty -w -n shell "$2"$'\t\x18'
            zpty -r shell text '*<<*>>*'
            print -r -- "${${text##*<<}%%>>*}"
        } always { zpty -d shell }"#;
    for (line, completed) in [
        ("epollshim rep", "epollshim report "),
        ("epollshim run --inject-i", "epollshim run --inject-impossible="),
        ("epollshim report --format per", "epollshim report --format perfetto "),
        ("epollshim explain gho", "epollshim explain ghost "),
        ("epollshim run -q --seed 1 uniquely-n", "epollshim run -q --seed 1 uniquely-named "),
        ("epollshim sweep --write-a", "epollshim sweep --write-accept="),
        ("epollshim sweep --format ju", "epollshim sweep --format junit "),
        ("epollshim sweep -j 2 --persistent uniquely-n", "epollshim sweep -j 2 --persistent uniquely-named "),
    ] {
        let mut command = Command::new(&zsh);
        command.env("HOME", &home).env("PATH", &path).env("TERM", "xterm");
        command.args(["-f", "-c", program, "zsh"]).arg(&functions).arg(line);
        let output = output(&mut command);
        assert_eq!(stdout(&output), format!("{completed}\n"), "{line}: {}", stderr(&output));
    }
}
