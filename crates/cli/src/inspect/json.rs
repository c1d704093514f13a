//! Processes as JSON: one object, schema `epollshim.inspect/1`. Keys are added, never renamed or removed.

use std::collections::BTreeMap;

use epollshim_format::descriptor::{Descriptor as Shown, Json};
use epollshim_format::events::Mask;
use serde_json::{Map, Value, json};

use super::judge::Finding;
use super::model::{Descriptor, Doing, Ghost, Instance, Interest, Process, Thread};

/// One line. `errors`: processes that could not be looked at, and why.
pub fn json(processes: &[(Process, Vec<Finding>)], errors: &BTreeMap<String, String>) -> String {
    let processes: Vec<Value> = processes.iter().map(|(process, findings)| one(process, findings)).collect();
    let errors: Vec<Value> = errors.iter().map(|(pid, error)| json!({"pid": pid, "error": error})).collect();
    format!("{}\n", json!({"schema": "epollshim.inspect/1", "processes": processes, "errors": errors}))
}

fn one(process: &Process, findings: &[Finding]) -> Value {
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
    json!({
        "pid": process.pid,
        "name": process.name,
        "looked_ns": process.span(),
        "descriptors": process.descriptors.len(),
        "limit": process.limit,
        "findings": findings.collect::<Vec<_>>(),
        "instances": process.instances.iter().map(|one| instance(process, one)).collect::<Vec<_>>(),
        "threads": process.threads.iter().map(|one| thread(one, process.ended)).collect::<Vec<_>>(),
        "not_looked_at": process.missing,
    })
}

fn instance(process: &Process, instance: &Instance) -> Value {
    let waiters =
        process.threads.iter().filter(|thread| process.waits_on(thread).is_some_and(|one| one.epfds == instance.epfds));
    json!({
        "epfds": instance.epfds,
        "ready": instance.ready.last(),
        "waiters": waiters.map(|thread| thread.tid).collect::<Vec<_>>(),
        "interests": instance.interests.iter().map(|one| interest(process, one)).collect::<Vec<_>>(),
    })
}

fn interest(process: &Process, interest: &Interest) -> Value {
    let ghost = interest.ghost.map(|ghost| match ghost {
        Ghost::Closed => "closed",
        Ghost::Other => "another-file",
    });
    json!({
        "fd": interest.fd,
        "events": names(interest.events),
        "disarmed": interest.is_disarmed(),
        "data": interest.data,
        "pos": interest.pos,
        "ino": interest.inode,
        "sdev": interest.device,
        "ghost": ghost,
        "ready": process.ready(interest).map(names),
        "descriptor": process.descriptors.get(&interest.fd).map(|one| descriptor(interest.fd, one)),
    })
}

fn names(mask: u32) -> Vec<String> {
    let text = Mask(mask).to_string();
    text.split('|').filter(|name| !name.is_empty() && *name != "0").map(str::to_owned).collect()
}

fn descriptor(fd: i32, descriptor: &Descriptor) -> Value {
    let what = Json { fd, of: Shown(descriptor.what.as_bytes()) }.to_string();
    let mut object: Map<String, Value> = serde_json::from_str(&what).unwrap_or_default();
    let look = descriptor.looks.last();
    let table = descriptor.table;
    let unread = look.map_or(table.map(|(_, unread, _)| unread), |look| look.unread);
    let unsent = look.map_or(table.map(|(.., unsent)| unsent), |look| look.unsent);
    object.insert("unread".into(), json!(unread));
    object.insert("unsent".into(), json!(unsent));
    object.insert("backlog".into(), json!(look.map(|look| look.backlog).filter(|_| is_listener(descriptor))));
    object.into()
}

fn is_listener(descriptor: &Descriptor) -> bool {
    const LISTEN: u8 = 10;
    descriptor.looks.last().is_some_and(|look| look.tcp == LISTEN)
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
