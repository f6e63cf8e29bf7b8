//! The beginning and the end of a server.

use std::{
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use worldpm_ort::{Error, Scorer, ScorerOptions};
use worldpm_ort_runtime::testing::FakeOptions;
use worldpm_ort_serve::{ModelOptions, ServeError, ServeOptions};

use crate::{
    served::{Served, bundle, fake, local, real},
    support,
};

#[test]
fn ready_after_the_models_and_their_probes() {
    let slow = ModelOptions::with_open("pm", bundle(), || {
        std::thread::sleep(Duration::from_millis(400));
        Scorer::open(&bundle(), &ScorerOptions::default())
    });
    let served = Served::start_loading(local(), vec![slow]);
    for path in ["/ready", "/startup", "/health"] {
        let reply = served.get(path);
        assert_eq!(
            (reply.status, &reply.json()["status"]),
            (503, &json!("loading")),
            "{path}"
        );
    }
    served.get("/live").ok();
    let reply = served.post("/v1/score", &json!({"prompt": "q", "response": "a"}));
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("still being loaded"));
    served.ready().unwrap();
    for path in ["/live", "/ready", "/startup", "/health"] {
        served.get(path).ok();
    }
}

#[test]
fn a_model_that_does_not_give_its_scores_is_not_served() {
    let wrong = std::env::temp_dir().join(format!("wrong-probes-{}", std::process::id()));
    copy(&bundle(), &wrong);
    support::run_ok(&["verify", "--record", "--model", wrong.to_str().unwrap()]);
    let model = || ModelOptions::new("pm", &wrong, ScorerOptions::default());
    drop(Served::of(model()));
    let path = wrong.join("probes.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut probes: serde_json::Value = serde_json::from_str(&text).unwrap();
    probes["probes"][0]["scores"][0] = json!(99.0);
    std::fs::write(&path, probes.to_string()).unwrap();
    let served = Served::start_loading(local(), vec![model()]);
    let error = served.ready().unwrap_err();
    assert!(matches!(error, ServeError::Probes { .. }), "{error}");
    assert_eq!(served.get("/ready").json()["status"], "failed");
    let reply = served.post("/v1/score", &json!({"prompt": "q", "response": "a"}));
    assert_eq!(reply.status, 503);
    std::fs::remove_dir_all(&wrong).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn admitted_work_ends_and_new_work_is_refused() {
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(800)]);
    let served = Served::of(fake("pm", slow, ScorerOptions::default()));
    let address = served.address.clone();
    let client = std::thread::spawn(move || {
        ureq::post(format!("{address}/v1/score"))
            .send_json(json!({"prompt": "q", "response": "a"}))
            .map(|reply| reply.status().as_u16())
    });
    std::thread::sleep(Duration::from_millis(300));
    let address = served.address.clone();
    let begun = Instant::now();
    let ending = served.shut_down();
    assert_eq!(client.join().unwrap().unwrap(), 200);
    ending.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(ureq::get(format!("{address}/live")).call().is_err());
}

#[test]
fn readiness_fails_first() {
    let mut options = local();
    options.drain_delay = Duration::from_millis(800);
    let served = Served::start(options, vec![real("pm")]);
    let address = served.address.clone();
    let ending = served.shut_down();
    std::thread::sleep(Duration::from_millis(300));
    let get = |path: &str| match ureq::get(format!("{address}{path}")).call() {
        Ok(reply) => reply.status().as_u16(),
        Err(ureq::Error::StatusCode(status)) => status,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(get("/ready"), 503);
    assert_eq!(get("/live"), 200);
    let reply = ureq::post(format!("{address}/v1/score"))
        .send_json(json!({"prompt": "q", "response": "a"}));
    assert_eq!(reply.unwrap().status(), 200);
    ending.join().unwrap();
}

#[test]
fn several_models_under_several_names() {
    let mut second = real("second");
    second.aliases = vec!["/models/two".into()];
    let served = Served::start(local(), vec![real("first"), second]);
    for (model, name) in [
        ("first", "first"),
        ("second", "second"),
        ("/models/two", "second"),
    ] {
        let request = json!({"model": model, "prompt": "q", "response": "a"});
        assert_eq!(served.post("/v1/score", &request).ok()["model"], name);
    }
    let models = served.get("/v1/models").ok();
    assert_eq!(models["data"].as_array().unwrap().len(), 3);
}

#[test]
fn sockets_of_the_file_system() {
    let folder = std::env::temp_dir().join(format!("serve-socket-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let options = || {
        let mut options = local();
        options.unix_sockets = vec![path.clone()];
        options
    };
    // One that a server has left is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let served = Served::start(options(), vec![real("pm")]);
    let mut stream = UnixStream::connect(&path).unwrap();
    use std::io::{Read, Write};
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");

    let other = start_error(options());
    assert!(matches!(other, ServeError::SocketInUse { .. }), "{other}");
    served.shut_down().join().unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let file = start_error(options());
    assert!(matches!(file, ServeError::NotASocket { .. }), "{file}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_cannot_be_served_is_said() {
    let served = Served::of(real("pm"));
    let taken = served
        .address
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let error = start_error(ServeOptions::default().with_addresses(vec![taken]));
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
    assert!(error.to_string().contains(&taken.to_string()));
    let missing = ModelOptions::new("pm", "/nowhere", ScorerOptions::default());
    let served = Served::start_loading(local(), vec![missing]);
    let error = served.ready().unwrap_err();
    let ServeError::Model {
        source: Error::Manifest(_),
        ..
    } = error
    else {
        panic!("{error}");
    };
}

fn start_error(options: ServeOptions) -> ServeError {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = worldpm_ort_serve::Server::start(options, vec![real("pm")]);
    runtime
        .block_on(async { server.await.map(drop) })
        .unwrap_err()
}
