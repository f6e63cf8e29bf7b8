//! `verify --against`: its figures are computed again here, in plain ways, from what `score` prints.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};

use crate::{
    figures::check_report,
    support::{self, copy_of, edit_json, lines, run, run_ok, stderr},
};

const SHAPE: &[&str] = &["--shape", "tiny", "--num-hidden-layers", "2"];

fn seed(seed: &'static str) -> Vec<&'static str> {
    [SHAPE, &["--seed", seed]].concat()
}

/// Singles that share prompts, singles that do not, and pairs, in every form and with every kind of id.
fn records() -> Vec<Value> {
    let turn = |role: &str, content: String| json!({"role": role, "content": content});
    let mut records = Vec::new();
    for i in 0..60_usize {
        let text = |n: usize| format!("answer {} {}", n * 7919 % 101, "word ".repeat(n % 9));
        let prompt = format!("Question {}?", i % 7);
        records.push(match i % 5 {
            0 => json!({"id": format!("s{i}"), "prompt": prompt, "response": text(i)}),
            1 => json!({"messages": [turn("user", prompt), turn("assistant", text(i))]}),
            2 => json!({"id": i, "prompt": prompt, "chosen": text(i), "rejected": text(i + 50)}),
            3 => json!([
                turn("user", format!("alone {i}")),
                turn("assistant", text(i))
            ]),
            _ => json!({
                "chosen": [turn("user", prompt.clone()), turn("assistant", text(i))],
                "rejected": [turn("user", prompt), turn("assistant", text(2 * i))],
            }),
        });
    }
    records
}

fn write(path: &Path, records: &[Value]) {
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(path, text).unwrap();
}

fn verify(model: &Path, against: &Path, data: &Path, flags: &[&str]) -> Output {
    let [model, against, data] = [model, against, data].map(|path| path.to_str().unwrap());
    let args = [
        "verify",
        "--model",
        model,
        "--against",
        against,
        "--data",
        data,
    ];
    run(&[&args[..], flags].concat())
}

fn report(model: &Path, against: &Path, data: &Path) -> Value {
    let output = verify(model, against, data, &["--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn scored(model: &Path, data: &Path) -> Vec<Value> {
    let [model, data] = [model, data].map(|path| path.to_str().unwrap());
    lines(&run_ok(&[
        "score",
        "--only-scores",
        "--model",
        model,
        "--input",
        data,
    ]))
}

#[test]
fn the_figures_follow_from_the_scores() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data.jsonl");
    let records = records();
    write(&data, &records);
    let one = support::bundle(&seed("51"), &["--stages", "2"]);
    let rounded = support::bundle(&seed("51"), &["--precision", "fp16"]);
    let other = support::bundle(&seed("52"), &[]);
    let scores = scored(&one, &data);
    for against in [&other, &rounded] {
        let report = report(&one, against, &data);
        assert_eq!(report["records"], records.len());
        assert_eq!(report["compared"], records.len());
        assert_eq!(report["conversations"], 84);
        assert_eq!(report["failed"], json!({"model": 0, "against": 0}));
        assert_eq!(
            (&report["text_differences"], &report["other_tokens"]),
            (&json!([]), &json!(0))
        );
        check_report(&report, &records, &scores, &scored(against, &data));
    }

    // Other weights: hardly anything is left in order.
    let far = report(&one, &other, &data);
    let label = &far["labels"][0];
    assert!(label["scores"]["spearman"].as_f64().unwrap() < 0.9);
    assert!(!label["pairs"]["flips"].as_array().unwrap().is_empty());
    assert!(
        !label["groups"]["best_changed"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    // A bundle and itself, though in another form.
    let same = report(&one, &support::bundle(&seed("51"), &[]), &data);
    let label = &same["labels"][0];
    assert_eq!(label["scores"]["max_abs"], 0.0);
    assert_eq!(label["scores"]["largest"], json!([]));
    assert_eq!(label["scores"]["pearson"], 1.0);
    assert_eq!(label["pairs"]["flips"], json!([]));
    assert_eq!(label["groups"]["kendall_tau_b"], 1.0);

    let output = verify(&one, &other, &data, &[]);
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    for part in [
        "60 records, 60 compared, 84 conversations",
        "difference of   n",
        "pairs whose order changed:",
        "prompts whose best answer changed:",
        "furthest apart",
        "rejected",
    ] {
        assert!(table.contains(part), "no {part:?} in: {table}");
    }
}

#[test]
fn several_labels() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data.jsonl");
    let records = records();
    write(&data, &records);
    let labels = ["--head", "one", "--labels", "help,truth"];
    let [one, other] =
        ["53", "54"].map(|s| support::bundle(&[&seed(s)[..], &labels].concat(), &[]));
    let report = report(&one, &other, &data);
    let (a, b) = (scored(&one, &data), scored(&other, &data));
    for (place, label) in ["help", "truth"].into_iter().enumerate() {
        // The lines as they would be, had the model this label alone.
        let alone = |lines: &[Value]| -> Vec<Value> {
            let score = |scores: &Value| json!({"score": scores["scores"][label]});
            lines
                .iter()
                .map(|line| match line.get("chosen") {
                    None => score(line),
                    Some(chosen) => {
                        json!({"chosen": score(chosen), "rejected": score(&line["rejected"])})
                    }
                })
                .collect()
        };
        assert_eq!(report["labels"][place]["label"], label);
        let of_label = json!({"labels": [report["labels"][place]]});
        check_report(&of_label, &records, &alone(&a), &alone(&b));
    }
    let single = support::bundle(&seed("51"), &[]);
    let output = verify(&one, &single, &data, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("different numbers (help, truth and score)"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn models_that_score_steps() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data.jsonl");
    let answer = |steps: &[String]| json!({"role": "assistant", "content": steps});
    let conversation = |i: usize, steps: &[String]| json!([{"role": "user", "content": format!("Question {}?", i % 3)}, answer(steps)]);
    let steps =
        |i: usize| -> Vec<String> { (0..=i % 4).map(|n| format!("step {n} of {i}")).collect() };
    let records: Vec<Value> = (0..12)
        .map(|i| match i % 3 {
            0 => json!({"chosen": conversation(i, &steps(i)), "rejected": conversation(i, &steps(i + 20))}),
            _ => conversation(i, &steps(i)),
        })
        .collect();
    write(&data, &records);
    let process = ["--head", "process"];
    let [one, other] =
        ["55", "56"].map(|s| support::bundle(&[&seed(s)[..], &process].concat(), &[]));
    let output = verify(&one, &other, &data, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--reduce"), "{}", stderr(&output));

    let output = verify(&one, &other, &data, &["--json", "--reduce", "min"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scored = |model: &Path| {
        let [model, data] = [model, &data].map(|path| path.to_str().unwrap());
        let args = [
            "score",
            "--only-scores",
            "--reduce",
            "min",
            "--model",
            model,
            "--input",
            data,
        ];
        lines(&run_ok(&args))
    };
    check_report(&report, &records, &scored(&one), &scored(&other));

    let single = support::bundle(&seed("51"), &[]);
    let output = verify(&one, &single, &data, &["--reduce", "min"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("different numbers (score of steps and score)"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn records_that_cannot_be_scored() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data.jsonl");
    let good = |i: usize| json!({"prompt": "Q", "response": format!("answer {i}")}).to_string();
    let long = json!({"id": "long", "prompt": "Q", "response": "word ".repeat(400)}).to_string();
    let bad = r#"{"id": "bad", "text": "x"}"#.to_owned();
    fs::write(&data, [good(1), long, good(2), bad, good(3)].join("\n")).unwrap();
    let one = support::bundle(&seed("51"), &[]);
    let other = support::bundle(&seed("52"), &[]);

    let strict = verify(&one, &other, &data, &["--max-length", "300"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(strict.stdout.is_empty());
    for part in [
        "error: ",
        "data.jsonl, line 2",
        "300",
        one.to_str().unwrap(),
    ] {
        assert!(
            stderr(&strict).contains(part),
            "no {part:?} in {}",
            stderr(&strict)
        );
    }

    let lenient = ["--max-length", "300", "--keep-going", "--json"];
    let output = verify(&one, &other, &data, &lenient);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], json!({"model": 2, "against": 2}));
    assert_eq!(
        (&report["records"], &report["compared"]),
        (&json!(5), &json!(3))
    );
    assert_eq!(report["labels"][0]["scores"]["n"], 3);
    assert_eq!(
        stderr(&output).matches("data.jsonl").count(),
        4,
        "{}",
        stderr(&output)
    );

    let cut = [
        "--max-length",
        "300",
        "--truncation",
        "longest-message-middle",
        "--keep-going",
    ];
    let output = verify(&one, &other, &data, &cut);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("5 records, 4 compared"), "{table}");

    // One of the bundles refuses what the other scores.
    let template = copy_of(&support::checkpoint(&seed("52")));
    let picky = "{% if 'answer 2' in messages[-1].content %}{{ raise_exception('no twos') }}{% endif %}\
                 {% for m in messages %}{{ m.content }}{% endfor %}<|endoftext|>";
    fs::write(template.path().join("chat_template.jinja"), picky).unwrap();
    let refusing = place.path().join("refusing");
    let checkpoint = template.path().to_str().unwrap();
    let args = [
        "export",
        "--checkpoint",
        checkpoint,
        "--out",
        refusing.to_str().unwrap(),
    ];
    run_ok(&[&args[..], &["--probes", "off"]].concat());
    let output = verify(
        &one,
        &refusing,
        &data,
        &["--max-length", "500", "--keep-going", "--json"],
    );
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], json!({"model": 1, "against": 2}));
    assert_eq!(
        (&report["records"], &report["compared"]),
        (&json!(5), &json!(3))
    );
    assert_eq!(report["other_tokens"], 3);
    assert_eq!(
        report["text_differences"],
        json!(["chat_template.jinja differs"])
    );
    assert!(stderr(&output).contains("warning: the bundles read conversations in different ways"));
}

#[test]
fn nothing_to_compare_with() {
    let place = tempfile::tempdir().unwrap();
    let one = support::bundle(&seed("51"), &[]);
    let missing = place.path().join("missing.jsonl");
    let empty = place.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    for (name, against, data, parts) in [
        ("no data", &one, &missing, &["missing.jsonl"][..]),
        (
            "a folder for data",
            &one,
            &place.path().to_owned(),
            &["not a regular file"],
        ),
        (
            "no bundle",
            &place.path().join("nowhere"),
            &empty,
            &["nowhere", "manifest.json"],
        ),
        (
            "a pipe",
            &one,
            &PathBuf::from("/dev/null"),
            &["not a regular file"],
        ),
    ] {
        let output = verify(&one, against, data, &[]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(output.stdout.is_empty(), "{name}");
        for part in parts {
            assert!(
                stderr(&output).contains(part),
                "{name}: {}",
                stderr(&output)
            );
        }
    }
    let report = report(&one, &one, &empty);
    assert_eq!(
        (&report["records"], &report["conversations"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(report["labels"][0]["scores"], Value::Null);
    let output = verify(&one, &one, &empty, &[]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && table.contains("no scores to compare"),
        "{table}"
    );

    for flags in [&["--record"][..], &["--checksum"], &["--tolerance", "1"]] {
        let output = verify(&one, &one, &empty, flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    let model = one.to_str().unwrap();
    for flags in [
        &["--against", "x"][..],
        &["--data", "x"],
        &["--keep-going"],
        &["--max-length", "5"],
    ] {
        let output = run(&[&["verify", "--model", model], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}

/// Bundles that differ in which token they score, or in length, are told apart; both get the lower limit.
#[test]
fn bundles_that_differ_in_more_than_weights() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data.jsonl");
    write(
        &data,
        &[json!({"prompt": "Q", "response": "word ".repeat(100)})],
    );
    let one = support::bundle(&seed("51"), &[]);
    let moved = support::bundle(
        &[&seed("51")[..], &["--pad-token-id", "151643"]].concat(),
        &[],
    );
    let report = report(&one, &moved, &data);
    assert_eq!(
        report["text_differences"],
        json!(["they score another token (pooling)"])
    );

    let short = copy_of(&one);
    edit_json(&short.path().join("manifest.json"), |manifest| {
        manifest["max_length"] = json!(50);
        manifest["probes"] = json!([]);
        manifest["model"]["hidden_size"] = json!(1);
    });
    let output = verify(&one, short.path(), &data, &[]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains(one.to_str().unwrap()) && message.contains("50"),
        "{message}"
    );
    assert!(
        message.contains("warning: the bundles are of different models"),
        "{message}"
    );
}

/// One model at a time, and little for each record.
#[test]
#[cfg(target_os = "linux")]
fn memory() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data.jsonl");
    let peak = |records: usize| {
        let record = |i: usize| json!({"id": i, "prompt": "Q", "response": format!("{}", i % 10)});
        write(&data, &(0..records).map(record).collect::<Vec<_>>());
        let bundle = support::bundle(&seed("51"), &[]);
        peak_kilobytes(&bundle, &data)
    };
    let (few, many) = (peak(2_000), peak(50_000));
    // 150 bytes a record are 7.2 MB; reading and scoring take windows of the same size either way.
    assert!(
        many < few + 16 * 1024,
        "{few} kB for two thousand records, {many} kB for fifty thousand"
    );
}

/// Peak resident memory of comparing a bundle with itself.
#[cfg(target_os = "linux")]
fn peak_kilobytes(bundle: &Path, data: &Path) -> u64 {
    let mut child = support::command()
        .args(["verify", "--json", "--model"])
        .arg(bundle)
        .arg("--against")
        .arg(bundle)
        .arg("--data")
        .arg(data)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = support::peak_kilobytes(child.id()).unwrap_or(peak);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    assert!(peak > 0);
    peak
}
