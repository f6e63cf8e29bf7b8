//! What a job writes, when nothing has ended it.

use std::fs;

use crate::{
    job_place::{JobPlace, record},
    support::stderr,
};

#[test]
fn the_output_is_that_of_a_run_without_a_job() {
    let place = JobPlace::new(430);
    let expected = place.expected();
    let told = place.finish(&expected);
    for part in [
        "430 records: 344 scored, 86 with errors (invalid_input 86)",
        "387 conversations of ",
        "scores: mean ",
        "margins: mean ",
        "86 records could not be scored",
        "were the same as one before",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(place.committed(), 11);
    // The output that is there is not written again, and one that is not is, without the model.
    let before = fs::metadata(place.at("out.jsonl"))
        .unwrap()
        .modified()
        .unwrap();
    let told = place.finish(&expected);
    assert!(told.contains("was written before"), "{told}");
    assert_eq!(
        fs::metadata(place.at("out.jsonl"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
    fs::write(place.at("out.jsonl"), "something else\n").unwrap();
    assert!(!place.finish(&expected).contains("loaded in"));
    fs::remove_file(place.at("out.jsonl")).unwrap();
    place.finish(&expected);
    let output = place.run(&["--output", "-"]);
    assert!(output.stdout == expected.as_bytes(), "{}", stderr(&output));

    // A list is divided, too.
    let lines: Vec<String> = (0..60).map(|id| record(id * 10)).collect();
    fs::write(place.at("in.jsonl"), format!("[{}]\n", lines.join(",\n"))).unwrap();
    let expected = place.command(&[]).output().unwrap().stdout;
    fs::remove_dir_all(place.at("job")).unwrap();
    let output = place.run(&["--output", "-", "--shard-records", "7"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout == expected);
}
