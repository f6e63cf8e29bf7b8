//! Rows of data sets: their scores are those of the same conversations as messages.

use std::fs;

use serde_json::{Value, json};

use crate::support::{self, lines, run_with_input, stderr};

fn model() -> String {
    let bundle = support::bundle(support::SMALL, &[]);
    bundle.to_str().unwrap().to_owned()
}

fn score(args: &[&str], rows: &[Value]) -> std::process::Output {
    let input: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let model = model();
    let all = [&["score", "--only-scores", "--model", &model][..], args].concat();
    run_with_input(&all, input.as_bytes())
}

/// The messages of `role: content | role: content`.
fn messages(text: &str) -> Value {
    let turns = text.split(" | ").map(|turn| {
        let (role, content) = turn.split_once(": ").unwrap();
        json!({"role": role, "content": content})
    });
    json!({"messages": turns.collect::<Vec<_>>()})
}

/// The side of a conversation of a golden row, where it has one, and its messages.
fn sided(text: &str) -> (&str, Value) {
    match text.split_once(": ") {
        Some((side @ ("chosen" | "rejected"), text)) => (side, messages(text)),
        _ => ("", messages(text)),
    }
}

#[test]
fn a_layout_is_scored_as_its_conversations() {
    let text = fs::read_to_string("tests/fixtures/layouts/rows.jsonl").unwrap();
    let goldens: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let conversations = |golden: &Value| -> Vec<(String, Value)> {
        let all = golden["conversations"].as_array().unwrap().iter();
        let all = all.map(|text| sided(text.as_str().unwrap()));
        all.map(|(side, messages)| (side.to_owned(), messages))
            .collect()
    };
    let plain: Vec<Value> = goldens
        .iter()
        .flat_map(conversations)
        .map(|(_, messages)| messages)
        .collect();
    let expected = score(&[], &plain);
    assert!(expected.status.success(), "{}", stderr(&expected));
    let mut expected = lines(&expected).into_iter();

    for golden in &goldens {
        let row = &golden["row"];
        let output = score(&[], std::slice::from_ref(row));
        let said = stderr(&output);
        assert!(output.status.success(), "{row}: {said}");
        let layout = format!("read as {}\n", golden["layout"].as_str().unwrap());
        assert_eq!(said.matches(&layout).count(), 1, "{said}");
        let answer = &lines(&output)[0];
        let found: Vec<(&str, &Value)> = match &answer["candidates"] {
            Value::Array(all) => {
                let scores = all.iter().map(|one| one["score"].as_f64().unwrap());
                let highest = scores.clone().fold(f64::MIN, f64::max);
                let best = scores.clone().position(|score| score == highest).unwrap();
                assert_eq!(answer["best"], best, "{row}");
                all.iter()
                    .map(|one| (one["group"].as_str().unwrap_or(""), one))
                    .collect()
            }
            _ if answer.get("chosen").is_some() => {
                vec![
                    ("chosen", &answer["chosen"]),
                    ("rejected", &answer["rejected"]),
                ]
            }
            _ => vec![("", answer)],
        };
        let sides = conversations(golden);
        assert_eq!(found.len(), sides.len(), "{row}");
        for ((side, found), (expected_side, _)) in found.into_iter().zip(&sides) {
            let expected = expected.next().unwrap();
            assert_eq!(side, expected_side, "{row}");
            assert_eq!(found["score"], expected["score"], "{row}");
            assert_eq!(found["tokens"], expected["tokens"], "{row}");
        }
    }
}

#[test]
fn a_row_that_does_not_fit_is_its_own_error() {
    let judged = |answer: &str| json!({"id": answer, "question": "q", "response_A": answer, "response_B": "b", "label": "A>B"});
    let rows = [
        judged("x"),
        json!({"id": 2, "prompt": "q", "response": "a"}),
        judged("y"),
    ];
    let output = score(&["--keep-going"], &rows);
    assert_eq!(output.status.code(), Some(1));
    let answers = lines(&output);
    assert_eq!(answers.len(), 3);
    assert!(answers[0]["margin"].is_f64() && answers[2]["margin"].is_f64());
    assert_eq!(
        (&answers[1]["id"], &answers[1]["line"]),
        (&json!(2), &json!(2))
    );
    let error = answers[1]["error"].as_str().unwrap();
    for part in [
        "does not fit the layout JudgeBench",
        "`response_B`",
        "found `prompt`, `response`",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn columns_are_named_by_options() {
    let row = json!({"rules": "s", "ask": "q", "reply": "a", "other": "b", "context": "c"});
    let named = ["--prompt-column", "ask", "--system-column", "rules"];
    let single = [
        &named[..],
        &["--response-column", "reply", "--ignore-column", "context"],
    ]
    .concat();
    let output = score(&single, std::slice::from_ref(&row));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("read as columns as named: ask, reply are strings\n"));
    let plain = json!({"system": "s", "prompt": "q", "response": "a"});
    assert_eq!(lines(&output), lines(&score(&[], &[plain])));

    let pair = [
        &named[..],
        &["--chosen-column", "reply", "--rejected-column", "other"],
    ]
    .concat();
    let output = score(&pair, std::slice::from_ref(&row));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("`context` holds a part of the conversation"),
        "{said}"
    );
    assert!(said.contains("--ignore-column context"), "{said}");

    let apart = ["--messages-column", "m", "--prompt-column", "p"];
    let output = score(&apart, &[row]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("belong to different layouts"),
        "{}",
        stderr(&output)
    );
}
