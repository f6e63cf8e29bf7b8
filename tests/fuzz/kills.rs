//! Kills at random moments: what was there is there, or its successor is, and the next run finishes the work.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::Value;

use crate::{
    child,
    hub_server::{HubServer, Repository},
    seed::{Seed, WEIGHTS},
};

type Tried = Result<(), String>;
type Vars<'a> = &'a [(&'a str, String)];

const RECORDS: usize = 400;
const RESULTS: &str = "results.jsonl";

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Runs a command to its end, and says how long that took.
fn finish(place: &Path, line: &str, vars: Vars<'_>) -> Result<Duration, String> {
    let started = Instant::now();
    let ended = child::run(place, &words(line), vars, b"")?;
    match ended.code {
        0 => Ok(started.elapsed()),
        code => Err(format!("{line}: status {code}: {}", ended.stderr)),
    }
}

/// Starts a command and kills it at a moment within `longest`.
fn kill(rng: &mut Rng, place: &Path, line: &str, vars: Vars<'_>, longest: Duration) {
    let mut child = child::start(place, &words(line), vars, b"");
    thread::sleep(longest.mul_f64(rng.f64() * 1.1));
    // One that has ended needs no kill.
    let _ = child.kill();
    child.wait().unwrap();
}

fn names(place: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(place).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn link(from: &Path, to: &Path) {
    std::os::unix::fs::symlink(from, to).unwrap();
}

/// Without a kill, each of the commands works.
pub(crate) fn whole(_: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    link(&seed.checkpoint(), &place.join("ck"));
    finish(place, EXPORT, &[])?;
    write_records(place);
    finish(place, SCORE, &[])?;
    check_results(place)
}

const EXPORT: &str = "export --checkpoint ck --out b --probes off --weights copy --stages 2";

pub(crate) fn export(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    link(&seed.checkpoint(), &place.join("ck"));
    fs::create_dir(place.join(".b.mine")).unwrap();
    fs::write(place.join(".b.mine/file"), "mine").unwrap();
    fs::write(place.join(".b.mine.lock"), "").unwrap();
    let replaced = rng.bool();
    let longest = finish(place, EXPORT, &[])?;
    if !replaced {
        fs::remove_dir_all(place.join("b")).unwrap();
    }
    kill(rng, place, EXPORT, &[], longest);
    match place.join("b").exists() {
        true => drop(finish(place, "inspect b", &[])?),
        false if replaced => return Err("the bundle that was there is gone".into()),
        false => {}
    }
    finish(place, EXPORT, &[])?;
    finish(place, "inspect b", &[])?;
    if fs::read(place.join(".b.mine/file")).ok().as_deref() != Some(b"mine") {
        return Err("a folder that is not ours is gone".into());
    }
    let ours = [
        ".b.mine",
        ".b.mine.lock",
        "b",
        "ck",
        "input",
        "run.sh",
        "stderr",
        "stdout",
    ];
    let left: Vec<String> = names(place)
        .into_iter()
        .filter(|name| !ours.contains(&name.as_str()))
        .collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("left behind: {left:?}")),
    }
}

const SCORE: &str = "score --model b --input records.jsonl --output results.jsonl";

fn write_records(place: &Path) {
    let record = |n: usize| {
        format!(
            "{{\"id\": {n}, \"prompt\": \"Why?\", \"response\": \"{}\"}}\n",
            "so ".repeat(n % 90)
        )
    };
    let records: String = (0..RECORDS).map(record).collect();
    fs::write(place.join("records.jsonl"), records).unwrap();
}

/// Every line of the results is whole, and there is one for each record.
fn check_results(place: &Path) -> Tried {
    let text =
        fs::read_to_string(place.join(RESULTS)).map_err(|error| format!("no results: {error}"))?;
    let lines = text
        .lines()
        .map(serde_json::from_str::<Value>)
        .collect::<Result<Vec<_>, _>>();
    match lines {
        Ok(lines) if lines.len() == RECORDS && text.ends_with('\n') => Ok(()),
        Ok(lines) => Err(format!("{} results of {RECORDS}", lines.len())),
        Err(error) => Err(format!("a result that is cut: {error}")),
    }
}

pub(crate) fn score(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    link(&seed.bundle(), &place.join("b"));
    write_records(place);
    let longest = finish(place, SCORE, &[])?;
    check_results(place)?;
    let before = "{\"id\": \"before\"}\n";
    fs::write(place.join(RESULTS), before).unwrap();
    kill(rng, place, SCORE, &[], longest);
    if fs::read_to_string(place.join(RESULTS)).ok().as_deref() != Some(before) {
        check_results(place)
            .map_err(|problem| format!("the results that were there are gone: {problem}"))?;
    }
    // What another file has of the killed run is whole lines, but for a last one.
    let given = [
        "b",
        "input",
        "records.jsonl",
        RESULTS,
        "run.sh",
        "stderr",
        "stdout",
    ];
    for name in names(place)
        .into_iter()
        .filter(|name| !given.contains(&name.as_str()))
    {
        let text = fs::read_to_string(place.join(&name)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            serde_json::from_str::<Value>(line).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    finish(place, SCORE, &[])?;
    check_results(place)
}

pub(crate) fn download(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    let server = HubServer::start(vec![Repository::of("Owner/Tiny", &seed.checkpoint())]);
    let vars = |cache: &str| {
        let home = place.join(cache).to_str().unwrap().to_owned();
        [("HF_ENDPOINT", server.endpoint()), ("HF_HOME", home)]
    };
    let line = "export --checkpoint Owner/Tiny --out b --probes off";
    let longest = finish(place, line, &vars("first"))?;
    fs::remove_dir_all(place.join("b")).unwrap();
    for _ in 0..rng.usize(1..4) {
        kill(rng, place, line, &vars("hf"), longest);
    }
    if place.join("b").exists() {
        finish(place, "inspect b", &[])?;
    }
    finish(place, line, &vars("hf"))?;
    finish(place, "inspect b", &[])?;
    let snapshots = place.join("hf/hub/models--Owner--Tiny/snapshots");
    let snapshot = fs::read_dir(&snapshots)
        .ok()
        .and_then(|mut all| all.next()?.ok())
        .ok_or_else(|| format!("{} is empty", snapshots.display()))?;
    let name = snapshot.path().join(WEIGHTS);
    match fs::read(name).ok() == fs::read(seed.checkpoint().join(WEIGHTS)).ok() {
        true => Ok(()),
        false => Err("the weights in the cache are not those of the hub".into()),
    }
}
