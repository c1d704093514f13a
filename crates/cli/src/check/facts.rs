//! Gathers what is known of a program: from its file and its libraries, or of a process from what it has mapped.

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
use crate::{Failure, USE};

pub struct Facts {
    /// The program's file.
    pub path: PathBuf,
    /// The scripts that led to it.
    pub scripts: Vec<PathBuf>,
    pub header: Header,
    /// None: not for x86-64.
    pub elf: Option<Elf>,
    pub privilege: Option<Privilege>,
    /// The program, and its libraries.
    pub objects: Vec<Object>,
    pub missing: Vec<Missing>,
    /// None: a file was asked about.
    pub process: Option<Process>,
}

/// A file of the program's memory.
pub struct Object {
    pub name: String,
    pub path: PathBuf,
    pub is_program: bool,
    /// The C library or the loader: its system calls are what the functions that the shim interposes are made of.
    pub is_libc: bool,
    pub is_go: bool,
    pub has_sections: bool,
    pub calls: Calls,
    /// System calls that it makes itself; of the C library none are told.
    pub sites: Vec<Site>,
    /// What it seems to call `syscall()` for, or a function of its own that makes any system call.
    pub passed: Passed,
    pub needs_liburing: bool,
}

pub fn gather(subject: &OsStr) -> Result<Facts, Failure> {
    if !subject.is_empty() && subject.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
        let told = shown(subject);
        let pid = told.parse().ok().filter(|pid| *pid > 0);
        return of_process(pid.ok_or_else(|| Failure::of_use(format!("{told}: no process id")))?);
    }
    let told = shown(subject);
    let no_file = || Failure::of_use(format!("{told}: no such file, and no such program in PATH"));
    // As a user types it: a file of that name here, or a command.
    let path = Some(PathBuf::from(subject)).filter(|path| path.is_file()).or_else(|| program::find(subject));
    of_file(&path.ok_or_else(no_file)?)
}

fn unreadable(path: &Path, error: &Unreadable) -> Failure {
    let why = match error {
        Unreadable::System(error) => reason(error),
        Unreadable::Format(why) => (*why).to_string(),
    };
    Failure { status: USE, text: format!("{}: {why}", shown(path)) }
}

/// The facts about a file that is to be executed.
pub fn of_file(path: &Path) -> Result<Facts, Failure> {
    let Target { path: mut file, mut header, mut scripts } =
        program::follow(path).map_err(|(path, error)| unreadable(&path, &error))?;
    // As often as the kernel follows scripts: two may name each other.
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
    let failed = |why: String| Failure::of_use(format!("process {pid}: {why}"));
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    if !Path::new(&format!("/proc/{pid}")).exists() {
        return Err(failed("there is none".into()));
    }
    let path = std::fs::read_link(&link).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed("it runs no program (a kernel thread, or it has ended)".into()),
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
            // What is replaced or removed since cannot be read, and is told as missing.
            let inside = Path::new(&format!("/proc/{pid}/root")).join(file.strip_prefix("/").unwrap_or(&file));
            match elf::header(&inside).and_then(|_| elf::read_file(&inside)) {
                Ok(elf) if elf.is_shim => has_shim = true,
                Ok(elf) => {
                    let mut object = object(base(&file), &inside, &elf, false);
                    object.path = file;
                    facts.objects.push(object);
                }
                // A file of data that is mapped to be executed, or one that cannot be read.
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

/// The C library's own files, by the beginning of their names: glibc's, and musl's.
const LIBC: [&str; 8] =
    ["libc.so.", "libc-2.", "ld-linux-x86-64.so.", "ld-2.", "libpthread", "librt", "ld-musl-", "libc.musl-"];

fn object(name: String, path: &Path, elf: &Elf, is_program: bool) -> Object {
    let is_libc = !is_program && (name == "libc.so" || LIBC.iter().any(|known| name.starts_with(known)));
    let calls = if is_libc { Calls::default() } else { Calls::of(&elf.imports) };
    let mut sites = Vec::new();
    let mut passed = Passed::default();
    if !is_libc {
        // Code that cannot be read has no known system calls; what is wrong with the file is told elsewhere.
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
