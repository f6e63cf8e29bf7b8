//! Jobs whose processes are killed and lose power at any step: in the end every record has one result, in order, as if
//! nothing had happened.

#![allow(clippy::unwrap_used)]

mod awaited;
mod copies;
mod directory;
mod repeats;
mod sim;

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use fastrand::Rng;

use crate::{
    Claim, Finished, First, Identity, IndexWriter, Job, JobError, JobOptions, Line, OrderOptions,
    Owner, Shard, SpoolOptions, SpoolWriter, Stretch, error::Result, prompt_key, results,
};
use sim::{Sim, SimFs};

const SHARDS: u64 = 7;
const RECORDS: u64 = 4;
/// Of the last shard.
const REST: u64 = 2;
const ALL: u64 = (SHARDS - 1) * RECORDS + REST;

fn claim(job: &Job) -> Shard {
    match job.claim().unwrap() {
        Claim::Shard(shard) => shard,
        other => panic!("{other:?}"),
    }
}

fn lines(shard: &Shard) -> Vec<Line> {
    let first = shard.first;
    (first..first + shard.stretch.records).map(line).collect()
}

fn line(record: u64) -> Line {
    Line {
        bytes: format!("{{\"id\":{record}}}").into_bytes(),
        failure: (record % 5 == 3).then(|| "invalid_input".to_owned()),
    }
}

fn expected(poison: Option<u64>) -> String {
    let text = |record| match Some(record) == poison {
        true => "poison\n".to_owned(),
        false => format!("{}\n", String::from_utf8(line(record).bytes).unwrap()),
    };
    (0..ALL).map(text).collect()
}

fn identity() -> Identity {
    Identity {
        inputs: Vec::new(),
        model: BTreeMap::new(),
        options: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        shard_records: RECORDS,
    }
}

fn make_index(writer: &mut IndexWriter<'_>) -> Result<()> {
    for shard in 0..SHARDS {
        for (record, number) in numbers(shard, false).into_iter().enumerate() {
            for (part, content) in contents(number).into_iter().enumerate() {
                let at = First {
                    shard: shard as usize,
                    record: record as u64,
                    part,
                };
                writer.add_content(content, at)?;
            }
        }
        writer.push(&Stretch {
            records: if shard + 1 == SHARDS { REST } else { RECORDS },
            bytes: 10,
            sha256: format!("{shard:032}"),
            place: shard.to_string(),
        })?;
    }
    Ok(())
}

/// What an input is copied with: texts, in groups that are apart in it. So little memory sorts a few of them at a time.
fn make_copy(writer: &mut IndexWriter<'_>) -> Result<()> {
    let options = SpoolOptions {
        shard_records: RECORDS,
        shard_bytes: 1 << 20,
        sort_bytes: Some(400),
    };
    let mut copy = SpoolWriter::new(writer, options)?;
    for record in 0..ALL {
        copy.add(group(record), text(record).as_bytes(), &contents(record))?;
    }
    copy.finish()
}

fn text(record: u64) -> String {
    format!("record {record}{}", "!".repeat(record as usize))
}

fn group(record: u64) -> [u8; 16] {
    prompt_key(b"all", &[record as u8 % 3])
}

/// Some records have no part, some two, and many parts are the same.
fn contents(record: u64) -> Vec<[u8; 16]> {
    (0..record % 3)
        .map(|part| [(record * 7 + part * 5) as u8 % 11; 16])
        .collect()
}

/// Where each content of a shard was first, when that is an earlier shard.
fn first_places(shard: u64, is_copied: bool) -> BTreeMap<[u8; 16], First> {
    let mut all = BTreeMap::new();
    for earlier in 0..=shard {
        for (record, number) in numbers(earlier, is_copied).into_iter().enumerate() {
            for (part, content) in contents(number).into_iter().enumerate() {
                all.entry(content).or_insert(First {
                    shard: earlier as usize,
                    record: record as u64,
                    part,
                });
            }
        }
    }
    let of_shard: Vec<_> = numbers(shard, is_copied)
        .into_iter()
        .flat_map(contents)
        .collect();
    all.retain(|content, first| first.shard < shard as usize && of_shard.contains(content));
    all
}

/// Compares what a job says of a shard.
fn check_repeats(job: &Job, shard: usize, is_copied: bool) -> Result<()> {
    let repeats = job.repeats(shard)?;
    let expected = first_places(shard as u64, is_copied);
    assert_eq!(repeats.len(), expected.len());
    for record in 0..ALL {
        for content in contents(record) {
            assert_eq!(repeats.first(&content), expected.get(&content).copied());
        }
    }
    Ok(())
}

/// The numbers of the records of a shard.
fn numbers(shard: u64, is_copied: bool) -> Vec<u64> {
    let mut all: Vec<u64> = (0..ALL).collect();
    if is_copied {
        all.sort_by_key(|&record| (group(record), record));
    }
    let first = (shard * RECORDS) as usize;
    all[first..(first + RECORDS as usize).min(all.len())].to_vec()
}

fn owner(token: String) -> Owner {
    Owner {
        host: "sim".into(),
        machine: String::new(),
        pid: 1,
        started: 0,
        token,
    }
}

fn options() -> JobOptions {
    JobOptions {
        expiry: Duration::from_secs(2),
        deaths: 2,
        // Kills that have nothing to do with a record must not count against it here.
        tries: u32::MAX,
    }
}

/// What a process does, and with which records it dies.
#[derive(Clone)]
struct Program {
    seed: u64,
    options: JobOptions,
    poison: Option<u64>,
    /// Whether the records are copied, and grouped.
    is_copied: bool,
}

impl Program {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            options: options(),
            poison: None,
            is_copied: false,
        }
    }

    /// Works until all is done, and gives the output.
    fn run(&self, fs: &SimFs, token: String, rng: &mut Rng) -> Result<String> {
        let paused = |fs: &SimFs| fs.pause().map_err(JobError::io("wait for", "clock".into()));
        let job = Job::open(
            Arc::new(fs.clone()),
            owner(token),
            |_| identity(),
            self.options.clone(),
        )?;
        let make = match self.is_copied {
            true => make_copy,
            false => make_index,
        };
        job.index(make, || paused(fs))?;
        let mut under_way: Vec<Shard> = Vec::new();
        loop {
            match job.claim()? {
                Claim::Shard(shard) => under_way.push(shard),
                Claim::Wait if under_way.is_empty() => {
                    paused(fs)?;
                    continue;
                }
                Claim::Done if under_way.is_empty() => break,
                Claim::Wait | Claim::Done => {}
            }
            if under_way.len() > rng.usize(0..3) || under_way.last().is_some_and(|one| one.alone) {
                let shard = under_way.swap_remove(rng.usize(..under_way.len()));
                self.score(&job, &shard, fs, rng)?;
            }
        }
        while !job.begin_output()? {
            paused(fs)?;
        }
        job.tidy()?;
        job.end_output();
        let mut text = String::new();
        let options = OrderOptions {
            sort_bytes: 300,
            ..OrderOptions::default()
        };
        let finished = Finished::open(Arc::new(fs.clone()))?;
        let in_order = finished.in_order(options, || true)?.unwrap();
        for (number, one) in in_order.enumerate() {
            let one = one?;
            assert_eq!(one.number, number as u64);
            text += std::str::from_utf8(&one.line).unwrap();
            text.push('\n');
        }
        Ok(text)
    }

    fn score(&self, job: &Job, shard: &Shard, fs: &SimFs, rng: &mut Rng) -> Result<()> {
        let mut journal = match shard.alone {
            true => Some(job.journal(shard)?),
            false => None,
        };
        let mut lines = BTreeMap::new();
        check_repeats(job, shard.number, self.is_copied)?;
        let mut copied = job.records(shard.number)?;
        assert_eq!(copied.is_some(), self.is_copied);
        for number in 0..shard.stretch.records {
            let mut record = shard.first + number;
            if let Some(copied) = &mut copied {
                let (of_copy, its_text) = copied.next_record().unwrap();
                assert_eq!(its_text, text(of_copy).as_bytes());
                record = of_copy;
            }
            if let Some(known) = shard.known.get(&number) {
                assert_eq!(*known, self.line(record));
                lines.insert(number, known.clone());
                continue;
            }
            if shard.poison.contains_key(&number) {
                lines.insert(number, self.line(record));
                continue;
            }
            if let Some(journal) = &mut journal {
                journal.begin(number)?;
            }
            if self.poison == Some(record) {
                fs.die();
            }
            lines.insert(number, self.line(record));
            if let Some(journal) = &mut journal {
                journal.done(number, &self.line(record))?;
            }
            if rng.u8(..4) == 0 {
                job.beat();
            }
            if rng.u8(..40) == 0 {
                return job.give_back(shard, &lines);
            }
        }
        let lines: Vec<Line> = lines.into_values().collect();
        job.commit(shard, &lines)?;
        fs.sim.world().promised.insert(shard.number);
        Ok(())
    }

    fn line(&self, record: u64) -> Line {
        match self.poison == Some(record) {
            true => Line {
                bytes: b"poison".to_vec(),
                failure: Some("poison".into()),
            },
            false => line(record),
        }
    }

    /// Runs processes that are started again when they are killed, until they are done or power is lost.
    fn run_all(
        &self,
        sim: &Arc<Sim>,
        processes: usize,
        round: u64,
    ) -> std::result::Result<(), String> {
        let all: Vec<SimFs> = (0..processes).map(|number| sim.process(number)).collect();
        let spawn = |(number, fs): (usize, SimFs)| {
            let program = self.clone();
            thread::spawn(move || {
                let mut rng = Rng::with_seed(program.seed * 31 + round * 7 + number as u64);
                let mut start = 0;
                loop {
                    start += 1;
                    let token = format!("{round}-{number}-{start}");
                    let ended = program.run(&fs, token, &mut rng);
                    if fs.sim.world().lost {
                        return Ok(());
                    }
                    fs.end();
                    match ended {
                        Ok(text) if text == expected(program.poison) => return Ok(()),
                        Ok(text) => return Err(text),
                        Err(error) if error.to_string().ends_with("killed") => {
                            fs.sim.process(number);
                        }
                        Err(error) => return Err(error.to_string()),
                    }
                }
            })
        };
        let threads: Vec<_> = all.into_iter().enumerate().map(spawn).collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        // All of them end before the first error is told.
        let ended: Vec<_> = ended.collect();
        ended.into_iter().collect()
    }
}

/// Kills, losses of power, and then an end. Gives the number of kills.
fn ordeal(seed: u64, is_lazy: bool) -> std::result::Result<u64, String> {
    let mut rng = Rng::with_seed(seed);
    let sim = Sim::new(seed);
    let mut program = Program::new(seed);
    program.is_copied = seed % 2 == 1;
    let processes = rng.usize(1..4);
    for round in 0..rng.u64(1..5) {
        {
            let mut world = sim.world();
            world.is_lazy = is_lazy;
            world.steps_left = Some(rng.u64(1..900));
            world.killed_every = [0, 100, 300][rng.usize(..3)];
        }
        program.run_all(&sim, processes, round)?;
        sim.lose_power();
        let promised = sim.world().promised.clone();
        for shard in promised {
            let numbers = numbers(shard as u64, program.is_copied);
            let lines: Vec<Line> = numbers.into_iter().map(line).collect();
            if sim.read(&results::file(shard)) != Some(results::content(shard, &lines)) {
                return Err(format!("what was committed of shard {shard} is gone"));
            }
        }
    }
    sim.world().killed_every = 200;
    program.run_all(&sim, processes, 100)?;
    // Whoever comes last leaves nothing but results.
    sim.world().killed_every = 0;
    program.run_all(&sim, 1, 101)?;
    let names = sim.names("shards");
    let leases = sim.names("leases");
    let rest = sim.names("");
    let rest_expected = 3 + usize::from(program.is_copied);
    if names.len() as u64 != SHARDS || !leases.is_empty() || rest.len() != rest_expected {
        return Err(format!("left over: {names:?}, {leases:?}, {rest:?}"));
    }
    let kills = sim.world().kills;
    Ok(kills)
}

#[test]
fn every_record_has_one_result_whatever_happens() {
    let tried = |seed| ordeal(seed, false).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let kills: u64 = (0..150).map(tried).sum();
    assert!(kills > 100, "{kills} kills try nothing");
}

#[test]
fn a_sync_that_is_left_out_would_be_noticed() {
    assert!((0..30).any(|seed| ordeal(seed, true).is_err()));
}

#[test]
fn a_record_that_kills_is_set_aside_alone() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let mut program = Program::new(seed);
        program.poison = Some(seed % ALL);
        program.options.deaths = 3;
        program.options.tries = 3;
        let ended = program.run_all(&sim, 1 + seed as usize % 3, 0);
        assert_eq!(ended, Ok(()), "seed {seed}");
        // As many as are needed, and some that die with the shard of another.
        let kills = sim.world().kills;
        assert!((6..20).contains(&kills), "seed {seed}: {kills} kills");
    }
}
