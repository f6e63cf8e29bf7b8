//! A folder in which a job is run, killed and gone on with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{self, stderr};

pub(crate) fn model() -> PathBuf {
    support::bundle(support::SMALL, &[])
}

/// A folder with `in.jsonl`, in which there are records of every kind, the same ones again, and some that cannot be scored.
pub(crate) struct JobPlace {
    folder: TempDir,
    pub(crate) records: usize,
}

impl JobPlace {
    pub(crate) fn new(records: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = (0..records).map(|id| record(id) + "\n").collect();
        fs::write(folder.path().join("in.jsonl"), lines).unwrap();
        Self { folder, records }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    pub(crate) fn command(&self, flags: &[&str]) -> Command {
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
    pub(crate) fn expected(&self) -> String {
        let output = self.command(&[]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), self.records);
        text
    }

    /// With shards of 40 records. Flags take the place of those that are given here.
    pub(crate) fn job(&self, flags: &[&str]) -> Command {
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

    pub(crate) fn run(&self, flags: &[&str]) -> Output {
        self.job(flags).output().unwrap()
    }

    /// Goes on to the end, and compares.
    pub(crate) fn finish(&self, expected: &str) -> String {
        let output = self.run(&[]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(self.read("out.jsonl") == expected, "{told}");
        told
    }

    pub(crate) fn start(&self) -> Child {
        self.job(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn committed(&self) -> usize {
        let names = fs::read_dir(self.at("job/shards")).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".jsonl")).count()
    }

    /// Waits until a run has committed so many shards.
    pub(crate) fn wait_for(&self, shards: usize) {
        let begun = Instant::now();
        while self.committed() < shards {
            assert!(begun.elapsed() < Duration::from_secs(60), "no shard comes");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

pub(crate) fn record(id: usize) -> String {
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

/// A lease of shard 0 whose owner is on another machine, and gave a sign of life so long ago.
pub(crate) fn lease(job: &Path, generation: u32, silent: Duration) {
    let path = job.join(format!("leases/000000.{generation}"));
    let owner = json!({"host": "elsewhere", "machine": "x", "pid": 1, "started": 1, "token": "t"});
    fs::write(&path, owner.to_string()).unwrap();
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - silent);
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_times(times).unwrap();
}
