//! Which files are read, and what is said where that is not clear.

use std::fs;

use worldpm_ort::hub::{HubOptions, Token};

use super::{CONVERSION, Hub, texts, with_card};
use crate::hub_server::Fault;

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
