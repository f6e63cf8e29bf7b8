//! A hub that gives no answer, and a cache that has what is asked for; and lists of files that come in pages.

use std::{fs, net::TcpListener, time::Duration};

use serde_json::Value;
use worldpm_ort::hub::{self, HubError, HubOptions};

use crate::{
    fixture::{Hub, ID, SHARD},
    hub_server::{Answer, Fault, Request},
};

const DESCRIPTION: &str = "GET /api/models/owner/model/revision/";

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Ways in which a hub gives no answer, and a part of the warning.
fn silent(hub: &Hub) -> Vec<(HubOptions, Option<Fault>, &'static str)> {
    let options = || hub.options();
    let endpoint = |endpoint: String| HubOptions {
        endpoint,
        ..options()
    };
    let soon = vec![("Retry-After", "0".to_owned())];
    let slow = HubOptions {
        etag_timeout: Duration::from_millis(50),
        ..options()
    };
    vec![
        (endpoint(nowhere()), None, "refused"),
        (
            endpoint("http://nowhere.invalid".to_owned()),
            None,
            "nowhere.invalid",
        ),
        (slow, Some(Fault::Stall(0)), "nothing came for 0.05 seconds"),
        (options(), Some(Fault::Cut(0)), "cut"),
        (options(), Some(Fault::Status(500, vec![])), "status 500"),
        (
            options(),
            Some(Fault::Status(503, soon.clone())),
            "status 503",
        ),
        (options(), Some(Fault::Status(429, soon)), "status 429"),
    ]
}

#[test]
fn a_complete_cache_stands_in_for_a_hub_that_is_silent() {
    let hub = Hub::new();
    let there = hub.download().unwrap();
    assert_eq!(there.warning, None);
    let pinned = format!("{ID}@{}", hub.commit).parse().unwrap();
    for (options, fault, part) in silent(&hub) {
        hub.server.forget_faults();
        if let Some(fault) = fault {
            hub.fail(DESCRIPTION, 999, fault);
        }
        let found = hub.download_with(&options).unwrap();
        let warning = found.warning.unwrap();
        assert_eq!((&found.path, &found.commit), (&there.path, &there.commit));
        for part in [part, ID, &hub.commit, "there may be a newer one"] {
            assert!(warning.contains(part), "no {part:?} in {warning}");
        }
        let found = hub::download(&pinned, &options, &|_| {}).unwrap();
        assert_eq!(found.path, there.path);
        assert!(!found.warning.unwrap().contains("newer"));
    }
}

#[test]
fn a_cache_that_lacks_a_file_does_not() {
    let hub = Hub::new();
    let expect_unreachable = |options: &HubOptions, part: &str| {
        let error = hub.download_with(options).unwrap_err();
        let is_silence = matches!(
            error,
            HubError::Unreachable { .. } | HubError::RateLimited { .. }
        );
        assert!(is_silence && error.to_string().contains(part), "{error}");
    };
    let cases = |hub: &Hub| {
        for (options, fault, part) in silent(hub) {
            hub.server.forget_faults();
            if let Some(fault) = fault {
                hub.fail(DESCRIPTION, 999, fault);
            }
            expect_unreachable(&options, part);
        }
        hub.server.forget_faults();
    };
    cases(&hub);
    hub.download().unwrap();
    fs::remove_file(hub.blob()).unwrap();
    cases(&hub);
    assert!(!hub.snapshot().join(SHARD).exists());
    // Another revision is not in the cache.
    let other = format!("{ID}@v2").parse().unwrap();
    hub.fail(DESCRIPTION, 999, Fault::Status(500, vec![]));
    let error = hub::download(&other, &hub.options(), &|_| {}).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
}

#[test]
fn an_answer_is_believed_whatever_the_cache_has() {
    let hub = Hub::new();
    hub.download().unwrap();
    for status in [401, 403, 404, 400] {
        hub.fail(DESCRIPTION, 1, Fault::Status(status, vec![]));
        let error = hub.download().unwrap_err();
        let text = error.to_string();
        match status {
            401 | 403 => assert!(matches!(error, HubError::Access { .. }), "{text}"),
            404 => assert!(matches!(error, HubError::NotFound { .. }), "{text}"),
            _ => assert!(matches!(error, HubError::Answer { .. }), "{text}"),
        }
    }
    hub.download().unwrap();
}

/// Cuts the list of files into pages of one file. The address of the next one is `start` and the query.
fn paged(answer: &mut Answer, request: &Request, start: &str) {
    let list: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
    let cursor = request.path.split("cursor=").nth(1);
    let at: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
    answer.body = serde_json::to_vec(&list[at..=at]).unwrap();
    if at + 1 < list.len() {
        let path = request.path.split('?').next().unwrap();
        let next = format!(
            "<{start}{path}?recursive=true&cursor={}>; rel=\"next\"",
            at + 1
        );
        answer.with("Link", next);
    }
}

/// Requests for pages of the list.
fn pages(hub: &Hub) -> usize {
    let log = hub.server.take_log();
    log.iter().filter(|r| r.path.contains("/tree/")).count()
}

/// A hub whose list of files has to be asked, since nothing else says what they are.
fn without_tags() -> Hub {
    let hub = Hub::new();
    hub.fail(
        "HEAD ",
        999,
        Fault::Odd(|answer, _| {
            answer.without("X-Linked-Etag");
            answer.without("ETag");
        }),
    );
    hub
}

#[test]
fn a_list_in_pages_is_read_to_its_end() {
    let hub = without_tags();
    hub.fail(
        "/tree/",
        999,
        Fault::Odd(|answer, request| paged(answer, request, "")),
    );
    hub.download().unwrap();
    hub.check();
    assert_eq!(pages(&hub), 9);
}

#[test]
fn no_other_host_is_asked_for_a_page() {
    let hub = without_tags();
    hub.fail(
        "/tree/",
        999,
        Fault::Odd(|answer, request| {
            paged(answer, request, "http://elsewhere.invalid");
        }),
    );
    let error = hub.download().unwrap_err();
    assert!(error.to_string().contains("has no ETag"), "{error}");
    assert_eq!(pages(&hub), 1);
}

#[test]
fn a_list_without_end_ends() {
    let hub = without_tags();
    hub.fail(
        "/tree/",
        usize::MAX,
        Fault::Odd(|answer, request| {
            answer.body = b"[]".to_vec();
            answer.with("Link", format!("<{}>; rel=next", request.path));
        }),
    );
    let error = hub.download().unwrap_err();
    assert!(error.to_string().contains("has no ETag"), "{error}");
    assert_eq!(pages(&hub), 200);
}
