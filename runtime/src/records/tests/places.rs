//! Readers that go on where others stood.

use std::io::Cursor;

use super::{stream::fragments, *};

/// All that a reader gives, with the words of errors.
fn items<R: io::BufRead>(reader: RecordReader<R>) -> Vec<String> {
    let shown = |item: Result<_, RecordError>| match item {
        Ok((line, record)) => format!("{line}: {record:?}"),
        Err(error) => error.to_string(),
    };
    reader.map(shown).collect()
}

/// After each record, a reader of the rest gives the rest.
fn check(input: &[u8], limit: usize) {
    let new = |input| RecordReader::new(input).with_max_record_bytes(limit);
    let all = items(new(Cursor::new(input)));
    let mut skipping = new(Cursor::new(input));
    for passed in 0.. {
        let place = skipping.place();
        assert_eq!(place.to_string().parse(), Ok(place));
        let rest = &input[skipping.input_mut().position() as usize..];
        let rest = items(new(Cursor::new(rest)).at_place(place));
        assert_eq!(
            rest,
            all[passed..],
            "after {passed} of {:?}",
            String::from_utf8_lossy(input)
        );
        match skipping.pass_over() {
            Ok(true) => {}
            Ok(false) => {
                assert_eq!(passed, all.len());
                break;
            }
            Err(error) => {
                assert_eq!(error.to_string(), all[passed]);
                assert_eq!(passed + 1, all.len());
                break;
            }
        }
    }
    assert!(!skipping.pass_over().is_ok_and(|more| more));
}

#[test]
fn a_reader_goes_on_where_another_stood() {
    let record = r#"{"prompt": "p", "response": "r"}"#;
    let pretty = "{\n \"prompt\": \"p\",\n \"response\": \"r\"\n}";
    for input in [
        String::new(),
        "\n \n".to_owned(),
        format!("\u{feff}{record}\r\n\n{{\"prompt\": 1}}\n{{\n{record}\n\n"),
        format!("{record}\n{record}"),
        format!("[{record}, {record},\n{{}},{record}]\n"),
        format!("[\n{record},\n{record}"),
        format!("{pretty}\n{pretty}{pretty} {record}"),
        format!("{pretty}\n{{\n{record}"),
        "\u{1f}\u{8b}".to_owned(),
    ] {
        check(input.as_bytes(), DEFAULT_MAX_RECORD_BYTES);
        check(input.as_bytes(), 10);
    }
    for text in [
        "",
        "lines",
        "lines:1",
        "lines:1:x",
        "list:1:1",
        "lines:1:1:1",
    ] {
        assert_eq!(text.parse::<Place>(), Err(NoPlace), "{text}");
    }
}

proptest! {
    #[test]
    fn wherever_that_is(input in fragments(), limit in 0..200usize) {
        check(&input, limit);
    }
}
