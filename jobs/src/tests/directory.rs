//! Jobs in a real directory.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{ALL, RECORDS, SHARDS, claim, identity, lines, make_index};
use crate::{
    Claim, Committed, Directory, Heartbeat, Identity, InputFile, Job, JobError, JobOptions, Owner,
    Shard, error::Result,
};

fn open_as(path: &Path, identity: Identity, expiry: Duration) -> Result<Job> {
    let files = Arc::new(Directory::open(path).unwrap());
    let options = JobOptions {
        expiry,
        ..JobOptions::default()
    };
    Job::open(files, Owner::this_process(), |_| identity.clone(), options)
}

fn open(path: &Path) -> Job {
    let job = open_as(path, identity(), Duration::from_secs(60)).unwrap();
    job.index::<JobError>(make_index, || panic!("nobody else makes it"))
        .unwrap();
    job
}

#[test]
fn a_job_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job");
    for number in 0..SHARDS as usize {
        let job = open(&path);
        assert_eq!(job.progress().unwrap().0, number);
        let shard = claim(&job);
        assert_eq!(
            (shard.number, shard.first),
            (number, number as u64 * RECORDS)
        );
        assert_eq!(shard.offset, number as u64 * 10);
        assert_eq!(
            job.commit(&shard, &lines(&shard)).unwrap(),
            Committed::First
        );
    }
    let job = open(&path);
    assert!(matches!(job.claim().unwrap(), Claim::Done));
    assert_eq!(job.progress().unwrap(), (SHARDS as usize, ALL));
    let results = job.results(0).unwrap();
    assert_eq!(results.lines().count() as u64, RECORDS);
    assert_eq!(results.failures["invalid_input"], 1);
    drop(job);
    assert_eq!(fs::read_dir(path.join("leases")).unwrap().count(), 0);
}

#[test]
fn what_differs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let input = |bytes: u64, hash: &str| InputFile {
        name: "in.jsonl".into(),
        bytes,
        modified: 0,
        sampled_sha256: hash.repeat(32),
    };
    let mut begun = identity();
    begun.inputs = vec![input(5, "ab")];
    let job = open_as(dir.path(), begun.clone(), Duration::ZERO).unwrap();
    job.index::<JobError>(make_index, || panic!("nobody else makes it"))
        .unwrap();
    drop(job);
    let refused = |change: &dyn Fn(&mut Identity)| {
        let mut other = begun.clone();
        change(&mut other);
        let error = open_as(dir.path(), other, Duration::ZERO)
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, JobError::Different { .. }));
        error.to_string()
    };
    let error = refused(&|other| {
        other.inputs[0] = input(6, "ab");
        other.options.insert("a".into(), "c".into());
        other.model.insert("weights".into(), "x".into());
        other.shard_records = 9;
    });
    for part in [
        "the input in.jsonl was 5 bytes, and now is 6 bytes",
        "a was b, and now is c",
        "model: weights was not given, and now is x",
        "the records of a shard was 4, and now is 9",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = refused(&|other| other.inputs[0] = input(5, "cd"));
    assert!(
        error.contains("the content of the input in.jsonl"),
        "{error}"
    );
    // Another time alone is no other input.
    let mut copied = begun.clone();
    copied.inputs[0].modified = 7;
    let job = open_as(dir.path(), copied.clone(), Duration::ZERO).unwrap();
    assert!(!copied.inputs[0].is_untouched(&job.identity().inputs[0]));
}

/// A job of other settings that is not divided is begun anew, unless someone is about to divide it; whoever has opened it
/// before does not divide it then.
#[test]
fn what_is_not_divided_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let mut wanted = identity();
        wanted.options.insert("a".into(), name.into());
        open_as(dir.path(), wanted, Duration::from_secs(60))
    };
    let is_other = |found: Result<()>| matches!(found, Err(JobError::Different { .. }));
    let first = open("one").unwrap();
    for left in ["records.dead.zst", "index.dead.tmp"] {
        fs::write(dir.path().join(left), "x").unwrap();
    }
    let second = open("two").unwrap();
    assert_eq!(second.identity().options["a"], "two");
    let wait = || panic!("nobody else makes it");
    let divided = first.index::<JobError>(make_index, wait).map(drop);
    assert!(is_other(divided));
    assert!(!dir.path().join("records.dead.zst").exists());
    assert!(!dir.path().join("index.dead.tmp").exists());

    let divided = second.index::<JobError>(
        |writer| {
            // Whoever divides it has something to lose.
            assert!(is_other(open("three").map(drop)));
            make_index(writer)
        },
        wait,
    );
    divided.unwrap();
    assert!(is_other(open("three").map(drop)));
    let divided = first.index::<JobError>(make_index, wait).map(drop);
    assert!(is_other(divided));
    // Results without an index are of this job too.
    let shard = claim(&second);
    second.commit(&shard, &lines(&shard)).unwrap();
    fs::remove_file(dir.path().join("index.jsonl")).unwrap();
    assert!(is_other(open("three").map(drop)));
    assert!(open("two").is_ok());
}

#[test]
fn what_is_no_job_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.txt"), "mine").unwrap();
    let refused = || {
        open_as(dir.path(), identity(), Duration::ZERO)
            .map(drop)
            .unwrap_err()
    };
    assert!(matches!(refused(), JobError::NotAJob { found, .. } if found == "mine.txt"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let written = r#"{"format":"worldpm-ort-job","version":2,"more":[]}"#;
    fs::write(dir.path().join("job.json"), written).unwrap();
    assert!(matches!(refused(), JobError::Version { found: 2, .. }));
    for spoiled in [
        "",
        "{}",
        r#"{"format":"x","version":1}"#,
        r#"{"format":"worldpm-ort-job","version":1}"#,
    ] {
        fs::write(dir.path().join("job.json"), spoiled).unwrap();
        assert!(matches!(refused(), JobError::Damaged { .. }), "{spoiled}");
    }
}

#[test]
fn the_shards_of_a_process_that_ended_are_taken_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let job = open(dir.path());
    let lease = |shard: usize, owner: &Owner| {
        let path = dir.path().join(format!("leases/{shard:06}.0"));
        fs::write(path, serde_json::to_vec(owner).unwrap()).unwrap();
    };
    let mut child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut living = Owner::this_process();
    living.pid = child.id();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let started = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(19)
        .unwrap();
    living.started = started.parse().unwrap();
    lease(0, &living);
    let mut elsewhere = living.clone();
    elsewhere.machine = "another".into();
    lease(1, &elsewhere);
    let mut reused = living.clone();
    reused.started += 1;
    lease(2, &reused);

    let mut taken = Vec::new();
    while let Claim::Shard(shard) = job.claim().unwrap() {
        taken.push(shard.number);
    }
    assert_eq!(taken, [3, 4, 5, 6, 2]);
    child.kill().unwrap();
    // It is a zombie until it is waited for.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(claim(&job).number, 0);
    child.wait().unwrap();
    assert!(matches!(job.claim().unwrap(), Claim::Wait));
    // The one of another machine, when it has been silent for long.
    let long_ago =
        fs::FileTimes::new().set_modified(std::time::SystemTime::now() - Duration::from_secs(61));
    let silent = fs::File::options()
        .append(true)
        .open(dir.path().join("leases/000001.0"));
    silent.unwrap().set_times(long_ago).unwrap();
    assert_eq!(claim(&job).number, 1);
}

#[test]
fn what_is_left_open_is_as_another_process_begins_it_at_the_same_moment() {
    let dir = tempfile::tempdir().unwrap();
    let with_time = |time: &str| {
        let mut identity = identity();
        identity.options.insert("time".to_owned(), time.to_owned());
        identity
    };
    let open = |wanted: &dyn Fn(Option<&Identity>) -> Identity| {
        let files = Arc::new(Directory::open(dir.path()).unwrap());
        Job::open(files, Owner::this_process(), wanted, JobOptions::default())
    };
    let first = std::cell::OnceCell::new();
    let second = open(&|begun| match begun {
        Some(begun) => with_time(&begun.options["time"]),
        None => {
            first.get_or_init(|| open(&|_| with_time("1")).unwrap());
            with_time("2")
        }
    });
    let second = second.unwrap();
    let first = first.into_inner().unwrap();
    assert_eq!(second.identity().options["time"], "1");
    assert_eq!(second.identity(), first.identity());
    for job in [&first, &second] {
        job.index::<JobError>(make_index, || panic!("nobody else makes it"))
            .unwrap();
    }
    assert_eq!((claim(&first).number, claim(&second).number), (0, 1));
}

#[test]
fn a_slow_owner_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let expiry = Duration::from_millis(200);
    let mut slow = Owner::this_process();
    // Nothing but its silence can be seen of it.
    slow.machine = String::new();
    let begin = |owner| {
        let files = Arc::new(Directory::open(dir.path()).unwrap());
        let options = JobOptions {
            expiry,
            ..JobOptions::default()
        };
        let job = Job::open(files, owner, |_| identity(), options).unwrap();
        job.index::<JobError>(make_index, || panic!("nobody else makes it"))
            .unwrap();
        Arc::new(job)
    };
    let slow = begin(slow);
    let shards: Vec<Shard> = (0..SHARDS).map(|_| claim(&slow)).collect();
    let quick = begin(Owner::this_process());
    {
        let _beating = Heartbeat::start(Arc::clone(&slow)).unwrap();
        thread::sleep(expiry * 3);
        assert!(matches!(quick.claim().unwrap(), Claim::Wait));
    }
    thread::sleep(expiry * 2);
    for number in 0..3 {
        let shard = claim(&quick);
        assert_eq!((shard.number, shard.alone), (number, false));
    }
    // Both commit, in either order.
    assert_eq!(
        quick.commit(&shards[0], &lines(&shards[0])).unwrap(),
        Committed::First
    );
    assert_eq!(
        slow.commit(&shards[0], &lines(&shards[0])).unwrap(),
        Committed::Same
    );
    assert_eq!(
        slow.commit(&shards[1], &lines(&shards[1])).unwrap(),
        Committed::First
    );
    let mut others = lines(&shards[1]);
    others[0].bytes = b"{}".to_vec();
    assert_eq!(
        quick.commit(&shards[1], &others).unwrap(),
        Committed::Differs
    );
    let kept = quick.results(1).unwrap();
    assert!(
        kept.lines()
            .eq(lines(&shards[1]).iter().map(|line| &line.bytes[..]))
    );
}

#[test]
fn a_shard_that_is_given_back_keeps_its_results() {
    let dir = tempfile::tempdir().unwrap();
    let job = open(dir.path());
    let shard = claim(&job);
    let half = lines(&shard).into_iter().enumerate().take(2);
    let half = half.map(|(number, line)| (number as u64, line)).collect();
    job.give_back(&shard, &half).unwrap();
    drop(job);
    let again = claim(&open(dir.path()));
    assert_eq!((again.number, again.known), (shard.number, half));
    assert!(!again.alone && again.poison.is_empty());
}

#[test]
fn damage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let job = open(dir.path());
    let shard = claim(&job);
    job.commit(&shard, &lines(&shard)).unwrap();
    let path = dir.path().join("shards/000000.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    for spoiled in [
        whole.replacen("\"id\":0", "\"id\":7", 1),
        whole[..whole.len() - 1].to_owned(),
        whole.lines().next().unwrap().to_owned() + "\n",
        String::new(),
    ] {
        fs::write(&path, spoiled).unwrap();
        let error = job.results(0).unwrap_err().to_string();
        assert!(
            error.contains("000000.jsonl is damaged") && error.contains("remove it"),
            "{error}"
        );
    }
    let index = dir.path().join("index.jsonl");
    let whole = fs::read_to_string(&index).unwrap();
    drop(job);
    for spoiled in [
        &whole[..whole.len() / 2],
        "",
        &whole.replacen("10", "11", 1),
    ] {
        fs::write(&index, spoiled).unwrap();
        let job = open_as(dir.path(), identity(), Duration::ZERO).unwrap();
        let error = job.index::<JobError>(make_index, || Ok(())).unwrap_err();
        assert!(matches!(error, JobError::Damaged { .. }), "{error}");
    }
}

#[test]
fn one_of_many_takers_has_a_shard() {
    let dir = tempfile::tempdir().unwrap();
    let take = |_| {
        let path = dir.path().to_owned();
        thread::spawn(move || {
            let job = open_as(&path, identity(), Duration::from_secs(60)).unwrap();
            job.index::<JobError>(make_index, || {
                thread::sleep(Duration::from_millis(1));
                Ok(())
            })
            .unwrap();
            let mut taken = Vec::new();
            while let Claim::Shard(shard) = job.claim().unwrap() {
                job.commit(&shard, &lines(&shard)).unwrap();
                taken.push(shard.number);
            }
            taken
        })
    };
    let takers: Vec<_> = (0..8).map(take).collect();
    let mut all: Vec<usize> = takers
        .into_iter()
        .flat_map(|taker| taker.join().unwrap())
        .collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..SHARDS as usize), "{all:?}");
}

#[test]
fn an_input_is_compared_whole() {
    let dir = tempfile::tempdir().unwrap();
    let job = open_as(dir.path(), identity(), Duration::from_secs(60)).unwrap();
    let text = b"one\ntwo\nthree\n";
    let make = |writer: &mut crate::IndexWriter<'_>| -> Result<()> {
        let mut input = crate::Digested::new(&text[..]);
        for count in [4, 4, 6] {
            std::io::copy(
                &mut std::io::Read::take(&mut input, count),
                &mut std::io::sink(),
            )
            .unwrap();
            let (bytes, sha256) = input.cut();
            let stretch = crate::Stretch {
                records: 1,
                bytes,
                sha256,
                place: String::new(),
            };
            writer.push(&stretch)?;
        }
        Ok(())
    };
    let index = job.index::<JobError>(make, || Ok(())).unwrap();
    index.verify("in", &text[..]).unwrap();
    for (changed, part) in [
        (&b"one\ntwo\nthref\n"[..], "its records 3 to 3 are others"),
        (b"one\ntwp\nthree\n", "its records 2 to 2 are others"),
        (b"one\ntwo\n", "its records 3 to 3"),
        (b"one\ntwo\nthree\n\n", "longer than 14 bytes"),
    ] {
        let error = index.verify("in", changed).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
