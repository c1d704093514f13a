//! The .deb of `make dist` on a host without Rust: it is installed, used and removed. Part of `make
//! test-hosts`: needs root, and packages from Debian's mirror.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "dist/packages.rs"]
mod packages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::{root, scratch, show, skipped};

/// The root directory of a Debian with redis-server, or why there is none. Tests share it: nothing
/// is written there.
fn host(suite: &str) -> Result<PathBuf, String> {
    let directory = packages::dist().parent().unwrap().join("hosts").join(suite);
    let output =
        Command::new("bash").arg(root().join("scripts/host-root")).arg(suite).arg(&directory).output().unwrap();
    if output.status.success() {
        Ok(directory)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}

/// Runs a shell script as root in a copy of the host, which is deleted afterwards. `files` are in
/// /given there. The only network is loopback.
fn on(host: &Path, files: &[PathBuf], script: &str) -> Output {
    let place = scratch("host");
    let given = place.join("given");
    fs::create_dir_all(&given).unwrap();
    files.iter().for_each(|file| testkit::copy(file, &given));
    fs::write(given.join("script"), script).unwrap();
    let enter = r#"set -e
        mount -t tmpfs none "$1"
        mkdir "$1/changed" "$1/work" "$1/root"
        mount -t overlay none -o "lowerdir=$2,upperdir=$1/changed,workdir=$1/work" "$1/root"
        mkdir -p "$1/root/given" "$1/root/proc" "$1/root/dev" "$1/root/tmp"
        mount --bind "$3" "$1/root/given"
        mount -t proc none "$1/root/proc"
        mount --rbind /dev "$1/root/dev"
        ip link set lo up
        exec chroot "$1/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -e /given/script"#;
    let mountpoint = place.join("root");
    fs::create_dir_all(&mountpoint).unwrap();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "300", "unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", enter, "sh"]);
    command.arg(mountpoint).arg(host).arg(given).output().unwrap()
}

/// The files of the host, without the package manager's own lists, logs and caches.
const LIST: &str = r#"list() {
    find / -xdev -path /given -prune -o -path /proc -prune -o -path /dev -prune -o -print |
        grep -v -e '^/var/log/' -e '^/var/lib/dpkg/' -e '^/tmp/list' -e '^/var/cache/' | sort
}
"#;

fn a_package_is_installed_used_and_removed(suite: &str) {
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return skipped("only root can make the root directory of another host", false);
    }
    if !packages::made() {
        return;
    }
    let Some(deb) = packages::deb() else { return skipped("make dist made no .deb", false) };
    let host = match host(suite) {
        Ok(host) => host,
        Err(why) => return skipped(&why, false),
    };
    let run = |script: &str| {
        let output = on(&host, std::slice::from_ref(&deb), &format!("{LIST}{script}"));
        assert!(output.status.success(), "{suite}: {}", show(&output));
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    // `-r` and `-P`: the package has no configuration files, so both must leave nothing.
    for remove in ["-r", "-P"] {
        let script = r#"
            ! command -v rustc
            list >/tmp/list.before
            dpkg -i /given/*.deb
            epollshim --version
            epollshim check redis-server | head -n 1
            epollshim run -o /tmp/report -- redis-server --port 7000 --bind 127.0.0.1 --save '' --daemonize no >/tmp/log &
            i=0; until redis-cli -p 7000 ping 2>/dev/null | grep PONG; do i=$((i+1)); [ $i -lt 600 ]; sleep 0.1; done
            redis-cli -p 7000 set key value
            redis-cli -p 7000 shutdown nosave
            wait $!
            cat /tmp/report
            rm /tmp/report /tmp/log
            dpkg REMOVE epollshim
            list >/tmp/list.after
            diff /tmp/list.before /tmp/list.after && echo nothing is left"#;
        let text = run(&script.replace("REMOVE", remove));
        for line in ["seen: all of its epoll calls go through libc\n", "PONG\n", "\n  epoll_wait ", "nothing is left\n"]
        {
            assert!(text.contains(line), "{suite}: {line:?} is missing in {text}");
        }
        assert!(text.contains(&format!("epollshim {} (", packages::VERSION)), "{text}");
    }
}

#[test]
#[ignore = "makes the root of another host: make test-hosts"]
fn on_bookworm_the_deb_is_installed_used_and_removed() {
    a_package_is_installed_used_and_removed("bookworm");
}

#[test]
#[ignore = "makes the root of another host: make test-hosts"]
fn on_bullseye_the_deb_is_installed_used_and_removed() {
    a_package_is_installed_used_and_removed("bullseye");
}

#[test]
#[ignore = "makes the root of another host: make test-hosts"]
fn on_trixie_the_deb_is_installed_used_and_removed() {
    a_package_is_installed_used_and_removed("trixie");
}

#[test]
#[ignore = "makes the root of another host: make test-hosts"]
fn on_sid_the_deb_is_installed_used_and_removed() {
    a_package_is_installed_used_and_removed("sid");
}
