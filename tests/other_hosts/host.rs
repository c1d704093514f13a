//! Another host: a root directory with its own C library, in which a test's programs are compiled
//! and run.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::sync::{Mutex, OnceLock};

use testkit::place::Place;
use testkit::{installed, skipped};
use testkit::{root, scratch, shim, show, target};

pub struct Host {
    pub name: &'static str,
    /// Its root directory, made by scripts/host-root.
    pub root: PathBuf,
    compiler: Compiler,
    /// What was compiled, by source and flags.
    compiled: Mutex<HashMap<(String, String), PathBuf>>,
}

enum Compiler {
    /// The host's own gcc, or that of another host with the same C library.
    Gcc(PathBuf),
    /// musl-gcc of this machine, for its headers and its start files: a host for musl has only the
    /// loader.
    Musl(PathBuf),
}

/// The files that are tested: those of `make dist`, unpacked in the directory that `HOSTS_FILES`
/// names, or those in target/.
pub struct Files {
    pub library: PathBuf,
    /// The command. None if it is not static: the command that `cargo build` makes needs this
    /// machine's C library.
    pub command: Option<PathBuf>,
}

pub fn files() -> Files {
    if let Some(unpacked) = std::env::var_os("HOSTS_FILES").filter(|name| !name.is_empty()) {
        let found = |name: &str| {
            let output = Command::new("find").arg(&unpacked).args(["-type", "f", "-name", name]).output().unwrap();
            let list = String::from_utf8(output.stdout).unwrap();
            let mut paths = list
                .lines()
                .filter(|path| ["lib", "bin"].iter().any(|place| path.ends_with(&format!("/{place}/{name}"))));
            PathBuf::from(paths.next().unwrap_or_else(|| panic!("no {name} below {}", unpacked.display())))
        };
        return Files { library: found("libepollshim.so"), command: Some(found("epollshim")) };
    }
    let library = shim();
    let release = library.with_file_name("epollshim");
    // The last result of `make dist`, unless the source is newer.
    let packaged = testkit::target().join("package/files/epollshim");
    let command = [release, packaged].into_iter().find(|path| is_static(path) && is_newer_than_its_source(path));
    Files { library, command }
}

/// An ELF file that names no loader.
fn is_static(path: &Path) -> bool {
    let Ok(output) = Command::new("readelf").args(["-lW"]).arg(path).output() else { return false };
    output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("INTERP")
}

fn is_newer_than_its_source(path: &Path) -> bool {
    let mut newer = Command::new("find");
    newer.args(["crates", "src", "-name", "*.rs", "-newer"]).arg(path).current_dir(root());
    newer.output().is_ok_and(|output| output.status.success() && output.stdout.is_empty())
}

impl Host {
    /// Returns None, and prints why, if the host cannot be made: no root, no mmdebstrap, or no
    /// mirror.
    pub fn get(name: &'static str) -> Option<&'static Host> {
        type Made = (&'static str, &'static OnceLock<Result<Host, String>>);
        static MADE: Mutex<Vec<Made>> = Mutex::new(Vec::new());
        let cell = {
            let mut made = MADE.lock().unwrap();
            match made.iter().find(|(other, _)| *other == name) {
                Some((_, cell)) => *cell,
                None => {
                    let cell: &'static OnceLock<_> = Box::leak(Box::default());
                    made.push((name, cell));
                    cell
                }
            }
        };
        match cell.get_or_init(|| Host::make(name)) {
            Ok(host) => Some(host),
            // Also with NO_SKIP: a package that cannot be downloaded, or a call that the container
            // forbids, is not an error here.
            Err(why) => {
                skipped(why, true);
                None
            }
        }
    }

    fn make(name: &'static str) -> Result<Host, String> {
        if name == "no-libgcc" && Host::get("bookworm").is_none() {
            return Err("it is made from bookworm".to_owned());
        }
        let roots = target().join("hosts");
        let directory = roots.join(name);
        let output = Command::new(root().join("scripts/host-root")).arg(name).arg(&directory).output().unwrap();
        if output.status.code() == Some(75) {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        assert!(output.status.success(), "scripts/host-root {name}: {}", show(&output));
        let compiler = match name {
            _ if name.starts_with("musl") => match installed(["musl-gcc"]) {
                Some([gcc]) => Compiler::Musl(gcc),
                None => return Err("musl-gcc is not installed".to_owned()),
            },
            "no-libgcc" => Compiler::Gcc(roots.join("bookworm")),
            _ => Compiler::Gcc(directory.clone()),
        };
        let host = Host { name, root: directory, compiler, compiled: Mutex::default() };
        match host.command(Path::new("/bin/true")).status() {
            Ok(_) => Ok(host),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err("this machine allows no mounts, with which a program is started in another root".to_owned())
            }
            Err(error) => panic!("{name}: no program starts there: {error}"),
        }
    }

    /// Starts a program with the mounts of a process that runs there. (`ctl` opens the recording
    /// that the process has mapped.)
    pub fn command_beside(&self, pid: i32, program: &Path) -> Command {
        let namespace = CString::new(format!("/proc/{pid}/ns/mnt")).unwrap();
        let new_root = c_string(&self.root);
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let enter = move || {
            let done = |result: libc::c_int| if result >= 0 { Ok(result) } else { Err(io::Error::last_os_error()) };
            // SAFETY: each pointer is to a string that the closure owns.
            unsafe {
                let descriptor = done(libc::open(namespace.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC))?;
                done(libc::setns(descriptor, libc::CLONE_NEWNS))?;
                done(libc::chroot(new_root.as_ptr()))?;
                done(libc::chdir(c"/".as_ptr())).map(|_| ())
            }
        };
        // SAFETY: between fork and exec `enter` only makes system calls, with strings that were
        // allocated before the fork, and allocates nothing.
        unsafe { command.pre_exec(enter) };
        command
    }

    pub fn is_musl(&self) -> bool {
        matches!(self.compiler, Compiler::Musl(_))
    }

    /// Runs a program of the host, which must succeed. Returns its output.
    pub fn output(&self, words: &str) -> String {
        let mut words = words.split(' ');
        let mut command = self.command(Path::new(words.next().unwrap()));
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{}: {command:?}: {}", self.name, show(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn compile(&self, name: &str, flags: &[&str]) -> PathBuf {
        let source = root().join("c-tests").join(format!("{name}.c"));
        let binary = scratch("cc").join(Path::new(name).file_name().unwrap());
        let mut cc = match &self.compiler {
            Compiler::Gcc(root) => inside(root, Path::new("gcc")),
            Compiler::Musl(gcc) => {
                let mut cc = Command::new(gcc);
                cc.arg("-isystem").arg(kernel_headers());
                cc
            }
        };
        // Without warnings: the programs are compiled with warnings on this machine.
        cc.args(["-std=gnu11", "-O1", "-g", "-w", "-pthread", "-I"]).arg(root().join("include"));
        cc.arg("-include").arg(root().join("c-tests/older_libc.h"));
        let output = cc.arg("-o").arg(&binary).arg(&source).args(flags).args(["-ldl", "-rdynamic"]).output().unwrap();
        assert!(output.status.success(), "cc {}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
        binary
    }
}

impl Place for Host {
    fn c_program(&self, name: &str, flags: &[&str]) -> PathBuf {
        let key = (name.to_owned(), flags.join(" "));
        if let Some(binary) = self.compiled.lock().unwrap().get(&key) {
            return binary.clone();
        }
        let binary = self.compile(name, flags);
        self.compiled.lock().unwrap().insert(key, binary.clone());
        binary
    }

    fn command(&self, program: &Path) -> Command {
        inside(&self.root, program)
    }

    fn library(&self) -> PathBuf {
        files().library
    }

    /// Call stacks need glibc 2.35 and libgcc_s.
    fn has_stacks(&self) -> bool {
        !self.is_musl() && !["bullseye", "no-libgcc"].contains(&self.name)
    }

    /// glibc 2.31 and musl 1.2 lack the functions that glibc 2.34 and 2.35 added. In glibc,
    /// `pthread_exit` needs libgcc_s.
    fn lacks(&self, function: &str) -> bool {
        match function {
            "close_range" | "closefrom" | "execveat" | "epoll_pwait2" => self.is_musl() || self.name == "bullseye",
            "pthread_exit" => self.name == "no-libgcc",
            _ => false,
        }
    }
}

/// A folder with the kernel's headers only: musl-gcc does not search the folder with glibc's
/// headers.
fn kernel_headers() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch("kernel-headers");
        for name in ["linux", "asm-generic", "asm"] {
            let places = ["/usr/include", "/usr/include/x86_64-linux-gnu"].map(|place| Path::new(place).join(name));
            let place = places.into_iter().find(|place| place.is_dir()).expect("the kernel's headers");
            std::os::unix::fs::symlink(place, folder.join(name)).unwrap();
        }
        folder
    })
}

/// Directories of this machine that are mounted in a host at the same path: the project, its build
/// folder, and the kernel's file systems.
fn mounted() -> Vec<PathBuf> {
    let target = target();
    let mut all = vec![PathBuf::from("/proc"), PathBuf::from("/dev"), root()];
    if !target.starts_with(root()) {
        all.push(target);
    }
    all
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap())
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// A command that starts `program` with `root` as its root directory, in a mount namespace of its
/// own: the mounts go away when it and its children have ended, however they end. Its environment
/// contains only PATH.
fn inside(root_directory: &Path, program: &Path) -> Command {
    let mounts: Vec<_> =
        mounted().iter().map(|path| (c_string(path), c_string(&below(root_directory, path)))).collect();
    // The ancestors of each, outermost first: the project may be below /tmp, which is empty in the
    // host.
    let ancestors = mounted().into_iter().flat_map(|path| {
        let ancestors: Vec<_> =
            path.ancestors().filter(|part| *part != Path::new("/")).map(Path::to_path_buf).collect();
        ancestors.into_iter().rev().map(|part| c_string(&below(root_directory, &part)))
    });
    let directories: Vec<_> = ancestors.collect();
    let temporary = c_string(&root_directory.join("tmp"));
    let (new_root, directory) = (c_string(root_directory), c_string(&root()));
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let enter = move || {
        let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        let null = ptr::null::<libc::c_char>();
        let bind = libc::MS_BIND | libc::MS_REC;
        // SAFETY: each pointer is to a string that the closure owns, or null where mount(2) reads
        // no string.
        unsafe {
            done(libc::unshare(libc::CLONE_NEWNS))?;
            done(libc::mount(null, c"/".as_ptr(), null, libc::MS_REC | libc::MS_PRIVATE, ptr::null()))?;
            done(libc::mount(c"tmpfs".as_ptr(), temporary.as_ptr(), c"tmpfs".as_ptr(), 0, ptr::null()))?;
            for directory in &directories {
                // Most of these directories exist already.
                let _ = libc::mkdir(directory.as_ptr(), 0o755);
            }
            for (from, to) in &mounts {
                done(libc::mount(from.as_ptr(), to.as_ptr(), null, bind, ptr::null()))?;
            }
            done(libc::chroot(new_root.as_ptr()))?;
            done(libc::chdir(directory.as_ptr()))
        }
    };
    // SAFETY: between fork and exec `enter` only makes system calls, with strings that were
    // allocated before the fork, and allocates nothing.
    unsafe { command.pre_exec(enter) };
    command
}
