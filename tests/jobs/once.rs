//! What is the same is computed once, whichever process comes to it.

use std::{fs, time::Duration};

use serde_json::json;

use crate::{
    job_place::{JobPlace, lease, model},
    support::{self, expect_failure, stderr},
};

/// How many conversations a run says that it scored, and how many were the same as one before.
fn counts(told: &str) -> (u64, u64) {
    let before = |words: &str| {
        let rest = told.split(words).next().unwrap();
        let number = rest.split_whitespace().last();
        number.unwrap().parse().unwrap()
    };
    (
        before(" conversations were scored"),
        before(" were the same as one before"),
    )
}

/// Forty conversations, then one that is too long, then the same forty as pairs and as answers to one prompt.
fn repeated() -> String {
    let prompt = "Why is that so?";
    let answer = |number: usize| format!("Since {number} is {}.", "what it is ".repeat(number % 7));
    let one = |id| json!({"id": id, "prompt": prompt, "response": answer(id)});
    let pair =
        |id| json!({"id": id, "prompt": prompt, "chosen": answer(id), "rejected": answer(id + 1)});
    let all = |id: usize| {
        let answers: Vec<_> = (id..id + 10).map(answer).collect();
        json!({"id": id, "prompt": prompt, "responses": answers})
    };
    let long = json!({"id": "long", "prompt": "Why? ".repeat(500), "response": "So."});
    let firsts = (0..40).map(one).chain([long]);
    let again = (0..20).step_by(2).map(pair).chain([20, 30].map(all));
    firsts
        .chain(again)
        .map(|record| format!("{record}\n"))
        .collect()
}

#[test]
fn what_another_process_has_scored_is_not_computed_again() {
    for (group, is_again) in [("never", true), ("always", true), ("never", false)] {
        let mut place = JobPlace::new(0);
        fs::write(place.at("in.jsonl"), repeated()).unwrap();
        place.records = 53;
        let flags = ["--max-length", "300"];
        let plain = place.command(&flags).output().unwrap();
        let expected = String::from_utf8(plain.stdout).unwrap();
        assert_eq!(expected.lines().count(), place.records);

        let begun = |keep_going: &[&str]| {
            let mut command = support::command();
            command.args(["score", "--only-scores", "--threads", "1", "--model"]);
            command
                .arg(model())
                .arg("--input")
                .arg(place.at("in.jsonl"));
            command.arg("--job").arg(place.at("job"));
            command.arg("--output").arg(place.at("out.jsonl"));
            command.args(["--shard-records", "8", "--group-prompts", group]);
            command.args(flags).args(keep_going).output().unwrap()
        };
        // The first process ends where it meets the one that is too long, which comes first or last when records are grouped.
        let first = begun(&[]);
        expect_failure("too long", &first, &["records are kept in"]);
        let committed = place.committed();
        let again: &[&str] = match is_again {
            true => &["--keep-going"],
            false => &["--keep-going", "--deduplicate", "never"],
        };
        let output = begun(again);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(place.read("out.jsonl") == expected, "{told}");
        let (scored, same) = counts(&told);
        match (group, is_again) {
            ("never", true) => assert_eq!((committed, scored, same), (5, 0, 40), "{told}"),
            ("never", false) => assert_eq!((committed, scored, same), (5, 40, 0), "{told}"),
            // Of one prompt: the forty, and each once.
            _ => assert!(scored <= 40 && scored + same <= 80, "{told}"),
        }
        // Whoever makes the output leaves nothing else behind.
        let names = fs::read_dir(place.at("job/shards")).unwrap();
        assert_eq!(names.count(), 7);
    }
}

#[test]
fn what_another_process_computes_is_waited_for_while_it_lives() {
    let place = JobPlace::new(0);
    let record =
        |id: usize| json!({"id": id, "prompt": "Why?", "response": format!("Since {}.", id % 8)});
    let lines: String = (0..80).map(|id| format!("{}\n", record(id))).collect();
    fs::write(place.at("in.jsonl"), lines).unwrap();
    let expected = String::from_utf8(place.command(&[]).output().unwrap().stdout).unwrap();
    let run = |flags: &[&str]| {
        let all = [&["--shard-records", "8", "--lease-seconds", "2"], flags].concat();
        let output = place.run(&all);
        let told = stderr(&output);
        assert!(output.status.success(), "{told}");
        assert!(place.read("out.jsonl") == expected, "{told}");
        counts(&told)
    };
    assert_eq!(run(&[]), (8, 72));
    // Others have the first shard, and die with it.
    for entry in fs::read_dir(place.at("job/shards")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::remove_file(place.at("out.jsonl")).unwrap();
    lease(&place.at("job"), 0, Duration::ZERO);
    assert_eq!(run(&[]), (8, 72));
}
