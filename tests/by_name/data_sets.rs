//! Data sets of the hub by name: which of their files are read, from where, and what is said where that is not clear.

use std::{fs, path::Path, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use worldpm_ort::hub::{DataSetFiles, DataSetName, HubError, HubOptions, Token, download_data_set};

use crate::{
    hub_server::{Fault, HubServer, Repository},
    support::{self, expect_failure, lines, stderr},
};

const CONVERSION: &str = "refs/convert/parquet";

/// A server of one data set, and an empty cache.
struct Hub {
    folders: Vec<TempDir>,
    cache: TempDir,
    server: HubServer,
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

impl Hub {
    fn new(files: &[(&str, &str)]) -> Self {
        Self::converted(files, &[], |repository| repository)
    }

    fn converted(
        files: &[(&str, &str)],
        converted: &[(&str, &str)],
        change: fn(Repository) -> Repository,
    ) -> Self {
        let folders = vec![folder(files), folder(converted)];
        let data_set = |folder: &TempDir| change(Repository::data_set("o/d", folder.path()));
        let mut repositories = vec![data_set(&folders[0])];
        if !converted.is_empty() {
            repositories.push(data_set(&folders[1]).at(CONVERSION));
        }
        Self {
            server: HubServer::start(repositories),
            cache: tempfile::tempdir().unwrap(),
            folders,
        }
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: self.server.endpoint(),
            backoff: Duration::from_millis(1),
            ..HubOptions::with_cache(self.cache.path())
        }
    }

    fn get(&self, name: &str, split: Option<&str>) -> Result<DataSetFiles, HubError> {
        self.get_with(name, split, &self.options())
    }

    fn get_with(
        &self,
        name: &str,
        split: Option<&str>,
        options: &HubOptions,
    ) -> Result<DataSetFiles, HubError> {
        download_data_set(&name.parse::<DataSetName>()?, split, options, &|_| {})
    }

    /// The texts of the files of a split.
    fn texts(&self, name: &str, split: Option<&str>) -> String {
        texts(&self.get(name, split).unwrap())
    }

    fn error(&self, name: &str, split: Option<&str>) -> String {
        self.get(name, split).unwrap_err().to_string()
    }
}

fn texts(found: &DataSetFiles) -> String {
    let texts = found
        .files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap());
    texts.collect::<Vec<_>>().join(" ")
}

const CARD: &str = "---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: a/train-*\n  - split: test\n    path: a/test.csv\n- config_name: b\n  data_files: b.jsonl\n---\n# Data\n";

fn with_card() -> Hub {
    Hub::new(&[
        ("README.md", CARD),
        ("a/train-2.csv", "a2"),
        ("a/train-1.csv", "a1"),
        ("a/test.csv", "at"),
        ("b.jsonl", "b"),
        ("other.csv", "no"),
    ])
}

#[test]
fn by_the_card() {
    let hub = with_card();
    assert_eq!(hub.texts("o/d:a", Some("train")), "a1 a2");
    assert_eq!(hub.texts("o/d:a", Some("test+train")), "at a1 a2");
    let found = hub.get("o/d:b", None).unwrap();
    assert_eq!(
        (texts(&found).as_str(), found.splits),
        ("b", vec!["train".to_owned()])
    );
    for (name, split, part) in [
        (
            "o/d",
            None,
            "several configs, and none is the default: name one, as in o/d:a. They are a, b",
        ),
        ("o/d:c", None, "no config `c`; it has a, b"),
        ("o/d:a", None, "--split train. They are train, test"),
        ("o/d:a", Some("dev"), "no split `dev`; it has train, test"),
        ("o/none", None, "no repository o/none"),
        ("o/d@v1:a", None, "no revision `v1` of o/d"),
    ] {
        let error = hub.error(name, split);
        assert!(error.contains(part), "{error}");
    }
    // Nothing that was not asked for is there.
    let snapshot = hub.get("o/d:b", None).unwrap().files[0]
        .parent()
        .unwrap()
        .to_owned();
    assert!(!snapshot.join("other.csv").exists());
    assert!(hub.cache.path().join("datasets--o--d/refs/main").exists());
}

#[test]
fn the_default_config() {
    let card = |text: &str| format!("---\nconfigs:\n{text}---\n");
    let config =
        |name: &str, more: &str| format!("- config_name: {name}\n  data_files: {name}.csv\n{more}");
    let get = |text: String| {
        let hub = Hub::new(&[
            ("README.md", &text),
            ("x.csv", "x"),
            ("y.csv", "y"),
            ("default.csv", "d"),
        ]);
        hub.get("o/d", None).map(|found| texts(&found))
    };
    assert_eq!(get(card(&config("x", ""))).unwrap(), "x");
    assert_eq!(
        get(card(&(config("x", "") + &config("default", "")))).unwrap(),
        "d"
    );
    assert_eq!(
        get(card(&(config("x", "") + &config("y", "  default: true\n")))).unwrap(),
        "y"
    );
    let both = config("x", "  default: true\n") + &config("y", "  default: true\n");
    assert!(
        get(card(&both))
            .unwrap_err()
            .to_string()
            .contains("two default configs")
    );
    assert!(
        get(card("- config_name: z\n  data_files: z.csv\n"))
            .unwrap_err()
            .to_string()
            .contains("`z.csv`")
    );
    assert!(
        get("---\nconfigs: [\n---\n".to_owned())
            .unwrap_err()
            .to_string()
            .contains("README.md")
    );
}

#[test]
fn by_the_names_of_files() {
    let hub = Hub::new(&[
        ("README.md", "# Data"),
        ("data/train-00001-of-00002.parquet", "t1"),
        ("data/train-00000-of-00002.parquet", "t0"),
        ("data/test-00000-of-00001.parquet", "e"),
        ("en/train.csv", "en"),
    ]);
    assert_eq!(hub.texts("o/d", Some("train")), "t0 t1");
    assert_eq!(hub.texts("o/d:default", Some("test")), "e");
    assert_eq!(hub.texts("o/d:en", None), "en");
    assert!(hub.error("o/d:fr", None).contains("no folder of that name"));
    assert!(hub.error("o/d", None).contains("They are train, test"));
}

#[test]
fn by_the_conversion_to_parquet() {
    let script = [
        ("d.py", "import datasets"),
        ("README.md", "# Data"),
        ("raw.txt", "raw"),
    ];
    let converted = [
        ("default/train/0001.parquet", "t1"),
        ("default/train/0000.parquet", "t0"),
        ("default/partial-test/0000.parquet", "e0"),
        ("other/train/0000.parquet", "o"),
    ];
    let hub = Hub::converted(&script, &converted, |repository| repository);
    let found = hub.get("o/d", Some("train")).unwrap();
    assert_eq!(texts(&found), "t0 t1");
    assert!(
        found.notes[0].contains("conversion to Parquet is read"),
        "{:?}",
        found.notes
    );
    let found = hub.get("o/d", Some("test")).unwrap();
    assert!(
        found.notes[1].contains("first rows of `test` only"),
        "{:?}",
        found.notes
    );
    assert_eq!(hub.texts("o/d:other", None), "o");
    assert!(hub.error("o/d", Some("dev")).contains("train, test"));
    // The cache knows it as other tools do, and is enough.
    let refs = hub
        .cache
        .path()
        .join("datasets--o--d/refs")
        .join(CONVERSION);
    assert!(refs.exists());
    let offline = HubOptions {
        offline: true,
        ..hub.options()
    };
    assert_eq!(
        texts(&hub.get_with("o/d", Some("train"), &offline).unwrap()),
        "t0 t1"
    );

    let hub = Hub::new(&script);
    let error = hub.error("o/d", None);
    assert!(
        error.contains("1 file .py") && error.contains("has not converted it"),
        "{error}"
    );
}

#[test]
fn without_a_hub() {
    let hub = with_card();
    let offline = HubOptions {
        offline: true,
        ..hub.options()
    };
    let error = hub.get_with("o/d:a", Some("train"), &offline).unwrap_err();
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    assert_eq!(hub.texts("o/d:a", Some("train")), "a1 a2");
    hub.server.take_log();
    let found = hub.get_with("o/d:a", Some("train"), &offline).unwrap();
    assert_eq!((texts(&found).as_str(), found.notes.len()), ("a1 a2", 0));
    // The whole list of files is known, so none is missed in silence.
    let error = hub.get_with("o/d:a", Some("test"), &offline).unwrap_err();
    assert!(error.to_string().contains("`a/test.csv` is not"), "{error}");
    assert!(hub.server.take_log().is_empty());

    // A hub that fails is the same, with a word about it.
    hub.server
        .fail("/api/datasets", 9, Fault::Status(503, vec![]));
    let found = hub.get("o/d:a", Some("train")).unwrap();
    assert_eq!(texts(&found), "a1 a2");
    assert!(
        found.notes[0].contains("the hub cannot be asked"),
        "{:?}",
        found.notes
    );
    hub.server.forget_faults();

    // What another tool has left: all that is known is what is there.
    fs::remove_dir_all(hub.cache.path().join("datasets--o--d/listings")).unwrap();
    let found = hub.get_with("o/d:a", Some("train"), &offline).unwrap();
    assert_eq!(texts(&found), "a1 a2");
    assert!(
        found.notes[0].contains("another program"),
        "{:?}",
        found.notes
    );
}

#[test]
fn private_data_sets_and_broken_connections() {
    let hub = Hub::converted(
        &[("train.csv", "x"), ("test.csv", "y")],
        &[],
        |repository| repository.private("hf_secret"),
    );
    let error = hub.error("o/d", Some("train"));
    assert!(
        error.contains("refuses access") && error.contains("HF_TOKEN"),
        "{error}"
    );
    let options = HubOptions {
        token: Token::new("hf_secret", "HF_TOKEN").unwrap(),
        ..hub.options()
    };
    hub.server.fail("resolve", 2, Fault::Status(503, vec![]));
    let found = hub.get_with("o/d", Some("train"), &options).unwrap();
    assert_eq!(texts(&found), "x");
    assert_eq!(hub.folders.len(), 2);
}

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
