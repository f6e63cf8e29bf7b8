//! Rows that a layout does not take.

use super::*;

#[test]
fn what_leaves_the_pattern_of_a_transcript_is_refused() {
    let good = "\n\nHuman: q\n\nAssistant: a";
    for (text, problem) in [
        ("q", "it does not begin with \"\\n\\nHuman:\""),
        (
            "\n\nAssistant: a",
            "it does not begin with \"\\n\\nHuman:\"",
        ),
        (
            "\n\nHuman: q",
            "turn 1 is the last, and not the assistant's",
        ),
        (
            "\n\nHuman: q\n\nAssistant: a\n\nHuman: r",
            "turn 3 is the last, and not the assistant's",
        ),
        (
            "\n\nHuman: q\n\nHuman: r\n\nAssistant: a",
            "turn 2 is not behind \"Assistant:\"",
        ),
        (
            "\n\nHuman: q\n\nAssistant: a\n\nAssistant: b",
            "turn 3 is not behind \"Human:\"",
        ),
        (
            "\n\nHuman:q\n\nAssistant: a",
            "no space is behind the \"Human:\" of turn 1",
        ),
        (
            "\n\nHuman: q\n\nAssistant:a",
            "no space is behind the \"Assistant:\" of turn 2",
        ),
    ] {
        for (chosen, rejected, field) in [(text, good, "chosen"), (good, text, "rejected")] {
            let error = first(json!({"chosen": chosen, "rejected": rejected})).unwrap_err();
            let expected = format!(
                "`{field}` is not a transcript of \"Human:\" and \"Assistant:\" turns: {problem}"
            );
            assert_eq!(error, expected);
        }
    }
    for (text, expected) in [
        ("Human: q\n\nAssistant: a", "user: q | assistant: a"),
        ("\n\nHuman:\n\nAssistant:", "user:  | assistant: "),
        (
            "\n\nHuman: q\n\n\nAssistant:  a \n",
            "user: q\n | assistant:  a \n",
        ),
        (
            "\n\nHuman: Human: x\nAssistant: y\n\nAssistant: a",
            "user: Human: x\nAssistant: y | assistant: a",
        ),
    ] {
        let read = first(json!({"chosen": text, "rejected": good})).unwrap();
        assert_eq!(read[0], format!("chosen: {expected}"));
    }
}

#[test]
fn preferences_that_say_nothing_are_refused() {
    let row = |strength: Value| json!({"prompt": "q", "response_1": "a", "response_2": "b", "preference_strength": strength});
    for (strength, found) in [
        (json!(4), "4"),
        (json!(-3.5), "-3.5"),
        (json!("1"), "\"1\""),
        (json!([]), "a list"),
    ] {
        let error = first(row(strength)).unwrap_err();
        let expected =
            format!("`preference_strength` must be a whole number from -3 to 3, found {found}");
        assert_eq!(error, expected);
    }
    let judged = |label: &str| {
        first(json!({"question": "q", "response_A": "a", "response_B": "b", "label": label}))
    };
    assert_eq!(judged("A>B").unwrap()[0], "chosen: user: q | assistant: a");
    for label in ["A=B", "A", "", "a>b"] {
        let error = judged(label).unwrap_err();
        assert!(
            error.contains("`label` must be \"A>B\" or \"B>A\""),
            "{error}"
        );
    }
    for prompt in [
        "q<extra_id_1>Assistant\na\n<extra_id_1>User\nr",
        "q\n<extra_id_1>User\nr",
        "q\n<extra_id_1>Assistant\na",
        "q\n<extra_id_1>Assistant a\n<extra_id_1>User\nr",
    ] {
        let mut row = row(json!(1));
        row["prompt"] = json!(prompt);
        assert!(
            first(row).unwrap_err().contains("`prompt` must be"),
            "{prompt}"
        );
    }
    // Elsewhere it is a text as any other.
    let plain = first(json!({"prompt": "q\n<extra_id_1>User\nr", "response": "a"})).unwrap();
    assert_eq!(plain, ["user: q\n<extra_id_1>User\nr | assistant: a"]);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for row in [
        json!({"prompt": "q", "response": "a", "completion": "b"}),
        json!({"prompt": "q", "responses": ["a"], "chosen": "a", "rejected": "b"}),
        json!({"prompt": "q", "completion": "a", "responses": ["a"]}),
        json!({"instruction": "q", "completions": [{"response": "a"}], "prompt": "q", "response": "a"}),
    ] {
        let error = first(row.clone()).unwrap_err();
        assert!(error.contains("make several layouts"), "{row}: {error}");
    }
    let error = first(json!({"prompt": "q", "response_1": "a", "response_2": "b"})).unwrap_err();
    assert!(
        error.ends_with("; for HelpSteer2 preference it lacks `preference_strength`"),
        "{error}"
    );
}

#[test]
fn parts_of_a_conversation_are_not_passed_over() {
    for (row, field) in [
        (
            json!({"instruction": "q", "input": "i", "output": "a"}),
            "instruction",
        ),
        (
            json!({"prompt": "q", "response": "a", "context": "c"}),
            "context",
        ),
        (
            json!({"prompt": "q", "response": "a", "history": [["q", "a"]]}),
            "history",
        ),
        (
            json!({"prompt": "q", "response": "a", "context": {"x": 1}}),
            "context",
        ),
        (
            json!({"prompt": "q", "chosen": "a", "rejected": "b", "question": "r"}),
            "question",
        ),
        (
            json!({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b",
                "instruction": "i"}),
            "instruction",
        ),
        (
            json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
                "conversations": [{"from": "human", "value": "q"}]}),
            "conversations",
        ),
    ] {
        let error = first(row.clone()).unwrap_err();
        let expected = format!("`{field}` holds a part of the conversation, which would be");
        assert!(error.starts_with(&expected), "{row}: {error}");
        let names = ColumnNames {
            ignored: vec![field.to_owned()],
            ..ColumnNames::default()
        };
        let ignored = scored(RowReader::new(&names).unwrap().read(row.clone()));
        assert!(ignored.is_ok(), "{row}: {ignored:?}");
    }
    // What says nothing, or nothing new.
    for (name, value) in [
        ("context", json!("")),
        ("history", json!([])),
        ("input", json!(null)),
        ("question", json!("q")),
        ("conversations", json!([{"role": "user", "content": "q"}])),
    ] {
        let mut row = json!({"prompt": "q", "response": "a"});
        row[name] = value;
        assert_eq!(first(row).unwrap(), ["user: q | assistant: a"], "{name}");
    }
}

#[test]
fn lists_of_answers_are_checked() {
    for (row, expected) in [
        (
            json!({"prompt": "q", "responses": []}),
            "`responses` is an empty list: there is nothing to score",
        ),
        (
            json!({"prompt": "q", "responses": "a"}),
            "`responses` must be a list of answers, found a string",
        ),
        (
            json!({"prompt": "q", "responses": ["a", 1]}),
            "`responses[1]` must be a string, a message or a list of messages, found a number",
        ),
        (
            json!({"prompt": "q", "responses": ["a", {"text": "b"}]}),
            "`responses[1]` must be a string, a message or a list of messages, found an object",
        ),
        (
            json!({"responses": ["a"]}),
            "`responses[0]` is a string, so a string `prompt` must say what it answers",
        ),
        (
            json!({"prompt": "q", "chosen": ["a"], "rejected": []}),
            "`rejected` is an empty list: there is nothing to score",
        ),
        (
            json!({"prompt": "q", "chosen": ["a"], "rejected": "b"}),
            "`rejected` must be a list of answers, found a string",
        ),
        (
            json!({"instruction": "q", "completions": [{"response": "a"}, {"text": "b"}]}),
            "`completions[1].response` must be a string, found null",
        ),
        (
            json!({"prompt": [{"role": "user", "content": "q"}],
                "responses": [[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]]}),
            "`responses[0]` begins with the messages of `prompt`: leave `prompt` out, or keep only the messages after it \
          in `responses[0]`",
        ),
    ] {
        assert_eq!(first(row.clone()).unwrap_err(), expected, "{row}");
    }
    // A candidate that is no conversation is named by its place.
    let row = json!({"prompt": "q", "responses": ["a", [{"role": "assistant", "content": 1}]]});
    let error = first(row).unwrap_err();
    assert_eq!(
        error,
        "candidates[1]: messages[1].content is a number: it must be a string (only text is scored)"
    );
}
