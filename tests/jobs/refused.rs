//! What cannot be a job, and what is not as it was when a job was begun.

use std::fs;

use serde_json::json;

use crate::{
    job_place::{JobPlace, model, record},
    support::{self, expect_failure, stderr},
};

#[test]
fn what_cannot_be_a_job_is_refused() {
    let place = JobPlace::new(3);
    fs::create_dir(place.at("job")).unwrap();
    fs::write(place.at("job/mine.txt"), "mine").unwrap();
    let other = ["is no directory of a job", "mine.txt"];
    expect_failure("other", &place.run(&[]), &other);
    fs::remove_dir_all(place.at("job")).unwrap();
    fs::write(place.at("job"), "a file").unwrap();
    expect_failure("file", &place.run(&[]), &["cannot make", "job"]);
    expect_failure(
        "proc",
        &place.run(&["--job", "/proc/job"]),
        &["cannot make /proc/job"],
    );
    fs::remove_file(place.at("job")).unwrap();

    let in_place = place.at("in.jsonl");
    let no_records = place.at("empty");
    fs::create_dir(&no_records).unwrap();
    let no_records = no_records.to_str().unwrap();
    for (flags, part) in [
        (&["--input", "-"][..], "standard input does not permit"),
        (&["--input", no_records], "no file in it has a name"),
        (&["--input", "/dev/null"], "a job needs a regular file"),
        (&["--output", in_place.to_str().unwrap()], "it is the input"),
        (&["--append"], "--append"),
    ] {
        expect_failure(part, &place.run(flags), &[part]);
        assert!(!place.at("job").exists(), "{part}");
    }
    // Without --keep-going, what is wrong is told before the job is begun, or where it is met.
    let strict = |records: &str| {
        fs::write(place.at("in.jsonl"), records).unwrap();
        let mut command = support::command();
        command
            .args(["score", "--model"])
            .arg(model())
            .arg("--input")
            .arg(place.at("in.jsonl"));
        command.arg("--job").arg(place.at("job"));
        command
            .args(["--shard-records", "40", "--max-length", "300", "--output"])
            .arg(place.at("out.jsonl"));
        command.output().unwrap()
    };
    let good = |count: usize| {
        (0..count)
            .map(|id| record(id * 10) + "\n")
            .collect::<String>()
    };
    expect_failure(
        "first",
        &strict(&(good(3) + "{}\n")),
        &["in.jsonl: line 4", "exactly one form"],
    );
    assert!(!place.at("job/job.json").exists());
    expect_failure(
        "later",
        &strict(&(good(2000) + "{}\n")),
        &["in.jsonl: line 2001", "nothing is scored yet"],
    );
    assert!(!place.at("job/index.jsonl").exists());
    let long = json!({"prompt": "Why? ".repeat(500), "response": "So."});
    let output = strict(&format!("{}{long}\n", good(2000)));
    expect_failure(
        "too long",
        &output,
        &["in.jsonl, line 2001", "records are kept in"],
    );
    assert!(place.committed() > 20);
    // With it, the job goes on.
    let output = place.run(&["--max-length", "300"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let lines = place.read("out.jsonl");
    assert!(
        lines
            .lines()
            .last()
            .unwrap()
            .starts_with("{\"line\":2001,\"error\":")
    );
}

#[test]
fn what_is_not_as_it_was_is_refused() {
    let place = JobPlace::new(80);
    let expected = place.expected();
    place.finish(&expected);
    fs::remove_file(place.at("job/shards/000001.jsonl")).unwrap();
    let refused = |name: &str, flags: &[&str], parts: &[&str]| {
        let output = place.run(flags);
        expect_failure(name, &output, &["is a job with other settings"]);
        expect_failure(name, &output, parts);
    };
    refused(
        "options",
        &["--max-length", "50", "--truncation", "oldest-turns"],
        &[
            "--max-length was not given, and now is 50",
            "--truncation was refuse, and now is oldest-turns",
        ],
    );
    refused(
        "shards",
        &["--shard-records", "41"],
        &["records of a shard was 40, and now is 41"],
    );
    let other = support::bundle(&["--shape", "tiny", "--seed", "9"], &["--stages", "2"]);
    let other = other.to_str().unwrap();
    refused("model", &["--model", other], &["model: manifest was"]);

    let whole = place.read("in.jsonl");
    for (changed, part) in [
        (format!("{whole}{}\n", record(80)), "bytes, and now is"),
        (whole[..whole.len() - 30].to_owned(), "bytes, and now is"),
        (
            whole.replacen("Why 40", "Why 41", 1),
            "the content of the input",
        ),
    ] {
        fs::write(place.at("in.jsonl"), changed).unwrap();
        refused("input", &[], &[part]);
    }
    // A copy is as good as the input itself.
    fs::write(place.at("in.jsonl"), &whole).unwrap();
    let told = place.finish(&expected);
    assert!(told.contains("all of it is compared"), "{told}");
    // A moved bundle is as good, too.
    let moved = support::copy_of(&model());
    let output = place.run(&["--model", moved.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

#[test]
fn an_input_that_changes_while_it_is_read_spoils_nothing() {
    let place = JobPlace::new(4000);
    let expected = place.expected();
    let whole = place.read("in.jsonl");
    for cut in [true, false] {
        let child = place.start();
        place.wait_for(1);
        let at = whole.len() * 3 / 4;
        let changed = match cut {
            true => whole[..at].to_owned(),
            false => format!("{}{}", &whole[..at], "x".repeat(whole.len() - at)),
        };
        fs::write(place.at("in.jsonl"), changed).unwrap();
        let output = child.wait_with_output().unwrap();
        expect_failure(
            "changed",
            &output,
            &["is not what it was", "of 4000 records are kept in"],
        );
        expect_failure("refused", &place.run(&[]), &["was begun with"]);
        fs::write(place.at("in.jsonl"), &whole).unwrap();
        place.finish(&expected);
        fs::remove_dir_all(place.at("job")).unwrap();
    }
}
