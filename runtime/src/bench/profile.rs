//! Which operators the time of a model goes to, by ONNX Runtime's own profiler.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{BenchError, OperatorReport};

/// What is used of an event in ONNX Runtime's profile.
#[derive(Deserialize)]
struct Event {
    cat: String,
    name: String,
    /// Microseconds.
    dur: f64,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    op_name: Option<String>,
}

/// What the name of an event ends with that stands for a kernel's run.
const KERNEL: &str = "_kernel_time";

/// Adds up the profiles in a folder; the operator that took longest comes first.
pub(super) fn read(folder: &Path) -> Result<Vec<OperatorReport>, BenchError> {
    let fault = |path: &Path, problem: String| BenchError::Profile {
        path: path.to_owned(),
        problem,
    };
    let mut times = BTreeMap::new();
    let files = fs::read_dir(folder).map_err(|error| fault(folder, error.to_string()))?;
    for file in files {
        let path = file
            .map_err(|error| fault(folder, error.to_string()))?
            .path();
        let text = fs::read(&path).map_err(|error| fault(&path, error.to_string()))?;
        add(&text, &mut times).map_err(|error| fault(&path, error.to_string()))?;
    }
    Ok(report(times))
}

/// Adds the kernels of a profile: microseconds and runs, by operator.
fn add(text: &[u8], times: &mut BTreeMap<String, (f64, u64)>) -> serde_json::Result<()> {
    let events: Vec<Event> = serde_json::from_slice(text)?;
    for event in events {
        if event.cat != "Node" || !event.name.ends_with(KERNEL) {
            continue;
        }
        if let Some(operator) = event.args.op_name {
            let (time, runs) = times.entry(operator).or_default();
            *time += event.dur;
            *runs += 1;
        }
    }
    Ok(())
}

fn report(times: BTreeMap<String, (f64, u64)>) -> Vec<OperatorReport> {
    let all: f64 = times.values().map(|(time, _)| time).sum();
    let mut operators: Vec<_> = times
        .into_iter()
        .map(|(operator, (time, runs))| OperatorReport {
            operator,
            seconds: time / 1e6,
            share: if all > 0.0 { time / all } else { 0.0 },
            runs,
        })
        .collect();
    operators.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    operators
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_added_up() {
        let profile = br#"[
            {"cat": "Session", "name": "model_run", "dur": 900, "args": {}},
            {"cat": "Node", "name": "a_fence_before", "dur": 50, "args": {"op_name": "Gemm"}},
            {"cat": "Node", "name": "a_kernel_time", "dur": 300, "args": {"op_name": "Gemm"}},
            {"cat": "Node", "name": "b_kernel_time", "dur": 100, "args": {"op_name": "Add"}},
            {"cat": "Node", "name": "c_kernel_time", "dur": 400, "args": {"op_name": "Gemm"}}
        ]"#;
        let mut times = BTreeMap::new();
        add(profile, &mut times).unwrap();
        add(b"[]", &mut times).unwrap();
        let found = report(times);
        let gemm = OperatorReport {
            operator: "Gemm".into(),
            seconds: 7e-4,
            share: 0.875,
            runs: 2,
        };
        assert_eq!(found[0], gemm);
        assert_eq!((found[1].operator.as_str(), found[1].share), ("Add", 0.125));
        assert!(add(b"[{", &mut BTreeMap::new()).is_err());
        assert_eq!(report(BTreeMap::new()), []);
    }
}
