//! Weights that change under a bundle: no score is given that was not computed with what was checked.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use worldpm_ort::{Conversation, Error, Residency, Scorer, ScorerOptions};

use crate::support::{self, read_json, run, run_ok, run_with_input, stderr};

const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "5"];
/// More records than a window has; two windows are under way.
const FIRST: usize = 1200;
const RECORDS: usize = 2000;

fn record(number: usize) -> String {
    format!("{{\"id\":{number},\"prompt\":\"a {number}\",\"response\":\"b\"}}\n")
}

/// A checkpoint of its own, and a bundle of it.
fn bundle(place: &Path, flags: &[&str]) -> (PathBuf, PathBuf) {
    let (checkpoint, out) = (place.join("ck"), place.join("b"));
    let synth = ["synth", "--out", checkpoint.to_str().unwrap()];
    run_ok(&[&synth[..], SHAPE].concat());
    let export = ["export", "--checkpoint", checkpoint.to_str().unwrap()];
    let to = ["--out", out.to_str().unwrap(), "--probes", "off"];
    run_ok(&[&export[..], &to, flags].concat());
    (checkpoint, out)
}

fn weights(checkpoint: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(checkpoint).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect()
}

/// Makes zeros of all weights, in place.
fn overwrite(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut length = [0; 8];
    file.read_exact_at(&mut length, 0).unwrap();
    let begin = 8 + u64::from_le_bytes(length);
    let count = file.metadata().unwrap().len() - begin;
    file.write_all_at(&vec![0; count as usize], begin).unwrap();
}

fn truncate(path: &Path) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(5000)
        .unwrap();
}

/// Scores, with `change` done to the weights when the first scores are there. Returns the lines and the messages.
fn score_while(flags: &[&str], change: fn(&Path)) -> (Vec<Value>, String, Vec<Value>) {
    let place = tempfile::tempdir().unwrap();
    let (checkpoint, out) = bundle(place.path(), &["--stages", "2"]);
    let arguments = [&["score", "--model", out.to_str().unwrap()], flags].concat();
    let all: String = (0..RECORDS).map(record).collect();
    let expected = support::lines(&run_with_input(&arguments, all.as_bytes()));
    assert_eq!(expected.len(), RECORDS);

    let mut child = support::spawn(&arguments);
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let first: String = (0..FIRST).map(record).collect();
    input.write_all(first.as_bytes()).unwrap();
    let mut lines = String::new();
    output.read_line(&mut lines).unwrap();
    weights(&checkpoint).iter().for_each(|path| change(path));
    let rest: String = (FIRST..RECORDS).map(record).collect();
    // Whoever has seen the change has closed it.
    let _ = input.write_all(rest.as_bytes());
    drop(input);
    output.read_to_string(&mut lines).unwrap();
    let finished = child.wait_with_output().unwrap();
    let message = stderr(&finished);
    assert_eq!(finished.status.code(), Some(1), "{message}");
    assert!(message.contains(".safetensors"), "{message}");
    // What was cut off when the process ended is no line.
    let complete = lines.rsplit_once('\n').map_or("", |(complete, _)| complete);
    let lines = complete
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (lines, message, expected)
}

#[test]
fn changed_while_it_scores() {
    for (flags, change) in [
        (&[][..], overwrite as fn(&Path)),
        (&["--keep-going"], overwrite),
        (&["--residency", "resident"], truncate),
        (&[], |path| fs::remove_file(path).unwrap()),
    ] {
        let (lines, message, expected) = score_while(flags, change);
        assert!(!lines.is_empty() && lines.len() < RECORDS, "{message}");
        for (line, expected) in lines.iter().zip(&expected) {
            assert_eq!(line, expected, "{flags:?}: {message}");
        }
    }
}

/// Loaded or streamed, whatever is asked after the change.
#[test]
fn changed_under_an_open_scorer() {
    let conversation = Conversation::exchange("Tips for better sleep?", "Keep it dark.");
    for residency in [Residency::Resident, Residency::Streamed] {
        for change in [overwrite as fn(&Path), |path| {
            fs::remove_file(path).unwrap()
        }] {
            let place = tempfile::tempdir().unwrap();
            let (checkpoint, out) = bundle(place.path(), &["--stages", "2"]);
            let options = ScorerOptions::default().with_residency(residency);
            let scorer = Scorer::open(&out, &options).unwrap();
            let score = || scorer.score(std::slice::from_ref(&conversation)).remove(0);
            let before = score().unwrap();
            assert_eq!(score().unwrap(), before);
            // A link more is no change.
            for path in weights(&checkpoint) {
                fs::hard_link(&path, path.with_extension("link")).unwrap();
            }
            assert_eq!(score().unwrap(), before);
            change(&weights(&checkpoint)[0]);
            for _ in 0..2 {
                let error = score().unwrap_err();
                assert!(matches!(error, Error::WeightsChanged { .. }), "{error}");
            }
        }
    }
}

#[test]
fn changed_between_export_and_scoring() {
    let place = tempfile::tempdir().unwrap();
    let (checkpoint, out) = bundle(place.path(), &[]);
    let score = || {
        run_with_input(
            &["score", "--model", out.to_str().unwrap()],
            record(0).as_bytes(),
        )
    };
    let before = score();
    assert!(before.status.success(), "{}", stderr(&before));
    // Copies of the same bytes are the same weights.
    for path in weights(&checkpoint) {
        let copy = path.with_extension("copy");
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
    }
    assert_eq!(score().stdout, before.stdout);
    overwrite(&weights(&checkpoint)[0]);
    let after = score();
    assert_eq!(after.status.code(), Some(1));
    let message = stderr(&after);
    assert!(message.contains("holds other weights"), "{message}");
    let inspected = run(&["inspect", out.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&inspected.stdout).contains("CHANGED"));
}

#[test]
fn bundles_without_samples_open() {
    let place = tempfile::tempdir().unwrap();
    let (_, out) = bundle(place.path(), &[]);
    let manifest = out.join("manifest.json");
    assert!(read_json(&manifest)["weights"]["files"][0]["sampled_sha256"].is_string());
    support::edit_json(&manifest, |manifest| {
        for file in manifest["weights"]["files"].as_array_mut().unwrap() {
            file.as_object_mut().unwrap().remove("sampled_sha256");
        }
    });
    let scored = run_with_input(
        &["score", "--model", out.to_str().unwrap()],
        record(0).as_bytes(),
    );
    assert!(scored.status.success(), "{}", stderr(&scored));
    let inspected = run_ok(&["inspect", out.to_str().unwrap()]);
    let told = String::from_utf8(inspected.stdout).unwrap();
    assert!(told.contains("recorded no samples"), "{told}");
}

#[test]
fn moved_and_linked_back() {
    let place = tempfile::tempdir().unwrap();
    let (checkpoint, out) = bundle(place.path(), &[]);
    let elsewhere = place.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for path in weights(&checkpoint) {
        let moved = elsewhere.join(path.file_name().unwrap());
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
    }
    let model = out.to_str().unwrap();
    let output = run_with_input(&["score", "--model", model], record(0).as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("--weights-dir") && message.contains("is a link to"),
        "{message}"
    );
    let arguments = [
        "score",
        "--model",
        model,
        "--weights-dir",
        elsewhere.to_str().unwrap(),
    ];
    let output = run_with_input(&arguments, record(0).as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
}
