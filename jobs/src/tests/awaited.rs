//! Shards that are waited for.

use std::{fs, path::Path, sync::Arc};

use super::{claim, identity, line, lines, make_index};
use crate::{Awaited, Directory, Job, JobError, JobOptions, Owner};

/// A process on another machine, of which nothing is known but what its leases say.
fn open(path: &Path, machine: &str) -> Job {
    let files = Arc::new(Directory::open(path).unwrap());
    let mut owner = Owner::this_process();
    owner.machine = machine.to_owned();
    let job = Job::open(files, owner, |_| identity(), JobOptions::default()).unwrap();
    job.index::<JobError>(make_index, || panic!("nobody else makes it"))
        .unwrap();
    job
}

fn make_silent(path: &Path, lease: &str) {
    let long_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    let file = fs::File::options()
        .append(true)
        .open(path.join("leases").join(lease));
    file.unwrap().set_times(long_ago).unwrap();
}

#[test]
fn a_shard_that_is_waited_for_is_taken_when_nobody_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path(), "one"), open(dir.path(), "other"));
    let (first, second, mine) = (claim(&one), claim(&one), claim(&other));
    assert_eq!((first.number, second.number, mine.number), (0, 1, 2));
    let is_under_way = |job: &Job, shard| {
        matches!(
            (job.claim_awaited(shard).unwrap(), job.has_living_owner(shard).unwrap()),
            (Awaited::UnderWay, is_held) if is_held
        )
    };
    // Somebody's who lives, or its own.
    assert!(is_under_way(&other, 0) && is_under_way(&other, 2));
    one.commit(&first, &lines(&first)).unwrap();
    assert!(!other.has_living_owner(0).unwrap());
    assert!(matches!(other.claim_awaited(0).unwrap(), Awaited::UnderWay));
    one.give_back(&second, &[(2, line(6))].into()).unwrap();
    assert!(!other.has_living_owner(1).unwrap());
    let Awaited::Shard(taken) = other.claim_awaited(1).unwrap() else {
        panic!("it is free");
    };
    assert_eq!((taken.number, taken.known.len()), (1, 1));
    // One that nobody has begun is free as well.
    assert!(matches!(
        other.claim_awaited(4).unwrap(),
        Awaited::Shard(shard) if shard.number == 4
    ));
    make_silent(dir.path(), "000002.0");
    assert!(matches!(
        one.claim_awaited(2).unwrap(),
        Awaited::Shard(shard) if shard.number == 2
    ));
    assert!(matches!(other.claim_awaited(2).unwrap(), Awaited::UnderWay));
}

#[test]
fn one_that_owners_died_with_goes_to_a_process_without_others() {
    let dir = tempfile::tempdir().unwrap();
    let deaths = JobOptions::default().deaths;
    for generation in 0..deaths {
        let job = open(dir.path(), "dead");
        let shard = job.claim_awaited(0).unwrap();
        assert!(matches!(shard, Awaited::Shard(shard) if !shard.alone));
        // It says no more.
        let lease = format!("000000.{generation}");
        make_silent(dir.path(), &lease);
        std::mem::forget(job);
    }
    let (one, other) = (open(dir.path(), "one"), open(dir.path(), "other"));
    let mine = claim(&one);
    assert_eq!(mine.number, 1);
    assert!(matches!(one.claim_awaited(0).unwrap(), Awaited::Alone));
    one.give_back(&mine, &Default::default()).unwrap();
    let _others = claim(&other);
    assert!(matches!(other.claim_awaited(0).unwrap(), Awaited::Alone));
    let taken = one.claim_awaited(0).unwrap();
    assert!(matches!(taken, Awaited::Shard(shard) if shard.alone));
    assert!(matches!(other.claim_awaited(0).unwrap(), Awaited::UnderWay));
}

#[test]
fn what_was_given_back_since_the_last_look_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path(), "one"), open(dir.path(), "other"));
    // It has looked at the directory.
    assert_eq!(claim(&other).number, 0);
    let shard = claim(&one);
    assert_eq!(shard.number, 1);
    for record in [1, 2] {
        one.give_back(&shard, &[(record, line(4 + record))].into())
            .unwrap();
    }
    let taken = claim(&other);
    assert_eq!((taken.number, taken.known.len()), (1, 2));
    other.commit(&taken, &lines(&taken)).unwrap();
    let names = fs::read_dir(dir.path().join("shards")).unwrap();
    assert_eq!(names.count(), 1);
}
