//! What the fields of a record come to.

use super::*;

#[test]
fn numbers_of_ids_are_given_back_as_they_were() {
    for id in [
        "1.0e5",
        "18446744073709551616",
        "-0",
        "0.1000000000000000055511151231257827",
        "94.95886283158103",
        "123456789012345678901234567890",
    ] {
        let text = format!(r#"{{"id":{id},"messages":[],"tools":[{{"x":[{id}]}}]}}"#);
        let record = Record::from_slice(text.as_bytes()).unwrap();
        assert_eq!(record.id.unwrap().to_string(), id);
        let Body::Single(conversation) = record.body else {
            panic!("one conversation was given");
        };
        let tools = Json::from(conversation.tools.unwrap()).to_string();
        assert_eq!(tools, format!(r#"[{{"x":[{id}]}}]"#));
    }
}

#[test]
fn system_prompts_go_in_front() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let (s, u, a, b) = (
        message("system", "s"),
        message("user", "q"),
        message("assistant", "a"),
        message("assistant", "b"),
    );
    let pair = "system=s user=q assistant=a | system=s user=q assistant=b";
    for (value, expected) in [
        (
            json!({"prompt": "q", "response": "a"}),
            "system=s user=q assistant=a",
        ),
        (
            json!({"prompt": [u], "response": [a]}),
            "system=s user=q assistant=a",
        ),
        (
            json!({"prompt": [s, u], "response": [a]}),
            "system=s user=q assistant=a",
        ),
        (json!({"messages": [u, a]}), "system=s user=q assistant=a"),
        (
            json!({"messages": [s, u, a]}),
            "system=s user=q assistant=a",
        ),
        (json!({"messages": []}), "system=s"),
        (json!({"prompt": "q", "chosen": "a", "rejected": "b"}), pair),
        (json!({"chosen": [u, a], "rejected": [s, u, b]}), pair),
        (
            json!({"prompt": "q", "chosen": [u, a], "rejected": [u, b]}),
            pair,
        ),
    ] {
        for names in [
            &["system"][..],
            &["system_prompt"],
            &["system", "system_prompt"],
        ] {
            let mut value = value.clone();
            for name in names {
                value[*name] = json!("s");
            }
            let record = Record::from_value(value.clone());
            assert_eq!(describe(&record.unwrap()), expected, "{value}");
        }
    }
    // An empty one is one, and null is none.
    let empty = json!({"system": "", "system_prompt": null, "messages": [u]});
    assert_eq!(
        describe(&Record::from_value(empty).unwrap()),
        "system= user=q"
    );

    for (value, expected) in [
        (
            json!({"system": "s", "system_prompt": "t", "messages": [u]}),
            "`system` and `system_prompt` give different system prompts: keep one",
        ),
        (
            json!({"system_prompt": "t", "messages": [s, u]}),
            "`system` and the system message of `messages` give different system prompts: keep one",
        ),
        (
            json!({"system": "", "chosen": [u], "rejected": [s, u]}),
            "`system` and the system message of `rejected` give different system prompts: keep one",
        ),
        (
            json!({"system": [s], "messages": [u]}),
            "`system` must be a string, found a list",
        ),
    ] {
        let error = Record::from_value(value.clone()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{value}");
    }
}

#[test]
fn fields_without_a_meaning_are_named() {
    let record = json!({"source": 1, "messages": [], "history": [], "id": 2, "system": "s"});
    assert_eq!(
        Record::from_value(record).unwrap().unused,
        ["source", "history"]
    );
}

#[test]
fn a_key_that_is_there_twice_is_named() {
    for (line, key, column) in [
        (
            r#"{"messages":[{"role":"user","content":"a","content":"b"}]}"#,
            "content",
            43,
        ),
        (
            r#"[{"role":"user","content":"a","x":{"y":[{"z":1,"z":1}]}}]"#,
            "z",
            48,
        ),
        (r#"{"tools":[{"d":{"n":1,"n":2}}],"messages":[]}"#, "n", 23),
    ] {
        let items: Vec<_> = RecordReader::new(format!("{A}\n{line}\n{A}").as_bytes()).collect();
        let [Ok(_), Err(error), Ok(_)] = items.as_slice() else {
            panic!("{items:?}");
        };
        let expected = format!(
            "line 2: the key {key:?} is there twice in one object: keep one (line 2, column {column})"
        );
        assert_eq!(error.to_string(), expected);
    }
    // What is not scored may be anything.
    let other = r#"{"messages":[],"other":{"a":1,"a":2}}"#;
    assert!(Record::from_slice(other.as_bytes()).is_ok());
}

#[test]
fn fields_are_kept_on_demand() {
    let line = r#"{"b": [1.0e5, {"x": "y"}], "prompt": "p", "id": 7, "a": null, "response": "r", "big": 18446744073709551616}"#;
    let read = |keep: bool, text: &str| {
        let reader = RecordReader::new(std::io::Cursor::new(text.to_owned()));
        let mut reader = match keep {
            true => reader.with_fields_kept(),
            false => reader,
        };
        reader.next().unwrap()
    };
    let (_, record) = read(true, line).unwrap();
    let kept = Json::from(record.fields.unwrap()).to_string();
    assert_eq!(kept, line.replace(": ", ":").replace(", ", ","));
    assert_eq!(record.unused, ["b", "a", "big"]);
    assert_eq!(read(false, line).unwrap().1.fields, None);
    let twice = r#"{"prompt": "p", "response": "r", "x": 1, "x": 2}"#;
    let error = read(true, twice).unwrap_err().to_string();
    assert!(error.contains("the key \"x\" is there twice"), "{error}");
    assert!(read(false, twice).is_ok());
}
