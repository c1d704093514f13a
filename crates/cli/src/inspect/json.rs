//! Processes as one JSON object, schema `epollshim.inspect/1`. Keys are only added, never renamed
//! or removed.

use std::collections::BTreeMap;
use std::fmt::Write;

use epollshim_format::descriptor::{Descriptor as Shown, Json};
use epollshim_format::events::Mask;
use serde_json::{Value, json};

use super::judge::{Finding, is_listener};
use super::model::{Descriptor, Doing, Ghost, Instance, Interest, Process, Thread};

/// One line. `errors` has the processes that could not be inspected, and why.
///
/// Interests are written as text directly, because there may be many thousands of them.
pub fn json(processes: &[(Process, Vec<Finding>)], errors: &BTreeMap<String, String>) -> String {
    let errors: Vec<Value> = errors.iter().map(|(pid, error)| json!({"pid": pid, "error": error})).collect();
    let processes = list(processes, |(process, findings), out| one(process, findings, out));
    format!("{{\"schema\":\"epollshim.inspect/1\",\"processes\":{processes},\"errors\":{}}}\n", json!(errors))
}

/// `[a,b]`.
fn list<T>(all: &[T], one: impl Fn(&T, &mut String)) -> String {
    let mut out = String::from("[");
    for (place, item) in all.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        one(item, &mut out);
    }
    out.push(']');
    out
}

fn one(process: &Process, findings: &[Finding], out: &mut String) {
    let findings = findings.iter().map(|finding| {
        json!({
            "id": finding.id,
            "severity": finding.severity.name(),
            "epfd": finding.epfd,
            "fds": finding.fds,
            "tid": finding.tid,
            "descriptor": finding.what,
            "message": finding.message,
        })
    });
    let head = json!({
        "pid": process.pid,
        "name": process.name,
        "looked_ns": process.span(),
        "descriptors": process.descriptors.len(),
        "limit": process.limit,
        "findings": findings.collect::<Vec<_>>(),
        "threads": process.threads.iter().map(|one| thread(one, process.ended)).collect::<Vec<_>>(),
        "not_looked_at": process.missing,
    })
    .to_string();
    out.push_str(head.strip_suffix('}').unwrap_or(&head));
    let instances = list(&process.instances, |one, out| instance(process, one, out));
    let _ = write!(out, ",\"instances\":{instances}}}");
}

fn instance(process: &Process, instance: &Instance, out: &mut String) {
    let waiters = process
        .threads
        .iter()
        .filter(|thread| process.waits_on(thread).is_some_and(|one| one.epfds == instance.epfds))
        .map(|thread| thread.tid);
    let _ = write!(
        out,
        "{{\"epfds\":{},\"ready\":{},\"waiters\":{},\"interests\":{}}}",
        json!(instance.epfds),
        json!(instance.ready.last()),
        json!(waiters.collect::<Vec<_>>()),
        list(&instance.interests, |one, out| interest(process, one, out)),
    );
}

fn interest(process: &Process, interest: &Interest, out: &mut String) {
    let ghost = match interest.ghost {
        None => "null",
        Some(Ghost::Closed) => "\"closed\"",
        Some(Ghost::Other) => "\"another-file\"",
    };
    let _ = write!(
        out,
        "{{\"fd\":{},\"events\":{},\"disarmed\":{},\"data\":{},\"pos\":{},\"ino\":{},\"sdev\":{},\"ghost\":{ghost},\"ready\":{},",
        interest.fd,
        names(interest.events),
        interest.is_disarmed(),
        interest.data,
        interest.pos,
        interest.inode,
        interest.device,
        process.ready(interest).map_or_else(|| "null".to_owned(), names),
    );
    out.push_str("\"descriptor\":");
    match process.descriptors.get(&interest.fd) {
        None => out.push_str("null"),
        Some(one) => descriptor(interest.fd, one, out),
    }
    out.push('}');
}

/// `["EPOLLIN","EPOLLET"]`.
fn names(mask: u32) -> String {
    if mask == 0 {
        return "[]".to_owned();
    }
    format!("[\"{}\"]", Mask(mask).to_string().replace('|', "\",\""))
}

fn descriptor(fd: i32, descriptor: &Descriptor, out: &mut String) {
    let what = Json { fd, of: Shown(descriptor.what.as_bytes()) }.to_string();
    let look = descriptor.looks.last();
    let table = descriptor.table;
    let unread = look.map_or(table.map(|(_, unread, _)| unread), |look| look.unread);
    let unsent = descriptor.unsent.or(table.map(|(.., unsent)| unsent));
    let backlog = look.map(|look| u64::from(look.backlog)).filter(|_| is_listener(descriptor));
    out.push_str(what.strip_suffix('}').unwrap_or(&what));
    for (key, number) in [("unread", unread), ("unsent", unsent), ("backlog", backlog)] {
        let number = number.map_or_else(|| "null".to_owned(), |number| number.to_string());
        let _ = write!(out, ",\"{key}\":{number}");
    }
    out.push('}');
}

fn thread(thread: &Thread, now: u64) -> Value {
    let last = thread.last();
    let wait = last.and_then(|last| last.wait);
    json!({
        "tid": thread.tid,
        "name": thread.name,
        "state": last.map(|last| last.state.to_string()),
        "runs": last.is_some_and(|last| last.doing == Doing::Runs || last.state == 'R'),
        "system_call": last.and_then(|last| if let Doing::Call(number) = last.doing { Some(number) } else { None }),
        "waits_on": wait.map(|wait| json!({"epfd": wait.epfd, "call": wait.call, "timeout_ms": wait.timeout})),
        "asleep_at_least_ns": thread.asleep_since.map(|since| now.saturating_sub(since)),
        "processor_ns": thread.used(),
    })
}
