//! Inputs that are damaged, change, or are corrected.

use std::{
    fs,
    io::Write,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{lines, record};
use crate::support::{expect_failure, place::Place, stderr};

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
