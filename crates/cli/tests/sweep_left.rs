//! Tests that `epollshim sweep` leaves nothing behind when it is interrupted or killed, with any
//! kind of isolation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{binary, copy, library, scratch, tool, until};

/// Words before a command that run it as another user.
const AS_NOBODY: &[&str] = &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
/// Words before a command that prevent namespaces.
const WITHOUT_NAMESPACES: &[&str] = &[
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all \"$@\"",
    "sh",
];

fn is_root() -> bool {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The number of processes that run this program.
fn running(program: &Path) -> usize {
    let is_ours = |command: &[u8]| command.starts_with(program.as_os_str().as_encoded_bytes());
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| is_ours(&line))).count()
}

/// A directory that other users may read. The test's own may be below root's home.
fn public(name: &str) -> PathBuf {
    let place = PathBuf::from(format!("/tmp/epollshim-left-test.{name}.{}", std::process::id()));
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    place
}

/// Ends a sweep by a signal during a run that would not end by itself.
fn nothing_is_left(name: &str, before: &[&str], flags: &[&str], signal: i32) {
    let place = public(&format!("{name}.{signal}"));
    let (program, own) = (place.join("sleeps"), place.join("epollshim"));
    copy(tool("sleep").unwrap(), &program);
    copy(binary(), &own);
    copy(library(), place.join("libepollshim.so"));
    let folders = place.join("folders");
    fs::create_dir(&folders).unwrap();
    fs::set_permissions(&folders, fs::Permissions::from_mode(0o777)).unwrap();
    let own = own.to_str().unwrap();
    let words = [before, &[own, "sweep", "--timeout", "86400", "--shim"]].concat();
    let mut sweep = Command::new(words[0]);
    sweep.args(&words[1..]).arg(place.join("libepollshim.so")).args(flags).arg("--").arg(&program).arg("86400");
    sweep.env_remove("LD_PRELOAD").env("TMPDIR", &folders).current_dir(scratch("left"));
    let mut sweep = sweep.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("a run", || {
        assert!(sweep.try_wait().unwrap().is_none(), "{name}: it has ended by itself");
        (running(&program) > 0).then_some(())
    });
    // SAFETY: the child is not waited for yet.
    assert_eq!(unsafe { libc::kill(sweep.id() as i32, signal) }, 0);
    assert_eq!(sweep.wait().unwrap().signal(), Some(signal), "{name}");
    until("its end", || (running(&program) == 0).then_some(()));
    until("its folder's end", || (fs::read_dir(&folders).unwrap().count() == 0).then_some(()));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(place.to_str().unwrap()), "{mounts}");
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn nothing_is_left_of_a_sweep_that_is_interrupted_or_killed() {
    for signal in [libc::SIGINT, libc::SIGKILL] {
        nothing_is_left("own", &[], &[], signal);
        nothing_is_left("network", &[], &["--share-network"], signal);
    }
}

#[test]
fn nothing_is_left_of_a_sweep_of_a_user_without_rights_or_namespaces() {
    if !is_root() || tool("setpriv").is_none() {
        return;
    }
    for signal in [libc::SIGINT, libc::SIGKILL] {
        nothing_is_left("nobody", AS_NOBODY, &[], signal);
        nothing_is_left("none", &[AS_NOBODY, WITHOUT_NAMESPACES].concat(), &[], signal);
    }
}
