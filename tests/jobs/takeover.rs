//! Shards of processes that are dead, or silent, are taken over.

use std::{
    fs,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    job_place::{JobPlace, lease},
    support::stderr,
};

#[test]
fn shards_of_machines_that_are_silent_are_taken_over() {
    let place = JobPlace::new(100);
    let expected = place.expected();
    place.finish(&expected);
    for (silent, waits) in [(Duration::from_secs(3600), false), (Duration::ZERO, true)] {
        fs::remove_file(place.at("job/shards/000000.jsonl")).unwrap();
        fs::remove_file(place.at("out.jsonl")).unwrap();
        lease(&place.at("job"), 0, silent);
        let begun = Instant::now();
        let output = place.run(&["--lease-seconds", "3"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(place.read("out.jsonl") == expected);
        assert!(!waits || begun.elapsed() > Duration::from_secs(3));
    }
}

#[test]
fn a_record_that_ends_processes_is_set_aside() {
    let place = JobPlace::new(100);
    let expected = place.expected();
    place.finish(&expected);
    let spoil = |deaths: usize| {
        let _ = fs::remove_file(place.at("job/shards/000000.jsonl"));
        fs::remove_file(place.at("out.jsonl")).unwrap();
        for generation in 0..3 {
            lease(&place.at("job"), generation, Duration::from_secs(3600));
        }
        for number in 0..deaths {
            let text = "try 12";
            let hash = format!("{:x?}", &Sha256::digest(text)[..8]);
            let hash: String = hash
                .trim_matches(['[', ']'])
                .split(", ")
                .map(|byte| format!("{byte:0>2}"))
                .collect();
            let journal = format!("job/shards/000000.dead-{number}.part");
            fs::write(place.at(&journal), format!("{hash} {text}\n{hash} try 1")).unwrap();
        }
    };
    spoil(2);
    let told = place.finish(&expected);
    assert!(
        told.contains("records 1 to 40 are scored one by one"),
        "{told}"
    );

    spoil(3);
    let output = place.run(&[]);
    let told = stderr(&output);
    assert!(told.contains("ends_the_process 1"), "{told}");
    let lines = place.read("out.jsonl");
    for (number, (line, as_it_was)) in lines.lines().zip(expected.lines()).enumerate() {
        match number {
            12 => assert!(
                line.contains("3 processes have ended while they scored it alone"),
                "{line}"
            ),
            _ => assert_eq!(line, as_it_was),
        }
    }
    assert_eq!(lines.lines().count(), 100);
}
