//! `verify --against`: its figures are computed again here, in plain ways, from what `score` prints.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use support::{copy_of, edit_json, lines, run, run_ok, stderr};

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

fn mean(values: &[f64]) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let n = values.len() as f64;
    values.iter().sum::<f64>() / n
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let centre = |values: &[f64]| -> Vec<f64> {
        let mean = mean(values);
        values.iter().map(|value| value - mean).collect()
    };
    let (a, b) = (centre(a), centre(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// For each number, how many are smaller, and half of those that are equal.
#[allow(clippy::cast_precision_loss)]
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let smaller = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        smaller as f64 + equal as f64 / 2.0
    };
    values.iter().map(rank).collect()
}

fn check(what: &str, found: &Value, expected: f64) {
    let found = found
        .as_f64()
        .unwrap_or_else(|| panic!("{what} is {found}"));
    let off = (found - expected).abs();
    assert!(
        off <= 1e-6 * expected.abs().max(1e-3),
        "{what}: {found}, and {expected} by hand"
    );
}

fn check_differences(what: &str, found: &Value, differences: &[f64]) {
    assert_eq!(found["n"], differences.len(), "{what}");
    let absolute: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    let squares: Vec<f64> = differences.iter().map(|d| d * d).collect();
    check(&format!("{what}: mean"), &found["mean"], mean(differences));
    check(
        &format!("{what}: mean_abs"),
        &found["mean_abs"],
        mean(&absolute),
    );
    let max = absolute.iter().copied().fold(0.0, f64::max);
    check(&format!("{what}: max_abs"), &found["max_abs"], max);
    check(
        &format!("{what}: rms"),
        &found["rms"],
        mean(&squares).sqrt(),
    );
}

fn number(line: &Value, path: &str) -> f64 {
    line.pointer(path).and_then(Value::as_f64).unwrap()
}

/// All that the report says, from the lines that `score` prints for both bundles.
fn check_report(report: &Value, records: &[Value], a: &[Value], b: &[Value]) {
    let (mut scores, mut margins) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut flips = Vec::new();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, record) in records.iter().enumerate() {
        let both = [&a[i], &b[i]];
        if a[i].get("score").is_some() {
            let prompt = record.get("prompt").map(ToString::to_string).or_else(|| {
                let messages = record.get("messages").unwrap_or(record);
                Some(messages[0]["content"].to_string())
            });
            groups.entry(prompt.unwrap()).or_default().push(i);
            scores
                .iter_mut()
                .zip(both)
                .for_each(|(s, line)| s.push(number(line, "/score")));
            continue;
        }
        let margin = |line| number(line, "/chosen/score") - number(line, "/rejected/score");
        for (bundle, line) in both.into_iter().enumerate() {
            scores[bundle].push(number(line, "/chosen/score"));
            scores[bundle].push(number(line, "/rejected/score"));
            margins[bundle].push(margin(line));
        }
        if (margin(both[0]) > 0.0) != (margin(both[1]) > 0.0) {
            flips.push(i + 1);
        }
    }
    let subtract =
        |[a, b]: &[Vec<f64>; 2]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let found = &report["labels"][0];
    check_differences("scores", &found["scores"], &subtract(&scores));
    check(
        "pearson",
        &found["scores"]["pearson"],
        correlation(&scores[0], &scores[1]),
    );
    let spearman = correlation(&ranks(&scores[0]), &ranks(&scores[1]));
    check("spearman", &found["scores"]["spearman"], spearman);
    let largest = &found["scores"]["largest"][0];
    let line = usize::try_from(largest["line"].as_u64().unwrap()).unwrap() - 1;
    let path = match largest.get("side") {
        None => "/score".to_owned(),
        Some(side) => format!("/{}/score", side.as_str().unwrap()),
    };
    let furthest = (number(&a[line], &path) - number(&b[line], &path)).abs();
    check("largest", &found["scores"]["max_abs"], furthest);
    assert_eq!(largest.get("id"), records[line].get("id"));

    check_differences("margins", &found["pairs"]["margins"], &subtract(&margins));
    for (bundle, margins) in ["model", "against"].iter().zip(&margins) {
        let wins: Vec<f64> = margins
            .iter()
            .map(|m| if *m > 0.0 { 1.0 } else { 0.0 })
            .collect();
        check("accuracy", &found["pairs"]["accuracy"][bundle], mean(&wins));
    }
    let told = found["pairs"]["flips"].as_array().unwrap();
    let told: Vec<&Value> = told.iter().map(|flip| &flip["line"]).collect();
    assert_eq!(
        told,
        flips
            .iter()
            .map(|line| json!(line))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );

    groups.retain(|_, members| members.len() > 1);
    let found = &found["groups"];
    let (mut changed, mut opposite, mut twos, mut taus) = (0, 0, 0, Vec::new());
    for members in groups.values() {
        let of = |lines: &[Value]| -> Vec<f64> {
            members
                .iter()
                .map(|&i| number(&lines[i], "/score"))
                .collect()
        };
        let (a, b) = (of(a), of(b));
        let best = |scores: &[f64]| {
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            scores.iter().position(|score| *score == highest)
        };
        changed += usize::from(best(&a) != best(&b));
        let (mut here, mut sum) = (0, 0.0);
        for i in 0..members.len() {
            for j in 0..i {
                let agreement = (a[i] - a[j]) * (b[i] - b[j]);
                assert!(agreement != 0.0, "the test's scores have no ties");
                here += 1;
                sum += agreement.signum();
                opposite += usize::from(agreement < 0.0);
            }
        }
        twos += here;
        taus.push(sum / f64::from(here));
    }
    assert_eq!(found["prompts"], groups.len());
    assert_eq!(
        found["answers"],
        groups.values().map(Vec::len).sum::<usize>()
    );
    assert_eq!(found["best_changed"].as_array().unwrap().len(), changed);
    assert_eq!(found["twos"]["all"], twos);
    assert_eq!(found["twos"]["opposite_order"], opposite);
    check("kendall", &found["kendall_tau_b"], mean(&taus));
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
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
        peak = high.unwrap_or(peak);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    assert!(peak > 0);
    peak
}
