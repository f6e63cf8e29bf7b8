//! Bundles that change while they are served.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use worldpm_ort::{Conversation, Scorer, ScorerOptions};
use worldpm_ort_runtime::testing::{FakeEngine, FakeOptions};
use worldpm_ort_serve::{ApiKey, ModelOptions, ReloadWay};

use crate::{
    served::{Served, bundle, fake, local},
    support,
};

fn question() -> Value {
    json!({"prompt": "q", "response": "a"})
}

/// A bundle of other weights.
fn other() -> PathBuf {
    let synth: Vec<&str> = [support::SMALL, &["--seed", "7"]].concat();
    support::bundle(&synth, &["--end-token", ""])
}

fn score_of(bundle: &Path) -> f64 {
    let scorer = Scorer::open(bundle, &ScorerOptions::default()).unwrap();
    let scores = scorer.score(&[Conversation::exchange("q", "a")]);
    f64::from(scores[0].as_ref().unwrap().score)
}

/// What a link points to is exchanged, as deployments do it.
fn point(link: &Path, to: &Path) {
    let new = link.with_extension("new");
    std::os::unix::fs::symlink(to, &new).unwrap();
    std::fs::rename(new, link).unwrap();
}

#[test]
fn no_request_fails_while_models_change() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("model");
    let bundles = [bundle(), other()];
    let expected = [score_of(&bundles[0]), score_of(&bundles[1])];
    assert_ne!(expected[0], expected[1]);
    point(&link, &bundles[0]);
    let model = ModelOptions::new("pm", &link, ScorerOptions::default());
    let served = Served::start(local(), vec![model]);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let reply = served.post("/v1/score", &question()).ok();
                    let score = reply["score"].as_f64().unwrap();
                    assert!(expected.contains(&score), "{score} of {expected:?}");
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 1..=5 {
            std::thread::sleep(Duration::from_millis(100));
            point(&link, &bundles[round % 2]);
            served.reload().unwrap();
            let score = served.post("/v1/score", &question()).ok()["score"].clone();
            assert_eq!(score, expected[round % 2], "after reload {round}");
        }
        done.store(true, Ordering::SeqCst);
    });
    let asked = asked.into_inner();
    assert!(asked > 20, "{asked} requests");
}

#[test]
fn a_bad_bundle_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("model");
    point(&link, &bundle());
    let expected = score_of(&bundle());
    let mut options = local();
    options.security.api_keys = vec![
        ApiKey::new("team", "user"),
        ApiKey::new("ops", "boss").admin(),
    ];
    let model = ModelOptions::new("pm", &link, ScorerOptions::default());
    let served = Served::start(options, vec![model]);
    let reload =
        |key: &str, body: &Value| served.post_with("/admin/reload", &[("x-api-key", key)], body);
    assert_eq!(reload("user", &json!({})).status, 401);
    assert_eq!(reload("boss", &json!({"model": "other"})).status, 404);
    assert_eq!(reload("boss", &json!({"models": "pm"})).status, 400);

    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let wrong = support::copy_of(&bundle());
    let path = wrong.path();
    support::run_ok(&["verify", "--record", "--model", path.to_str().unwrap()]);
    support::edit_json(&path.join("probes.json"), |probes| {
        probes["probes"][0]["scores"][0] = json!(99.0);
    });
    for (bad, part) in [(empty.as_path(), "manifest"), (path, "probes")] {
        point(&link, bad);
        let reply = reload("boss", &json!({"model": "pm"}));
        assert_eq!(reply.status, 409, "{}", reply.body);
        let outcome = &reply.json()["models"][0];
        assert_eq!(
            (&outcome["reloaded"], &outcome["serves"]),
            (&json!(false), &json!(true))
        );
        let error = outcome["error"].as_str().unwrap();
        assert!(error.contains(part), "{error}");
        served.get("/ready").ok();
        let headers = [("x-api-key", "user")];
        let reply = served.post_with("/v1/score", &headers, &question()).ok();
        assert_eq!(reply["score"], expected);
    }
    point(&link, &bundle());
    assert_eq!(
        reload("boss", &json!({})).ok()["models"][0]["reloaded"],
        true
    );
}

/// Opens as slowly as a slow disk, from the second time on.
fn slow_to_open(opened: Arc<AtomicUsize>) -> ModelOptions {
    let mut model = ModelOptions::with_open("pm", bundle(), move || {
        if opened.fetch_add(1, Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(600));
        }
        let options = FakeOptions::default().with_stages(vec![Duration::from_millis(300)]);
        let engine = Arc::new(FakeEngine::start(options).unwrap());
        Scorer::open_with_engine(&bundle(), &ScorerOptions::default(), engine)
    });
    model.checks_probes = false;
    model
}

#[test]
fn a_slow_disk_keeps_nobody_waiting() {
    let opened = Arc::new(AtomicUsize::new(0));
    let served = Served::start(local(), vec![slow_to_open(Arc::clone(&opened))]);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| served.reload());
        while opened.load(Ordering::SeqCst) < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let again = scope.spawn(|| served.reload());
        served.post("/v1/score", &question()).ok();
        assert!(!reload.is_finished(), "the reload was waited for");
        reload.join().unwrap().unwrap();
        again.join().unwrap().unwrap();
    });
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}

#[test]
fn where_memory_is_for_one_the_old_one_goes_first() {
    let opened = Arc::new(AtomicUsize::new(0));
    let mut options = local();
    options.reload = ReloadWay::Swap;
    let served = Served::start(options, vec![slow_to_open(Arc::clone(&opened))]);
    std::thread::scope(|scope| {
        let admitted = scope.spawn(|| served.post("/v1/score", &question()));
        std::thread::sleep(Duration::from_millis(150));
        let reload = scope.spawn(|| served.reload());
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(opened.load(Ordering::SeqCst), 1, "both are open");
        let reply = served.post("/v1/score", &question());
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, Some("1"))
        );
        admitted.join().unwrap().ok();
        reload.join().unwrap().unwrap();
    });
    served.post("/v1/score", &question()).ok();
}

#[test]
fn a_panic_while_a_model_is_opened_is_an_error() {
    let opened = AtomicUsize::new(0);
    let mut model = ModelOptions::with_open("pm", bundle(), move || {
        assert_eq!(opened.fetch_add(1, Ordering::SeqCst), 0, "opened twice");
        let engine = Arc::new(FakeEngine::start(FakeOptions::default()).unwrap());
        Scorer::open_with_engine(&bundle(), &ScorerOptions::default(), engine)
    });
    model.checks_probes = false;
    let served = Served::of(model);
    for _ in 0..2 {
        let error = served.reload().unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        served.post("/v1/score", &question()).ok();
    }
}

#[test]
fn a_panic_while_a_server_begins_is_told() {
    let model = ModelOptions::with_open("pm", bundle(), || panic!("it was to panic"));
    let served = Served::start_loading(local(), vec![model]);
    let error = served.ready().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(served.get("/ready").json()["status"], "failed");
}

#[test]
fn without_a_key_for_it_nobody_reloads_over_tcp() {
    let served = Served::of(fake("pm", FakeOptions::default(), ScorerOptions::default()));
    let reply = served.post("/admin/reload", &json!({}));
    assert_eq!(reply.status, 401, "{}", reply.body);
}
