//! The Open Inference Protocol in REST: scores, and what is known of server and models.

use std::time::Duration;

use serde_json::{Value, json};
use worldpm_ort::{Conversation, Scorer, ScorerOptions};
use worldpm_ort_runtime::testing::FakeOptions;

use crate::{
    served::{Served, bundle, fake, local, real},
    support,
};

const PROMPT: &str = "Tips for better sleep?";
const ANSWERS: [&str; 2] = ["Keep a regular bedtime.", "just sleep lol"];
pub(crate) const INFER: &str = "/v2/models/pm/infer";

/// Two conversations in every form, and their scores.
pub struct Expected {
    pub scores: Vec<f32>,
    pub texts: Vec<String>,
    pub ids: Vec<Vec<u32>>,
    pub conversations: Vec<String>,
}

pub fn expected() -> Expected {
    let scorer = Scorer::open(&bundle(), &ScorerOptions::default()).unwrap();
    let all = ANSWERS.map(|answer| Conversation::exchange(PROMPT, answer));
    let scores = scorer.score(&all).into_iter();
    Expected {
        scores: scores.map(|score| score.unwrap().score).collect(),
        texts: all.iter().map(|one| scorer.render(one).unwrap()).collect(),
        ids: all
            .iter()
            .map(|one| scorer.token_ids(one).unwrap())
            .collect(),
        conversations: vec![
            json!([{"role": "user", "content": PROMPT}, {"role": "assistant", "content": ANSWERS[0]}]).to_string(),
            json!({"prompt": PROMPT, "response": ANSWERS[1]}).to_string(),
        ],
    }
}

impl Expected {
    /// Ids in rows of one length, with padding before or after them, the mask, and the lengths.
    pub fn padded(&self, left: bool) -> (usize, Vec<i64>, Vec<i64>, Vec<i64>) {
        let length = self.ids.iter().map(Vec::len).max().unwrap() + 2;
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for own in &self.ids {
            let padding = length - own.len();
            let own_ids = own.iter().map(|&id| i64::from(id));
            let (before, after) = if left { (padding, 0) } else { (0, padding) };
            ids.extend(std::iter::repeat_n(7, before));
            ids.extend(own_ids);
            ids.extend(std::iter::repeat_n(7, after));
            mask.extend(std::iter::repeat_n(0, before));
            mask.extend(std::iter::repeat_n(1, own.len()));
            mask.extend(std::iter::repeat_n(0, after));
        }
        let lengths = self.ids.iter().map(|ids| ids.len() as i64).collect();
        (length, ids, mask, lengths)
    }
}

pub fn bits(scores: &[f32]) -> Vec<u32> {
    scores.iter().map(|score| score.to_bits()).collect()
}

pub(crate) fn input(name: &str, datatype: &str, shape: Value, data: Value) -> Value {
    json!({"name": name, "datatype": datatype, "shape": shape, "data": data})
}

pub(crate) fn request(inputs: &[Value]) -> Value {
    json!({"inputs": inputs})
}

pub(crate) fn scores(reply: &Value) -> Vec<u32> {
    let data = reply["outputs"][0]["data"].as_array().unwrap();
    let scores = data.iter().map(|score| score.as_f64().unwrap() as f32);
    scores.map(f32::to_bits).collect()
}

#[test]
fn every_form_has_the_bits_of_the_library() {
    let (served, expected) = (Served::of(real("pm")), expected());
    let (length, ids, mask, lengths) = expected.padded(false);
    let (_, left_ids, left_mask, _) = expected.padded(true);
    let rows: Vec<&[i64]> = ids.chunks(length).collect();
    let tokens = |name, datatype, ids: Value| input(name, datatype, json!([2, length]), ids);
    let no_end = input("add_EOS", "BOOL", json!([2, 1]), json!([false, false]));
    for inputs in [
        vec![input("text", "BYTES", json!([2]), json!(expected.texts))],
        vec![input("text", "BYTES", json!([2, 1]), json!(expected.texts))],
        vec![input(
            "text",
            "BYTES",
            json!([2, 1]),
            json!([[expected.texts[0]], [expected.texts[1]]]),
        )],
        vec![
            input("sentences", "BYTES", json!([2, 1]), json!(expected.texts)),
            no_end,
        ],
        vec![input(
            "conversation",
            "BYTES",
            json!([2]),
            json!(expected.conversations),
        )],
        vec![
            tokens("input_ids", "INT64", json!(ids)),
            input("attention_mask", "INT64", json!([2, length]), json!(mask)),
        ],
        vec![
            tokens("input_ids", "INT32", json!(left_ids)),
            input(
                "attention_mask",
                "INT32",
                json!([2, length]),
                json!(left_mask),
            ),
        ],
        vec![
            tokens("tokens", "INT64", json!(rows)),
            input("sequence_lengths", "INT64", json!([2, 1]), json!(lengths)),
        ],
        vec![
            input("sequence_lengths", "INT32", json!([2]), json!(lengths)),
            tokens("tokens", "INT64", json!(rows)),
        ],
    ] {
        let reply = served.post(INFER, &request(&inputs)).ok();
        assert_eq!(scores(&reply), bits(&expected.scores), "{inputs:?}");
        assert_eq!(reply["outputs"][0]["name"], "score");
        assert_eq!(reply["outputs"][0]["datatype"], "FP32");
        assert_eq!(reply["outputs"][0]["shape"], json!([2, 1]));
        assert_eq!(
            (&reply["model_name"], &reply["model_version"]),
            (&json!("pm"), &json!("1"))
        );
        assert!(reply.get("id").is_none());
    }
    let mut asked = request(&[input(
        "text",
        "BYTES",
        json!([1]),
        json!([expected.texts[0]]),
    )]);
    asked["id"] = json!("seven");
    asked["outputs"] = json!([{"name": "rewards"}, {"name": "score"}]);
    asked["parameters"] = json!({"timeout": 60_000_000, "priority": 1});
    let reply = served.post("/v2/models/pm/versions/1/infer", &asked).ok();
    assert_eq!(reply["id"], "seven");
    let names: Vec<&Value> = reply["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["name"])
        .collect();
    assert_eq!(names, ["rewards", "score"]);
    assert_eq!(reply["outputs"][0]["data"], reply["outputs"][1]["data"]);
}

pub fn raw_texts(texts: &[String]) -> Vec<u8> {
    let mut raw = Vec::new();
    for text in texts {
        raw.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        raw.extend(text.as_bytes());
    }
    raw
}

#[test]
fn what_is_known_of_server_and_models() {
    let served = Served::of(real("pm"));
    let server = served.get("/v2").ok();
    assert_eq!(server["name"], "worldpm-ort");
    assert!(
        server["extensions"]
            .as_array()
            .unwrap()
            .contains(&json!("binary_tensor_data"))
    );
    assert_eq!(served.get("/v2/health/live").ok(), json!({"live": true}));
    assert_eq!(served.get("/v2/health/ready").ok()["ready"], true);
    for of in ["/v2/models/pm", "/v2/models/pm/versions/1"] {
        assert_eq!(
            served.get(&format!("{of}/ready")).ok(),
            json!({"name": "pm", "ready": true})
        );
        let metadata = served.get(of).ok();
        assert_eq!(metadata["versions"], json!(["1"]));
        assert_eq!(
            metadata["inputs"][0],
            json!({"name": "text", "datatype": "BYTES", "shape": [-1, 1]})
        );
        assert_eq!(
            metadata["outputs"][0],
            json!({"name": "score", "datatype": "FP32", "shape": [-1, 1]})
        );
        let config = served.get(&format!("{of}/config")).ok();
        assert_eq!(config["max_batch_size"], 4096);
        assert_eq!(
            config["input"][1],
            json!({"name": "input_ids", "data_type": "TYPE_INT64", "dims": [-1], "optional": true})
        );
    }
    for path in [
        "/v2/models/no",
        "/v2/models/no/ready",
        "/v2/models/pm/versions/3/config",
        "/v2/models/%ff",
    ] {
        let reply = served.get(path);
        assert!([400, 404].contains(&reply.status), "{path}");
        assert!(reply.json()["error"].is_string(), "{path}");
    }
    let index = json!([{"name": "pm", "version": "1", "state": "READY", "reason": ""}]);
    assert_eq!(
        served
            .send("/v2/repository/index", "application/json", b"")
            .ok(),
        index
    );
    assert_eq!(
        served
            .post("/v2/repository/index", &json!({"ready": true}))
            .ok(),
        index
    );
}

#[test]
fn several_labels() {
    let flags = [
        "--shape",
        "tiny",
        "--num-hidden-layers",
        "1",
        "--head",
        "one",
        "--labels",
        "good,kind,short",
    ];
    let bundle = support::bundle(&flags, &["--end-token", ""]);
    let scorer = Scorer::open(&bundle, &ScorerOptions::default()).unwrap();
    let conversation = Conversation::exchange(PROMPT, ANSWERS[0]);
    let reward = scorer
        .rewards(std::slice::from_ref(&conversation))
        .pop()
        .unwrap()
        .unwrap();
    let worldpm_ort::Output::Labels(labels) = reward.output else {
        panic!("{reward:?}");
    };
    let model = worldpm_ort_serve::ModelOptions::new("pm", &bundle, ScorerOptions::default());
    let served = Served::of(model);
    let record = json!({"prompt": PROMPT, "response": ANSWERS[0]}).to_string();
    let asked = request(&[input(
        "conversation",
        "BYTES",
        json!([2]),
        json!([record, record]),
    )]);
    let reply = served.post(INFER, &asked).ok();
    assert_eq!(reply["outputs"][0]["name"], "scores");
    assert_eq!(reply["outputs"][0]["shape"], json!([2, 3]));
    assert_eq!(
        scores(&reply),
        [bits(labels.values()), bits(labels.values())].concat()
    );
    let metadata = served.get("/v2/models/pm").ok();
    assert_eq!(metadata["outputs"][0]["shape"], json!([-1, 3]));
}

#[test]
fn loading_ending_and_time() {
    let loading = worldpm_ort_serve::ModelOptions::with_open("pm", bundle(), || {
        std::thread::sleep(Duration::from_millis(400));
        Scorer::open(&bundle(), &ScorerOptions::default())
    });
    let served = Served::start_loading(local(), vec![loading]);
    assert_eq!(served.get("/v2/health/live").status, 200);
    for path in ["/v2/health/ready", "/v2/models/pm/ready", "/v2/models/pm"] {
        assert_eq!(served.get(path).status, 503, "{path}");
    }
    let index = served.send("/v2/repository/index", "", b"").ok();
    assert_eq!(index[0]["state"], "LOADING");
    assert_eq!(
        served
            .post("/v2/repository/index", &json!({"ready": true}))
            .ok(),
        json!([])
    );
    served.ready().unwrap();
    assert_eq!(served.get("/v2/health/ready").status, 200);

    let slow = FakeOptions::default().with_stages(vec![Duration::from_secs(30)]);
    let served = Served::of(fake("pm", slow, ScorerOptions::default()));
    let mut asked = request(&[input("text", "BYTES", json!([1]), json!(["a b"]))]);
    asked["parameters"] = json!({"timeout": 200_000});
    let reply = served.post(INFER, &asked);
    assert_eq!(reply.status, 504, "{reply:?}");
}
