//! Gathers facts: on a program from its file and its libraries, on a process from what it has
//! mapped.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::calls::Calls;
use super::code::{self, Passed, Site};
use super::libraries::{self, Missing};
use super::process::{self, Process};
use crate::elf::{self, Elf, Header, Kind, Unreadable};
use crate::privilege::{self, Privilege};
use crate::program::{self, Target};
use crate::text::{base, reason, shown};
use crate::{Failure, USAGE};

pub struct Facts {
    /// The file of the program.
    pub path: PathBuf,
    /// The scripts that led to it.
    pub scripts: Vec<PathBuf>,
    pub header: Header,
    /// None: not for x86-64.
    pub elf: Option<Elf>,
    pub privilege: Option<Privilege>,
    /// The program and its libraries.
    pub objects: Vec<Object>,
    pub missing: Vec<Missing>,
    /// None: the subject is a file.
    pub process: Option<Process>,
}

/// A file in the memory of the program.
pub struct Object {
    pub name: String,
    pub path: PathBuf,
    pub is_program: bool,
    /// The C library or the loader. Its system calls are the implementation of functions that the
    /// shim interposes.
    pub is_libc: bool,
    pub is_go: bool,
    pub has_sections: bool,
    pub calls: Calls,
    /// Direct system calls. Empty for the C library.
    pub sites: Vec<Site>,
    /// What it seems to pass to `syscall()`, or to a function of its own that makes any system
    /// call.
    pub passed: Passed,
    pub needs_liburing: bool,
}

pub fn gather(subject: &OsStr) -> Result<Facts, Failure> {
    if !subject.is_empty() && subject.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
        let word = shown(subject);
        let pid = word.parse().ok().filter(|pid| *pid > 0);
        return of_process(pid.ok_or_else(|| Failure::usage(format!("{word}: not a process id")))?);
    }
    let word = shown(subject);
    let no_file = || Failure::usage(format!("{word}: no such file, and no such program in PATH"));
    // As a user types it: a file here, or a command in PATH.
    let path = Some(PathBuf::from(subject)).filter(|path| path.is_file()).or_else(|| program::find(subject));
    of_file(&path.ok_or_else(no_file)?)
}

fn unreadable(path: &Path, error: &Unreadable) -> Failure {
    let why = match error {
        Unreadable::System(error) => reason(error),
        Unreadable::Format(why) => (*why).to_string(),
    };
    Failure { status: USAGE, text: format!("{}: {why}", shown(path)) }
}

/// Gathers facts on a file that is to be executed.
pub fn of_file(path: &Path) -> Result<Facts, Failure> {
    let Target { path: mut file, mut header, mut scripts } =
        program::follow(path).map_err(|(path, error)| unreadable(&path, &error))?;
    // The kernel's limit for scripts. Two scripts may name each other.
    for _ in 0..5 {
        let next = scripts.last().filter(|_| program::is_shell(&file)).and_then(|script| program::becomes(script));
        let Some(next) = next.and_then(|next| program::follow(&next).ok()) else { break };
        scripts.extend(next.scripts);
        (file, header) = (next.path, next.header);
    }
    if !header.is_loadable() {
        return Err(unreadable(&file, &Unreadable::Format("not a program: an object file or a core file")));
    }
    let mut facts = Facts {
        privilege: privilege::of(&file),
        path: file,
        scripts,
        header,
        elf: None,
        objects: Vec::new(),
        missing: Vec::new(),
        process: None,
    };
    if header.is_native() {
        let elf = elf::read_file(&facts.path).map_err(|error| unreadable(&facts.path, &error))?;
        facts.objects.push(object(base(&facts.path), &facts.path, &elf, true));
        if matches!(elf.kind, Kind::Dynamic | Kind::Library) {
            let (libraries, missing) = libraries::needed(&facts.path, &elf);
            facts.missing = missing;
            for library in libraries {
                facts.objects.push(object(library.name, &library.path, &library.elf, false));
            }
        }
        facts.elf = Some(elf);
    }
    Ok(facts)
}

fn of_process(pid: u32) -> Result<Facts, Failure> {
    let failed = |why: String| Failure::usage(format!("process {pid}: {why}"));
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    if !Path::new(&format!("/proc/{pid}")).exists() {
        return Err(failed("no such process".into()));
    }
    let path = std::fs::read_link(&link).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed("it has no program: it is a kernel thread, or has ended".into()),
        _ => failed(reason(&error)),
    })?;
    let header = elf::header(&link).map_err(|error| unreadable(&link, &error))?;
    let mapped = process::mapped(pid).map_err(|error| failed(reason(&error)))?;
    let mut facts = Facts {
        privilege: privilege::of(&link),
        path: path.clone(),
        scripts: Vec::new(),
        header,
        elf: None,
        objects: Vec::new(),
        missing: Vec::new(),
        process: None,
    };
    let mut has_shim = false;
    if header.is_native() {
        let elf = elf::read_file(&link).map_err(|error| unreadable(&link, &error))?;
        facts.objects.push(object(base(&path), &link, &elf, true));
        for file in mapped.into_iter().filter(|file| *file != path) {
            // A file that was replaced or removed since cannot be read. It is listed as missing.
            let inside = Path::new(&format!("/proc/{pid}/root")).join(file.strip_prefix("/").unwrap_or(&file));
            match elf::header(&inside).and_then(|_| elf::read_file(&inside)) {
                Ok(elf) if elf.is_shim => has_shim = true,
                Ok(elf) => {
                    let mut object = object(base(&file), &inside, &elf, false);
                    object.path = file;
                    facts.objects.push(object);
                }
                // Not a library: a data file that is mapped executable, or a damaged file.
                Err(Unreadable::Format(_)) => {}
                Err(Unreadable::System(_)) => {
                    facts.missing.push(Missing { name: shown(&file), needed_by: "the process's memory".into() });
                }
            }
        }
        if let Some(first) = facts.objects.first_mut() {
            first.path = path;
        }
        facts.elf = Some(elf);
    }
    facts.process = Some(process::of(pid, has_shim).map_err(|error| failed(reason(&error)))?);
    Ok(facts)
}

/// The files of the C library, glibc's and musl's, by the beginning of their names.
const LIBC: [&str; 8] =
    ["libc.so.", "libc-2.", "ld-linux-x86-64.so.", "ld-2.", "libpthread", "librt", "ld-musl-", "libc.musl-"];

fn object(name: String, path: &Path, elf: &Elf, is_program: bool) -> Object {
    let is_libc = !is_program && (name == "libc.so" || LIBC.iter().any(|known| name.starts_with(known)));
    let calls = if is_libc { Calls::default() } else { Calls::of(&elf.imports) };
    let mut sites = Vec::new();
    let mut passed = Passed::default();
    if !is_libc {
        // Code that cannot be read has no known system calls. Errors in the file are reported
        // elsewhere.
        let _ = elf::each_code(path, |address, code| {
            sites.extend(code::sites(address, code));
            if calls.syscall || sites.iter().any(|site: &Site| site.number.is_none()) {
                let here = code::passed(code);
                passed = Passed { io_uring: passed.io_uring || here.io_uring, epoll: passed.epoll || here.epoll };
            }
        });
    }
    Object {
        name,
        path: path.to_path_buf(),
        is_program,
        is_libc,
        is_go: elf.is_go,
        has_sections: elf.has_sections,
        needs_liburing: elf
            .needed
            .iter()
            .any(|name| name.starts_with(b"liburing.so") || name.starts_with(b"liburing-ffi")),
        calls,
        sites,
        passed,
    }
}
