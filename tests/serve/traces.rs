//! Spans: what a collector on loopback gets.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Any,
    trace::v1::Span,
};
use prost::Message;
use serde_json::json;
use worldpm_ort_runtime::testing::FakeOptions;
use worldpm_ort_serve::{Otlp, ServeError, ServeOptions, Server};

use crate::served::{Served, fake, local, real};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Takes what comes at `/v1/traces`.
fn collector() -> (String, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            loop {
                let (mut length, mut head) = (0, String::new());
                while !head.ends_with("\r\n\r\n") {
                    let from = head.len();
                    if stream.read_line(&mut head).unwrap_or(0) == 0 {
                        break;
                    }
                    let line = head[from..].to_ascii_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                if head.is_empty() {
                    break;
                }
                assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
                assert!(
                    head.to_ascii_lowercase()
                        .contains("content-type: application/x-protobuf")
                );
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let _ = sender.send(ExportTraceServiceRequest::decode(&body[..]).unwrap());
                let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.get_mut().write_all(reply).unwrap();
            }
        }
    });
    (address, receiver)
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn requests_and_their_parts_belong_to_the_callers_trace() {
    let (address, received) = collector();
    let mut options = local();
    options.ops.otlp = Otlp::Endpoint(address);
    let took = Duration::from_millis(40);
    let engine = FakeOptions::default().with_stages(vec![took]);
    let served = Served::start(options, vec![fake("pm", engine, Default::default())]);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [
        ("traceparent", parent.as_str()),
        ("x-request-id", "a-client-made-it"),
    ];
    let request = json!({"prompt": "secret words", "response": "a"});
    served.post_with("/v1/score", &headers, &request).ok();
    let unsampled = format!("00-{TRACE}-{CALLER}-00");
    let headers = [("traceparent", unsampled.as_str())];
    served.post_with("/v1/rank", &headers, &request);
    assert_eq!(served.get("/nowhere").status, 404);
    // The end of a server sends what is left.
    served.shut_down().join().unwrap();
    let batches: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).collect();
    assert!(!format!("{batches:?}").contains("secret"));
    let resources = batches.iter().flat_map(|batch| &batch.resource_spans);
    let spans: Vec<Span> = resources
        .flat_map(|resource| {
            let attributes = &resource.resource.as_ref().unwrap().attributes;
            assert!(attributes.iter().any(|a| a.key == "service.name"));
            resource
                .scope_spans
                .iter()
                .flat_map(|scope| scope.spans.clone())
        })
        .collect();
    let named = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let span = found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
        assert!(found.next().is_none());
        span
    };
    assert_eq!(spans.len(), 5, "{spans:#?}");
    let root = named("POST /v1/score");
    assert_eq!(
        (hex(&root.trace_id), hex(&root.parent_span_id)),
        (TRACE.into(), CALLER.into())
    );
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/score"),
        ("http.response.status_code", "200"),
        ("worldpm.request_id", "a-client-made-it"),
        ("worldpm.conversations", "1"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(root, name).as_deref(), Some(value), "{name}");
    }
    let mut at = root.start_time_unix_nano;
    for name in ["tokenise", "queue", "compute"] {
        let part = named(name);
        assert_eq!(part.trace_id, root.trace_id);
        assert_eq!(part.parent_span_id, root.span_id);
        assert!(at <= part.start_time_unix_nano, "{name}");
        assert!(part.start_time_unix_nano <= part.end_time_unix_nano);
        at = part.end_time_unix_nano;
    }
    assert!(at <= root.end_time_unix_nano);
    let compute = named("compute");
    let nanoseconds = compute.end_time_unix_nano - compute.start_time_unix_nano;
    assert!(Duration::from_nanos(nanoseconds) >= took);
    let lost = named("GET other");
    assert_ne!(lost.trace_id, root.trace_id);
    assert_eq!(attribute(lost, "error.type").as_deref(), Some("not_found"));
}

#[test]
fn a_collector_that_is_not_there_harms_nobody() {
    let mut options = local();
    options.ops.otlp = Otlp::Endpoint("http://127.0.0.1:1".into());
    let served = Served::start(options, vec![real("pm")]);
    let request = json!({"prompt": "q", "response": "a"});
    for _ in 0..3 {
        served.post("/v1/score", &request).ok();
    }
    let begun = std::time::Instant::now();
    served.shut_down().join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[test]
fn what_is_no_endpoint_is_said() {
    for url in ["localhost:4318", "grpc://x", "", "http://"] {
        let mut options: ServeOptions = local();
        options.ops.otlp = Otlp::Endpoint(url.into());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let error = runtime
            .block_on(async { Server::start(options, vec![real("pm")]).await.map(drop) })
            .unwrap_err();
        assert!(
            matches!(error, ServeError::Option { option: "otlp", .. }),
            "{url}: {error}"
        );
    }
}
