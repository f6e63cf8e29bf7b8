//! Long inputs, and those that fail or come in pieces.

use std::{
    cell::Cell,
    io::{Cursor, Read},
    rc::Rc,
};

use super::*;

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
pub(super) fn fragments() -> impl Strategy<Value = Vec<u8>> {
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
