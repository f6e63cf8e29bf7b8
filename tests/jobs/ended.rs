//! What ends a run from outside: kills, signals and full disks.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    job_place::JobPlace,
    support::{expect_failure, stderr},
};

#[test]
fn kills_at_random_moments_change_nothing() {
    let place = JobPlace::new(2000);
    let expected = place.expected();
    let mut rng = fastrand::Rng::with_seed(15);
    let mut running = [place.start(), place.start()];
    let mut kills = 0;
    let begun = Instant::now();
    while kills < 8 && place.committed() < 50 {
        assert!(begun.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(rng.u64(50..500)));
        let child = &mut running[rng.usize(..2)];
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
        *child = place.start();
    }
    for child in running {
        let output = child.wait_with_output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            !told.contains("set aside") && !told.contains("panicked"),
            "{told}"
        );
    }
    assert!(kills > 1, "{kills} kills try nothing");
    assert!(place.read("out.jsonl") == expected);
    assert_eq!(fs::read_dir(place.at("job/shards")).unwrap().count(), 50);
    assert_eq!(fs::read_dir(place.at("job/leases")).unwrap().count(), 0);
}

#[test]
fn a_signal_gives_back_what_is_not_complete() {
    let place = JobPlace::new(4000);
    let expected = place.expected();
    let child = place.start();
    place.wait_for(1);
    let signalled = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(signalled.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(
        told.contains("interrupted: what is under way is finished and kept"),
        "{told}"
    );
    assert!(
        told.contains("the same command goes on from there"),
        "{told}"
    );
    assert!(!place.at("out.jsonl").exists());
    assert_eq!(fs::read_dir(place.at("job/leases")).unwrap().count(), 0);
    let shards = place.committed();
    assert!((1..100).contains(&shards), "{shards}");
    let told = place.finish(&expected);
    assert!(told.contains("of 4000 records"), "{told}");
}

/// One with a file that may not become as large as a shard of it is.
#[test]
fn a_disk_that_is_full_loses_nothing() {
    let place = JobPlace::new(600);
    let mut lines: Vec<String> = place.read("in.jsonl").lines().map(str::to_owned).collect();
    lines[300] = json!({"id": "x".repeat(60_000), "prompt": "Why?", "response": "So."}).to_string();
    fs::write(place.at("in.jsonl"), lines.join("\n") + "\n").unwrap();
    let expected = place.expected();
    let job = place.job(&[]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"])
        .arg(job.get_program())
        .args(job.get_args())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = limited.output().unwrap();
    expect_failure(
        "limited",
        &output,
        &[
            "000007.jsonl",
            "File too large",
            "of 600 records are kept in",
            "the same command goes on",
        ],
    );
    let kept = place.committed();
    assert!(
        kept > 0 && !place.at("job/shards/000007.jsonl").exists(),
        "{kept}"
    );
    assert_eq!(fs::read_dir(place.at("job/leases")).unwrap().count(), 0);
    let told = place.finish(&expected);
    assert!(told.contains("of 600 records"), "{told}");
}
