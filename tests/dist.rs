//! The packages of `make dist`: what they contain, that they work, and that they contain nothing of
//! the machine that built them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "dist/links.rs"]
mod links;
#[path = "dist/packages.rs"]
mod packages;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use packages::{LIBRARY, VERSION, deb, debug_tarball, dist, made, rpm, tarball, unpacked};
use testkit::{c_program, have, root, scratch, show};

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", show(&output));
    output
}

fn text(command: &mut Command) -> String {
    String::from_utf8_lossy(&done(command).stdout).into_owned()
}

/// Every file below a directory, as a path relative to it. A link is a file.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() && !path.is_symlink() {
                true => open.push(path),
                false => _ = found.insert(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    found
}

/// The commands that have a manual page: those that `epollshim --help` lists.
fn commands(epollshim: &Path) -> Vec<String> {
    let help = text(Command::new(epollshim).arg("--help"));
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let words = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_owned).collect()
}

/// README.md, the pages that it links to, the link to the examples, and the licences.
fn documents() -> BTreeSet<String> {
    let mut names = BTreeSet::from(["README.md", "third-party.txt", "examples"].map(str::to_owned));
    for page in files(&root().join("docs")) {
        if [".md", ".png"].iter().any(|kind| page.ends_with(kind)) {
            names.insert(format!("docs/{page}"));
        }
    }
    names
}

/// Removes the names of files that some toolchains lack.
fn without_optional(mut names: BTreeSet<String>) -> BTreeSet<String> {
    names.retain(|name| !name.ends_with("rust-standard-library.html"));
    names
}

#[test]
fn the_tarball_has_what_is_installed_and_its_documents() {
    if !made() {
        return;
    }
    let top = unpacked();
    let mut expected: BTreeSet<String> = [
        "bin/epollshim",
        "lib/libepollshim.so",
        "lib/pkgconfig/epollshim.pc",
        "include/epollshim.h",
        "share/bash-completion/completions/epollshim",
        "share/zsh/site-functions/_epollshim",
        "share/fish/vendor_completions.d/epollshim.fish",
        "share/epollshim/check.schema.json",
        "share/epollshim/inspect.schema.json",
        "share/epollshim/log.schema.json",
        "share/epollshim/report.schema.json",
        "share/epollshim/sweep.schema.json",
        "share/epollshim/tsan.supp",
        "share/epollshim/valgrind.supp",
        "share/man/man1/epollshim.1",
        "share/man/man7/libepollshim.7",
        "share/doc/epollshim/examples",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ]
    .map(str::to_owned)
    .into();
    expected
        .extend(commands(&top.join("bin/epollshim")).iter().map(|name| format!("share/man/man1/epollshim-{name}.1")));
    expected.extend(documents());
    let examples = files(&root().join("examples")).into_iter().filter(|file| file.contains('/'));
    expected.extend(examples.map(|file| format!("share/epollshim/examples/{file}")));
    assert_eq!(without_optional(files(&top)), expected);
    for (file, mode) in
        [("bin/epollshim", 0o755), ("lib/libepollshim.so", 0o755), ("README.md", 0o644), ("docs", 0o755)]
    {
        assert_eq!(fs::metadata(top.join(file)).unwrap().mode() & 0o7777, mode, "{file}");
    }
    // No user or group of the machine that built it.
    let listed = text(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(tarball()));
    assert!(listed.lines().all(|line| line.split_whitespace().nth(1) == Some("0/0")), "{listed}");
    let times: BTreeSet<_> =
        listed.lines().map(|line| line.split_whitespace().skip(3).take(2).collect::<Vec<_>>()).collect();
    assert_eq!(times.len(), 1, "one time for all: {times:?}");
}

#[test]
fn the_tarball_works_where_it_is_unpacked() {
    if !made() {
        return;
    }
    let top = unpacked();
    let program = c_program("known_counts");
    let mut command = Command::new(top.join("bin/epollshim"));
    command.env_remove("LD_PRELOAD").args(["run", "--"]).arg(program);
    let ran = command.output().unwrap();
    let report = String::from_utf8_lossy(&ran.stderr);
    assert!(report.contains("epoll_create"), "{}", show(&ran));
    if have("pkg-config") {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", top.join("lib/pkgconfig")).args(["--variable=preload", "epollshim"]);
        let library = fs::canonicalize(text(&mut command).trim_end()).unwrap();
        assert_eq!(library, fs::canonicalize(top.join("lib").join(LIBRARY)).unwrap());
    }
}

#[test]
fn the_command_needs_no_other_file() {
    if !made() {
        return;
    }
    let command = unpacked().join("bin/epollshim");
    let headers = text(Command::new("readelf").args(["-lW"]).arg(&command));
    assert!(!headers.contains("INTERP"), "{headers}");
    let dynamic = text(Command::new("readelf").args(["-dW"]).arg(&command));
    assert!(!dynamic.contains("NEEDED"), "{dynamic}");
    // A static program gets its arguments from `main`: without them, the command would print its
    // help.
    let empty = scratch("empty");
    let mut alone = Command::new(&command);
    alone.env_clear().current_dir(empty).args(["explain", "ghost"]);
    assert!(text(&mut alone).contains("ghost"));
}

#[test]
fn command_library_and_packages_have_one_version() {
    if !made() {
        return;
    }
    let top = unpacked();
    let printed = text(Command::new(top.join("bin/epollshim")).arg("--version"));
    let words: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(words[..2], ["epollshim", VERSION], "{printed}");
    let commit = words[2].trim_matches(['(', ')']);
    assert!(commit.len() >= 12 && commit[..12].bytes().all(|byte| byte.is_ascii_hexdigit()), "{printed}");
    let folder = scratch("version");
    let source = "#include <dlfcn.h>\n#include <stdio.h>\nint main(void) { const char *(*version)(void) = \
                  (const char *(*)(void))dlsym(RTLD_DEFAULT, \"epollshim_version\"); return puts(version()) < 0; }\n";
    fs::write(folder.join("version.c"), source).unwrap();
    let program = folder.join("version");
    done(Command::new("cc").arg("-o").arg(&program).arg(folder.join("version.c")).arg("-ldl"));
    let library = top.join("lib").join(LIBRARY);
    assert_eq!(
        text(Command::new(program).env("LD_PRELOAD", library).env("EPOLLSHIM_REPORT", "none")),
        format!("{VERSION}\n")
    );
    let header = fs::read_to_string(top.join("lib/pkgconfig/epollshim.pc")).unwrap();
    assert!(header.lines().any(|line| line == format!("Version: {VERSION}")), "{header}");
    if let Some(deb) = deb() {
        assert_eq!(text(Command::new("dpkg-deb").arg("-f").arg(deb).arg("Version")), format!("{VERSION}-1\n"));
    }
    if let Some(rpm) = rpm() {
        assert_eq!(
            text(Command::new("rpm").args(["-qp", "--qf", "%{version}-%{release}"]).arg(rpm)),
            format!("{VERSION}-1")
        );
    }
}

/// Paths of this machine that the compiler could have put into the binaries.
fn own_paths() -> Vec<String> {
    let home = std::env::var("HOME").unwrap();
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let sysroot = text(Command::new("rustc").args(["--print", "sysroot"]));
    let target = dist().parent().unwrap().to_owned();
    let paths = [root().to_str().unwrap(), target.to_str().unwrap(), &cargo, sysroot.trim_end()].map(str::to_owned);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end().to_owned();
    // A short host name such as `debian` could be part of any text.
    paths.into_iter().chain((host.len() > 8).then_some(host)).collect()
}

fn has(bytes: &[u8], word: &str) -> bool {
    // Searches for the first byte first, because the files have megabytes.
    let word = word.as_bytes();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == word[0]) {
        rest = &rest[at..];
        if rest.starts_with(word) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[test]
fn nothing_names_a_path_of_the_machine_that_built_it() {
    if !made() {
        return;
    }
    let paths = own_paths();
    let mut places = vec![unpacked()];
    let debug = scratch("debug");
    done(Command::new("tar").arg("-C").arg(&debug).arg("-xzf").arg(debug_tarball()));
    for name in files(&debug).iter().filter(|name| name.ends_with(".debug")) {
        // The sections with debug information are compressed.
        done(Command::new("objcopy").arg("--decompress-debug-sections").arg(debug.join(name)));
        let lines = text(Command::new("objdump").args(["--dwarf=info", "--dwarf-depth=1"]).arg(debug.join(name)));
        assert!(
            lines.contains(&format!("/usr/src/epollshim-{VERSION}")),
            "{name} has debug information with remapped paths"
        );
    }
    places.push(debug);
    let found: Vec<String> = places
        .iter()
        .flat_map(|place| files(place).into_iter().map(move |name| place.join(name)))
        .filter(|file| !file.is_symlink())
        .flat_map(|file| {
            let bytes = fs::read(&file).unwrap();
            let named = paths.iter().filter(|path| has(&bytes, path)).map(|path| format!("{}: {path}", file.display()));
            named.collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, [""; 0]);
}

fn build_id(file: &Path) -> String {
    let notes = text(Command::new("readelf").arg("-n").arg(file));
    notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).expect("a build id").to_owned()
}

#[test]
fn the_debug_files_are_found_by_build_id_and_by_name() {
    if !made() {
        return;
    }
    let debug = scratch("debug");
    done(Command::new("tar").arg("-C").arg(&debug).arg("--strip-components=1").arg("-xzf").arg(debug_tarball()));
    let top = unpacked();
    for name in ["bin/epollshim", "lib/libepollshim.so"] {
        let file = top.join(name);
        let id = build_id(&file);
        let link = format!("{}.debug", &id[2..]);
        let of_it = debug.join(".build-id").join(&id[..2]).join(&link);
        assert_eq!(build_id(&of_it), id);
        let sections = text(Command::new("readelf").arg("-SW").arg(&file));
        assert!(!sections.contains(".debug_info") && !sections.contains(".symtab"), "{name} is stripped: {sections}");
        let linked = text(Command::new("readelf").args(["-p", ".gnu_debuglink"]).arg(&file));
        assert!(linked.contains(&link), "{linked}");
        let sections = text(Command::new("readelf").arg("-SW").arg(&of_it));
        assert!(sections.contains(".debug_line") && sections.contains(".symtab"), "{sections}");
    }
    assert_eq!(files(&debug).len(), 2);
}

#[test]
fn the_sums_are_those_of_all_files() {
    if !made() {
        return;
    }
    done(Command::new("sha256sum").args(["--strict", "--quiet", "-c", "SHA256SUMS"]).current_dir(dist()));
    let sums = fs::read_to_string(dist().join("SHA256SUMS")).unwrap();
    let mut named: BTreeSet<String> =
        sums.lines().map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect();
    named.insert("SHA256SUMS".to_owned());
    assert_eq!(named, files(dist()));
}

/// The paths at which a package installs the files of the tarball, with compressed manual pages.
fn installed() -> BTreeSet<String> {
    let documents =
        documents().into_iter().chain(["LICENSE-MIT", "LICENSE-APACHE"].map(str::to_owned)).collect::<BTreeSet<_>>();
    let place = |name: String| match name.as_str() {
        "lib/libepollshim.so" => "usr/lib/epollshim/libepollshim.so".to_owned(),
        "lib/pkgconfig/epollshim.pc" => "usr/share/pkgconfig/epollshim.pc".to_owned(),
        page if page.contains("/man/") => format!("usr/{page}.gz"),
        page if documents.contains(page) => format!("usr/share/doc/epollshim/{page}"),
        other => format!("usr/{other}"),
    };
    without_optional(files(&unpacked())).into_iter().map(place).collect()
}

#[test]
fn the_deb_has_the_same_files_and_what_debian_requires_of_a_package() {
    if !made() || !have("dpkg-deb") {
        return;
    }
    let deb = deb().expect("a .deb");
    let stage = scratch("deb");
    done(Command::new("dpkg-deb").arg("-R").arg(&deb).arg(&stage));
    let mut expected = installed();
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(expected.remove(&format!("usr/share/doc/epollshim/{name}")));
    }
    assert!(expected.remove("usr/share/zsh/site-functions/_epollshim"));
    expected.extend(
        [
            "usr/share/zsh/vendor-completions/_epollshim",
            "usr/share/doc/epollshim/copyright",
            "usr/share/doc/epollshim/changelog.Debian.gz",
            "usr/share/lintian/overrides/epollshim",
            "DEBIAN/control",
            "DEBIAN/md5sums",
        ]
        .map(str::to_owned),
    );
    assert_eq!(without_optional(files(&stage)), expected);
    done(Command::new("md5sum").args(["--strict", "--quiet", "-c", "DEBIAN/md5sums"]).current_dir(&stage));
    let field = |name: &str| text(Command::new("dpkg-deb").arg("-f").arg(&deb).arg(name));
    assert_eq!(field("Architecture"), "amd64\n");
    // It depends on no other package, and on no newer glibc than the library needs.
    let library = stage.join("usr/lib/epollshim").join(LIBRARY);
    assert_eq!(field("Depends"), format!("libc6 (>= {})\n", newest_glibc(&library)));
    assert_eq!((field("Pre-Depends").trim(), field("Recommends").trim()), ("", ""));
}

#[test]
#[ignore = "takes half a minute: make test-dist"]
fn lintian_finds_no_error_in_the_deb() {
    let Some(deb) = made().then(deb).flatten() else { return };
    if have("lintian") {
        let output = Command::new("lintian").args(["--allow-root", "--fail-on", "error"]).arg(&deb).output().unwrap();
        assert!(output.status.success(), "{}", show(&output));
    }
}

/// The newest version of glibc that the imports of a library name.
fn newest_glibc(library: &Path) -> String {
    let symbols = text(Command::new("objdump").arg("-T").arg(library));
    let versions = symbols
        .split("GLIBC_")
        .skip(1)
        .map(|rest| rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap());
    versions
        .max_by_key(|version| version.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>())
        .unwrap()
        .to_owned()
}

#[test]
fn the_rpm_has_the_same_files_and_installs() {
    if !made() || !have("rpm") || !have("rpmbuild") {
        return;
    }
    let rpm = rpm().expect("an .rpm");
    let query = |what: &[&str]| text(Command::new("rpm").arg("-qp").args(what).arg(&rpm));
    let listed = query(&["--qf", "[%{filemodes:perms} %{filenames}\n]"]);
    let named =
        listed.lines().filter(|line| !line.starts_with('d')).map(|line| line.split_once(" /").unwrap().1.to_owned());
    assert_eq!(without_optional(named.collect()), installed());
    let checked = text(Command::new("rpm").arg("-Kv").arg(&rpm));
    assert!(checked.contains("Payload SHA256") && !checked.contains("BAD") && !checked.contains("NOT OK"), "{checked}");
    let host = query(&["--qf", "%{buildhost}"]);
    assert_eq!(host, "localhost");
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root can install a package into another root directory");
        return;
    }
    let other = scratch("rpm-root");
    done(Command::new("rpm").arg("--root").arg(&other).args(["--nodeps", "--ignorearch", "-i"]).arg(&rpm));
    let mut command = Command::new(other.join("usr/bin/epollshim"));
    let ran = command.args(["run", "--report=none", "--", "sh", "-c", "echo $LD_PRELOAD"]).output().unwrap();
    let library = format!("{}/usr/lib/epollshim/{LIBRARY}\n", fs::canonicalize(&other).unwrap().display());
    assert_eq!(String::from_utf8_lossy(&ran.stdout), library, "{}", show(&ran));
    done(Command::new("rpm").arg("--root").arg(&other).args(["-e", "epollshim"]));
    let left: Vec<String> = files(&other).into_iter().filter(|name| name.contains("epollshim")).collect();
    assert_eq!(left, [""; 0]);
    assert!(!other.join("usr/lib/epollshim").exists() && !other.join("usr/share/epollshim").exists());
}

#[test]
fn each_package_of_others_is_named_with_its_licence() {
    if !made() {
        return;
    }
    let listed = fs::read_to_string(unpacked().join("third-party.txt")).unwrap();
    for name in ["clap", "object", "iced-x86", "libc", "ratatui", "serde_json", "redhook", "once_cell"] {
        let of_it = listed.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(of_it.is_some_and(|line| line.ends_with(')')), "{name} is not listed");
    }
    assert!(listed.contains("THE SOFTWARE IS PROVIDED \"AS IS\""));
    assert!(!listed.contains("cbindgen") && !listed.contains("shuttle"), "what only tests use is not in the binaries");
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert_eq!(fs::read(unpacked().join(name)).unwrap(), fs::read(root().join(name)).unwrap());
    }
}

#[test]
fn each_cargo_package_of_this_project_has_the_same_licence() {
    let metadata =
        text(Command::new("cargo").args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root()));
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() >= 5);
    for package in packages {
        assert_eq!(package["license"], "MIT OR Apache-2.0", "{}", package["name"]);
    }
}

/// Runs `make dist` again in a clone of the last commit: two builds, in two directories.
#[test]
#[ignore = "builds everything again: make test-dist"]
fn two_builds_in_two_directories_have_the_same_bytes() {
    if !made() {
        return;
    }
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let here = sums(dist());
    let clone = scratch("clone").join("in-another-place/of-another-length");
    fs::create_dir_all(&clone).unwrap();
    done(Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(root()).arg(&clone));
    // The caller's umask, time zone and compiler flags must not change the result.
    let mut command = Command::new("sh");
    command.args(["-c", "umask 027; exec make dist"]).current_dir(&clone);
    command.env("RUSTFLAGS", "-Copt-level=0").env("TZ", "Asia/Tokyo");
    for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CARGO_TARGET_DIR", "SOURCE_DATE_EPOCH", "EPOLLSHIM_COMMIT"] {
        command.env_remove(name);
    }
    done(&mut command);
    let there = sums(&clone.join("target/dist"));
    eprintln!("{there}");
    assert_eq!(here, there, "(what is not committed is not in the clone)");
    fs::remove_dir_all(&clone).unwrap();
}
