//! A bounded load on a server: one conversation a request, from many clients, and what came of it.
//!
//!     cargo run --release --example serve_load -- --address 127.0.0.1:8000 --data records.jsonl --clients 64 --seconds 30
//!     cargo run --release --example serve_load -- --fake-bundle DIR --fake-ms 1 --clients 64 --seconds 10
//!
//! Without `--rate` each client sends its next request when the last was answered. With `--rate N` requests are sent N times a
//! second whatever the answers, over as many connections as are needed, up to `--clients`; what finds no free connection is
//! counted as late. `--groups` sends the responses of a prompt together. With `--fake-bundle` it starts a server of its own, on
//! an engine that takes `--fake-ms` for a pack.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet, time};
use worldpm_ort::{Scorer, ScorerOptions};
use worldpm_ort_runtime::{
    queue::QueueOptions,
    testing::{FakeEngine, FakeOptions},
};
use worldpm_ort_serve::{ModelOptions, ServeOptions, Server};

/// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// HOST:PORT of a server
    #[arg(long, required_unless_present = "fake_bundle")]
    address: Option<String>,
    /// A bundle whose text files a server of this process uses, on an engine that only passes the time
    #[arg(long)]
    fake_bundle: Option<std::path::PathBuf>,
    /// What that engine takes for a pack, in milliseconds
    #[arg(long, default_value_t = 1.0)]
    fake_ms: f64,
    /// Most tokens that wait in that server, beyond which it refuses
    #[arg(long)]
    fake_queue_tokens: Option<usize>,
    /// Records with `prompt` and `response`, or with `prompt` and `responses`; made up without
    #[arg(long)]
    data: Option<std::path::PathBuf>,
    /// What `worldpm-ort score` gives of that file; replies with another score are counted
    #[arg(long, requires = "data")]
    expect: Option<std::path::PathBuf>,
    /// The path that is asked
    #[arg(long, default_value = "/v1/score")]
    path: String,
    #[arg(long, default_value_t = 64)]
    clients: usize,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests a second
    #[arg(long)]
    rate: Option<f64>,
    /// Send the responses of a prompt at once
    #[arg(long)]
    groups: bool,
}

/// What came of all requests.
#[derive(Default)]
struct Tally {
    /// Milliseconds of requests, by their status.
    latencies: BTreeMap<u16, Vec<f64>>,
    broken: usize,
    late: usize,
    /// Scores that were expected, and those that came out otherwise.
    compared: usize,
    different: usize,
}

/// A request, and the score that it should have.
#[derive(Clone)]
struct Ask {
    body: Bytes,
    expected: Option<f64>,
}

/// What came of a request.
struct Came {
    status: u16,
    score: Option<f64>,
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(args));
}

async fn run(args: Args) {
    let (address, server) = match &args.fake_bundle {
        None => (args.address.clone().unwrap(), None),
        Some(bundle) => {
            let server = fake(bundle, &args).await;
            let address = server.addresses()[0]
                .strip_prefix("http://")
                .unwrap()
                .to_owned();
            (address, Some(server))
        }
    };
    let groups = Arc::new(groups(&args));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(args.seconds);
    match args.rate {
        None => closed(&args, &address, &groups, &tally, until).await,
        Some(rate) => open(&args, &address, &groups, &tally, until, rate).await,
    }
    let seconds = begun.elapsed().as_secs_f64();
    let tally = tally.lock().unwrap();
    let answered: usize = tally.latencies.get(&200).map_or(0, Vec::len);
    let by_status: serde_json::Map<String, Value> = tally
        .latencies
        .iter()
        .map(|(status, latencies)| (status.to_string(), percentiles(latencies)))
        .collect();
    let mut report = json!({
        "seconds": seconds,
        "answered": answered,
        "answered_per_second": answered as f64 / seconds,
        "milliseconds": by_status,
        "broken": tally.broken,
        "late": tally.late,
    });
    if args.expect.is_some() {
        report["compared"] = json!(tally.compared);
        report["different"] = json!(tally.different);
    }
    if let Some(server) = &server {
        let counters = server.counters().remove(0).1;
        let planned = counters.planned;
        report["tokenising_seconds"] = json!(counters.tokenising.as_secs_f64());
        report["planning_seconds"] = json!(counters.planning.as_secs_f64());
        report["packs"] = json!(planned.packs);
        report["tokens"] = json!(planned.tokens);
        report["unique_tokens"] = json!(planned.unique_tokens);
    }
    println!("{report}");
}

fn percentiles(latencies: &[f64]) -> Value {
    let mut sorted = latencies.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    json!({"count": sorted.len(), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0)})
}

async fn fake(bundle: &std::path::Path, args: &Args) -> Server {
    let bundle = bundle.to_owned();
    let milliseconds = args.fake_ms;
    let mut queue = QueueOptions::default().with_max_delay(Duration::from_millis(2));
    if let Some(tokens) = args.fake_queue_tokens {
        queue = queue.with_max_tokens(tokens);
    }
    let mut model = ModelOptions::with_open("fake", &bundle, {
        let bundle = bundle.clone();
        move || {
            let time = Duration::from_secs_f64(milliseconds / 1e3);
            let engine = FakeEngine::start(FakeOptions::default().with_stages(vec![time])).unwrap();
            let mut options = ScorerOptions::default();
            options.queue = queue;
            Scorer::open_with_engine(&bundle, &options, Arc::new(engine))
        }
    });
    model.checks_probes = false;
    let options = ServeOptions::default().with_addresses(vec![([127, 0, 0, 1], 0).into()]);
    let server = Server::start(options, vec![model]).await.unwrap();
    server.ready().await.unwrap();
    server
}

/// Requests, those of a prompt together.
fn groups(args: &Args) -> Vec<Vec<Ask>> {
    let scores = args.expect.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["score"].as_f64();
        text.lines().map(line).collect::<Vec<_>>()
    });
    let mut scores = scores.into_iter().flatten();
    let mut body = |record: Value| Ask {
        body: Bytes::from(record.to_string()),
        expected: scores.next().flatten(),
    };
    let Some(path) = &args.data else {
        let group = |index: usize| {
            let prompt = format!("Question {index}: why is the sky blue?");
            let answer = |n: usize| json!({"prompt": prompt, "response": format!("Since {n}.")});
            (0..8).map(|n| body(answer(n))).collect()
        };
        return (0..500).map(group).collect();
    };
    let text = std::fs::read_to_string(path).unwrap();
    let records = text
        .lines()
        .map(|line| -> Value { serde_json::from_str(line).unwrap() });
    let bodies = records.map(|record| match record["responses"].as_array() {
        None => vec![body(record)],
        Some(responses) => {
            let one = |response: &Value| json!({"prompt": record["prompt"], "response": response});
            responses
                .iter()
                .map(|response| body(one(response)))
                .collect()
        }
    });
    bodies.collect()
}

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Connection {
    async fn open(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self { sender })
    }

    /// What comes of a request; `None` when the connection broke.
    async fn post(&mut self, path: &str, ask: &Ask) -> Option<Came> {
        let request = Request::post(path)
            .header(header::HOST, "load")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(ask.body.clone()))
            .unwrap();
        self.sender.ready().await.ok()?;
        let reply = self.sender.send_request(request).await.ok()?;
        let status = reply.status().as_u16();
        let body = reply.into_body().collect().await.ok()?.to_bytes();
        let read = || serde_json::from_slice::<Value>(&body).ok()?["score"].as_f64();
        Some(Came {
            status,
            score: ask.expected.and_then(|_| read()),
        })
    }
}

fn count(tally: &Mutex<Tally>, begun: Instant, ask: &Ask, came: Option<&Came>) {
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    let mut tally = tally.lock().unwrap();
    let Some(came) = came else {
        tally.broken += 1;
        return;
    };
    let latencies = tally.latencies.entry(came.status).or_default();
    latencies.push(milliseconds);
    if came.status == 200 && ask.expected.is_some() {
        tally.compared += 1;
        tally.different += usize::from(came.score != ask.expected);
    }
}

async fn closed(
    args: &Args,
    address: &str,
    groups: &Arc<Vec<Vec<Ask>>>,
    tally: &Arc<Mutex<Tally>>,
    until: Instant,
) {
    let asks: Arc<Vec<Ask>> = Arc::new(groups.iter().flatten().cloned().collect());
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..args.clients {
        let (asks, next, tally) = (Arc::clone(&asks), Arc::clone(&next), Arc::clone(tally));
        let (address, path) = (address.to_owned(), args.path.clone());
        clients.spawn(async move {
            let mut connection = Connection::open(&address).await;
            while Instant::now() < until {
                let Some(open) = &mut connection else {
                    time::sleep(Duration::from_millis(10)).await;
                    connection = Connection::open(&address).await;
                    continue;
                };
                let ask = &asks[next.fetch_add(1, Ordering::Relaxed) % asks.len()];
                let begun = Instant::now();
                let came = open.post(&path, ask).await;
                count(&tally, begun, ask, came.as_ref());
                if came.is_none() {
                    connection = None;
                }
            }
        });
    }
    while clients.join_next().await.is_some() {}
}

async fn open(
    args: &Args,
    address: &str,
    groups: &Arc<Vec<Vec<Ask>>>,
    tally: &Arc<Mutex<Tally>>,
    until: Instant,
    rate: f64,
) {
    let units: Vec<Vec<Ask>> = match args.groups {
        true => groups.to_vec(),
        false => groups
            .iter()
            .flatten()
            .map(|ask| vec![ask.clone()])
            .collect(),
    };
    let per_unit = units.iter().map(Vec::len).sum::<usize>() as f64 / units.len() as f64;
    let every = Duration::from_secs_f64(per_unit / rate);
    let permits = Arc::new(Semaphore::new(args.clients));
    let idle: Arc<Mutex<Vec<Connection>>> = Arc::default();
    let sent = AtomicU64::new(0);
    let mut requests = JoinSet::new();
    let mut tick = time::interval(every);
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Burst);
    for unit in units.iter().cycle() {
        tick.tick().await;
        if Instant::now() >= until {
            break;
        }
        for ask in unit {
            sent.fetch_add(1, Ordering::Relaxed);
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                tally.lock().unwrap().late += 1;
                continue;
            };
            let (idle, tally, ask) = (Arc::clone(&idle), Arc::clone(tally), ask.clone());
            let (address, path) = (address.to_owned(), args.path.clone());
            requests.spawn(async move {
                let begun = Instant::now();
                let waiting = {
                    let mut idle = idle.lock().unwrap();
                    // The server ends those that have been idle for long.
                    idle.retain(|connection: &Connection| !connection.sender.is_closed());
                    idle.pop()
                };
                let connection = match waiting {
                    Some(connection) => Some(connection),
                    None => Connection::open(&address).await,
                };
                let Some(mut connection) = connection else {
                    count(&tally, begun, &ask, None);
                    return;
                };
                let came = connection.post(&path, &ask).await;
                count(&tally, begun, &ask, came.as_ref());
                if came.is_some() {
                    idle.lock().unwrap().push(connection);
                }
                drop(permit);
            });
        }
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}
