//! Probes that are not what they should be are refused.

use std::fs;

use serde_json::{Value, json};

use crate::{
    probed::{SCORED, SHAPE, expect_error, verify},
    support::{self, copy_of, edit_json},
};

type Spoil = fn(&mut Value);

#[test]
fn malformed_probes() {
    let source = support::bundle(SHAPE, SCORED);
    let cases: &[(&str, Spoil, &[&str])] = &[
        (
            "id outside the vocabulary",
            |m| m["probes"][5]["ids"][3] = json!(200_000),
            &["probes[5].ids[3]", "200000"],
        ),
        (
            "negative id",
            |m| m["probes"][5]["ids"][3] = json!(-4),
            &["probes[5].ids[3]"],
        ),
        (
            "no ids",
            |m| m["probes"][5]["ids"] = json!([]),
            &["probes[5].ids"],
        ),
        (
            "longer than the limit",
            |m| m["max_length"] = json!(10),
            &["probes[5].ids", "1 to 10"],
        ),
        (
            "text for ids",
            |m| m["probes"][4]["ids"] = json!("1 2 3"),
            &["probes[4].ids"],
        ),
        (
            "a message without a role",
            |m| m["probes"][0]["messages"][0] = json!({"content": "x"}),
            &["probes[0].messages[0]", "role"],
        ),
        (
            "both forms",
            |m| m["probes"][0]["ids"] = json!([1]),
            &["probes[0]", "messages"],
        ),
        (
            "no name",
            |m| m["probes"][1]["name"] = json!(""),
            &["probes[1].name"],
        ),
        (
            "a name twice",
            |m| m["probes"][1]["name"] = m["probes"][0]["name"].clone(),
            &["probes[1].name", "sleep-routine"],
        ),
        (
            "no list",
            |m| m["probes"] = json!({"a": 1}),
            &["manifest.json"],
        ),
        (
            "none",
            |m| m["probes"] = json!([]),
            &["no probes", "export the checkpoint again"],
        ),
        (
            "an older exporter's",
            |m| {
                m.as_object_mut().unwrap().remove("probes");
            },
            &["no probes", "export the checkpoint again"],
        ),
    ];
    for (name, spoil, parts) in cases {
        let copy = copy_of(&source);
        edit_json(&copy.path().join("manifest.json"), spoil);
        let parts = &[parts, &[copy.path().to_str().unwrap()][..]].concat();
        expect_error(name, &verify(copy.path(), &[]), parts);
    }

    let cases: &[(&str, Spoil, &[&str])] = &[
        (
            "another version",
            |r| r["format_version"] = json!(2),
            &["version 2"],
        ),
        ("another file", |r| r["format"] = json!("notes"), &["notes"]),
        (
            "no scores",
            |r| r["probes"][2]["scores"] = json!([]),
            &["probes[2]", "scores"],
        ),
        (
            "a score that is no number",
            |r| r["probes"][2]["scores"][0] = json!(null),
            &["null"],
        ),
        (
            "an infinite score",
            |r| r["probes"][2]["scores"][0] = json!(1e300),
            &["probes.json", "out of range", "verify --record"],
        ),
        (
            "no such probe",
            |r| r["probes"][2]["name"] = json!("mine"),
            &["probes[2]", "mine"],
        ),
        (
            "a probe twice",
            |r| r["probes"][2] = r["probes"][1].clone(),
            &["probes[2]", "twice"],
        ),
        (
            "id outside the vocabulary",
            |r| r["probes"][2]["ids"][1] = json!(999_999),
            &["probes[2]", "ids[1]", "999999"],
        ),
        (
            "ids of another bundle",
            |r| r["probes"][5]["ids"][0] = json!(1),
            &["probes[5]", "ids"],
        ),
        ("none", |r| r["probes"] = json!([]), &["empty"]),
        ("no list", |r| r["probes"] = json!(3), &["probes.json"]),
    ];
    for (name, spoil, parts) in cases {
        let copy = copy_of(&source);
        edit_json(&copy.path().join("probes.json"), spoil);
        let output = verify(copy.path(), &[]);
        let parts = &[parts, &["probes.json", "--record"][..]].concat();
        expect_error(name, &output, parts);
    }
    let copy = copy_of(&source);
    edit_json(&copy.path().join("probes.json"), |reference| {
        reference["probes"][2]["scores"] = json!([1.0, 2.0]);
    });
    let output = verify(copy.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let problem = "another number of scores (1) than the reference has (2)";
    assert!(table.contains(problem), "{table}");

    let copy = copy_of(&source);
    fs::write(copy.path().join("probes.json"), b"{").unwrap();
    expect_error(
        "no JSON",
        &verify(copy.path(), &[]),
        &["probes.json", "EOF"],
    );
}
