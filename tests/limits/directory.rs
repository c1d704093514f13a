//! `EPOLLSHIM_SESSION`: which directories are accepted and which are refused. A bad one is reported
//! before main.

use super::*;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use testkit::skipped;

/// Runs `limit_rows instances` in this session, under a limit of the user.
fn in_session(directory: impl AsRef<OsStr>) -> Output {
    let mut command = Command::new(c_program("limit_rows"));
    command.arg("instances").env("EPOLLSHIM_SESSION", directory);
    user_limit(&mut command).output().expect("the program starts")
}

fn user_limit(command: &mut Command) -> &mut Command {
    command
        .env("EPOLLSHIM_LIMIT", "user-instances=3")
        .env("EPOLLSHIM_REPORT", "none")
        .env("LD_PRELOAD", testkit::shim())
}

/// Asserts that the program did not start: status 2, and one line that names the option and the
/// reason.
#[track_caller]
fn refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(2), "{}", show(output));
    assert!(output.stdout.is_empty(), "main ran: {}", show(output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.lines().count() == 1 && stderr.contains("EPOLLSHIM_SESSION") && stderr.contains(why), "{stderr}");
}

fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and has no arguments.
    unsafe { libc::geteuid() == 0 }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o7777
}

#[test]
fn a_session_is_made_for_its_user_alone() {
    let directory = scratch("session").join("new");
    assert!(in_session(&directory).status.success());
    assert_eq!((mode(&directory), mode(&directory.join("limits.1"))), (0o700, 0o600));
    assert!(in_session(&directory).status.success(), "it exists already");
    // A readable directory is not dangerous.
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    assert!(in_session(&directory).status.success());
}

#[test]
fn a_directory_that_others_may_write_is_refused_before_main() {
    for mode in [0o770, 0o702, 0o777, 0o1777] {
        let directory = scratch("session");
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        refused(&in_session(&directory), "chmod 700");
        assert!(!directory.join("limits.1").exists());
    }
}

#[test]
fn a_session_that_is_no_directory_is_refused_before_main() {
    let directory = scratch("session");
    let file = directory.join("file");
    fs::write(&file, "").unwrap();
    refused(&in_session(&file), "ENOTDIR");
    refused(&in_session(directory.join("none/below")), "ENOENT");
    refused(&in_session("/dev/null"), "ENOTDIR");
    refused(&in_session(""), "");
    let ignored = Command::new(c_program("limit_rows"))
        .arg("none")
        .env("EPOLLSHIM_LIMIT", "user-instances=0")
        .env("EPOLLSHIM_SESSION", &file)
        .env("EPOLLSHIM_ON_BAD_CONFIG", "ignore")
        .env("LD_PRELOAD", testkit::shim())
        .output()
        .unwrap();
    assert_eq!(ignored.status.code(), Some(1), "it runs without a limit: {}", show(&ignored));
    assert!(String::from_utf8_lossy(&ignored.stderr).contains("EPOLLSHIM_SESSION"), "{}", show(&ignored));
}

#[test]
fn another_users_directory_is_refused_before_main() {
    if !is_root() {
        return skipped("not root: cannot give a directory to another user", false);
    }
    let directory = scratch("session");
    std::os::unix::fs::chown(&directory, Some(65534), None).unwrap();
    refused(&in_session(&directory), "must belong to this user");
    let directory = scratch("session");
    fs::write(directory.join("limits.1"), "").unwrap();
    std::os::unix::fs::chown(directory.join("limits.1"), Some(65534), None).unwrap();
    refused(&in_session(&directory), "must belong to this user");
}

#[test]
fn a_file_of_another_kind_is_reported_without_a_crash() {
    for content in [&b"this is no session of epollshim's"[..], &[0xff; 600_000], &[0, 0, 0, 0, 0, 0, 0, 1]] {
        let directory = scratch("session");
        fs::write(directory.join("limits.1"), content).unwrap();
        refused(&in_session(&directory), "another epollshim version");
    }
    let directory = scratch("session");
    std::os::unix::fs::symlink("/dev/null", directory.join("limits.1")).unwrap();
    refused(&in_session(&directory), "ELOOP");
    let directory = scratch("session");
    fs::create_dir(directory.join("limits.1")).unwrap();
    refused(&in_session(&directory), "EISDIR");
    // A valid header, and random bytes after it: the counts may be wrong, but nothing crashes.
    let directory = scratch("session");
    assert!(in_session(&directory).status.success());
    let file = directory.join("limits.1");
    let mut bytes = fs::read(&file).unwrap();
    let mut state = 1u64;
    for byte in &mut bytes[16..] {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    fs::write(&file, bytes).unwrap();
    let output = in_session(&directory);
    assert!(matches!(output.status.code(), Some(0 | 1)), "a damaged count may be wrong, not fatal: {}", show(&output));
}

/// A read-only file system and a full one, which the test mounts.
#[test]
fn a_read_only_or_full_file_system_is_refused_before_main() {
    let at = scratch("session");
    for (options, prepare, why) in [("size=64k", "true", "ENOSPC"), ("size=4m", "mount -o remount,ro \"$0\"", "EROFS")]
    {
        let script =
            format!("mount -t tmpfs -o {options},mode=700 none \"$0\" && {prepare} || exit 77; shift 0; exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).arg(&at);
        // Only the program itself must run under the shim.
        command.args(["env", &format!("LD_PRELOAD={}", testkit::shim().display())]);
        command.arg(c_program("limit_rows")).arg("instances");
        command
            .env("EPOLLSHIM_SESSION", &at)
            .env("EPOLLSHIM_LIMIT", "user-instances=3")
            .env("EPOLLSHIM_REPORT", "none");
        let Ok(output) = command.output() else { return skipped("unshare(1) is not installed", false) };
        if matches!(output.status.code(), Some(1 | 77)) && output.stdout.is_empty() {
            return skipped(
                &format!("cannot mount a file system: {}", String::from_utf8_lossy(&output.stderr)),
                !is_root(),
            );
        }
        refused(&output, why);
    }
}

/// A directory that everybody may read, with the shim and a program in it. It is removed at the
/// end.
struct Public(PathBuf);

impl Public {
    fn new(name: &str) -> Public {
        let path = PathBuf::from(format!("/tmp/epollshim-test-{name}-{}", std::process::id()));
        // Left by a killed run whose process id this process has now.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        let public = Public(path);
        fs::set_permissions(&public.0, Permissions::from_mode(0o755)).unwrap();
        for (from, to) in [(testkit::shim(), "shim.so"), (c_program("limit_rows"), "program")] {
            testkit::copy(from, public.0.join(to));
            fs::set_permissions(public.0.join(to), Permissions::from_mode(0o755)).unwrap();
        }
        public
    }

    /// Runs `limit_rows instances` as this user, in the default session. `runtime` is
    /// XDG_RUNTIME_DIR.
    fn run(&self, user: u32, runtime: Option<&Path>) -> Output {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(self.0.join("program"));
        command.arg("instances").current_dir("/").env_remove("EPOLLSHIM_SESSION").env_remove("XDG_RUNTIME_DIR");
        user_limit(&mut command).env("LD_PRELOAD", self.0.join("shim.so"));
        if let Some(runtime) = runtime {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        if is_root() {
            command.uid(user).gid(user);
        }
        command.output().unwrap()
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn by_default_the_session_is_in_the_users_runtime_directory() {
    let public = Public::new("runtime");
    let runtime = scratch("runtime");
    // SAFETY: getuid cannot fail and has no arguments.
    let output = public.run(unsafe { libc::getuid() }, Some(&runtime));
    assert!(output.status.success(), "{}", show(&output));
    assert_eq!(mode(&runtime.join("epollshim")), 0o700);
    assert!(runtime.join("epollshim/limits.1").exists());
}

#[test]
fn each_user_has_a_session_of_his_own() {
    if !is_root() {
        return skipped("not root: only one user is available", false);
    }
    let public = Public::new("users");
    let users = [54_321, 54_322].map(|user| (user, PathBuf::from(format!("/tmp/epollshim-{user}"))));
    for (user, directory) in &users {
        let _ = fs::remove_dir_all(directory);
        let output = public.run(*user, None);
        assert!(output.status.success(), "{user}: {}", show(&output));
        assert_eq!(mode(directory), 0o700);
        // A relative runtime directory is ignored (XDG Base Directory Specification).
        assert!(public.run(*user, Some(Path::new("relative"))).status.success());
    }
    users.iter().for_each(|(_, directory)| fs::remove_dir_all(directory).unwrap());
}

/// If a directory, a file or a symbolic link of that name exists, another name is used, and one
/// line names it.
#[test]
fn a_default_session_of_another_user_is_ignored() {
    if !is_root() {
        return skipped("not root: only one user is available", false);
    }
    let public = Public::new("foreign");
    let (user, other) = (54_323, 54_324);
    let usual = PathBuf::from(format!("/tmp/epollshim-{user}"));
    let instead = PathBuf::from(format!("/tmp/epollshim-{user}.1"));
    let makers: [&dyn Fn(); 3] = [&|| fs::create_dir(&usual).unwrap(), &|| fs::write(&usual, "").unwrap(), &|| {
        std::os::unix::fs::symlink(&public.0, &usual).unwrap()
    }];
    let clear = || {
        let _ = fs::remove_dir_all(&instead);
        let _ = fs::remove_file(&usual).or_else(|_| fs::remove_dir_all(&usual));
    };
    for (number, make) in makers.iter().enumerate() {
        clear();
        make();
        std::os::unix::fs::lchown(&usual, Some(other), Some(other)).unwrap();
        let output = public.run(user, None);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let has_session = instead.join("limits.1").exists();
        // Later processes use the other directory too, once it exists.
        let _ = fs::remove_file(&usual).or_else(|_| fs::remove_dir_all(&usual));
        let second = public.run(user, None);
        let is_new = usual.exists();
        clear();
        assert!(output.status.success() && has_session, "{number}: {}", show(&output));
        assert_eq!(stderr.lines().count(), 1, "{number}: {stderr}");
        for word in ["EPOLLSHIM_SESSION", "/tmp/epollshim-54323'", "/tmp/epollshim-54323.1'"] {
            assert!(stderr.contains(word), "{number}: {stderr}");
        }
        assert!(second.status.success() && !is_new, "{number}: {}", show(&second));
    }
}
