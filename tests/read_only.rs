//! Places that cannot be written: what is told, that it is told before anything is scored, and that a job loses nothing.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::{expect_failure, stderr};

/// How a folder is made one that cannot be written.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// A mount of its own, in a space of mounts that ends with the command.
    Mount,
    /// Its mode, which binds everybody but root.
    Mode,
}

/// Mounts a folder on itself, so that it can be mounted read-only later.
const BIND: &str = r#"mount --bind "$1" "$1""#;
const REMOUNT: &str = r#"mount -o remount,bind,ro "$1""#;

impl Way {
    fn here() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("{BIND} && {REMOUNT} && ! touch \"$1/x\" 2>/dev/null");
        let mut tried = Command::new("unshare");
        tried.args(["-rm", "sh", "-c", &script, "sh"]);
        tried.arg(folder.path()).stderr(Stdio::null());
        if tried.status().is_ok_and(|status| status.success()) {
            return Some(Self::Mount);
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        match fs::write(folder.path().join("x"), "") {
            Err(_) => Some(Self::Mode),
            Ok(()) => {
                eprintln!("not run: root without spaces of mounts can write everywhere");
                None
            }
        }
    }

    fn problem(self) -> &'static str {
        match self {
            Self::Mount => "Read-only file system",
            Self::Mode => "Permission denied",
        }
    }

    /// Runs the command while a folder cannot be written.
    fn run(self, folder: &Path, args: &[String]) -> Output {
        match self {
            Self::Mount => {
                let script = format!("{BIND} && {REMOUNT} && shift && exec \"$@\"");
                in_space(&script, folder, args).output().unwrap()
            }
            Self::Mode => {
                set_modes(folder, 0o555);
                let output = command(args).output().unwrap();
                set_modes(folder, 0o755);
                output
            }
        }
    }

    /// Runs the command, and makes the folder one that cannot be written once `file` is in it.
    fn run_until(self, folder: &Path, file: &Path, args: &[String]) -> Output {
        match self {
            Self::Mount => {
                // While a file is open for writing, the mount is busy.
                let script = format!(
                    "{BIND} || exit 9\nfolder=$1 file=$2\nshift 2\n\"$@\" &\nwhile ! [ -e \"$file\" ]; do sleep 0.01; done\n\
                     set -- \"$folder\"\nuntil {REMOUNT} 2>/dev/null; do :; done\nwait $!"
                );
                let mut all = vec![file.to_str().unwrap().to_owned()];
                all.extend_from_slice(args);
                in_space(&script, folder, &all).output().unwrap()
            }
            Self::Mode => {
                let child = command(args).stderr(Stdio::piped()).spawn().unwrap();
                let begun = Instant::now();
                while !file.exists() && begun.elapsed() < Duration::from_secs(60) {
                    thread::sleep(Duration::from_millis(1));
                }
                set_modes(folder, 0o555);
                let output = child.wait_with_output().unwrap();
                set_modes(folder, 0o755);
                output
            }
        }
    }
}

fn command(args: &[String]) -> Command {
    let mut command = support::command();
    command.args(args);
    command
}

/// The command in a space of mounts, which a script makes for it.
fn in_space(script: &str, folder: &Path, args: &[String]) -> Command {
    let (first, rest) = match args.first().is_some_and(|first| first.starts_with('/')) {
        true => (&args[..1], &args[1..]),
        false => (&[][..], args),
    };
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, "sh"]).arg(folder);
    command
        .args(first)
        .arg(support::command().get_program())
        .args(rest);
    command
}

fn set_modes(folder: &Path, mode: u32) {
    let set = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(folder);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_modes(&path, mode);
        }
    }
}

/// All that is in a folder.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(content(&path)),
            false => drop(all.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    all
}

struct Place {
    folder: tempfile::TempDir,
    way: Way,
}

impl Place {
    fn new(records: usize) -> Option<Self> {
        let way = Way::here()?;
        let folder = tempfile::tempdir().unwrap();
        let line = |id: usize| {
            format!("{{\"id\":{id},\"prompt\":\"Question {id}?\",\"response\":\"Since {id}.\"}}\n")
        };
        let text: String = (0..records).map(line).collect();
        fs::write(folder.path().join("in.jsonl"), text).unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        Some(Self { folder, way })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args(&self, verb: &str, output: &str, flags: &[&str]) -> Vec<String> {
        let text = |name: &str| self.at(name).to_str().unwrap().to_owned();
        let model = support::bundle(support::SMALL, &[]);
        let mut all: Vec<String> = [verb, "--input"].map(str::to_owned).into();
        all.extend([text("in.jsonl"), "--output".to_owned(), text(output)]);
        if verb != "filter" {
            let model = model.to_str().unwrap().to_owned();
            all.extend([
                "--threads".to_owned(),
                "1".to_owned(),
                "--model".to_owned(),
                model,
            ]);
        }
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        all
    }

    fn job(&self, output: &str) -> Vec<String> {
        let job = self.at("job").to_str().unwrap().to_owned();
        let flags = [
            "--job",
            &job,
            "--shard-records",
            "40",
            "--group-prompts",
            "always",
        ];
        self.args("score", output, &flags)
    }
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_anything_is_scored() {
    let Some(place) = Place::new(60) else { return };
    fs::write(place.at("out/old.jsonl"), "old\n").unwrap();
    let problem = place.way.problem();
    for (args, output) in [
        (place.args("score", "out/new.jsonl", &[]), "new.jsonl"),
        (place.args("score", "out/old.jsonl", &[]), "old.jsonl"),
        (
            place.args("score", "out/old.jsonl", &["--append"]),
            "old.jsonl",
        ),
        (
            place.args("rank", "out/new.jsonl", &["--group-by", "id"]),
            "new.jsonl",
        ),
        (
            place.args("filter", "out/new.jsonl", &["--column", "id"]),
            "new.jsonl",
        ),
        (place.job("out/new.jsonl"), "new.jsonl"),
        (place.job("out/old.jsonl"), "old.jsonl"),
    ] {
        let result = place.way.run(&place.at("out"), &args);
        if place.way == Way::Mode && args.contains(&"--append".to_owned()) {
            // To add to a file, its folder need not be written.
            continue;
        }
        expect_failure(&args.join(" "), &result, &["cannot write", output, problem]);
        assert!(
            !stderr(&result).contains("loaded in"),
            "{}",
            stderr(&result)
        );
        assert!(!place.at("job").exists(), "{args:?}");
        assert_eq!(fs::read(place.at("out/old.jsonl")).unwrap(), b"old\n");
        assert_eq!(fs::read_dir(place.at("out")).unwrap().count(), 1);
    }
    // Of a job that is begun nothing is lost, nor of one that is complete.
    let done = command(&place.job("first.jsonl")).output().unwrap();
    assert!(done.status.success(), "{}", stderr(&done));
    let scored = fs::read(place.at("first.jsonl")).unwrap();
    fs::remove_file(place.at("job/shards/000001.jsonl")).unwrap();
    let before = content(&place.at("job"));
    let result = place.way.run(&place.at("out"), &place.job("out/new.jsonl"));
    expect_failure("begun", &result, &["cannot write", "new.jsonl", problem]);
    assert!(!stderr(&result).contains("loaded in"));
    assert!(content(&place.at("job")) == before);
    let done = command(&place.job("out/new.jsonl")).output().unwrap();
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(fs::read(place.at("out/new.jsonl")).unwrap() == scored);
}

#[test]
fn a_job_that_cannot_be_written_keeps_what_it_has() {
    let Some(place) = Place::new(100) else { return };
    let problem = place.way.problem();
    fs::create_dir(place.at("job")).unwrap();
    let result = place.way.run(&place.at("job"), &place.job("out/new.jsonl"));
    expect_failure("begin", &result, &["cannot write", "job.json", problem]);
    assert!(!stderr(&result).contains("loaded in"));
    assert_eq!(fs::read_dir(place.at("job")).unwrap().count(), 0);

    let done = command(&place.job("first.jsonl")).output().unwrap();
    assert!(done.status.success(), "{}", stderr(&done));
    let scored = fs::read(place.at("first.jsonl")).unwrap();
    // The rows of a complete one are chosen all the same.
    let job = place.at("job");
    let kept = place.at("kept.jsonl");
    let filter = [
        "filter",
        "--job",
        job.to_str().unwrap(),
        "--output",
        kept.to_str().unwrap(),
    ];
    let result = place.way.run(&job, &filter.map(str::to_owned));
    assert!(result.status.success(), "{}", stderr(&result));
    assert!(fs::read(&kept).unwrap() == scored);

    fs::remove_file(job.join("shards/000001.jsonl")).unwrap();
    let before = content(&job);
    let result = place.way.run(&job, &place.job("out/new.jsonl"));
    expect_failure("go on", &result, &["cannot write", "job", problem]);
    assert!(content(&job) == before);
    assert!(!place.at("out/new.jsonl").exists());
    let done = command(&place.job("out/new.jsonl")).output().unwrap();
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(fs::read(place.at("out/new.jsonl")).unwrap() == scored);
}

#[test]
fn a_job_that_becomes_read_only_is_gone_on_with() {
    let Some(place) = Place::new(6000) else {
        return;
    };
    let plain = command(&place.args("score", "expected.jsonl", &[]))
        .output()
        .unwrap();
    assert!(plain.status.success(), "{}", stderr(&plain));
    let job = place.at("job");
    fs::create_dir(&job).unwrap();
    let result = place.way.run_until(
        &job,
        &job.join("shards/000003.jsonl"),
        &place.job("out.jsonl"),
    );
    let parts = [
        "cannot write",
        place.way.problem(),
        "records are kept in",
        "goes on from there",
    ];
    expect_failure("midway", &result, &parts);
    assert!(!place.at("out.jsonl").exists());
    let shards = |folder: &Path| {
        let all = content(&folder.join("shards")).into_iter();
        let all = all.filter(|(path, _)| path.extension().is_some_and(|end| end == "jsonl"));
        all.collect::<BTreeMap<_, _>>()
    };
    let before = shards(&job);
    assert!(before.len() >= 4 && before.len() < 150, "{}", before.len());
    let kept: usize = stderr(&result)
        .split_once(" of 6000 records are kept")
        .and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok())
        .unwrap();
    assert_eq!(kept, before.len() * 40);
    let done = command(&place.job("out.jsonl")).output().unwrap();
    assert!(done.status.success(), "{}", stderr(&done));
    let after = shards(&job);
    assert!(
        before
            .iter()
            .all(|(path, text)| after.get(path) == Some(text))
    );
    let expected = fs::read(place.at("expected.jsonl")).unwrap();
    assert!(fs::read(place.at("out.jsonl")).unwrap() == expected);
}
