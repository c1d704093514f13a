//! The samples of docs/tools.md, docs/hosts.md, docs/packages.md and docs/comparison.md.

use testkit::{compile, have, root, stdout};

use super::shell::Shell;
use crate::{epollshim, leak};

const TOOLS: &str = "docs/tools.md";

/// A shell with `./leak`, compiled with more flags. None: the compiler has no such sanitizer.
fn shell(flags: &[&str]) -> Shell {
    let shell = Shell::new();
    let source = root().join("examples/guide/leak.c");
    shell.program("leak", &compile::program("cc", &["-g"], &source, flags).unwrap());
    shell
}

#[test]
fn a_program_runs_under_valgrind() {
    if have("valgrind") {
        let shell = shell(&[]);
        shell.runs(TOOLS, "$ LD_PRELOAD=/usr/local/lib/libepollshim.so EPOLLSHIM_CENSUS=1 valgrind");
        shell.runs(TOOLS, "$ EPOLLSHIM_REPORT=report.%p valgrind");
        shell.runs(TOOLS, "$ valgrind --suppressions=");
    }
}

#[test]
fn a_program_with_a_sanitizer_runs() {
    shell(&["-fsanitize=thread"]).runs(TOOLS, "$ TSAN_OPTIONS=suppressions=");
    let shell = shell(&["-fsanitize=address"]);
    shell.runs(TOOLS, "$ LD_PRELOAD=/usr/local/lib/libepollshim.so ./leak");
    shell.runs(TOOLS, "$ ASAN_OPTIONS=verify_asan_link_order=0");
}

#[test]
fn a_program_for_musl_is_checked() {
    if have("musl-gcc") {
        let mut shell = Shell::new();
        shell.replace("examples/guide/leak.c", root().join("examples/guide/leak.c").to_str().unwrap());
        shell.runs("docs/hosts.md", "$ musl-gcc -o leak-musl");
    }
}

#[test]
fn the_command_names_its_version() {
    // Without git it does not know the commit.
    let real = stdout(&epollshim().arg("--version").output().unwrap());
    let mut shell = Shell::new();
    shell.replace("epollshim 0.1.0 (62603c99a44c)", real.trim_end());
    shell.runs("docs/packages.md", "$ epollshim --version");
}

#[test]
fn other_tools_show_the_leak() {
    let page = "docs/comparison.md";
    let mut shell = Shell::new();
    shell.program("leak", &leak().join("leak"));
    let folder = shell.folder.to_str().unwrap().to_owned();
    shell.replace("/tmp/tour", &folder);
    if have("valgrind") {
        shell.runs(page, "$ valgrind --track-fds=yes ./leak");
    }
    if have("strace") {
        shell.runs(page, "$ strace -f -k -e trace=openat,close ./leak");
    }
}
