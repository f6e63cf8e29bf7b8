#![allow(clippy::unwrap_used)]

use std::io::{self, BufReader};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::json::Json;

mod fields;
mod layouts;
mod malformed;
mod places;
mod stream;

/// What a reader gives, in short: `line:record` or `line!error`, and a final
/// `fatal` when an error ended it.
fn read(input: impl AsRef<[u8]>) -> Vec<String> {
    summary(RecordReader::new(input.as_ref()))
}

fn summary<R: io::BufRead>(reader: RecordReader<R>) -> Vec<String> {
    let mut items = Vec::new();
    for item in reader {
        match item {
            Ok((line, record)) => items.push(format!("{line}:{}", describe(&record))),
            Err(error) => {
                items.push(format!("{}!{:?}", error.line, error.kind));
                if error.is_fatal {
                    items.push("fatal".to_owned());
                }
            }
        }
    }
    // Only the name of an error's variant.
    for item in &mut items {
        if item.contains('!') {
            let name = item.find([' ', '(']).unwrap_or(item.len());
            item.truncate(name);
        }
    }
    items
}

/// `role=content` of each message, `|` between the sides of a pair.
fn describe(record: &Record) -> String {
    let side = |conversation: &RawConversation| {
        let messages = conversation.messages.iter().map(|message| {
            let text = |name: &str| match message.get(name) {
                Some(Json::String(text)) => text.to_string(),
                other => format!("<{other:?}>"),
            };
            format!("{}={}", text("role"), text("content"))
        });
        messages.collect::<Vec<_>>().join(" ")
    };
    match &record.body {
        Body::Single(conversation) => side(conversation),
        Body::Pair { chosen, rejected } => format!("{} | {}", side(chosen), side(rejected)),
        Body::Candidates(all) => {
            let all = all.iter().map(|one| {
                let group = one.group.map(|group| format!("{group:?}: "));
                group.unwrap_or_default() + &side(&one.conversation)
            });
            all.collect::<Vec<_>>().join(" / ")
        }
    }
}

#[test]
fn forms() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let (u, a, b) = (
        message("user", "q"),
        message("assistant", "a"),
        message("assistant", "b"),
    );
    let cases = [
        (json!({"messages": [u, a]}), "user=q assistant=a"),
        (json!({"messages": []}), ""),
        (json!([u, a]), "user=q assistant=a"),
        (json!([]), ""),
        (
            json!({"prompt": "q", "response": "a"}),
            "user=q assistant=a",
        ),
        (json!({"prompt": "", "response": ""}), "user= assistant="),
        (
            json!({"prompt": [u], "response": [a]}),
            "user=q assistant=a",
        ),
        (
            json!({"chosen": [u, a], "rejected": [u, b]}),
            "user=q assistant=a | user=q assistant=b",
        ),
        (
            json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
            "user=q assistant=a | user=q assistant=b",
        ),
        (
            json!({"prompt": [u], "chosen": [a], "rejected": [b]}),
            "user=q assistant=a | user=q assistant=b",
        ),
        (
            json!({"prompt": [], "chosen": [u, a], "rejected": [u, b]}),
            "user=q assistant=a | user=q assistant=b",
        ),
        // Columns that say again what another says.
        (
            json!({"prompt": "q", "messages": [u, a], "chosen": [u, a], "rejected": [u, b]}),
            "user=q assistant=a | user=q assistant=b",
        ),
        (
            json!({"messages": [u, a], "chosen": [u, a], "rejected": [u, b]}),
            "user=q assistant=a | user=q assistant=b",
        ),
        (
            json!({"prompt": "q", "messages": [message("system", "s"), u, a]}),
            "system=s user=q assistant=a",
        ),
        (
            json!({"prompt": "q", "response": [u, a]}),
            "user=q assistant=a",
        ),
        // Columns of data sets that are not scored, and absent values.
        (
            json!({"source": "web", "score_chosen": 9.5, "role": "x", "messages": [u], "prompt": null, "tools": null, "id": null}),
            "user=q",
        ),
    ];
    for (value, expected) in cases {
        let record = Record::from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"));
        assert_eq!(describe(&record), expected, "{value}");
        assert_eq!(record.id, None, "{value}");
        assert_eq!(
            Record::from_slice(value.to_string().as_bytes()).unwrap(),
            record
        );
    }
}

#[test]
fn ids_and_tools_are_kept_as_given() {
    for id in [
        json!("a"),
        json!(""),
        json!(7),
        json!(-1.5),
        json!(u64::MAX),
    ] {
        let record = Record::from_value(json!({"id": id, "messages": []})).unwrap();
        assert_eq!(record.id, Some(id.into()));
    }
    let tools = json!([{"name": "search"}]);
    let record = Record::from_value(json!({"tools": tools, "chosen": [], "rejected": []})).unwrap();
    let tools = vec![json!({"name": "search"}).into()];
    match record.body {
        Body::Pair { chosen, rejected } => {
            assert_eq!(chosen.tools.as_ref(), Some(&tools));
            assert_eq!(rejected.tools.as_ref(), Some(&tools));
        }
        Body::Single(_) | Body::Candidates(_) => panic!("a pair was given"),
    }
}

const A: &str = r#"{"prompt":"p","response":"a"}"#;
const B: &str = r#"{"prompt":"p","response":"b"}"#;
const LIST: &str = r#"[{"role":"user","content":"l"}]"#;

#[test]
fn layouts() {
    let (a, b, l) = ("user=p assistant=a", "user=p assistant=b", "user=l");
    let pretty = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    };
    let (pretty_a, pretty_list) = (pretty(A), pretty(LIST));
    let pretty_all = pretty(&format!("[{A},{B},{LIST}]"));
    let lines = |items: &[(usize, &str)]| -> Vec<String> {
        let items = items.iter().map(|(line, item)| format!("{line}:{item}"));
        items.collect()
    };
    let cases = [
        ("nothing", String::new(), lines(&[])),
        ("blank", " \n\r\n\t".into(), lines(&[])),
        ("lines", format!("{A}\n{B}\n"), lines(&[(1, a), (2, b)])),
        (
            "no last line end",
            format!("{A}\n{B}"),
            lines(&[(1, a), (2, b)]),
        ),
        (
            "blank lines and carriage returns",
            format!("\r\n \r\n{A}\r\n\r\n\t\r\n  {B} \r\n\n"),
            lines(&[(3, a), (6, b)]),
        ),
        (
            "byte order mark",
            format!("\u{feff}{A}\n{B}"),
            lines(&[(1, a), (2, b)]),
        ),
        (
            "lines of bare lists",
            format!("{LIST}\n{LIST}\n{A}\n[]\n"),
            lines(&[(1, l), (2, l), (3, a), (4, "")]),
        ),
        ("one bare list", LIST.into(), lines(&[(1, l)])),
        (
            "list on a line",
            format!("[{A},{B}]"),
            lines(&[(1, a), (1, b)]),
        ),
        (
            "list of bare lists",
            format!("\n [ {LIST} , {LIST} ] \n"),
            lines(&[(2, l), (2, l)]),
        ),
        (
            "list over lines",
            format!("\u{feff}[\n{A},\n\n{B}\n,{LIST}]"),
            lines(&[(2, a), (4, b), (5, l)]),
        ),
        ("pretty list", pretty_all, lines(&[(2, a), (6, b), (10, l)])),
        ("empty list", "[ ]\n".into(), lines(&[])),
        ("empty list over lines", "[\n]\n".into(), lines(&[])),
        (
            "empty list as the first line",
            format!("[]\n{A}"),
            lines(&[(1, ""), (2, a)]),
        ),
        ("pretty record", format!("\n{pretty_a}\n"), lines(&[(2, a)])),
        (
            "pretty records",
            format!("{pretty_a}\n{pretty_list}\n{pretty_a}{A}"),
            lines(&[(1, a), (5, l), (11, a), (14, a)]),
        ),
        (
            "bare list over lines",
            pretty_list.clone(),
            lines(&[(1, l)]),
        ),
        (
            "brackets and escapes in strings",
            r#"[{"prompt":"]}\"\\","response":"[{,"},{"prompt":"\\\"","response":""}]"#.into(),
            lines(&[
                (1, r#"user=]}"\ assistant=[{,"#),
                (1, r#"user=\" assistant="#),
            ]),
        ),
    ];
    for (name, input, expected) in cases {
        assert_eq!(read(&input), expected, "{name}");
        // The same when bytes come one at a time.
        let slow = BufReader::with_capacity(1, input.as_bytes());
        assert_eq!(summary(RecordReader::new(slow)), expected, "{name}, slowly");
    }
}
