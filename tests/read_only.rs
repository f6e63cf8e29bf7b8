//! Places that cannot be written: what is reported, that it is reported before anything is scored, and that a job loses
//! nothing.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use support::{expect_failure, place::Place, stderr};

/// How a folder is made one that cannot be written.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A mount of its own, in a space of mounts that ends with the command.
    Mount,
    /// Its mode, which does not bind root: with a user, it is theirs, and the command runs as them.
    Mode(Option<u32>),
}

/// A user without rights, by custom.
const NOBODY: u32 = 65534;

/// The ways that there are here. Without any, the tests say that they check nothing.
static WAYS: LazyLock<Vec<Way>> = LazyLock::new(|| {
    let is_root = fs::metadata(Place::new().at(".")).unwrap().uid() == 0;
    let mode = Way::Mode(is_root.then_some(NOBODY));
    let ways = [Way::Mount, mode].into_iter().filter(|way| way.works());
    let ways: Vec<_> = ways.collect();
    if ways.is_empty() {
        // What `eprintln` prints is not shown of a test that passes.
        let notice = "tests/read_only.rs checks NOTHING here: neither mounts in a space of their own nor modes keep the \
                      command from writing\n";
        let _ = io::stderr().write_all(notice.as_bytes());
    }
    ways
});

/// Mounts a folder on itself, so that it can be mounted read-only later.
const BIND: &str = r#"mount --bind "$1" "$1""#;
const REMOUNT: &str = r#"mount -o remount,bind,ro "$1""#;

impl Way {
    /// Whether it keeps a folder from being written, and lets the command run.
    fn works(self) -> bool {
        let guarded = Guarded::new(self, 1);
        let folder = guarded.at("out");
        match self {
            Self::Mount => {
                let script = format!("{BIND} && {REMOUNT} && ! touch \"$1/x\" 2>/dev/null");
                let mut tried = Command::new("unshare");
                tried.args(["-rm", "sh", "-c", &script, "sh"]).arg(folder);
                let status = tried.stderr(Stdio::null()).status();
                status.is_ok_and(|status| status.success())
            }
            Self::Mode(user) => {
                set_modes(&folder, 0o555);
                let mut touch = Command::new("touch");
                self.set_user(&mut touch);
                let touched = touch.arg(folder.join("x")).stderr(Stdio::null()).status();
                if !touched.is_ok_and(|status| !status.success()) {
                    return false;
                }
                // Another user may not be let to the command, the library or the bundle.
                let score = guarded.args("score", "scored.jsonl", &[]);
                let scored = user.map(|_| self.command(&score).output());
                scored.is_none_or(|scored| scored.is_ok_and(|output| output.status.success()))
            }
        }
    }

    fn problem(self) -> &'static str {
        match self {
            Self::Mount => "Read-only file system",
            Self::Mode(_) => "Permission denied",
        }
    }

    fn set_user(self, command: &mut Command) {
        if let Self::Mode(Some(user)) = self {
            command.uid(user).gid(user);
        }
    }

    /// The command, with nothing that it cannot write.
    fn command(self, args: &[String]) -> Command {
        let mut command = support::command();
        self.set_user(&mut command);
        command.args(args);
        command
    }

    /// Runs the command while a folder cannot be written.
    fn run(self, folder: &Path, args: &[String]) -> Output {
        match self {
            Self::Mount => {
                let script = format!("{BIND} && {REMOUNT} && shift && exec \"$@\"");
                in_space(&script, folder, None, args)
            }
            Self::Mode(_) => {
                set_modes(folder, 0o555);
                let output = self.command(args).output().unwrap();
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
                in_space(&script, folder, Some(file), args)
            }
            Self::Mode(_) => {
                let mut command = self.command(args);
                let child = command.stderr(Stdio::piped()).spawn().unwrap();
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

/// Runs the command in a space of mounts, which a script makes for it.
fn in_space(script: &str, folder: &Path, file: Option<&Path>, args: &[String]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, "sh"]).arg(folder);
    command.args(file).arg(support::command().get_program());
    command.args(args).output().unwrap()
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

/// A folder with records, and a way to keep the command from writing into folders of it.
struct Guarded {
    place: Place,
    way: Way,
}

impl Guarded {
    fn new(way: Way, records: usize) -> Self {
        let place = Place::new();
        let line = |id: usize| {
            format!("{{\"id\":{id},\"prompt\":\"Question {id}?\",\"response\":\"Since {id}.\"}}\n")
        };
        place.write("in.jsonl", (0..records).map(line).collect::<String>());
        let guarded = Self { place, way };
        guarded.hand_over(".");
        guarded.create_dir("out");
        guarded
    }

    /// Makes a file or folder the user's who runs the command.
    fn hand_over(&self, name: &str) {
        if let Way::Mode(Some(user)) = self.way {
            chown(self.at(name), Some(user), Some(user)).unwrap();
        }
    }

    fn create_dir(&self, name: &str) {
        fs::create_dir(self.at(name)).unwrap();
        self.hand_over(name);
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.at(name)
    }

    /// Runs the command, with nothing that it cannot write; it must succeed.
    fn run_well(&self, args: &[String]) {
        let done = self.way.command(args).output().unwrap();
        assert!(done.status.success(), "{:?}: {}", self.way, stderr(&done));
    }

    fn args(&self, verb: &str, output: &str, flags: &[&str]) -> Vec<String> {
        let model = support::bundle(support::SMALL, &[]);
        let mut all: Vec<String> = [verb, "--input"].map(str::to_owned).into();
        all.extend([
            self.place.arg("in.jsonl"),
            "--output".to_owned(),
            self.place.arg(output),
        ]);
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
        let job = self.place.arg("job");
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
fn an_output_that_cannot_be_written_is_reported_before_anything_is_scored() {
    for &way in &*WAYS {
        let place = Guarded::new(way, 60);
        fs::write(place.at("out/old.jsonl"), "old\n").unwrap();
        place.hand_over("out/old.jsonl");
        let problem = way.problem();
        let append = place.args("score", "out/old.jsonl", &["--append"]);
        let group = ["--group-by", "id"];
        let mut refused = vec![
            (place.args("score", "out/new.jsonl", &[]), "new.jsonl"),
            (place.args("score", "out/old.jsonl", &[]), "old.jsonl"),
            (place.args("rank", "out/new.jsonl", &group), "new.jsonl"),
            (
                place.args("filter", "out/new.jsonl", &["--column", "id"]),
                "new.jsonl",
            ),
            (place.job("out/new.jsonl"), "new.jsonl"),
            (place.job("out/old.jsonl"), "old.jsonl"),
        ];
        if let Way::Mount = way {
            // To add to a file, its folder's mode is no matter.
            refused.push((append, "old.jsonl"));
        }
        for (args, output) in refused {
            let result = way.run(&place.at("out"), &args);
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
        place.run_well(&place.job("first.jsonl"));
        let scored = fs::read(place.at("first.jsonl")).unwrap();
        fs::remove_file(place.at("job/shards/000001.jsonl")).unwrap();
        let before = content(&place.at("job"));
        let result = way.run(&place.at("out"), &place.job("out/new.jsonl"));
        expect_failure("begun", &result, &["cannot write", "new.jsonl", problem]);
        assert!(!stderr(&result).contains("loaded in"));
        assert!(content(&place.at("job")) == before);
        place.run_well(&place.job("out/new.jsonl"));
        assert!(fs::read(place.at("out/new.jsonl")).unwrap() == scored);
    }
}

#[test]
fn a_job_that_cannot_be_written_keeps_what_it_has() {
    for &way in &*WAYS {
        let place = Guarded::new(way, 100);
        let problem = way.problem();
        place.create_dir("job");
        let result = way.run(&place.at("job"), &place.job("out/new.jsonl"));
        expect_failure("begin", &result, &["cannot write", "job.json", problem]);
        assert!(!stderr(&result).contains("loaded in"));
        assert_eq!(fs::read_dir(place.at("job")).unwrap().count(), 0);

        place.run_well(&place.job("first.jsonl"));
        let scored = fs::read(place.at("first.jsonl")).unwrap();
        // The rows of a complete one are chosen all the same.
        let (job, kept) = (place.at("job"), place.at("kept.jsonl"));
        let filter = [
            "filter",
            "--job",
            job.to_str().unwrap(),
            "--output",
            kept.to_str().unwrap(),
        ];
        let result = way.run(&job, &filter.map(str::to_owned));
        assert!(result.status.success(), "{}", stderr(&result));
        assert!(fs::read(&kept).unwrap() == scored);

        fs::remove_file(job.join("shards/000001.jsonl")).unwrap();
        let before = content(&job);
        let result = way.run(&job, &place.job("out/new.jsonl"));
        expect_failure("go on", &result, &["cannot write", "job", problem]);
        assert!(content(&job) == before);
        assert!(!place.at("out/new.jsonl").exists());
        place.run_well(&place.job("out/new.jsonl"));
        assert!(fs::read(place.at("out/new.jsonl")).unwrap() == scored);
    }
}

#[test]
fn a_job_that_becomes_read_only_is_gone_on_with() {
    for &way in &*WAYS {
        let place = Guarded::new(way, 6000);
        place.run_well(&place.args("score", "expected.jsonl", &[]));
        let job = place.at("job");
        place.create_dir("job");
        let third = job.join("shards/000003.jsonl");
        let result = way.run_until(&job, &third, &place.job("out.jsonl"));
        let parts = [
            "cannot write",
            way.problem(),
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
        place.run_well(&place.job("out.jsonl"));
        let after = shards(&job);
        let is_kept = |(path, text): (&PathBuf, &Vec<u8>)| after.get(path) == Some(text);
        assert!(before.iter().all(is_kept));
        let expected = fs::read(place.at("expected.jsonl")).unwrap();
        assert!(fs::read(place.at("out.jsonl")).unwrap() == expected);
    }
}
