//! The `export` command with `--adapter`: scores equal PEFT's, and the same bytes when repeated.
//!
//! The adapters and golden files are made by `tests/fixtures/adapters/make_adapter_goldens.py`. Each golden file
//! names the flags of the `synth` command that its checkpoint was made with.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use worldpm_ort::{Scorer, ScorerOptions};

use crate::support::{
    self, contents, manifest, run, run_ok, stderr,
    tensors::{self, Tensors, pattern},
};

pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

#[derive(Deserialize)]
pub(crate) struct Golden {
    synth: Vec<String>,
    /// Shapes of the adapter's tensors, by name.
    tensors: BTreeMap<String, Vec<u64>>,
    conversations: Vec<Case>,
}

/// Scores by PEFT in fp32.
#[derive(Deserialize)]
struct Case {
    input_ids: Vec<u32>,
    /// Of the checkpoint alone.
    base: f64,
    /// With the adapter beside it.
    score: f64,
    /// With the adapter merged into it.
    merged: f64,
    /// As `merged`, with every weight but those of the head rounded to bfloat16.
    merged_bf16: f64,
    /// The same, with half precision.
    merged_fp16: f64,
}

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures/adapters").join(name)
}

pub(crate) fn golden(name: &str) -> Golden {
    serde_json::from_slice(&fs::read(fixture(name).join("golden.json")).unwrap()).unwrap()
}

pub(crate) fn checkpoint(golden: &Golden) -> PathBuf {
    let flags: Vec<&str> = golden.synth.iter().map(String::as_str).collect();
    support::checkpoint(&flags)
}

/// A copy of an adapter. Weights that are not kept are made as `pattern` of the script does.
pub(crate) fn adapter(name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(fixture(name).join(CONFIG), copy.path().join(CONFIG)).unwrap();
    if fixture(name).join(WEIGHTS).exists() {
        fs::copy(fixture(name).join(WEIGHTS), copy.path().join(WEIGHTS)).unwrap();
        return copy;
    }
    let made = pattern(&golden(name).tensors);
    write_tensors(copy.path(), &made);
    copy
}

pub(crate) fn read_tensors(dir: &Path) -> Tensors {
    tensors::read(&dir.join(WEIGHTS))
}

pub(crate) fn write_tensors(dir: &Path, all: &Tensors) {
    tensors::write(&dir.join(WEIGHTS), all);
}

pub(crate) fn arguments<'a>(
    checkpoint: &'a Path,
    adapter: &'a Path,
    out: &'a Path,
    flags: &[&'a str],
) -> Vec<&'a str> {
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--adapter", adapter.to_str().unwrap()]);
    args.extend(["--out", out.to_str().unwrap()]);
    args.extend(flags);
    if !flags.contains(&"--probes") {
        args.extend(["--probes", "off"]);
    }
    args
}

/// Largest difference to a golden score, absolute.
const TOLERANCE: f64 = 1e-4;

/// An adapter is merged before weights are quantised: the scores are those of the merged model, as far as 8 bits go,
/// and far from the base model's.
#[test]
fn a_merged_model_is_quantised() {
    let golden = golden("linear");
    let (checkpoint, adapter) = (checkpoint(&golden), adapter("linear"));
    let sequences: Vec<Vec<u32>> = golden
        .conversations
        .iter()
        .map(|case| case.input_ids.clone())
        .collect();
    for (precision, calibrate) in [
        ("int8", "off"),
        ("w8a8", "off"),
        ("int8", "builtin"),
        ("w8a8", "builtin"),
    ] {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        let flags = ["--precision", precision, "--calibrate", calibrate];
        run_ok(&arguments(&checkpoint, adapter.path(), &out, &flags));
        let scorer = Scorer::open(&out, &ScorerOptions::default()).unwrap();
        let (mut merged, mut base) = (0.0_f64, 0.0_f64);
        for (case, score) in golden
            .conversations
            .iter()
            .zip(scorer.score_ids(&sequences))
        {
            let score = f64::from(score.unwrap().score);
            merged = merged.max((score - case.merged).abs());
            base = base.max((score - case.base).abs());
        }
        assert!(
            merged < 0.1 * base,
            "{precision}, {calibrate}: {merged} from merged, {base} from base"
        );
    }
}

/// The forms of bundle that each adapter is exported to, and the golden score of each.
type Form = (&'static [&'static str], fn(&Case) -> f64);
const FORMS: [Form; 5] = [
    (&["--precision", "fp32"], |case| case.score),
    (&["--precision", "fp32"], |case| case.merged),
    (
        &["--precision", "fp32", "--target", "onnx", "--stages", "2"],
        |case| case.score,
    ),
    (&["--precision", "fp16"], |case| case.merged_fp16),
    (&[], |case| case.merged_bf16),
];

#[test]
fn scores_equal_peft() {
    for name in ["linear", "reward", "embedding"] {
        let golden = golden(name);
        let (checkpoint, adapter) = (checkpoint(&golden), adapter(name));
        let sequences: Vec<Vec<u32>> = golden
            .conversations
            .iter()
            .map(|case| case.input_ids.clone())
            .collect();
        assert!(sequences.len() >= 8);
        for (flags, expected) in FORMS {
            let place = tempfile::tempdir().unwrap();
            let out = place.path().join("out");
            run_ok(&arguments(&checkpoint, adapter.path(), &out, flags));
            let scorer = Scorer::open(&out, &ScorerOptions::default()).unwrap();
            let (mut worst, mut change) = (0.0_f64, 0.0_f64);
            for (case, score) in golden
                .conversations
                .iter()
                .zip(scorer.score_ids(&sequences))
            {
                let (score, expected) = (f64::from(score.unwrap().score), expected(case));
                change = change.max((case.base - expected).abs());
                assert!(
                    (score - expected).abs() <= TOLERANCE,
                    "{name} {flags:?}: {score}, not {expected}"
                );
                worst = worst.max((score - expected).abs());
            }
            assert!(change > 0.5, "{name} changes next to nothing");
            eprintln!("{name} {flags:?}: largest difference {worst:.1e}");
        }
    }
}

/// On any number of threads, and wherever the adapter is.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let golden = golden("linear");
    let checkpoint = checkpoint(&golden);
    let place = tempfile::tempdir().unwrap();
    let bundles = ["1", "2", "5"].map(|threads| {
        let (adapter, out) = (adapter("linear"), place.path().join(threads));
        let flags = ["--stages", "2", "--checksum", "--threads", threads];
        let args = arguments(&checkpoint, adapter.path(), &out, &flags);
        let said = stderr(&run_ok(&args));
        assert!(said.contains("14 tensors merged, 1 replaced"), "{said}");
        contents(&out)
    });
    assert!(bundles.iter().all(|bundle| *bundle == bundles[0]));

    let manifest = manifest(&place.path().join("1"));
    let adapter = &manifest["source"]["adapter"];
    assert_eq!(adapter["r"], 4);
    assert_eq!(adapter["lora_alpha"], 8.0);
    assert_eq!(adapter["merged_tensors"], 14);
    assert_eq!(adapter["replaced_tensors"], 1);
    assert_eq!(adapter["repository"], Value::Null);
    for hash in ["config_sha256", "weights_sha256"] {
        assert_eq!(adapter[hash].as_str().unwrap().len(), 64);
    }
    assert_eq!(manifest["precision"], "bf16");
    assert_eq!(manifest["weights"]["mode"], "converted");
    assert_eq!(manifest["weights"]["directory"], Value::Null);
}

/// An adapter in the cache of a hub is known by its name there.
#[test]
fn an_adapter_from_a_hub_cache() {
    let checkpoint = checkpoint(&golden("linear"));
    let place = tempfile::tempdir().unwrap();
    let snapshot = "models--someone--an-adapter/snapshots/0123abc";
    let (snapshot, out) = (place.path().join(snapshot), place.path().join("out"));
    fs::create_dir_all(&snapshot).unwrap();
    for file in [CONFIG, WEIGHTS] {
        fs::copy(fixture("linear").join(file), snapshot.join(file)).unwrap();
    }
    run_ok(&arguments(&checkpoint, &snapshot, &out, &[]));
    let manifest = manifest(&out);
    assert_eq!(
        manifest["source"]["adapter"]["repository"],
        "someone/an-adapter"
    );
    assert_eq!(manifest["source"]["adapter"]["revision"], "0123abc");
}

/// The reference scores of the probes are those with the adapter, merged without rounding.
#[test]
fn probes_are_scored_with_the_adapter() {
    let checkpoint = checkpoint(&golden("linear"));
    let (adapter, place) = (adapter("linear"), tempfile::tempdir().unwrap());
    let [rounded, exact] = ["bf16", "fp32"].map(|precision| {
        let out = place.path().join(precision);
        let flags = ["--probes", "on", "--precision", precision];
        run_ok(&arguments(&checkpoint, adapter.path(), &out, &flags));
        run_ok(&["verify", "--model", out.to_str().unwrap()]);
        out
    });
    let probes = |bundle: &Path| fs::read(bundle.join("probes.json")).unwrap();
    let expected = probes(&rounded);
    assert!(expected == probes(&exact), "the reference is rounded");

    fs::remove_file(rounded.join("probes.json")).unwrap();
    let record = |adapter: &[&str]| {
        let mut args = vec!["verify", "--record", "--model", rounded.to_str().unwrap()];
        args.extend(["--checkpoint", checkpoint.to_str().unwrap()]);
        args.extend(adapter);
        run(&args)
    };
    for (adapter, part) in [
        (vec![], "--adapter"),
        (vec!["--adapter", "no-such-place"], "no-such-place"),
        (
            vec!["--adapter", "tests/fixtures/adapters/reward"],
            "SHA-256",
        ),
    ] {
        let output = record(&adapter);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let output = record(&["--adapter", adapter.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(expected == probes(&rounded));
}
