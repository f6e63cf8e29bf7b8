//! Downloads from servers that say less than the hub does, or something else. What `huggingface_hub` completes is
//! completed.

use crate::{
    fixture::hash,
    hub_server::{Answer, Fault, Framing, Request},
    odd::{CUT, Change, HEAD, Hub, LARGE, LIST, SIZE, SMALL, SMALL_HEAD, weights, whole},
};

/// A server's name, and what of its answers is changed how.
type Odd = (&'static str, Vec<(&'static str, Change)>);

/// Changes the answer to a request for a part.
fn resumed(answer: &mut Answer, request: &Request, change: impl FnOnce(&mut Answer)) {
    if request.range.is_some() {
        change(answer);
    }
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
