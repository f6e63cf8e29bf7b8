//! Jobs that copy the records of their input.

use std::{fs, path::Path, sync::Arc};

use super::{
    ALL, SHARDS, identity, line, make_copy, numbers, options, owner,
    sim::{Sim, SimFs},
    text,
};
use crate::{
    Claim, Directory, Finished, IndexWriter, Job, JobError, OrderOptions, Owner, SpoolOptions,
    SpoolWriter, error::Result, record_hash,
};

fn open(path: &Path) -> Job {
    let files = Arc::new(Directory::open(path).unwrap());
    Job::open(files, Owner::this_process(), |_| identity(), options()).unwrap()
}

/// Commits all shards, or but one.
fn work(job: &Job, leave: Option<usize>) {
    while let Claim::Shard(shard) = job.claim().unwrap() {
        if Some(shard.number) == leave {
            continue;
        }
        let name = format!(
            "the {} records of shard {}",
            shard.stretch.records, shard.number
        );
        assert_eq!(job.name_of(shard.number), name);
        let mut records = job.records(shard.number).unwrap().unwrap();
        let mut lines = Vec::new();
        let mut found = Vec::new();
        while let Some((number, its_text)) = records.next_record() {
            assert_eq!(its_text, text(number).as_bytes());
            lines.push(line(number));
            found.push(number);
        }
        assert_eq!(found, numbers(shard.number as u64, true));
        job.commit(&shard, &lines).unwrap();
    }
}

fn never() -> Result<()> {
    panic!("nobody else makes it")
}

#[test]
fn results_come_back_in_the_order_of_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let files = || Arc::new(Directory::open(dir.path()).unwrap());
    let refused = |part: &str| {
        let error = Finished::open(files()).map(drop).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused("there is no job.json in it");
    let job = open(dir.path());
    refused("its input is not divided yet");
    job.index(make_copy, never).unwrap();
    work(&job, Some(3));
    refused("22 of its 26 records are scored");
    drop(job);
    let job = open(dir.path());
    job.index(make_copy, never).unwrap();
    work(&job, None);

    let finished = Finished::open(files()).unwrap();
    assert!(finished.index().is_of_copy() && finished.index().is_grouped());
    for sort_bytes in [0, 500, 1 << 20] {
        let options = OrderOptions {
            sort_bytes,
            with_hashes: true,
        };
        let mut results = finished.in_order(options, || true).unwrap().unwrap();
        for number in 0..ALL {
            let one = results.next_result().unwrap().unwrap();
            assert_eq!((one.number, one.line), (number, line(number).bytes));
            assert_eq!(one.record, Some(record_hash(text(number).as_bytes())));
        }
        assert!(results.next_result().unwrap().is_none());
        assert_eq!(results.failures()["invalid_input"], 5);
    }
    let options = OrderOptions::default();
    assert!(finished.in_order(options, || false).unwrap().is_none());
    // Nothing is left of sorting.
    let mut names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(
        names, 6,
        "job.json, index.jsonl, the copy, what is repeated, shards and leases"
    );

    // A copy that is damaged is named, and made again with the index.
    let copies = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let copy = copies
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "zst"));
    let copy = copy.unwrap();
    let mut bytes = fs::read(&copy).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&copy, bytes).unwrap();
    let last = SHARDS as usize - 1;
    let error = job.records(last).unwrap_err().to_string();
    assert!(
        error.contains("is damaged") && error.contains("index.jsonl"),
        "{error}"
    );
    drop(job);
    fs::remove_file(&copy).unwrap();
    fs::remove_file(dir.path().join("index.jsonl")).unwrap();
    let job = open(dir.path());
    job.index(make_copy, never).unwrap();
    job.records(last).unwrap().unwrap();
    names = Finished::open(files())
        .unwrap()
        .in_order(options, || true)
        .unwrap()
        .unwrap()
        .count();
    assert_eq!(names as u64, ALL);
}

#[test]
fn shards_are_cut_by_bytes_too() {
    let dir = tempfile::tempdir().unwrap();
    let job = open(dir.path());
    let make = |writer: &mut IndexWriter<'_>| {
        let options = SpoolOptions {
            shard_records: 100,
            shard_bytes: 50,
            sort_bytes: None,
        };
        let mut copy = SpoolWriter::new(writer, options)?;
        for _ in 0..10 {
            copy.add([0; 16], b"twenty bytes of text", &[])?;
        }
        copy.finish()
    };
    let index = job.index::<JobError>(make, never).unwrap();
    assert_eq!((index.shards(), index.records()), (4, 10));
    assert!(index.is_of_copy() && !index.is_grouped());
    let mut last = job.records(3).unwrap().unwrap();
    assert_eq!(last.next_record(), Some((9, &b"twenty bytes of text"[..])));
    assert_eq!(last.next_record(), None);
}

#[test]
fn a_full_disk_leaves_nothing_of_a_copy() {
    for room in (0..3000).step_by(97) {
        let sim = Sim::new(room);
        let fs: SimFs = sim.process(0);
        let begin = || {
            Job::open(
                Arc::new(fs.clone()),
                owner("a".into()),
                |_| identity(),
                options(),
            )
        };
        let job = begin().unwrap();
        sim.world().room = Some(room);
        let made = job.index(make_copy, never).map(|index| index.shards());
        match made {
            Ok(shards) => assert!(room > 1000 && shards as u64 == SHARDS, "{room}"),
            Err(error) => {
                let said = error.to_string();
                assert!(
                    said.contains("cannot write") && said.contains("no storage space"),
                    "{said}"
                );
                drop(job);
                assert_eq!(sim.names(""), ["job.json"], "{said}");
                sim.world().room = None;
                let job = begin().unwrap();
                job.index(make_copy, never).unwrap();
                job.records(0).unwrap().unwrap();
            }
        }
    }
}
