//! Signals while records are scored.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command},
    sync::mpsc::{Receiver, channel},
    thread::spawn,
    time::Duration,
};

use crate::support;

const RECORDS: usize = 100_000;

/// What is printed of a signal at once.
const TOLD: &str = "interrupted: what is under way is finished";

fn bundle() -> String {
    let bundle = support::bundle(&["--shape", "tiny"], &[]);
    bundle.to_str().unwrap().to_owned()
}

/// `score` of an input, with pipes to all that it writes.
fn score(input: &str) -> Child {
    support::spawn(&["score", "--model", &bundle(), "--input", input])
}

fn interrupt(child: &Child) {
    let signalled = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(signalled.unwrap().success());
}

/// The lines of standard error, while they come.
fn problems(child: &mut Child) -> Receiver<String> {
    let problems = BufReader::new(child.stderr.take().unwrap());
    let (line, lines) = channel();
    spawn(move || {
        problems
            .lines()
            .try_for_each(|read| line.send(read.unwrap()))
    });
    lines
}

/// Reads up to the word of the signal, and hands back what was read.
fn wait_until_told(problems: &Receiver<String>) -> String {
    let mut read = String::new();
    while !read.contains(TOLD) {
        let line = problems.recv_timeout(Duration::from_secs(60));
        read.push_str(&line.unwrap_or_else(|_| panic!("nothing was told: {read}")));
    }
    read
}

fn rest(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_signal_keeps_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.jsonl");
    let record =
        |id| format!("{{\"id\": {id}, \"prompt\": \"Why {id}?\", \"response\": \"So.\"}}\n");
    fs::write(&input, (0..RECORDS).map(record).collect::<String>()).unwrap();

    let mut child = score(input.to_str().unwrap());
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    interrupt(&child);
    let rest_of_output = rest(output);
    let problems = rest(child.stderr.take().unwrap());

    assert_eq!(child.wait().unwrap().code(), Some(130), "{problems}");
    let lines: Vec<_> = first.lines().chain(rest_of_output.lines()).collect();
    assert!(lines.len() < RECORDS);
    for (id, line) in lines.iter().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["id"], id);
        assert!(line["score"].is_f64(), "{line}");
    }
    assert!(problems.contains(TOLD), "{problems}");
    let told = format!(
        "interrupted: the output has the first {} records",
        lines.len()
    );
    assert!(problems.contains(&told), "{problems}");
}

/// The signal comes while the second window is computed, and the third is in line: of that nothing more is computed.
#[test]
fn the_window_in_line_is_given_up() {
    const WINDOW: usize = 512;
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.jsonl");
    let long = "so it is ".repeat(30);
    let record = |id| {
        let answer = if id < WINDOW { "So." } else { &long };
        format!("{{\"id\": {id}, \"prompt\": \"{id}: why?\", \"response\": \"{answer}\"}}\n")
    };
    fs::write(&input, (0..5 * WINDOW).map(record).collect::<String>()).unwrap();
    let mut child = score(input.to_str().unwrap());
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    for _ in 0..WINDOW {
        output.read_line(&mut first).unwrap();
    }
    interrupt(&child);
    let lines = WINDOW + rest(output).lines().count();
    let problems = rest(child.stderr.take().unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(130), "{problems}");
    assert!(lines < 3 * WINDOW, "{lines}: {problems}");
    let reported = format!("interrupted: the output has the first {lines} records");
    assert!(problems.contains(&reported), "{problems}");
}

/// It is reported while the input waits for its next record, and a second one does not wait.
#[test]
fn a_second_signal_stops_at_once() {
    let mut child = score("-");
    let mut stdin = child.stdin.take().unwrap();
    let record = r#"{"prompt": "Why?", "response": "So."}"#;
    writeln!(stdin, "{record}").unwrap();
    // More than a pipe holds: once it is written, the second record is waited for.
    stdin.write_all(&[b'\n'; 1 << 20]).unwrap();
    let problems = problems(&mut child);
    interrupt(&child);
    wait_until_told(&problems);
    assert_eq!(child.try_wait().unwrap(), None);
    interrupt(&child);
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(2), "{status}");
    drop(stdin);
}

/// All records are read before the first is written, and the output waits for its reader when the signal comes.
#[test]
fn an_output_that_is_complete_was_not_interrupted() {
    let text = "long ".repeat(100);
    let record =
        |id| format!("{{\"id\": \"{id} {text}\", \"prompt\": \"Why?\", \"response\": \"So.\"}}\n");
    let folder = tempfile::tempdir().unwrap();
    // A file of whole windows, whose end is not seen in the last of them, and one of two windows that are.
    for records in [3 * 512, 1000] {
        let input = folder.path().join(format!("{records}.jsonl"));
        fs::write(&input, (0..records).map(record).collect::<String>()).unwrap();
        let mut child = score(input.to_str().unwrap());
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let problems = problems(&mut child);
        let mut first = String::new();
        if records == 1000 {
            output.read_line(&mut first).unwrap();
        } else {
            // The last window is read when the first has been written.
            for _ in 0..513 {
                output.read_line(&mut first).unwrap();
            }
        }
        interrupt(&child);
        let mut told = wait_until_told(&problems);
        let lines = first.lines().count() + rest(output).lines().count();
        told.extend(problems);
        let status = child.wait().unwrap();
        assert_eq!(lines, records, "{told}");
        assert!(status.success(), "{status}: {told}");
        assert!(!told.contains("the output has the first"), "{told}");
    }
}
