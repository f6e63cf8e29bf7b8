//! Data sets in and out of `score`: every format gives the scores that JSON Lines give, columns come back, and what cannot be
//! read or written is told where it stands, with what was done before kept.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use support::{
    place::{Place, rows, text},
    run_with_input, stderr,
};

const ROWS: usize = 30;

fn model() -> String {
    let bundle = support::bundle(&["--shape", "tiny", "--seed", "9"], &["--stages", "2"]);
    bundle.to_str().unwrap().to_owned()
}

impl Place {
    /// Scores from one name to another.
    fn score(&self, input: &str, output: &str, flags: &[&str]) -> Output {
        let mut command = support::command();
        command
            .args(["score", "--model", &model(), "--input"])
            .arg(self.at(input));
        command.arg("--output").arg(self.at(output)).args(flags);
        command.output().unwrap()
    }

    fn score_well(&self, input: &str, output: &str, flags: &[&str]) -> Vec<Value> {
        let result = self.score(input, output, flags);
        assert!(
            result.status.success(),
            "{input} to {output}: {}",
            stderr(&result)
        );
        rows(&self.at(output))
    }

    /// A file of conversations in some format.
    fn given(&self, name: &str) -> Vec<Value> {
        let source = self.write("source.jsonl", text(&conversations()));
        let result = support::run(&[
            "score",
            "--model",
            &model(),
            "--input",
            &source,
            "--output",
            &self.arg(name),
            "--added-prefix",
            "old_",
        ]);
        assert!(result.status.success(), "{name}: {}", stderr(&result));
        rows(&self.at(name))
    }
}

fn conversations() -> Vec<Value> {
    let row = |number| {
        json!({
            "id": number,
            "prompt": format!("Why, \"{number}\"?\nSay."),
            "response": format!("So {number}."),
            "tags": [{"name": "a", "weight": 0.5}, {"name": format!("b{number}"), "weight": null}],
            "note": if number % 3 == 0 { Value::Null } else { json!("n") },
        })
    };
    (0..ROWS).map(row).collect()
}

fn column<'a>(rows: &'a [Value], name: &str) -> Vec<&'a Value> {
    rows.iter().map(|row| &row[name]).collect()
}

#[test]
fn every_format_gives_the_same_scores() {
    let place = Place::new();
    place.write("source.jsonl", text(&conversations()));
    let expected = place.score_well("source.jsonl", "expected.jsonl", &[]);
    for (row, given) in expected.iter().zip(conversations()) {
        for (name, value) in given.as_object().unwrap() {
            assert_eq!(&row[name], value);
        }
        let names: Vec<_> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            names,
            [
                "id", "prompt", "response", "tags", "note", "score", "tokens"
            ]
        );
    }
    for name in [
        "a.json",
        "a.jsonl.gz",
        "a.jsonl.zst",
        "a.csv",
        "a.tsv.gz",
        "a.parquet",
        "a.parquet.gz",
        "a.arrow",
        "a.arrows.zst",
    ] {
        place.given(name);
        let scored = place.score_well(name, "out.jsonl", &[]);
        assert_eq!(
            column(&scored, "score"),
            column(&expected, "score"),
            "{name}"
        );
        if !name.contains("sv") {
            for column_name in ["id", "tags", "note", "prompt"] {
                assert_eq!(
                    column(&scored, column_name),
                    column(&expected, column_name),
                    "{name}"
                );
            }
        }
        // As itself, from standard input, where the format is known by the content alone.
        let bytes = fs::read(place.at(name)).unwrap();
        let output = run_with_input(
            &[
                "score",
                "--model",
                &model(),
                "--only-scores",
                "--output-format",
                "jsonl",
            ],
            &bytes,
        );
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        assert_eq!(
            column(&support::lines(&output), "score"),
            column(&expected, "score"),
            "{name}"
        );
    }
}

#[test]
fn a_table_keeps_its_schema() {
    let place = Place::new();
    place.given("in.parquet");
    for (output, format) in [
        ("out.parquet", "parquet"),
        ("out.arrow", "arrow"),
        ("plain", "parquet"),
    ] {
        let scored = place.score_well("in.parquet", output, &[]);
        assert_eq!(scored.len(), ROWS, "{format}");
        for (row, number) in scored.iter().zip(0..) {
            assert_eq!(row["id"], json!(number));
            assert!(
                row["score"].is_f64() && row["tokens"].is_u64() && row["truncated"] == json!(false),
                "{row}"
            );
            assert_eq!(row["score"], row["old_score"]);
        }
    }
    let only = place.score_well("in.parquet", "only.parquet", &["--only-scores"]);
    let names: Vec<_> = only[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names, ["id", "score", "tokens", "truncated"]);
}

#[test]
fn several_files_are_one_data_set() {
    let place = Place::new();
    let all = conversations();
    fs::create_dir(place.at("d")).unwrap();
    for (name, part) in ["d/b.jsonl", "d/a.jsonl", "d/_c.jsonl"]
        .iter()
        .zip(all.chunks(10))
    {
        place.write(name, text(part));
    }
    place.write("d/README.md", "x");
    let folder = place.at("d");
    let folder = folder.to_str().unwrap();
    let ids = |args: &[&str]| {
        let output = support::run(&[&["score", "--model", &model()][..], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let ids: Vec<_> = support::lines(&output)
            .iter()
            .map(|row| row["id"].as_u64().unwrap())
            .collect();
        (ids, stderr(&output))
    };
    let (of_folder, said) = ids(&["--input", folder]);
    assert_eq!(of_folder, (10..20).chain(0..10).collect::<Vec<_>>());
    assert!(said.contains("README.md"), "{said}");
    let pattern = format!("{folder}/[ab].jsonl");
    assert_eq!(ids(&["--input", &pattern]).0, of_folder);
    let (b, c) = (format!("{folder}/b.jsonl"), format!("{folder}/_c.jsonl"));
    assert_eq!(
        ids(&["--input", &c, "--input", &b]).0,
        (20..30).chain(0..10).collect::<Vec<_>>()
    );

    place.given("d/z.parquet");
    let mixed = support::run(&["score", "--model", &model(), "--input", folder]);
    let said = stderr(&mixed);
    assert_eq!(mixed.status.code(), Some(1));
    assert!(
        said.contains("a.jsonl is JSON Lines") && said.contains("z.parquet is Parquet"),
        "{said}"
    );
    assert!(!said.contains("loaded in"), "{said}");

    // The second of two tables has another type.
    place.write("one.jsonl", text(&all));
    let mut other = all.clone();
    other.iter_mut().for_each(|row| row["id"] = json!("x"));
    place.write("two.jsonl", text(&other));
    for name in ["one", "two"] {
        place.score_well(&format!("{name}.jsonl"), &format!("{name}.parquet"), &[]);
    }
    let [one, two] =
        ["one.parquet", "two.parquet"].map(|name| place.at(name).display().to_string());
    let output = support::run(&[
        "score",
        "--model",
        &model(),
        "--input",
        &one,
        "--input",
        &two,
    ]);
    let said = stderr(&output);
    assert!(
        said.contains("two.parquet: its column `id` is Utf8, and Int64 in")
            && said.contains("one.parquet"),
        "{said}"
    );
}

#[test]
fn pairs_have_columns_of_their_own() {
    let place = Place::new();
    let row = json!({"prompt": "Q", "chosen": "A", "rejected": "Bee"});
    place.write("in.jsonl", text(&[row.clone(), row]));
    let scored = place.score_well("in.jsonl", "out.parquet", &[]);
    let names: Vec<_> = scored[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "prompt",
            "chosen",
            "rejected",
            "score_chosen",
            "score_rejected",
            "margin",
            "probability",
            "tokens_chosen",
            "tokens_rejected",
            "truncated_chosen",
            "truncated_rejected",
        ]
    );
    let short = place.score_well("in.jsonl", "short.jsonl", &["--only-scores"]);
    assert_eq!(scored[0]["margin"], short[0]["margin"]);
    assert_eq!(scored[0]["score_chosen"], short[0]["chosen"]["score"]);
}

#[test]
fn a_column_with_the_name_of_an_added_one_is_told_before_anything_is_scored() {
    let place = Place::new();
    let mut taken = conversations();
    taken[3]["score"] = json!("mine");
    place.write("in.jsonl", text(&taken));
    for output in ["out.csv", "out.parquet", "out.json", "out.jsonl"] {
        let result = place.score("in.jsonl", output, &[]);
        let said = stderr(&result);
        assert_eq!(result.status.code(), Some(1));
        assert!(
            said.contains("\"score\"") && said.contains("--added-prefix"),
            "{said}"
        );
        assert!(
            !said.contains("loaded in") && !place.at(output).exists(),
            "{said}"
        );
        let partial = place.at(&format!("{output}.partial"));
        assert!(!partial.exists());

        let scored = place.score_well("in.jsonl", output, &["--added-prefix", "m_"]);
        assert_eq!(scored[3]["score"], "mine");
        assert!(!scored[3]["m_score"].is_null());
        let scored = place.score_well("in.jsonl", output, &["--overwrite-columns"]);
        assert_ne!(scored[3]["score"], "mine");
    }
    // The short form has no columns of the input.
    place.score_well("in.jsonl", "short.jsonl", &["--only-scores"]);
}

#[test]
fn what_cannot_be_scored_is_a_row_with_an_error() {
    let place = Place::new();
    let mut rows = conversations();
    rows[4]["response"] = Value::Null;
    place.write("in.jsonl", text(&rows) + "{\"broken\n");
    for output in ["out.parquet", "out.csv", "out.json"] {
        let result = place.score("in.jsonl", output, &["--keep-going"]);
        assert_eq!(result.status.code(), Some(1), "{}", stderr(&result));
        let scored = support::place::rows(&place.at(output));
        assert_eq!(scored.len(), ROWS + 1, "{output}");
        for (at, row) in scored.iter().enumerate() {
            let is_wrong = at == 4 || at == ROWS;
            assert_eq!(row["error"].is_string(), is_wrong, "{output}: {row}");
            assert_eq!(row["score"].is_null(), is_wrong, "{output}: {row}");
        }
        assert!(
            scored[4]["prompt"].as_str().unwrap().contains("Why"),
            "{}",
            scored[4]
        );
        assert!(
            scored[4]["error"]
                .as_str()
                .unwrap()
                .contains("`response` is null")
        );
    }
    let mut strange = conversations();
    strange.truncate(2);
    place.write("good.jsonl", text(&strange));
    place.score_well("good.jsonl", "good.parquet", &[]);
    // A table in, a table out: its wrong rows too.
    let result = place.score(
        "out.parquet",
        "again.parquet",
        &["--keep-going", "--overwrite-columns"],
    );
    assert_eq!(result.status.code(), Some(1));
    let again = support::place::rows(&place.at("again.parquet"));
    assert_eq!(again.len(), ROWS + 1);
    assert!(
        again[4]["error"]
            .as_str()
            .unwrap()
            .contains("`response` is null")
    );
}

#[test]
fn a_row_that_does_not_fit_is_told_and_those_before_it_are_kept() {
    let place = Place::new();
    let rows: Vec<_> = (0..3000)
        .map(|number| match number {
            2500 => json!({"prompt": "Q", "response": "A", "meta": {"n": "x"}}),
            _ => json!({"prompt": "Q", "response": "A", "meta": {"n": number}}),
        })
        .collect();
    place.write("in.jsonl", text(&rows));
    let result = place.score("in.jsonl", "out.parquet", &[]);
    let said = stderr(&result);
    assert_eq!(result.status.code(), Some(1));
    assert!(
        said.contains("row 2501, column `meta.n`: a string")
            && said.contains("out.parquet.partial"),
        "{said}"
    );
    assert!(!place.at("out.parquet").exists());
    fs::rename(place.at("out.parquet.partial"), place.at("kept.parquet")).unwrap();
    assert_eq!(support::place::rows(&place.at("kept.parquet")).len(), 2500);

    // Among the first rows it is found before anything is scored.
    place.write("in.jsonl", text(&rows[2400..]));
    let result = place.score("in.jsonl", "out.parquet", &[]);
    let said = stderr(&result);
    assert!(
        said.contains("row 101, column `meta.n`") && !said.contains("loaded in"),
        "{said}"
    );
}

#[test]
fn what_was_read_before_the_damage_is_scored_and_kept() {
    let place = Place::new();
    let rows: Vec<_> = (0..5000)
        .map(|number| json!({"id": number, "prompt": format!("{}", number * 7919 % 5003), "response": "A"}))
        .collect();
    place.write("in.jsonl", text(&rows));
    for (name, part) in [
        ("in.jsonl.gz", "gzip data is cut off"),
        ("in.parquet", "row group 1 of 1, column `id` cannot be read"),
        ("in.arrows", "record batch 5 cannot be read: it is cut off"),
    ] {
        place.score_well("in.jsonl", name, &["--added-prefix", "old_"]);
        let mut bytes = fs::read(place.at(name)).unwrap();
        if name == "in.parquet" {
            // What the first page says of itself.
            bytes[4..12].fill(0xff);
        } else {
            bytes.truncate(bytes.len() * 9 / 10);
        }
        place.write(name, &bytes);
        let result = place.score(name, "out.jsonl", &["--only-scores"]);
        let said = stderr(&result);
        assert_eq!(result.status.code(), Some(1), "{name}");
        assert!(said.contains(name) && said.contains(part), "{name}: {said}");
        if name != "in.parquet" {
            let kept = fs::read_to_string(place.at("out.jsonl.partial")).unwrap();
            assert!(kept.lines().count() > 1000, "{name}");
            fs::remove_file(place.at("out.jsonl.partial")).unwrap();
        }
    }
}

#[test]
fn an_interrupted_run_leaves_a_table_that_can_be_read() {
    let place = Place::new();
    let rows: Vec<_> = (0..100_000)
        .map(|number| json!({"id": number, "prompt": format!("Why {number}?"), "response": "So."}))
        .collect();
    place.write("in.jsonl", text(&rows));
    let mut command = support::command();
    command
        .args(["score", "--model", &model(), "--input"])
        .arg(place.at("in.jsonl"));
    command
        .arg("--output")
        .arg(place.at("out.parquet"))
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().contains("loaded in")));
    std::thread::sleep(std::time::Duration::from_secs(2));
    let id = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let said: Vec<String> = told.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said:?}");
    fs::rename(place.at("out.parquet.partial"), place.at("left.parquet")).unwrap();
    let left = support::place::rows(&place.at("left.parquet"));
    assert!((1..rows.len()).contains(&left.len()));
    for (at, row) in left.iter().enumerate() {
        assert_eq!(row["id"], at);
        assert!(row["score"].is_f64());
    }
}

#[test]
fn options_that_do_not_go_together() {
    let place = Place::new();
    place.write("in.jsonl", text(&conversations()));
    place.write("out.csv", "a\n");
    let result = place.score("in.jsonl", "out.csv", &["--append"]);
    assert!(
        stderr(&result).contains("--append adds lines to JSON Lines"),
        "{}",
        stderr(&result)
    );
    let result = place.score("in.jsonl", "out.csv", &["--output-format", "xml"]);
    assert_eq!(result.status.code(), Some(2));
    assert!(
        stderr(&result).contains("arrow-stream"),
        "{}",
        stderr(&result)
    );
    place.write("one.csv", "prompt,response,response\nQ,A,B\n");
    let result = place.score("one.csv", "x.jsonl", &[]);
    assert!(
        stderr(&result).contains("one.csv: it has the column \"response\" twice"),
        "{}",
        stderr(&result)
    );
}
