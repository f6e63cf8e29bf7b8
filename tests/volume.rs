//! `export` to the root of a volume, which cannot be renamed.
//!
//! Mounting one needs a namespace of its own, which not every system permits. A test of the usual harness would count as
//! passed there, so this has none: it says what it did. That such a directory is filled is tested without a mount, too, in
//! `tests/export/replace.rs`.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{self, Write},
    process::Command,
};

const NAME: &str = "a_mounted_volume_is_filled";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    let mut output = io::stdout().lock();
    let mut tell = |text: &str| writeln!(output, "test {NAME} ... {text}").unwrap();
    if arguments.iter().any(|argument| argument == "--list") {
        writeln!(output, "{NAME}: test").unwrap();
    } else if filters.clone().count() > 0 && !filters.any(|filter| NAME.contains(filter.as_str())) {
        tell("filtered out");
    } else if !is_mount_permitted() {
        tell("NOT RUN: this system permits no mount (unshare -rm)");
    } else {
        a_mounted_volume_is_filled();
        tell("ok");
    }
}

fn is_mount_permitted() -> bool {
    Command::new("unshare")
        .args(["-rm", "true"])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn a_mounted_volume_is_filled() {
    let checkpoint = support::checkpoint(&["--shape", "tiny", "--seed", "5"]);
    let place = tempfile::tempdir().unwrap();
    let volume = place.path().join("vol");
    fs::create_dir(&volume).unwrap();
    let script = r#"
        set -e
        mount -t tmpfs none "$1"
        mkdir "$1/lost+found"
        "$2" export --checkpoint "$3" --out "$1" --weights copy --probes off
        ls -A "$1"
        "$2" inspect "$1" >/dev/null
        if "$2" export --checkpoint "$3" --out "$1" --probes off; then exit 9; fi
        "$2" inspect "$1" >/dev/null
        "$2" verify --record --model "$1" 2>/dev/null
        ls -A "$1"
        "$2" export --checkpoint "$3" --out "$1/bundle" --probes off
        "$2" export --checkpoint "$3" --out "$1/bundle" --probes off
    "#;
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(&volume)
        .arg(env!("CARGO_BIN_EXE_worldpm-ort"))
        .arg(&checkpoint)
        .output()
        .unwrap();
    let message = support::stderr(&output);
    assert!(output.status.success(), "{message}");
    assert!(message.contains("root of a volume"), "{message}");
    let listed = String::from_utf8(output.stdout).unwrap();
    for part in ["manifest.json", "probes.json"] {
        assert!(listed.contains(part), "{listed}");
    }
    assert!(!listed.contains(".lock"), "{listed}");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
