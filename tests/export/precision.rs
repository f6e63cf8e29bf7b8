//! The `export` command with `--precision`: what a score becomes, and the same bytes when repeated.

use std::{fs, path::Path};

use crate::support::{self, contents, lines, manifest, run, run_ok, run_with_input, stderr};

/// Small, so that most of a bundle is not its embedding.
pub(crate) const SHAPE: &[&str] = &[
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

pub(crate) const INPUT: &[u8] = br#"{"prompt":"Tips for better sleep?","response":"Keep it dark."}
{"prompt":"Tips for better sleep?","response":"No idea."}
"#;

pub(crate) fn scores(bundle: &Path) -> Vec<f64> {
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

pub(crate) fn arguments<'a>(
    checkpoint: &'a Path,
    out: &'a Path,
    flags: &[&'a str],
) -> Vec<&'a str> {
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--probes", "off", "--out", out.to_str().unwrap()]);
    args.extend(flags);
    args
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
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

pub(crate) fn rms(scores: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(scores.len(), expected.len());
    let squares = scores.iter().zip(expected).map(|(a, b)| (a - b).powi(2));
    (squares.sum::<f64>() / scores.len() as f64).sqrt()
}

/// Conversations of many kinds.
pub(crate) fn many() -> Vec<u8> {
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

/// `QuantizeLinear` of operator set 23 came to the CPU with ONNX Runtime 1.24.
#[test]
fn a_bundle_asks_for_the_library_that_runs_it() {
    for (precision, expected) in [("w8a8", "1.24"), ("int8", "1.23"), ("bf16", "1.23")] {
        let bundle = support::bundle(SHAPE, &flags(&[precision], &[]));
        let manifest = support::read_json(&bundle.join("manifest.json"));
        assert_eq!(manifest["min_ort_version"], expected, "{precision}");
    }
}
