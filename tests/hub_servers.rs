//! Downloads from servers that say less than the hub does, or something else, and from slow ones. What `huggingface_hub`
//! completes is completed; nothing that arrived is dropped unless its hash is wrong.

#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod support;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use support::hub_server::{Answer, Fault, Framing, HubServer, Repository, Request};
use support::{ID, hash, noise};
use tempfile::TempDir;
use worldpm_ort::hub::{self, HubError, HubOptions, Snapshot};

const WEIGHTS: &str = "model.safetensors";
/// Bytes of the weights, and those of them that come before a cut.
const SIZE: usize = 1_500_000;
const CUT: usize = 900_000;
/// Requests for what files are, and for their bytes; the small ones are the hub's own.
const HEAD: &str = "HEAD /owner/model/resolve/";
const SMALL_HEAD: &str = "HEAD /api/resolve-cache/";
const SMALL: &str = "GET /api/resolve-cache/";
const LARGE: &str = "?signature";
const LIST: &str = "/tree/";

type Change = fn(&mut Answer, &Request);
/// A server's name, and what of its answers is changed how.
type Odd = (&'static str, Vec<(&'static str, Change)>);

struct Hub {
    folder: TempDir,
    cache: TempDir,
    server: HubServer,
}

impl Hub {
    fn new(changes: &[(&'static str, Change)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files() {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let server = HubServer::start(vec![Repository::of(ID, folder.path())]);
        for (part, change) in changes {
            server.fail(part, usize::MAX, Fault::Odd(*change));
        }
        Self {
            folder,
            cache: tempfile::tempdir().unwrap(),
            server,
        }
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: self.server.endpoint(),
            backoff: Duration::from_millis(1),
            workers: 1,
            ..HubOptions::with_cache(self.cache.path())
        }
    }

    fn download(&self) -> Result<Snapshot, HubError> {
        hub::download(&ID.parse().unwrap(), &self.options(), &|_| {})
    }

    fn blobs(&self) -> PathBuf {
        self.cache.path().join("models--owner--model/blobs")
    }

    /// The unfinished part of the weights.
    fn partial(&self) -> PathBuf {
        self.blobs()
            .join(format!("{}.incomplete", hash(&weights())))
    }

    /// What a part of the weights has become, and nothing else that is unfinished.
    fn kept(&self) -> Option<Vec<u8>> {
        let unfinished = fs::read_dir(self.blobs())
            .unwrap()
            .map(|e| e.unwrap().path());
        let unfinished: Vec<PathBuf> = unfinished.filter(|p| p.extension().is_some()).collect();
        assert!(
            unfinished.iter().all(|path| *path == self.partial()),
            "{unfinished:?}"
        );
        fs::read(self.partial()).ok()
    }

    fn leave(&self, bytes: &[u8]) {
        fs::create_dir_all(self.blobs()).unwrap();
        fs::write(self.partial(), bytes).unwrap();
    }

    fn check(&self, snapshot: &Snapshot) {
        for (name, bytes) in files() {
            assert!(
                fs::read(snapshot.path.join(name)).unwrap() == bytes,
                "{name}"
            );
        }
        assert_eq!(self.kept(), None);
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 4);
    }
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("chat_template.jinja", b"{{ messages }}".to_vec()),
        ("config.json", b"{}".to_vec()),
        (WEIGHTS, weights()),
        ("tokenizer.json", noise(5, 30_000)),
    ]
}

fn weights() -> Vec<u8> {
    noise(2, SIZE)
}

/// Changes the answer to a request for a part.
fn resumed(answer: &mut Answer, request: &Request, change: impl FnOnce(&mut Answer)) {
    if request.range.is_some() {
        change(answer);
    }
}

fn whole(answer: &mut Answer) {
    answer.body = weights();
}

/// Servers, and which of their answers are odd.
fn complete() -> Vec<Odd> {
    vec![
        (
            "no length of small files",
            vec![(SMALL_HEAD, |a, _| a.framing = Framing::Close)],
        ),
        (
            "chunked heads",
            vec![(SMALL_HEAD, |a, _| a.framing = Framing::Chunked)],
        ),
        (
            "small files in chunks",
            vec![(SMALL, |a, _| a.framing = Framing::Chunked)],
        ),
        (
            "small files without end",
            vec![(SMALL, |a, _| a.framing = Framing::Close)],
        ),
        (
            "no length anywhere",
            vec![
                (SMALL_HEAD, |a, _| a.framing = Framing::Close),
                (SMALL, |a, _| a.framing = Framing::Close),
                (LARGE, |a, _| a.framing = Framing::Close),
            ],
        ),
        (
            "no length and no list",
            vec![
                (SMALL_HEAD, |a, _| a.framing = Framing::Close),
                (SMALL, |a, _| a.framing = Framing::Chunked),
                (LIST, |a, _| a.status = 404),
            ],
        ),
        (
            "no length, no end and no list",
            vec![
                (SMALL_HEAD, |a, _| a.framing = Framing::Close),
                (SMALL, |a, _| a.framing = Framing::Close),
                (LIST, |a, _| a.body = b"[{]".to_vec()),
            ],
        ),
        (
            "a length of nothing",
            vec![(SMALL_HEAD, |a, _| a.with("Content-Length", 0))],
        ),
        (
            "a wrong length",
            vec![(SMALL_HEAD, |a, _| a.with("Content-Length", 77))],
        ),
        (
            "a wrong length, then chunks",
            vec![
                (SMALL_HEAD, |a, _| a.with("Content-Length", 1)),
                (SMALL, |a, _| a.framing = Framing::Chunked),
            ],
        ),
        ("no answer to HEAD", vec![(HEAD, |a, _| a.status = 405)]),
        (
            "HEAD not implemented by the hub",
            vec![(HEAD, |a, _| a.status = 501)],
        ),
        (
            "storage that answers GET alone",
            vec![
                (HEAD, |a, _| a.without("X-Linked-Etag")),
                (LARGE, |a, r| {
                    if r.method == "HEAD" {
                        a.status = 403;
                    }
                }),
            ],
        ),
        ("HEAD not implemented", vec![(HEAD, |a, _| a.status = 400)]),
        (
            "no ETag of small files",
            vec![(SMALL_HEAD, |a, _| a.without("ETag"))],
        ),
        (
            "weak ETags",
            vec![
                (SMALL_HEAD, |a, _| {
                    let etag = a.headers.iter().find(|h| h.0 == "ETag").unwrap().1.clone();
                    a.with("ETag", format!("W/{etag}"));
                }),
                (HEAD, |a, _| {
                    if a.status == 302 {
                        a.with("X-Linked-Etag", format!("W/\"{}\"", hash(&weights())));
                    }
                }),
            ],
        ),
        (
            "no linked size",
            vec![(HEAD, |a, _| a.without("X-Linked-Size"))],
        ),
        (
            "no linked size and no list",
            vec![
                (HEAD, |a, _| a.without("X-Linked-Size")),
                (LIST, |a, _| a.status = 404),
            ],
        ),
        (
            "no linked ETag",
            vec![(HEAD, |a, _| a.without("X-Linked-Etag"))],
        ),
        (
            "a linked size of letters",
            vec![(HEAD, |a, _| {
                if a.status == 302 {
                    a.with("X-Linked-Size", "large");
                }
            })],
        ),
        (
            "a negative linked size",
            vec![(HEAD, |a, _| {
                if a.status == 302 {
                    a.with("X-Linked-Size", -1);
                }
            })],
        ),
        (
            "large files in chunks",
            vec![(LARGE, |a, _| a.framing = Framing::Chunked)],
        ),
        (
            "large files without end",
            vec![(LARGE, |a, _| a.framing = Framing::Close)],
        ),
        (
            "packed as identity",
            vec![(LARGE, |a, _| a.with("Content-Encoding", "identity"))],
        ),
        (
            "a range that nobody asked for",
            vec![(LARGE, |a, _| {
                a.status = 206;
                a.with("Content-Range", format!("bytes 0-{}/{SIZE}", SIZE - 1));
            })],
        ),
        ("status 203", vec![(LARGE, |a, _| a.status = 203)]),
        (
            "a login in the redirect",
            vec![(HEAD, |a, _| login(a)), ("GET /owner/", |a, _| login(a))],
        ),
    ]
}

/// Servers that cut a connection, and how they answer the request for the rest.
fn resuming() -> Vec<Odd> {
    vec![
        (
            "a rest without its place",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| a.without("Content-Range"));
            })],
        ),
        (
            "a rest without its place, in chunks",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    a.framing = Framing::Chunked;
                });
            })],
        ),
        (
            "a rest without its place and end",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    a.framing = Framing::Close;
                });
            })],
        ),
        (
            "a place of letters",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| a.with("Content-Range", "somewhere"));
            })],
        ),
        (
            "a rest of an unknown whole",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.with("Content-Range", format!("bytes {CUT}-{}/*", SIZE - 1))
                });
            })],
        ),
        (
            "a unit in capitals",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.with("Content-Range", format!("BYTES={CUT}-{}/{SIZE}", SIZE - 1))
                });
            })],
        ),
        (
            "a rest as a whole",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    a.status = 200;
                });
            })],
        ),
        (
            "a whole for a rest",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    a.status = 200;
                    whole(a);
                });
            })],
        ),
        (
            "a whole for a rest, in chunks",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    a.status = 200;
                    a.framing = Framing::Chunked;
                    whole(a);
                });
            })],
        ),
        (
            "a whole as a rest",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    whole(a);
                });
            })],
        ),
        (
            "a whole as a rest, in chunks",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    a.framing = Framing::Chunked;
                    whole(a);
                });
            })],
        ),
        (
            "a whole as a rest, without end",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    a.framing = Framing::Close;
                    whole(a);
                });
            })],
        ),
        (
            "a rest from the start",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.with("Content-Range", format!("bytes 0-{}/{SIZE}", SIZE - 1));
                    whole(a);
                });
            })],
        ),
        (
            "a rest from before",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.with("Content-Range", format!("bytes 1000-{}/{SIZE}", SIZE - 1));
                    a.body = weights()[1000..].to_vec();
                });
            })],
        ),
        (
            "a rest with a gap",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.with(
                        "Content-Range",
                        format!("bytes {}-{}/{SIZE}", CUT + 1, SIZE - 1),
                    );
                    a.body.remove(0);
                });
            })],
        ),
        (
            "no rest",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    *a = Answer {
                        status: 416,
                        ..Answer::default()
                    }
                });
            })],
        ),
        (
            "several parts",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.with("Content-Type", "multipart/byteranges; boundary=x")
                });
            })],
        ),
        (
            "a rest in small parts",
            vec![(LARGE, |a, r| {
                resumed(a, r, |_| {});
                if let Some(from) = &r.range {
                    let from: usize = from[6..].trim_end_matches('-').parse().unwrap();
                    a.body.truncate(50_000);
                    let last = from + a.body.len() - 1;
                    a.with("Content-Range", format!("bytes {from}-{last}/{SIZE}"));
                }
            })],
        ),
        (
            "a rest in small parts without places",
            vec![(LARGE, |a, r| {
                resumed(a, r, |a| {
                    a.without("Content-Range");
                    a.body.truncate(50_000);
                });
            })],
        ),
        (
            "a list in chunks",
            vec![("GET /api/models/", |a, _| a.framing = Framing::Chunked)],
        ),
        (
            "a list without end",
            vec![("GET /api/models/", |a, _| a.framing = Framing::Close)],
        ),
    ]
}

fn login(answer: &mut Answer) {
    if let Some((_, location)) = answer.headers.iter_mut().find(|h| h.0 == "Location") {
        *location = location.replacen("http://", "http://name:secret@", 1);
    }
}

#[test]
fn odd_servers_that_have_the_file() {
    let cut = |odd| (odd, Some(Fault::Cut(CUT)));
    let whole = complete().into_iter().map(|odd| (odd, None));
    for ((name, changes), cut) in whole.chain(resuming().into_iter().map(cut)) {
        let hub = Hub::new(&[]);
        let is_cut = cut.is_some();
        if let Some(cut) = cut {
            hub.server.fail(LARGE, 1, cut);
        }
        for (part, change) in changes {
            hub.server.fail(part, usize::MAX, Fault::Odd(change));
        }
        let snapshot = hub
            .download()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        hub.check(&snapshot);
        let log = hub.server.take_log();
        assert_eq!(log.iter().any(|r| r.range.is_some()), is_cut, "{name}");
        // What is there is not asked for again.
        assert_eq!(hub.download().unwrap(), snapshot, "{name}");
        assert_eq!(hub.server.take_log().len(), 1, "{name}");
    }
}

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
