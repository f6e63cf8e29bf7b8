//! What is read, and what is refused before it does harm: other formats, columns, conversations without an answer, steps
//! that are none, records too large, and numbers that come out as they came in.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{self, lines, run_with_input, stderr};

fn model() -> String {
    let bundle = support::bundle(&["--shape", "tiny", "--seed", "9"], &["--stages", "2"]);
    bundle.to_str().unwrap().to_owned()
}

fn score(model: &str, flags: &[&str], input: &str) -> std::process::Output {
    let args = [&["score", "--only-scores", "--model", model][..], flags].concat();
    run_with_input(&args, input.as_bytes())
}

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

#[test]
fn ids_are_given_back_byte_for_byte() {
    let ids = [
        "1.0e5",
        "18446744073709551616",
        "-0",
        "0.1000000000000000055511151231257827",
        "\"text\"",
    ];
    let input: String = ids
        .iter()
        .map(|id| format!("{{\"id\":{id},\"prompt\":\"Q\",\"response\":\"A\"}}\n"))
        .collect();
    let output = score(&model(), &[], &input);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), ids.len());
    for (id, line) in ids.iter().zip(text.lines()) {
        assert!(
            line.starts_with(&format!("{{\"id\":{id},\"score\":")),
            "{line}"
        );
    }
}

/// The text of a number reaches the template: one that shows its arguments by refusing them.
#[test]
fn numbers_reach_the_template_as_they_are() {
    let checkpoint = support::copy_of(&support::checkpoint(&["--shape", "tiny"]));
    let template = "{{ raise_exception('args ' ~ (messages[-1].tool_calls[0].lat | tojson)) }}";
    fs::write(checkpoint.path().join("chat_template.jinja"), template).unwrap();
    let encoder = worldpm_ort::text::ChatEncoder::open(checkpoint.path()).unwrap();
    for (given, expected) in [
        ("94.95886283158103", "94.95886283158103"),
        ("0.9849919442923573", "0.9849919442923573"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("0.5", "0.5"),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("-0", "0"),
        ("-0.0", "-0.0"),
    ] {
        let text = format!(
            r#"[{{"role":"user","content":"hi"}},{{"role":"assistant","tool_calls":[{{"lat":{given}}}]}}]"#
        );
        let value = worldpm_ort::json::Json::parse(&text).unwrap();
        let conversation = worldpm_ort::Conversation::from_value(value).unwrap();
        let error = encoder.render(&conversation).unwrap_err().to_string();
        assert!(
            error.contains(&format!(": args {expected}")),
            "{given}: {error}"
        );
    }
}

#[test]
fn a_system_column_is_scored() {
    let (s, u, a) = (
        message("system", "Be brief."),
        message("user", "Q"),
        message("assistant", "A"),
    );
    let records = [
        json!({"messages": [s, u, a]}),
        json!({"system": "Be brief.", "prompt": "Q", "response": "A"}),
        json!({"system_prompt": "Be brief.", "messages": [u, a]}),
        json!({"system": "Be brief.", "system_prompt": "Be brief.", "prompt": [s, u], "response": [a]}),
        json!({"prompt": "Q", "response": "A"}),
    ];
    let input: String = records.iter().map(|record| format!("{record}\n")).collect();
    let output = score(&model(), &[], &input);
    assert!(output.status.success(), "{}", stderr(&output));
    let scores = lines(&output);
    assert!(
        scores[1..4].iter().all(|line| line == &scores[0]),
        "{scores:?}"
    );
    assert_ne!(scores[4]["score"], scores[0]["score"]);
}

#[test]
fn unused_columns_are_named_once() {
    let record = json!({"prompt": "Q", "response": "A", "history": [], "source": "x"});
    let output = score(&model(), &[], &format!("{record}\n{record}\n"));
    let said = stderr(&output);
    let told = "these columns do not enter the score: history, source";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    let args = ["score", "--model", &model()];
    let said = stderr(&run_with_input(&args, record.to_string().as_bytes()));
    let told = "these columns do not enter the score, and are kept in the output: history, source";
    assert_eq!(said.matches(told).count(), 1, "{said}");
}

#[test]
fn an_answer_comes_last_unless_that_is_allowed() {
    let (u, a) = (message("user", "Q"), message("assistant", "A"));
    let tool = message("tool", "4");
    let call = json!({"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]});
    for (record, role) in [
        (json!({"messages": [u]}), "user"),
        (json!({"messages": [u, a, u]}), "user"),
        (json!([u, a, tool]), "tool"),
        (
            json!({"prompt": [u], "chosen": [a], "rejected": [a, u]}),
            "user",
        ),
    ] {
        let output = score(&model(), &[], &record.to_string());
        assert_eq!(output.status.code(), Some(1), "{record}");
        let said = stderr(&output);
        let part = format!("whose role is {role:?}");
        assert!(
            said.contains(&part) && said.contains("--allow-no-answer"),
            "{said}"
        );
        assert!(output.stdout.is_empty());
        let output = score(&model(), &["--allow-no-answer"], &record.to_string());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    // Calls of tools are an answer, though not one that this model's template takes.
    let output = score(&model(), &[], &json!([u, call]).to_string());
    let said = stderr(&output);
    assert!(
        said.contains("renders neither tools nor tool calls"),
        "{said}"
    );
}

#[test]
fn only_answers_have_steps() {
    let bundle = support::bundle(&["--shape", "tiny", "--head", "process"], &[]);
    let answer = json!({"role": "assistant", "content": ["one", "two"]});
    let bad = json!({"messages": [message("user", "put <extra_0> behind steps"), answer]});
    let good = json!({"messages": [message("user", "q"), answer]});
    let flags = ["--keep-going", "--reduce", "min"];
    let output = score(
        bundle.to_str().unwrap(),
        &flags,
        &format!("{bad}\n{good}\n"),
    );
    let found = lines(&output);
    let error = found[0]["error"].as_str().unwrap();
    assert!(
        error.starts_with("messages[0].content holds the step token \"<extra_0>\""),
        "{error}"
    );
    assert_eq!(found[1]["steps"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_that_are_there_twice_are_named() {
    let bad = r#"{"messages":[{"role":"user","content":"a","content":"b"},{"role":"assistant","content":"c"}]}"#;
    let good = json!({"prompt": "Q", "response": "A"});
    let output = score(
        &model(),
        &["--keep-going"],
        &format!("{good}\n{bad}\n{good}\n"),
    );
    let found = lines(&output);
    assert_eq!(found.len(), 3);
    let error = found[1]["error"].as_str().unwrap();
    assert!(
        error.contains("the key \"content\" is there twice"),
        "{error}"
    );
}

#[test]
fn other_formats_are_named_before_the_model_is_loaded() {
    let place = tempfile::tempdir().unwrap();
    // Opening it would fail.
    let unopened = place.path().join("unopened");
    fs::create_dir(&unopened).unwrap();
    fs::write(unopened.join("manifest.json"), "{}").unwrap();
    let unopened = unopened.to_str().unwrap();
    let record = "{\"prompt\":\"a\",\"response\":\"b\"}\n";
    let utf16: Vec<u8> = record.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&str, Vec<u8>, &[&str]); 7] = [
        (
            "parquet",
            b"PAR1\x15\x04\x15\x10PAR1".to_vec(),
            &["cannot be read as Parquet"],
        ),
        (
            "arrow",
            b"ARROW1\0\0\xff\xff".to_vec(),
            &["cannot be read as Arrow"],
        ),
        (
            "gzip",
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(),
            &["gzip data is cut off"],
        ),
        (
            "zstd",
            b"\x28\xb5\x2f\xfd\x04\0".to_vec(),
            &["Zstandard data is cut off"],
        ),
        (
            "utf-16",
            [&b"\xff\xfe"[..], &utf16].concat(),
            &["UTF-16", "iconv"],
        ),
        ("utf-16 without a mark", utf16.clone(), &["UTF-16"]),
        (
            "null",
            b"{\"prompt\":\"a\",\"chosen\":null,\"rejected\":\"b\"}".to_vec(),
            &["`chosen` is null"],
        ),
    ];
    for (name, bytes, parts) in cases {
        let path = place.path().join("input");
        fs::write(&path, &bytes).unwrap();
        let path = path.to_str().unwrap();
        for flags in [&["--input", path][..], &["--input", path, "--keep-going"]] {
            let output = score(unopened, flags, "");
            if !flags.contains(&"--keep-going") {
                let said = stderr(&output);
                assert!(
                    parts.iter().all(|part| said.contains(part)),
                    "{name}: {said}"
                );
                assert!(!said.contains("manifest.json"), "{name}: {said}");
            }
            assert_eq!(output.status.code(), Some(1), "{name}");
        }
        let output = run_with_input(&["score", "--model", &model()], &bytes);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let said = stderr(&output);
        assert!(
            parts.iter().all(|part| said.contains(part)),
            "{name}: {said}"
        );
    }
    let folder = place.path().to_str().unwrap();
    let output = score(unopened, &["--input", folder], "");
    assert!(
        stderr(&output).contains("no file in it has a name that ends as those of data sets do"),
        "{}",
        stderr(&output)
    );

    let marked = place.path().join("marked");
    fs::write(&marked, format!("\u{feff}{record}")).unwrap();
    let output = score(&model(), &["--input", marked.to_str().unwrap()], "");
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn errors_of_the_system_are_told_once() {
    let model = model();
    for args in [
        &["score", "--model", &model, "--input", "nowhere.jsonl"][..],
        &["score", "--model", &model, "--output", "no/where.jsonl"],
        &["score", "--model", "no-such-bundle"],
        &["bench", "--model", &model, "--data", "nowhere.jsonl"],
        &[
            "verify",
            "--model",
            &model,
            "--against",
            &model,
            "--data",
            "nowhere.jsonl",
        ],
        &["export", "--checkpoint", "no-such-checkpoint", "--out", "x"],
        &["inspect", "no-such-bundle"],
    ] {
        let output = run_with_input(args, b"");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = stderr(&output);
        assert!(said.matches("(os error").count() <= 1, "{args:?}: {said}");
        assert!(!said.contains("loaded in"), "{args:?}: {said}");
    }
}

#[test]
fn counts_of_none_are_refused_in_words() {
    for option in ["--threads", "--replicas", "--max-batch-tokens"] {
        let output = score(&model(), &[option, "0"], "");
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(
            said.contains(option) && said.contains("give a whole number, 1 or more"),
            "{said}"
        );
    }
}

/// Peak memory of scoring a file, in kilobytes, and what came out.
#[cfg(target_os = "linux")]
fn peak(input: &std::path::Path, flags: &[&str]) -> (u64, std::process::Output) {
    let model = model();
    let mut child = Command::new("sh");
    // The limit is on addresses, of which a process has more than it uses.
    child.args(["-c", "ulimit -v 6000000; exec \"$@\"", "sh"]);
    child.arg(env!("CARGO_BIN_EXE_worldpm-ort"));
    child.args(["score", "--model", &model, "--threads", "1", "--input"]);
    child.arg(input).args(flags);
    child.stdout(std::process::Stdio::piped());
    child.stderr(std::process::Stdio::piped());
    let child = child.spawn().unwrap();
    let process = child.id();
    let watching = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(high) = support::peak_kilobytes(process) {
            peak = high;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        peak
    });
    let output = child.wait_with_output().unwrap();
    (watching.join().unwrap(), output)
}

#[test]
#[cfg(target_os = "linux")]
fn a_large_record_takes_a_few_times_its_size() {
    let place = tempfile::tempdir().unwrap();
    let good = json!({"id": "g", "prompt": "a", "response": "b"});
    let write = |name: &str, big: &str| {
        let path = place.path().join(name);
        fs::write(&path, format!("{good}\n{big}\n{good}\n")).unwrap();
        path
    };
    let text = "ab c".repeat(10_000_000);
    let big = json!({"id": "big", "prompt": "a", "response": text}).to_string();
    let small = write("small", &good.to_string());
    let (usual, output) = peak(&small, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let times = |times: u64| usual + times * (big.len() as u64 >> 10);
    let allowed = times(4);
    let long = write("long", &big);
    for flags in [
        &["--keep-going"][..],
        &["--keep-going", "--truncation", "oldest-turns"],
    ] {
        let (peak, output) = peak(&long, flags);
        let found = lines(&output);
        assert_eq!(found.len(), 3, "{}", stderr(&output));
        assert!(found[0]["score"].is_f64() && found[2]["score"].is_f64());
        let error = found[1]["error"].as_str().unwrap();
        assert!(
            error.contains("at least") && error.contains("the limit is"),
            "{error}"
        );
        assert!(
            peak < allowed,
            "{flags:?}: {peak} kB, of which {usual} without it"
        );
    }
    // Its prompt is part of two conversations.
    let pair = json!({"id": "big", "prompt": text, "chosen": "yes", "rejected": "no"}).to_string();
    let (most, output) = peak(&write("pair", &pair), &["--keep-going"]);
    assert_eq!(lines(&output).len(), 3, "{}", stderr(&output));
    assert!(most < allowed, "{most} kB, of which {usual} without it");

    let cut = [
        "--truncation",
        "longest-message-middle",
        "--max-length",
        "512",
    ];
    let (most, output) = peak(&long, &cut);
    let found = lines(&output);
    assert_eq!(found[1]["truncated"], true, "{}", stderr(&output));
    assert!(most < allowed, "{most} kB");

    let flags = ["--keep-going", "--max-record-bytes", "1MiB"];
    let (most, output) = peak(&long, &flags);
    let found = lines(&output);
    let error = found[1]["error"].as_str().unwrap();
    assert!(
        error.contains("1048576 bytes") && error.contains("--max-record-bytes"),
        "{error}"
    );
    assert!(found[2]["score"].is_f64());
    assert!(most < usual + (32 << 10), "{most} kB");

    // Values of two bytes each.
    let dense = format!(
        "{{\"messages\":[{{\"role\":\"user\",\"x\":[{}0]}}]}}",
        "0,".repeat(20_000_000)
    );
    let (most, output) = peak(&write("dense", &dense), &["--keep-going"]);
    let error = lines(&output)[1]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("too many small values"), "{error}");
    assert!(most < times(5), "{most} kB");
}
