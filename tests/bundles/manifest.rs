//! A manifest with any field spoiled is refused, or scores as the whole one does; nothing panics.

use std::{fs, path::Path};

use serde_json::{Value, json};
use worldpm_ort::{Scorer, ScorerOptions};
use worldpm_ort_bundle::{Error, Manifest, manifest};

use crate::support::{self, SMALL as SHAPE};

/// Bundles of several kinds.
fn bundles() -> Vec<std::path::PathBuf> {
    let process = [SHAPE, &["--head", "process"]].concat();
    [
        (SHAPE, &["--stages", "2"][..]),
        (
            SHAPE,
            &["--stages", "2", "--precision", "int4", "--checksum"],
        ),
        (
            SHAPE,
            &["--device", "cuda", "--stages", "2", "--interface", "padded"],
        ),
        (&process, &["--target", "onnx", "--weights", "copy"]),
    ]
    .iter()
    .map(|(shape, flags)| support::bundle(shape, flags))
    .collect()
}

/// A step into a value: a field's name, or a place in a list.
#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Place(usize),
}

fn paths(value: &Value, here: &[Step], all: &mut Vec<Vec<Step>>) {
    let mut go = |step: Step, inner: &Value| {
        let path = [here, &[step]].concat();
        all.push(path.clone());
        paths(inner, &path, all);
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, inner)| go(Step::Field(name.clone()), inner)),
        // Of a long list the ends are enough.
        Value::Array(items) => {
            let kept = |at: &usize| *at < 2 || at + 1 == items.len();
            (0..items.len())
                .filter(kept)
                .for_each(|at| go(Step::Place(at), &items[at]));
        }
        _ => {}
    }
}

fn at<'v>(value: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Field(name) => &mut value[name.as_str()],
        Step::Place(place) => &mut value[*place],
    })
}

/// The value without what is at `path`, or with it twice.
fn without(value: &Value, path: &[Step], twice: bool) -> Option<Value> {
    let mut changed = value.clone();
    let (last, parent) = path.split_last()?;
    let parent = at(&mut changed, parent);
    match (last, parent) {
        (Step::Field(name), Value::Object(fields)) if !twice => {
            fields.shift_remove(name);
        }
        (Step::Place(place), Value::Array(items)) if twice => {
            items.insert(*place, items[*place].clone())
        }
        (Step::Place(place), Value::Array(items)) => {
            items.remove(*place);
        }
        _ => return None,
    }
    Some(changed)
}

/// What a field is spoiled with.
fn spoils() -> Vec<Value> {
    let long = "x".repeat(5000);
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(3),
        json!(2147483648_u64),
        json!(4294967296_u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(0.5),
        json!(""),
        json!("x"),
        json!("a\0b"),
        json!("../../etc/passwd"),
        json!("/etc/passwd"),
        json!("."),
        json!("a/../../b"),
        json!("\u{1b}[31m"),
        json!(long),
        json!([]),
        json!({}),
        json!([0, 0]),
        json!([2147483648_u64, 2]),
        json!([[]]),
        json!(["x", "x"]),
        json!({"rule": "last"}),
    ]
}

fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.push_str(&format!(".{name}")),
            Step::Place(place) => text.push_str(&format!("[{place}]")),
        }
    }
    text
}

fn write(dir: &Path, value: &Value) {
    fs::write(
        dir.join(manifest::FILE_NAME),
        serde_json::to_vec(value).unwrap(),
    )
    .unwrap();
}

const IDS: [&[u32]; 2] = [&[1, 2, 3, 151_651], &[9, 8, 151_651]];

fn scores(dir: &Path) -> worldpm_ort::Result<Vec<Option<u32>>> {
    let scorer = Scorer::open(dir, &ScorerOptions::default())?;
    let ids: Vec<Vec<u32>> = IDS.iter().map(|ids| ids.to_vec()).collect();
    let scores = scorer.rewards_of_ids(&ids).into_iter();
    let bits = |reward: worldpm_ort::Reward| format!("{:?}", reward.output);
    // An error of one conversation is an answer too, such as of a lower limit.
    Ok(scores
        .map(|score| {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            bits(score.ok()?).hash(&mut hasher);
            Some(hasher.finish() as u32)
        })
        .collect())
}

#[test]
fn every_field_spoiled_in_every_way() {
    let (mut tried, mut accepted) = (0, 0);
    for bundle in bundles() {
        let original = support::read_json(&bundle.join(manifest::FILE_NAME));
        let copy = support::copy_of(&bundle);
        let whole = scores(copy.path()).ok();
        let known = Manifest::read(copy.path()).unwrap();
        let mut all = Vec::new();
        paths(&original, &[], &mut all);
        for path in &all {
            let place = written(path);
            // The text of a probe is nobody's business but the template's.
            let mut inputs: Vec<(String, Value)> = spoils()
                .into_iter()
                .map(|spoil| {
                    let mut changed = original.clone();
                    let what = spoil.to_string().chars().take(40).collect();
                    *at(&mut changed, path) = spoil;
                    (what, changed)
                })
                .collect();
            for (what, twice) in [("missing", false), ("twice", true)] {
                inputs.extend(without(&original, path, twice).map(|value| (what.into(), value)));
            }
            // Opening a bundle takes a second: one value of each field that is accepted is enough.
            let mut scored = false;
            for (what, changed) in inputs {
                tried += 1;
                write(copy.path(), &changed);
                let read = match Manifest::read(copy.path()) {
                    Ok(read) => read,
                    Err(Error::Manifest { field, problem, .. }) => {
                        // What is missing is named by the object that lacks it.
                        let names = field.is_some() || problem.contains("missing field");
                        assert!(names, "{place}, {what}: {problem}");
                        assert!(
                            !problem.contains('\0') && problem.len() < 20_000,
                            "{place}, {what}"
                        );
                        continue;
                    }
                    Err(other) => panic!("{place}, {what}: {other}"),
                };
                accepted += 1;
                let same = Manifest {
                    producer: known.producer.clone(),
                    source: known.source.clone(),
                    probes: known.probes.clone(),
                    ..read.clone()
                };
                // What has no part in scoring is not scored again, nor what stands for another bundle.
                let meant = read.end_token != known.end_token
                    || read.pooling != known.pooling
                    || read.activation != known.activation
                    || read.model.labels != known.model.labels;
                if scored || same == known || meant || whole.is_none() {
                    continue;
                }
                scored = true;
                // Files are found missing or other when the bundle is opened.
                let Ok(found) = scores(copy.path()) else {
                    continue;
                };
                for (found, whole) in found.iter().zip(whole.as_ref().unwrap()) {
                    assert!(found.is_none() || found == whole, "{place}, {what}");
                }
            }
        }
    }
    assert!(tried > 8000 && accepted > 100, "{tried} {accepted}");
}

#[test]
fn errors_name_the_field() {
    let bundle = support::bundle(SHAPE, &["--stages", "2"]);
    let original = support::read_json(&bundle.join(manifest::FILE_NAME));
    for (pointer, spoil, field) in [
        (
            "/stages/1/layers/0",
            json!(2147483648_u64),
            "stages[1].layers",
        ),
        ("/stages/1/layers/1", json!(3), "stages[1].layers"),
        ("/stages/0/layers", json!([1, 1]), "stages[0].layers"),
        (
            "/stages/1/inputs/0/name",
            json!("a\0b"),
            "stages[1].inputs[0].name",
        ),
        (
            "/stages/1/inputs/1/type",
            json!("int32"),
            "stages[1].inputs[1].type",
        ),
        (
            "/stages/0/outputs/0/shape/1",
            json!("65"),
            "stages[0].outputs[0].shape",
        ),
        ("/stages/0/outputs", json!([]), "stages[0].outputs"),
        ("/stages/1/graph", json!("stage-00.onnx"), "stages[1].graph"),
        (
            "/stages/0/graph",
            json!("../stage-00.onnx"),
            "stages[0].graph",
        ),
        ("/stages/0/sha256", json!("00"), "stages[0].sha256"),
        ("/stages/0/bytes", json!("many"), "stages[0].bytes"),
        (
            "/weights/files/0/name",
            json!("/etc/passwd"),
            "weights.files[0].name",
        ),
        (
            "/weights/files/0/bytes",
            json!(-1),
            "weights.files[0].bytes",
        ),
        ("/weights/directory", json!("here"), "weights.directory"),
        (
            "/text/files/0/name",
            json!("tokenizer.json"),
            "text.files[1].name",
        ),
        (
            "/model/num_key_value_heads",
            json!(0),
            "model.num_key_value_heads",
        ),
        (
            "/model/num_attention_heads",
            json!(null),
            "model.num_attention_heads",
        ),
        ("/model/labels", json!([]), "model.labels"),
        ("/max_length", json!(0), "max_length"),
        ("/end_token/id", json!(4294967295_u32), "end_token.id"),
        ("/min_ort_version", json!("new"), "min_ort_version"),
        ("/probes/0/name", json!(""), "probes[0].name"),
    ] {
        let copy = support::copy_of(&bundle);
        let mut changed = original.clone();
        *changed.pointer_mut(pointer).unwrap() = spoil;
        write(copy.path(), &changed);
        let model = copy.path().to_str().unwrap();
        for command in [
            &["score", "--model"][..],
            &["inspect"],
            &["verify", "--model"],
            &["bench", "--model"],
        ] {
            let output = support::run_with_input(&[command, &[model]].concat(), b"");
            let text = support::stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{pointer}: {text}");
            assert!(
                text.contains(&format!("field `{field}")),
                "{pointer}: {text}"
            );
        }
    }
}

/// A graph that is not what the manifest says, with its hash put right.
#[test]
fn graphs_that_disagree() {
    let bundle = support::bundle(SHAPE, &["--stages", "2"]);
    let copy = support::copy_of(&bundle);
    let graph = |name: &str| copy.path().join(name);
    fs::copy(bundle.join("stage-01.onnx"), graph("stage-00.onnx")).unwrap();
    support::edit_json(&graph(manifest::FILE_NAME), |manifest| {
        let (bytes, hash) = (
            manifest["stages"][1]["bytes"].clone(),
            manifest["stages"][1]["sha256"].clone(),
        );
        manifest["stages"][0]["bytes"] = bytes;
        manifest["stages"][0]["sha256"] = hash;
    });
    let record = br#"{"prompt":"a","response":"b"}"#;
    let output =
        support::run_with_input(&["score", "--model", copy.path().to_str().unwrap()], record);
    let text = support::stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("stage-00.onnx") && text.contains("where the manifest lists"),
        "{text}"
    );
}
