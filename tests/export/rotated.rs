//! The `rotate` command: checkpoints with the same scores.

use std::{fs, path::Path};

use crate::{
    precision::{SHAPE, many, rms},
    support::{self, contents, expect_failure, lines, run, run_ok, run_with_input, tensors},
};

fn scores(bundle: &Path, flags: &[&str]) -> Vec<f64> {
    let args = [
        &[
            "score",
            "--only-scores",
            "--model",
            bundle.to_str().unwrap(),
        ],
        flags,
    ]
    .concat();
    let output = run_with_input(&args, &many());
    assert!(output.status.success(), "{}", support::stderr(&output));
    let number = |line: &serde_json::Value| match line.get("score") {
        Some(score) => score.as_f64().unwrap(),
        None => line["scores"]["b"].as_f64().unwrap(),
    };
    lines(&output).iter().map(number).collect()
}

fn export(checkpoint: &Path, out: &Path, flags: &[&str]) {
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap(), "--probes", "off"]);
    args.extend(flags);
    run_ok(&args);
}

fn rotate(checkpoint: &Path, out: &Path, flags: &[&str]) {
    let args = ["rotate", "--checkpoint", checkpoint.to_str().unwrap()];
    run_ok(&[&args[..], &["--out", out.to_str().unwrap()], flags].concat());
}

/// Decoders with biases, with norms of heads, with heads whose width is no power of two; heads of one and of two layers.
#[test]
fn rotated_weights_give_the_same_scores() {
    let place = tempfile::tempdir().unwrap();
    let (rotated, out) = (place.path().join("rotated"), place.path().join("bundle"));
    for synth in [
        &["--architecture", "qwen2"][..],
        &[
            "--architecture",
            "qwen2",
            "--head",
            "one",
            "--labels",
            "a,b",
        ],
        &[
            "--architecture",
            "llama",
            "--config",
            "attention_bias=true",
            "--config",
            "mlp_bias=true",
        ],
        &[
            "--architecture",
            "mistral",
            "--hidden-size",
            "96",
            "--head-dim",
            "24",
        ],
        &["--architecture", "qwen3", "--config-style", "transformers5"],
    ] {
        let synth = [SHAPE, synth].concat();
        // The last of an option counts.
        let synth = last_of_each(&synth);
        let checkpoint = support::checkpoint(&synth);
        rotate(&checkpoint, &rotated, &[]);
        export(&rotated, &out, &[]);
        let (found, expected) = (
            scores(&out, &[]),
            scores(&support::bundle(&synth, &[]), &[]),
        );
        let largest = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        eprintln!("{synth:?}: {largest:.1e}");
        assert!(largest < 5e-5, "{synth:?}: {largest}");
        assert!(rms(&expected, &vec![0.0; expected.len()]) > 0.1);
        fs::remove_dir_all(&rotated).unwrap();
    }
}

fn last_of_each<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let pairs: Vec<&[&str]> = flags.chunks(2).collect();
    let is_last = |(at, pair): &(usize, &&[&'a str])| {
        pair[0] == "--config" || !pairs[at + 1..].iter().any(|later| later[0] == pair[0])
    };
    let last = pairs.iter().enumerate().filter(is_last);
    last.flat_map(|(_, pair)| pair.iter().copied()).collect()
}

/// A channel of the stream that is far larger than the rest: what makes 8-bit activations of trained models coarse.
#[test]
fn large_channels_are_spread() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let source = support::checkpoint(&[SHAPE, &["--single-file"]].concat());
    let spoiled = at("spoiled");
    fs::create_dir(&spoiled).unwrap();
    support::copy_files(&source, &spoiled);
    let weights = spoiled.join("model.safetensors");
    let mut all = tensors::read(&weights);
    for (name, tensor) in &mut all {
        let is_norm = ["input_layernorm.weight", "post_attention_layernorm.weight"]
            .iter()
            .any(|norm| name.ends_with(norm));
        if !is_norm {
            continue;
        }
        for at in [3, 40] {
            let value = &mut tensor.data[2 * at..2 * at + 2];
            let bits = u16::from_le_bytes([value[0], value[1]]);
            // A bfloat16 number times 32.
            value.copy_from_slice(&(bits + (5 << 7)).to_le_bytes());
        }
    }
    tensors::write(&weights, &all);
    rotate(&spoiled, &at("rotated"), &[]);
    export(&spoiled, &at("exact"), &[]);
    let expected = scores(&at("exact"), &[]);
    let w8a8 = ["--precision", "w8a8", "--calibrate", "off"];
    let [plain, rotated] = ["spoiled", "rotated"].map(|name| {
        let out = at(&format!("{name}-w8a8"));
        export(&at(name), &out, &w8a8);
        rms(&scores(&out, &["--cpu-kernels", "onnxruntime"]), &expected)
    });
    eprintln!("drift {plain:.4}, rotated {rotated:.4}");
    assert!(rotated < 0.6 * plain, "{plain} {rotated}");
}

#[test]
fn types_and_what_is_there_already() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let checkpoint = support::checkpoint(SHAPE);
    rotate(&checkpoint, &out, &["--dtype", "bf16", "--threads", "1"]);
    let config = support::read_json(&out.join("config.json"));
    assert_eq!(config["torch_dtype"], "bfloat16");
    let before = contents(&out);
    let (from, to) = (checkpoint.to_str().unwrap(), out.to_str().unwrap());
    let again = run(&["rotate", "--checkpoint", from, "--out", to]);
    expect_failure("taken", &again, &["out", "choose another directory"]);
    assert_eq!(contents(&out), before);
    let gemma = support::checkpoint(&[SHAPE, &["--architecture", "gemma2"]].concat());
    let to = place.path().join("other");
    let refused = run(&[
        "rotate",
        "--checkpoint",
        gemma.to_str().unwrap(),
        "--out",
        to.to_str().unwrap(),
    ]);
    expect_failure(
        "gemma2",
        &refused,
        &["rotating a gemma2 model is not supported"],
    );
    assert!(!to.exists());
}
