//! Clients that take or send nothing do not hold the server.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use serde_json::json;
use worldpm_ort::ScorerOptions;
use worldpm_ort_runtime::testing::FakeOptions;
use worldpm_ort_serve::ServeOptions;

use crate::{
    raw,
    served::{Served, fake, local, real},
};

/// Waits are much shorter than what tests wait for at most.
const ALLOWED: Duration = Duration::from_millis(400);

fn impatient() -> ServeOptions {
    let mut options = local();
    options.read_timeout = ALLOWED;
    options.security.write_timeout = ALLOWED;
    options
}

#[test]
fn clients_that_send_slowly_are_let_go() {
    let served = Served::start(impatient(), vec![real("pm")]);
    for (begins, ends) in [
        // Nothing, what may become either version of HTTP, and half a head.
        ("", ""),
        ("P", ""),
        ("PRI * HTTP/2.0\r\n\r\nSM", ""),
        ("POST /v1/score HTTP/1.1\r\nhost: x\r\n", ""),
        // A whole request is answered, and the next one does not come.
        ("GET /live HTTP/1.1\r\nhost: x\r\n\r\n", "200"),
        // Half a body.
        (
            "POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{",
            "408",
        ),
        (
            "POST /v1/score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
            "408",
        ),
    ] {
        let begun = Instant::now();
        let mut stream = raw::connect(served.socket());
        stream.write_all(begins.as_bytes()).unwrap();
        let reply = raw::rest(&mut stream);
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(10), "{begins:?}: {waited:?}");
        assert!(waited > ALLOWED / 2, "{begins:?}: {waited:?}");
        assert!(reply.contains(ends), "{begins:?}: {reply}");
    }
    served.get("/ready").ok();
}

/// One byte now and then keeps neither a head nor a body alive.
#[test]
fn drops_of_a_request_are_no_request() {
    let served = Served::start(impatient(), vec![real("pm")]);
    for begins in [
        "GET /live HTTP/1.1\r\nx: ",
        "POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
    ] {
        let mut stream = raw::connect(served.socket());
        stream.write_all(begins.as_bytes()).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while stream.write_all(b"a").is_ok() {
            assert!(Instant::now() < until, "{begins:?} goes on");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn long_work_is_not_taken_for_a_slow_client() {
    let slow = FakeOptions::default().with_stages(vec![4 * ALLOWED]);
    let served = Served::start(
        impatient(),
        vec![fake("pm", slow, ScorerOptions::default())],
    );
    served
        .post("/v1/score", &json!({"prompt": "q", "response": "a"}))
        .ok();
}

/// Replies that nobody takes fill the socket; then the connection is ended, and its place is free.
#[test]
fn clients_that_take_nothing_are_let_go() {
    let mut options = impatient();
    options.security.max_connections = 1;
    let served = Served::start(options, vec![real("pm")]);
    let mut stream = raw::connect(served.socket());
    let request = b"GET /info HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    stream
        .set_write_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let begun = Instant::now();
    let ended = loop {
        if let Err(error) = stream.write_all(&request) {
            break error;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    };
    let reset = [
        std::io::ErrorKind::ConnectionReset,
        std::io::ErrorKind::BrokenPipe,
    ];
    assert!(reset.contains(&ended.kind()), "{ended}");
    let mut next = raw::connect(served.socket());
    let get = b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(raw::status(&raw::ask(&mut next, get)), Some(200));
}

#[test]
fn heads_have_bounds() {
    let served = Served::start(local(), vec![real("pm")]);
    let many = "x: y\r\n".repeat(200);
    let large = format!("x: {}\r\n", "y".repeat(1 << 20));
    for headers in [many, large] {
        let request = format!("GET /live HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let reply = raw::ask(&mut raw::connect(served.socket()), request.as_bytes());
        // Whoever sends on may be reset before the reply is read.
        let status = raw::status(&reply);
        assert!([Some(431), None].contains(&status), "{reply}");
    }
    served.get("/ready").ok();
}

/// At the end of the server, nobody waits for a client that has not asked anything.
#[test]
fn the_end_waits_for_no_idle_client() {
    let served = Served::start(local(), vec![real("pm")]);
    let mut idle = [raw::connect(served.socket()), raw::connect(served.socket())];
    idle[1]
        .write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    idle[1].read_exact(&mut [0; 12]).unwrap();
    let begun = Instant::now();
    served.shut_down().join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// What a connection of HTTP/2 has asked is answered, and then it ends.
#[test]
fn the_end_answers_what_http2_has_asked() {
    let slow = FakeOptions::default().with_stages(vec![2 * ALLOWED]);
    let served = Served::of(fake("pm", slow, ScorerOptions::default()));
    let socket = served.socket().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(socket).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let request = ureq::http::Request::post("http://x/v1/score").body(());
        let (reply, mut sender) = client.send_request(request.unwrap(), false).unwrap();
        let body = json!({"prompt": "q", "response": "a"}).to_string();
        sender.send_data(body.into(), true).unwrap();
        tokio::time::sleep(ALLOWED / 2).await;
        let ending = served.shut_down();
        let reply = reply.await.unwrap();
        assert_eq!(reply.status(), 200);
        let mut body = reply.into_body();
        while let Some(data) = body.data().await {
            let length = data.unwrap().len();
            body.flow_control().release_capacity(length).unwrap();
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
        ended.expect("the connection goes on").unwrap().unwrap();
        ending.join().unwrap();
    });
}
