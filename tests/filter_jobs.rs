//! `filter --job`: the rows of a job that is complete, kept by its results, without a model and without writing them first.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use sha2::Digest;
use support::{
    expect_failure,
    place::{Place, text},
    stderr,
};

impl Place {
    fn score(&self, flags: &[&str]) -> Output {
        let mut command = support::command();
        let bundle: PathBuf = support::bundle(support::SMALL, &[]);
        command.args(["score", "--threads", "1", "--model"]);
        command.arg(bundle).args(flags).output().unwrap()
    }

    fn job(&self, job: &str, flags: &[&str]) -> Output {
        let job = self.arg(job);
        self.score(&[&["--job", &job, "--shard-records", "40"], flags].concat())
    }

    /// Scores a job, and writes its rows.
    fn scored(&self, job: &str, output: &str, flags: &[&str]) -> String {
        let output = self.arg(output);
        let done = self.job(job, &[&["--output", &output], flags].concat());
        assert!(
            matches!(done.status.code(), Some(0 | 1)) && Path::new(&output).exists(),
            "{}",
            stderr(&done)
        );
        output
    }

    fn filter(&self, flags: &[&str]) -> Output {
        let mut command = support::command();
        command.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
        command.arg("filter").args(flags).output().unwrap()
    }

    /// Filters the rows of a job and what it wrote of them, and compares. Gives what was printed.
    fn compare(&self, job: &str, written: &str, output: &str, flags: &[&str]) -> String {
        self.compare_with(job, written, output, flags, &[])
    }

    fn compare_with(
        &self,
        job: &str,
        written: &str,
        output: &str,
        flags: &[&str],
        of_job: &[&str],
    ) -> String {
        let (expected, found) = (
            self.arg(&format!("expected.{output}")),
            self.arg(&format!("found.{output}")),
        );
        let job = self.arg(job);
        let run = |from: &[&str], to: &str, more: &[&str]| {
            let result = self.filter(&[from, &["--output", to], flags, more].concat());
            assert!(
                result.status.success(),
                "{from:?} {flags:?}: {}",
                stderr(&result)
            );
            stderr(&result)
        };
        let one = run(&["--input", written], &expected, &[]);
        let other = run(&["--job", &job], &found, of_job);
        let same = fs::read(&expected).unwrap() == fs::read(&found).unwrap();
        assert!(same, "{flags:?} {output}: {one}\n{other}");
        let counts = |told: &str| {
            let counts = told.lines().filter(|line| line.contains(" rows"));
            counts.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(counts(&one), counts(&other), "{flags:?}");
        assert!(!counts(&one).is_empty());
        for file in [expected, found] {
            fs::remove_file(file).unwrap();
        }
        other
    }
}

const CHOICES: &[&[&str]] = &[
    &[],
    &["--top", "7"],
    &["--top-percent", "10"],
    &["--percentile", "25..50"],
    &["--min", "0"],
    &["--min", "1e9"],
    &["--top", "1", "--group-by", "source"],
    &["--column", "margin2", "--top", "9"],
    &["--column", "tokens", "--percentile", "..30"],
    &["--top", "3", "--keep-errors"],
];

/// Conversations, of which some cannot be scored where that is asked.
fn rows(from: usize, to: usize, with_errors: bool) -> Vec<Value> {
    let row = |id: usize| {
        let prompt = match with_errors && id % 41 == 7 {
            true => Value::Null,
            false => format!("Question {}: why?", id % 11).into(),
        };
        json!({"id": id, "prompt": prompt, "response": format!("Since {id}."), "source": format!("s{}", id / 5),
               "margin2": (id * 7919) % 101})
    };
    (from..to).map(row).collect()
}

#[test]
fn rows_are_those_of_the_output_that_is_filtered() {
    let place = Place::new();
    let plain = place.write("in.jsonl", text(&rows(0, 150, false)));
    let written = place.scored("plain", "plain.jsonl", &["--input", &plain]);
    for choice in CHOICES {
        place.compare("plain", &written, "jsonl", choice);
    }
    place.compare("plain", &written, "json", &["--top", "5"]);
    let counted = place.filter(&["--job", &place.arg("plain"), "--top", "5", "--dry-run"]);
    let told = stderr(&counted);
    assert!(
        counted.status.success() && told.contains("would keep 5 of 150 rows"),
        "{told}"
    );

    // Tables, several files, and records that cannot be scored.
    let second = place.write("second.jsonl", text(&rows(150, 230, true)));
    let broken = place.write(
        "broken.jsonl",
        text(&rows(0, 60, true)) + "{\"id\":\n" + &text(&rows(60, 120, true)),
    );
    let flags = ["--keep-going", "--input", &plain, "--input", &second];
    let several = place.scored("several", "several.jsonl", &flags);
    let table = place.scored("several", "several.parquet", &flags);
    let flags = ["--keep-going", "--input", &broken];
    let unread = place.scored("unread", "unread.jsonl", &flags);
    for choice in CHOICES {
        place.compare("several", &several, "jsonl", choice);
        place.compare("unread", &unread, "jsonl", choice);
    }
    assert!(!stderr(&place.filter(&["--job", &place.arg("unread")])).contains("panicked"));

    // Parquet in and out: a table of many row groups, so that chosen rows are few of each.
    let given = place.arg("given.parquet");
    let made = place.filter(&[
        "--input",
        &table,
        "--column",
        "margin2",
        "--keep-errors",
        "--output",
        &given,
    ]);
    assert!(made.status.success(), "{}", stderr(&made));
    let prefix = ["--added-prefix", "m_"];
    let flags = ["--keep-going", "--input", &given];
    let table = place.scored("table", "table.parquet", &[&flags[..], &prefix].concat());
    for choice in CHOICES {
        let column = match choice.contains(&"--column") {
            true => &[][..],
            false => &["--column", "m_score"],
        };
        let flags = [*choice, column].concat();
        let flags: Vec<_> = flags
            .into_iter()
            .map(|flag| if flag == "tokens" { "m_tokens" } else { flag })
            .collect();
        let told = place.compare_with("table", &table, "parquet", &flags, &prefix);
        assert!(told.contains("with an error"), "{told}");
    }
    let over = place.scored(
        "table",
        "over.parquet",
        &[&flags[..], &["--overwrite-columns"]].concat(),
    );
    place.compare_with(
        "table",
        &over,
        "parquet",
        &["--top", "20"],
        &["--overwrite-columns"],
    );
    // What would be added is there already.
    let taken = place.filter(&[
        "--job",
        &place.arg("table"),
        "--output",
        &place.arg("x.parquet"),
    ]);
    expect_failure(
        "taken",
        &taken,
        &[
            "given.parquet, row 1",
            "\"score\" already",
            "--added-prefix",
        ],
    );
    assert!(!place.at("x.parquet").exists());
}

#[test]
fn pairs_by_their_margins() {
    let place = Place::new();
    let pair = |id: usize| json!({"prompt": format!("Why {id}?"), "chosen": "So.", "rejected": format!("No {id}.")});
    let pairs: Vec<Value> = (0..90).map(pair).collect();
    let pairs = place.write("pairs.jsonl", text(&pairs));
    let flags = ["--input", &pairs, "--group-prompts", "always"];
    for output in ["jsonl", "parquet", "csv"] {
        let written = place.scored("job", &format!("written.{output}"), &flags);
        for choice in [&["--min", "0"][..], &["--top", "4"], &["--max", "-1e9"]] {
            let choice = [&["--column", "margin"], choice].concat();
            place.compare("job", &written, output, &choice);
        }
    }
}

#[test]
fn what_is_no_job_with_results_is_told() {
    let place = Place::new();
    let input = place.write("in.jsonl", text(&rows(0, 120, false)));
    let job = place.arg("job");
    let refused = |parts: &[&str]| {
        let result = place.filter(&[
            "--job",
            &job,
            "--top",
            "3",
            "--output",
            &place.arg("x.jsonl"),
        ]);
        expect_failure("job", &result, parts);
        assert!(!place.at("x.jsonl").exists());
    };
    refused(&["job is no directory of a job"]);
    fs::create_dir(&job).unwrap();
    refused(&["no job that is complete", "no job.json"]);
    place.scored("job", "out.jsonl", &["--input", &input]);
    let shard = format!("{job}/shards/000001.jsonl");
    let whole = fs::read(&shard).unwrap();
    fs::remove_file(&shard).unwrap();
    refused(&["80 of its 120 records are scored", "score --job"]);
    fs::write(&shard, &whole[..whole.len() - 9]).unwrap();
    refused(&["000001.jsonl is damaged"]);
    fs::write(&shard, &whole).unwrap();

    let given = fs::read_to_string(&input).unwrap();
    fs::write(&input, given.replacen("Since 9.", "Since 8.", 1)).unwrap();
    refused(&["in.jsonl is not what it was", "its content is another"]);
    fs::write(&input, format!("{given}\n\n")).unwrap();
    refused(&["in.jsonl is not what it was", "bytes, and has"]);
    fs::remove_file(&input).unwrap();
    refused(&[
        "by the names that it was begun with",
        "cannot open",
        "in.jsonl",
    ]);
    fs::write(&input, &given).unwrap();
    let kept = place.filter(&["--job", &job, "--top", "3"]);
    assert_eq!(support::lines(&kept).len(), 3, "{}", stderr(&kept));

    for flags in [
        &["--input", &input][..],
        &["--input-format", "jsonl"],
        &["--max-record-bytes", "1MiB"],
    ] {
        let both = place.filter(&[&["--job", &job], flags].concat());
        assert_eq!(both.status.code(), Some(2), "{}", stderr(&both));
    }
    let alone = place.filter(&["--input", &input, "--added-prefix", "m_"]);
    expect_failure("prefix", &alone, &["--added-prefix", "give --job"]);
    let onto = place.filter(&["--job", &job, "--output", &input]);
    expect_failure("onto", &onto, &["it is the input, which would be lost"]);
    assert_eq!(fs::read_to_string(&input).unwrap(), given);
}

/// A record that ends the process is set aside by `score`, and is a row with an error here.
#[test]
fn a_poisoned_record_is_an_error() {
    let place = Place::new();
    let input = place.write("in.jsonl", text(&rows(0, 60, false)));
    let flags = ["--keep-going", "--input", &input];
    place.scored("job", "out.jsonl", &flags);
    // As three deaths over it leave it: the shard is made again, with the record that is not tried any more.
    let job = place.arg("job");
    fs::remove_file(format!("{job}/shards/000001.jsonl")).unwrap();
    fs::remove_file(place.at("out.jsonl")).unwrap();
    for death in 0..3 {
        fs::write(format!("{job}/leases/000001.{death}"), dead_owner(death)).unwrap();
        let journal = format!("{job}/shards/000001.dead{death}-1.part");
        fs::write(journal, format!("{} try 5\n", check("try 5"))).unwrap();
    }
    let written = place.scored("job", "out.jsonl", &flags);
    let told = fs::read_to_string(&written).unwrap();
    assert!(
        told.contains("processes have ended while they scored"),
        "{told}"
    );
    for choice in [&["--min", "-1e9"][..], &["--keep-errors"], &["--top", "59"]] {
        let told = place.compare("job", &written, "jsonl", choice);
        assert!(told.contains("59 with a number"), "{told}");
        assert!(told.contains("1 with an error"), "{told}");
    }
}

/// The check of a line of a journal.
fn check(text: &str) -> String {
    let digest = sha2::Sha256::digest(text);
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn dead_owner(number: usize) -> String {
    let machine = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let space = fs::read_link("/proc/self/ns/pid").unwrap();
    let machine = format!("{} {}", machine.trim(), space.display());
    json!({"host": "here", "machine": machine, "pid": 1, "started": u64::MAX, "token": format!("dead{number}")})
        .to_string()
}
