//! What happened when, in the *Trace Event Format*, which Perfetto and chrome://tracing open.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::record::Events;

/// Everything is of one process.
const PROCESS: u64 = 1;
/// The track of the benchmark's phases. Those of the stages follow.
const PHASES: usize = 1;

/// A track for the phases and one for each stage of each copy of the model, and the slices on them, by their beginning.
/// `devices` are those of the stages of each copy. Times are in microseconds since `zero`.
pub(super) fn timeline(
    name: &str,
    zero: Instant,
    events: &Events,
    devices: &[Vec<String>],
) -> Value {
    let stages = devices.first().map_or(0, Vec::len);
    let track = |replica: usize, stage: usize| PHASES + 1 + replica * stages + stage;

    let mut names = vec![
        metadata("process_name", None, json!({"name": name})),
        metadata("thread_name", Some(PHASES), json!({"name": "benchmark"})),
    ];
    for (replica, copy) in devices.iter().enumerate() {
        for (stage, device) in copy.iter().enumerate() {
            let label = match devices.len() {
                1 => format!("stage {stage} on {device}"),
                _ => format!("copy {replica}, stage {stage} on {device}"),
            };
            let track = Some(track(replica, stage));
            names.push(metadata("thread_name", track, json!({"name": label})));
            names.push(metadata(
                "thread_sort_index",
                track,
                json!({"sort_index": track}),
            ));
        }
    }

    let mut slices = Vec::new();
    for phase in &events.phases {
        let time = (phase.started, phase.ended);
        slices.push(slice(&phase.name, "phase", PHASES, zero, time, Map::new()));
    }
    for load in &events.loads {
        let mut arguments = Map::new();
        if load.failed {
            arguments.insert("failed".into(), true.into());
        }
        let track = track(load.replica, load.stage);
        let time = (load.started, load.ended);
        slices.push(slice("load", "load", track, zero, time, arguments));
    }
    for run in &events.runs {
        let mut arguments = Map::new();
        arguments.insert("pack".into(), run.pack.into());
        arguments.insert("tokens".into(), run.tokens.into());
        arguments.insert("rows".into(), run.rows.into());
        arguments.insert("columns".into(), run.columns.into());
        arguments.insert("scored".into(), run.scored.into());
        if run.failed {
            arguments.insert("failed".into(), true.into());
        }
        let name = format!("pack {}", run.pack);
        let track = track(run.replica, run.stage);
        let time = (run.started, run.ended);
        slices.push(slice(&name, "pack", track, zero, time, arguments));
    }
    slices.sort_by_key(|(begin, _)| *begin);
    let slices = slices.into_iter().map(|(_, slice)| slice);
    let events: Vec<Value> = names.into_iter().chain(slices).collect();
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

fn metadata(name: &str, track: Option<usize>, arguments: Value) -> Value {
    json!({"name": name, "ph": "M", "pid": PROCESS, "tid": track.unwrap_or(0), "args": arguments})
}

/// A complete event, and when it begins, for sorting.
fn slice(
    name: &str,
    category: &str,
    track: usize,
    zero: Instant,
    (started, ended): (Instant, Instant),
    arguments: Map<String, Value>,
) -> (u128, Value) {
    // Whole nanoseconds, so that one slice ends where the next begins at the earliest.
    let at = |time: Instant| time.saturating_duration_since(zero).as_nanos();
    let (begin, end) = (at(started), at(ended));
    let event = json!({
        "name": name, "cat": category, "ph": "X", "pid": PROCESS, "tid": track,
        "ts": microseconds(begin), "dur": microseconds(end.saturating_sub(begin)), "args": arguments,
    });
    (begin, event)
}

fn microseconds(nanoseconds: u128) -> f64 {
    nanoseconds as f64 / 1000.0
}
