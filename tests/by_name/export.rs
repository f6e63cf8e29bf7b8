//! Export by name: a repository is downloaded, exported and scored, as a user would do it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;
use worldpm_ort::export::{
    Checkpoint,
    recipe::{Recipe, Shape},
};

use crate::{
    hub_server::{Fault, HubServer, Repository, Request},
    support::{self, SMALL as SHAPE, command, lines, run_ok, stderr},
};

const CONVERSATIONS: &str = "models/worldpm-72b/sleep.jsonl";

/// A place to work in, and a server of a small checkpoint.
struct Place {
    dir: TempDir,
    server: HubServer,
    commit: String,
}

impl Place {
    fn new(change: impl FnOnce(Repository) -> Repository) -> Self {
        let repository = change(Repository::of("Owner/Tiny-RM", &support::checkpoint(SHAPE)));
        Self {
            dir: tempfile::tempdir().unwrap(),
            commit: repository.commit.clone(),
            server: HubServer::start(vec![repository]),
        }
    }

    /// Runs `export` in the place, with its server and a cache of its own.
    fn export(&self, args: &[&str], vars: &[(&str, &str)]) -> Output {
        let mut command = self.command(args);
        command.envs(vars.iter().copied()).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command();
        command
            .current_dir(self.dir.path())
            .env("HF_ENDPOINT", self.server.endpoint())
            .env("HF_HOME", self.dir.path().join("hf"))
            .args(["export", "--out", "bundle"])
            .args(args);
        command
    }

    fn scores(&self, bundle: &Path) -> Vec<serde_json::Value> {
        lines(&run_ok(&[
            "score",
            "--model",
            bundle.to_str().unwrap(),
            "--input",
            CONVERSATIONS,
        ]))
    }

    fn fails(&self, args: &[&str], vars: &[(&str, &str)], parts: &[&str]) {
        let output = self.export(args, vars);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!self.dir.path().join("bundle").exists());
    }
}

/// A template in a folder is a file of the model as any other.
#[test]
fn templates_in_a_folder() {
    let checkpoint = support::copy_of(&support::checkpoint(SHAPE));
    let folder = checkpoint.path().join("additional_chat_templates");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("tool_use.jinja"), "TOOLS<|endoftext|>").unwrap();
    let place = Place::new(|_| Repository::of("Owner/Tiny-RM", checkpoint.path()));
    let output = place.export(&["--checkpoint", "Owner/Tiny-RM", "--probes", "off"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let bundle = place
        .dir
        .path()
        .join("bundle/additional_chat_templates/tool_use.jinja");
    assert_eq!(fs::read_to_string(bundle).unwrap(), "TOOLS<|endoftext|>");
    // What is in the cache is a link to the blob, as other tools make it.
    let snapshots = "hf/hub/models--Owner--Tiny-RM/snapshots";
    let snapshot = place.dir.path().join(snapshots).join(&place.commit);
    let link = snapshot.join("additional_chat_templates/tool_use.jinja");
    assert!(link.read_link().unwrap().starts_with("../../../blobs"));
}

#[test]
fn by_name() {
    let place = Place::new(|repository| repository);
    let output = place.export(&["--checkpoint", "Owner/Tiny-RM"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("downloading"),
        "{}",
        stderr(&output)
    );

    let bundle = place.dir.path().join("bundle");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["source"]["repository"], "Owner/Tiny-RM");
    assert_eq!(manifest["source"]["revision"], place.commit);

    let scores = place.scores(&bundle);
    assert_eq!(scores, place.scores(&support::bundle(SHAPE, &[])));
    assert!(scores[0]["score"].is_number());

    // A second export needs no hub.
    place.server.take_log();
    for name in ["Owner/Tiny-RM", &format!("Owner/Tiny-RM@{}", place.commit)] {
        let output = place.export(&["--checkpoint", name], &[("HF_HUB_OFFLINE", "1")]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(!stderr(&output).contains("downloading"));
    }
    assert!(place.server.take_log().is_empty());
    assert_eq!(place.scores(&bundle), scores);
}

#[test]
fn by_recipe() {
    let place = Place::new(|repository| repository);
    let checkpoint = Checkpoint::open(&support::checkpoint(SHAPE)).unwrap();
    let mut recipe = serde_json::to_value(Recipe::named("worldpm-72b").unwrap()).unwrap();
    recipe["repository"] = json!("Owner/Tiny-RM");
    recipe["revision"] = json!(place.commit);
    let config = checkpoint.config();
    recipe["shape"] = json!({
        "hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers, "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads, "head_dim": config.head_dim,
        "vocab_size": config.vocab_size, "num_labels": 1,
    });
    let shape: Shape = serde_json::from_value(recipe["shape"].clone()).unwrap();
    let parameters = shape.parameters("Qwen2ForRewardModel").unwrap();
    recipe["parameters"] = json!(parameters);
    recipe["weight_bytes"] = json!(2 * parameters);
    recipe["suggested"] = json!({"device": "cpu", "precision": "bf16", "stages": 2});
    fs::write(place.dir.path().join("mine.json"), recipe.to_string()).unwrap();

    let output = place.export(&["--recipe", "mine.json"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let bundle = place.dir.path().join("bundle");
    assert_eq!(
        place.scores(&bundle),
        place.scores(&support::bundle(SHAPE, &[]))
    );
    // The recipe's commit, and no branch.
    let log = place.server.take_log();
    assert!(
        log[0]
            .path
            .ends_with(&format!("/revision/{}", place.commit)),
        "{log:?}"
    );

    // What the hub has is another model than the recipe says.
    fs::remove_dir_all(&bundle).unwrap();
    recipe["shape"]["num_labels"] = json!(3);
    let labels = json!(parameters + 2 * (config.hidden_size as u64 + 1));
    recipe["weight_bytes"] = json!(2 * labels.as_u64().unwrap());
    recipe["parameters"] = labels;
    fs::write(place.dir.path().join("mine.json"), recipe.to_string()).unwrap();
    place.fails(
        &["--recipe", "mine.json"],
        &[],
        &["`num_labels`", "has 1", "3"],
    );
}

#[test]
fn killed_while_it_downloads() {
    let place = Place::new(|repository| repository);
    place.server.fail("?signature", 99, Fault::Stall(1_000_000));
    let mut child = place
        .command(&["--checkpoint", "Owner/Tiny-RM"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let blobs = place.dir.path().join("hf/hub/models--Owner--Tiny-RM/blobs");
    let arrived = || -> Vec<u64> {
        let entries = fs::read_dir(&blobs).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        let partial = paths.filter(|path| path.extension().is_some());
        partial.map(|path| path.metadata().unwrap().len()).collect()
    };
    // Both large files, tokenizer and weights, are as far as the server lets them.
    while arrived()
        .iter()
        .filter(|bytes| **bytes >= 1_000_000)
        .count()
        < 2
    {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Small files may be on their way, too.
    let mut kept = arrived();
    kept.retain(|bytes| *bytes >= 1_000_000);
    assert!(!place.dir.path().join("bundle").exists());

    place.server.forget_faults();
    place.server.take_log();
    let output = place.export(&["--checkpoint", "Owner/Tiny-RM"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let log = place.server.take_log();
    assert_eq!(kept.len(), 2);
    for bytes in kept {
        let range = format!("bytes={bytes}-");
        let asked = |r: &Request| r.large && r.range.as_ref() == Some(&range);
        assert!(log.iter().any(asked), "{range}");
    }
    assert!(arrived().is_empty());
}

/// A copy of the program that any user may run, and that cannot write to what is here when that is locked.
fn as_a_reader(place: &Place, args: &[&str]) -> Output {
    let program = place.dir.path().join("worldpm-ort");
    fs::copy(env!("CARGO_BIN_EXE_worldpm-ort"), &program).unwrap();
    let mut command = Command::new(&program);
    if rustix::process::geteuid().is_root() {
        // Modes do not hold root.
        command.uid(65534).gid(65534);
    }
    command
        .current_dir(place.dir.path())
        .env("HF_ENDPOINT", place.server.endpoint())
        .env("HF_HOME", place.dir.path().join("hf"))
        .args([
            "export",
            "--probes",
            "off",
            "--checkpoint",
            "Owner/Tiny-RM",
            "--out",
        ])
        .args(args)
        .output()
        .unwrap()
}

/// Sets what everybody, the owner included, may do with all folders below.
fn set_folders(folder: &Path, mode: u32) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            set_folders(&path, mode);
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_complete_cache_need_not_be_writable() {
    let place = Place::new(|repository| repository);
    let output = place.export(&["--checkpoint", "Owner/Tiny-RM"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let out = place.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    set_folders(&out, 0o777);
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let cache = place.dir.path().join("hf");
    let repository = cache.join("hub/models--Owner--Tiny-RM");
    let reference = repository.join("refs/main");

    set_folders(&cache, 0o555);
    let output = as_a_reader(&place, &["out/1"]);
    assert!(output.status.success(), "{}", stderr(&output));

    // The note of what the branch means is of another day.
    set_folders(&cache, 0o755);
    fs::write(&reference, "0".repeat(40)).unwrap();
    set_folders(&cache, 0o555);
    let output = as_a_reader(&place, &["out/2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&reference).unwrap(), "0".repeat(40));

    // Where something is missing, it says where it would go.
    set_folders(&cache, 0o755);
    fs::remove_dir_all(repository.join("snapshots")).unwrap();
    set_folders(&cache, 0o555);
    let output = as_a_reader(&place, &["out/3"]);
    let text = stderr(&output);
    set_folders(&cache, 0o755);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("HF_HUB_CACHE") && text.contains("snapshots"),
        "{text}"
    );
}

#[test]
fn a_directory_wins() {
    let place = Place::new(|repository| repository);
    let owner = place.dir.path().join("Owner");
    fs::create_dir(&owner).unwrap();
    std::os::unix::fs::symlink(support::checkpoint(SHAPE), owner.join("Tiny-RM")).unwrap();
    let output = place.export(&["--checkpoint", "Owner/Tiny-RM"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(place.server.take_log().is_empty());

    fs::remove_dir_all(place.dir.path().join("bundle")).unwrap();
    place.fails(
        &["--checkpoint", "Owner/Tiny-RM", "--revision", "main"],
        &[],
        &["--revision main", "on disk"],
    );
}

#[test]
fn with_a_token() {
    let place = Place::new(|repository| repository.gated("hf_secret"));
    place.fails(
        &["--checkpoint", "Owner/Tiny-RM"],
        &[],
        &["accept its terms", "HF_TOKEN"],
    );
    let output = place.export(
        &["--checkpoint", "Owner/Tiny-RM"],
        &[("HF_TOKEN", "hf_wrong")],
    );
    assert!(!stderr(&output).contains("hf_wrong"), "{}", stderr(&output));

    fs::create_dir(place.dir.path().join("hf")).unwrap();
    fs::write(place.dir.path().join("hf/token"), "hf_secret\n").unwrap();
    let output = place.export(
        &["--checkpoint", "Owner/Tiny-RM", "--revision", &place.commit],
        &[],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        !stderr(&output).contains("hf_secret"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn neither_directory_nor_repository() {
    let place = Place::new(|repository| repository);
    let no_directory = "there is no directory";
    place.fails(
        &["--checkpoint", "nowhere"],
        &[],
        &[no_directory, "`nowhere`", "no owner"],
    );
    place.fails(
        &["--checkpoint", "/no/such/dir"],
        &[],
        &[no_directory, "not a repository"],
    );
    place.fails(
        &["--checkpoint", "./Owner/Tiny-RM"],
        &[],
        &[no_directory, "more than one `/`"],
    );
    place.fails(
        &["--checkpoint", "Owner/Other"],
        &[],
        &[no_directory, "has no repository Owner/Other"],
    );
    place.fails(
        &["--checkpoint", "Owner/Tiny-RM@v9"],
        &[],
        &[no_directory, "revision `v9`"],
    );
    place.fails(
        &["--checkpoint", "Owner/Tiny-RM", "--revision", "a b"],
        &[],
        &["`a b`"],
    );
    place.fails(
        &["--checkpoint", "Owner/Tiny-RM@a", "--revision", "b"],
        &[],
        &["give one of them"],
    );
    place.fails(
        &["--checkpoint", "Owner/Tiny-RM"],
        &[("HF_HUB_OFFLINE", "1")],
        &["in the cache", "HF_HUB_OFFLINE is set"],
    );
    place.fails(
        &["--checkpoint", "Owner/Tiny-RM"],
        &[("HF_ENDPOINT", "hub")],
        &["HF_ENDPOINT", "https://"],
    );
}
