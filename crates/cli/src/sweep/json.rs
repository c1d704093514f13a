//! The result of a sweep as JSON, schema `epollshim.sweep/1`. Within one schema number, keys are
//! only added, never renamed or removed.

use serde_json::{Map, Value, json};

use super::outcome::{Find, Swept};
use super::trial::{Failure, Tried};
use super::verdict::Verdict;

pub fn render(swept: &Swept) -> String {
    let grouped = |finds: &[Find]| -> Vec<Value> {
        let one = |find: &Find| {
            let mut one = tried(swept, find.first);
            let others = find.others.iter().map(|other| swept.line(&other.trial).into()).collect();
            one.insert("others".into(), Value::Array(others));
            one.into()
        };
        finds.iter().map(one).collect()
    };
    let verdicts: Map<String, Value> =
        Verdict::ALL.iter().map(|verdict| (verdict.name().to_owned(), swept.count(*verdict).into())).collect();
    let never = swept.count(Verdict::NotReached);
    let all = json!({
        "schema": "epollshim.sweep/1",
        "command": swept.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>(),
        "workload": swept.workload,
        "clean_runs": swept.clean_runs,
        "clean_ms": swept.clean_took,
        "took_ms": swept.took,
        "jobs": swept.jobs,
        "points": swept.points.len(),
        "unsteady_points": swept.unsteady,
        "sample": swept.sample.map(|sample| json!({ "shallow": sample.number, "seed": sample.seed, "of": sample.of })),
        "planned": swept.planned,
        "tried": swept.tried.len(),
        "resumed": swept.resumed,
        "reached": swept.tried.len() - never,
        "not_reached": never,
        "lost": swept.lost,
        "lacks": swept.lacks,
        "left_out": swept.left_out,
        "verdicts": verdicts,
        "finds": grouped(&swept.finds()),
        "accepted": grouped(&swept.accepted_finds()),
        "trials": swept.tried.iter().map(|one| tried(swept, one).into()).collect::<Vec<Value>>(),
    });
    format!("{all}\n")
}

fn tried(swept: &Swept, tried: &Tried) -> Map<String, Value> {
    let mut one = Map::new();
    let mut put = |key: &str, value: Value| drop(one.insert(key.into(), value));
    put("verdict", tried.judged.verdict.name().into());
    if let Failure::Call { point, failure } = &tried.trial.failure {
        put("function", point.function.as_str().into());
        put("operation", Some(&point.operation).filter(|operation| !operation.is_empty()).cloned().into());
        put("phase", swept.workload.as_ref().map(|_| point.phase.name()).into());
        put("on", Some(&point.on).filter(|on| !on.is_empty()).cloned().into());
        put("made", failure.ends_with(":made").into());
        put("error", failure.as_str().into());
        put("stack", point.stack.as_str().into());
        put("occurrence", point.occurrence.into());
        put("frames", swept.names.get(&point.stack).map(|frames| frames.shown.clone()).unwrap_or_default().into());
        put("place", swept.place(point).into());
    }
    put("descriptors", tried.trial.descriptors().into());
    put("processes", tried.trial.processes().into());
    put("reason", swept.entry(tried).map(|entry| entry.reason.as_str()).into());
    put("evidence", tried.judged.evidence.clone().into());
    put("same", tried.same.into());
    put("runs", tried.runs.into());
    put("ms", tried.took.into());
    put("line", swept.line(&tried.trial).into());
    one
}
