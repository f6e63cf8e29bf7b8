//! Chat templates that take no conversation, or not every one: what `export` says of them, and what a record gets.

use std::{fs, path::Path, process::Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{self, SMALL_SHARDED, copy_of, expect_failure, run, run_with_input, stderr};

/// A checkpoint with this template.
fn checkpoint(template: &str) -> TempDir {
    let checkpoint = copy_of(&support::checkpoint(SMALL_SHARDED));
    fs::write(checkpoint.path().join("chat_template.jinja"), template).unwrap();
    checkpoint
}

fn export(checkpoint: &Path, out: &Path, probes: &str) -> Output {
    let [checkpoint, out] = [checkpoint, out].map(|path| path.to_str().unwrap());
    run(&[
        "export",
        "--checkpoint",
        checkpoint,
        "--out",
        out,
        "--probes",
        probes,
    ])
}

/// A chat template with which no conversation can be scored: found when it is exported.
#[test]
fn templates() {
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "{{ messages[0].content }}<|im_end|>\n",
            "ends otherwise",
            &["ends with", "<|endoftext|>"],
        ),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "goes on for ever",
            &["chat_template.jinja", "limit reached"],
        ),
        (
            "{% set n = namespace(s='ab') %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
            "eats all memory",
            &["chat_template.jinja", "limit reached"],
        ),
        (
            "{{ messages | random }}",
            "is not repeatable",
            &["chat_template.jinja", "not supported"],
        ),
        (
            "{% if messages | length > 3 %}{{ raise_exception('one turn') }}{% endif %}{{ messages[-1].content }}",
            "raises for some, and ends otherwise for others",
            &["ends with", "<|endoftext|>"],
        ),
    ];
    for (template, name, parts) in cases {
        let checkpoint = checkpoint(template);
        let out = checkpoint.path().join("bundle");
        let output = export(checkpoint.path(), &out, "off");
        expect_failure(name, &output, parts);
        assert!(!out.exists(), "{name}");
    }
}

/// A template that refuses every probe, as it would under Python, may take other conversations: that is a warning, and
/// each record gets the template's own error. The sequences of token ids are left to verify the bundle with.
#[test]
fn templates_that_take_no_probe() {
    let cases: [(&str, &str, &[&str]); 2] = [
        (
            "{{ raise_exception('not ' ~ messages[1].content) }}",
            "not hi",
            &["takes none of the probes", "not Tips for better sleep?"],
        ),
        (
            "\n{{ messages[7].content.x.y }}",
            "line 2: UndefinedError",
            &["takes none of the probes", "line 2: UndefinedError"],
        ),
    ];
    for (template, error, parts) in cases {
        let checkpoint = checkpoint(template);
        let file = checkpoint.path().join("chat_template.jinja");
        let out = checkpoint.path().join("bundle");
        let output = export(checkpoint.path(), &out, "on");
        let message = stderr(&output);
        assert!(output.status.success(), "{message}");
        let parts = [parts, &[file.to_str().unwrap(), "scripts is left out"]].concat();
        for part in parts {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
        let model = out.to_str().unwrap();
        let input = br#"{"prompt":"hi","response":"yes"}"#;
        let output = run_with_input(&["score", "--model", model, "--keep-going"], input);
        assert_eq!(output.status.code(), Some(1));
        let lines = support::lines(&output);
        let told = lines[0]["error"].as_str().unwrap();
        assert!(
            told.contains(error) && lines[0].get("score").is_none(),
            "{told}"
        );
        let verified = support::run_ok(&["verify", "--model", model, "--json"]);
        let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(report["probes"].as_array().unwrap().len(), 5);
        assert_eq!(report["not_compared"].as_array().unwrap().len(), 4);
    }
}

/// The errors of a record, as `transformers` 5.23 gives them for the same template and messages.
#[test]
fn a_record_gets_the_error_that_python_gives() {
    const ARGUMENTS: &str =
        "{{ raise_exception('args ' ~ (messages[-1].tool_calls[0].function.arguments | tojson)) }}";
    let call = |number: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"hi"}},{{"role":"assistant","content":"","tool_calls":[{{"type":"function","function":{{"name":"f","arguments":{{"lat":{number}}}}}}}]}}]}}"#
        )
    };
    let exchange =
        r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yes"}]}"#;
    let numbers = [
        ("94.95886283158103", "94.95886283158103"),
        ("0.9849919442923573", "0.9849919442923573"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("0.5", "0.5"),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("-0", "0"),
    ];
    let arguments =
        numbers.map(|(given, shown)| (call(given), format!("args {{\"lat\": {shown}}}")));
    let one = |error: &str| vec![(exchange.to_owned(), error.to_owned())];
    for (template, records) in [
        (ARGUMENTS, arguments.to_vec()),
        (
            "{% if messages[1].content < 1 %}a{% else %}b{% endif %}",
            one("TypeError: '<' not supported between instances of 'str' and 'int'"),
        ),
        (
            "{{ raise_exception(\"they're x_y\".title()) }}",
            one("They'Re X_Y"),
        ),
    ] {
        let checkpoint = checkpoint(template);
        let out = checkpoint.path().join("bundle");
        let made = export(checkpoint.path(), &out, "off");
        assert!(made.status.success(), "{template}: {}", stderr(&made));
        let message = stderr(&made);
        assert!(message.contains("takes none of the probes"), "{message}");
        let input: Vec<&str> = records.iter().map(|(record, _)| record.as_str()).collect();
        let output = run_with_input(
            &["score", "--model", out.to_str().unwrap(), "--keep-going"],
            input.join("\n").as_bytes(),
        );
        assert_eq!(output.status.code(), Some(1), "{template}");
        let lines = support::lines(&output);
        assert_eq!(lines.len(), records.len(), "{template}");
        for (line, (_, expected)) in lines.iter().zip(&records) {
            let error = line["error"].as_str().unwrap();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
