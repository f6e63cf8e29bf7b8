//! Jobs of whatever `score` reads: in the end the output is that of a run without a job.

mod faults;
mod outputs;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{
    job_place::model,
    support::{self, place::Place, stderr},
};

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
    fn command(&self, flags: &[&str]) -> Command {
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
        let status = Command::new("gzip")
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
