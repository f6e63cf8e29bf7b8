//! Keys, shares and limits.

use std::{
    io::Write,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use worldpm_ort::ScorerOptions;
use worldpm_ort_runtime::testing::FakeOptions;
use worldpm_ort_serve::{ApiKey, ServeOptions};

use crate::{
    raw,
    served::{Served, fake, local, real},
};

fn question() -> Value {
    json!({"prompt": "q", "response": "a"})
}

fn keys() -> ServeOptions {
    let mut options = local();
    options.security.api_keys = vec![ApiKey::new("a", "first"), ApiKey::new("b", "second")];
    options
}

#[test]
fn a_key_is_needed_where_there_are_keys() {
    let served = Served::start(keys(), vec![real("pm")]);
    for (headers, status) in [
        (vec![], 401),
        (vec![("authorization", "Bearer wrong")], 401),
        (vec![("authorization", "Basic first")], 401),
        (vec![("authorization", "first")], 401),
        (vec![("authorization", "Bearer ")], 401),
        (vec![("x-api-key", "")], 401),
        (vec![("authorization", "Bearer first")], 200),
        (vec![("authorization", "bearer  second")], 200),
        (vec![("x-api-key", "second")], 200),
        (
            vec![("authorization", "Bearer wrong"), ("x-api-key", "first")],
            401,
        ),
    ] {
        let reply = served.post_with("/v1/score", &headers, &question());
        assert_eq!(reply.status, status, "{headers:?}: {}", reply.body);
        if status == 401 {
            let error = &reply.json()["error"];
            assert_eq!(error["kind"], "unauthorized");
            assert!(error["message"].is_string());
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    for path in ["/live", "/ready", "/startup", "/health"] {
        served.get(path).ok();
    }
    for path in ["/v1/models", "/info", "/nothing", "/ready/", "//ready"] {
        assert_eq!(served.get(path).status, 401, "{path}");
    }
    // A call of gRPC learns it as such.
    let call = [("content-type", "application/grpc")];
    let reply = served.post_with(
        "/inference.GRPCInferenceService/ModelInfer",
        &call,
        &json!(0),
    );
    assert_eq!(reply.header("grpc-status"), Some("16"), "{reply:?}");
}

#[test]
fn a_file_of_keys_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("# ours\n\nteam:one\n");
    let mut options = local();
    options.security.api_key_file = Some(file.clone());
    let served = Served::start(options, vec![real("pm")]);
    let status = |key: &str| {
        let headers = [("x-api-key", key)];
        served.post_with("/v1/score", &headers, &question()).status
    };
    assert_eq!((status("one"), status("two")), (200, 401));
    write("team:two\n");
    served.reload().unwrap();
    assert_eq!((status("one"), status("two")), (401, 200));
    // A bad file, or an empty one, opens no door.
    for bad in ["a b c", "# nothing"] {
        write(bad);
        served.reload().unwrap();
        assert_eq!((status("one"), status("two")), (401, 200), "{bad}");
    }
}

#[test]
fn beyond_its_rate_a_client_is_refused() {
    let mut options = keys();
    options.security.rate_limit = Some(0.01);
    options.security.rate_burst = Some(2);
    let served = Served::start(options, vec![real("pm")]);
    let ask =
        |key: &str, path: &str, body: &Value| served.post_with(path, &[("x-api-key", key)], body);
    for _ in 0..2 {
        ask("first", "/v1/score", &question()).ok();
    }
    for (path, body) in [
        ("/v1/score", question()),
        ("/classify", json!({"input": "x"})),
        ("/predict", json!({"inputs": "x"})),
    ] {
        let reply = ask("first", path, &body);
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (429, Some("1"))
        );
    }
    assert_eq!(
        ask("first", "/predict", &json!(0)).json()["error_type"],
        "Overloaded"
    );
    ask("second", "/v1/score", &question()).ok();
    assert_eq!(served.get("/ready").status, 200);
}

#[test]
fn beyond_the_requests_at_a_time_each_client_is_told_its_way() {
    let mut options = local();
    options.security.max_concurrent_requests = 1;
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(1500)]);
    let served = Served::start(options, vec![fake("pm", slow, ScorerOptions::default())]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| served.post("/v1/score", &question()));
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        // The body is not even looked at.
        for (path, status) in [("/v1/score", 503), ("/classify", 503), ("/rerank", 429)] {
            let reply = served.post(path, &json!("no request"));
            assert_eq!(reply.status, status, "{path}: {}", reply.body);
            assert_eq!(reply.header("retry-after"), Some("1"), "{path}");
        }
        served.get("/ready").ok();
        assert!(!first.is_finished());
        // A client that sends before it reads comes to its reply.
        let large = vec![b' '; 900_000];
        let reply = served.send("/classify", "application/json", &large);
        assert_eq!(reply.status, 503);
        eprintln!("5 replies at overload: {:?}", begun.elapsed());
        first.join().unwrap().ok();
    });
    served.post("/v1/score", &question()).ok();
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let mut options = local();
    options.security.max_connections = 2;
    let served = Served::start(options, vec![real("pm")]);
    // The server's own client may still hold one.
    let held: Vec<_> = (0..2).map(|_| raw::connect(served.socket())).collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut refused = raw::connect(served.socket());
    assert_eq!(raw::rest(&mut refused), "");
    drop(held);
    let until = Instant::now() + Duration::from_secs(10);
    let request = raw::request("/v1/score", &[], question().to_string().as_bytes());
    while raw::status(&raw::ask(&mut raw::connect(served.socket()), &request)) != Some(200) {
        assert!(Instant::now() < until, "no place became free");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_request_has_no_more_tokens_than_it_may() {
    let mut options = local();
    options.security.max_request_tokens = Some(10);
    let served = Served::start(options, vec![real("pm")]);
    let ids = |lists: &[usize]| {
        let lists: Vec<Vec<u32>> = lists.iter().map(|&length| vec![3; length]).collect();
        served.post("/classify", &json!({"input": lists}))
    };
    ids(&[5, 5]).ok();
    for lists in [&[11][..], &[5, 6], &[1; 11]] {
        let reply = ids(lists);
        assert_eq!(reply.status, 413, "{lists:?}");
        assert!(reply.body.contains("more than 10 tokens"), "{}", reply.body);
    }
}

#[test]
fn pages_of_other_origins_are_let_through_only_where_they_are_named() {
    let ask = |served: &Served, origin: &str| {
        let headers = [("origin", origin), ("x-api-key", "first")];
        let reply = served.post_with("/v1/score", &headers, &question());
        reply.ok();
        let allowed = reply.header("access-control-allow-origin");
        allowed.map(str::to_owned)
    };
    let served = Served::start(keys(), vec![real("pm")]);
    assert_eq!(ask(&served, "https://a.example"), None);
    let mut options = keys();
    options.security.cors_origins = vec!["https://a.example".into()];
    let served = Served::start(options, vec![real("pm")]);
    let allowed = Some("https://a.example".to_owned());
    assert_eq!(ask(&served, "https://a.example"), allowed);
    assert_eq!(ask(&served, "https://a.example.org"), None);
    assert_eq!(ask(&served, "null"), None);
    // What a browser asks first has no key.
    let mut stream = raw::connect(served.socket());
    stream
        .write_all(
            b"OPTIONS /v1/score HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: https://a.example\r\n\
              access-control-request-method: POST\r\n\r\n",
        )
        .unwrap();
    let reply = raw::rest(&mut stream);
    assert_eq!(raw::status(&reply), Some(204), "{reply}");
    for part in [
        "access-control-allow-origin: https://a.example\r\n",
        "access-control-allow-methods: GET, POST\r\n",
        "x-api-key",
    ] {
        assert!(reply.contains(part), "{reply}");
    }
}

#[test]
fn the_file_system_says_who_may_use_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut options = keys();
    options.unix_sockets = vec![path.clone()];
    let served = Served::start(options, vec![real("pm")]);
    for (target, headers, status) in [
        ("/v1/score", &[][..], 200),
        ("/v1/score", &["x-api-key: wrong"], 401),
        ("/admin/reload", &[], 200),
    ] {
        let body = match target {
            "/admin/reload" => String::new(),
            _ => question().to_string(),
        };
        let request = raw::request(target, headers, body.as_bytes());
        let reply = raw::ask(&mut UnixStream::connect(&path).unwrap(), &request);
        assert_eq!(raw::status(&reply), Some(status), "{reply}");
    }
    served.get("/ready").ok();
}
