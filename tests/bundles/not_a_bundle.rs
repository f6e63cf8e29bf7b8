//! What commands say when `--model` names something else than a bundle, and export when there is no reward head: what it
//! is, and what to do.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{SMALL_SINGLE as SHAPE, checkpoint, command, copy_of, run, stderr};

const ONE_LAYER: &[&str] = &[
    "--architecture",
    "qwen2",
    "--head",
    "one",
    "--pad-token-id",
    "151643",
];

/// Every command that takes a bundle, up to its name.
const COMMANDS: [&[&str]; 5] = [
    &["score", "--model"],
    &["verify", "--model"],
    &["bench", "--model"],
    &["doctor", "--model"],
    &["plan", "--device-memory", "80GB", "--model"],
];

/// What a command that fails says.
fn said(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{args:?}: {}",
        stderr(&output)
    );
    let text = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    // Tables and paragraphs break lines in other places.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_says_to_export_first() {
    let checkpoint = checkpoint(SHAPE);
    let shown = checkpoint.to_str().unwrap();
    let bundle = format!(
        "{}-bundle",
        checkpoint.file_name().unwrap().to_str().unwrap()
    );
    let cases = [
        (shown, format!("{shown} is a checkpoint"), bundle.as_str()),
        (
            "Owner/Tiny-RM",
            "there is no directory Owner/Tiny-RM".to_owned(),
            "Tiny-RM-bundle",
        ),
    ];
    for (model, what, bundle) in cases {
        for command in COMMANDS {
            let text = said(&[command, &[model]].concat());
            let export = format!("worldpm-ort export --checkpoint {model} --out {bundle}");
            let again = format!("worldpm-ort {} {bundle}", command.join(" "));
            for part in [what.as_str(), &export, &again] {
                assert!(text.contains(part), "{command:?}: {part}: {text}");
            }
        }
    }
    let text = said(&["inspect", "Owner/Tiny-RM"]);
    assert!(text.contains("export --checkpoint Owner/Tiny-RM"), "{text}");
    // It looks at checkpoints, too.
    assert!(run(&["inspect", shown]).status.success());
}

/// The command is that which was given, and what it says to do first works.
#[test]
fn the_commands_that_are_said_work() {
    let place = tempfile::tempdir().unwrap();
    let name = "my checkpoint";
    std::os::unix::fs::symlink(checkpoint(SHAPE), place.path().join(name)).unwrap();
    let records = fs::canonicalize("models/worldpm-72b/sleep.jsonl").unwrap();
    let records = records.to_str().unwrap();
    let output = command()
        .current_dir(place.path())
        .args(["score", "--input", records, &format!("--model={name}")])
        .output()
        .unwrap();
    let text = stderr(&output);
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    assert_eq!(
        lines,
        [
            "worldpm-ort export --checkpoint 'my checkpoint' --out 'my checkpoint-bundle'"
                .to_owned(),
            format!("worldpm-ort score --input {records} --model='my checkpoint-bundle'"),
        ]
    );
    let program = Path::new(env!("CARGO_BIN_EXE_worldpm-ort"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for line in lines {
        let output = std::process::Command::new("sh")
            .args(["-c", line])
            .current_dir(place.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", stderr(&output));
    }
}

/// Changes the header of a checkpoint's only weight file, keeping its data.
fn header(dir: &Path, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let data = 8 + usize::try_from(length).unwrap();
    let mut header: Value = serde_json::from_slice(&bytes[8..data]).unwrap();
    change(header.as_object_mut().unwrap());
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(&bytes[data..]);
    fs::write(path, file).unwrap();
}

/// Flags of a checkpoint, tensors with the names that they get, and what is said then.
type Renamed = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

#[test]
fn a_head_of_another_name() {
    const TWO: &[(&str, &str)] = &[
        ("score.2.weight", "v_head.weight"),
        ("score.2.bias", "v_head.bias"),
    ];
    let cases: &[Renamed] = &[
        (
            ONE_LAYER,
            &[("score.weight", "value_head.weight")],
            &["`score.weight`", "`value_head.weight` [1, 64]"],
        ),
        (
            ONE_LAYER,
            &[("score.weight", "classifier.weight")],
            &["`classifier.weight` [1, 64]"],
        ),
        (
            ONE_LAYER,
            &[("score.weight", "lm_head.weight")],
            &["it is a language model"],
        ),
        (
            &[],
            TWO,
            &[
                "`score.2.weight`",
                "`v_head.bias` [1]",
                "`v_head.weight` [1, 64]",
                "Qwen2ForRewardModel",
            ],
        ),
        (
            &[],
            &[("score.0.bias", "score.0.offset")],
            &["`score.0.bias`", "`score.0.offset` [64]"],
        ),
    ];
    for (flags, renamed, parts) in cases {
        let copy = copy_of(&checkpoint(&[SHAPE, flags].concat()));
        header(copy.path(), |header| {
            for (name, other) in *renamed {
                let entry = header.remove(*name).unwrap();
                header.insert((*other).to_owned(), entry);
            }
        });
        let out = copy.path().join("bundle");
        let text = said(&[
            "export",
            "--checkpoint",
            copy.path().to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ]);
        for part in *parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("layers.0"), "{text}");
        assert!(!out.exists());
    }
}
