//! Tensors of the Open Inference Protocol as binary data behind the JSON.

use serde_json::{Value, json};

use crate::{
    oip::{INFER, bits, expected, input, raw_texts, request, scores},
    served::{Served, agent, real},
};

pub(crate) const JSON_LENGTH: &str = "inference-header-content-length";

/// Sends JSON and binary data; gives the status, the JSON and the binary data of the reply.
fn send_binary(served: &Served, json: &Value, binary: &[u8]) -> (u16, Value, Vec<u8>) {
    let json = json.to_string();
    let length = json.len().to_string();
    let body = [json.as_bytes(), binary].concat();
    let request = agent().post(format!("{}{INFER}", served.address));
    let mut reply = request.header(JSON_LENGTH, &length).send(&body).unwrap();
    let length = reply.headers().get(JSON_LENGTH);
    let length = length.map(|value| value.to_str().unwrap().parse().unwrap());
    let body = reply.body_mut().read_to_vec().unwrap();
    let (json, rest) = body.split_at(length.unwrap_or(body.len()));
    (
        reply.status().as_u16(),
        serde_json::from_slice(json).unwrap(),
        rest.to_vec(),
    )
}

fn binary_input(name: &str, datatype: &str, shape: Value, size: usize) -> Value {
    json!({"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}})
}

#[test]
fn binary_data() {
    let (served, expected) = (Served::of(real("pm")), expected());
    let texts = raw_texts(&expected.texts);
    let mut asked = request(&[binary_input("text", "BYTES", json!([2, 1]), texts.len())]);
    let (status, json, rest) = send_binary(&served, &asked, &texts);
    assert_eq!((status, rest.len()), (200, 0), "{json}");
    assert_eq!(scores(&json), bits(&expected.scores));

    let raw: Vec<u8> = expected
        .scores
        .iter()
        .flat_map(|score| score.to_le_bytes())
        .collect();
    asked["parameters"] = json!({"binary_data_output": true});
    let (_, json, rest) = send_binary(&served, &asked, &texts);
    assert_eq!(rest, raw);
    assert_eq!(
        json["outputs"][0]["parameters"]["binary_data_size"],
        raw.len()
    );

    // One output in JSON, the other one not; one input in JSON, the other one not.
    let (length, ids, mask, _) = expected.padded(false);
    let ids: Vec<u8> = ids
        .iter()
        .flat_map(|id| (*id as i32).to_le_bytes())
        .collect();
    let mut asked = request(&[
        input("attention_mask", "INT64", json!([2, length]), json!(mask)),
        binary_input("input_ids", "INT32", json!([2, length]), ids.len()),
    ]);
    asked["outputs"] =
        json!([{"name": "score"}, {"name": "rewards", "parameters": {"binary_data": true}}]);
    let (_, json, rest) = send_binary(&served, &asked, &ids);
    assert_eq!((scores(&json), rest), (bits(&expected.scores), raw));

    let two = json!([2, 1]);
    let size = texts.len();
    let more = [&texts[..], b"x"].concat();
    for (input, binary, part) in [
        (
            binary_input("text", "BYTES", two.clone(), size + 1),
            &texts[..],
            "bytes are left",
        ),
        (
            binary_input("text", "BYTES", two.clone(), size - 1),
            &texts[..size - 1],
            "ends within element 1",
        ),
        (
            binary_input("text", "BYTES", two.clone(), size),
            &more[..],
            "belong to no input",
        ),
        (
            binary_input("text", "BYTES", json!([3]), size),
            &texts[..],
            "it has 2 elements",
        ),
        (
            binary_input("text", "BYTES", json!([1]), size),
            &texts[..],
            "more than the 1 elements",
        ),
        (
            binary_input("text", "BYTES", json!([1]), 4),
            b"\xff\xff\xff\xff",
            "ends within element 0",
        ),
        (
            binary_input("text", "BYTES", json!([1]), 5),
            b"\x01\0\0\0\xff",
            "not UTF-8",
        ),
        (
            binary_input("input_ids", "INT64", json!([1, 1]), 7),
            b"1234567",
            "8 bytes each",
        ),
        (
            binary_input("input_ids", "INT64", json!([1_u64 << 40, 1_u64 << 30]), 8),
            b"12345678",
            "can be counted",
        ),
        (
            binary_input("input_ids", "INT64", json!([1_u64 << 40, 0]), 0),
            b"",
            "limit is 4096",
        ),
        (
            binary_input("input_ids", "INT64", json!([1, 1]), 8),
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            "no token's id",
        ),
        (
            binary_input("input_ids", "FP32", json!([1, 1]), 4),
            b"1234",
            "datatype FP32",
        ),
        (
            json!({"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": -1}}),
            b"",
            "number of bytes",
        ),
        (
            json!({"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"], "parameters": {"binary_data_size": 0}}),
            b"",
            "has both",
        ),
    ] {
        let (status, json, _) = send_binary(&served, &request(&[input]), binary);
        let message = json["error"].as_str().unwrap();
        assert!(message.contains(part), "{part}: {message}");
        assert_eq!(
            status,
            if part.contains("limit") { 413 } else { 400 },
            "{message}"
        );
    }
    served.get("/live").ok();
}
