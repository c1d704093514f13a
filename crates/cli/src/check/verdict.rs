//! Judges the facts: does the shim see all of a program's epoll calls, some, or none? No side
//! effects.

use super::calls::{Family, system_call};
use super::facts::{Facts, Object};
use crate::elf::{Elf, Header, Kind};
use crate::privilege::Privilege;
use crate::program::is_shell;
use crate::text::{count, printable};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Seen {
    All,
    /// It depends on what the program starts or loads while it runs.
    Unknown,
    Partly,
    Not,
}

impl Seen {
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Seen::All => "seen",
            Seen::Unknown => "unknown",
            Seen::Partly => "partly seen",
            Seen::Not => "not seen",
        }
    }
}

/// Why not all calls are seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// A stable identifier for programs that read the JSON.
    pub id: &'static str,
    pub seen: Seen,
    pub text: String,
}

fn reason(id: &'static str, seen: Seen, text: impl Into<String>) -> Reason {
    Reason { id, seen, text: text.into() }
}

pub struct Verdict {
    pub seen: Seen,
    /// One line.
    pub line: String,
    /// The most serious first.
    pub reasons: Vec<Reason>,
    /// What the verdict does not cover.
    pub notes: Vec<String>,
}

/// Why the shim does not act in a program at all, or only for some users. Without `elf`, the
/// program is not for x86-64.
fn outside(header: &Header, elf: Option<&Elf>, privilege: Option<&Privilege>) -> Vec<Reason> {
    let Some(elf) = elf.filter(|_| header.is_native()) else {
        let text = format!("a program for {}; the shim is for x86-64", header.architecture());
        return vec![reason("architecture", Seen::Not, text)];
    };
    let mut all = Vec::new();
    let go = if elf.is_go { " (Go)" } else { "" };
    match elf.kind {
        Kind::Static => {
            all.push(reason("static", Seen::Not, format!("static program{go}; no loader that reads LD_PRELOAD")))
        }
        Kind::StaticPie => {
            all.push(reason(
                "static",
                Seen::Not,
                format!("static program{go} (static-pie); no loader that reads LD_PRELOAD"),
            ));
        }
        Kind::Dynamic | Kind::Library => {}
    }
    if let Some(interpreter) = &elf.interpreter {
        let shown = printable(&String::from_utf8_lossy(interpreter));
        let base = interpreter.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !elf.is_for_musl() && !base.starts_with(b"ld-linux-x86-64.so") {
            let text = format!("its interpreter {shown} is neither glibc's nor musl's, which the shim needs");
            all.push(reason("interpreter", Seen::Not, text));
        }
    }
    match privilege {
        Some(Privilege { what, is_own: false }) => {
            all.push(reason("privileged", Seen::Not, format!("{what}; the loader ignores LD_PRELOAD (AT_SECURE)")));
        }
        Some(Privilege { what, is_own: true }) => {
            let text = format!("{what}; seen when you start it, not when others do (AT_SECURE)");
            all.push(reason("privileged", Seen::Partly, text));
        }
        None => {}
    }
    all
}

/// Go's runtime makes its own system calls, even in dynamic programs.
fn go(elf: &Elf, through_libc: bool) -> Option<Reason> {
    let (seen, text) = if through_libc {
        (Seen::Partly, "Go's runtime makes its epoll calls itself; only C code in it is seen")
    } else {
        (Seen::Not, "Go's runtime makes its epoll calls itself, and no C code in it calls epoll")
    };
    (elf.is_go && matches!(elf.kind, Kind::Dynamic | Kind::Library)).then(|| reason("go", seen, text))
}

/// Whether an object makes epoll calls that the shim sees. An import of `syscall` is not
/// sufficient, since it may be for other calls (Rust's standard library imports it). The object
/// must pass epoll's numbers to it as well.
fn calls_through_libc(object: &Object) -> bool {
    !object.calls.epoll.is_empty() || object.calls.syscall && object.passed.epoll
}

impl Verdict {
    /// The most serious reason why epoll calls of the program are not seen if this user starts it.
    /// None: no reason is known.
    #[must_use]
    pub fn unseen_when_started(&self) -> Option<&Reason> {
        self.reasons.iter().find(|reason| {
            reason.seen == Seen::Not
                || reason.seen == Seen::Partly && matches!(reason.id, "direct-epoll" | "go" | "io-uring")
        })
    }
}

#[must_use]
pub fn judge(facts: &Facts) -> Verdict {
    let mut reasons = outside(&facts.header, facts.elf.as_ref(), facts.privilege.as_ref());
    if facts.process.as_ref().is_some_and(|process| process.is_secure == Some(true)) {
        reasons.retain(|reason| reason.id != "privileged");
        reasons.push(reason(
            "privileged",
            Seen::Not,
            "started with elevated privileges: LD_PRELOAD was ignored (AT_SECURE)",
        ));
    }
    let loadable = !reasons.iter().any(|reason| reason.seen == Seen::Not);
    if loadable {
        let through_libc = facts.objects.iter().any(calls_through_libc);
        reasons.extend(facts.elf.as_ref().and_then(|elf| go(elf, through_libc)));
        for object in &facts.objects {
            reasons.extend(of_object(object, through_libc));
        }
        for missing in &facts.missing {
            let text = format!("{}: cannot be read (needed by {})", missing.name, missing.needed_by);
            reasons.push(reason("missing", Seen::Partly, text));
        }
        reasons.extend(unknown(facts));
    }
    // The sort is stable: among equally serious reasons, those of the program come first.
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.seen));
    let seen = reasons.first().map_or(Seen::All, |first| first.seen);
    let line = match reasons.split_first() {
        None => format!("seen: {}", all_seen(facts)),
        Some((first, [])) => format!("{}: {}", seen.words(), first.text),
        Some((first, others)) => format!("{}: {} (and {} more)", seen.words(), first.text, others.len()),
    };
    Verdict { seen, line, reasons, notes: notes(facts, loadable) }
}

/// What is decided only at run time: the programs that a shell script starts, and the libraries
/// that a program without epoll calls of its own loads.
fn unknown(facts: &Facts) -> Option<Reason> {
    if let Some(script) = facts.scripts.last().filter(|_| is_shell(&facts.path)) {
        let script = crate::text::shown(script);
        return Some(reason(
            "shell-script",
            Seen::Unknown,
            format!("{script} is a shell script; check the programs that it starts"),
        ));
    }
    let calls_none = facts.objects.iter().all(|object| object.calls.epoll.is_empty());
    let loads = facts.objects.iter().any(|object| object.calls.dlopen);
    (facts.process.is_none() && calls_none && loads).then(|| {
        let text = "it has no epoll calls of its own, and libraries that it loads by dlopen are not checked";
        reason("dlopen", Seen::Unknown, format!("{text}; check the process when it runs"))
    })
}

fn all_seen(facts: &Facts) -> &'static str {
    if facts.objects.iter().any(|object| !object.calls.epoll.is_empty()) {
        "all of its epoll calls go through libc"
    } else if facts.objects.iter().any(|object| object.is_program && object.calls.syscall) {
        "it calls no epoll function of libc; what it does by syscall() is seen"
    } else if facts.process.is_some() {
        "its calls go through libc; nothing that it has loaded calls epoll"
    } else {
        "its calls go through libc; none of them is an epoll call"
    }
}

fn of_object(object: &Object, through_libc: bool) -> Vec<Reason> {
    let mut all = Vec::new();
    let whose = if object.is_program { "it".to_string() } else { object.name.clone() };
    let families = |wanted: Family| {
        let mut names: Vec<&str> = Vec::new();
        for site in &object.sites {
            if let Some((family, Some(name))) = site.number.map(system_call)
                && family == wanted
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    };
    let epoll = families(Family::Epoll);
    if !epoll.is_empty() {
        // If these are its only epoll calls, none is seen.
        let seen = if through_libc { Seen::Partly } else { Seen::Not };
        let text = format!("{whose} makes {} as a direct system call", epoll.join(", "));
        all.push(reason("direct-epoll", seen, text));
    }
    let descriptors = families(Family::Descriptor);
    if !descriptors.is_empty() {
        let text = format!("{whose} makes {} as a direct system call", descriptors.join(", "));
        all.push(reason("direct-descriptors", Seen::Partly, text));
    }
    let unknown = object.sites.iter().filter(|site| site.number.is_none()).count();
    if unknown > 0 && epoll.is_empty() && object.passed.epoll && !object.calls.syscall {
        let seen = if through_libc { Seen::Partly } else { Seen::Not };
        let text = format!("{whose} calls epoll by {}", unknown_calls(unknown));
        all.push(reason("direct-epoll", seen, text));
    } else if unknown > 0 {
        let text = format!("{whose} has {}", unknown_calls(unknown));
        all.push(reason("direct-unknown", Seen::Partly, text));
    }
    let by_number = object.passed.io_uring || !families(Family::IoUring).is_empty();
    if !object.calls.io_uring.is_empty() || object.needs_liburing || by_number {
        all.push(reason("io-uring", Seen::Partly, format!("{whose} can use io_uring, whose operations are not seen")));
    }
    if !object.has_sections {
        let text = format!("{whose} has no section headers: what it imports is not known");
        all.push(reason("stripped", Seen::Partly, text));
    }
    all
}

fn notes(facts: &Facts, loadable: bool) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(script) = facts.scripts.first() {
        let script = crate::text::shown(script);
        all.push(format!(
            "{script} is a script: the verdict is about {}; other programs that it starts are not checked",
            crate::text::shown(&facts.path)
        ));
    }
    if loadable && facts.process.is_none() && facts.objects.iter().any(|object| object.calls.dlopen) {
        all.push("it or a library calls dlopen: libraries loaded at run time are not checked".to_string());
    }
    if facts.process.as_ref().is_some_and(|process| process.seccomp.is_some()) {
        all.push(
            "seccomp: the shim makes no system call that the process's filters forbid; its report lists under Coverage what \
             it could not find out, and is missing if the filters forbid opening files"
                .to_string(),
        );
    }
    if loadable && facts.elf.as_ref().is_some_and(Elf::is_for_musl) {
        all.push("for musl libc: no call stacks, which need glibc 2.35 or later".to_string());
    }
    if facts.elf.as_ref().is_some_and(|elf| elf.kind == Kind::Library) {
        all.push("a library: the verdict holds for programs that load it".to_string());
    }
    all
}

fn unknown_calls(number: usize) -> String {
    let numbers = if number == 1 { "an unknown number" } else { "unknown numbers" };
    format!("{} with {numbers}", count(number, "direct system call"))
}

#[cfg(test)]
mod tests {
    use super::{Seen, judge};
    use crate::check::calls::Calls;
    use crate::check::code::{Passed, Site};
    use crate::check::facts::{Facts, Object};
    use crate::elf::{Elf, Header, Kind};
    use crate::privilege::Privilege;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn program(imports: &[&str], numbers: &[Option<u32>]) -> Facts {
        let elf = Elf {
            kind: Kind::Dynamic,
            interpreter: Some(b"/lib64/ld-linux-x86-64.so.2".to_vec()),
            soname: None,
            needed: vec![b"libc.so.6".to_vec()],
            rpath: None,
            runpath: None,
            imports: imports.iter().map(ToString::to_string).collect::<BTreeSet<_>>(),
            has_sections: true,
            is_go: false,
            is_shim: false,
        };
        let object = Object {
            name: "app".into(),
            path: PathBuf::from("/app"),
            is_program: true,
            is_libc: false,
            is_go: false,
            has_sections: true,
            calls: Calls::of(&elf.imports),
            sites: numbers.iter().map(|number| Site { address: 0x1000, number: *number }).collect(),
            passed: Passed::default(),
            needs_liburing: false,
        };
        Facts {
            path: PathBuf::from("/app"),
            scripts: Vec::new(),
            header: Header { is_64: true, is_little: true, file_type: 3, machine: 62 },
            elf: Some(elf),
            privilege: None,
            objects: vec![object],
            missing: Vec::new(),
            process: None,
        }
    }

    fn line(facts: &Facts) -> String {
        judge(facts).line
    }

    #[test]
    fn calls_through_libc_are_seen() {
        assert_eq!(line(&program(&["epoll_wait", "close"], &[])), "seen: all of its epoll calls go through libc");
        assert_eq!(line(&program(&["close"], &[])), "seen: its calls go through libc; none of them is an epoll call");
        // 202 is futex, which does not concern the shim.
        assert_eq!(judge(&program(&["epoll_wait"], &[Some(202)])).seen, Seen::All);
    }

    #[test]
    fn direct_calls_are_not() {
        let some = program(&["epoll_create1", "epoll_ctl"], &[Some(232), Some(3), None, Some(202)]);
        assert_eq!(line(&some), "partly seen: it makes epoll_wait as a direct system call (and 2 more)");
        assert_eq!(line(&program(&[], &[Some(232)])), "not seen: it makes epoll_wait as a direct system call");
        assert_eq!(line(&program(&[], &[None])), "partly seen: it has 1 direct system call with an unknown number");
        let uring = program(&["io_uring_queue_init"], &[]);
        assert_eq!(line(&uring), "partly seen: it can use io_uring, whose operations are not seen");
    }

    #[test]
    fn an_import_of_syscall_is_no_proof_that_epoll_is_called_through_libc() {
        let mut some = program(&["syscall"], &[Some(291), Some(233), Some(232)]);
        assert!(line(&some).starts_with("not seen: it makes epoll_create1, epoll_ctl, epoll_wait as a direct"));
        some.objects.iter_mut().for_each(|object| object.passed.epoll = true);
        assert_eq!(judge(&some).seen, Seen::Partly);
        // A library's calls through libc are seen.
        let mut two = program(&["syscall"], &[Some(232)]);
        let mut library = program(&["epoll_wait"], &[]).objects;
        library.iter_mut().for_each(|object| object.is_program = false);
        two.objects.append(&mut library);
        assert_eq!(judge(&two).seen, Seen::Partly);
        // A function of the program that makes any system call, and epoll's numbers.
        let mut any = program(&[], &[None]);
        any.objects.iter_mut().for_each(|object| object.passed.epoll = true);
        assert_eq!(line(&any), "not seen: it calls epoll by 1 direct system call with an unknown number");
    }

    #[test]
    fn a_program_for_musl_is_seen_and_what_glibc_alone_has_is_a_note() {
        let mut facts = program(&["epoll_wait"], &[]);
        facts.elf.iter_mut().for_each(|elf| elf.interpreter = Some(b"/lib/ld-musl-x86_64.so.1".to_vec()));
        let verdict = judge(&facts);
        assert_eq!(verdict.line, "seen: all of its epoll calls go through libc");
        assert!(verdict.notes.iter().any(|note| note.contains("no call stacks")), "{:?}", verdict.notes);
    }

    #[test]
    fn where_the_loader_does_not_load_the_shim_nothing_is_seen() {
        let of = |change: &dyn Fn(&mut Elf)| {
            let mut facts = program(&["epoll_wait"], &[]);
            facts.elf.iter_mut().for_each(change);
            line(&facts)
        };
        assert_eq!(of(&|elf| elf.kind = Kind::Static), "not seen: static program; no loader that reads LD_PRELOAD");
        assert!(of(&|elf| (elf.kind, elf.is_go) = (Kind::Static, true)).contains("static program (Go)"));
        assert!(of(&|elf| elf.interpreter = Some(b"/lib/ld-uClibc.so.0".to_vec())).contains("neither glibc's nor"));
        assert!(of(&|elf| elf.is_go = true).starts_with("partly seen: Go's runtime"));
        let mut go = program(&["close"], &[]);
        go.elf.iter_mut().for_each(|elf| elf.is_go = true);
        assert!(line(&go).starts_with("not seen: Go's runtime"));
        let mut arm = program(&[], &[]);
        (arm.header.machine, arm.elf) = (183, None);
        assert_eq!(line(&arm), "not seen: a program for aarch64; the shim is for x86-64");
    }

    #[test]
    fn rights_that_the_user_has_already_do_not_hide_the_program_from_him() {
        let mut facts = program(&["epoll_wait"], &[]);
        facts.privilege = Some(Privilege { what: "setuid (user 0)".into(), is_own: false });
        assert_eq!(line(&facts), "not seen: setuid (user 0); the loader ignores LD_PRELOAD (AT_SECURE)");
        facts.privilege = Some(Privilege { what: "setuid (user 0)".into(), is_own: true });
        assert_eq!(judge(&facts).seen, Seen::Partly);
    }

    #[test]
    fn a_program_that_only_loads_libraries_while_it_runs_is_unknown() {
        let verdict = judge(&program(&["dlopen"], &[]));
        assert_eq!((verdict.seen, verdict.reasons.first().map(|reason| reason.id)), (Seen::Unknown, Some("dlopen")));
        assert_eq!(judge(&program(&["dlopen", "epoll_wait"], &[])).seen, Seen::All);
        assert_eq!(judge(&program(&[], &[])).seen, Seen::All);
    }
}
