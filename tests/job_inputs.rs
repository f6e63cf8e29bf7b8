//! `score --job` of whatever `score` reads: in the end the output is that of a run without a job.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{expect_failure, place::Place, stderr};

fn model() -> PathBuf {
    support::bundle(support::SMALL, &[])
}

/// Answers to a few prompts, one behind the other, so that those to one prompt are far apart; some cannot be scored.
fn record(id: usize, prompts: usize) -> Value {
    let prompt = format!(
        "Question {}: {}?",
        id % prompts,
        "and why is that so ".repeat(5)
    );
    let prompt = match id % 41 {
        7 => Value::Null,
        _ => prompt.into(),
    };
    json!({"id": id, "prompt": prompt, "response": format!("Since {id}."), "source": format!("s{}", id % 3)})
}

fn lines(records: usize, prompts: usize) -> String {
    let line = |id| format!("{}\n", record(id, prompts));
    (0..records).map(line).collect()
}

impl Place {
    fn command(&self, flags: &[&str]) -> std::process::Command {
        let mut command = support::command();
        command
            .args(["score", "--threads", "1", "--model"])
            .arg(model())
            .args(flags);
        command
    }

    fn score(&self, flags: &[&str]) -> Output {
        self.command(flags).output().unwrap()
    }

    /// Runs a job, with shards of 40 records.
    fn job(&self, flags: &[&str]) -> Output {
        let job = self.arg("job");
        self.score(&[&["--job", &job, "--shard-records", "40"], flags].concat())
    }

    /// A file of a format, with the columns that scoring adds to it.
    fn convert(&self, from: &str, name: &str) -> String {
        let to = self.arg(name);
        let flags = [
            "--keep-going",
            "--added-prefix",
            "first_",
            "--input",
            from,
            "--output",
            &to,
        ];
        let output = self.score(&flags);
        assert!(Path::new(&to).exists(), "{}", stderr(&output));
        to
    }

    fn gzip(&self, from: &str, name: &str) -> String {
        let to = self.arg(name);
        let status = std::process::Command::new("gzip")
            .args(["-kc", from])
            .stdout(fs::File::create(&to).unwrap())
            .status();
        assert!(status.unwrap().success());
        to
    }

    /// Scores without a job and with one, and compares. Gives what the job printed.
    fn compare(&self, output: &str, flags: &[&str]) -> String {
        let (expected, out) = (
            self.arg(&format!("expected.{output}")),
            self.arg(&format!("out.{output}")),
        );
        let plain: Vec<&str> = match flags.iter().position(|flag| *flag == "--group-prompts") {
            Some(at) => [&flags[..at], &flags[at + 2..]].concat(),
            None => flags.to_vec(),
        };
        let without = self.score(&[&plain[..], &["--output", &expected]].concat());
        let with = self.job(&[flags, &["--output", &out]].concat());
        let told = stderr(&with);
        assert_eq!(
            with.status.code(),
            without.status.code(),
            "{flags:?}: {told}"
        );
        let same = fs::read(&expected).unwrap() == fs::read(&out).unwrap();
        assert!(same, "{flags:?} {output}: {told}");
        fs::remove_dir_all(self.at("job")).unwrap();
        fs::remove_file(&out).unwrap();
        told
    }
}

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

#[test]
fn a_damaged_input_is_named() {
    let place = Place::new();
    let good = (0..400).filter(|id| id % 41 != 7);
    let good: String = good.map(|id| format!("{}\n", record(id, 11))).collect();
    let plain = place.write("in.jsonl", good);
    let gzip = place.gzip(&plain, "whole.gz");
    let whole = fs::read(&gzip).unwrap();
    let cut = place.write("cut.jsonl.gz", &whole[..whole.len() / 2]);
    let parquet = place.convert(&plain, "whole.parquet");
    let mut bytes = fs::read(&parquet).unwrap();
    let third = bytes.len() / 3;
    bytes[4..third].fill(0x55);
    let torn = place.write("torn.parquet", bytes);
    let unclosed = place.write(
        "unclosed.json",
        format!("[{}", lines(90, 3).replace("}\n", "},\n")),
    );
    for (input, parts) in [
        (
            &cut,
            &["cut.jsonl.gz: line ", "its gzip data is cut off"][..],
        ),
        (
            &torn,
            &["torn.parquet: row 1", "row group 1 of 1, column `"],
        ),
    ] {
        let flags = ["--input", input, "--output", &place.arg("out.jsonl")];
        expect_failure(
            input,
            &place.job(&[&flags[..], &["--only-scores"]].concat()),
            parts,
        );
        assert!(!place.at("job/index.jsonl").exists());
        let left = fs::read_dir(place.at("job")).into_iter().flatten();
        let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(left.filter(|name| name.contains("records.")).count() == 0);
        let _ = fs::remove_dir_all(place.at("job"));
    }
    for input in [&cut, &torn, &unclosed] {
        for output in ["jsonl", "parquet"] {
            let told = place.compare(output, &["--keep-going", "--input", input]);
            assert!(told.contains("with errors"), "{told}");
        }
        place.compare(
            "jsonl",
            &["--keep-going", "--only-scores", "--input", input],
        );
    }
}

#[test]
fn an_input_that_changes_is_told() {
    let place = Place::new();
    let input = place.write("in.jsonl", lines(40_000, 999));
    let (job, output) = (place.arg("job"), place.arg("out.jsonl"));
    let flags = [
        "--keep-going",
        "--only-scores",
        "--input",
        &input,
        "--output",
        &output,
    ];
    let child = place
        .command(&[&flags[..], &["--job", &job, "--group-prompts", "always"]].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_begun = || {
        let names = fs::read_dir(&job).into_iter().flatten();
        names
            .flatten()
            .any(|name| name.file_name().to_string_lossy().starts_with("records."))
    };
    let begun = Instant::now();
    while !is_begun() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing is copied"
        );
        thread::sleep(Duration::from_millis(1));
    }
    let mut file = fs::File::options().append(true).open(&input).unwrap();
    writeln!(file, "{}", record(40_000, 999)).unwrap();
    let changed = child.wait_with_output().unwrap();
    expect_failure(
        "grows",
        &changed,
        &[
            "in.jsonl is not what it was",
            "written to while it was read",
        ],
    );
    assert!(!place.at("job/index.jsonl").exists());
    fs::remove_dir_all(&job).unwrap();

    // What no sample shows is seen when the rows are read again.
    let padded = |id: usize| {
        json!({"prompt": format!("Why {id}?"), "response": "Since it is so.", "pad": "x".repeat(50_000)}).to_string()
    };
    let text: String = (0..120).map(|id| padded(id) + "\n").collect();
    let input = place.write("in.jsonl", &text);
    let flags = [
        "--input",
        &input,
        "--output",
        &output,
        "--group-prompts",
        "always",
    ];
    assert!(place.job(&flags).status.success());
    fs::remove_file(&output).unwrap();
    let last = text.len() - (64 << 10);
    let is_sampled = |at: usize| {
        let blocks = (0..64).map(|block| block * last / 63);
        blocks
            .into_iter()
            .any(|begin| (begin..begin + (64 << 10)).contains(&at))
    };
    let (at, _) = text
        .match_indices("Since")
        .find(|(at, _)| !is_sampled(*at))
        .unwrap();
    let mut changed = text.into_bytes();
    changed[at] = b's';
    fs::write(&input, changed).unwrap();
    let output = place.job(&flags);
    expect_failure(
        "other",
        &output,
        &["in.jsonl is not what it was", "its record ", " is another"],
    );
}

/// A job that is not divided takes another input; one that is does not.
#[test]
fn a_corrected_input_is_taken_where_nothing_is_scored() {
    let place = Place::new();
    let (bad, good) = (lines(900, 7), lines(900, 7).replace("null", "\"Why?\""));
    // The first records are looked at before a job is begun.
    let first_bad = |text: &str, good: &str| {
        let lines = text.lines().zip(good.lines()).enumerate();
        lines
            .map(|(at, (bad, good))| format!("{}\n", if at < 600 { good } else { bad }))
            .collect::<String>()
    };
    let input = place.write("in.jsonl", first_bad(&bad, &good));
    let expected = place.write("good.jsonl", &good);
    let output = place.arg("out.jsonl");
    let flags = [
        "--input",
        &input,
        "--output",
        &output,
        "--group-prompts",
        "always",
    ];
    let failed = place.job(&flags);
    expect_failure(
        "bad",
        &failed,
        &[
            "in.jsonl: line 623",
            "nothing is scored yet",
            "the same command takes a corrected input",
        ],
    );
    let job = place.at("job");
    assert!(job.join("job.json").exists() && !job.join("index.jsonl").exists());
    // What a process that was killed has left of the one before is no matter.
    for left in ["records.dead.zst", "index.dead.tmp"] {
        fs::write(job.join(left), "x").unwrap();
    }
    fs::write(&input, &good).unwrap();
    let done = place.job(&flags);
    assert!(done.status.success(), "{}", stderr(&done));
    let whole = fs::read(&output).unwrap();
    let plain = place.score(&["--input", &expected, "--output", &output]);
    assert!(plain.status.success() && fs::read(&output).unwrap() == whole);
    let left = fs::read_dir(&job)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        !left
            .into_iter()
            .any(|name| name.to_string_lossy().contains("dead"))
    );

    // From here on there is something to lose.
    fs::write(&input, good.replace("Since 5.", "Since 6.")).unwrap();
    expect_failure(
        "divided",
        &place.job(&flags),
        &["a job with other settings", "the content of the input"],
    );
    fs::remove_file(job.join("index.jsonl")).unwrap();
    expect_failure(
        "results",
        &place.job(&flags),
        &["a job with other settings"],
    );
}
