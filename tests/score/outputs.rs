//! Where results go: what was there stays until its successor is complete, nothing that was scored is lost, and standard
//! streams that are closed or full are no reason to panic.

use std::{
    fs,
    io::{BufReader, Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{self, place::Place, stderr};

fn model() -> String {
    let bundle = support::bundle(&["--shape", "tiny", "--seed", "9"], &["--stages", "2"]);
    bundle.to_str().unwrap().to_owned()
}

const OLD: &str = "{\"earlier\":1}\n";

impl Place {
    /// With `in.jsonl` of these lines, and `out.jsonl` with earlier results.
    fn of(lines: &[String]) -> Self {
        let place = Self::new();
        place.write("in.jsonl", lines.concat());
        place.write("out.jsonl", OLD);
        place
    }

    fn command(&self, output: &Path, flags: &[&str]) -> Command {
        let mut command = support::command();
        command
            .args(["score", "--model", &model(), "--input"])
            .arg(self.at("in.jsonl"))
            .arg("--output")
            .arg(output)
            .args(flags);
        command
    }

    fn score(&self, flags: &[&str]) -> Output {
        self.command(&self.at("out.jsonl"), flags).output().unwrap()
    }
}

fn good(id: usize) -> String {
    format!(
        "{}\n",
        json!({"id": id, "prompt": "Q", "response": format!("A {id}")})
    )
}

fn goods(count: usize) -> Vec<String> {
    (0..count).map(good).collect()
}

/// The ids of lines that are all results.
fn ids(text: &str) -> Vec<u64> {
    assert!(text.ends_with('\n'));
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| {
            assert!(line["score"].is_f64(), "{line}");
            line["id"].as_u64().unwrap()
        })
        .collect()
}

#[test]
fn results_replace_what_was_there_when_they_are_complete() {
    let place = Place::of(&goods(3));
    fs::set_permissions(place.at("out.jsonl"), fs::Permissions::from_mode(0o640)).unwrap();
    let output = place.score(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(ids(&place.read("out.jsonl")), [0, 1, 2]);
    assert_eq!(place.names(), ["in.jsonl", "out.jsonl"]);
    let mode = fs::metadata(place.at("out.jsonl"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);

    // Where nothing was, and through links, which stay.
    for (name, target) in [
        ("new", None),
        ("link", Some("out.jsonl")),
        ("dangling", Some("made")),
    ] {
        if let Some(target) = target {
            symlink(target, place.at(name)).unwrap();
        }
        let output = place.command(&place.at(name), &[]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        assert_eq!(
            ids(&place.read(target.unwrap_or(name))),
            [0, 1, 2],
            "{name}"
        );
        let is_link = place.at(name).symlink_metadata().unwrap().is_symlink();
        assert_eq!(is_link, target.is_some(), "{name}");
    }
}

#[test]
fn a_failed_run_leaves_what_was_there() {
    // Found out before the model is loaded.
    let place = Place::of(&[good(0), "{\"prompt\": 1}\n".into(), good(2)]);
    let output = place.score(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("in.jsonl: line 2: ") && !said.contains("loaded in"),
        "{said}"
    );
    assert_eq!(place.read("out.jsonl"), OLD);
    assert_eq!(place.names(), ["in.jsonl", "out.jsonl"]);

    // While scoring: what was scored is beside it.
    let long = json!({"prompt": "Q", "response": "word ".repeat(500)});
    let place = Place::of(&[good(0), good(1), format!("{long}\n"), good(3)]);
    let limit = ["--max-length", "200"];
    let output = place.score(&limit);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    let partial = place.at("out.jsonl.partial");
    let told = format!("the results before it are in {}", partial.display());
    assert!(said.contains("line 3") && said.contains(&told), "{said}");
    assert_eq!(place.read("out.jsonl"), OLD);
    assert_eq!(ids(&place.read("out.jsonl.partial")), [0, 1]);

    // The next run keeps it.
    let output = place.score(&[&limit[..], &["--keep-going"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is now"), "{}", stderr(&output));
    assert_eq!(
        place.names(),
        ["in.jsonl", "out.jsonl", "out.jsonl.partial.1"]
    );
    assert_eq!(ids(&place.read("out.jsonl.partial.1")), [0, 1]);
    assert_eq!(place.read("out.jsonl").lines().count(), 4);
}

#[test]
fn results_are_added_with_append() {
    let place = Place::of(&goods(2));
    let output = place.score(&["--append"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = place.read("out.jsonl");
    assert_eq!(ids(text.strip_prefix(OLD).unwrap()), [0, 1]);
    assert_eq!(place.names(), ["in.jsonl", "out.jsonl"]);
    let output = place
        .command(&place.at("new"), &["--append"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(ids(&place.read("new")), [0, 1]);

    fs::write(place.at("out.jsonl"), "{\"cut").unwrap();
    let output = place.score(&["--append"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("its last line has no end") && !said.contains("loaded in"),
        "{said}"
    );
    assert_eq!(place.read("out.jsonl"), "{\"cut");
    let output = place
        .command(Path::new("-"), &["--append"])
        .output()
        .unwrap();
    assert!(stderr(&output).contains("--append adds to a file"));
}

/// A run that stands still: it has the results of `done` records, and waits for more.
fn waiting(place: &Place, flags: &[&str], done: usize) -> (Child, std::process::ChildStdin) {
    let mut child = support::command()
        .args(["score", "--model", &model(), "--output"])
        .arg(place.at("out.jsonl"))
        .args(flags)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(goods(done).concat().as_bytes()).unwrap();
    stdin.flush().unwrap();
    (child, stdin)
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two windows are read before the first is written.
const READ_AHEAD: usize = 4 * 512;

#[test]
fn a_killed_run_leaves_what_it_finished() {
    for signal in ["-KILL", "-INT"] {
        let place = Place::of(&[]);
        let (mut child, mut stdin) = waiting(&place, &[], READ_AHEAD);
        let partial = place.at("out.jsonl.partial");
        wait_for("results", || {
            fs::metadata(&partial).is_ok_and(|found| found.len() > 0)
        });

        // Another run does not touch it.
        let output = place.score(&[]);
        assert!(
            stderr(&output).contains("another run is writing it"),
            "{}",
            stderr(&output)
        );

        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut said = String::new();
        if signal == "-INT" {
            // It looks at the signal when it has read what it waits for.
            stdin
                .write_all(
                    (READ_AHEAD..READ_AHEAD + 10)
                        .map(good)
                        .collect::<String>()
                        .as_bytes(),
                )
                .unwrap();
            drop(stdin);
        }
        let status = child.wait().unwrap();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        if signal == "-INT" {
            assert_eq!(status.code(), Some(130), "{said}");
            assert!(said.contains("out.jsonl.partial has the first"), "{said}");
        } else {
            assert_eq!(status.code(), None);
        }
        assert_eq!(place.read("out.jsonl"), OLD);
        let done = ids(&place.read("out.jsonl.partial"));
        assert!(done.len() >= 512 && done.iter().copied().eq(0..done.len() as u64));
    }
}

#[test]
fn pipes_and_devices_are_written_directly() {
    let place = Place::of(&goods(2));
    let pipe = place.at("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut child = place
        .command(&pipe, &[])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut read = String::new();
    BufReader::new(fs::File::open(&pipe).unwrap())
        .read_to_string(&mut read)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(ids(&read), [0, 1]);

    let output = place
        .command(Path::new("/dev/stdout"), &[])
        .output()
        .unwrap();
    assert_eq!(ids(&String::from_utf8(output.stdout).unwrap()), [0, 1]);
    let to = fs::File::create(place.at("redirected")).unwrap();
    let status = place
        .command(Path::new("/dev/stdout"), &[])
        .stdout(to)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(ids(&place.read("redirected")), [0, 1]);
    assert!(
        place
            .command(Path::new("/dev/null"), &[])
            .output()
            .unwrap()
            .status
            .success()
    );
    let output = place.command(Path::new("/dev/full"), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot write /dev/full: No space left"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        place.names(),
        ["in.jsonl", "out.jsonl", "pipe", "redirected"]
    );
}

/// `worldpm-ort ARGS REDIRECTIONS` in a shell, with one record on standard input.
fn in_shell(args: &[&str], redirections: &str) -> Output {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("exec \"$@\" {redirections}"))
        .args(["sh", env!("CARGO_BIN_EXE_worldpm-ort")])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(good(7).as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn closed_and_full_streams() {
    let model = model();
    let score = ["score", "--model", &model];
    for redirections in ["2>/dev/full", "2>&-"] {
        let output = in_shell(&score, redirections);
        assert!(output.status.success(), "{redirections}: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(ids(&text), [7], "{redirections}");
        // Errors and bad usage are told by the status alone.
        let output = in_shell(&["score", "--model", "nowhere"], redirections);
        assert_eq!(output.status.code(), Some(1), "{redirections}");
        let output = in_shell(&["score"], redirections);
        assert_eq!(output.status.code(), Some(2), "{redirections}");
    }
    let inspect = ["inspect", &model];
    for (args, redirections, part) in [
        (&score[..], "1>&-", "standard output is closed"),
        (&score[..], "1>/dev/full", "cannot write standard output"),
        (&inspect[..], "1>&-", "standard output is closed"),
        (&inspect[..], "1>/dev/full", "No space left"),
        (&["recipes"][..], "1>/dev/full", "No space left"),
        (&["recipes"][..], "1>&- 2>&-", ""),
        (&score[..], "1>/dev/full 2>/dev/full", ""),
    ] {
        let output = in_shell(args, redirections);
        assert_eq!(output.status.code(), Some(1), "{args:?} {redirections}");
        assert!(
            stderr(&output).contains(part),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    // What goes to a file needs no standard output.
    let place = Place::of(&goods(1));
    let out = place.at("out.jsonl");
    let to_file = [&score[..], &["--output", out.to_str().unwrap()]].concat();
    assert!(in_shell(&to_file, "1>&-").status.success());
    assert_eq!(ids(&place.read("out.jsonl")), [7]);
    let output = in_shell(&score, "0<&-");
    assert!(output.status.success() && output.stdout.is_empty());
}

/// The output is larger than what a pipe holds (64 KiB), so the command still writes when its reader leaves.
#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let shape = [
        &["--shape", "tiny", "--hidden-size", "64", "--head-dim", "32"][..],
        &["--intermediate-size", "96", "--num-hidden-layers", "24"],
        &["--num-attention-heads", "2", "--num-key-value-heads", "1"],
    ];
    let model = support::bundle(&shape.concat(), &[]);
    let arguments = ["inspect", "--nodes", "--json", model.to_str().unwrap()];
    let whole = support::run_ok(&arguments).stdout.len();
    assert!(whole > 2 << 16, "{whole}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_worldpm-ort"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(stderr(&output), "");
}
