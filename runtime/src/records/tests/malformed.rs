//! What is no record: where it stands, and what is wrong with it.

use super::*;

#[test]
fn wrong_forms_are_named() {
    let none = "the record's fields must make exactly one form: `messages`, or `prompt` and \
                `response`, or `chosen` and `rejected` with or without `prompt`, or those of another \
                layout that is known; found ";
    let form = |found: &str| format!("{none}{found}");
    let message = json!({"role": "user", "content": "q"});
    let cases = [
        (json!({}), form("none of them")),
        (json!({"text": "x", "label": 1}), form("`text`, `label`")),
        (json!({"prompt": "x"}), form("`prompt`")),
        (json!({"response": "x", "n": 1}), form("`response`, `n`")),
        (json!({"chosen": []}), form("`chosen`")),
        (
            json!({"chosen": [], "rejected": null}),
            form("`chosen`; `rejected` is null"),
        ),
        (
            json!({"prompt": null, "chosen": null, "rejected": "x", "other": null}),
            form("`rejected`, `other`; `prompt` is null; `chosen` is null"),
        ),
        (
            json!({"rejected": "x", "prompt": "y"}),
            form("`prompt`, `rejected`"),
        ),
        (
            json!({"messages": [], "prompt": "x"}),
            form("`messages`, `prompt`"),
        ),
        (
            json!({"messages": [{"role": "user", "content": "y"}], "prompt": "x"}),
            form("`messages`, `prompt`"),
        ),
        (
            json!({"messages": [1], "chosen": [2], "rejected": [3]}),
            form("`messages`, `chosen`, `rejected`"),
        ),
        (
            json!({"prompt": "x", "response": "y", "chosen": "z", "rejected": "w"}),
            form("`prompt`, `response`, `chosen`, `rejected`"),
        ),
        (
            json!("hello"),
            "expected a record (an object, or a list of messages), found a string".into(),
        ),
        (
            json!(null),
            "expected a record (an object, or a list of messages), found null".into(),
        ),
        (
            json!({"messages": "hi"}),
            "`messages` must be a list of messages, found a string".into(),
        ),
        (
            json!({"prompt": 3, "response": "x"}),
            "`prompt` must be a string or a list of messages, found a number".into(),
        ),
        (
            json!({"prompt": "x", "response": {}}),
            "`response` must be a string or a list of messages, found an object".into(),
        ),
        (
            json!({"chosen": [], "rejected": false}),
            "`rejected` must be a string or a list of messages, found a boolean".into(),
        ),
        (
            json!({"id": [1], "messages": []}),
            "`id` must be a string or a number, found a list".into(),
        ),
        (
            json!({"tools": "[]", "messages": []}),
            "`tools` must be a list, found a string".into(),
        ),
        (
            json!({"chosen": "x", "rejected": "y"}),
            "`chosen` is a string, so a string `prompt` must say what it answers".into(),
        ),
        (
            json!({"prompt": "another", "chosen": "x", "rejected": [message]}),
            "`prompt` and `rejected` must both be strings or both be lists of messages, found \
             one of each"
                .into(),
        ),
        (
            json!({"prompt": [message], "chosen": [message, message], "rejected": []}),
            "`chosen` begins with the messages of `prompt`: leave `prompt` out, or keep only the \
             messages after it in `chosen`"
                .into(),
        ),
    ];
    for (value, expected) in cases {
        let error = Record::from_value(value.clone()).unwrap_err().to_string();
        assert_eq!(error, expected, "{value}");
        let text = value.to_string();
        let error = Record::from_slice(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{value}");
    }
    let twice = br#"{"messages": [], "messages": [1]}"#;
    assert_eq!(
        Record::from_slice(twice).unwrap_err().to_string(),
        "the field `messages` is there more than once: keep one"
    );
}

#[test]
fn malformed_input() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a malformed line",
            format!("{A}\n{{\"prompt\": \n{B}").into(),
            "1:user=p assistant=a, 2!Syntax, 3:user=p assistant=b",
        ),
        (
            "more on a line",
            format!("{A} {A}\n{B}").into(),
            "1!Syntax, 2:user=p assistant=b",
        ),
        (
            "a first line cut in a string",
            format!("{{\"prompt\":\"p\n{B}").into(),
            "1!Syntax, 2:user=p assistant=b",
        ),
        (
            "a first line cut after a message",
            format!("{{\"messages\":[{{\"role\":\"user\"}}\n{B}").into(),
            "1!Syntax, 2:user=p assistant=b",
        ),
        (
            "a first list cut after a message",
            format!("[{{\"role\":\"user\"}}\n{B}").into(),
            "1!Syntax, 2:user=p assistant=b",
        ),
        (
            "a malformed list as first line",
            format!("[{{\"role\":oops}}]\n{B}").into(),
            "1!Syntax, 2:user=p assistant=b",
        ),
        (
            "words",
            format!("hello\n{B}\n12\n\"x\"").into(),
            "1!Syntax, 2:user=p assistant=b, 3!NotARecord, 4!NotARecord",
        ),
        (
            "wrong forms in a list",
            format!("[{{}},1,\"x\",null,{B}]").into(),
            "1!NoSingleForm, 1!NotARecord, 1!NotARecord, 1!NotARecord, 1:user=p assistant=b",
        ),
        (
            "a malformed element",
            format!("[{A},\n{{\"x\" 1}},\n{B}]").into(),
            "1:user=p assistant=a, 2!Syntax, fatal",
        ),
        (
            "a malformed first element over lines",
            format!("[\n{{\"x\" 1}},\n{B}]").into(),
            "2!Syntax, fatal",
        ),
        (
            "a list that ends early",
            format!("[{A},\n{B}\n").into(),
            "1:user=p assistant=a, 2:user=p assistant=b, 3!Syntax, fatal",
        ),
        (
            "a list that ends in an element",
            format!("[{A},\n{{\"prompt\":").into(),
            "1:user=p assistant=a, 2!Syntax, fatal",
        ),
        (
            "a comma too many",
            format!("[{A},]").into(),
            "1:user=p assistant=a, 1!Syntax, fatal",
        ),
        (
            "two commas",
            format!("[{A},,{B}]").into(),
            "1:user=p assistant=a, 1!Syntax, fatal",
        ),
        (
            "a missing comma",
            format!("[{A}\n{B}]").into(),
            "1:user=p assistant=a, 2!Syntax, fatal",
        ),
        (
            "more after a list",
            format!("[{A}]\n{B}").into(),
            "1:user=p assistant=a, 2!Syntax, fatal",
        ),
        (
            "a malformed value over lines",
            format!("{{\n\"prompt\" 1}}\n{B}").into(),
            "1!Syntax, fatal",
        ),
        (
            "an open value",
            b"{\n\"prompt\":".to_vec(),
            "1!Syntax, fatal",
        ),
        ("an open list", b"[".to_vec(), "1!Syntax"),
        (
            "a closing bracket",
            format!("]\n{A}").into(),
            "1!Syntax, 2:user=p assistant=a",
        ),
        (
            "not UTF-8 in a string",
            [b"{\"prompt\":\"\xff\",\"response\":\"\"}\n", A.as_bytes()].concat(),
            "1!NotUtf8, 2:user=p assistant=a",
        ),
        ("UTF-16", b"\xff\xfe{\0}\0".to_vec(), "1!Format, fatal"),
        (
            "half a byte order mark",
            b"\xef\xbb{}".to_vec(),
            "1!NotUtf8",
        ),
        ("a byte order mark alone", b"\xef\xbb\xbf".to_vec(), ""),
        (
            "a half surrogate",
            br#"{"prompt":"\ud800","response":""}"#.to_vec(),
            "1!Syntax",
        ),
        (
            "a number out of range",
            b"[{\"role\":1e999}]".to_vec(),
            "1!Syntax",
        ),
        (
            "a line break in a string",
            b"{\"prompt\":\"a\nb\"}".to_vec(),
            "1!Syntax, 2!Syntax",
        ),
        ("zero bytes", vec![0; 5], "1!Syntax"),
    ];
    for (name, input, expected) in cases {
        assert_eq!(read(&input).join(", "), expected, "{name}");
    }
}

#[test]
fn nesting_is_limited() {
    for (open, close) in [("[", "]"), ("{\"messages\":", "}"), ("{\"other\":", "}")] {
        let deep = [open.repeat(200_000), "1".into(), close.repeat(200_000)].concat();
        let items = read(format!("{deep}\n{A}"));
        assert!(items[0].starts_with("1!"), "{open}: {}", items[0]);
        let items = read(format!("{A}\n{deep}\n{A}"));
        assert_eq!(items.len(), 3, "{open}");
        assert!(items[1].starts_with("2!"), "{open}: {}", items[1]);
    }
}

#[test]
fn messages_say_where() {
    let message = |input: &str| {
        let error = RecordReader::new(input.as_bytes()).find_map(Result::err);
        error.unwrap().to_string()
    };
    assert_eq!(
        message(&format!("{A}\n  {{\"prompt\" \"x\"}}")),
        "line 2: not valid JSON: expected `:` (line 2, column 13)"
    );
    assert_eq!(
        message("[\n {},\n {\"prompt\":\n  }]"),
        "line 2, element 1: the record's fields must make exactly one form: `messages`, or \
         `prompt` and `response`, or `chosen` and `rejected` with or without `prompt`, or those of \
         another layout that is known; found none of them"
    );
    assert_eq!(
        message(&format!("[\n {A},\n {{\"prompt\":\n  }}]")),
        "line 3, element 2: not valid JSON: expected value (line 4, column 3); nothing after it \
         is read, since where the next record starts is unsure"
    );
    let wrong = [b"{\"prompt\":\n \"", &b"\xff\"}"[..]].concat();
    let error = RecordReader::new(&wrong[..]).next().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1: not valid UTF-8 at line 2, byte 3: convert the input to UTF-8"
    );
}

#[test]
fn errors_carry_the_id_that_could_be_read() {
    let input = "{\"id\":7,\"prompt\":\"x\"}\n{\"id\":{},\"messages\":[]}\n{\"id\":8,";
    let ids: Vec<_> = RecordReader::new(input.as_bytes())
        .map(|item| item.unwrap_err().id)
        .collect();
    assert_eq!(ids, [Some(7.into()), None, None]);
}
