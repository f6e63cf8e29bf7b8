//! Servers at fault, and slow ones: nothing that arrived is dropped unless its hash is wrong.

use std::{
    fs,
    time::{Duration, Instant},
};

use worldpm_ort::hub::{self, HubError, HubOptions};

use crate::{
    fixture::{ID, hash, noise},
    hub_server::{Fault, Framing},
    odd::{CUT, Change, HEAD, Hub, LARGE, LIST, SIZE, SMALL, SMALL_HEAD, weights, whole},
};

#[test]
fn bytes_are_kept_where_the_server_is_at_fault() {
    let right = &weights()[..CUT];
    let cases: &[(&str, Change, &str)] = &[
        (
            "a rest of another whole",
            |a, _| a.with("Content-Range", format!("bytes {CUT}-{SIZE}/{}", SIZE + 1)),
            "announced 1500000 bytes and sends 1500001",
        ),
        (
            "another whole",
            |a, _| {
                a.status = 200;
                a.without("Content-Range");
                a.body = noise(9, 1000);
            },
            "announced 1500000 bytes and sends 1000",
        ),
        (
            "other bytes",
            |a, _| a.body = noise(9, a.body.len()),
            "SHA-256",
        ),
        (
            "other bytes of no known place",
            |a, _| {
                a.without("Content-Range");
                a.body = noise(9, a.body.len());
            },
            "SHA-256",
        ),
        (
            "packed",
            |a, _| a.with("Content-Encoding", "gzip"),
            "packed (gzip)",
        ),
        ("an error", |a, _| a.status = 500, "status 500"),
        ("always cut", |a, _| a.cut = Some(0), "cut"),
        (
            "cut before what is here",
            |a, _| {
                a.status = 200;
                a.without("Content-Range");
                whole(a);
                a.cut = Some(CUT - 1);
            },
            "cut",
        ),
    ];
    for (name, change, part) in cases {
        let hub = Hub::new(&[(LARGE, *change)]);
        hub.leave(right);
        let error = hub.download().unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
        assert!(hub.kept().unwrap() == right, "{name}");
        // And used, once the server is well.
        hub.server.forget_faults();
        hub.server.take_log();
        hub.check(&hub.download().unwrap());
        let large = hub.server.take_log().into_iter().filter(|r| r.large);
        let ranges = large.filter_map(|r| r.range);
        assert_eq!(
            ranges.collect::<Vec<_>>(),
            [format!("bytes={CUT}-")],
            "{name}"
        );
    }
}

#[test]
fn sizes_that_are_not_true_lose_nothing() {
    let change: Change = |a, _| {
        if a.status == 302 {
            a.with("X-Linked-Size", 10);
        }
    };
    let hub = Hub::new(&[(HEAD, change)]);
    hub.leave(&weights()[..CUT]);
    let error = hub.download().unwrap_err().to_string();
    assert!(
        error.contains("announced 10 bytes and sends 1500000"),
        "{error}"
    );
    assert!(hub.kept().unwrap() == weights()[..CUT]);
    hub.server.forget_faults();
    hub.check(&hub.download().unwrap());

    // A whole file is believed by its hash, whatever a header says.
    let hub = Hub::new(&[(HEAD, change)]);
    fs::create_dir_all(hub.blobs()).unwrap();
    fs::write(hub.blobs().join(hash(&weights())), weights()).unwrap();
    hub.check(&hub.download().unwrap());
    assert!(hub.server.take_log().iter().all(|r| !r.large));
}

#[test]
fn what_nothing_can_check_is_refused() {
    let nothing: Change = |a, _| {
        a.with("ETag", "\"of-no-kind\"");
        a.framing = Framing::Close;
    };
    let hub = Hub::new(&[
        (SMALL_HEAD, nothing),
        (SMALL, |a, _| a.framing = Framing::Close),
        (LIST, |a, _| a.status = 404),
    ]);
    let error = hub.download().unwrap_err().to_string();
    assert!(error.contains("says that the file is whole"), "{error}");
    // With an end that shows it is taken.
    let hub = Hub::new(&[
        (SMALL_HEAD, nothing),
        (SMALL, |a, _| a.framing = Framing::Chunked),
        (LIST, |a, _| a.status = 404),
    ]);
    let error = hub.download();
    // All small files have one tag here, and so one blob: the first of them.
    assert!(error.is_ok(), "{error:?}");
}

/// Whatever drips ends, though no single wait is long.
#[test]
fn slow_answers_end() {
    const PAUSE: Option<Duration> = Some(Duration::from_millis(20));
    let cases: &[(&str, &'static str, Change, &str)] = &[
        ("a file", LARGE, |a, _| a.drip_body = PAUSE, "bytes came in"),
        (
            "a file in chunks",
            LARGE,
            |a, _| {
                a.drip_body = PAUSE;
                a.framing = Framing::Chunked;
            },
            "bytes came in",
        ),
        (
            "a small file",
            SMALL,
            |a, _| a.drip_body = PAUSE,
            "bytes came in",
        ),
        (
            "a description",
            "GET /api/models/",
            |a, _| a.drip_body = PAUSE,
            "bytes came in",
        ),
        (
            "a head",
            LARGE,
            |a, _| a.drip_head = PAUSE,
            "head of the answer was not whole",
        ),
        (
            "a head of a file",
            HEAD,
            |a, _| a.drip_head = PAUSE,
            "head of the answer was not whole",
        ),
    ];
    for (name, part, change, text) in cases {
        let hub = Hub::new(&[(part, *change)]);
        let options = HubOptions {
            timeout: Duration::from_millis(300),
            etag_timeout: Duration::from_millis(300),
            attempts: 2,
            ..hub.options()
        };
        let start = Instant::now();
        let error = hub::download(&ID.parse().unwrap(), &options, &|_| {}).unwrap_err();
        assert!(
            matches!(error, HubError::Unreachable { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(text), "{name}: {error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{name}");
    }
}

/// Times that no clock can count to.
#[test]
fn any_timeout() {
    for timeout in [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(1 << 40),
    ] {
        let hub = Hub::new(&[]);
        let options = HubOptions {
            timeout,
            etag_timeout: timeout,
            longest_wait: timeout,
            ..hub.options()
        };
        hub.check(&hub::download(&ID.parse().unwrap(), &options, &|_| {}).unwrap());
    }
}

#[test]
fn a_password_goes_to_its_host_and_into_no_text() {
    let secret = "pass%40word";
    let hub = Hub::new(&[]);
    let address = hub.server.endpoint();
    let endpoint = address.replace("http://", &format!("http://user:{secret}@"));
    let options = HubOptions {
        endpoint,
        ..hub.options()
    };
    let get =
        |options: &HubOptions, id: &str| hub::download(&id.parse().unwrap(), options, &|_| {});
    hub.check(&get(&options, ID).unwrap());
    for request in hub.server.take_log() {
        // As `printf 'user:pass@word' | base64` says.
        let expected = (!request.large).then(|| "Basic dXNlcjpwYXNzQHdvcmQ=".to_owned());
        assert_eq!(request.authorization, expected, "{}", request.path);
    }

    // Errors of every kind.
    let location = "http://name:secret-name@127.0.0.1:9/x?signature=secret-sign";
    let faults = [
        Fault::Status(500, vec![]),
        Fault::Status(429, vec![("Retry-After", "0".to_owned())]),
        Fault::Status(401, vec![]),
        Fault::Status(403, vec![("X-Error-Code", "GatedRepo".to_owned())]),
        Fault::Status(404, vec![]),
        Fault::Status(418, vec![]),
        Fault::Status(302, vec![("Location", location.to_owned())]),
        Fault::Status(302, vec![("Location", location.replace("http", "ftp"))]),
        Fault::Status(302, vec![("Location", format!("{location} x"))]),
        Fault::Status(
            302,
            vec![("Location", "/again?signature=secret-sign".to_owned())],
        ),
        Fault::Body(b"<html>".to_vec()),
        Fault::Cut(1),
    ];
    let mut texts: Vec<String> = Vec::new();
    for fault in faults {
        for part in ["GET /api/", "HEAD ", LARGE] {
            let hub = Hub::new(&[]);
            hub.server.fail(part, usize::MAX, fault.clone());
            hub.server.fail("/again", usize::MAX, fault.clone());
            let endpoint = hub
                .server
                .endpoint()
                .replace("http://", &format!("http://user:{secret}@"));
            let options = HubOptions {
                endpoint,
                ..hub.options()
            };
            match get(&options, ID) {
                Err(error) => texts.push(format!("{error} {error:?} {options:?}")),
                // What HEAD does not tell, the list of files does.
                Ok(_) => assert_eq!(part, "HEAD ", "{fault:?}"),
            }
        }
    }
    for endpoint in [
        "http://user:SECRET@127.0.0.1:9",
        "http://user:SECRET@no such host",
        "http://user:SECRET@",
    ] {
        let empty = tempfile::tempdir().unwrap();
        let mut options = HubOptions {
            endpoint: endpoint.replace("SECRET", secret),
            cache: empty.path().to_owned(),
            ..hub.options()
        };
        let error = get(&options, ID).unwrap_err();
        texts.push(format!("{error} {error:?} {options:?}"));
        // A cache that has everything stands in for a hub that is silent.
        options.cache = hub.cache.path().to_owned();
        if let Ok(found) = get(&options, ID) {
            texts.push(found.warning.unwrap());
        }
    }
    for text in texts {
        for secret in ["pass%40", "pass@", "secret-name", "secret-sign", "dXNl"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
