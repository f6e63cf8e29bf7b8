//! Tensors that are none: what the Open Inference Protocol in REST refuses.

use serde_json::{Value, json};

use crate::{
    oip::{INFER, input, request},
    oip_binary::JSON_LENGTH,
    served::{Served, agent, real},
};

#[test]
fn what_is_no_tensor_is_refused() {
    let served = Served::of(real("pm"));
    let text = |shape: Value, data: Value| input("text", "BYTES", shape, data);
    let ids = |shape: Value, data: Value| input("input_ids", "INT64", shape, data);
    let good = text(json!([1]), json!(["a b"]));
    served
        .post(INFER, &request(std::slice::from_ref(&good)))
        .ok();
    for (inputs, part) in [
        (vec![], "nothing to score"),
        (vec![text(json!([0]), json!([]))], "it is empty"),
        (vec![text(json!([2]), json!(["a"]))], "has 1 elements"),
        (
            vec![text(json!([1, 2]), json!(["a", "b"]))],
            "[N] or [N, 1]",
        ),
        (vec![text(json!([-1]), json!(["a"]))], "shape"),
        (vec![text(json!([1.5]), json!(["a"]))], "shape"),
        (vec![text(json!([1]), json!([7]))], "must be texts"),
        (vec![text(json!([2]), json!(["a", 7]))], "several kinds"),
        (vec![text(json!([1]), json!("a"))], "data"),
        (vec![text(json!([1]), json!([{"a": 1}]))], "data"),
        (vec![text(json!([1]), json!([null]))], "data"),
        (
            vec![input("text", "INT64", json!([1]), json!([7]))],
            "must be BYTES",
        ),
        (
            vec![input("text", "FP64", json!([1]), json!([7]))],
            "no input of datatype",
        ),
        (vec![input("text", "FP32", json!([1]), json!([7]))], "FP32"),
        (
            vec![input("other", "BYTES", json!([1]), json!(["a"]))],
            "no input \"other\"",
        ),
        (vec![good.clone(), good.clone()], "two inputs"),
        (
            vec![good.clone(), ids(json!([1, 1]), json!([5]))],
            "send one of",
        ),
        (
            vec![
                good.clone(),
                input("sequence_lengths", "INT64", json!([1]), json!([1])),
            ],
            "belongs to `input_ids`",
        ),
        (vec![ids(json!([3]), json!([1, 2, 3]))], "[N, L]"),
        (
            vec![ids(json!([2, 2]), json!([[1, 2], [3]]))],
            "side by side",
        ),
        (
            vec![ids(json!([2, 3]), json!([[1, 2], [3, 4], [5, 6]]))],
            "nested",
        ),
        (vec![ids(json!([1, 2]), json!([1, [2]]))], "side by side"),
        (vec![ids(json!([1, 1]), json!([1.5]))], "data"),
        (vec![ids(json!([1, 1]), json!([-1]))], "no token's id"),
        (
            vec![ids(json!([1, 1]), json!([4_294_967_296_u64]))],
            "no token's id",
        ),
        (vec![ids(json!([1, 1]), json!([u64::MAX]))], "too large"),
        (vec![ids(json!([1, 1]), json!([4_000_000_000_u64]))], ""),
        (vec![ids(json!([4, 0]), json!([]))], "no tokens"),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("attention_mask", "INT64", json!([2, 1]), json!([1, 1])),
            ],
            "that of the tokens",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("attention_mask", "INT64", json!([1, 2]), json!([0, 0])),
            ],
            "no 1",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("attention_mask", "INT64", json!([1, 2]), json!([1, 2])),
            ],
            "must have 0 and 1",
        ),
        (
            vec![
                ids(json!([1, 3]), json!([1, 2, 3])),
                input("attention_mask", "INT64", json!([1, 3]), json!([1, 0, 1])),
            ],
            "padding within",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("sequence_lengths", "INT64", json!([1]), json!([3])),
            ],
            "1 to 2",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("sequence_lengths", "INT64", json!([1]), json!([0])),
            ],
            "1 to 2",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("sequence_lengths", "INT64", json!([2]), json!([1, 1])),
            ],
            "must be [1]",
        ),
        (
            vec![
                ids(json!([1, 1]), json!([1])),
                input("sequence_lengths", "INT64", json!([1]), json!([1])),
                input("attention_mask", "INT64", json!([1, 1]), json!([1])),
            ],
            "not both",
        ),
        (
            vec![
                good.clone(),
                input("add_EOS", "BOOL", json!([1]), json!([true])),
            ],
            "nothing is added",
        ),
        (
            vec![
                good.clone(),
                input("add_EOS", "BOOL", json!([1]), json!([1])),
            ],
            "true and false",
        ),
        (
            vec![input("conversation", "BYTES", json!([1]), json!(["{"]))],
            "",
        ),
        (
            vec![input(
                "conversation",
                "BYTES",
                json!([1]),
                json!(["{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\"}"]),
            )],
            "pair",
        ),
        (
            vec![input(
                "conversation",
                "BYTES",
                json!([2]),
                json!(["{\"prompt\":\"p\",\"response\":\"a\"}", "[]"]),
            )],
            "conversation 1",
        ),
        (
            vec![json!({"name": "text", "datatype": "BYTES", "shape": [1]})],
            "neither",
        ),
        (
            vec![
                json!({"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"shared_memory_region": "r"}}),
            ],
            "not shared",
        ),
    ] {
        let reply = served.post(INFER, &request(&inputs));
        assert_eq!(reply.status, 400, "{inputs:?}: {reply:?}");
        let error = reply.json();
        assert_eq!(error.as_object().unwrap().len(), 1, "{error}");
        let message = error["error"].as_str().unwrap();
        assert!(message.contains(part), "{part}: {message}");
    }
    for (field, value, part) in [
        (
            "outputs",
            json!([{"name": "logits"}]),
            "no output \"logits\"",
        ),
        (
            "outputs",
            json!([{"name": "scores"}]),
            "no output \"scores\"",
        ),
        (
            "outputs",
            json!([{"name": "score"}, {"name": "score"}]),
            "twice",
        ),
        (
            "outputs",
            json!([{"name": "score", "parameters": {"classification": 1}}]),
            "classification",
        ),
        (
            "outputs",
            json!([{"name": "score", "parameters": {"binary_data": 1}}]),
            "true or false",
        ),
        ("parameters", json!({"timeout": "soon"}), "microseconds"),
        ("id", json!(7), "id"),
    ] {
        let mut asked = request(std::slice::from_ref(&good));
        asked[field] = value;
        let reply = served.post(INFER, &asked);
        assert_eq!(reply.status, 400, "{asked}");
        let message = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(message.contains(part), "{part}: {message}");
    }
    for path in ["/v2/models/no/infer", "/v2/models/pm/versions/2/infer"] {
        let reply = served.post(path, &request(std::slice::from_ref(&good)));
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.json()["error"].is_string());
    }
    for length in ["x", "-1", "99999"] {
        let post = agent().post(format!("{}{INFER}", served.address));
        let reply = post.header(JSON_LENGTH, length).send("{}").unwrap();
        assert_eq!(reply.status(), 400, "{length}");
    }
    let post = agent().post(format!("{}{INFER}", served.address));
    let mut reply = post.header("content-encoding", "gzip").send("{}").unwrap();
    assert_eq!(reply.status(), 400);
    let message = reply.body_mut().read_to_string().unwrap();
    assert!(message.contains("not decompressed"), "{message}");
    assert_eq!(served.get(INFER).status, 405);
    // Nested deeper than a list may be, and longer than a number may be.
    let deep = format!(
        "{{\"inputs\":[{{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":{}}}]}}",
        "[".repeat(100_000)
    );
    assert_eq!(
        served
            .send(INFER, "application/json", deep.as_bytes())
            .status,
        400
    );
}
