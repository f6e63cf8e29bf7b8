//! The rows that commands read of them.

use std::{fs, path::Path};

use serde_json::json;

use super::{Hub, folder};
use crate::{
    hub_server::{HubServer, Repository},
    support::{self, expect_failure, lines, stderr},
};

#[test]
fn scored_by_name() {
    let bundle = support::bundle(&["--shape", "tiny", "--seed", "9"], &["--stages", "2"]);
    let record = |id: usize| json!({"id": id, "prompt": "Why?", "response": format!("So {id}.")});
    let text =
        |ids: &[usize]| -> String { ids.iter().map(|id| format!("{}\n", record(*id))).collect() };
    let hub = Hub::new(&[
        ("README.md", "# Data"),
        ("train-b.jsonl", &text(&[2, 3])),
        ("train-a.jsonl", &text(&[0, 1])),
        ("test.jsonl", &text(&[9])),
    ]);
    let work = tempfile::tempdir().unwrap();
    let score = |args: &[&str], cache: &Path| {
        let mut command = support::command();
        command
            .args(["score", "--model", bundle.to_str().unwrap()])
            .args(args);
        command
            .env("HF_ENDPOINT", hub.server.endpoint())
            .env("HF_HUB_CACHE", cache);
        command.output().unwrap()
    };
    let by_name = score(&["--dataset", "o/d", "--split", "train"], hub.cache.path());
    assert!(by_name.status.success(), "{}", stderr(&by_name));
    let ids: Vec<_> = lines(&by_name)
        .iter()
        .map(|line| line["id"].clone())
        .collect();
    assert_eq!(ids, [0, 1, 2, 3]);
    assert!(stderr(&by_name).contains("o/d, config default, split train, commit "));
    let job = work.path().join("job");
    let args = [
        "--dataset",
        "o/d",
        "--split",
        "test",
        "--job",
        job.to_str().unwrap(),
    ];
    let in_a_job = score(&args, hub.cache.path());
    assert!(in_a_job.status.success(), "{}", stderr(&in_a_job));
    assert_eq!(lines(&in_a_job)[0]["id"], 9);
    for (args, parts) in [
        (
            &["--dataset", "o/d"][..],
            &["several splits", "train, test"][..],
        ),
        (
            &["--dataset", "o/d", "--split", "train[10%]"],
            &["train[10%]", "as in train[10:20]"],
        ),
        (&["--dataset", "o"], &["OWNER/NAME"]),
        (
            &["--dataset", "o/d@main", "--revision", "x"],
            &["give one of them"],
        ),
        (
            &["--dataset", "o/d", "--input", "x"],
            &["cannot be used with"],
        ),
        (&["--split", "train"], &["--dataset"]),
    ] {
        expect_failure(&args.join(" "), &score(args, hub.cache.path()), parts);
    }
}

/// Rows of splits are those of `datasets`, whatever the files are in, for `score`, its jobs, `rank` and `filter`.
#[test]
fn rows_of_splits() {
    let row = |id: usize| {
        format!("{{\"id\":{id},\"prompt\":\"Q{id}\",\"response\":\"A\",\"score\":{id}}}\n")
    };
    let rows = |from, to| (from..to).map(row).collect::<String>();
    let files = [rows(0, 7), rows(7, 12), rows(12, 25), rows(100, 103)];
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name).to_str().unwrap().to_owned();
    let names = ["train-0", "train-1", "train-2", "test-0"];
    let filter = |input: &str, output: &str| {
        let done = support::run(&["filter", "--input", input, "--output", output]);
        assert!(done.status.success(), "{}", stderr(&done));
    };
    let kinds = ["jsonl", "parquet", "arrow", "csv"];
    let hubs = kinds.map(|kind| {
        let folder = folder(&[]);
        for (name, text) in names.iter().zip(&files) {
            let source = at("source.jsonl");
            fs::write(&source, text).unwrap();
            let file = folder.path().join(format!("{name}.{kind}"));
            filter(&source, file.to_str().unwrap());
        }
        Hub {
            server: HubServer::start(vec![Repository::data_set("o/d", folder.path())]),
            cache: tempfile::tempdir().unwrap(),
            folders: vec![folder],
        }
    });
    let model = support::bundle(support::SMALL, &[]);
    let model = model.to_str().unwrap();
    let run = |hub: &Hub, args: &[&str]| {
        let mut command = support::command();
        command
            .env("HF_ENDPOINT", hub.server.endpoint())
            .env("HF_HUB_CACHE", hub.cache.path());
        command.args(args).output().unwrap()
    };
    let ids = |output: &std::process::Output| -> Vec<usize> {
        assert!(output.status.success(), "{}", stderr(output));
        let id = |line: &serde_json::Value| match &line["id"] {
            serde_json::Value::String(text) => text.parse().unwrap(),
            number => usize::try_from(number.as_u64().unwrap()).unwrap(),
        };
        lines(output).iter().map(id).collect()
    };
    // load_dataset(PATH, split=SPLIT)["id"] of datasets.
    for (split, expected) in [
        ("train[:3]", vec![(0, 3)]),
        ("train[6:8]", vec![(6, 8)]),
        ("train[8:13]", vec![(8, 13)]),
        ("train[20:]", vec![(20, 25)]),
        ("train[:10%]", vec![(0, 2)]),
        ("train[-4:]", vec![(21, 25)]),
        (
            "train[90%:]+test[:1]+train[:1]",
            vec![(22, 25), (100, 101), (0, 1)],
        ),
        ("test+train[12:13]", vec![(100, 103), (12, 13)]),
        ("train[30:40]", vec![]),
    ] {
        let expected: Vec<usize> = expected
            .into_iter()
            .flat_map(|(from, to)| from..to)
            .collect();
        for (hub, kind) in hubs.iter().zip(kinds) {
            let args = [
                "filter",
                "--dataset",
                "o/d",
                "--split",
                split,
                "--output-format",
                "jsonl",
            ];
            assert_eq!(ids(&run(hub, &args)), expected, "{split} of {kind}");
        }
    }
    for (hub, kind) in hubs.iter().zip(kinds).take(2) {
        let given = ["--dataset", "o/d", "--split", "train[5:-11]"];
        let scored = [
            &["score", "--model", model, "--output-format", "jsonl"],
            &given[..],
            &["--added-prefix", "m_"],
        ]
        .concat();
        let expected = run(hub, &scored);
        assert_eq!(ids(&expected), (5..14).collect::<Vec<_>>(), "{kind}");
        let job = at(&format!("job-{kind}"));
        let in_job = [&scored[..], &["--job", &job]].concat();
        let output = run(hub, &in_job);
        assert!(output.stdout == expected.stdout, "{}", stderr(&output));
        let kept = [
            "filter",
            "--job",
            &job,
            "--added-prefix",
            "m_",
            "--column",
            "m_score",
            "--output-format",
            "jsonl",
        ];
        let kept = run(hub, &kept);
        assert!(kept.stdout == expected.stdout, "{}", stderr(&kept));
        let other = [&in_job[..], &["--split", "train[5:10]"]].concat();
        let other: Vec<_> = other
            .into_iter()
            .filter(|arg| *arg != "train[5:-11]")
            .collect();
        let at = other.iter().position(|arg| *arg == "--split").unwrap();
        let other = [&other[..at], &other[at + 1..]].concat();
        expect_failure(
            "other rows",
            &run(hub, &other),
            &["rows of the split", "rows 5..14"],
        );
        let ranked = [
            &[
                "rank",
                "--model",
                model,
                "--group-by",
                "id",
                "--output-format",
                "jsonl",
            ],
            &given[..],
        ]
        .concat();
        let ranked = run(hub, &ranked);
        assert_eq!(ids(&ranked), (5..14).collect::<Vec<_>>(), "{kind}");
    }
}
