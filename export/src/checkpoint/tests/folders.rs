//! Files that are missing, disagree, or are something else; and snapshots of a hub cache.

use std::path::PathBuf;

use super::*;

#[test]
fn missing_shard() {
    Files::sharded().remove("m-1.safetensors").refused_with(
        INDEX_FILE,
        &[
            "`m-1.safetensors`, which does not exist",
            "`a` (and 1 more)",
        ],
    );
}

#[test]
fn index_that_disagrees_with_the_headers() {
    let places = |a: &str, c: &str| json!({"a": a, "b": "m-1.safetensors", "c": c});
    let (one, two) = ("m-1.safetensors", "m-2.safetensors");

    let mut extra = places(one, two);
    extra["d"] = json!(two);
    // `transformers` reads all tensors of the files that an index names, wherever it places them.
    for map in [extra.clone(), places(two, two), json!({"b": one, "c": two})] {
        let files = Files::sharded().index(map);
        let opened = files.open().unwrap();
        let names: Vec<_> = opened.tensors().keys().collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(opened.notes().is_empty());
    }
    // One that is needed and in no file is missing all the same.
    let files = Files::sharded().index(extra);
    let error = files.open().unwrap().tensor("d", &[3]).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::MissingTensor { .. }), "{error:?}");
    assert!(
        text.contains("`d`: is missing") && text.contains("places it in `m-2.safetensors`"),
        "{text}"
    );
    Files::sharded()
        .write(two, vectors(&[("a", 3), ("c", 4)]))
        .refused_with(two, &["`a`", "is also in `m-1.safetensors`"]);
}

#[test]
fn index_that_is_malformed() {
    let cases = [
        ("", "not a valid index"),
        ("{}", "weight_map"),
        (r#"{"weight_map": []}"#, "expected an object"),
        (r#"{"weight_map": {}}"#, "empty"),
        (r#"{"weight_map": {"a": 1}}"#, "`a`"),
        (
            r#"{"weight_map": {"a": "m-1.safetensors", "a": "m-2.safetensors"}}"#,
            "`a` is there twice",
        ),
        (
            r#"{"weight_map": {"a": "../m.safetensors"}}"#,
            "same directory",
        ),
        (
            r#"{"weight_map": {"a": "/m.safetensors"}}"#,
            "same directory",
        ),
        (
            r#"{"weight_map": {"a": "x/m.safetensors"}}"#,
            "same directory",
        ),
        (
            r#"{"weight_map": {"a": "m-1.safetensors/"}}"#,
            "same directory",
        ),
        (r#"{"weight_map": {"a": ".."}}"#, "same directory"),
        (r#"{"weight_map": {"a": ""}}"#, "same directory"),
        (
            r#"{"weight_map": {"a": "m-1.bin"}}"#,
            "not a .safetensors file",
        ),
    ];
    for (text, part) in cases {
        Files::sharded()
            .write(INDEX_FILE, text)
            .refused_with(INDEX_FILE, &[part]);
    }
}

#[test]
fn two_layouts_at_once() {
    // As `transformers` chooses: the single file.
    let files = Files::sharded().write("model.safetensors", vectors(&[("z", 3)]));
    let opened = files.open().unwrap();
    assert_eq!(opened.tensors().keys().collect::<Vec<_>>(), ["z"]);
    let [note] = opened.notes() else {
        panic!("{:?}", opened.notes());
    };
    assert!(note.contains(INDEX_FILE), "{note}");
}

#[test]
fn a_configuration_that_names_other_weights() {
    let named = |value: Value| {
        let mut config = config();
        config["transformers_weights"] = value;
        Files::sharded().write(CONFIG_FILE, config.to_string())
    };
    named(json!(INDEX_FILE)).open().unwrap();
    named(json!(null)).open().unwrap();
    for other in [json!("other.safetensors"), json!(7)] {
        named(other).refused_with(CONFIG_FILE, &["transformers_weights", "take the field out"]);
    }
}

#[test]
fn git_lfs_pointers_in_place_of_text() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for name in [CONFIG_FILE, INDEX_FILE] {
        Files::sharded()
            .write(name, pointer)
            .refused_with(name, &["Git LFS pointer", "git lfs pull"]);
    }
}

#[test]
fn no_weights_no_configuration_no_directory() {
    Files::new().refused_with("", &["holds no weights"]);
    Files::new()
        .write("pytorch_model.bin", "")
        .refused_with("", &["pytorch_model.bin", "safetensors"]);
    Files::sharded()
        .remove(CONFIG_FILE)
        .refused_with(CONFIG_FILE, &["cannot read"]);
    let error = Checkpoint::open(Path::new("no/such/dir"))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "cannot open the checkpoint directory `no/such/dir`");
}

#[test]
fn weight_file_that_is_a_directory() {
    let files = Files::new();
    fs::create_dir(files.path().join("model.safetensors")).unwrap();
    files.refused_with("model.safetensors", &["not a regular file"]);
}

/// Lays out `files` as the Hugging Face cache does, and returns the snapshot.
#[cfg(unix)]
fn snapshot(cache: &Path, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let snapshot = cache.join("snapshots/0123abcd");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(cache.join("blobs")).unwrap();
    for (number, (name, content)) in files.iter().enumerate() {
        let blob = format!("blobs/{number:064x}");
        fs::write(cache.join(&blob), content).unwrap();
        std::os::unix::fs::symlink(Path::new("../..").join(blob), snapshot.join(name)).unwrap();
    }
    snapshot
}

#[cfg(unix)]
#[test]
fn cache_snapshot_resolves_to_blobs() {
    let cache = tempfile::tempdir().unwrap();
    let weight_map = json!({"a": "m-1.safetensors", "c": "m-2.safetensors"});
    let dir = snapshot(
        cache.path(),
        &[
            (CONFIG_FILE, config().to_string().into()),
            (
                INDEX_FILE,
                json!({"weight_map": weight_map}).to_string().into(),
            ),
            ("m-1.safetensors", vectors(&[("a", 3)])),
            ("m-2.safetensors", vectors(&[("c", 4)])),
        ],
    );
    let blobs = cache.path().canonicalize().unwrap().join("blobs");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let real: Vec<_> = checkpoint.files().iter().map(|f| f.path.clone()).collect();
    assert_eq!(
        real,
        [
            blobs.join(format!("{:064x}", 2)),
            blobs.join(format!("{:064x}", 3))
        ]
    );

    let link = cache.path().join("latest");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let linked = Checkpoint::open(&link).unwrap();
    assert_eq!(linked.files(), checkpoint.files());

    fs::remove_file(blobs.join(format!("{:064x}", 3))).unwrap();
    let error = Checkpoint::open(&dir).unwrap_err().to_string();
    assert!(
        error.contains("m-2.safetensors") && error.contains("download is incomplete"),
        "{error}"
    );
}
