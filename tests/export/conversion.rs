//! `--precision` of weights that cannot be converted, and conversions that are cut short: all or nothing.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use crate::{
    precision::{INPUT, SHAPE, arguments, names, scores},
    support::{self, contents, manifest, run, run_ok, run_with_input, stderr},
};

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
