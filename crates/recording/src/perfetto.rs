//! Chrome's trace-event format (JSON object form), as ui.perfetto.dev, chrome://tracing and
//! Perfetto's trace_processor read it. Perfetto's protobuf would need a schema compiler and cannot
//! be read by eye. Each thread is a track, each call a slice. Each process has a counter of live
//! watches and instances.
//!
//! Times are microseconds of CLOCK_MONOTONIC since the first process began. All processes of a
//! machine share this clock.

use std::io::{self, Write};

use epollshim_format::events::Mask;
use epollshim_format::function::Function;
use serde_json::{Value, json};

use crate::Set;
use crate::findings;
use crate::json::error_name;
use crate::model::{Process, Record};
use crate::modules::plain;
use crate::series::Series;

pub fn render(set: &Set, out: &mut dyn Write) -> io::Result<()> {
    let zero = set.processes.iter().map(|process| process.header.began).min().unwrap_or(0);
    out.write_all(
        b"{\"displayTimeUnit\":\"ns\",\"otherData\":{\"producer\":\"epollshim report\"},\"traceEvents\":[\n",
    )?;
    let mut events = Events { out, first: true, zero };
    for process in &set.processes {
        events.process(process)?;
    }
    out.write_all(b"\n]}\n")
}

struct Events<'a> {
    out: &'a mut dyn Write,
    first: bool,
    zero: u64,
}

impl Events<'_> {
    fn put(&mut self, event: &Value) -> io::Result<()> {
        if !self.first {
            self.out.write_all(b",\n")?;
        }
        self.first = false;
        Ok(serde_json::to_writer(&mut *self.out, event)?)
    }

    fn at(&self, time: u64) -> f64 {
        time.saturating_sub(self.zero) as f64 / 1000.0
    }

    fn process(&mut self, process: &Process) -> io::Result<()> {
        // The format's ids have 32 bits, as Linux's have.
        let pid = process.header.pid as u32;
        let name = plain(&process.header.comm);
        self.put(&json!({ "ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": { "name": name } }))?;
        for thread in &process.threads {
            let tid = thread.tid as u32;
            let name = if tid == pid { "main thread".into() } else { format!("thread {tid}") };
            self.put(&json!({ "ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": { "name": name } }))?;
        }
        for (thread, record) in process.records() {
            let mut event = json!({
                "ph": "X",
                "name": record.name(),
                "cat": if record.waits() { "wait" } else { "call" },
                "ts": self.at(record.began),
                "dur": record.duration as f64 / 1000.0,
                "pid": pid,
                "tid": thread.tid as u32,
                "args": arguments(process, record),
            });
            // A failed call stands out (chrome://tracing's reserved colour names).
            if record.failed()
                && let Some(event) = event.as_object_mut()
            {
                event.insert("cname".into(), "terrible".into());
            }
            self.put(&event)?;
        }
        for found in findings::of(std::slice::from_ref(process)) {
            if found.finding.first != 0 {
                self.put(&json!({
                    "ph": "i", "s": "p", "name": format!("{}: {}", found.finding.severity.name(), found.finding.id.name()),
                    "cat": "finding", "ts": self.at(found.finding.first), "pid": pid, "tid": pid,
                    "args": { "message": found.message(), "times": found.finding.count,
                              "site": found.site.as_ref().map(|site| site.best()) },
                }))?;
            }
        }
        let series = Series::of(process);
        for (time, live) in &series.points {
            self.put(&json!({
                "ph": "C", "name": "epoll live", "pid": pid, "tid": 0, "ts": self.at(*time),
                "args": { "watches": live.watches, "instances": live.instances },
            }))?;
        }
        Ok(())
    }
}

/// The arguments of a call, with their names in the manual pages.
pub fn arguments(process: &Process, record: &Record) -> Value {
    let mut arguments = match record.function {
        Some(Function::EpollCreate) => json!({ "size": record.first }),
        Some(Function::EpollCreate1) => json!({ "flags": record.first }),
        Some(Function::EpollCtl) => json!({
            "epfd": record.first,
            "op": operation(record.operation),
            "fd": record.second,
            "events": Mask(record.extra as u32).to_string(),
        }),
        Some(function) if function.waits() => match record.timeout() {
            Some(timeout) => {
                json!({ "epfd": record.first, "maxevents": record.second, "timeout_ns": timeout })
            }
            None => json!({ "epfd": record.first, "maxevents": record.second }),
        },
        _ => json!({ "fd": record.first, "argument": record.second }),
    };
    if let Some(arguments) = arguments.as_object_mut() {
        arguments.insert("result".into(), record.result.into());
        if record.failed() {
            arguments.insert("errno".into(), error_name(record.errno).into());
        }
        if record.injected() {
            arguments.insert("injected".into(), true.into());
        }
        if record.limited() {
            arguments.insert("limited".into(), true.into());
        }
        if let Some(site) = process.site(record.caller) {
            arguments.insert("caller".into(), site.best().into());
        }
    }
    arguments
}

fn operation(operation: u16) -> String {
    match operation {
        1 => "EPOLL_CTL_ADD".into(),
        2 => "EPOLL_CTL_DEL".into(),
        3 => "EPOLL_CTL_MOD".into(),
        other => other.to_string(),
    }
}
