//! The log of the command, and the ids that it has.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::{
    served::{Reply, Served, ask, bundle, real},
    support,
};

/// The command, as it serves.
struct Serving {
    child: Child,
    address: String,
    /// What standard error had before the address.
    log: std::thread::JoinHandle<Vec<String>>,
}

impl Serving {
    fn start(flags: &[&str]) -> Self {
        let mut child = support::command()
            .args(["serve", "--port", "0", "--model"])
            .arg(bundle())
            .args(flags)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut log = Vec::new();
        let address = loop {
            let line = lines.next().expect("it ended");
            let found = line.find("http://").map(|at| {
                let rest = &line[at..];
                rest[..rest.find('"').unwrap_or(rest.len())].to_owned()
            });
            log.push(line);
            if let Some(address) = found {
                break address;
            }
        };
        let log = std::thread::spawn(move || {
            log.extend(lines);
            log
        });
        let this = Self {
            child,
            address,
            log,
        };
        let begun = std::time::Instant::now();
        while this.get("/ready", &[]).status != 200 {
            assert!(begun.elapsed().as_secs() < 60);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        this
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        ask(&self.address, path, headers, None)
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        ask(
            &self.address,
            path,
            headers,
            Some(body.to_string().as_bytes()),
        )
    }

    /// Ends it, and gives its log.
    fn log(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.log.join().unwrap()
    }
}

#[test]
fn every_reply_has_the_id_of_its_request() {
    let served = Served::of(real("pm"));
    let request = json!({"prompt": "q", "response": "a"});
    let headers = [("x-request-id", "7c9e6679-7425")];
    for path in ["/v1/score", "/classify", "/nowhere"] {
        let reply = served.post_with(path, &headers, &request);
        assert_eq!(
            reply.header("x-request-id"),
            Some("7c9e6679-7425"),
            "{path}"
        );
    }
    let long = "x".repeat(129);
    let mut made = std::collections::HashSet::new();
    for bad in ["a b", "\"", &long] {
        let reply = served.post_with("/v1/score", &[("x-request-id", bad)], &request);
        let id = reply.header("x-request-id").unwrap().to_owned();
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
        assert!(made.insert(id));
    }
}

#[test]
fn a_line_of_json_for_each_request_and_no_content() {
    let serving = Serving::start(&["--log-format", "json", "--log-level", "debug"]);
    let request = json!({"prompt": "secret words", "response": "more secrets"});
    serving
        .post("/v1/score", &[("x-request-id", "good")], &request)
        .ok();
    let wrong = json!({"model": "no such", "prompt": "secret words", "response": "a"});
    let reply = serving.post("/v1/score", &[("x-request-id", "bad")], &wrong);
    assert_eq!(reply.status, 404);
    let log = serving.log();
    let lines: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let of = |id: &str| {
        let mut own = lines.iter().filter(|line| line["span"]["request_id"] == id);
        let line = own.next().unwrap_or_else(|| panic!("{log:#?}"));
        assert!(own.all(|line| line["target"] != "worldpm_ort_serve::ops::log"));
        line
    };
    let good = of("good");
    assert_eq!(
        (&good["level"], &good["message"]),
        (&json!("DEBUG"), &json!("answered"))
    );
    for (field, value) in [
        ("method", json!("POST")),
        ("route", json!("/v1/score")),
        ("status", json!(200)),
        ("conversations", json!(1)),
        ("client", json!("127.0.0.1")),
    ] {
        assert_eq!(good[field], value, "{good}");
    }
    assert!(good["tokens"].as_u64().unwrap() > 0);
    assert!(good["milliseconds"].as_f64().unwrap() > 0.0);
    let bad = of("bad");
    assert_eq!(
        (&bad["level"], &bad["message"]),
        (&json!("INFO"), &json!("refused"))
    );
    assert_eq!(
        (&bad["kind"], &bad["status"]),
        (&json!("not_found"), &json!(404))
    );
    assert!(lines.iter().any(|line| line["message"] == "listening"));
    assert!(!log.concat().contains("secret"));
}

#[test]
fn text_by_default_without_a_line_for_what_is_good() {
    let serving = Serving::start(&[]);
    let request = json!({"prompt": "q", "response": "a"});
    serving
        .post("/v1/score", &[("x-request-id", "good")], &request)
        .ok();
    assert_eq!(
        serving.get("/nowhere", &[("x-request-id", "bad")]).status,
        404
    );
    let log = serving.log();
    assert!(
        log.iter()
            .any(|line| line.starts_with("listening on http://127.0.0.1:")),
        "{log:?}"
    );
    assert!(!log.concat().contains("good"), "{log:?}");
    let bad: Vec<_> = log
        .iter()
        .filter(|line| line.contains("request_id=\"bad\""))
        .collect();
    assert_eq!(bad.len(), 1, "{log:?}");
    for part in [
        "INFO",
        "refused",
        "route=\"other\"",
        "status=404",
        "kind=\"not_found\"",
    ] {
        assert!(bad[0].contains(part), "{part}: {}", bad[0]);
    }
}
