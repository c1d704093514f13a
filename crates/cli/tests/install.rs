//! `make install` and `make uninstall`, and what they install: as packagers and users of it see them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{binary, library, output, scratch, stderr, stdout, tool};
use epollshim_format::options::NAMES;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// Manual pages and completions as `make` has made them of this source.
fn assets() -> PathBuf {
    let assets = library().with_file_name("assets");
    let made = fs::metadata(assets.join("man/epollshim.1")).and_then(|data| data.modified());
    let made = made.unwrap_or_else(|error| panic!("{}: {error}: run make first", assets.display()));
    let makers = fs::read_dir(root().join("crates/cli/examples/assets")).unwrap().map(|entry| entry.unwrap().path());
    let others = ["crates/cli/src/args.rs", "docs/libepollshim.7", "Cargo.toml"].map(|name| root().join(name));
    for source in makers.chain(others) {
        let changed = fs::metadata(&source).unwrap().modified().unwrap();
        assert!(changed <= made, "{} is newer than {}: run make first", source.display(), assets.display());
    }
    assets
}

/// `make WORDS...` with variables of its own, and none of the caller's.
fn make<S: AsRef<OsStr>>(words: &[S]) -> Output {
    let target = binary().ancestors().nth(2).unwrap().to_path_buf();
    let mut command = Command::new("make");
    let given = ["PREFIX", "DESTDIR", "BINDIR", "LIBDIR", "INCLUDEDIR", "DATADIR", "MANDIR", "PKGCONFIGDIR"];
    for name in given.iter().chain(&["MAKEFLAGS", "MAKELEVEL", "MFLAGS"]) {
        command.env_remove(name);
    }
    output(command.arg("-C").arg(root()).env("CARGO_TARGET_DIR", target).args(words))
}

fn made<S: AsRef<OsStr>>(words: &[S]) -> String {
    let output = make(words);
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

/// Every file below a directory, and every directory that is empty, from there, sorted.
fn leaves(directory: &Path) -> Vec<String> {
    fn walk(top: &Path, directory: &Path, found: &mut Vec<String>) {
        let entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        if entries.is_empty() && directory != top {
            found.push(format!("{}/", directory.strip_prefix(top).unwrap().display()));
        }
        for path in entries {
            match path.is_dir() {
                true => walk(top, &path, found),
                false => found.push(path.strip_prefix(top).unwrap().display().to_string()),
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, directory, &mut found);
    found.sort();
    found
}

/// The commands that have a page: those that `epollshim --help` lists.
fn commands() -> Vec<String> {
    let help = stdout(&common::run(&["--help"]));
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let words = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_string).collect()
}

fn expected(bin: &str, lib: &str, share: &str) -> Vec<String> {
    let mut files = vec![
        format!("{bin}/epollshim"),
        format!("{lib}/libepollshim.so"),
        format!("{lib}/pkgconfig/epollshim.pc"),
        format!("{share}/bash-completion/completions/epollshim"),
        format!("{share}/epollshim/installed"),
        format!("{share}/epollshim/tsan.supp"),
        format!("{share}/epollshim/check.schema.json"),
        format!("{share}/epollshim/inspect.schema.json"),
        format!("{share}/epollshim/log.schema.json"),
        format!("{share}/epollshim/report.schema.json"),
        format!("{share}/epollshim/sweep.schema.json"),
        format!("{share}/epollshim/valgrind.supp"),
        format!("{share}/fish/vendor_completions.d/epollshim.fish"),
        format!("{share}/man/man1/epollshim.1"),
        format!("{share}/man/man7/libepollshim.7"),
        format!("{share}/zsh/site-functions/_epollshim"),
    ];
    let commands = commands();
    assert!(["run", "report", "check"].iter().all(|name| commands.iter().any(|command| command == name)));
    files.extend(commands.iter().map(|command| format!("{share}/man/man1/epollshim-{command}.1")));
    files
}

/// As [`expected`], with the header, sorted.
fn expected_below(prefix: &str, lib: &str) -> Vec<String> {
    let mut files = expected(&format!("{prefix}/bin"), &format!("{prefix}/{lib}"), &format!("{prefix}/share"));
    files.push(format!("{prefix}/include/epollshim.h"));
    files.sort();
    files
}

#[test]
fn all_of_it_is_installed_below_destdir_and_removed_again() {
    assets();
    for (prefix, lib) in [("usr/local", "lib"), ("usr", "lib64"), ("opt/with space's", "lib/x86_64-linux-gnu")] {
        let stage = scratch("stage").join("a stage");
        let words =
            [format!("DESTDIR={}", stage.display()), format!("PREFIX=/{prefix}"), format!("LIBDIR=/{prefix}/{lib}")];
        let [destdir, prefix_word, libdir] = words.each_ref().map(String::as_str);
        let told = made(&["install", destdir, prefix_word, libdir]);
        assert_eq!(told.contains("LD_PRELOAD cannot name"), prefix.contains(' '), "{told}");
        assert!(!told.contains("does not look for its library"), "{told}");
        assert_eq!(leaves(&stage), expected_below(prefix, lib));
        for (file, mode) in [("bin/epollshim", 0o755), ("include/epollshim.h", 0o644), ("share/man/man7", 0o755)] {
            let found = fs::metadata(stage.join(prefix).join(file)).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode, "{file}: {found:o}");
        }
        // Again, as at an update: it still knows which directories it has made.
        made(&["install", destdir, prefix_word, libdir]);
        made(&["uninstall", destdir, prefix_word, libdir]);
        assert_eq!(leaves(&stage), [""; 0]);
        let again = make(&["uninstall", destdir, prefix_word, libdir]);
        assert!(stderr(&again).starts_with("make uninstall: nothing is installed there"), "{}", stderr(&again));
        assert!(!again.status.success());
    }
}

#[test]
fn what_was_there_before_stays() {
    assets();
    let stage = scratch("before");
    let own = ["usr/include/", "usr/lib/libother.so", "usr/share/man/man1/", "usr/share/man/man7/other.7"];
    for path in own {
        let path = stage.join(path);
        match path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            true => fs::create_dir_all(path).unwrap(),
            false => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
    }
    assert_eq!(leaves(&stage), own);
    let destdir = format!("DESTDIR={}", stage.display());
    made(&["install", &destdir, "PREFIX=/usr"]);
    // What came meanwhile stays too, and its directory.
    let late = stage.join("usr/share/zsh/site-functions/_other");
    fs::write(&late, "").unwrap();
    made(&["uninstall", &destdir, "PREFIX=/usr"]);
    fs::remove_file(&late).unwrap();
    assert_eq!(leaves(&stage), [&own[..], &["usr/share/zsh/site-functions/"]].concat());
}

#[test]
fn the_installed_command_runs_a_program_under_the_installed_library() {
    assets();
    for (place, is_found) in [
        ("lib", true),
        ("lib64", true),
        ("lib/x86_64-linux-gnu", true),
        ("lib/epollshim", true),
        ("bin", true),
        ("elsewhere", false),
    ] {
        let prefix = fs::canonicalize(scratch("prefix")).unwrap();
        let words = [format!("PREFIX={}", prefix.display()), format!("LIBDIR={}", prefix.join(place).display())];
        let told = made(&["install", &words[0], &words[1]]);
        assert_eq!(told.contains("does not look for its library in"), !is_found, "{told}");
        let ran = output(Command::new(prefix.join("bin/epollshim")).args([
            "run",
            "--report=none",
            "sh",
            "-c",
            "echo $LD_PRELOAD",
        ]));
        if is_found {
            let library = prefix.join(place).join("libepollshim.so");
            assert_eq!(stdout(&ran), format!("{}\n", library.display()), "{}", stderr(&ran));
        } else {
            assert_eq!(ran.status.code(), Some(2), "{}", stderr(&ran));
        }
        made(&["uninstall", &words[0], &words[1]]);
        assert_eq!(leaves(&prefix), [""; 0]);
    }
}

#[test]
fn the_installed_library_reports_what_a_program_did() {
    assets();
    let Some(python) = tool("python3") else { return };
    let prefix = fs::canonicalize(scratch("report")).unwrap();
    let word = format!("PREFIX={}", prefix.display());
    made(&["install", &word]);
    let mut command = Command::new(prefix.join("bin/epollshim"));
    command.args(["run", "--report", "stderr", "--"]).arg(python).args(["-c", "import select; select.epoll().poll(0)"]);
    let ran = output(&mut command);
    let text = stderr(&ran);
    assert!(ran.status.success() && text.contains("Instances: 1 created"), "{text}");
    assert!(text.lines().any(|line| line.split_whitespace().take(2).eq(["epoll_wait", "1"])), "{text}");
    fs::remove_dir_all(prefix).unwrap();
}

#[test]
fn pkg_config_says_where_library_and_header_are() {
    assets();
    let Some(pkg_config) = tool("pkg-config") else { return };
    for prefix in ["/usr/local", "/opt/with space"] {
        let stage = scratch("pc");
        made(&["install", &format!("DESTDIR={}", stage.display()), &format!("PREFIX={prefix}")]);
        let ask = |words: &[&str], sysroot: bool| {
            let mut command = Command::new(&pkg_config);
            command.env("PKG_CONFIG_PATH", stage.join(&prefix[1..]).join("lib/pkgconfig"));
            command.env_remove("PKG_CONFIG_SYSROOT_DIR");
            if sysroot {
                command.env("PKG_CONFIG_SYSROOT_DIR", &stage);
            }
            let output = output(command.args(words).arg("epollshim"));
            assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {}", stderr(&output));
            stdout(&output).trim_end().to_string()
        };
        assert_eq!(ask(&["--variable=preload"], false), format!("{prefix}/lib/libepollshim.so"));
        assert_eq!(ask(&["--modversion"], false), env!("CARGO_PKG_VERSION"));
        assert_eq!(ask(&["--libs"], false), "", "the library is preloaded, not linked");
        ask(&["--validate"], false);
        // As a program that includes the header is compiled.
        let source = stage.join("includes.c");
        fs::write(&source, "#include <epollshim.h>\nint main(void) { return sizeof(struct epollshim_stats) == 0; }\n")
            .unwrap();
        let flags = ask(&["--cflags"], true);
        let line = format!("cc -Wall -Wextra -Werror -fsyntax-only {flags} '{}'", source.display());
        let compiled = output(Command::new("sh").args(["-c", &line]));
        assert!(compiled.status.success(), "{line}: {}", stderr(&compiled));
        fs::remove_dir_all(stage).unwrap();
    }
}

#[test]
fn without_a_build_it_says_what_is_missing_and_installs_nothing() {
    assets();
    let release = scratch("empty").join("release");
    let stage = scratch("nothing");
    let destdir = format!("DESTDIR={}", stage.display());
    let target = format!("CARGO_TARGET_DIR={}", release.parent().unwrap().display());
    let say = |missing: &str| {
        let output = make(&["install", &destdir, &target]);
        let text = stderr(&output);
        let line = format!("make install: {} is not built; run make first", release.join(missing).display());
        assert!(!output.status.success() && text.lines().next() == Some(&line), "{line}\n{text}");
        assert_eq!(leaves(&stage), [""; 0]);
    };
    say("libepollshim.so");
    fs::create_dir_all(&release).unwrap();
    common::copy(library(), release.join("libepollshim.so"));
    say("epollshim");
    common::copy(binary(), release.join("epollshim"));
    // `cargo build` alone makes no pages.
    say("assets/man/libepollshim.7");
    let output = make(&["install", &destdir, "PREFIX=usr"]);
    assert_eq!(stderr(&output).lines().next(), Some("make install: 'usr' is not an absolute path"));
    assert_eq!(leaves(&stage), [""; 0]);
    fs::remove_dir_all(release).unwrap();
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(assets().join("man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert_eq!(pages.len(), commands().len() + 2, "{pages:?}");
    pages
}

#[test]
fn the_manual_pages_are_well_formed() {
    let pages = pages();
    if let Some(man) = tool("man") {
        for page in &pages {
            let mut command = Command::new(&man);
            command.env("MANROFFSEQ", "").args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(page);
            let output = output(&mut command);
            assert!(output.status.success(), "{}: {}", page.display(), stderr(&output));
            assert_eq!(stderr(&output), "", "{}", page.display());
        }
    }
    if let Some(mandoc) = tool("mandoc") {
        let output = output(Command::new(mandoc).args(["-T", "lint", "-W", "warning"]).args(&pages));
        assert!(output.status.success(), "{}", stdout(&output));
    }
}

/// A page as a reader sees it, 80 columns wide.
fn rendered(page: &Path) -> Option<String> {
    let man = tool("man")?;
    let mut command = Command::new(man);
    command.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").env_remove("MANPAGER").env_remove("PAGER");
    Some(stdout(&output(command.args(["-E", "UTF-8", "-P", "cat", "-l"]).arg(page))))
}

#[test]
fn the_manual_pages_fit_80_columns_and_have_what_a_page_has() {
    for page in pages() {
        let Some(text) = rendered(&page) else { return };
        let name = page.file_stem().unwrap().to_str().unwrap();
        let (title, section) = (name.to_uppercase(), page.extension().unwrap().to_str().unwrap());
        assert!(text.starts_with(&format!("{title}({section})")), "{text}");
        assert!(text.contains(&format!("epollshim {}", env!("CARGO_PKG_VERSION"))), "{name}: its version");
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{name}: {wide:#?}");
        let cut: Vec<&str> = text.lines().filter(|line| line.ends_with('\u{2010}')).collect();
        assert!(cut.is_empty(), "{name}: a word that cannot be searched for: {cut:#?}");
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(text.lines().any(|line| line == heading), "{name}: no {heading}");
        }
    }
}

#[test]
fn the_library_s_page_has_each_option_that_it_reads_and_no_other() {
    let page = fs::read_to_string(root().join("docs/libepollshim.7")).unwrap();
    let options = page.split(".SH OPTIONS\n").nth(1).unwrap().split("\n.SH ").next().unwrap();
    let mut told: Vec<&str> = options
        .split("\n.TP\n.BR ")
        .skip(1)
        .map(|entry| entry.split_once(" = ").unwrap_or_else(|| panic!("{entry}")).0)
        .collect();
    told.sort_unstable();
    let mut read = NAMES.to_vec();
    read.sort_unstable();
    assert_eq!(told, read);
    // Words that are not there yet, or no more, are in no other place either.
    let names = page.split(|c: char| c != '_' && !c.is_ascii_uppercase()).filter(|word| word.starts_with("EPOLLSHIM_"));
    for name in names {
        assert!(NAMES.contains(&name), "{name}");
    }
}

/// A PATH that has a program of a name of its own, for the shells to find.
fn path_with_program() -> OsString {
    let directory = scratch("bin");
    let program = directory.join("uniquely-named");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(directory).chain(std::env::split_paths(&path))).unwrap()
}

/// What a shell offers behind these words, the last of which is being written.
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
    let told = directory.join("told");
    let mut command = common::epollshim();
    command.args(["run", "--report=none", "--record"]).arg(directory.join("rec")).arg("--");
    let mut child = command.arg(common::compile("steady", &[])).arg(&told).spawn().unwrap();
    // By its arguments: it need not be the child itself.
    let is_ours = |pid: &String| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        program == "steady\n" && String::from_utf8_lossy(&arguments).contains(told.to_str().unwrap())
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
    // A terminal of zsh's own, in which TAB is pressed: what is completed stands on the line.
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
