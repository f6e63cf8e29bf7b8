//! `score --job`: what several processes meet again and again is computed once in all of them, and none waits for ever.
//!
//! The program is its own command: with [`LOG`] in the environment it is `worldpm-ort` on an engine that notes what it computes,
//! so it has none of the usual harness.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio, abort},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::stderr;
use tempfile::TempDir;
use worldpm_ort_runtime::{
    batch::PackInputs,
    engine::{Capacity, Engine, Health, Submission},
    testing::{FakeEngine, FakeOptions, stand_in},
};

/// The file where an engine notes each sequence that it computes.
const LOG: &str = "JOB_REPEATS_LOG";
/// The file for which an engine waits before it computes anything.
const GATE: &str = "JOB_REPEATS_GATE";
/// Set where an engine ends the process over a sequence of more than [`LONG`] tokens.
const DEADLY: &str = "JOB_REPEATS_DEADLY";
const LONG: i64 = 300;
/// Set where an engine takes long for each pack, so that a process does not end before it is interrupted.
const SLOW: &str = "JOB_REPEATS_SLOW";
/// Records of a shard. A process takes some thousand records before it waits for its engine.
const SHARD: usize = 256;
/// What is printed when a process can do nothing but wait for another one.
const WAITS: &str = "waiting for it";

/// What all tests take together at most, on any machine.
const LIMIT: Duration = Duration::from_secs(1200);

const TESTS: &[(&str, fn())] = &[
    (
        "processes_compute_together_what_one_would",
        processes_compute_together_what_one_would,
    ),
    ("a_slow_process_is_waited_for", a_slow_process_is_waited_for),
    (
        "the_shards_of_one_that_is_killed_are_taken_over",
        the_shards_of_one_that_is_killed_are_taken_over,
    ),
    (
        "a_signal_ends_a_process_that_waits",
        a_signal_ends_a_process_that_waits,
    ),
    (
        "what_a_signal_interrupts_is_kept",
        what_a_signal_interrupts_is_kept,
    ),
    (
        "a_record_that_ends_processes_is_set_aside_while_others_wait",
        a_record_that_ends_processes_is_set_aside_while_others_wait,
    ),
];

fn main() -> ExitCode {
    if let Some(log) = env::var_os(LOG) {
        let pack = Duration::from_millis(if env::var_os(SLOW).is_some() { 100 } else { 2 });
        let engine = Noting {
            engine: FakeEngine::start(FakeOptions::default().with_stages(vec![pack])).unwrap(),
            log: log.into(),
            gate: env::var_os(GATE).map(PathBuf::from),
            is_deadly: env::var_os(DEADLY).is_some(),
        };
        assert!(stand_in(Arc::new(engine)));
        return worldpm_ort::cli::main();
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("a process waits for ever");
        abort();
    });
    let mut output = io::stdout();
    let mut passed = 0;
    for (name, test) in TESTS {
        if arguments.iter().any(|argument| argument == "--list") {
            writeln!(output, "{name}: test").unwrap();
        } else if filters.is_empty() || filters.iter().any(|filter| name.contains(*filter)) {
            test();
            writeln!(output, "test {name} ... ok").unwrap();
            passed += 1;
        }
    }
    // As the usual harness has it, for those who count.
    writeln!(output, "test result: ok. {passed} passed; 0 failed").unwrap();
    ExitCode::SUCCESS
}

/// An engine that notes what it computes.
struct Noting {
    engine: FakeEngine,
    log: PathBuf,
    gate: Option<PathBuf>,
    is_deadly: bool,
}

impl Engine for Noting {
    fn capacity(&self) -> Capacity {
        self.engine.capacity()
    }

    fn submit(&self, packs: Vec<Submission>) {
        while self.gate.as_ref().is_some_and(|gate| !gate.exists()) {
            thread::sleep(Duration::from_millis(5));
        }
        let mut noted = String::new();
        for Submission { inputs, .. } in &packs {
            if self.is_deadly && inputs.position_ids.iter().any(|&depth| depth > LONG) {
                abort();
            }
            for &token in &inputs.score_tokens {
                noted += &sequence(inputs, token as usize);
            }
        }
        let mut log = File::options()
            .append(true)
            .create(true)
            .open(&self.log)
            .unwrap();
        log.write_all(noted.as_bytes()).unwrap();
        self.engine.submit(packs);
    }

    fn health(&self) -> Health {
        self.engine.health()
    }
}

/// The sequence that ends with a packed token: those before it are the nearest ones of each smaller depth.
fn sequence(inputs: &PackInputs, token: usize) -> String {
    let mut ids = Vec::new();
    let mut depth = inputs.position_ids[token];
    for at in (0..=token).rev() {
        if inputs.position_ids[at] == depth {
            ids.push(inputs.input_ids[at]);
            depth -= 1;
        }
    }
    format!("{ids:?}\n")
}

/// A folder with `in.jsonl`, whose records have few contents.
struct Place {
    folder: TempDir,
    contents: usize,
    records: usize,
    expected: String,
}

impl Place {
    fn new(records: &[Value], contents: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        fs::write(folder.path().join("in.jsonl"), lines).unwrap();
        let mut place = Self {
            folder,
            contents,
            records: records.len(),
            expected: String::new(),
        };
        let output = place.command("plain.log").output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        place.expected = String::from_utf8(output.stdout).unwrap();
        assert_eq!(place.expected.lines().count(), place.records);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, log: &str) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env(LOG, self.at(log))
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .args(["score", "--keep-going", "--only-scores", "--model"])
            .arg(support::bundle(support::SMALL, &[]))
            .arg("--input")
            .arg(self.at("in.jsonl"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Starts a process that works on the job, and prints to a file of its name.
    fn start(&self, name: &str, flags: &[&str], environment: &[(&str, &Path)]) -> Process<'_> {
        let told = File::create(self.at(name)).unwrap();
        let mut command = self.command("job.log");
        let child = command
            .arg("--job")
            .arg(self.at("job"))
            .arg("--output")
            .arg(self.at("out.jsonl"))
            .args(["--shard-records", &SHARD.to_string()])
            .args(flags)
            .envs(environment.iter().copied())
            .stderr(told)
            .spawn()
            .unwrap();
        Process {
            child,
            place: self,
            name: name.to_owned(),
        }
    }

    /// Starts one whose engine computes nothing until `gate` is there, and waits until it has the first shard.
    fn start_slow(&self, gate: &str) -> Process<'_> {
        let slow = self.start("slow", &[], &[(GATE, &self.at(gate))]);
        wait_until(|| self.at("job/leases/000000.0").exists());
        slow
    }

    fn committed(&self) -> usize {
        let names = fs::read_dir(self.at("job/shards")).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".jsonl")).count()
    }

    /// Each content was computed, and none again.
    fn check_log(&self) {
        let log = fs::read_to_string(self.at("job.log")).unwrap();
        let different: BTreeSet<&str> = log.lines().collect();
        assert_eq!(
            (log.lines().count(), different.len()),
            (self.contents, self.contents)
        );
    }

    fn check_output(&self) {
        let output = fs::read_to_string(self.at("out.jsonl")).unwrap();
        assert!(output == self.expected);
    }
}

/// A process, which is killed where a test ends before it.
struct Process<'a> {
    child: Child,
    place: &'a Place,
    name: String,
}

impl Process<'_> {
    fn told(&self) -> String {
        fs::read_to_string(self.place.at(&self.name)).unwrap()
    }

    fn wait_for(&self, words: &str) {
        wait_until(|| self.told().contains(words));
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The exit status, `None` where a signal ended it.
    fn end(&mut self) -> Option<i32> {
        wait_until(|| self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }

    fn interrupt(&self) {
        let signalled = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        assert!(signalled.unwrap().success());
    }

    /// Gives the exit status of one that was interrupted, which is 130 or, where it had not begun, none.
    fn end_interrupted(&mut self) -> Option<i32> {
        let code = self.end();
        assert!(
            matches!(code, Some(130) | None),
            "{code:?}: {}",
            self.told()
        );
        code
    }

    fn succeed(mut self) {
        let code = self.end();
        assert_eq!(code, Some(0), "{}: {}", self.name, self.told());
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that hangs ends the test.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(180), "nothing comes");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Records whose contents are drawn at random from so many, some with two of them, each of which is there.
fn records(count: usize, contents: usize, seed: u64) -> Vec<Value> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let answer = |number: usize| format!("Since {number} is {}.", "what it is ".repeat(number % 7));
    let mut record = |id: usize| {
        let one = match id < contents {
            true => id,
            false => rng.usize(..contents),
        };
        match id % 5 {
            0 => json!({
                "id": id, "prompt": "Why?", "chosen": answer(one), "rejected": answer(rng.usize(..contents)),
            }),
            _ => json!({"id": id, "prompt": "Why?", "response": answer(one)}),
        }
    };
    let mut all: Vec<Value> = (0..count).map(&mut record).collect();
    rng.shuffle(&mut all);
    all
}

/// The same few in every shard.
fn same_again(shards: usize) -> Vec<Value> {
    let record =
        |id: usize| json!({"id": id, "prompt": "Why?", "response": format!("Since {}.", id % 10)});
    (0..shards * SHARD).map(record).collect()
}

fn processes_compute_together_what_one_would() {
    for (processes, seed) in [(2, 1), (3, 2), (3, 3)] {
        for group in ["never", "always"] {
            let place = Place::new(&records(10_000, 2500, seed), 2500);
            let flags = ["--group-prompts", group];
            let start = |number: usize| place.start(&format!("process-{number}"), &flags, &[]);
            let all: Vec<Process<'_>> = (0..processes).map(start).collect();
            all.into_iter().for_each(Process::succeed);
            place.check_output();
            place.check_log();
        }
    }
}

fn a_slow_process_is_waited_for() {
    let place = Place::new(&same_again(12), 10);
    let slow = place.start_slow("gate");
    let others = ["second", "third"].map(|name| place.start(name, &[], &[]));
    for other in &others {
        other.wait_for(WAITS);
    }
    assert!(!place.at("job.log").exists());
    fs::write(place.at("gate"), "").unwrap();
    slow.succeed();
    others.into_iter().for_each(Process::succeed);
    place.check_output();
    place.check_log();
}

fn the_shards_of_one_that_is_killed_are_taken_over() {
    let place = Place::new(&same_again(12), 10);
    let slow = place.start_slow("gate");
    let others = ["second", "third"].map(|name| place.start(name, &[], &[]));
    for other in &others {
        other.wait_for(WAITS);
    }
    slow.kill();
    others.into_iter().for_each(Process::succeed);
    place.check_output();
    place.check_log();
}

fn a_signal_ends_a_process_that_waits() {
    let place = Place::new(&same_again(12), 10);
    let slow = place.start_slow("gate");
    let mut other = place.start("second", &[], &[]);
    other.wait_for(WAITS);
    other.interrupt();
    assert_eq!(other.end_interrupted(), Some(130));
    // It leaves no lease behind.
    let slow_has = |name: &str| {
        let lease = fs::read_to_string(place.at("job/leases").join(name)).unwrap();
        lease.contains(&format!("\"pid\":{},", slow.child.id()))
    };
    let leases = fs::read_dir(place.at("job/leases")).unwrap();
    let leases = leases.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = leases.filter(|name| !name.starts_with("clock.")).collect();
    assert!(
        !left.is_empty() && left.iter().all(|name| slow_has(name)),
        "{left:?}"
    );
    slow.kill();
    place.start("last", &[], &[]).succeed();
    place.check_output();
    place.check_log();
}

/// By two processes that are interrupted, and others that come after them.
fn what_a_signal_interrupts_is_kept() {
    let place = Place::new(&records(10_000, 8000, 4), 8000);
    for number in 0..2 {
        let slow = [(SLOW, Path::new("1"))];
        let start = |name: &str| place.start(&format!("{name}-{number}"), &[], &slow);
        let mut both = [start("first"), start("second")];
        let before = place.committed();
        wait_until(|| place.committed() > before + 2);
        both.iter().for_each(Process::interrupt);
        let codes: Vec<_> = both.iter_mut().map(Process::end_interrupted).collect();
        assert!(codes.contains(&Some(130)), "{codes:?}");
    }
    place.start("last", &[], &[]).succeed();
    place.check_output();
    place.check_log();
}

fn a_record_that_ends_processes_is_set_aside_while_others_wait() {
    let mut all = same_again(12);
    all[5] = json!({"id": "deadly", "prompt": "Why? ".repeat(LONG as usize), "response": "So."});
    let place = Place::new(&all, 11);
    let start = |number: usize| {
        let name = format!("process-{number}");
        place.start(&name, &[], &[(DEADLY, Path::new("1"))])
    };
    let mut running = [start(0), start(1)];
    let mut deaths = 0;
    while running.iter_mut().any(|process| process.end().is_none()) {
        for process in &mut running {
            if process.end().is_none() {
                deaths += 1;
                assert!(deaths < 50, "{}", process.told());
                *process = start(deaths + 1);
            }
        }
    }
    for process in &mut running {
        assert_eq!(process.end(), Some(1), "{}", process.told());
    }
    // One of them has made the output.
    let is_counted = |process: &Process<'_>| process.told().contains("ends_the_process 1");
    assert!(running.iter().any(is_counted));
    assert!(deaths >= 6, "{deaths}");
    let output = fs::read_to_string(place.at("out.jsonl")).unwrap();
    for (number, (line, expected)) in output.lines().zip(place.expected.lines()).enumerate() {
        match number {
            5 => assert!(line.contains("processes have ended while they scored it alone")),
            _ => assert_eq!(line, expected),
        }
    }
    assert_eq!(output.lines().count(), place.records);
}
