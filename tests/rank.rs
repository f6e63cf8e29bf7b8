//! The `rank` command: candidates in the order of their scores, and pairs of them for training.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use support::{lines, run_with_input, stderr};
use worldpm_ort_data::{DataSet, Files, ReadOptions};

const ANSWERS: [&str; 4] = [
    "The Oder.",
    "No.",
    "The Elbe flows there.",
    "A lake, perhaps.",
];

fn model() -> String {
    let bundle = support::bundle(support::SMALL, &[]);
    bundle.to_str().unwrap().to_owned()
}

fn command(verb: &str, args: &[&str], records: &[Value]) -> Output {
    let input: String = records.iter().map(|record| format!("{record}\n")).collect();
    let model = model();
    run_with_input(
        &[&[verb, "--model", &model][..], args].concat(),
        input.as_bytes(),
    )
}

fn rank(args: &[&str], records: &[Value]) -> Vec<Value> {
    let output = command("rank", args, records);
    assert!(output.status.success(), "{}", stderr(&output));
    lines(&output)
}

fn prompt() -> Value {
    json!({"id": 7, "prompt": "Name a river.", "responses": ANSWERS})
}

/// The scores of the answers, as `score` has them.
fn scores() -> Vec<f64> {
    let singles = ANSWERS.map(|answer| json!({"prompt": "Name a river.", "response": answer}));
    let scored = lines(&command("score", &["--only-scores"], &singles));
    let scores: Vec<f64> = scored
        .iter()
        .map(|line| line["score"].as_f64().unwrap())
        .collect();
    for (index, one) in scores.iter().enumerate() {
        assert!(!scores[..index].contains(one), "two answers score alike");
    }
    scores
}

/// The places of the answers, the highest score first.
fn order(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap());
    order
}

fn indices(line: &Value) -> Vec<usize> {
    let ranked = line["ranked"].as_array().unwrap().iter();
    ranked
        .map(|one| usize::try_from(one["index"].as_u64().unwrap()).unwrap())
        .collect()
}

#[test]
fn candidates_come_in_the_order_of_their_scores() {
    let scores = scores();
    let order = order(&scores);
    let all = rank(&[], &[prompt()]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["id"], 7);
    assert_eq!(indices(&all[0]), order);
    for one in all[0]["ranked"].as_array().unwrap() {
        let index = usize::try_from(one["index"].as_u64().unwrap()).unwrap();
        assert_eq!(one["score"], scores[index]);
        assert!(one["tokens"].as_u64().unwrap() > 5);
    }
    assert_eq!(indices(&rank(&["--top", "2"], &[prompt()])[0]), order[..2]);
    let third = format!("{}", scores[order[2]]);
    let above = rank(&["--threshold", &third], &[prompt()]);
    assert_eq!(indices(&above[0]), order[..3]);

    // A pair is ranked as well, and says which was which.
    let pair = json!({"prompt": "Name a river.", "chosen": ANSWERS[0], "rejected": ANSWERS[1]});
    let ranked = rank(&[], &[pair]);
    let first = usize::from(scores[1] > scores[0]);
    assert_eq!(
        ranked[0]["ranked"][0]["group"],
        ["chosen", "rejected"][first]
    );
}

#[test]
fn the_best_is_a_record_for_training() {
    let scores = scores();
    let best = order(&scores)[0];
    let line = rank(&["--best"], &[prompt()]);
    let expected = json!({"id": 7, "prompt": "Name a river.", "completion": ANSWERS[best], "score": scores[best]});
    assert_eq!(line, [expected]);
    let none = format!("{}", scores[best] + 1.0);
    assert!(rank(&["--best", "--threshold", &none], &[prompt()]).is_empty());

    // In the form in which it came.
    let message = |role: &str, content: &str| json!([{"role": role, "content": content}]);
    let answers = ANSWERS.map(|answer| message("assistant", answer));
    let conversational = json!({"prompt": message("user", "Name a river."), "responses": answers});
    let line = &rank(&["--best"], &[conversational])[0];
    assert_eq!(line["prompt"], message("user", "Name a river."));
    assert_eq!(line["completion"], message("assistant", ANSWERS[best]));
    // A system prompt is a part of the prompt.
    let mut with_system = prompt();
    with_system["system"] = json!("Be brief.");
    let line = &rank(&["--best"], &[with_system])[0];
    assert_eq!(
        line["prompt"][0],
        json!({"role": "system", "content": "Be brief."})
    );
    assert_eq!(line["completion"][0]["role"], "assistant");
}

#[test]
fn pairs_are_scored_as_they_say() {
    let scores = scores();
    let order = order(&scores);
    let (best, worst) = (order[0], order[3]);
    let pairs = rank(&["--pairs", "best-worst"], &[prompt()]);
    let expected = json!({"id": 7, "prompt": "Name a river.", "chosen": ANSWERS[best], "rejected": ANSWERS[worst],
                          "score_chosen": scores[best], "score_rejected": scores[worst]});
    assert_eq!(pairs, [expected]);
    let far = format!("{}", scores[best] - scores[worst] + 0.001);
    assert!(rank(&["--pairs", "best-worst", "--margin", &far], &[prompt()]).is_empty());

    let all = rank(&["--pairs", "all"], &[prompt()]);
    assert_eq!(all.len(), 6);
    // What came out is read again, and scored the same.
    let again = lines(&command("score", &["--only-scores"], &all));
    assert_eq!(again.len(), all.len());
    for (pair, scored) in all.iter().zip(&again) {
        assert_eq!(pair["score_chosen"], scored["chosen"]["score"]);
        assert_eq!(pair["score_rejected"], scored["rejected"]["score"]);
        assert!(scored["margin"].as_f64().unwrap() > 0.0);
    }
    let margin = (scores[order[0]] - scores[order[1]]) * 1.0001;
    let apart = rank(
        &["--pairs", "all", "--margin", &format!("{margin}")],
        &[prompt()],
    );
    let expected = all.iter().filter(|pair| {
        pair["score_chosen"].as_f64().unwrap() - pair["score_rejected"].as_f64().unwrap() >= margin
    });
    assert_eq!(
        apart.iter().collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
    assert!(apart.len() < 6);
    // Answers that score alike make no pair.
    let alike = json!({"prompt": "q", "responses": ["a", "a"]});
    assert!(rank(&["--pairs", "all", "--margin", "0"], &[alike]).is_empty());
}

#[test]
fn records_that_follow_one_another_are_put_together() {
    let scores = scores();
    let row = |index: usize| json!({"id": format!("r{index}"), "prompt_id": "p", "prompt": "Name a river.", "response": ANSWERS[index]});
    let other = json!({"prompt_id": 2, "prompt": "q", "response": "a"});
    let rows = [row(0), row(1), row(2), row(3), other.clone(), row(0)];
    let groups = rank(&["--group-by", "prompt_id"], &rows);
    assert_eq!(groups.len(), 3);
    assert_eq!(groups[0]["prompt_id"], "p");
    assert_eq!(indices(&groups[0]), order(&scores));
    let best = order(&scores)[0];
    assert_eq!(groups[0]["ranked"][0]["id"], format!("r{best}"));
    assert_eq!(
        (&groups[1]["prompt_id"], indices(&groups[1])),
        (&json!(2), vec![0])
    );
    // Those that stand apart are not looked for.
    assert_eq!(
        (&groups[2]["prompt_id"], indices(&groups[2])),
        (&json!("p"), vec![0])
    );

    let pairs = rank(&["--group-by", "prompt_id", "--pairs", "best-worst"], &rows);
    assert_eq!(pairs.len(), 1);
    assert_eq!(pairs[0]["chosen"], ANSWERS[best]);
    assert_eq!(pairs[0]["prompt_id"], "p");
    assert!(pairs[0].get("id").is_none());

    // A prompt that differs, and a record without the column, are errors of their own.
    let mut differs = row(1);
    differs["prompt"] = json!("Name a lake.");
    let without = json!({"prompt": "q", "response": "a"});
    let output = command(
        "rank",
        &["--group-by", "prompt_id", "--keep-going"],
        &[row(0), differs, without, row(2), other],
    );
    assert_eq!(output.status.code(), Some(1));
    let answers = lines(&output);
    assert_eq!(answers.len(), 4);
    let error = |index: usize| answers[index]["error"].as_str().unwrap();
    assert!(error(0).contains("different prompts"), "{}", error(0));
    assert_eq!(answers[0]["line"], 1);
    assert!(error(1).contains("it has no `prompt_id`"), "{}", error(1));
    assert_eq!(answers[1]["line"], 3);
    assert_eq!(indices(&answers[2]), [0]);
    assert_eq!(indices(&answers[3]), [0]);
}

#[test]
fn what_cannot_be_ranked_says_why() {
    let single = json!({"prompt": "q", "response": "a"});
    let output = command("rank", &[], &[prompt(), single.clone()]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for part in [
        "standard input, line 2",
        "one conversation alone is not ranked",
        "--group-by",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // What came before it is there.
    assert_eq!(lines(&output).len(), 1);
    let output = command("rank", &["--keep-going"], &[single, prompt()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output).len(), 2);

    let long = json!({"prompt": "q", "responses": ["a", "word ".repeat(300)]});
    let output = command("rank", &["--max-length", "64", "--keep-going"], &[long]);
    let error = lines(&output)[0]["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("candidates[1]: "), "{error}");

    for wrong in [
        &["--margin", "1"][..],
        &["--pairs", "all", "--margin", "-1"],
        &["--best", "--pairs", "all"],
        &["--top", "0"],
        &["--top", "2", "--best"],
        &["--threshold", "nan"],
    ] {
        assert_eq!(
            command("rank", wrong, &[]).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
    let labels = support::bundle(
        &[support::SMALL, &["--head", "one", "--labels", "a,b"]].concat(),
        &[],
    );
    let input = prompt().to_string();
    let args = ["rank", "--model", labels.to_str().unwrap(), "--keep-going"];
    let output = run_with_input(&args, input.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("does not give one score"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn results_take_the_place_of_the_output_when_all_is_ranked() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("out.jsonl");
    fs::write(&path, "before").unwrap();
    let output = ["--output", path.to_str().unwrap()];
    let failed = command("rank", &output, &[prompt(), json!({"prompt": "q"})]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    assert!(
        stderr(&failed).contains("the results before it are in"),
        "{}",
        stderr(&failed)
    );
    assert!(command("rank", &output, &[prompt()]).status.success());
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}

/// Ranks from files to a file, in any format.
fn rank_files(inputs: &[&Path], output: &Path, flags: &[&str]) -> (Output, Vec<Value>) {
    let mut command = support::command();
    command.args(["rank", "--model", &model(), "--output"]);
    command.arg(output).args(flags);
    for input in inputs {
        command.arg("--input").arg(input);
    }
    let result = command.output().unwrap();
    assert!(output.exists(), "{inputs:?}: {}", stderr(&result));
    let mut options = ReadOptions::default();
    options.keep_fields = true;
    let set = DataSet::open(Files::find(&[output.to_owned()]).unwrap(), &options).unwrap();
    let row = |row: worldpm_ort_data::PlainRow| {
        row.read.unwrap();
        serde_json::to_value(row.columns.to_object()).unwrap()
    };
    (result, set.plain_rows(|_| ()).map(row).collect())
}

fn write(path: PathBuf, rows: &[Value]) -> PathBuf {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(&path, text).unwrap();
    path
}

/// The same rows in another format: those whose `n` is 0 or more, which all are.
fn converted(source: &Path, name: &str) -> PathBuf {
    let path = source.with_file_name(name);
    let (source, target) = (source.to_str().unwrap(), path.to_str().unwrap());
    support::run_ok(&[
        "filter", "--input", source, "--output", target, "--column", "n", "--min", "0",
    ]);
    path
}

#[test]
fn every_format_is_ranked_alike() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let row = |n: usize| json!({"n": n, "id": format!("r{n}"), "key": n / 4, "prompt": format!("Name river {}.", n / 4), "response": ANSWERS[n % 4]});
    let rows: Vec<Value> = (0..12).map(row).collect();
    let source = write(at("rows.jsonl"), &rows);
    let candidates = |n: usize| json!({"n": n, "id": n, "prompt": format!("Name river {n}."), "responses": ANSWERS});
    let several: Vec<Value> = (0..3).map(candidates).collect();
    let candidates = write(at("candidates.jsonl"), &several);
    let group = ["--group-by", "key"];
    let (_, expected) = rank_files(&[&source], &at("out.jsonl"), &group);
    assert_eq!(expected.len(), 3);
    let (_, of_several) = rank_files(&[&candidates], &at("out.jsonl"), &[]);
    for name in [
        "in.parquet",
        "in.arrow",
        "in.arrows",
        "in.json",
        "in.jsonl.gz",
        "in.csv",
        "in.tsv.zst",
    ] {
        let (result, mut found) =
            rank_files(&[&converted(&source, name)], &at("out.jsonl"), &group);
        assert!(result.status.success(), "{name}: {}", stderr(&result));
        if name.contains("sv") {
            // Cells are text.
            for (row, expected) in found.iter_mut().zip(&expected) {
                assert_eq!(row["key"], expected["key"].to_string(), "{name}");
                row["key"] = expected["key"].clone();
            }
        } else {
            let (_, found) = rank_files(&[&converted(&candidates, name)], &at("out.jsonl"), &[]);
            assert_eq!(found, of_several, "{name}");
        }
        assert_eq!(found, expected, "{name}");
    }
    // Several files are one data set.
    let halves = [
        write(at("a.jsonl"), &rows[..6]),
        write(at("b.jsonl"), &rows[6..]),
    ];
    let (_, found) = rank_files(&[&halves[0], &halves[1]], &at("out.jsonl"), &group);
    assert_eq!(found, expected);

    let all = [
        "out.parquet",
        "out.arrow",
        "out.arrows",
        "out.json",
        "out.jsonl.zst",
        "out.csv",
    ];
    for (flags, names) in [
        (&["--pairs", "all"][..], &all[..]),
        (&["--best"], &all[..1]),
        (&["--top", "2"], &all[4..]),
    ] {
        let (_, expected) = rank_files(&[&candidates], &at("out.jsonl"), flags);
        for &name in names {
            let (result, mut found) = rank_files(&[&candidates], &at(name), flags);
            assert!(result.status.success(), "{name}: {}", stderr(&result));
            assert_eq!(found.len(), expected.len(), "{name}");
            for (found, expected) in found.iter_mut().zip(&expected) {
                match name {
                    "out.csv" => of_cells(found),
                    _ => without_nothing(found),
                }
                assert_eq!(found, expected, "{name} {flags:?}");
            }
        }
    }
    // The output's format is the input's.
    let input = converted(&candidates, "in.parquet");
    let (_, found) = rank_files(&[&input], &at("out"), &["--best"]);
    assert!(fs::read(at("out")).unwrap().starts_with(b"PAR1"));
    assert_eq!(found.len(), 3);
}

/// What a table has in rows where JSON has nothing is taken out.
fn without_nothing(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null() && *value != json!(false));
            fields.values_mut().for_each(without_nothing);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nothing),
        _ => {}
    }
}

/// Cells that are numbers or lists as JSON.
fn of_cells(row: &mut Value) {
    for value in row.as_object_mut().unwrap().values_mut() {
        let text = value.as_str().unwrap();
        if let Ok(parsed) = serde_json::from_str(text) {
            *value = parsed;
        }
    }
}

#[test]
fn tables_have_columns_that_only_later_rows_need() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let pair = json!({"prompt": "q", "chosen": "a", "rejected": "b"});
    let long = json!({"prompt": "q", "responses": ["a", "word ".repeat(300)]});
    let input = write(at("in.jsonl"), &[prompt(), pair, long, prompt()]);
    let flags = ["--max-length", "64", "--keep-going"];
    let (result, found) = rank_files(&[&input], &at("out.parquet"), &flags);
    assert_eq!(result.status.code(), Some(1), "{}", stderr(&result));
    assert_eq!(found.len(), 4);
    let names: Vec<_> = found[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "ranked", "line", "error"]);
    let first = &found[0]["ranked"][0];
    assert_eq!(
        (&first["truncated"], &first["group"]),
        (&json!(false), &Value::Null)
    );
    let groups: Vec<_> = (0..2).map(|at| &found[1]["ranked"][at]["group"]).collect();
    assert!(groups.contains(&&json!("chosen")) && groups.contains(&&json!("rejected")));
    assert_eq!(
        (&found[2]["line"], &found[2]["ranked"]),
        (&json!(3), &Value::Null)
    );
    let error = found[2]["error"].as_str().unwrap();
    assert!(error.starts_with("candidates[1]: "), "{error}");
    assert_eq!(found[3]["error"], Value::Null);

    // What does not fit into the columns ends the run, and the rows before it can be read.
    let messages = json!({"prompt": [{"role": "user", "content": "q"}], "responses": [
        [{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}]]});
    let input = write(at("mixed.jsonl"), &[prompt(), prompt(), messages]);
    let output = at("mixed.parquet");
    let args = [
        "rank",
        "--model",
        &model(),
        "--best",
        "--input",
        input.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ];
    let failed = support::run(&args);
    let parts = [
        "row 3, column `prompt`",
        "--output-format jsonl",
        "the results before it are in",
    ];
    support::expect_failure("mixed", &failed, &parts);
    assert!(
        fs::read(at("mixed.parquet.partial"))
            .unwrap()
            .ends_with(b"PAR1")
    );
}
