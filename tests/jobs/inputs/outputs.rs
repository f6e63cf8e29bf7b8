//! Inputs and outputs of every form; prompts that are far apart.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use super::lines;
use crate::support::{expect_failure, place::Place, stderr};

#[test]
fn the_output_is_that_of_a_run_without_a_job() {
    let place = Place::new();
    let plain = place.write("in.jsonl", lines(150, 11));
    let parquet = place.convert(&plain, "in.parquet");
    let csv = place.convert(&plain, "in.csv");
    let gzip = place.gzip(&plain, "in.jsonl.gz");
    fs::create_dir(place.at("folder")).unwrap();
    for name in ["folder/b.jsonl", "folder/a.jsonl"] {
        fs::copy(&plain, place.arg(name)).unwrap();
    }
    let folder = place.arg("folder");
    for (input, output, flags) in [
        (&plain, "jsonl", &["--only-scores"][..]),
        (&plain, "jsonl", &[]),
        (&plain, "parquet", &[]),
        (
            &plain,
            "jsonl.zst",
            &["--group-prompts", "always", "--only-scores"],
        ),
        (&plain, "csv.gz", &["--group-prompts", "always"]),
        (&parquet, "parquet", &[]),
        (&parquet, "jsonl", &["--only-scores"]),
        (
            &parquet,
            "arrow",
            &["--group-prompts", "never", "--added-prefix", "model_"],
        ),
        (&csv, "csv", &["--overwrite-columns"]),
        (&gzip, "jsonl", &[]),
        (&folder, "jsonl", &[]),
        (&folder, "json", &["--group-prompts", "never"]),
    ] {
        let flags = [&["--keep-going", "--input", input], flags].concat();
        let told = place.compare(output, &flags);
        assert!(told.contains("records could not be scored"), "{told}");
        let is_copied = *input != plain || flags.contains(&"always");
        assert_eq!(
            told.contains("the records are copied to the job"),
            is_copied,
            "{told}"
        );
        let is_grouped = is_copied && !flags.contains(&"never");
        assert_eq!(
            told.contains("brought together by their prompts"),
            is_grouped,
            "{told}"
        );
    }
    let several = ["--input", &plain, "--input", &gzip, "--keep-going"];
    place.compare("jsonl", &several);
    // A key that is there twice is no matter where columns are not kept.
    let twice = place.write(
        "twice.jsonl",
        "{\"prompt\":\"a\",\"response\":\"b\",\"x\":1,\"x\":2}\n{\"prompt\":\"a\",\"response\":\"c\"}\n",
    );
    for grouping in ["always", "never"] {
        for columns in [&["--only-scores"][..], &[]] {
            let flags = [
                "--keep-going",
                "--input",
                &twice,
                "--group-prompts",
                grouping,
            ];
            place.compare("jsonl", &[&flags, columns].concat());
        }
    }
}

#[test]
fn a_job_of_a_table_is_gone_on_with() {
    let place = Place::new();
    let plain = place.write("in.jsonl", lines(2000, 300));
    let parquet = place.convert(&plain, "in.parquet");
    let (expected, out) = (place.arg("expected.parquet"), place.arg("out.parquet"));
    place.score(&["--keep-going", "--input", &parquet, "--output", &expected]);
    let flags = ["--keep-going", "--input", &parquet, "--output", &out];
    let shards = place.at("job/shards");
    let committed = || fs::read_dir(&shards).map_or(0, Iterator::count);
    let mut kills = 0;
    for wanted in [1, 4, 8] {
        let job = place.arg("job");
        let mut child = place
            .command(&[&["--job", &job, "--shard-records", "40"], &flags[..]].concat())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while committed() < wanted && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no shard comes");
            thread::sleep(Duration::from_millis(2));
        }
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 0);
    let output = place.job(&flags);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("of 2000 records"), "{told}");
    assert!(
        fs::read(&out).unwrap() == fs::read(&expected).unwrap(),
        "{told}"
    );
    // Another form of the same results is written without the model, as is one of the same form that is gone.
    let lines = place.arg("out.jsonl");
    let output = place.job(&["--keep-going", "--input", &parquet, "--output", &lines]);
    assert!(!stderr(&output).contains("loaded in"));
    place.score(&[
        "--keep-going",
        "--input",
        &parquet,
        "--output",
        &place.arg("expected.jsonl"),
    ]);
    assert!(fs::read(&lines).unwrap() == fs::read(place.at("expected.jsonl")).unwrap());
    let output = place.job(&[
        "--keep-going",
        "--only-scores",
        "--input",
        &parquet,
        "--output",
        &lines,
    ]);
    assert!(
        stderr(&output).contains("2000 records: "),
        "{}",
        stderr(&output)
    );
    // Without --keep-going there is no column for errors.
    let output = place.job(&["--input", &parquet, "--output", &lines]);
    expect_failure(
        "errors",
        &output,
        &["in.parquet: row 8", "--keep-going writes it as a row"],
    );
    let grouping = [
        "--group-prompts",
        "never",
        "--input",
        &parquet,
        "--output",
        &lines,
    ];
    let parts = ["grouping by prompts (--group-prompts) was yes, and now is not given"];
    expect_failure("grouping", &place.job(&grouping), &parts);
    let two = ["--input", &parquet, "--input", &parquet, "--output", &lines];
    expect_failure(
        "inputs",
        &place.job(&two),
        &["the number of inputs was 1, and now is 2"],
    );
}

/// Tokens that a run says it has computed.
fn computed(told: &str) -> u64 {
    let (_, rest) = told.split_once(" tokens, ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn prompts_that_are_far_apart_are_computed_once() {
    let place = Place::new();
    let plain = place.write("in.jsonl", lines(3000, 1500));
    let output = place.arg("out.jsonl");
    let [grouped, not] = ["always", "never"].map(|grouping| {
        let flags = [
            "--keep-going",
            "--only-scores",
            "--input",
            &plain,
            "--output",
            &output,
        ];
        let told = stderr(&place.job(&[&flags[..], &["--group-prompts", grouping]].concat()));
        fs::remove_dir_all(place.at("job")).unwrap();
        computed(&told)
    });
    assert!(grouped * 3 < not * 2, "{grouped} of {not}");
}
