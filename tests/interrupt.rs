//! A signal in the middle of a long input.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

const RECORDS: usize = 100_000;

#[test]
fn a_signal_keeps_what_was_done() {
    let bundle = support::bundle(&["--shape", "tiny"], &[]);
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.jsonl");
    let mut text = String::new();
    for id in 0..RECORDS {
        writeln!(
            text,
            r#"{{"id": {id}, "prompt": "Why {id}?", "response": "So."}}"#
        )
        .unwrap();
    }
    fs::write(&input, text).unwrap();

    let mut child = support::command()
        .args(["score", "--model", bundle.to_str().unwrap(), "--input"])
        .arg(&input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    let signalled = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(signalled.unwrap().success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let mut problems = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut problems)
        .unwrap();

    assert_eq!(child.wait().unwrap().code(), Some(130), "{problems}");
    let lines: Vec<_> = first.lines().chain(rest.lines()).collect();
    assert!(lines.len() < RECORDS);
    for (id, line) in lines.iter().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["id"], id);
        assert!(line["score"].is_f64(), "{line}");
    }
    let told = format!(
        "interrupted: the output has the first {} records",
        lines.len()
    );
    assert!(problems.contains(&told), "{problems}");
}
