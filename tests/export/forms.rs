//! The `export` command: every form gives the same scores, and the same bytes when repeated.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};

use serde_json::Value;

use crate::support::{self, contents, export, lines, run_with_input};

const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "5"];

const INPUT: &[u8] = br#"{"prompt":"Tips for better sleep?","response":"Keep it dark."}
{"prompt":"Tips for better sleep?","response":"No idea."}
"#;

fn scores(bundle: &Path) -> Vec<f64> {
    let output = run_with_input(&["score", "--model", bundle.to_str().unwrap()], INPUT);
    assert!(output.status.success(), "{}", support::stderr(&output));
    let scores: Vec<f64> = lines(&output)
        .iter()
        .map(|line| line["score"].as_f64().unwrap())
        .collect();
    assert_eq!(scores.len(), 2);
    scores
}

#[test]
fn all_forms_give_the_same_scores() {
    let checkpoint = support::checkpoint(SHAPE);
    // Hard links must stay on the file system of the checkpoint.
    let place = tempfile::tempdir_in(checkpoint.parent().unwrap()).unwrap();
    let expected = scores(&support::bundle(SHAPE, &[]));
    assert!((expected[0] - expected[1]).abs() > 1e-3, "{expected:?}");
    for weights in ["reference", "hardlink", "copy"] {
        for stages in ["1", "2", "3"] {
            let out = place.path().join(format!("{weights}-{stages}"));
            export(
                &checkpoint,
                &out,
                &["--weights", weights, "--stages", stages],
            );
            assert_eq!(scores(&out), expected, "{weights}, {stages} stages");
            let linked = fs::read_dir(&out)
                .unwrap()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.path().extension().is_some_and(|e| e == "safetensors"))
                .map(|entry| entry.metadata().unwrap().nlink())
                .collect::<Vec<_>>();
            match weights {
                "reference" => assert!(linked.is_empty()),
                "hardlink" => assert!(!linked.is_empty() && linked.iter().all(|&n| n > 1)),
                _ => assert!(!linked.is_empty() && linked.iter().all(|&n| n == 1)),
            }
        }
    }
    let standard = place.path().join("onnx");
    export(
        &checkpoint,
        &standard,
        &["--target", "onnx", "--stages", "2"],
    );
    for (got, expected) in scores(&standard).iter().zip(expected) {
        assert!((got - expected).abs() < 1e-5, "{got}, not {expected}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    for flags in [
        &["--stages", "3", "--probes", "on"][..],
        &["--device", "cuda", "--target", "onnx", "--checksum"],
        &["--weights", "copy"],
    ] {
        let [first, second] = ["first", "second"].map(|name| {
            let out = place.path().join(name);
            export(&checkpoint, &out, flags);
            contents(&out)
        });
        assert!(first.len() >= 4);
        assert_eq!(first.contains_key("probes.json"), flags.contains(&"on"));
        assert_eq!(first, second, "{flags:?}");
    }
}

/// Head layers, tied embeddings, shards, one file, both spellings of the configuration.
#[test]
fn kinds_of_checkpoint() {
    let kinds: [&[&str]; 5] = [
        &["--head", "one", "--config-style", "transformers5"],
        &["--head", "one", "--head-bias", "--single-file"],
        &[
            "--head",
            "two",
            "--tie-word-embeddings",
            "--shard-bytes",
            "1000000",
        ],
        &[
            "--head",
            "two",
            "--single-file",
            "--config-style",
            "transformers5",
        ],
        &["--head", "two", "--pad-token-id", "151643"],
    ];
    let mut seen = Vec::new();
    for kind in kinds {
        let scores = scores(&support::bundle(&[SHAPE, kind].concat(), &[]));
        assert!((scores[0] - scores[1]).abs() > 1e-3, "{kind:?}: {scores:?}");
        seen.push(scores);
    }
    // Where the bytes are stored and how they are described must not change a score.
    assert_eq!(seen[2], seen[3]);
    assert_ne!(seen[3], seen[4], "pad_token_id moves the scored token");
}

/// A snapshot in a Hugging Face cache: the files are symlinks into `blobs/`.
#[test]
fn hub_cache_snapshot() {
    let source = support::checkpoint(SHAPE);
    let cache = tempfile::tempdir_in(source.parent().unwrap()).unwrap();
    let repository = cache.path().join("models--Qwen--WorldPM-72B");
    let snapshot = repository.join("snapshots/0123abc");
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    for (i, entry) in fs::read_dir(&source).unwrap().enumerate() {
        let entry = entry.unwrap();
        let blob = format!("b10b{i:04}");
        fs::hard_link(entry.path(), repository.join("blobs").join(&blob)).unwrap();
        symlink(
            format!("../../blobs/{blob}"),
            snapshot.join(entry.file_name()),
        )
        .unwrap();
    }
    let expected = scores(&support::bundle(SHAPE, &[]));
    for weights in ["reference", "hardlink", "copy"] {
        let out = cache.path().join(weights);
        export(&snapshot, &out, &["--weights", weights, "--stages", "2"]);
        assert_eq!(scores(&out), expected, "{weights}");
        let manifest: Value =
            serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["source"]["repository"], "Qwen/WorldPM-72B");
        assert_eq!(manifest["source"]["revision"], "0123abc");
    }
    // Newer caches share blobs: a chain of links leads to a folder for each.
    let shards: Vec<_> = fs::read_dir(&snapshot)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    assert!(shards.len() > 1);
    for (i, shard) in shards.iter().enumerate() {
        let blob = shard.canonicalize().unwrap();
        let folder = cache.path().join(format!("blobs/{i:02}"));
        fs::create_dir_all(&folder).unwrap();
        fs::rename(&blob, folder.join("blob")).unwrap();
        symlink(format!("../../blobs/{i:02}/blob"), &blob).unwrap();
    }
    for weights in ["reference", "hardlink", "copy"] {
        let out = cache.path().join(format!("shared-{weights}"));
        export(&snapshot, &out, &["--weights", weights, "--stages", "2"]);
        assert_eq!(scores(&out), expected, "{weights}");
        let streamed = ["score", "--residency", "streamed", "--model"];
        let output = run_with_input(&[&streamed[..], &[out.to_str().unwrap()]].concat(), INPUT);
        assert!(output.status.success(), "{}", support::stderr(&output));
    }
    // A checkpoint whose directory is itself a link.
    let link = cache.path().join("link");
    symlink(&snapshot, &link).unwrap();
    let out = cache.path().join("from-link");
    export(&link, &out, &[]);
    assert_eq!(scores(&out), expected);
}

/// The padded interface is for other servers, and `score` says so.
#[test]
fn padded_bundles_are_not_scored_here() {
    let bundle = support::bundle(SHAPE, &["--interface", "padded", "--stages", "2"]);
    let output = run_with_input(&["score", "--model", bundle.to_str().unwrap()], INPUT);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let message = support::stderr(&output);
    assert!(message.contains("padded interface"), "{message}");
    assert!(message.contains("--interface packed"), "{message}");
}

/// What a server could not run is refused before anything is written.
#[test]
fn layouts_for_servers_need_fitting_options() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    let copy = ["--weights", "copy"];
    let tensorrt = [&copy[..], &["--triton-tensorrt", "--device", "cuda"]].concat();
    let onnx = [&tensorrt[..], &["--target", "onnx"]].concat();
    let cases: [(&[&str], &str, i32); 8] = [
        (&[], "`weights`: is reference", 1),
        (
            &[&copy[..], &["--model-name", "../a"]].concat(),
            "`model_name`",
            1,
        ),
        (
            &[&copy[..], &["--max-request-rows", "0"]].concat(),
            "`rows`",
            1,
        ),
        (
            &[&copy[..], &["--storage-uri", "a b"]].concat(),
            "`storage_uri`",
            1,
        ),
        (&tensorrt, "the device cuda and the target onnx", 1),
        (&onnx, "the packed interface", 1),
        (&["--layout", "docker"], "none of: plain, triton, kserve", 2),
        (&["--max-row-tokens", "many"], "--max-row-tokens", 2),
    ];
    for (flags, expected, status) in cases {
        for layout in ["triton", "kserve"] {
            let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
            args.extend(["--out", out.to_str().unwrap()]);
            if !flags.contains(&"--layout") {
                args.extend(["--layout", layout]);
            }
            args.extend(flags);
            let output = support::run(&args);
            let message = support::stderr(&output);
            assert_eq!(output.status.code(), Some(status), "{flags:?}: {message}");
            assert!(message.contains(expected), "{flags:?}: {message}");
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{flags:?}");
        }
    }
    // The options of a layout without the layout are bad usage.
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap(), "--model-name", "a"]);
    assert_eq!(support::run(&args).status.code(), Some(2));
}

/// A checkpoint that has moved is found again with `--weights-dir`.
#[test]
fn moved_weights() {
    let source = support::checkpoint(SHAPE);
    let place = tempfile::tempdir_in(source.parent().unwrap()).unwrap();
    let before = place.path().join("before");
    fs::create_dir(&before).unwrap();
    for entry in fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        fs::hard_link(entry.path(), before.join(entry.file_name())).unwrap();
    }
    let out = place.path().join("bundle");
    export(&before, &out, &[]);
    let after = place.path().join("after");
    fs::rename(&before, &after).unwrap();

    let model = out.to_str().unwrap();
    let lost = run_with_input(&["score", "--model", model], INPUT);
    assert!(!lost.status.success());
    assert!(support::stderr(&lost).contains("--weights-dir"));
    let args = [
        "score",
        "--model",
        model,
        "--weights-dir",
        after.to_str().unwrap(),
    ];
    let found = run_with_input(&args, INPUT);
    assert!(found.status.success(), "{}", support::stderr(&found));
}
