#![allow(clippy::unwrap_used)]

use std::{
    cell::Cell,
    io::{self, BufReader, Cursor, Read},
    rc::Rc,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::json::Json;

mod fields;
mod layouts;
mod places;

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

#[test]
fn long_records_are_refused() {
    let long = format!(r#"{{"prompt":"{}","response":"a"}}"#, "x".repeat(200));
    let read = |input: String| {
        summary(RecordReader::new(Cursor::new(input)).with_max_record_bytes(100)).join(", ")
    };
    let cases = [
        (
            format!("{A}\n{long}\n{B}"),
            "1:user=p assistant=a, 2!TooLong, 3:user=p assistant=b",
        ),
        (format!("{long}\n{B}"), "1!TooLong, 2:user=p assistant=b"),
        (
            format!("[{A},{long},{B}]"),
            "1:user=p assistant=a, 1!TooLong, 1:user=p assistant=b",
        ),
        (
            format!("[\n{long},\n{B}]"),
            "2!TooLong, 3:user=p assistant=b",
        ),
        (
            format!("{{\n\"x\":{long}}}\n{B}"),
            "1!TooLong, 3:user=p assistant=b",
        ),
        (
            format!("[{A},{long}"),
            "1:user=p assistant=a, 1!TooLong, 1!Syntax, fatal",
        ),
        (long.clone(), "1!TooLong"),
    ];
    for (input, expected) in cases {
        assert_eq!(read(input.clone()), expected, "{input}");
    }
    // Exactly the limit is not over it.
    let exact = format!(r#"{{"prompt":"{}","response":"a"}}"#, "x".repeat(73));
    assert_eq!(exact.len(), 101);
    assert_eq!(read(exact.clone()), "1!TooLong");
    assert_eq!(
        read(format!("{B}\n{exact}")),
        "1:user=p assistant=b, 2!TooLong"
    );
    let exact = exact.replacen('x', "", 1);
    for input in [
        format!("{exact}\n"),
        format!("[{exact}]"),
        format!("{B}\n{exact}"),
    ] {
        assert!(!read(input.clone()).contains('!'), "{input}");
    }

    let by_default = format!("{A}\n{}\n{A}", "x".repeat(100_000_000));
    assert_eq!(
        self::read(by_default).join(", "),
        "1:user=p assistant=a, 2!TooLong, 3:user=p assistant=a"
    );
}

/// `count` records between `open` and `close`, made as they are read.
struct Endless {
    record: &'static [u8],
    left: usize,
    pending: Cursor<Vec<u8>>,
    close: &'static [u8],
    made: Rc<Cell<usize>>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = self.pending.read(buffer)?;
        if read == 0 && self.left > 0 {
            self.left -= 1;
            let mut next = self.record.to_vec();
            if self.left == 0 {
                next.pop();
                next.extend_from_slice(self.close);
            }
            self.pending = Cursor::new(next);
            read = self.pending.read(buffer)?;
        }
        self.made.set(self.made.get() + read);
        Ok(read)
    }
}

#[test]
fn a_million_records_stream() {
    const COUNT: usize = 1_000_000;
    for (open, record, close) in [
        (
            "",
            &b"{\"prompt\":\"p\",\"response\":\"r\"}\n"[..],
            &b""[..],
        ),
        ("[", b"{\"prompt\":\"p\",\"response\":\"r\"},", b"]"),
        ("[\n", b"[{\"role\":\"user\",\"content\":\"c\"}],", b"\n]\n"),
        ("", b"{\n\"prompt\":\"p\",\n\"response\":\"r\"}\n", b""),
    ] {
        let made = Rc::new(Cell::new(0));
        let input = Endless {
            record,
            left: COUNT,
            pending: Cursor::new(open.as_bytes().to_vec()),
            close,
            made: Rc::clone(&made),
        };
        let mut reader = RecordReader::new(BufReader::with_capacity(4096, input));
        for given in 1..=COUNT {
            reader.next().unwrap().unwrap();
            // What was read ahead of the records given is all that is held.
            let ahead = made.get().saturating_sub(open.len() + given * record.len());
            assert!(ahead <= 4096 + 2 * record.len(), "{ahead} bytes ahead");
        }
        assert!(reader.next().is_none());
        assert!(
            reader.buffer.capacity() <= 4096,
            "{}",
            reader.buffer.capacity()
        );
    }
}

#[test]
fn a_failing_input_is_an_error_and_the_end() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    struct Interrupted(usize);
    impl Read for Interrupted {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2 => Ok(0),
                _ => Err(io::Error::other("read past the end")),
            }
        }
    }
    for start in [
        "", "{", "{\n", "[", "[{", "[\n{},", "{}\n", "{}\n{", "{\n}\n{",
    ] {
        let input = BufReader::new(start.as_bytes().chain(Broken));
        let mut errors: Vec<_> = RecordReader::new(input).filter_map(Result::err).collect();
        let last = errors.pop().unwrap();
        assert!(last.is_fatal, "{start}");
        assert!(
            last.to_string()
                .ends_with("the input could not be read: unplugged"),
            "{start}: {last}"
        );
        assert!(errors.iter().all(|error| !error.is_fatal), "{start}");

        // A signal is no failure, and the end is met only once.
        let input = BufReader::new(start.as_bytes().chain(Interrupted(0)));
        let items = summary(RecordReader::new(input));
        assert!(
            !items.iter().any(|item| item.contains("Io")),
            "{start}: {items:?}"
        );
    }
}

/// Pieces of JSON in any order, and bytes that are none.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\n",
        b" ",
        b"1",
        b"null",
        b"\xff",
        b"\xef",
        b"\xbb",
        b"\xbf",
        b"\0",
        b"\"role\"",
        b"\"messages\":",
        b"\"prompt\":\"x\"",
        A.as_bytes(),
        LIST.as_bytes(),
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_end_in_records_or_errors(input in fragments(), limit in 0..200usize) {
        let reader = RecordReader::new(&input[..]).with_max_record_bytes(limit);
        let mut last = 0;
        // Each item uses up input, and lines never run backwards.
        for (count, item) in reader.enumerate() {
            prop_assert!(count <= input.len());
            let line = item.map_or_else(|error| error.line, |(line, _)| line);
            prop_assert!(line >= last);
            last = line;
        }
    }

    #[test]
    fn layouts_hold_the_same_records(
        contents in prop::collection::vec(any::<String>(), 1..8),
        capacity in 1..64usize,
    ) {
        let values: Vec<Value> = contents
            .iter()
            .enumerate()
            .map(|(index, content)| match index % 2 {
                0 => json!({"id": index, "prompt": content, "response": content}),
                _ => json!([{"role": "user", "content": content}]),
            })
            .collect();
        let expected: Vec<Record> =
            values.iter().map(|value| Record::from_value(value.clone()).unwrap()).collect();
        let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
        let pretty: String = values.iter().map(|value| format!("{value:#}\n")).collect();
        let list = Value::from(values);
        for text in [lines, pretty, format!("{list}"), format!("{list:#}")] {
            let input = BufReader::with_capacity(capacity, text.as_bytes());
            let records: Result<Vec<_>, _> =
                RecordReader::new(input).map(|item| item.map(|(_, record)| record)).collect();
            prop_assert_eq!(records.unwrap(), expected.clone(), "{}", text);
        }
    }
}
