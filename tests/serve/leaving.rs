//! Clients that leave before their reply comes.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use worldpm_ort::{ScorerOptions, queue::QueueOptions};
use worldpm_ort_runtime::testing::FakeOptions;

use crate::{
    raw,
    served::{Served, fake, local},
};

/// How many clients leave; more by this environment variable.
const CLIENTS: usize = 1000;
const MORE: &str = "LEAVING_CLIENTS";

/// Clients at a time that leave, and those that stay.
const LEAVING: usize = 16;
const STAYING: usize = 2;

/// No more than those at a time, with room for the ends of connections: what leaks is soon seen.
const MOST_CONNECTIONS: usize = 200;
const MOST_QUEUED: usize = 200;

fn question(number: usize) -> String {
    json!({"prompt": format!("question {number}"), "response": "a"}).to_string()
}

#[test]
fn their_work_is_dropped_and_others_are_served() {
    let clients = match std::env::var(MORE) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => CLIENTS,
    };
    let mut options = local();
    options.security.max_connections = MOST_CONNECTIONS;
    let mut scorer = ScorerOptions::default();
    scorer.queue = QueueOptions::default().with_max_conversations(MOST_QUEUED);
    // Much longer than clients wait.
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(200)]);
    let served = Served::start(options, vec![fake("pm", slow, scorer)]);
    let before = (open_files(), resident_kib());
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let stayed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let leavers: Vec<_> = (0..LEAVING)
            .map(|thread| {
                let (served, next) = (&served, &next);
                scope.spawn(move || leave(served, thread, next, clients))
            })
            .collect();
        for number in 0..STAYING {
            let (served, done, stayed) = (&served, &done, &stayed);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let request = json!({"prompt": "stays", "response": number.to_string()});
                    served.post("/v1/score", &request).ok();
                    stayed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for leaver in leavers {
            leaver.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    let stayed = stayed.into_inner();
    assert!(stayed > 0);
    // Only what a pack took before its clients left was computed for nobody.
    let planned = served.planned();
    let for_nobody = planned.conversations.saturating_sub(stayed);
    eprintln!(
        "{clients} clients left; for them {for_nobody} conversations were planned, in {} packs; {stayed} other requests",
        planned.packs
    );
    assert!(for_nobody < clients / 2, "{for_nobody} of {clients}");
    assert!(planned.packs < clients / 4, "{} packs", planned.packs);
    // The whole queue is free.
    let until = Instant::now() + Duration::from_secs(20);
    let all = vec![vec![1, 2, 3]; MOST_QUEUED];
    while served.post("/classify", &json!({"input": all})).status != 200 {
        assert!(Instant::now() < until, "the queue is not empty");
        std::thread::sleep(Duration::from_millis(20));
    }
    let after = (open_files(), resident_kib());
    eprintln!("open files and resident KiB: {before:?} before, {after:?} after");
}

/// Clients one after the other: half of them speak HTTP/2.
fn leave(served: &Served, thread: usize, next: &AtomicUsize, clients: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut random = fastrand::Rng::with_seed(thread as u64);
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= clients {
            return;
        }
        let wait = Duration::from_micros(random.u64(0..20_000));
        let body = question(number);
        if number.is_multiple_of(2) {
            let mut stream = raw::connect(served.socket());
            let request = raw::request("/v1/score", &[], body.as_bytes());
            // Some leave in the middle of their request.
            let sent = match random.u8(0..4) {
                0 => random.usize(0..request.len()),
                _ => request.len(),
            };
            stream.write_all(&request[..sent]).unwrap();
            std::thread::sleep(wait);
        } else {
            runtime.block_on(leave_http2(served.socket(), body, wait, random.bool()));
        }
    }
}

/// Takes the request back, or breaks off the connection.
async fn leave_http2(socket: &str, body: String, wait: Duration, resets: bool) {
    let stream = tokio::net::TcpStream::connect(socket).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = ureq::http::Request::post("http://x/v1/score")
        .body(())
        .unwrap();
    let (reply, mut sender) = client.send_request(request, false).unwrap();
    sender.send_data(body.into(), true).unwrap();
    let _ = tokio::time::timeout(wait, reply).await;
    if resets {
        sender.send_reset(h2::Reason::CANCEL);
        tokio::task::yield_now().await;
    }
    connection.abort();
    let _ = connection.await;
}

/// A client that takes back what it asks for as fast as it can is shut out, and no other.
#[test]
fn requests_that_are_taken_back_by_the_thousand_end_their_connection() {
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(50)]);
    let served = Served::of(fake("pm", slow, ScorerOptions::default()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(served.socket())
            .await
            .unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        for _ in 0..100_000 {
            let request = ureq::http::Request::post("http://x/v1/score")
                .body(())
                .unwrap();
            let Ok((_, mut sender)) = client.send_request(request, false) else {
                break;
            };
            sender.send_reset(h2::Reason::CANCEL);
            client = match client.ready().await {
                Ok(client) => client,
                Err(_) => break,
            };
        }
        tokio::time::timeout(Duration::from_secs(30), connection).await
    });
    let error = ended.expect("the connection goes on").unwrap().unwrap_err();
    assert!(error.is_go_away() || error.is_io(), "{error}");
    let request: Value = serde_json::from_str(&question(0)).unwrap();
    served.post("/v1/score", &request).ok();
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
