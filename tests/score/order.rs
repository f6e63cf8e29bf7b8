//! The `score` command: forms of input and output, order, and memory.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{self, lines, run_ok, run_with_input};

const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "9"];

fn model() -> String {
    support::bundle(SHAPE, &["--stages", "2"])
        .to_str()
        .unwrap()
        .to_owned()
}

fn score(input: &str) -> Vec<Value> {
    let args = ["score", "--only-scores", "--model", &model()];
    let output = run_with_input(&args, input.as_bytes());
    assert!(output.status.success(), "{}", support::stderr(&output));
    lines(&output)
}

#[test]
fn the_four_forms_of_a_record() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let conversation = json!([message("user", "Q"), message("assistant", "A")]);
    let worse = json!([message("user", "Q"), message("assistant", "B")]);
    let records = [
        json!({"id": "m", "messages": conversation}),
        conversation.clone(),
        json!({"id": 7, "prompt": "Q", "response": "A", "extra": [1, 2]}),
        json!({"chosen": conversation, "rejected": worse}),
        json!({"prompt": "Q", "chosen": "A", "rejected": "B"}),
        json!({"prompt": [message("user", "Q")], "chosen": [message("assistant", "A")],
               "rejected": [message("assistant", "B")]}),
    ];
    let as_lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    let output = score(&as_lines);
    assert_eq!(output.len(), records.len());

    let single = output[0]["score"].as_f64().unwrap();
    assert_eq!(output[0]["id"], "m");
    assert!(output[0]["tokens"].as_u64().unwrap() > 5);
    assert_eq!(output[1]["score"], single);
    assert!(output[1].get("id").is_none());
    assert_eq!(
        (&output[2]["id"], &output[2]["score"]),
        (&json!(7), &json!(single))
    );
    for pair in &output[3..] {
        assert_eq!(pair["chosen"]["score"], single);
        let chosen = pair["chosen"]["score"].as_f64().unwrap();
        let rejected = pair["rejected"]["score"].as_f64().unwrap();
        let margin = pair["margin"].as_f64().unwrap();
        assert!((margin - (chosen - rejected)).abs() < 1e-6);
        let probability = pair["probability"].as_f64().unwrap();
        assert!((probability - 1.0 / (1.0 + (-margin).exp())).abs() < 1e-6);
        assert_eq!(pair, &output[3]);
    }

    // A JSON document gives what the lines give.
    let document = serde_json::to_string_pretty(&records[1..]).unwrap();
    assert_eq!(score(&document), output[1..]);
}

#[test]
fn order_is_kept_and_files_equal_pipes() {
    let texts: Vec<String> = (0..1500)
        .map(|i| format!("answer {} {}", i % 37, "word ".repeat((i * 7) % 23)))
        .collect();
    let input: String = texts
        .iter()
        .enumerate()
        .map(|(i, text)| format!("{}\n", json!({"id": i, "prompt": "Q", "response": text})))
        .collect();
    let piped = score(&input);
    for (i, line) in piped.iter().enumerate() {
        assert_eq!(line["id"], i);
    }
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (
        place.path().join("in.jsonl"),
        place.path().join("out.jsonl"),
    );
    fs::write(&from, &input).unwrap();
    let args = [
        "score",
        "--only-scores",
        "--model",
        &model(),
        "--input",
        from.to_str().unwrap(),
    ];
    let output = run_ok(&[&args[..], &["--output", to.to_str().unwrap()]].concat());
    assert!(output.stdout.is_empty());
    let filed: Vec<Value> = fs::read_to_string(to)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(filed, piped);

    // The budget changes the packs and nothing else.
    let small = run_ok(&[&args[..], &["--max-batch-tokens", "100", "--threads", "1"]].concat());
    assert_eq!(lines(&small), piped);
}

#[test]
fn output_that_cannot_be_written() {
    let place = tempfile::tempdir().unwrap();
    let model = model();
    let to = |path: &str| run_with_input(&["score", "--model", &model, "--output", path], b"");
    let nowhere = place.path().join("missing/out.jsonl");
    for path in [nowhere.to_str().unwrap(), place.path().to_str().unwrap()] {
        let output = to(path);
        assert_eq!(output.status.code(), Some(1), "{path}");
        let message = support::stderr(&output);
        assert!(message.contains("cannot write"), "{message}");
        assert!(
            !message.contains("loaded in"),
            "found out before loading: {message}"
        );
    }
    // Earlier results outlive a model that cannot be loaded.
    let kept = place.path().join("kept.jsonl");
    fs::write(&kept, "earlier results").unwrap();
    let args = [
        "score",
        "--model",
        "no-such-bundle",
        "--output",
        kept.to_str().unwrap(),
    ];
    assert!(!run_with_input(&args, b"").status.success());
    assert_eq!(fs::read_to_string(kept).unwrap(), "earlier results");
}

/// Under its own name, another one, or as standard input.
#[test]
fn the_input_is_not_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let model = model();
    let input = place.path().join("records.jsonl");
    let text = "{\"prompt\": \"Q\", \"response\": \"A\"}\n";
    fs::write(&input, text).unwrap();
    let (hard, soft) = (place.path().join("hard"), place.path().join("soft"));
    fs::hard_link(&input, &hard).unwrap();
    std::os::unix::fs::symlink(&input, &soft).unwrap();
    let path = input.to_str().unwrap();
    for (from, to) in [(path, &input), (path, &hard), (path, &soft), ("-", &input)] {
        let output = support::command()
            .args(["score", "--model", &model, "--input", from, "--output"])
            .arg(to)
            .stdin(fs::File::open(&input).unwrap())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{from}");
        let message = support::stderr(&output);
        assert!(message.contains("it is the input"), "{message}");
        assert!(!message.contains("loaded in"), "{message}");
        assert_eq!(fs::read_to_string(&input).unwrap(), text);
    }
    // What is read to no end may be written to.
    let nothing = ["--input", "/dev/null", "--output", "/dev/null"];
    run_ok(&[&["score", "--model", &model][..], &nothing].concat());
}

/// The input stays open behind it, as it does when whoever writes it waits for the scores.
#[test]
fn a_record_that_cannot_be_read_ends_the_work_at_once() {
    let mut child = support::spawn(&["score", "--model", &model()]);
    let mut stdin = child.stdin.take().unwrap();
    let good = json!({"id": 1, "prompt": "Q", "response": "A"});
    writeln!(stdin, "{good}\n{{\"prompt\": \"Q\"}}\n{good}").unwrap();
    stdin.flush().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("it waits for more records");
        }
        sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(support::stderr(&output).contains("line 2"));
    let scored = lines(&output);
    assert_eq!((scored.len(), &scored[0]["id"]), (1, &json!(1)));
    drop(stdin);
}

#[test]
fn empty_input_is_no_error() {
    assert!(score("").is_empty());
    assert!(score("\n\n[]\n").is_empty());
}

#[test]
fn truncation_is_told() {
    let long = "word ".repeat(300);
    let input = json!({"prompt": "Q", "response": long}).to_string();
    let args = ["score", "--model", &model(), "--max-length", "64"];
    let way = ["--truncation", "longest-message-middle"];
    let output = run_with_input(&[&args[..], &way].concat(), input.as_bytes());
    let line = &lines(&output)[0];
    assert_eq!(line["truncated"], true);
    assert!(line["tokens"].as_u64().unwrap() <= 64);
}

/// Whoever closes the pipe early has seen enough: nothing is said, and the status is that of SIGPIPE, by which a script
/// can tell that not all was written.
#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = support::spawn(&["score", "--model", &model()]);
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        for i in 0..20_000 {
            let record = json!({"prompt": "Q", "response": format!("{i}")});
            if writeln!(stdin, "{record}").is_err() {
                return;
            }
        }
    });
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("score"));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let said = support::stderr(&output);
    assert_eq!(output.status.code(), Some(141), "{said}");
    assert!(!said.contains("error"), "{said}");
}

/// Peak memory does not depend on the length of the input.
#[test]
#[cfg(target_os = "linux")]
fn memory_stays_flat() {
    let (few, many) = (10_000, 300_000);
    let (short, long) = (peak_kilobytes(few), peak_kilobytes(many));
    // Less than anything that could be kept of a record. Runs of one length differ by 5 MB, which is why the other is so long.
    let most = short + (many - few) as u64 * 30 / 1024;
    assert!(
        long < most,
        "{short} kB for {few} records, {long} kB for {many}"
    );
}

/// Peak resident memory of scoring `records` records that come through a pipe.
#[cfg(target_os = "linux")]
fn peak_kilobytes(records: usize) -> u64 {
    let mut child = support::command()
        .args(["score", "--model", &model()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = child.id();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        for i in 0..records {
            // Few different conversations: this is about reading and writing, not about the model.
            let record = json!({"id": i, "prompt": "Q", "response": format!("{}", i % 10)});
            writeln!(stdin, "{record}").unwrap();
        }
    });
    let mut peak = 0;
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        assert!(line.unwrap().contains("score"));
        count += 1;
        if count % 1000 == 0 {
            peak = support::peak_kilobytes(process).unwrap_or(peak);
        }
    }
    feeder.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(count, records);
    assert!(peak > 0);
    peak
}

#[test]
fn special_tokens_in_content_are_what_the_option_says() {
    let record = json!({"prompt": "Q", "response": "A<|im_end|>"}).to_string();
    let model = model();
    let with = |way: &str| {
        let args = ["score", "--model", &model, "--special-tokens", way];
        run_with_input(&args, record.as_bytes())
    };
    let tokens = |way: &str| lines(&with(way))[0]["tokens"].as_u64().unwrap();
    assert_eq!(score(&record)[0]["tokens"], tokens("parse"));
    assert!(tokens("literal") > tokens("parse"));
    let parts = [
        "messages[1].content",
        "<|im_end|>",
        "--special-tokens literal",
    ];
    support::expect_failure("reject", &with("reject"), &parts);
}
