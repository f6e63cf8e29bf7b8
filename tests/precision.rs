//! The `export` command with `--precision`: what a score becomes, the same bytes when repeated, and all or
//! nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use support::{lines, run, run_ok, run_with_input, stderr};

/// Small, so that most of a bundle is not its embedding.
const SHAPE: &[&str] = &[
    "--seed",
    "5",
    "--hidden-size",
    "64",
    "--intermediate-size",
    "96",
    "--num-attention-heads",
    "2",
    "--num-key-value-heads",
    "1",
    "--head-dim",
    "32",
];

const INPUT: &[u8] = br#"{"prompt":"Tips for better sleep?","response":"Keep it dark."}
{"prompt":"Tips for better sleep?","response":"No idea."}
"#;

fn scores(bundle: &Path) -> Vec<f64> {
    scores_of(bundle, INPUT)
}

fn scores_of(bundle: &Path, input: &[u8]) -> Vec<f64> {
    // On every processor by the same kernels: what differs is the weights.
    let bundle = bundle.to_str().unwrap();
    let args = ["score", "--model", bundle, "--cpu-kernels", "onnxruntime"];
    let output = run_with_input(&args, input);
    assert!(output.status.success(), "{}", stderr(&output));
    let scores = lines(&output);
    scores
        .iter()
        .map(|line| line["score"].as_f64().unwrap())
        .collect()
}

fn arguments<'a>(checkpoint: &'a Path, out: &'a Path, flags: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--probes", "off", "--out", out.to_str().unwrap()]);
    args.extend(flags);
    args
}

fn manifest(bundle: &Path) -> Value {
    serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap()
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A precision and how far scores may be from those in fp32, as a root mean square over the conversations of
/// `many`. The scores lie about 1.3 apart, and this checkpoint with its random weights makes errors of weights and
/// activations five to fifteen times larger. A weight in fp16 is wrong by 0.02%, in blocks of 8 bits by 0.4%, in blocks
/// of 4 bits by 9% (asymmetric 8%).
const PRECISIONS: [(&[&str], f64); 12] = [
    (&["bf16"], 0.0),
    (&["fp16"], 1e-4),
    (&["fp32"], 0.0),
    (&["int8"], 0.15),
    (&["int8", "--asymmetric", "--block-size", "64"], 0.15),
    (&["int8", "--target", "onnx", "--block-size", "128"], 0.15),
    (&["int4"], 1.0),
    (&["int4", "--asymmetric"], 1.0),
    (&["int4", "--block-size", "128"], 1.0),
    (&["int4", "--target", "onnx"], 1.0),
    (&["int4", "--keep", "*"], 0.0),
    (&["w8a8"], 0.2),
];

fn rms(scores: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(scores.len(), expected.len());
    let squares = scores.iter().zip(expected).map(|(a, b)| (a - b).powi(2));
    (squares.sum::<f64>() / scores.len() as f64).sqrt()
}

/// Conversations of many kinds.
fn many() -> Vec<u8> {
    let words =
        "sleep dark bed light walk read quiet water cold warm plan early late work music stop rest";
    let words: Vec<&str> = words.split(' ').collect();
    let word = |i: usize| words[i * 7919 % words.len()];
    let lines = (0..40).map(|i| {
        let answer: Vec<&str> = (0..2 + i).map(|n| word(n * n + 3 * i)).collect();
        format!(
            "{}\n",
            serde_json::json!({"prompt": format!("How do I {}?", word(i)), "response": answer.join(" ")})
        )
    });
    lines.collect::<String>().into_bytes()
}

fn flags(precision: &[&'static str], more: &[&'static str]) -> Vec<&'static str> {
    [&["--probes", "off", "--precision"], precision, more].concat()
}

#[test]
fn scores_stay_close_to_fp32() {
    let input = many();
    let expected = scores_of(&support::bundle(SHAPE, &[]), &input);
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    let spread = rms(&expected, &vec![mean; expected.len()]);
    assert!(spread > 1.0, "{spread}");
    for (precision, tolerance) in PRECISIONS {
        let bundle = support::bundle(SHAPE, &flags(precision, &["--stages", "2"]));
        let drift = rms(&scores_of(&bundle, &input), &expected);
        eprintln!("{precision:?}: drift {drift:.5}, scores {spread:.2} apart");
        assert!(drift <= tolerance, "{precision:?}: {drift}");
        let manifest = manifest(&bundle);
        assert_eq!(manifest["precision"], precision[0]);
        let place = match precision[0] {
            "bf16" => "reference",
            _ => "converted",
        };
        assert_eq!(manifest["weights"]["mode"], place);
    }
}

/// Weights in symmetric blocks are the same in both operators' layouts; `MatMulNBits` also makes integers of 8 bits of
/// the activations. `tests/precision_check.py` compares the standard operators with the weights themselves.
#[test]
fn both_operators_read_the_same_blocks() {
    let input = many();
    for precision in ["int8", "int4"] {
        let scores = |target| {
            let flags = ["--precision", precision, "--target", target];
            scores_of(&support::bundle(SHAPE, &flags), &input)
        };
        let drift = rms(&scores("ort"), &scores("onnx"));
        assert!(drift <= 0.15, "{precision}: {drift}");
    }
}

#[test]
fn the_manifest_says_how_weights_are_quantised() {
    let flags = ["int4", "--block-size", "64", "--asymmetric"];
    let keep = ["--keep", "layers.0.*", "--keep", "*.down_proj"];
    let bundle = support::bundle(SHAPE, &[&["--precision"], &flags[..], &keep[..]].concat());
    let quantization = &manifest(&bundle)["quantization"];
    assert_eq!(quantization["operator"], "com.microsoft.MatMulNBits");
    assert_eq!(quantization["bits"], 4);
    assert_eq!(quantization["block_size"], 64);
    assert_eq!(quantization["symmetric"], false);
    assert_eq!(quantization["activations"], "int8_per_block");
    let kept: Vec<&str> = quantization["kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let mut expected: Vec<String> = ["gate_proj", "up_proj"]
        .map(|name| format!("model.layers.0.mlp.{name}"))
        .to_vec();
    expected.extend((0..3).map(|layer| format!("model.layers.{layer}.mlp.down_proj")));
    expected
        .extend(["q", "k", "v", "o"].map(|name| format!("model.layers.0.self_attn.{name}_proj")));
    expected.sort();
    assert_eq!(kept, expected);
    assert!(
        manifest(&support::bundle(SHAPE, &[]))
            .get("quantization")
            .is_none()
    );
}

/// On any number of threads, with and without checksums.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    for precision in ["fp16", "fp32", "int8", "int4", "w8a8"] {
        let bundles = ["1", "2", "5"].map(|threads| {
            let out = place.path().join(threads);
            let flags = ["--precision", precision, "--threads", threads, "--checksum"];
            run_ok(&arguments(&checkpoint, &out, &flags));
            contents(&out)
        });
        assert!(
            bundles.iter().all(|bundle| *bundle == bundles[0]),
            "{precision}"
        );
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let cases: [(&[&str], &[&str]); 15] = [
        (
            &["fp32", "--device", "cuda"],
            &["fp32 on CUDA", "bf16 or fp16"],
        ),
        (&["w8a8", "--device", "cuda"], &["w8a8 on CUDA", "int8"]),
        (&["w8a8", "--target", "onnx"], &["w8a8", "--target ort"]),
        (
            &["w8a8", "--layout", "triton", "--weights", "copy"],
            &["w8a8 for triton", "int8"],
        ),
        (
            &["int4", "--target", "onnx", "--device", "cuda"],
            &["int4", "--target ort"],
        ),
        (
            &["int8", "--target", "onnx", "--asymmetric"],
            &["asymmetric int8", "--asymmetric"],
        ),
        (
            &["int4", "--block-size", "48"],
            &["block_size", "48", "32, 64 or 128"],
        ),
        (&["int4", "--block-size", "0"], &["block_size"]),
        (&["fp16", "--block-size", "32"], &["block_size", "fp16"]),
        (&["w8a8", "--block-size", "32"], &["block_size", "w8a8"]),
        (&["bf16", "--asymmetric"], &["asymmetric", "bf16"]),
        (&["fp16", "--keep", "*"], &["keep", "fp16"]),
        (
            &["int4", "--keep", "layers.7.*"],
            &["keep", "`layers.7.*`", "model.layers.0."],
        ),
        (
            &["int4", "--keep", "*.up_proj", "--keep", "lm_head"],
            &["keep", "`lm_head`"],
        ),
        (&["int8", "--keep", ""], &["keep", "``"]),
    ];
    for (precision, parts) in cases {
        let flags = [&["--precision"], precision].concat();
        let output = run(&arguments(&checkpoint, &out, &flags));
        let problem = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{precision:?}: {problem}");
        for part in parts {
            assert!(problem.contains(part), "{precision:?}: {problem}");
        }
        assert!(names(place.path()).is_empty(), "{precision:?}");
    }
    let output = run(&arguments(&checkpoint, &out, &["--precision", "int5"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("bf16, fp16, fp32, int8, int4, w8a8"));
}

/// Rows of an odd length, shorter than a block, and not a multiple of one.
#[test]
fn odd_widths() {
    let shape = "--seed 6 --hidden-size 36 --intermediate-size 77 --num-hidden-layers 2 \
                 --num-attention-heads 3 --num-key-value-heads 1 --head-dim 16";
    let shape: Vec<&str> = shape.split_whitespace().collect();
    let input = many();
    let expected = scores_of(&support::bundle(&shape, &[]), &input);
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    let spread = rms(&expected, &vec![mean; expected.len()]);
    for (precision, tolerance) in [
        (&["int8"][..], 0.15),
        (&["int8", "--target", "onnx"], 0.15),
        (&["int4"], 1.0),
        (&["int4", "--asymmetric", "--block-size", "128"], 1.0),
        (&["int4", "--target", "onnx", "--keep", "*.down_proj"], 1.0),
        (&["w8a8"], 0.2),
    ] {
        let bundle = support::bundle(&shape, &flags(precision, &[]));
        let drift = rms(&scores_of(&bundle, &input), &expected);
        eprintln!("{precision:?}: drift {drift:.5}, scores {spread:.2} apart");
        assert!(drift <= tolerance * spread, "{precision:?}: {drift}");
    }
    // Two 4-bit integers share a byte, and standard operators know no padding.
    let checkpoint = support::checkpoint(&shape);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let output = run(&arguments(
        &checkpoint,
        &out,
        &["--precision", "int4", "--target", "onnx"],
    ));
    assert_eq!(output.status.code(), Some(1));
    for part in ["model.layers.0.mlp.down_proj.weight", "77", "--keep"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    assert!(names(place.path()).is_empty());
}

/// The weight file of a checkpoint, whose tensor `tensor` gets `bits` at element `index`.
fn spoil(checkpoint: &Path, tensor: &str, index: usize, bits: u16) {
    let path = checkpoint.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let json: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let begin = json[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    let at = 8 + header + begin + 2 * index;
    bytes[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

fn spoiled(changes: &[(&str, usize, u16)]) -> tempfile::TempDir {
    let source = support::checkpoint(&[SHAPE, &["--single-file"]].concat());
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in contents(&source) {
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    for (tensor, index, bits) in changes {
        spoil(copy.path(), tensor, *index, *bits);
    }
    copy
}

/// bfloat16 bits of NaN and of infinity.
const NAN: u16 = 0x7fc0;
const INFINITY: u16 = 0x7f80;

#[test]
fn weights_that_are_no_numbers_are_named() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let up_proj = "model.layers.1.mlp.up_proj.weight";
    for (tensor, index, bits, shown) in [
        (up_proj, 64 * 5 + 3, NAN, "[5, 3]"),
        (up_proj, 64 * 95 + 63, INFINITY, "[95, 63]"),
        (
            "model.embed_tokens.weight",
            64 * 100_000 + 9,
            NAN,
            "[100000, 9]",
        ),
        ("model.norm.weight", 7, NAN, "[7]"),
    ] {
        let checkpoint = spoiled(&[(tensor, index, bits)]);
        for precision in ["int8", "int4", "w8a8"] {
            let flags = ["--precision", precision];
            let output = run(&arguments(checkpoint.path(), &out, &flags));
            assert_eq!(output.status.code(), Some(1));
            let problem = stderr(&output);
            for part in [tensor, shown, "model.safetensors"] {
                assert!(problem.contains(part), "{precision}: {problem}");
            }
            assert!(names(place.path()).is_empty());
        }
    }
}

#[test]
fn weights_too_large_for_fp16() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    // 2^17 and -2^20 in bfloat16.
    let changes = [
        ("model.layers.1.mlp.up_proj.weight", 70, 0x4800),
        ("model.layers.1.mlp.up_proj.weight", 700, 0xc980),
        ("model.layers.2.mlp.up_proj.weight", 3, 0x4800),
    ];
    let checkpoint = spoiled(&changes);
    let flags = ["--precision", "fp16"];
    let output = run(&arguments(checkpoint.path(), &out, &flags));
    assert_eq!(output.status.code(), Some(1));
    let parts = [
        "`model.layers.1.mlp.up_proj.weight` (2 values, the largest 1.048576e6)",
        "`model.layers.2.mlp.up_proj.weight` (1 value, the largest 1.31072e5)",
    ];
    for part in parts.iter().chain(&["--overflow clamp"]) {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    assert!(names(place.path()).is_empty());

    let clamp = [&flags[..], &["--overflow", "clamp"]].concat();
    let output = run_ok(&arguments(checkpoint.path(), &out, &clamp));
    for part in parts {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let clamped = &manifest(&out)["weights"]["clamped"];
    assert_eq!(clamped[0]["tensor"], "model.layers.1.mlp.up_proj.weight");
    assert_eq!(clamped[0]["count"], 2);
    assert_eq!(clamped[0]["largest"], 1_048_576.0);
    assert_eq!(clamped.as_array().unwrap().len(), 2);
}

/// A changed weight file is noticed when the bundle is opened.
#[test]
fn converted_files_are_checked() {
    let bundle = support::bundle(SHAPE, &["--precision", "fp16", "--stages", "3"]);
    let copy = |place: &Path| {
        for (name, bytes) in contents(&bundle) {
            fs::write(place.join(name), bytes).unwrap();
        }
    };
    let refused = |place: &Path| {
        let output = run_with_input(&["score", "--model", place.to_str().unwrap()], INPUT);
        assert!(!output.status.success());
        stderr(&output)
    };
    let file = |place: &Path, stage: usize| place.join(format!("stage-0{stage}.safetensors"));

    let place = tempfile::tempdir().unwrap();
    copy(place.path());
    // Two stages with layers of equal size.
    fs::copy(file(place.path(), 1), file(place.path(), 2)).unwrap();
    let problem = refused(place.path());
    assert!(problem.contains("stage-02.safetensors"), "{problem}");
    copy(place.path());
    fs::OpenOptions::new()
        .append(true)
        .open(file(place.path(), 0))
        .unwrap()
        .set_len(5000)
        .unwrap();
    assert!(refused(place.path()).contains("has 5000 bytes"));
    fs::remove_file(file(place.path(), 0)).unwrap();
    assert!(refused(place.path()).contains("stage-00.safetensors"));
}

/// A layout whose conversion no disk can hold is refused before anything is written.
#[test]
fn no_room_for_the_result() {
    let place = tempfile::tempdir().unwrap();
    let [checkpoint, out] = ["checkpoint", "out"].map(|name| place.path().join(name));
    // 400 terabytes of holes.
    let sizes = "--hidden-size 8192 --intermediate-size 268435456 --num-hidden-layers 30";
    let mut args = vec!["synth", "--sparse", "--out", checkpoint.to_str().unwrap()];
    args.extend(sizes.split(' '));
    args.extend(["--num-attention-heads", "64", "--shard-bytes", "1"]);
    run_ok(&args);
    let output = run(&arguments(&checkpoint, &out, &["--precision", "fp16"]));
    assert_eq!(output.status.code(), Some(1));
    let problem = stderr(&output);
    assert!(problem.contains("free some space"), "{problem}");
    assert_eq!(names(place.path()), ["checkpoint"]);
}

/// Bytes on disk of the directories beside `out` that an export fills; `None` before there is one.
fn written(place: &Path) -> Option<u64> {
    let files = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs: Vec<PathBuf> = files(place.to_owned())
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.ends_with("out"))
        .collect();
    let sizes = dirs.iter().flat_map(|dir| files(dir.clone()));
    let blocks = sizes
        .flat_map(|file| file.metadata())
        .map(|file| file.blocks());
    (!dirs.is_empty()).then(|| 512 * blocks.sum::<u64>())
}

/// Whenever an export is killed, what it leaves is no bundle, or the whole one; and the next export makes the
/// whole one and clears up.
#[test]
fn killed_at_any_moment() {
    // Large enough to be caught in the middle.
    let checkpoint = support::checkpoint(&["--seed", "5"]);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let args = arguments(
        &checkpoint,
        &out,
        &["--precision", "fp32", "--threads", "1"],
    );
    run_ok(&args);
    let (whole, expected) = (contents(&out), scores(&out));
    let bytes: u64 = whole.values().map(|file| file.len() as u64).sum();

    let mut interrupted = 0;
    for part in 0..10 {
        let _ = fs::remove_dir_all(&out);
        let mut child = support::command()
            .args(&args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From the first file on, to when nearly all is written; should it be missed, the export ends first.
        let enough = bytes / 9 * part;
        while written(place.path()).is_none_or(|bytes| bytes < enough)
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for name in names(place.path()) {
            let left: PathBuf = place.path().join(name);
            if left.is_file() {
                // The lock.
                continue;
            }
            if contents(&left).contains_key("manifest.json") {
                assert_eq!(scores(&left), expected, "{}", left.display());
            } else {
                let args = ["score", "--model", left.to_str().unwrap()];
                assert_eq!(run_with_input(&args, INPUT).status.code(), Some(1));
                interrupted += 1;
            }
        }
    }
    assert!(
        interrupted >= 3,
        "{interrupted} exports were killed half-way"
    );
    run_ok(&args);
    assert_eq!(names(place.path()), ["out"]);
    assert!(contents(&out) == whole, "the bundle differs");
}

/// `QuantizeLinear` of operator set 23 came to the CPU with ONNX Runtime 1.24.
#[test]
fn a_bundle_asks_for_the_library_that_runs_it() {
    for (precision, expected) in [("w8a8", "1.24"), ("int8", "1.23"), ("bf16", "1.23")] {
        let bundle = support::bundle(SHAPE, &flags(&[precision], &[]));
        let manifest = support::read_json(&bundle.join("manifest.json"));
        assert_eq!(manifest["min_ort_version"], expected, "{precision}");
    }
}
