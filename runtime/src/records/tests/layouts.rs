//! Layouts of data sets: what their rows come to.

use std::{fs, path::Path};

use super::*;
use crate::json::Object;

mod refusals;

/// A row of a known layout, and what it asks to have scored.
struct Golden {
    layout: String,
    row: Object,
    conversations: Vec<String>,
}

fn goldens() -> Vec<Golden> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/layouts/rows.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let all: Vec<Golden> = text
        .lines()
        .map(|line| {
            let line = Json::parse(line).unwrap();
            let conversations = line.get("conversations").unwrap().as_array().unwrap();
            Golden {
                layout: line.get("layout").unwrap().as_str().unwrap().to_owned(),
                row: line.get("row").unwrap().as_object().unwrap().clone(),
                conversations: conversations
                    .iter()
                    .map(|text| text.as_str().unwrap().to_owned())
                    .collect(),
            }
        })
        .collect();
    assert!(all.len() > 25);
    all
}

/// The conversations of a record, each with its side or group in front; or why there are none.
fn scored<E: ToString>(read: Result<Record, E>) -> Result<Vec<String>, String> {
    let record = read.map_err(|error| error.to_string())?;
    let (entry, conversations) = Entry::prepare(Ok((1, record)), false);
    entry.check().map_err(|error| error.to_string())?;
    let groups = entry.groups().map(<[_]>::to_vec);
    let labels = entry.sides().into_iter().enumerate().map(|(index, side)| {
        let group = groups.as_ref().and_then(|groups| groups[index]);
        match (side, group) {
            (Side::Chosen, _) | (_, Some(Group::Chosen)) => "chosen: ",
            (Side::Rejected, _) | (_, Some(Group::Rejected)) => "rejected: ",
            _ => "",
        }
    });
    let texts = conversations.iter().map(|one| {
        let messages = one.messages.iter();
        let messages = messages
            .map(|message| format!("{}: {}", message.role(), message.content().unwrap_or("-")));
        messages.collect::<Vec<_>>().join(" | ")
    });
    Ok(labels
        .zip(texts)
        .map(|(label, text)| label.to_owned() + &text)
        .collect())
}

fn first(row: impl Into<Json>) -> Result<Vec<String>, String> {
    scored(RowReader::default().read(row))
}

#[test]
fn each_layout_is_read() {
    for Golden {
        layout,
        row,
        conversations,
    } in goldens()
    {
        let mut rows = RowReader::default();
        let text = Json::from(row.clone()).to_string();
        // Of a whole data set: the second row is read as the first.
        for _ in 0..2 {
            let read = scored(rows.read(row.clone()));
            assert_eq!(read.as_ref(), Ok(&conversations), "{text}");
            assert_eq!(rows.layout().unwrap().to_string(), layout, "{text}");
        }
        let lines = format!("{text}\n{text}\n");
        let mut reader = RecordReader::new(lines.as_bytes());
        for _ in 0..2 {
            let read = reader.next().unwrap().map(|(_, record)| record);
            assert_eq!(scored(read).as_ref(), Ok(&conversations), "{text}");
        }
        assert_eq!(reader.layout().unwrap().to_string(), layout);
    }
}

#[test]
fn other_columns_and_nulls_change_nothing() {
    for golden in goldens() {
        let mut row = golden.row.clone();
        for name in ["margin", "meta", "chosen_rating", "answer"] {
            row.insert(name, Json::parse(r#"{"x": [1, null, "y"]}"#).unwrap());
        }
        // As a table has them that holds other rows too.
        for name in [
            "tools",
            "system",
            "context",
            "query",
            "responses",
            "response_1",
            "output",
        ] {
            if row.get(name).is_none() {
                row.insert(name, Json::Null);
            }
        }
        assert_eq!(first(row), Ok(golden.conversations));
    }
}

/// Without one of its columns a row is an error, or it has another layout that says all the same.
#[test]
fn a_column_that_is_missing_is_an_error() {
    for golden in goldens() {
        let mut rows = RowReader::default();
        rows.read(golden.row.clone()).unwrap();
        let needed: Vec<String> = rows.layout().unwrap().columns().map(String::from).collect();
        for name in &needed {
            for null in [false, true] {
                let mut row = golden.row.clone();
                match null {
                    true => drop(row.insert(name.clone(), Json::Null)),
                    false => drop(row.remove(name)),
                }
                let alone = first(row.clone());
                let later = scored(rows.read(row));
                for read in [alone, later].into_iter().flatten() {
                    // The prompt of UltraFeedback-binarized is in its conversations as well.
                    assert_eq!(read, golden.conversations, "{name}");
                    assert!(
                        golden.layout.starts_with("UltraFeedback-b"),
                        "{}",
                        golden.layout
                    );
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_columns_is_no_matter(seed in any::<u64>()) {
        let mut random = fastrand::Rng::with_seed(seed);
        for golden in goldens() {
            let mut fields: Vec<_> = golden.row.into_iter().collect();
            random.shuffle(&mut fields);
            let row: Object = fields.into_iter().collect();
            prop_assert_eq!(first(row), Ok(golden.conversations));
        }
    }

    #[test]
    fn transcripts_come_back(
        turns in prop::collection::vec("[a-zA-Z:. \n]{0,12}", 1..4),
        answers in prop::collection::vec("[a-zA-Z:. \n]{0,12}", 4),
    ) {
        let clean = |text: &String| text.trim().to_owned();
        let said: Vec<(String, String)> =
            turns.iter().map(clean).zip(answers.iter().map(clean)).collect();
        prop_assume!(said.iter().all(|(one, other)| {
            [one, other].iter().all(|text| !text.contains("Human:") && !text.contains("Assistant:"))
        }));
        let text: String = said
            .iter()
            .map(|(human, assistant)| format!("\n\nHuman: {human}\n\nAssistant: {assistant}"))
            .collect();
        let expected: Vec<String> = said
            .iter()
            .map(|(human, assistant)| format!("user: {human} | assistant: {assistant}"))
            .collect();
        let expected = expected.join(" | ");
        let read = first(json!({"chosen": text, "rejected": text})).unwrap();
        prop_assert_eq!(&read[0], &format!("chosen: {expected}"));
        prop_assert_eq!(&read[1], &format!("rejected: {expected}"));
    }
}

#[test]
fn a_data_set_keeps_its_layout() {
    let mut rows = RowReader::default();
    // What has no layout decides on none.
    assert!(rows.read(json!({"text": "x"})).is_err());
    assert_eq!(rows.layout(), None);
    let judged = json!({"question": "q", "response_A": "a", "response_B": "b", "label": "A>B"});
    rows.read(judged.clone()).unwrap();
    for (other, found) in [
        (
            json!({"prompt": "q", "response": "a"}),
            "`prompt`, `response`",
        ),
        (
            json!({"question": "q", "response_A": "a", "response_B": null, "label": "A>B"}),
            "`question`, `response_A`, `label`; `response_B` is null",
        ),
        (json!([{"role": "user", "content": "q"}]), "none of them"),
    ] {
        let error = rows.read(other).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the record does not fit the layout JudgeBench, which has `question`, `response_A`, \
                 `response_B`, `label`; found {found}"
            )
        );
    }
    rows.read(judged.clone()).unwrap();
    // The plain forms may follow one another, and no other layout follows them.
    let mut rows = RowReader::default();
    for row in [
        json!({"prompt": "q", "response": "a"}),
        json!([{"role": "user", "content": "q"}]),
        json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
        json!({"prompt": "q", "responses": ["a", "b"]}),
    ] {
        rows.read(row).unwrap();
    }
    let error = rows.read(judged).unwrap_err().to_string();
    assert!(
        error.contains("does not fit the layout prompt and response"),
        "{error}"
    );
    let transcript = "\n\nHuman: q\n\nAssistant: a";
    assert!(
        rows.read(json!({"chosen": transcript, "rejected": transcript}))
            .is_err()
    );
}

#[test]
fn columns_may_be_named() {
    let names = |set: &dyn Fn(&mut ColumnNames)| {
        let mut names = ColumnNames::default();
        set(&mut names);
        RowReader::new(&names)
    };
    let reading =
        |set: &dyn Fn(&mut ColumnNames), row: Value| scored(names(set).unwrap().read(row));
    let some = |name: &str| Some(name.to_owned());
    let dpo =
        json!({"system": "s", "question": "q", "chosen": "a", "rejected": "b", "response": "c"});
    assert_eq!(
        reading(&|names| names.prompt = some("question"), dpo.clone()).unwrap_err(),
        "the record's fields must make exactly one form: `messages`, or `prompt` and `response`, or `chosen` \
         and `rejected` with or without `prompt`, or those of another layout that is known; found `question`, \
         `response`, `chosen`, `rejected`"
    );
    let both = |names: &mut ColumnNames| {
        names.prompt = some("question");
        names.chosen = some("chosen");
    };
    assert_eq!(
        reading(&both, dpo).unwrap(),
        [
            "chosen: system: s | user: q | assistant: a",
            "rejected: system: s | user: q | assistant: b"
        ]
    );
    let answers = |names: &mut ColumnNames| {
        names.prompt = some("q");
        names.response = some("answers");
    };
    assert_eq!(
        reading(
            &answers,
            json!({"q": "q", "answers": ["a", "b"], "prompt": "x", "messages": []})
        )
        .unwrap(),
        ["user: q | assistant: a", "user: q | assistant: b"]
    );
    assert_eq!(
        reading(&answers, json!({"q": "q", "answers": "a"})).unwrap(),
        ["user: q | assistant: a"]
    );
    assert_eq!(
        reading(&answers, json!({"q": "q", "response": "a"})).unwrap_err(),
        "the record does not fit the layout columns as named, which has `q`, `answers`; found `q`, `response`"
    );
    let error = reading(&answers, json!({"q": "q", "answers": 3})).unwrap_err();
    assert_eq!(
        error,
        "`answers` must be a string or a list of messages, found a number"
    );
    let conversation =
        json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
    let messages = |names: &mut ColumnNames| names.messages = some("turns");
    assert_eq!(
        reading(
            &messages,
            json!({"turns": conversation, "prompt": "q", "response": "other"})
        )
        .unwrap(),
        ["user: q | assistant: a"]
    );
    let error = reading(&messages, json!({"turns": conversation, "prompt": "r"})).unwrap_err();
    assert!(error.contains("`prompt` holds a part"), "{error}");
    let system = |names: &mut ColumnNames| names.system = some("rules");
    assert_eq!(
        reading(
            &system,
            json!({"prompt": "q", "response": "a", "rules": "s"})
        )
        .unwrap(),
        ["system: s | user: q | assistant: a"]
    );
    let error = reading(
        &system,
        json!({"prompt": "q", "response": "a", "rules": "s", "system": "t"}),
    );
    assert!(error.unwrap_err().contains("give different system prompts"));

    for (set, expected) in [
        (
            &(|names: &mut ColumnNames| {
                names.messages = some("a");
                names.chosen = some("b");
            }) as &dyn Fn(&mut ColumnNames),
            "the messages column and the chosen column belong to different layouts: name one of them",
        ),
        (
            &|names| {
                names.response = some("a");
                names.rejected = some("b");
            },
            "the response column and the rejected column belong to different layouts: name one of them",
        ),
        (
            &|names| {
                names.prompt = some("a");
                names.response = some("a");
            },
            "the column `a` is named for two things: give each its own",
        ),
        (
            &|names| {
                names.prompt = some("a");
                names.ignored = vec!["a".to_owned()];
            },
            "the column `a` is named for two things: give each its own",
        ),
    ] {
        assert_eq!(names(set).unwrap_err().to_string(), expected);
    }
}

#[test]
fn where_answers_begin_is_known() {
    let split = |row: Value| {
        let split = Record::from_value(row).unwrap().split;
        (split.prompt_messages, split.is_text)
    };
    let turn = |role: &str| json!([{"role": role, "content": "x"}]);
    for (row, expected) in [
        (json!({"prompt": "q", "response": "a"}), (Some(1), true)),
        (
            json!({"prompt": "q", "response": "a", "system": "s"}),
            (Some(2), false),
        ),
        (
            json!({"prompt": turn("user"), "chosen": turn("assistant"), "rejected": turn("assistant")}),
            (Some(1), false),
        ),
        (
            json!({"prompt": turn("user"), "responses": ["a", "b"]}),
            (Some(1), false),
        ),
        (json!({"messages": turn("user")}), (None, false)),
        (
            json!({"chosen": turn("user"), "rejected": turn("user")}),
            (None, false),
        ),
        (
            json!({"question": "q", "response_A": "a", "response_B": "b", "label": "A>B"}),
            (Some(1), true),
        ),
    ] {
        assert_eq!(split(row.clone()), expected, "{row}");
    }
}
