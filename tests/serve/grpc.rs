//! The Open Inference Protocol in gRPC, over plain HTTP/2: scores, refusals by their codes, and bytes that are no message.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use proptest::prelude::*;
use prost::Message;
use worldpm_ort::{ScorerOptions, queue::QueueOptions};
use worldpm_ort_runtime::testing::FakeOptions;

use crate::{
    grpc_client::{Client, framed},
    grpc_messages::*,
    oip::{bits, expected, raw_texts},
    served::{Served, fake, local, real},
};

const INVALID_ARGUMENT: u32 = 3;
const DEADLINE_EXCEEDED: u32 = 4;
const NOT_FOUND: u32 = 5;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;

fn input(
    name: &str,
    datatype: &str,
    shape: &[i64],
    contents: Option<InferTensorContents>,
) -> Bytes {
    let tensor = InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.into(),
        parameters: HashMap::new(),
        contents,
    };
    tensor.encode_to_vec().into()
}

fn texts(texts: &[String]) -> Option<InferTensorContents> {
    Some(InferTensorContents {
        bytes_contents: texts.iter().cloned().map(Bytes::from).collect(),
        ..InferTensorContents::default()
    })
}

pub(crate) fn request(inputs: Vec<Bytes>, raw: Vec<Vec<u8>>) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "pm".into(),
        inputs,
        raw_input_contents: raw.into_iter().map(Bytes::from).collect(),
        ..ModelInferRequest::default()
    }
}

fn output(name: &str) -> Bytes {
    let output = InferRequestedOutputTensor {
        name: name.into(),
        parameters: HashMap::new(),
    };
    output.encode_to_vec().into()
}

#[test]
fn contents_and_raw_contents_have_the_bits_of_the_library() {
    let (served, expected) = (Served::of(real("pm")), expected());
    let client = Client::of(&served);
    let mut asked = request(
        vec![input("text", "BYTES", &[2, 1], texts(&expected.texts))],
        vec![],
    );
    asked.id = "seven".into();
    asked.model_version = "1".into();
    let reply = client.infer(&asked).unwrap();
    assert_eq!(
        (reply.id.as_str(), reply.model_name.as_str()),
        ("seven", "pm")
    );
    let score = &reply.outputs[0];
    assert_eq!(
        (score.name.as_str(), score.datatype.as_str()),
        ("score", "FP32")
    );
    assert_eq!(score.shape, [2, 1]);
    let contents = score.contents.as_ref().unwrap();
    assert_eq!(bits(&contents.fp32_contents), bits(&expected.scores));
    assert!(reply.raw_output_contents.is_empty());

    let (length, ids, mask, lengths) = expected.padded(true);
    let (_, right, _, _) = expected.padded(false);
    let shape = [2, i64::try_from(length).unwrap()];
    let integers = |int64_contents: Vec<i64>| {
        Some(InferTensorContents {
            int64_contents,
            ..InferTensorContents::default()
        })
    };
    let raw = |all: &[i64]| -> Vec<u8> { all.iter().flat_map(|one| one.to_le_bytes()).collect() };
    let narrow = |all: &[i64]| -> Vec<u8> {
        let all = all.iter().map(|&one| i32::try_from(one).unwrap());
        all.flat_map(i32::to_le_bytes).collect()
    };
    let conversations = &expected.conversations;
    for (inputs, contents) in [
        (
            vec![input("conversation", "BYTES", &[2], texts(conversations))],
            vec![],
        ),
        (
            vec![input("text", "BYTES", &[2], None)],
            vec![raw_texts(&expected.texts)],
        ),
        (
            vec![
                input("input_ids", "INT64", &shape, integers(ids.clone())),
                input("attention_mask", "INT64", &shape, integers(mask.clone())),
            ],
            vec![],
        ),
        (
            vec![
                input("input_ids", "INT32", &shape, None),
                input("attention_mask", "INT64", &shape, None),
            ],
            vec![narrow(&ids), raw(&mask)],
        ),
        (
            vec![
                input("tokens", "INT64", &shape, None),
                input("sequence_lengths", "INT64", &[2, 1], None),
            ],
            vec![raw(&right), raw(&lengths)],
        ),
    ] {
        let raw = !contents.is_empty();
        let mut asked = request(inputs, contents);
        asked.outputs = vec![output("rewards")];
        let reply = client.infer(&asked).unwrap();
        assert_eq!(reply.outputs[0].name, "rewards");
        let found = if raw {
            assert!(reply.outputs[0].contents.is_none());
            let all = reply.raw_output_contents[0].as_chunks::<4>().0;
            all.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
        } else {
            reply.outputs[0]
                .contents
                .as_ref()
                .unwrap()
                .fp32_contents
                .clone()
        };
        assert_eq!(bits(&found), bits(&expected.scores), "{asked:?}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let served = Served::of(real("pm"));
    let client = Client::of(&served);
    let one = || input("text", "BYTES", &[1], texts(&["a b".into()]));
    client.infer(&request(vec![one()], vec![])).unwrap();
    let raw = || input("text", "BYTES", &[1], None);
    let ids = |shape: &[i64]| input("input_ids", "INT64", shape, None);
    for (asked, part) in [
        (request(vec![], vec![]), "nothing to score"),
        (request(vec![one(); 9], vec![]), "not so many"),
        (request(vec![one(); 2], vec![]), "two inputs"),
        (request(vec![raw()], vec![]), "has 0 elements"),
        (request(vec![raw()], vec![vec![]]), "has 0 elements"),
        (request(vec![raw()], vec![vec![1, 0]]), "ends within"),
        (request(vec![raw()], vec![vec![]; 2]), "is of 2 inputs"),
        (request(vec![one()], vec![vec![1, 0, 0, 0, 97]]), "has both"),
        (
            request(vec![ids(&[i64::MAX, i64::MAX])], vec![vec![]]),
            "can be counted",
        ),
        (
            request(vec![ids(&[i64::MAX, 0])], vec![vec![]]),
            "the limit is",
        ),
        (request(vec![ids(&[-1, 1])], vec![vec![]]), "below 0"),
        (
            request(vec![ids(&[1, 2])], vec![vec![0; 15]]),
            "8 bytes each",
        ),
        (
            request(vec![input("text", "FP32", &[1], None)], vec![vec![0; 4]]),
            "FP32",
        ),
        (
            request(vec![Bytes::from_static(b"\x0a\xff")], vec![]),
            "`inputs`",
        ),
    ] {
        let ended = client.infer(&asked).unwrap_err();
        assert_eq!(ended.status, INVALID_ARGUMENT, "{ended:?}");
        assert!(ended.message.contains(part), "{part}: {ended:?}");
    }
    let mut asked = request(vec![one()], vec![]);
    asked.outputs = vec![output("l\u{f6}gits")];
    let ended = client.infer(&asked).unwrap_err();
    assert!(ended.message.contains("l%C3%B6gits"), "{ended:?}");
    let mut asked = request(vec![one()], vec![]);
    asked.model_name = "other".into();
    assert_eq!(client.infer(&asked).unwrap_err().status, NOT_FOUND);
    asked.model_name = "pm".into();
    asked.model_version = "2".into();
    assert_eq!(client.infer(&asked).unwrap_err().status, NOT_FOUND);

    let path = "/inference.GRPCInferenceService/ModelInfer";
    for (frame, status) in [
        (vec![], INVALID_ARGUMENT),
        (vec![0, 0, 0, 0], INVALID_ARGUMENT),
        (vec![0, 0, 0, 0, 9, 1], INVALID_ARGUMENT),
        (vec![0, 255, 255, 255, 255, 1], INVALID_ARGUMENT),
        (vec![1, 0, 0, 0, 0], UNIMPLEMENTED),
    ] {
        assert_eq!(
            client.send(path, None, frame.clone()).status,
            status,
            "{frame:?}"
        );
    }
    for timeout in ["soon", "5", "-1S"] {
        let ended = client.send(path, Some(timeout), framed(&[]));
        assert_eq!(ended.status, INVALID_ARGUMENT, "{ended:?}");
    }
    for path in [
        "/inference.GRPCInferenceService/ModelStreamInfer",
        "/grpc.health.v1.Health/Watch",
    ] {
        assert_eq!(
            client.send(path, None, framed(&[])).status,
            UNIMPLEMENTED,
            "{path}"
        );
    }
    let reply = served.send(path, "application/json", b"{}");
    assert_eq!(reply.status, 415);
}

#[test]
fn what_is_known_of_server_and_models() {
    let served = Served::of(real("pm"));
    let client = Client::of(&served);
    let live: ServerLiveResponse = client.call("ServerLive", &Empty {}).unwrap();
    assert!(live.live);
    let ready: ReadyResponse = client.call("ServerReady", &Empty {}).unwrap();
    assert!(ready.ready);
    let server: ServerMetadataResponse = client.call("ServerMetadata", &Empty {}).unwrap();
    assert_eq!(server.name, "worldpm-ort");
    let named = |name: &str| ModelRequest {
        name: name.into(),
        version: String::new(),
    };
    let ready: ReadyResponse = client.call("ModelReady", &named("pm")).unwrap();
    assert!(ready.ready);
    let metadata: ModelMetadataResponse = client.call("ModelMetadata", &named("pm")).unwrap();
    assert_eq!(metadata.inputs[1].name, "input_ids");
    assert_eq!(metadata.outputs[0].shape, [-1, 1]);
    let config: ModelConfigResponse = client.call("ModelConfig", &named("pm")).unwrap();
    assert_eq!(config.config.unwrap().max_batch_size, 4096);
    let ready: ReadyResponse = client.call("ModelReady", &named("no")).unwrap();
    assert!(!ready.ready);
    for method in ["ModelMetadata", "ModelConfig"] {
        let ended = client.call::<_, Empty>(method, &named("no")).unwrap_err();
        assert_eq!(ended.status, NOT_FOUND, "{method}");
    }
    let index: RepositoryIndexResponse = client
        .call("RepositoryIndex", &RepositoryIndexRequest { ready: true })
        .unwrap();
    assert_eq!(index.models[0].state, "READY");
}

/// The number of `grpc.health.v1`'s state of a service.
fn health(client: &Client, service: &str) -> Result<u8, u32> {
    let mut message = vec![0x0a, u8::try_from(service.len()).unwrap()];
    message.extend(service.as_bytes());
    let ended = client.send("/grpc.health.v1.Health/Check", None, framed(&message));
    match ended.status {
        0 => Ok(ended.frame[6]),
        status => Err(status),
    }
}

#[test]
fn health_follows_the_end() {
    let mut options = local();
    options.drain_delay = Duration::from_millis(1000);
    let served = Served::start(options, vec![real("pm")]);
    let client = Client::of(&served);
    for service in [
        "",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
    ] {
        assert_eq!(health(&client, service), Ok(1), "{service}");
    }
    assert_eq!(health(&client, "other"), Err(NOT_FOUND));
    let ending = served.shut_down();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(health(&client, ""), Ok(2));
    let ready: ReadyResponse = client.call("ServerReady", &Empty {}).unwrap();
    assert!(!ready.ready);
    let live: ServerLiveResponse = client.call("ServerLive", &Empty {}).unwrap();
    assert!(live.live);
    ending.join().unwrap();

    let failing = worldpm_ort_serve::ModelOptions::new("pm", "/nowhere", ScorerOptions::default());
    let served = Served::start_loading(local(), vec![failing]);
    served.ready().unwrap_err();
    let client = Client::of(&served);
    assert_eq!(health(&client, ""), Ok(2));
    let ended = client.infer(&request(vec![], vec![])).unwrap_err();
    assert_eq!(ended.status, UNAVAILABLE, "{ended:?}");
}

#[test]
fn time_and_overload() {
    let slow = FakeOptions::default().with_stages(vec![Duration::from_secs(30)]);
    let served = Served::of(fake("pm", slow, ScorerOptions::default()));
    let client = Client::of(&served);
    let mut asked = request(
        vec![input("text", "BYTES", &[1], texts(&["a b".into()]))],
        vec![],
    );
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let begun = Instant::now();
    let ended = client.send(path, Some("200m"), framed(&asked.encode_to_vec()));
    assert_eq!(ended.status, DEADLINE_EXCEEDED, "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let timeout = InferParameter {
        choice: Some(ParameterChoice::Int64(100_000)),
    };
    asked.parameters.insert("timeout".into(), timeout);

    let mut scorer = ScorerOptions::default();
    scorer.queue = QueueOptions::default().with_max_conversations(1);
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(1500)]);
    let served = Served::of(fake("pm", slow, scorer));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let record = serde_json::json!({"prompt": "q", "response": "a"});
            served.post("/v1/score", &record).ok()
        });
        std::thread::sleep(Duration::from_millis(300));
        let client = Client::of(&served);
        let ended = client.infer(&asked).unwrap_err();
        assert_eq!(ended.status, RESOURCE_EXHAUSTED, "{ended:?}");
        first.join().unwrap();
    });
    let ended = Client::of(&served).infer(&asked).unwrap_err();
    assert_eq!(ended.status, DEADLINE_EXCEEDED, "{ended:?}");
}

/// A client that leaves gives its place in the queue to the next one.
#[test]
fn whoever_leaves_is_not_waited_for() {
    let mut scorer = ScorerOptions::default();
    scorer.queue = QueueOptions::default().with_max_conversations(2);
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(1500)]);
    let served = Served::of(fake("pm", slow, scorer));
    let asked = request(
        vec![input("text", "BYTES", &[1], texts(&["a b".into()]))],
        vec![],
    );
    let frame = framed(&asked.encode_to_vec());
    std::thread::scope(|scope| {
        let computed = scope.spawn(|| {
            let client = Client::of(&served);
            client.infer(&asked).unwrap()
        });
        std::thread::sleep(Duration::from_millis(300));
        let leaving = Client::of(&served);
        let request = Request::post(format!(
            "{}/inference.GRPCInferenceService/ModelInfer",
            leaving.address
        ))
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from(frame)))
        .unwrap();
        let mut connection = leaving.connection.clone();
        let left = leaving.runtime.block_on(async {
            tokio::time::timeout(Duration::from_millis(200), connection.send_request(request)).await
        });
        assert!(left.is_err(), "{left:?}");
        let client = Client::of(&served);
        let begun = Instant::now();
        while let Err(ended) = client.infer(&asked) {
            assert_eq!(ended.status, RESOURCE_EXHAUSTED, "{ended:?}");
            assert!(
                begun.elapsed() < Duration::from_secs(1),
                "its place was kept"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        computed.join().unwrap();
    });
}

#[test]
fn bytes_that_are_no_message() {
    let served = Served::of(fake("pm", FakeOptions::default(), ScorerOptions::default()));
    let client = Client::of(&served);
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let good = request(
        vec![input("text", "BYTES", &[1], None)],
        vec![raw_texts(&["a b".into()])],
    );
    let good = good.encode_to_vec();
    let refused = |body: Vec<u8>| client.send(path, None, body).status;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let spoiled = proptest::collection::vec((0..good.len(), any::<u8>()), 1..6);
    runner
        .run(&(bytes, spoiled, any::<bool>()), |(bytes, spoiled, cut)| {
            let mut near = good.clone();
            for (at, byte) in &spoiled {
                near[*at] = *byte;
            }
            if cut {
                near.truncate(spoiled[0].0);
            }
            for body in [bytes.clone(), framed(&bytes), framed(&near)] {
                let status = refused(body);
                prop_assert!(
                    [
                        0,
                        INVALID_ARGUMENT,
                        NOT_FOUND,
                        DEADLINE_EXCEEDED,
                        UNIMPLEMENTED
                    ]
                    .contains(&status),
                    "{}",
                    status
                );
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(refused(framed(&good)), 0);
}
