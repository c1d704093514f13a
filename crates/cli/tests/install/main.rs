//! Tests `make install` and `make uninstall`, and the installed files, as packagers and users see
//! them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod completions;
mod pages;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{binary, library, output, scratch, stderr, stdout, tool};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// The manual pages and completions that `make` has built from these sources.
fn assets() -> PathBuf {
    let assets = library().with_file_name("assets");
    let made = fs::metadata(assets.join("man/epollshim.1")).and_then(|data| data.modified());
    let made = made.unwrap_or_else(|error| panic!("{}: {error}: run make first", assets.display()));
    let folders = ["crates/cli/examples/assets", "crates/cli/src/args"].map(|name| root().join(name));
    let makers = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let others = ["crates/cli/src/args.rs", "docs/libepollshim.7", "Cargo.toml"].map(|name| root().join(name));
    for source in makers.chain(others) {
        let changed = fs::metadata(&source).unwrap().modified().unwrap();
        assert!(changed <= made, "{} is newer than {}: run make first", source.display(), assets.display());
    }
    assets
}

/// `make WORDS...` without the variables of the caller.
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

/// All files and empty directories below a directory, relative to it and sorted.
fn leaves(directory: &Path) -> Vec<String> {
    fn walk(top: &Path, directory: &Path, found: &mut Vec<String>) {
        let entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        if entries.is_empty() && directory != top {
            found.push(format!("{}/", directory.strip_prefix(top).unwrap().display()));
        }
        for path in entries {
            match path.is_dir() && !path.is_symlink() {
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

/// The commands that have a page: those in `epollshim --help`.
fn commands() -> Vec<String> {
    let help = stdout(&common::run(&["--help"]));
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let words = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_string).collect()
}

/// The files of examples/ in folders of their own. Nothing builds anything there.
fn examples() -> Vec<String> {
    let files = leaves(&root().join("examples"));
    files.into_iter().filter(|file| file.contains('/')).collect()
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
        format!("{share}/doc/epollshim/examples"),
    ];
    files.extend(examples().iter().map(|file| format!("{share}/epollshim/examples/{file}")));
    let commands = commands();
    assert!(["run", "report", "check"].iter().all(|name| commands.iter().any(|command| command == name)));
    files.extend(commands.iter().map(|command| format!("{share}/man/man1/epollshim-{command}.1")));
    files
}

/// [`expected`] with the header, sorted.
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
        let printed = made(&["install", destdir, prefix_word, libdir]);
        assert_eq!(printed.contains("LD_PRELOAD cannot name"), prefix.contains(' '), "{printed}");
        assert!(!printed.contains("does not look for its library"), "{printed}");
        assert_eq!(leaves(&stage), expected_below(prefix, lib));
        for (file, mode) in [("bin/epollshim", 0o755), ("include/epollshim.h", 0o644), ("share/man/man7", 0o755)] {
            let found = fs::metadata(stage.join(prefix).join(file)).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode, "{file}: {found:o}");
        }
        // Again, as an update does: it still knows which directories it has created.
        made(&["install", destdir, prefix_word, libdir]);
        made(&["uninstall", destdir, prefix_word, libdir]);
        assert_eq!(leaves(&stage), [""; 0]);
        let again = make(&["uninstall", destdir, prefix_word, libdir]);
        assert!(stderr(&again).starts_with("make uninstall: nothing is installed there"), "{}", stderr(&again));
        assert!(!again.status.success());
    }
}

#[test]
fn existing_files_and_directories_stay() {
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
    // A file that was added meanwhile stays too, with its directory.
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
        let printed = made(&["install", &words[0], &words[1]]);
        assert_eq!(printed.contains("does not look for its library in"), !is_found, "{printed}");
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

/// README.md copies the examples to /tmp, by two lines that are pasted together.
#[test]
fn the_examples_are_where_the_readme_copies_them_from() {
    assets();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let begin = readme.find("    cp -r $(dirname $(command -v epollshim))").expect("the lines that copy the examples");
    let lines = readme[begin..].split("\n\n").next().unwrap();
    for lib in ["lib", "lib64"] {
        let prefix = fs::canonicalize(scratch("prefix")).unwrap();
        let words = [format!("PREFIX={}", prefix.display()), format!("LIBDIR={}", prefix.join(lib).display())];
        made(&words.each_ref().map(String::as_str).into_iter().chain(["install"]).collect::<Vec<_>>());
        let place = scratch("copied");
        let script = format!(
            "{}\nls guide/leak.c guide/stuck.py guide/nginx.conf tour/save.c",
            lines.replace("/tmp", place.to_str().unwrap())
        );
        let path = format!("{}:/usr/bin:/bin", prefix.join("bin").display());
        let copied = output(Command::new("bash").args(["-e", "-c", &script]).env("PATH", path));
        assert!(copied.status.success(), "{}", stderr(&copied));
        assert_eq!(leaves(&place.join("examples")), examples());
        // The place where people look for examples.
        let link = prefix.join("share/doc/epollshim/examples");
        assert_eq!(leaves(&fs::canonicalize(&link).unwrap()), examples());
        assert!(fs::read_link(link).unwrap().is_relative(), "below DESTDIR it leads to the same files");
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
fn pkg_config_prints_where_library_and_header_are() {
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
        // Compiled like a program that includes the header.
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
fn without_a_build_it_prints_what_is_missing_and_installs_nothing() {
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
    // `cargo build` does not make the pages.
    say("assets/man/libepollshim.7");
    let output = make(&["install", &destdir, "PREFIX=usr"]);
    assert_eq!(stderr(&output).lines().next(), Some("make install: 'usr' is not an absolute path"));
    assert_eq!(leaves(&stage), [""; 0]);
    fs::remove_dir_all(release).unwrap();
}
