//! What is in more than one shard.

use std::{fs, sync::Arc};

use super::{SHARDS, check_repeats, first_places, identity, make_copy, make_index, options};
use crate::{
    Claim, Directory, First, IndexWriter, Job, JobError, Line, Owner, Stretch, error::Result,
};

fn open(path: &std::path::Path) -> Job {
    let files = Arc::new(Directory::open(path).unwrap());
    Job::open(files, Owner::this_process(), |_| identity(), options()).unwrap()
}

fn never() -> Result<()> {
    panic!("nobody else makes it")
}

fn file(path: &std::path::Path) -> Option<std::path::PathBuf> {
    let names = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut all = names.filter(|path| path.extension().is_some_and(|end| end == "bin"));
    let found = all.next();
    assert!(all.next().is_none());
    found
}

#[test]
fn contents_say_where_they_were_first() {
    for is_copied in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let job = open(dir.path());
        let make = if is_copied { make_copy } else { make_index };
        job.index(make, never).unwrap();
        let mut all = 0;
        for shard in 0..SHARDS {
            check_repeats(&job, shard as usize, is_copied).unwrap();
            all += first_places(shard, is_copied).len();
        }
        assert!(all > 10, "{all}");
    }
}

/// Shards of one record, whose contents are these.
fn make(writer: &mut IndexWriter<'_>, contents: &[[u8; 16]]) -> Result<()> {
    for content in contents {
        let at = First {
            shard: writer.shards(),
            record: 0,
            part: 0,
        };
        writer.add_content(*content, at)?;
        writer.push(&Stretch {
            records: 1,
            bytes: 1,
            sha256: String::new(),
            place: String::new(),
        })?;
    }
    Ok(())
}

#[test]
fn any_number_of_contents_is_sorted_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let job = open(dir.path());
    // More than fit in the memory that sorting may take.
    let count = 1_000_000_u64;
    let content = |number: u64| {
        let mixed = (number % (count / 2)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        u128::from(mixed).to_le_bytes()
    };
    let all: Vec<_> = (0..count).map(content).collect();
    job.index(|writer| make(writer, &all), never).unwrap();
    for shard in (0..count).step_by(4999) {
        let first = job.repeats(shard as usize).unwrap().first(&content(shard));
        let expected = shard.checked_sub(count / 2);
        assert_eq!(first.map(|first| first.shard as u64), expected);
    }
}

#[test]
fn where_nothing_is_repeated_there_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let job = open(dir.path());
    job.index(|writer| make(writer, &[[1; 16], [2; 16]]), never)
        .unwrap();
    assert!(file(dir.path()).is_none());
    assert!(job.repeats(1).unwrap().is_empty());
}

#[test]
fn a_damaged_file_is_named_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let contents = [[1; 16], [2; 16], [1; 16]];
    let job = open(dir.path());
    job.index(|writer| make(writer, &contents), never).unwrap();
    let name = file(dir.path()).unwrap();
    let whole = fs::read(&name).unwrap();
    assert_eq!(job.repeats(2).unwrap().first(&[1; 16]).unwrap().shard, 0);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        fs::write(&name, damaged).unwrap();
        // The ends of the others are read too.
        let refused = (0..3).any(|shard| {
            matches!(job.repeats(shard), Err(JobError::Damaged { problem, .. }) if problem.contains("index.jsonl"))
        });
        assert!(refused, "byte {at}");
    }
    for length in 0..whole.len() {
        fs::write(&name, &whole[..length]).unwrap();
        assert!(
            matches!(job.repeats(2), Err(JobError::Damaged { .. })),
            "{length} bytes"
        );
    }
    drop(job);
    fs::remove_file(&name).unwrap();
    fs::remove_file(dir.path().join("index.jsonl")).unwrap();
    let job = open(dir.path());
    job.index(|writer| make(writer, &contents), never).unwrap();
    assert_eq!(fs::read(file(dir.path()).unwrap()).unwrap(), whole);
}

#[test]
fn results_of_a_shard_are_there_when_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let job = open(dir.path());
    job.index(|writer| make(writer, &[[1; 16], [1; 16]]), never)
        .unwrap();
    assert!(job.results_if_committed(0).unwrap().is_none());
    let Claim::Shard(shard) = job.claim().unwrap() else {
        panic!("there are two");
    };
    let line = Line {
        bytes: b"{}".to_vec(),
        failure: None,
    };
    job.commit(&shard, &[line]).unwrap();
    let results = job.results_if_committed(shard.number).unwrap().unwrap();
    assert_eq!((results.line(0), results.line(1)), (Some(&b"{}"[..]), None));
    assert_eq!(results.bytes(), 3);
}
