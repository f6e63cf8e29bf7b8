//! What Jinja makes of templates under Python, against what this crate makes of them. The goldens are written by
//! `tests/fixtures/template/compare_templates.py make`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use worldpm_ort_template::{Error, ErrorKind, Limits, Template, Value};

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => Value::from_json_number(&number.to_string()).unwrap(),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::list(items.iter().map(value).collect()).unwrap(),
        Json::Object(fields) => {
            Value::dict(fields.iter().map(|(name, item)| (name, value(item)))).unwrap()
        }
    }
}

fn render(template: &str, context: &Value) -> Result<String, Error> {
    let now = jiff::civil::date(2023, 11, 14).at(22, 13, 20, 0);
    Template::compile("golden", template)?.render(context, Some(now), &Limits::default())
}

#[test]
fn templates_give_what_jinja_gives() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/template/goldens.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let mut rows = text
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap());
    let context = value(&rows.next().unwrap()["context"]);
    let (mut count, mut unsupported, mut differences) = (0, 0, Vec::new());
    for row in rows {
        count += 1;
        let found = render(row["template"].as_str().unwrap(), &context);
        let holds = match (&found, row["text"].as_str(), row["error"].as_str()) {
            (Ok(found), Some(text), _) => found == text,
            (Err(error), expected, class) => match error.kind() {
                ErrorKind::Unsupported => {
                    unsupported += 1;
                    true
                }
                ErrorKind::Syntax => matches!(class, Some("Syntax" | "SyntaxError")),
                ErrorKind::Raised => class == Some("Raised") && row["message"] == error.message(),
                ErrorKind::Python(found) => expected.is_none() && class == Some(found),
                _ => false,
            },
            _ => false,
        };
        if !holds {
            differences.push(format!("{row}\n  {found:?}"));
        }
    }
    assert!(count > 2000 && unsupported < 30, "{count} {unsupported}");
    assert!(
        differences.is_empty(),
        "{} of {count} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn limits_hold_on_a_small_stack() {
    let nested = |open: &str, close: &str, times: usize| {
        format!("{{{{ {}1{} }}}}", open.repeat(times), close.repeat(times))
    };
    let looped = |body: &str| {
        format!("{{% set ns = namespace(a=1) %}}{{% for i in range(90000) %}}{body}{{% endfor %}}x")
    };
    let fails = [
        "{{ [1]|batch(100000000000, 0)|list }}".to_owned(),
        "{{ [1]|slice(100000000000)|list }}".to_owned(),
        "{{ '{:999999999999}'.format(1) }}".to_owned(),
        "{{ '%999999999d' % 1 }}".to_owned(),
        "{{ 'a\nb'|indent(1000000000000) }}".to_owned(),
        "{{ 'a'|center(10**12) }}".to_owned(),
        "{{ [1] * 10**12 }}".to_owned(),
        "{{ 2**(10**12) }}".to_owned(),
        "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
            .to_owned(),
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}".to_owned(),
        "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}".to_owned(),
        "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}".to_owned(),
        looped("{% set ns.a = [ns.a] %}"),
        looped("{% set ns.a = ns.a|map('upper') %}"),
        looped("{% set ns.a = namespace(b=ns.a) %}") + "{{ ns }}",
    ];
    let passes = [
        format!("{{{{ {}1 }}}}", "1 ~ ".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "1 + ".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(20_000)),
        format!("{{{{ 'a'{} }}}}", "|upper".repeat(20_000)),
        nested("(", ")", 90),
        nested("[", "]", 90),
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}".to_owned(),
        looped("{% set ns.a = namespace(b=ns.a) %}"),
    ];
    let too_deep = [nested("(", ")", 5000), nested("[", "]", 5000)];
    let run = move || {
        let context = Value::dict::<&str>([]).unwrap();
        for template in &fails {
            let error = render(template, &context).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{template}: {error}");
            assert!(error.to_string().starts_with("golden, line "), "{error}");
        }
        for template in &passes {
            render(template, &context).unwrap();
        }
        for template in &too_deep {
            let error = render(template, &context).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Syntax, "{error}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

#[test]
fn numbers_of_json_are_those_of_python() {
    let shown = |text: &str| {
        let number = Value::from_json_number(text)?;
        let context = Value::dict([("x", number)])?;
        render("{{ x|tojson }}", &context)
    };
    for (text, expected) in [
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("94.95886283158103", "94.95886283158103"),
        ("0.9849919442923573", "0.9849919442923573"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("1e400", "Infinity"),
        ("NaN", "NaN"),
        ("1E2", "100.0"),
    ] {
        assert_eq!(shown(text).unwrap(), expected);
    }
    for text in ["", "a", "1a", "--1", "1.2.3", &"1".repeat(4301)] {
        assert!(shown(text).is_err(), "{text}");
    }
}

/// A long text that is added to is another text where something else still holds it.
#[test]
fn long_texts_are_values_like_any_other() {
    let long = "ab".repeat(40_000);
    let context = Value::dict([("long", Value::from(long.as_str()))]).unwrap();
    for (template, expected) in [
        (
            "{{ long + 'x' + 'y' }}{{ long }}",
            format!("{long}xy{long}"),
        ),
        (
            "{% set a = long + 'x' %}{% set b = a + 'y' + 'z' %}{{ b }}|{{ a }}|{{ a + '1' + '2' }}|{{ a }}",
            format!("{long}xyz|{long}x|{long}x12|{long}x"),
        ),
        (
            "{% set a = [long + 'x'] %}{{ a[0] + 'y' }}{{ a[0] }}-{{ a }}",
            format!("{long}xy{long}x-['{long}x']"),
        ),
        (
            "<{{ long ~ 'x' }}{{ long + 'y' }}{{ (long + 'z') | upper }}>",
            format!("<{long}x{long}y{}Z>", long.to_uppercase()),
        ),
        (
            "{% set t %}{{ long + 'x' }}{% endset %}{{ t }}{{ t + 'y' }}{{ t == long + 'x' }}",
            format!("{long}x{long}xyTrue"),
        ),
        (
            "{% set ns = namespace(s=long) %}{% for i in range(3) %}{% set ns.s = ns.s + '.' + '!' %}{% endfor %}{{ ns.s }}",
            format!("{long}.!.!.!"),
        ),
    ] {
        let rendered = render(template, &context).unwrap();
        assert!(rendered == expected, "{template}");
    }
    // What is made stays within the limits.
    let grows = "{% set ns = namespace(s=long) %}{% for i in range(60) %}{% set ns.s = ns.s + 'x' + ns.s %}{% endfor %}";
    let error = render(grows, &context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
}
