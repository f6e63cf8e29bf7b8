//! Objects of a store in and out of `score`, over S3's protocol on loopback: the same scores as of files, connections that break,
//! objects that change, and what is said of what is not there.

#![allow(clippy::unwrap_used)]

mod support;

#[path = "support/s3_server.rs"]
mod s3_server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use s3_server::{KEY, S3Server, SECRET};
use serde_json::json;
use support::{expect_failure, stderr};
use tempfile::TempDir;

fn model() -> String {
    let bundle = support::bundle(&["--shape", "tiny", "--seed", "9"], &["--stages", "2"]);
    bundle.to_str().unwrap().to_owned()
}

/// A store, and a folder that the command works in.
struct Place {
    server: S3Server,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            server: S3Server::start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, inputs: &[&str], output: &str, flags: &[&str]) -> Command {
        let mut command = support::command();
        command.args(["score", "--model", &model(), "--output", output]);
        for input in inputs {
            command.args(["--input", input]);
        }
        command.args(flags).current_dir(self.folder.path());
        self.server.set(&mut command);
        command
    }

    fn score(&self, inputs: &[&str], output: &str, flags: &[&str]) -> Output {
        self.command(inputs, output, flags).output().unwrap()
    }

    fn score_well(&self, inputs: &[&str], output: &str, flags: &[&str]) {
        let result = self.score(inputs, output, flags);
        assert!(result.status.success(), "{inputs:?}: {}", stderr(&result));
    }

    /// The names in the folder.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

/// Records with long columns that are no matter to their scores.
fn lines(from: usize, count: usize, padding: usize) -> String {
    let line = |number: usize| {
        // It does not compress well.
        let mut state = number as u64;
        let mut letter = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + (state >> 59) as u8 % 26)
        };
        let padding: String = (0..padding).map(|_| letter()).collect();
        let record = json!({"id": number, "prompt": format!("Why {number}?"), "response": "So.", "pad": padding});
        format!("{record}\n")
    };
    (from..from + count).map(line).collect()
}

fn same(one: &Path, other: &Path) {
    let (one, other) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    assert!(!one.is_empty() && one == other);
}

/// A job knows an object by its tag.
#[test]
fn a_job_reads_objects() {
    let place = Place::new();
    let records = lines(0, 40, 0);
    fs::write(place.at("in.jsonl"), &records).unwrap();
    place.server.put("in.jsonl", &records);
    place.score_well(&["in.jsonl"], "local.jsonl", &[]);
    let (input, job) = (
        &["s3://bucket/in.jsonl"],
        ["--job", "job", "--shard-records", "8"],
    );
    place.score_well(input, "job.jsonl", &job);
    same(&place.at("local.jsonl"), &place.at("job.jsonl"));
    place.score_well(input, "s3://bucket/scored.jsonl", &job);
    place.score_well(
        &["s3://bucket/scored.jsonl"],
        "again.jsonl",
        &["--overwrite-columns"],
    );
    same(&place.at("local.jsonl"), &place.at("again.jsonl"));
    place.server.put("in.jsonl", lines(1, 40, 0));
    let other = place.score(input, "other.jsonl", &job);
    expect_failure(
        "another object",
        &other,
        &["the input s3://bucket/in.jsonl"],
    );
}

#[test]
fn objects_are_read_as_files_are() {
    let place = Place::new();
    let (first, second) = (lines(0, 7, 0), lines(7, 5, 0));
    fs::write(place.at("all.jsonl"), format!("{first}{second}")).unwrap();
    place.server.put("data/a.jsonl", &first);
    place.server.put("data/b.jsonl", &second);
    place.server.put("data/notes.txt", "notes");
    place.server.put("data/_hidden.jsonl", "wrong");
    place.server.put("data/deeper/c.jsonl", "wrong");
    place.score_well(&["all.jsonl"], "local.jsonl", &[]);
    for inputs in [
        &["s3://bucket/data/"][..],
        &["s3://bucket/data/[ab].jsonl"],
        &["s3://bucket/d*/?.jsonl"],
        &["s3://bucket/data/a.jsonl", "s3://bucket/data/b.jsonl"],
        &["s3a://bucket/data/a.jsonl", "s3://bucket/**/b.jsonl"],
    ] {
        place.score_well(inputs, "remote.jsonl", &[]);
        same(&place.at("local.jsonl"), &place.at("remote.jsonl"));
    }

    // Files of several row groups' bytes, packed, and read here and there.
    for name in ["t.parquet", "t.parquet.gz", "t.csv.zst", "t.arrow"] {
        place.score_well(&["all.jsonl"], name, &[]);
        place.server.put(name, fs::read(place.at(name)).unwrap());
        let flags = ["--overwrite-columns"];
        place.score_well(&[name], &format!("local.{name}"), &flags);
        place.server.take_log();
        place.score_well(
            &[&format!("s3://bucket/{name}")],
            &format!("remote.{name}"),
            &flags,
        );
        same(
            &place.at(&format!("local.{name}")),
            &place.at(&format!("remote.{name}")),
        );
        let log = place.server.take_log();
        let got = log.iter().filter(|name| *name == "GetObject").count();
        assert!((2..=4).contains(&got), "{name}: {log:?}");
    }
}

#[test]
fn objects_are_written_whole() {
    let place = Place::new();
    fs::write(place.at("in.jsonl"), lines(0, 6, 2_000_000)).unwrap();
    place.score_well(&["in.jsonl"], "local.jsonl", &[]);
    place
        .server
        .put("out/scores.jsonl", "what was there before");
    let before = place.files();
    // Of several parts, and of one.
    let output = "s3://bucket/out/scores.jsonl";
    place.score_well(&["in.jsonl"], output, &[]);
    assert!(place.server.take_log().contains(&"UploadPart".to_owned()));
    same(
        &place.at("local.jsonl"),
        &place.server.at("out/scores.jsonl"),
    );
    place.score_well(&["in.jsonl"], "s3://bucket/new/x.parquet", &[]);
    place.score_well(&["in.jsonl"], "local.parquet", &[]);
    same(
        &place.at("local.parquet"),
        &place.server.at("new/x.parquet"),
    );
    assert_eq!(place.server.keys(), ["new/x.parquet", "out/scores.jsonl"]);
    fs::remove_file(place.at("local.parquet")).unwrap();
    assert_eq!(place.files(), before);
}

#[test]
fn a_failed_upload_is_not_to_be_seen() {
    let place = Place::new();
    fs::write(place.at("in.jsonl"), lines(0, 6, 2_000_000)).unwrap();
    place.score_well(&["in.jsonl"], "local.jsonl", &[]);
    for operation in ["UploadPart", "CompleteMultipartUpload"] {
        place.server.deny(operation);
        let result = place.score(&["in.jsonl"], "s3://bucket/scores.jsonl", &[]);
        let parts = [
            "s3://bucket/scores.jsonl",
            "AccessDenied",
            "complete in scores.jsonl.partial",
        ];
        expect_failure(operation, &result, &parts);
        assert_eq!(place.server.keys(), [] as [String; 0]);
        assert!(
            place
                .server
                .take_log()
                .contains(&"AbortMultipartUpload".to_owned())
        );
        same(&place.at("local.jsonl"), &place.at("scores.jsonl.partial"));
        fs::remove_file(place.at("scores.jsonl.partial")).unwrap();
    }
    // What may not be written is found before anything is scored.
    place.server.deny("CreateMultipartUpload");
    let result = place.score(&["in.jsonl"], "s3://bucket/scores.jsonl", &[]);
    expect_failure(
        "denied",
        &result,
        &["cannot write the output", "access is denied"],
    );
    assert!(!stderr(&result).contains("conversations in"));
}

#[test]
fn what_was_scored_before_a_failure_is_kept() {
    let place = Place::new();
    let text = format!("{}not a record\n", lines(0, 300, 0));
    place.server.put("in.jsonl", text);
    let result = place.score(&["s3://bucket/in.jsonl"], "s3://bucket/scores.jsonl", &[]);
    let parts = [
        "s3://bucket/in.jsonl",
        "line 301",
        "in scores.jsonl.partial",
    ];
    expect_failure("bad record", &result, &parts);
    let kept = fs::read_to_string(place.at("scores.jsonl.partial")).unwrap();
    assert_eq!(kept.lines().count(), 300);
    assert_eq!(place.server.keys(), ["in.jsonl"]);
}

/// The bytes of a file of some megabytes in a store, also as Parquet, and its scores.
fn large(place: &Place) {
    fs::write(place.at("in.jsonl"), lines(0, 40, 100_000)).unwrap();
    place.score_well(&["in.jsonl"], "in.parquet", &[]);
    place.score_well(&["in.jsonl"], "local.jsonl", &["--only-scores"]);
    for name in ["in.jsonl", "in.parquet"] {
        place.server.put(name, fs::read(place.at(name)).unwrap());
    }
}

#[test]
fn reading_goes_on_where_a_connection_broke() {
    let place = Place::new();
    large(&place);
    for (name, cuts) in [
        (
            "in.jsonl",
            &[0, 1_000_000, 300, 700_000, 100_000, 2_000_000][..],
        ),
        ("in.parquet", &[0, 700_000, 300, 500_000]),
    ] {
        place.server.cut(cuts);
        let input = format!("s3://bucket/{name}");
        place.score_well(
            &[&input],
            "remote.jsonl",
            &["--only-scores", "--overwrite-columns"],
        );
        same(&place.at("local.jsonl"), &place.at("remote.jsonl"));
    }
    // The server is gone in the middle of it, and comes back.
    place.server.go_away(1_000_000, Duration::from_secs(3));
    place.score_well(
        &["s3://bucket/in.jsonl"],
        "remote.jsonl",
        &["--only-scores"],
    );
    same(&place.at("local.jsonl"), &place.at("remote.jsonl"));
}

#[test]
fn rows_of_two_versions_are_not_mixed() {
    let place = Place::new();
    large(&place);
    for name in ["in.jsonl", "in.parquet"] {
        let path = place.server.at(name);
        let mut bytes = fs::read(&path).unwrap();
        // As long, and another.
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        place
            .server
            .at_byte(900_000, move || fs::write(path, bytes).unwrap());
        let input = format!("s3://bucket/{name}");
        let result = place.score(
            &[&input],
            "remote.jsonl",
            &["--only-scores", "--overwrite-columns"],
        );
        expect_failure(
            name,
            &result,
            &[&input, "the object was replaced while it was read"],
        );
        assert!(!place.at("remote.jsonl").exists());
        let _ = fs::remove_file(place.at("remote.jsonl.partial"));
        place.server.put(name, fs::read(place.at(name)).unwrap());
    }
}

#[test]
fn what_is_not_there_is_told() {
    let place = Place::new();
    place.server.put("data/a.jsonl", lines(0, 2, 0));
    place.server.put("only/deeper/a.jsonl", lines(0, 2, 0));
    place.server.put("pictures/a.png", "x");
    for (input, parts) in [
        (
            "s3://nobucket/a.jsonl",
            &["s3://nobucket/a.jsonl", "no such bucket"][..],
        ),
        ("s3://nobucket/", &["no such bucket", "AWS_ENDPOINT_URL"]),
        (
            "s3://bucket/b.jsonl",
            &["s3://bucket/b.jsonl: there is no such object"],
        ),
        ("s3://bucket/data", &["it is a folder", "s3://bucket/data/"]),
        ("s3://bucket/data/*.csv", &["no object matches"]),
        ("s3://bucket/only/", &["only folders", "'URL/**/*.parquet'"]),
        ("s3://bucket/pictures/", &["no file in it has a name"]),
        ("s3://bucket/a//b", &["empty part"]),
        ("s3://", &["names no bucket"]),
        ("ftp://host/a.jsonl", &["ftp://...", "s3://, gs://"]),
    ] {
        let result = place.score(&[input], "out.jsonl", &[]);
        expect_failure(input, &result, parts);
    }
    for (output, parts) in [
        ("s3://bucket/data/", &["names a folder"][..]),
        ("s3://bucket/data/a.jsonl", &["it is the input"]),
    ] {
        let result = place.score(&["s3://bucket/data/a.jsonl"], output, &[]);
        expect_failure(output, &result, parts);
    }
    let result = place.score(
        &["s3://bucket/data/a.jsonl"],
        "s3://bucket/x",
        &["--append"],
    );
    expect_failure("append", &result, &["--append"]);
    assert_eq!(place.files(), [] as [String; 0]);
}

#[test]
fn who_may_not_read_is_told() {
    let place = Place::new();
    place.server.put("a.jsonl", lines(0, 2, 0));
    let with = |changes: &[(&str, Option<&str>)]| {
        let mut command = place.command(&["s3://bucket/a.jsonl"], "out.jsonl", &[]);
        for (name, value) in changes {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output().unwrap()
    };
    for (name, changes, parts) in [
        (
            "wrong secret",
            &[("AWS_SECRET_ACCESS_KEY", Some("another-secret"))][..],
            &["access is denied", "AWS_SECRET_ACCESS_KEY"][..],
        ),
        (
            "unknown key",
            &[("AWS_ACCESS_KEY_ID", Some("AKIAOTHER"))],
            &["access is denied"],
        ),
        (
            "nobody",
            &[("AWS_SKIP_SIGNATURE", Some("true"))],
            &["access is denied"],
        ),
        (
            "plain HTTP",
            &[("AWS_ALLOW_HTTP", None)],
            &["AWS_ALLOW_HTTP=true"],
        ),
        (
            "nobody listens",
            &[("AWS_ENDPOINT_URL", Some("http://127.0.0.1:9"))],
            &["cannot be reached", "refused", "AWS_ENDPOINT_URL"],
        ),
    ] {
        let result = with(changes);
        expect_failure(name, &result, parts);
        let text = stderr(&result);
        for secret in [KEY, SECRET, "AKIAOTHER", "another-secret"] {
            assert!(!text.contains(secret), "{name}: {text}");
        }
    }
}
