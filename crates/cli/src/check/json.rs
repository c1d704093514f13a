//! The facts as one JSON object. Within one schema number, keys are only added, never renamed or
//! removed.

use epollshim_format::events::Mask;
use serde::Serialize;

use super::calls::system_call;
use super::facts::{Facts, Object};
use super::process::{Process, SeccompMode};
use super::verdict::{Seen, Verdict};
use crate::Failure;
use crate::elf::Kind;

pub const SCHEMA: &str = "epollshim.check/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    verdict: &'static str,
    summary: &'a str,
    reasons: Vec<Reason<'a>>,
    notes: &'a [String],
    program: Program,
    objects: Vec<Part<'a>>,
    missing: Vec<Missing<'a>>,
    process: Option<Running<'a>>,
}

#[derive(Serialize)]
struct Reason<'a> {
    id: &'static str,
    verdict: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Program {
    path: String,
    scripts: Vec<String>,
    architecture: String,
    kind: Option<&'static str>,
    interpreter: Option<String>,
    go: bool,
    privileges: Option<String>,
}

#[derive(Serialize)]
struct Part<'a> {
    name: &'a str,
    path: String,
    program: bool,
    libc: bool,
    epoll: &'a [String],
    descriptors: &'a [String],
    others: &'a [String],
    syscall: bool,
    io_uring: &'a [String],
    dlopen: bool,
    direct: Vec<Direct>,
}

#[derive(Serialize)]
struct Direct {
    address: u64,
    number: Option<u32>,
    name: Option<&'static str>,
}

#[derive(Serialize)]
struct Missing<'a> {
    name: &'a str,
    needed_by: &'a str,
}

#[derive(Serialize)]
struct Running<'a> {
    pid: u32,
    name: &'a str,
    shim: bool,
    secure: Option<bool>,
    seccomp: Option<Filtered>,
    descriptors: usize,
    limit_soft: Option<u64>,
    limit_hard: Option<u64>,
    instances: Vec<Instance<'a>>,
}

#[derive(Serialize)]
struct Filtered {
    mode: &'static str,
    filters: Option<u32>,
}

#[derive(Serialize)]
struct Instance<'a> {
    epfds: &'a [i32],
    interests: Vec<Interest<'a>>,
}

#[derive(Serialize)]
struct Interest<'a> {
    fd: i32,
    events: String,
    data: String,
    target: Option<&'a str>,
    ghost: bool,
}

const fn word(seen: Seen) -> &'static str {
    match seen {
        Seen::All => "seen",
        Seen::Unknown => "unknown",
        Seen::Partly => "partly",
        Seen::Not => "not",
    }
}

pub fn object(facts: &Facts, verdict: &Verdict) -> Result<String, Failure> {
    let lossy = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let document = Document {
        schema: SCHEMA,
        verdict: word(verdict.seen),
        summary: &verdict.line,
        reasons: verdict
            .reasons
            .iter()
            .map(|reason| Reason { id: reason.id, verdict: word(reason.seen), text: &reason.text })
            .collect(),
        notes: &verdict.notes,
        program: Program {
            path: lossy(&facts.path),
            scripts: facts.scripts.iter().map(|script| lossy(script)).collect(),
            architecture: facts.header.architecture(),
            kind: facts.elf.as_ref().map(|elf| match elf.kind {
                Kind::Dynamic => "dynamic",
                Kind::Static => "static",
                Kind::StaticPie => "static-pie",
                Kind::Library => "library",
            }),
            interpreter: facts
                .elf
                .as_ref()
                .and_then(|elf| elf.interpreter.as_ref())
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            go: facts.elf.as_ref().is_some_and(|elf| elf.is_go),
            privileges: facts.privilege.as_ref().map(|privilege| privilege.what.clone()),
        },
        objects: facts.objects.iter().map(part).collect(),
        missing: facts
            .missing
            .iter()
            .map(|missing| Missing { name: &missing.name, needed_by: &missing.needed_by })
            .collect(),
        process: facts.process.as_ref().map(running),
    };
    serde_json::to_string(&document)
        .map(|text| text + "\n")
        .map_err(|error| Failure::usage(format!("cannot be written as JSON: {error}")))
}

fn part(object: &Object) -> Part<'_> {
    let direct = object.sites.iter().map(|site| Direct {
        address: site.address,
        number: site.number,
        name: site.number.and_then(|number| system_call(number).1),
    });
    Part {
        name: &object.name,
        path: object.path.to_string_lossy().into_owned(),
        program: object.is_program,
        libc: object.is_libc,
        epoll: &object.calls.epoll,
        descriptors: &object.calls.descriptors,
        others: &object.calls.others,
        syscall: object.calls.syscall,
        io_uring: &object.calls.io_uring,
        dlopen: object.calls.dlopen,
        direct: direct.collect(),
    }
}

fn running(process: &Process) -> Running<'_> {
    let [limit_soft, limit_hard] = process.limits;
    Running {
        pid: process.pid,
        name: &process.name,
        shim: process.has_shim,
        secure: process.is_secure,
        seccomp: process.seccomp.map(|seccomp| Filtered {
            mode: match seccomp.mode {
                SeccompMode::Filter => "filter",
                SeccompMode::Strict => "strict",
            },
            filters: seccomp.filters,
        }),
        descriptors: process.descriptors,
        limit_soft,
        limit_hard,
        instances: process
            .instances
            .iter()
            .map(|instance| Instance {
                epfds: &instance.fds,
                interests: instance
                    .interests
                    .iter()
                    .map(|interest| Interest {
                        fd: interest.fd,
                        events: Mask(interest.events).to_string(),
                        data: format!("{:#x}", interest.data),
                        target: interest.target.as_deref(),
                        ghost: interest.is_ghost,
                    })
                    .collect(),
            })
            .collect(),
    }
}
