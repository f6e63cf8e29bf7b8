//! Hubs that are busy, broken or do not have what is asked for: what is waited for, and what is said.

use std::{fs, time::Duration};

use worldpm_ort::hub::{self, HubError, HubOptions, Token};

use crate::{
    fixture::{BYTES, Hub, ID, SHARD_HEAD},
    hub_server::{Fault, HubServer, Repository},
};

#[test]
fn a_passing_fault_is_waited_for() {
    let soon = vec![("Retry-After", "0".to_owned())];
    for fault in [
        Fault::Status(429, soon.clone()),
        Fault::Status(503, soon),
        Fault::Status(500, vec![]),
        Fault::Cut(0),
    ] {
        for part in [
            "GET /api/",
            "HEAD /owner/model/resolve/",
            "GET /owner/model/resolve/",
            "?signature",
        ] {
            // Until the hub has answered once, a lost connection means that it cannot be reached.
            if matches!(fault, Fault::Cut(_)) && part == "GET /api/" {
                continue;
            }
            let hub = Hub::new();
            hub.fail(part, 3, fault.clone());
            hub.download()
                .unwrap_or_else(|e| panic!("{fault:?} at {part}: {e}"));
            hub.check();
        }
    }
}

#[test]
fn too_many_requests_for_ever() {
    let hub = Hub::new();
    hub.fail(
        "HEAD ",
        999,
        Fault::Status(429, vec![("Retry-After", "0".to_owned())]),
    );
    let error = hub
        .download_with(&HubOptions {
            workers: 1,
            ..hub.options()
        })
        .unwrap_err();
    assert!(
        matches!(
            error,
            HubError::RateLimited {
                attempts: 5,
                wait: Some(0),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        hub.server
            .take_log()
            .iter()
            .filter(|r| r.method == "HEAD")
            .count(),
        5
    );

    // A wait of hours is not waited for.
    let hub = Hub::new();
    hub.fail(
        "GET /api",
        1,
        Fault::Status(429, vec![("RateLimit", "\"api\";r=0;t=7200".to_owned())]),
    );
    let error = hub.download().unwrap_err();
    assert!(
        matches!(
            error,
            HubError::RateLimited {
                attempts: 1,
                wait: Some(7200),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("7200 seconds"), "{error}");
}

#[test]
fn a_server_that_stays_broken() {
    let hub = Hub::new();
    hub.fail(
        BYTES,
        999,
        Fault::Status(503, vec![("X-Error-Message", "Maintenance".to_owned())]),
    );
    let error = hub.download().unwrap_err().to_string();
    for part in [
        "503",
        "Maintenance",
        "5 attempts",
        "/api/models/owner/model",
        "HF_ENDPOINT",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn nobody_there() {
    let hub = Hub::new();
    let options = HubOptions {
        // A port that was free a moment ago.
        endpoint: {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        },
        backoff: Duration::from_secs(3600),
        ..hub.options()
    };
    let error = hub.download_with(&options).unwrap_err();
    assert!(
        matches!(error, HubError::Unreachable { attempts: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("HF_HUB_OFFLINE=1"), "{error}");
}

fn token(text: &str) -> Option<Token> {
    Token::new(text, "HF_TOKEN").unwrap()
}

#[test]
fn tokens() {
    let private = Hub::with(|r| r.private("hf_right"));
    let gated = Hub::with(|r| r.gated("hf_right"));
    let cases = [
        (&private, None, 401, "in HF_TOKEN"),
        (
            &private,
            token("hf_wrong"),
            401,
            "the token from HF_TOKEN is valid",
        ),
        (&gated, None, 401, "accept its terms at"),
        (&gated, token("hf_wrong"), 403, "accept its terms at"),
    ];
    for (hub, token, status, part) in cases {
        let error = hub
            .download_with(&HubOptions {
                token,
                ..hub.options()
            })
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(part) && text.contains(&status.to_string()) && text.contains(ID),
            "{text}"
        );
        assert!(
            !text.contains("hf_wrong") && !format!("{error:?}").contains("hf_wrong"),
            "{text}"
        );
        assert!(matches!(error, HubError::Access { status: s, .. } if s == status));
        assert!(!hub.cached("").exists(), "nothing is left behind");
    }
    for hub in [private, gated] {
        hub.server.take_log();
        hub.download_with(&HubOptions {
            token: token("hf_right"),
            ..hub.options()
        })
        .unwrap();
        hub.check();
        // The hub gets the token with every request, and the server behind it never.
        for request in hub.server.take_log() {
            let expected = (!request.large).then(|| "Bearer hf_right".to_owned());
            assert_eq!(request.authorization, expected, "{}", request.path);
        }
    }
}

#[test]
fn what_is_not_there() {
    let hub = Hub::new();
    let get = |name: &str| {
        let error = hub::download(&name.parse().unwrap(), &hub.options(), &|_| {}).unwrap_err();
        assert!(matches!(error, HubError::NotFound { .. }), "{error}");
        error.to_string()
    };
    let text = get("owner/other");
    assert!(
        text.contains("repository owner/other") && text.contains(&hub.server.endpoint()),
        "{text}"
    );
    let text = get("owner/model@v2");
    assert!(text.contains("revision `v2` of owner/model"), "{text}");

    hub.fail(
        "HEAD ",
        99,
        Fault::Status(404, vec![("X-Error-Code", "EntryNotFound".to_owned())]),
    );
    assert!(get(ID).contains("file `model.safetensors.index.json` in owner/model"));
}

#[test]
fn repositories_without_a_model() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("README.md", "")], "no `config.json`"),
        (&[("config.json", "{}")], "holds no weights"),
        (
            &[("config.json", "{}"), ("pytorch_model.bin", "x")],
            "`pytorch_model.bin`",
        ),
        (
            &[
                ("config.json", "{}"),
                (
                    "model.safetensors.index.json",
                    "{\"weight_map\": {\"a\": \"lost.safetensors\"}}",
                ),
            ],
            "`lost.safetensors`, which the repository does not have",
        ),
        (
            &[
                ("config.json", "{}"),
                (
                    "model.safetensors.index.json",
                    "{\"weight_map\": {\"a\": \"../../up.safetensors\"}}",
                ),
            ],
            "../../up.safetensors",
        ),
        (
            &[
                ("config.json", "{}"),
                ("model.safetensors.index.json", "[]"),
            ],
            "index",
        ),
    ];
    for (files, part) in cases {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in *files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let cache = tempfile::tempdir().unwrap();
        let server = HubServer::start(vec![Repository::of(ID, folder.path())]);
        let options = HubOptions {
            endpoint: server.endpoint(),
            ..HubOptions::with_cache(cache.path())
        };
        let error = hub::download(&ID.parse().unwrap(), &options, &|_| {}).unwrap_err();
        assert!(matches!(error, HubError::Content { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn answers_that_make_no_sense() {
    let answers: [&[u8]; 4] = [
        b"<html>",
        b"{}",
        b"{\"sha\": \"../..\", \"siblings\": []}",
        b"",
    ];
    for answer in answers {
        let hub = Hub::new();
        hub.fail("GET /api/models", 1, Fault::Body(answer.to_vec()));
        let error = hub.download().unwrap_err();
        assert!(matches!(error, HubError::Answer { .. }), "{error}");
    }
    let hub = Hub::new();
    hub.fail(
        "HEAD ",
        999,
        Fault::Status(302, vec![("Location", "/again".to_owned())]),
    );
    let error = hub.download().unwrap_err().to_string();
    assert!(error.contains("redirects more than 10 times"), "{error}");
}

#[test]
fn a_disk_that_is_too_small() {
    let hub = Hub::new();
    hub.fail(SHARD_HEAD, 99, Fault::Announce(1 << 60));
    let error = hub.download().unwrap_err();
    let HubError::Space { needed, free, .. } = error else {
        panic!("{error}")
    };
    assert!(needed > 1 << 60 && free < needed);
    assert!(
        error.to_string().contains(&needed.to_string())
            && error.to_string().contains(&free.to_string()),
        "{error}"
    );
    // Nothing large was begun.
    assert!(hub.server.take_log().iter().all(|r| !r.large));
}

/// A cache that cannot be written, here a file, is an error that names it.
#[test]
fn a_cache_that_cannot_be_written() {
    let hub = Hub::new();
    let file = hub.cache.path().join("file");
    fs::write(&file, "").unwrap();
    let options = HubOptions {
        cache: file.clone(),
        ..hub.options()
    };
    let error = hub.download_with(&options).unwrap_err();
    assert!(matches!(error, HubError::Cache { .. }), "{error}");
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
}
