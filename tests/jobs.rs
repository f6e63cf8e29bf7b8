//! `score --job`: whatever ends a run, the same command goes on, and in the end the output is that of a run that nothing
//! has ended.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;
use sha2::{Digest, Sha256};
use support::{expect_failure, stderr};
use tempfile::TempDir;

fn model() -> PathBuf {
    support::bundle(support::SMALL, &[])
}

/// A folder with `in.jsonl`, in which there are records of every kind, the same ones again, and some that cannot be scored.
struct Place {
    folder: TempDir,
    records: usize,
}

impl Place {
    fn new(records: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = (0..records).map(|id| record(id) + "\n").collect();
        fs::write(folder.path().join("in.jsonl"), lines).unwrap();
        Self { folder, records }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = support::command();
        command
            .args(["score", "--keep-going", "--only-scores", "--threads", "1"])
            .arg("--model")
            .arg(model())
            .arg("--input")
            .arg(self.at("in.jsonl"))
            .args(flags);
        command
    }

    /// What a run without a job writes.
    fn expected(&self) -> String {
        let output = self.command(&[]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), self.records);
        text
    }

    /// With shards of 40 records. Flags take the place of those that are given here.
    fn job(&self, flags: &[&str]) -> Command {
        let (job, output) = (self.at("job"), self.at("out.jsonl"));
        let (model, input) = (model(), self.at("in.jsonl"));
        let mut command = support::command();
        command.args(["score", "--keep-going", "--only-scores", "--threads", "1"]);
        for (name, value) in [
            ("--model", &model),
            ("--input", &input),
            ("--job", &job),
            ("--output", &output),
            ("--shard-records", &PathBuf::from("40")),
        ] {
            if !flags.contains(&name) {
                command.arg(name).arg(value);
            }
        }
        command.args(flags);
        command
    }

    fn run(&self, flags: &[&str]) -> Output {
        self.job(flags).output().unwrap()
    }

    /// Goes on to the end, and compares.
    fn finish(&self, expected: &str) -> String {
        let output = self.run(&[]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(self.read("out.jsonl") == expected, "{told}");
        told
    }

    fn start(&self) -> Child {
        self.job(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn committed(&self) -> usize {
        let names = fs::read_dir(self.at("job/shards")).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".jsonl")).count()
    }

    /// Waits until a run has committed so many shards.
    fn wait_for(&self, shards: usize) {
        let begun = Instant::now();
        while self.committed() < shards {
            assert!(begun.elapsed() < Duration::from_secs(60), "no shard comes");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn record(id: usize) -> String {
    let text = format!("Since {}.", "so it is, ".repeat(id % 23));
    let answer = |content: &str| json!({"role": "assistant", "content": content});
    let value = match id % 10 {
        3 => json!({"id": id, "prompt": id}),
        5 => {
            json!({"id": id, "prompt": "Why?", "chosen": text, "rejected": format!("No, {id}.")})
        }
        7 => return "{\"prompt\": ".to_owned(),
        8 => json!([{"role": "user", "content": format!("Why {id}?")}, answer(&text)]),
        // The same again and again, but for its id.
        9 => json!({"id": id, "prompt": "Why?", "response": "Since it is so."}),
        _ => json!({"id": id, "prompt": format!("Why {id}?"), "response": text}),
    };
    value.to_string()
}

#[test]
fn the_output_is_that_of_a_run_without_a_job() {
    let place = Place::new(430);
    let expected = place.expected();
    let told = place.finish(&expected);
    for part in [
        "430 records: 344 scored, 86 with errors (invalid_input 86)",
        "387 conversations of ",
        "scores: mean ",
        "margins: mean ",
        "86 records could not be scored",
        "were the same as one before",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(place.committed(), 11);
    // The output that is there is not written again, and one that is not is, without the model.
    let before = fs::metadata(place.at("out.jsonl"))
        .unwrap()
        .modified()
        .unwrap();
    let told = place.finish(&expected);
    assert!(told.contains("was written before"), "{told}");
    assert_eq!(
        fs::metadata(place.at("out.jsonl"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
    fs::write(place.at("out.jsonl"), "something else\n").unwrap();
    assert!(!place.finish(&expected).contains("loaded in"));
    fs::remove_file(place.at("out.jsonl")).unwrap();
    place.finish(&expected);
    let output = place.run(&["--output", "-"]);
    assert!(output.stdout == expected.as_bytes(), "{}", stderr(&output));

    // A list is divided, too.
    let lines: Vec<String> = (0..60).map(|id| record(id * 10)).collect();
    fs::write(place.at("in.jsonl"), format!("[{}]\n", lines.join(",\n"))).unwrap();
    let expected = place.command(&[]).output().unwrap().stdout;
    fs::remove_dir_all(place.at("job")).unwrap();
    let output = place.run(&["--output", "-", "--shard-records", "7"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout == expected);
}

#[test]
fn kills_at_random_moments_change_nothing() {
    let place = Place::new(2000);
    let expected = place.expected();
    let mut rng = fastrand::Rng::with_seed(15);
    let mut running = [place.start(), place.start()];
    let mut kills = 0;
    let begun = Instant::now();
    while kills < 8 && place.committed() < 50 {
        assert!(begun.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(rng.u64(50..500)));
        let child = &mut running[rng.usize(..2)];
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
        *child = place.start();
    }
    for child in running {
        let output = child.wait_with_output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            !told.contains("set aside") && !told.contains("panicked"),
            "{told}"
        );
    }
    assert!(kills > 1, "{kills} kills try nothing");
    assert!(place.read("out.jsonl") == expected);
    assert_eq!(fs::read_dir(place.at("job/shards")).unwrap().count(), 50);
    assert_eq!(fs::read_dir(place.at("job/leases")).unwrap().count(), 0);
}

#[test]
fn a_signal_gives_back_what_is_not_complete() {
    let place = Place::new(4000);
    let expected = place.expected();
    let child = place.start();
    place.wait_for(1);
    let signalled = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(signalled.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(
        told.contains("interrupted: what is under way is finished and kept"),
        "{told}"
    );
    assert!(
        told.contains("the same command goes on from there"),
        "{told}"
    );
    assert!(!place.at("out.jsonl").exists());
    assert_eq!(fs::read_dir(place.at("job/leases")).unwrap().count(), 0);
    let shards = place.committed();
    assert!((1..100).contains(&shards), "{shards}");
    let told = place.finish(&expected);
    assert!(told.contains("of 4000 records"), "{told}");
}

#[test]
fn what_is_not_as_it_was_is_refused() {
    let place = Place::new(80);
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
    let place = Place::new(4000);
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

/// One with a file that may not become as large as a shard of it is.
#[test]
fn a_disk_that_is_full_loses_nothing() {
    let place = Place::new(600);
    let mut lines: Vec<String> = place.read("in.jsonl").lines().map(str::to_owned).collect();
    lines[300] = json!({"id": "x".repeat(60_000), "prompt": "Why?", "response": "So."}).to_string();
    fs::write(place.at("in.jsonl"), lines.join("\n") + "\n").unwrap();
    let expected = place.expected();
    let job = place.job(&[]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"])
        .arg(job.get_program())
        .args(job.get_args())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = limited.output().unwrap();
    expect_failure(
        "limited",
        &output,
        &[
            "000007.jsonl",
            "File too large",
            "of 600 records are kept in",
            "the same command goes on",
        ],
    );
    let kept = place.committed();
    assert!(
        kept > 0 && !place.at("job/shards/000007.jsonl").exists(),
        "{kept}"
    );
    assert_eq!(fs::read_dir(place.at("job/leases")).unwrap().count(), 0);
    let told = place.finish(&expected);
    assert!(told.contains("of 600 records"), "{told}");
}

#[test]
fn what_cannot_be_a_job_is_refused() {
    let place = Place::new(3);
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
        let mut place = Place::new(0);
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
fn what_another_process_computes_is_waited_for_a_while() {
    let place = Place::new(0);
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

/// A lease of shard 0 whose owner is on another machine, and gave a sign of life so long ago.
fn lease(job: &Path, generation: u32, silent: Duration) {
    let path = job.join(format!("leases/000000.{generation}"));
    let owner = json!({"host": "elsewhere", "machine": "x", "pid": 1, "started": 1, "token": "t"});
    fs::write(&path, owner.to_string()).unwrap();
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - silent);
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_times(times).unwrap();
}

#[test]
fn shards_of_machines_that_are_silent_are_taken_over() {
    let place = Place::new(100);
    let expected = place.expected();
    place.finish(&expected);
    for (silent, waits) in [(Duration::from_secs(3600), false), (Duration::ZERO, true)] {
        fs::remove_file(place.at("job/shards/000000.jsonl")).unwrap();
        fs::remove_file(place.at("out.jsonl")).unwrap();
        lease(&place.at("job"), 0, silent);
        let begun = Instant::now();
        let output = place.run(&["--lease-seconds", "3"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(place.read("out.jsonl") == expected);
        assert!(!waits || begun.elapsed() > Duration::from_secs(3));
    }
}

#[test]
fn a_record_that_ends_processes_is_set_aside() {
    let place = Place::new(100);
    let expected = place.expected();
    place.finish(&expected);
    let spoil = |deaths: usize| {
        let _ = fs::remove_file(place.at("job/shards/000000.jsonl"));
        fs::remove_file(place.at("out.jsonl")).unwrap();
        for generation in 0..3 {
            lease(&place.at("job"), generation, Duration::from_secs(3600));
        }
        for number in 0..deaths {
            let text = "try 12";
            let hash = format!("{:x?}", &Sha256::digest(text)[..8]);
            let hash: String = hash
                .trim_matches(['[', ']'])
                .split(", ")
                .map(|byte| format!("{byte:0>2}"))
                .collect();
            let journal = format!("job/shards/000000.dead-{number}.part");
            fs::write(place.at(&journal), format!("{hash} {text}\n{hash} try 1")).unwrap();
        }
    };
    spoil(2);
    let told = place.finish(&expected);
    assert!(
        told.contains("records 1 to 40 are scored one by one"),
        "{told}"
    );

    spoil(3);
    let output = place.run(&[]);
    let told = stderr(&output);
    assert!(told.contains("ends_the_process 1"), "{told}");
    let lines = place.read("out.jsonl");
    for (number, (line, as_it_was)) in lines.lines().zip(expected.lines()).enumerate() {
        match number {
            12 => assert!(
                line.contains("3 processes have ended while they scored it alone"),
                "{line}"
            ),
            _ => assert_eq!(line, as_it_was),
        }
    }
    assert_eq!(lines.lines().count(), 100);
}
