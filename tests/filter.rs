//! The `filter` command: rows of a data set that was scored, kept by their scores, in every format and without a model.

#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, process::Output};

use serde_json::{Value, json};
use support::{
    lines,
    place::{Place, rows, text},
    run_with_input, stderr,
};

const FORMATS: [&str; 9] = [
    "jsonl",
    "json",
    "csv",
    "tsv",
    "parquet",
    "arrow",
    "arrows",
    "jsonl.gz",
    "parquet.zst",
];

/// With ties at many places.
const SCORES: [f64; 12] = [
    0.5, -1.25, 3.0, 3.0, 0.5, 7.75, -4.0, 3.0, 2.5, 0.0, 7.5, 2.5,
];

impl Place {
    fn filter(&self, input: &str, output: &str, flags: &[&str]) -> Output {
        let mut command = support::command();
        // Nothing is loaded, so it matters not that there is nothing to load.
        command.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
        command.arg("filter").arg("--input").arg(self.at(input));
        command.arg("--output").arg(self.at(output)).args(flags);
        command.output().unwrap()
    }

    fn filter_well(&self, input: &str, output: &str, flags: &[&str]) -> Vec<Value> {
        let result = self.filter(input, output, flags);
        assert!(
            result.status.success(),
            "{input} to {output} {flags:?}: {}",
            stderr(&result)
        );
        rows(&self.at(output))
    }

    fn refused(&self, input: &str, flags: &[&str], parts: &[&str]) {
        let result = self.filter(input, "refused.jsonl", flags);
        support::expect_failure(&format!("{flags:?}"), &result, parts);
        assert!(!self.at("refused.jsonl").exists());
    }
}

fn scored() -> Vec<Value> {
    let row = |(id, score): (usize, &f64)| json!({"id": id, "prompt": format!("q{}", id / 4), "text": "a, \"b\"\né", "score": score, "tokens": 3});
    SCORES.iter().enumerate().map(row).collect()
}

fn ids(rows: &[Value]) -> Vec<usize> {
    let id = |row: &Value| match &row["id"] {
        Value::String(text) => text.parse().unwrap(),
        number => usize::try_from(number.as_u64().unwrap()).unwrap(),
    };
    rows.iter().map(id).collect()
}

#[test]
fn rows_are_kept_by_their_scores() {
    let place = Place::new();
    place.write("in.jsonl", text(&scored()));
    for (flags, expected) in [
        (&[][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][..]),
        (&["--min", "3"], &[2, 3, 5, 7, 10]),
        (&["--max", "-1.25"], &[1, 6]),
        (&["--min", "0", "--max", "0.5"], &[0, 4, 9]),
        (&["--min", "1e9"], &[]),
        // >>> scores = [0.5, -1.25, 3.0, 3.0, 0.5, 7.75, -4.0, 3.0, 2.5, 0.0, 7.5, 2.5]
        // >>> numpy.percentile(scores, [25, 50, 75, 80, 90, 99.5])
        // array([0.375, 2.5, 3.0, 3.0, 7.05, 7.73625])
        (&["--percentile", "90.."], &[5, 10]),
        (&["--percentile", "80.."], &[2, 3, 5, 7, 10]),
        (&["--percentile", "..25"], &[1, 6, 9]),
        (&["--percentile", "25..50"], &[0, 4, 8, 11]),
        (&["--percentile", "50..75"], &[2, 3, 7, 8, 11]),
        (&["--top-percent", "10"], &[5, 10]),
        (&["--top-percent", "0.5"], &[5]),
        (&["--top-percent", "0"], &[5]),
        (
            &["--top-percent", "100"],
            &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        ),
        // Of equal ones the first.
        (&["--top", "1"], &[5]),
        (&["--top", "3"], &[2, 5, 10]),
        (&["--top", "4"], &[2, 3, 5, 10]),
        (&["--top", "50"], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (&["--top", "2", "--max", "3"], &[2, 3]),
        (&["--top", "2", "--percentile", "..50"], &[8, 11]),
        (&["--top-percent", "50", "--max", "3"], &[2, 3, 7, 8, 11]),
        (&["--top", "1", "--group-by", "prompt"], &[2, 5, 10]),
        (
            &["--top", "2", "--group-by", "prompt"],
            &[2, 3, 5, 7, 8, 10],
        ),
        (
            &["--top", "2", "--group-by", "prompt", "--max", "3"],
            &[2, 3, 4, 7, 8, 11],
        ),
        (
            &["--top", "2", "--group-by", "prompt", "--percentile", "80.."],
            &[2, 3, 5, 7, 10],
        ),
    ] {
        let kept = place.filter_well("in.jsonl", "out.jsonl", flags);
        assert_eq!(ids(&kept), expected, "{flags:?}");
        let given = scored();
        for row in &kept {
            assert_eq!(row, &given[ids(std::slice::from_ref(row))[0]], "{flags:?}");
        }
        let counted = place.filter("in.jsonl", "none.jsonl", &[flags, &["--dry-run"]].concat());
        let said = stderr(&counted);
        let count = format!("would keep {} of 12 rows", expected.len());
        assert!(
            counted.status.success() && said.contains(&count),
            "{flags:?}: {said}"
        );
        assert!(counted.stdout.is_empty() && !place.at("none.jsonl").exists());
    }
    let said = stderr(&place.filter("in.jsonl", "out.jsonl", &["--percentile", "90.."]));
    for part in [
        "12 rows: 12 with a number in `score`, 0 with an error, 0 without a number",
        "least -4.0000, 1 % -3.6975, 5 % -2.4875, 25 % 0.3750, 50 % 2.5000, 75 % 3.0000, 95 % 7.6125, 99 % 7.7225, greatest 7.7500",
        "kept 2 of 12 rows (16.67 % of those with a number): `score` from 7.05",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn every_format_to_every_other() {
    let place = Place::new();
    place.write("source.jsonl", text(&scored()));
    for from in FORMATS {
        let given = format!("in.{from}");
        assert_eq!(place.filter_well("source.jsonl", &given, &[]).len(), 12);
        for to in FORMATS {
            let out = format!("out.{to}");
            let kept = place.filter_well(&given, &out, &["--top-percent", "10"]);
            assert_eq!(ids(&kept), [5, 10], "{from} to {to}");
            let names: Vec<_> = kept[0].as_object().unwrap().keys().collect();
            assert_eq!(
                names,
                ["id", "prompt", "text", "score", "tokens"],
                "{from} to {to}"
            );
            assert_eq!(kept[0]["text"], "a, \"b\"\né", "{from} to {to}");
            let is_text = [from, to].iter().any(|format| format.contains("sv"));
            match is_text {
                true => assert_eq!(kept[0]["score"], "7.75", "{from} to {to}"),
                false => assert_eq!(kept[0]["score"], 7.75, "{from} to {to}"),
            }
        }
        let none = place.filter_well(&given, &format!("none.{from}"), &["--min", "100"]);
        assert!(none.is_empty(), "{from}");
    }
    // Several files are one data set, and the output's format is the input's.
    fs::create_dir(place.at("d")).unwrap();
    for name in ["d/a.parquet", "d/b.parquet"] {
        fs::copy(place.at("in.parquet"), place.at(name)).unwrap();
    }
    let kept = place.filter_well("d", "out", &["--top", "3"]);
    assert_eq!(ids(&kept), [5, 10, 5]);
    assert!(fs::read(place.at("out")).unwrap().starts_with(b"PAR1"));
}

#[test]
fn columns_that_are_within_others() {
    let place = Place::new();
    let row = |id: usize| json!({"id": id, "chosen": {"score": id, "tokens": 1}, "scores": {"help": -(id as f64)}, "m.x": id, "margin": 1});
    place.write("in.jsonl", text(&(0..4).map(row).collect::<Vec<_>>()));
    place.filter_well("in.jsonl", "in.parquet", &["--column", "margin"]);
    for input in ["in.jsonl", "in.parquet"] {
        for (column, expected) in [
            ("chosen.score", [2, 3]),
            ("scores.help", [0, 1]),
            ("m.x", [2, 3]),
            ("margin", [0, 1]),
        ] {
            let flags = ["--column", column, "--top", "2"];
            let kept = place.filter_well(input, "out.jsonl", &flags);
            assert_eq!(ids(&kept), expected, "{input} {column}");
        }
    }
}

#[test]
fn rows_without_a_score_are_left_out() {
    let place = Place::new();
    let mut given = scored();
    given[5]["score"] = Value::Null;
    given[5]["error"] = json!("too long");
    given[10].as_object_mut().unwrap().remove("score");
    // An answer from before stays beside a new error.
    given[2]["error"] = json!("no");
    given[3]["error"] = Value::Null;
    place.write("in.jsonl", text(&given));
    for input in ["in.jsonl", "in.parquet", "in.csv"] {
        if input != "in.jsonl" {
            let all = place.filter_well("in.jsonl", input, &["--keep-errors"]);
            assert_eq!(all.len(), 12);
        }
        let result = place.filter(input, "out.jsonl", &["--min", "3"]);
        assert_eq!(ids(&rows(&place.at("out.jsonl"))), [3, 7], "{input}");
        let said = stderr(&result);
        let counted = "12 rows: 9 with a number in `score`, 2 with an error, 1 without a number";
        assert!(said.contains(counted), "{input}: {said}");
        let kept = place.filter_well(input, "out.jsonl", &["--min", "3", "--keep-errors"]);
        assert_eq!(ids(&kept), [2, 3, 5, 7, 10], "{input}");
        let flags = ["--top", "1", "--keep-errors"];
        assert_eq!(
            ids(&place.filter_well(input, "out.jsonl", &flags)),
            [2, 3, 5, 10]
        );
        let flags = ["--top", "1", "--keep-errors", "--group-by", "prompt"];
        assert_eq!(
            ids(&place.filter_well(input, "out.jsonl", &flags)),
            [2, 3, 5, 7, 8, 10]
        );
        // Another column may say why.
        let kept = place.filter_well(input, "out.jsonl", &["--min", "3", "--error-column", "why"]);
        assert_eq!(ids(&kept), [2, 3, 7], "{input}");
    }
    // Of nothing but errors nothing is kept.
    let error = json!({"id": 1, "line": 1, "error": "no"});
    place.write("errors.jsonl", text(&[error.clone(), error]));
    assert!(
        place
            .filter_well("errors.jsonl", "out.jsonl", &["--top", "1"])
            .is_empty()
    );
}

#[test]
fn standard_input_is_looked_at_once() {
    let input: String = scored().iter().map(|row| format!("{row}\n")).collect();
    let once = run_with_input(&["filter", "--min", "7.5"], input.as_bytes());
    assert_eq!(ids(&lines(&once)), [5, 10], "{}", stderr(&once));
    assert!(stderr(&once).contains("50 % 2.5000"), "{}", stderr(&once));
    let groups = ["filter", "--top", "1", "--group-by", "prompt"];
    assert_eq!(
        ids(&lines(&run_with_input(&groups, input.as_bytes()))),
        [2, 5, 10]
    );
    for flags in [
        &["--top", "1"][..],
        &["--top-percent", "5"],
        &["--percentile", "..5"],
    ] {
        let refused = run_with_input(&[&["filter"], flags].concat(), input.as_bytes());
        let parts = [
            flags[0],
            "two looks",
            "standard input can be read once",
            "--input",
        ];
        support::expect_failure("twice", &refused, &parts);
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn what_cannot_be_filtered_says_where() {
    let place = Place::new();
    place.write("in.jsonl", text(&scored()));
    place.filter_well("in.jsonl", "in.parquet", &[]);
    place.filter_well("in.jsonl", "in.csv", &[]);
    for (input, unit) in [
        ("in.jsonl", "line 1"),
        ("in.parquet", "row 1"),
        ("in.csv", "line 2"),
    ] {
        for flags in [
            &["--column", "marign"][..],
            &["--column", "marign", "--top", "1"],
        ] {
            let parts = [
                input,
                unit,
                "no column `marign`",
                "`prompt`, `text`, `score`",
            ];
            place.refused(input, flags, &parts);
        }
    }
    place.refused(
        "in.parquet",
        &["--column", "text"],
        &["in.parquet, row 1: `text` is a string"],
    );
    place.refused(
        "in.csv",
        &["--column", "text"],
        &["in.csv, line 2: `text` is text"],
    );
    let group = ["--top", "1", "--group-by", "who"];
    place.refused("in.jsonl", &group, &["in.jsonl, line 1: it has no `who`"]);

    // The rows before it are kept beside the output.
    let mut given = scored();
    given[8]["score"] = json!([1.0]);
    place.write("list.jsonl", text(&given));
    let parts = [
        "list.jsonl, line 9: `score` is a list",
        "the results before it are in",
    ];
    place.refused("list.jsonl", &["--min", "3"], &parts);
    assert_eq!(ids(&rows(&place.at("refused.jsonl.partial"))), [2, 3, 5, 7]);
    fs::write(place.at("nan.csv"), "id,score\n1,2.5\n2,nan\n").unwrap();
    place.refused(
        "nan.csv",
        &["--top", "1"],
        &["nan.csv, line 3: `score` is NaN or infinite"],
    );
    fs::write(
        place.at("cut.jsonl"),
        "{\"id\": 1, \"score\": 1}\n{\"id\": 2, \"sco\n",
    )
    .unwrap();
    place.refused("cut.jsonl", &[], &["cut.jsonl: line 2: not valid JSON"]);
    place.refused("gone.jsonl", &[], &["cannot open", "gone.jsonl"]);

    let own = place.filter("in.jsonl", "in.jsonl", &["--min", "3"]);
    support::expect_failure("itself", &own, &["it is the input, which would be lost"]);
    assert_eq!(rows(&place.at("in.jsonl")).len(), 12);
    for wrong in [
        &["--min", "nan"][..],
        &["--top", "0"],
        &["--top-percent", "101"],
        &["--percentile", "75..25"],
        &["--percentile", "90"],
        &["--top-percent", "5", "--percentile", "5.."],
        &["--group-by", "prompt"],
    ] {
        assert_eq!(
            place.filter("in.jsonl", "x", wrong).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
}

/// As large as takes many looks of the selection, with groups of many rows.
#[test]
fn the_best_of_many() {
    let place = Place::new();
    let row = |id: usize| {
        let score = ((id * 7919) % 50_021) as f64 / 64.0 - 300.0;
        json!({"id": id, "key": id / 10_000, "score": score})
    };
    let all: Vec<Value> = (0..50_000).map(row).collect();
    place.write("in.jsonl", text(&all));
    let mut sorted: Vec<f64> = all
        .iter()
        .map(|row| row["score"].as_f64().unwrap())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let kept = place.filter_well("in.jsonl", "out.jsonl", &["--top", "1234"]);
    let least = sorted[50_000 - 1234];
    let expected: Vec<_> = all
        .iter()
        .filter(|row| row["score"].as_f64().unwrap() >= least)
        .collect();
    assert_eq!(kept.iter().collect::<Vec<_>>(), expected);
    let kept = place.filter_well("in.jsonl", "out.jsonl", &["--top-percent", "2.5"]);
    // 0.975 * 49999 is 48749.025.
    assert_eq!(kept.len(), 50_000 - 48_750);
    // Few rows of each of many batches, in each kind of table.
    for input in ["in.parquet", "in.arrows"] {
        place.filter_well("in.jsonl", input, &[]);
        for (top, output) in [
            ("20", "out.parquet"),
            ("300", "out.arrow"),
            ("45000", "out.arrows"),
        ] {
            let kept = place.filter_well(input, output, &["--top", top]);
            let least = sorted[50_000 - top.parse::<usize>().unwrap()];
            let expected: Vec<_> = all
                .iter()
                .filter(|row| row["score"].as_f64().unwrap() >= least)
                .collect();
            assert_eq!(
                kept.iter().collect::<Vec<_>>(),
                expected,
                "{input} to {output}"
            );
        }
        let best = ["--group-by", "key", "--top", "2"];
        let expected = place.filter_well("in.jsonl", "out.jsonl", &best);
        assert_eq!(
            place.filter_well(input, "out.arrow", &best),
            expected,
            "{input}"
        );
    }
    let groups = ["--group-by", "key", "--top"];
    assert_eq!(
        place
            .filter_well("in.jsonl", "out.jsonl", &[&groups[..], &["3"]].concat())
            .len(),
        15
    );
    place.refused(
        "in.jsonl",
        &[&groups[..], &["5000"]].concat(),
        &["more than 4096 rows", "`key`"],
    );
}
