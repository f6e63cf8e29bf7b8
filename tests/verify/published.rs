//! `verify` and the scores that a model's authors have published.

use std::{fs, path::Path, process::Output};

use serde_json::{Value, json};
use worldpm_ort::{Conversation, Scorer, ScorerOptions};

use crate::support::{self, copy_of, edit_json, read_json, run, stderr};

const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "61"];
const WORLDPM: &str = "models/worldpm-72b/recipe.json";

fn verify(model: &Path, flags: &[&str]) -> Output {
    run(&[&["verify", "--model", model.to_str().unwrap()], flags].concat())
}

/// WorldPM's recipe with the scores that this bundle gives the published conversations, and `off` added to one.
fn recipe_for(model: &Path, off: f64, place: &Path) -> String {
    let mut recipe = read_json(&Path::new(env!("CARGO_MANIFEST_DIR")).join(WORLDPM));
    let scorer = Scorer::open(model, &ScorerOptions::default()).unwrap();
    for one in recipe["published"].as_array_mut().unwrap() {
        let conversation =
            Conversation::from_value(json!({"messages": one["messages"], "tools": null})).unwrap();
        let score = scorer.score(&[conversation]).remove(0).unwrap();
        one["score"] = json!(score.score);
    }
    let last = &mut recipe["published"][1]["score"];
    *last = json!(last.as_f64().unwrap() + off);
    let path = place.join("recipe.json");
    fs::write(&path, recipe.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn published_scores_are_met_or_not() {
    let model = support::bundle(SHAPE, &["--probes", "off"]);
    let place = tempfile::tempdir().unwrap();
    for (off, status, verdicts) in [
        (0.0, 0, [true, true]),
        (0.0009, 0, [true, true]),
        (0.02, 1, [true, false]),
    ] {
        let recipe = recipe_for(&model, off, place.path());
        let output = verify(&model, &["--recipe", &recipe, "--json"]);
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("only the published scores are compared"),
            "{}",
            stderr(&output)
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["passed"], status == 0);
        let found: Vec<bool> = report["published"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["passed"].as_bool().unwrap())
            .collect();
        assert_eq!(found, verdicts, "{report}");
        assert!(report.get("probes").is_none());
    }
    let recipe = recipe_for(&model, 0.02, place.path());
    let text = String::from_utf8(verify(&model, &["--recipe", &recipe]).stdout).unwrap();
    assert!(text.contains("FAILED: 1 of 2 published scores"), "{text}");
    let wider = verify(&model, &["--recipe", &recipe, "--tolerance", "0.05"]);
    assert_eq!(wider.status.code(), Some(0), "{}", stderr(&wider));
}

/// A bundle of the repository that a recipe is of is compared without being told; the weights here are random, so it
/// fails. Probes are run all the same.
#[test]
fn the_repository_tells_the_recipe() {
    let bundle = copy_of(&support::bundle(SHAPE, &["--probes", "on"]));
    edit_json(&bundle.path().join("manifest.json"), |manifest| {
        manifest["source"]["repository"] = json!("Qwen/WorldPM-72B");
    });
    let output = verify(bundle.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<&Value> = report["published"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, ["thoughtful", "careless"]);
    assert_eq!(report["published"][0]["published"], 0.6298332214355469);
    assert_eq!(report["published"][0]["limit"], 1e-3);
    let probes = report["probes"].as_array().unwrap();
    assert!(probes.iter().all(|probe| probe["passed"] == true));

    // A fine-tune has another repository, and an adapter makes another model.
    edit_json(&bundle.path().join("manifest.json"), |manifest| {
        manifest["source"]["repository"] = json!("Somebody/WorldPM-72B-tuned");
    });
    let output = verify(bundle.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.get("published").is_none());
}

#[test]
fn recipes_that_cannot_be_compared_with() {
    let model = support::bundle(SHAPE, &["--probes", "on"]);
    for (flags, status, part) in [
        (
            &["--recipe", "worldpm-72b-helpsteer2"][..],
            1,
            "has no published scores",
        ),
        (
            &["--recipe", "nothing"],
            1,
            "there is no recipe of that name",
        ),
        (
            &["--recipe", "worldpm-72b", "--record"],
            2,
            "cannot be used with",
        ),
    ] {
        let output = verify(&model, flags);
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}
