//! Models that score every step of an answer (`Qwen2ForProcessRewardModel`): rewards equal the reference, steps keep
//! their order and number, and nothing is scored that is not a step.
//!
//! The golden files are made by `tests/fixtures/steps/make_step_goldens.py`, with the reference's mathematics in plain
//! torch, since `transformers` has no such class.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};
use worldpm_ort::{
    Conversation, Error, Message, Output, Reduction, Reward, Scorer, ScorerOptions, StepRewards,
    export::Pooling,
};

use crate::{
    golden_files,
    support::{self, Passing, lines, run, run_with_input, stderr},
};

/// Largest difference to the reference, absolute.
const TOLERANCE: f64 = 1e-4;
const STEP: &str = "<extra_0>";
const SHAPE: &[&str] = &[
    "--shape",
    "tiny",
    "--num-hidden-layers",
    "2",
    "--seed",
    "51",
    "--head",
    "process",
];

#[derive(Deserialize)]
struct Golden {
    synth: Vec<String>,
    step_token_id: u32,
    conversations: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Value,
    input_ids: Vec<u32>,
    positions: Vec<usize>,
    logits: Vec<[f64; 2]>,
    rewards: Vec<f64>,
}

fn goldens() -> Vec<(String, Golden)> {
    golden_files("steps")
}

fn steps(reward: &Reward) -> &StepRewards {
    match &reward.output {
        Output::Steps(steps) => steps,
        other => panic!("{other:?}"),
    }
}

/// The forms of bundle that each checkpoint is scored with.
const FORMS: [&[&str]; 4] = [
    &["--target", "ort"],
    &["--target", "onnx"],
    &["--stages", "2", "--weights", "copy"],
    &["--precision", "fp32"],
];

#[test]
fn rewards_equal_the_reference() {
    for (name, golden) in goldens() {
        let cases = &golden.conversations;
        assert!(cases.len() >= 12, "{name}");
        let conversations: Vec<Conversation> = cases
            .iter()
            .map(|case| Conversation::from_value(case.messages.clone()).unwrap())
            .collect();
        let sequences: Vec<Vec<u32>> = cases.iter().map(|case| case.input_ids.clone()).collect();
        let synth: Vec<&str> = golden.synth.iter().map(String::as_str).collect();
        let checkpoint = Passing::checkpoint(&synth);
        for form in FORMS {
            let bundle = Passing::bundle(&checkpoint, form);
            let scorer = Scorer::open(&bundle, &ScorerOptions::default()).unwrap();
            let from_text = scorer.rewards(&conversations);
            let from_ids = scorer.rewards_of_ids(&sequences);
            for (i, case) in cases.iter().enumerate() {
                let what = format!("{name} {form:?}, conversation {i}");
                let reward = from_text[i].as_ref().unwrap();
                assert_eq!(reward.tokens, case.input_ids.len(), "{what}");
                assert_eq!(reward, from_ids[i].as_ref().unwrap(), "{what}");
                let found = steps(reward);
                let is_close = |found: &[f32], expected: &[f64], kind: &str| {
                    assert_eq!(found.len(), expected.len(), "{what}, {kind}");
                    for (found, expected) in found.iter().zip(expected) {
                        let difference = (f64::from(*found) - expected).abs();
                        assert!(
                            difference <= TOLERANCE,
                            "{what}, {kind}: {found} and not {expected}"
                        );
                    }
                };
                is_close(found.logits(), &case.logits.concat(), "logits");
                is_close(found.rewards(), &case.rewards, "rewards");
            }
        }
    }
}

/// Goldens whose rewards hardly differ would pass whatever is computed; and they hold what they say.
#[test]
fn golden_rewards_differ_clearly() {
    for (name, golden) in goldens() {
        let mut counts = Vec::new();
        for case in &golden.conversations {
            let ids = case.input_ids.iter().enumerate();
            let found = ids.filter(|(_, id)| **id == golden.step_token_id);
            assert!(found.map(|(i, _)| i).eq(case.positions.iter().copied()));
            counts.push(case.positions.len());
        }
        assert_eq!(golden.step_token_id, 151_651, "that of Qwen2.5-Math-PRM");
        assert!((1..=12).all(|count| counts.contains(&count)), "{counts:?}");
        let rewards = || golden.conversations.iter().flat_map(|case| &case.rewards);
        let low = rewards().copied().fold(1.0, f64::min);
        let high = rewards().copied().fold(0.0, f64::max);
        assert!(low < 0.1 && high > 0.8, "{name}: from {low} to {high}");
    }
}

fn score(flags: &[&str], records: &[Value]) -> std::process::Output {
    let bundle = support::bundle(SHAPE, &["--stages", "2"]);
    let input: String = records.iter().map(|record| format!("{record}\n")).collect();
    let args = [
        "score",
        "--only-scores",
        "--model",
        bundle.to_str().unwrap(),
    ];
    run_with_input(&[&args[..], flags].concat(), input.as_bytes())
}

fn scored(flags: &[&str], records: &[Value]) -> Vec<Value> {
    let output = score(flags, records);
    assert!(output.status.success(), "{}", stderr(&output));
    lines(&output)
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

fn answer(id: &str, content: Value) -> Value {
    let user = json!({"role": "user", "content": "What is 2 + 2 + 2?"});
    json!({"id": id, "messages": [user, {"role": "assistant", "content": content}]})
}

fn rewards(line: &Value) -> Vec<f64> {
    let steps = line["steps"].as_array().unwrap();
    steps.iter().map(|step| step.as_f64().unwrap()).collect()
}

#[test]
fn steps_as_text_and_as_a_list() {
    let output = scored(
        &[],
        &[
            answer("list", json!(["2 + 2 = 4.", "4 + 2 = 6.", "So 6."])),
            answer(
                "text",
                json!(format!("2 + 2 = 4.{STEP}4 + 2 = 6.{STEP}So 6.{STEP}")),
            ),
            json!({"id": "record", "prompt": "What is 2 + 2 + 2?",
                   "response": format!("2 + 2 = 4.{STEP}4 + 2 = 6.{STEP}So 6.{STEP} Done.")}),
            answer("beginning", json!(["2 + 2 = 4.", "4 + 2 = 6."])),
        ],
    );
    assert_eq!(keys(&output[0]), ["id", "steps", "tokens"]);
    let all = rewards(&output[0]);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|reward| (0.0..=1.0).contains(reward)));
    assert!((all[0] - all[1]).abs() > 1e-4 && (all[1] - all[2]).abs() > 1e-4);
    assert_eq!(output[1]["steps"], output[0]["steps"]);
    assert_eq!(output[1]["tokens"], output[0]["tokens"]);
    // What stands behind a step has no say in its reward.
    assert_eq!(output[2]["steps"], output[0]["steps"]);
    assert_ne!(output[2]["tokens"], output[0]["tokens"]);
    assert_eq!(rewards(&output[3]), all[..2]);
}

#[test]
fn reductions_make_a_score() {
    let records = [answer("a", json!(["2 + 2 = 4.", "4 + 2 = 7.", "So 7."]))];
    let all = rewards(&scored(&[], &records)[0]);
    for (way, expected) in [
        ("min", all.iter().copied().fold(1.0, f64::min)),
        ("product", all.iter().product()),
        ("last", all[2]),
    ] {
        let line = &scored(&["--reduce", way], &records)[0];
        assert_eq!(keys(line), ["id", "score", "steps", "tokens"]);
        assert_eq!(rewards(line), all, "{way}");
        let score = line["score"].as_f64().unwrap();
        assert!((score - expected).abs() < 1e-6, "{way}: {score}");
    }
    let output = score(&["--reduce", "mean"], &records);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn pairs_of_answers() {
    let steps = |steps: Value| json!([{"role": "user", "content": "Q"}, {"role": "assistant", "content": steps}]);
    let record =
        [json!({"id": 1, "chosen": steps(json!(["a", "b"])), "rejected": steps(json!(["c"]))})];
    let line = &scored(&[], &record)[0];
    assert_eq!(keys(line), ["id", "chosen", "rejected"]);
    assert_eq!(keys(&line["chosen"]), ["steps", "tokens"]);
    assert_eq!(
        (
            rewards(&line["chosen"]).len(),
            rewards(&line["rejected"]).len()
        ),
        (2, 1)
    );
    let line = &scored(&["--reduce", "last"], &record)[0];
    assert_eq!(keys(line), ["id", "chosen", "rejected", "margin"]);
    let score = |side: &str| line[side]["score"].as_f64().unwrap();
    let margin = line["margin"].as_f64().unwrap();
    assert!((margin - (score("chosen") - score("rejected"))).abs() < 1e-6);
}

#[test]
fn conversations_that_cannot_be_scored_by_step() {
    let user = json!({"role": "user", "content": "Q"});
    let cases = [
        (
            answer("x", json!("2 + 2 = 4.")),
            "no step token \"<extra_0>\" (id 151651)",
        ),
        (answer("x", json!([])), "content is an empty list"),
        (answer("x", json!(["a", 4])), "content[1] is a number"),
        (
            answer("x", json!(["a", format!("b{STEP}c")])),
            "content[1] holds the step token",
        ),
        (
            json!({"id": "x", "messages": [{"role": "user", "content": ["Q"]}]}),
            "messages[0].content is a list: it must be a string",
        ),
    ];
    let good = json!({"id": "good", "messages": [user, {"role": "assistant", "content": ["a"]}]});
    for (record, part) in &cases {
        let output = score(&[], std::slice::from_ref(record));
        assert_eq!(output.status.code(), Some(1), "{record}");
        assert!(output.stdout.is_empty(), "{record}");
        let message = stderr(&output);
        assert!(
            message.contains(part) && message.contains("line 1"),
            "{message}"
        );
    }
    let mut records: Vec<Value> = cases.into_iter().map(|case| case.0).collect();
    records.push(good);
    let output = score(&["--keep-going"], &records);
    assert_eq!(output.status.code(), Some(1));
    let output = lines(&output);
    assert_eq!(output.len(), 6);
    assert!(
        output[..5]
            .iter()
            .all(|line| line.get("steps").is_none() && line["id"] == "x")
    );
    assert_eq!(rewards(&output[5]).len(), 1);
}

/// No way of cutting a conversation may leave out a step without a word.
#[test]
fn truncation_keeps_every_step() {
    let long = |text: &str| format!("{text} ").repeat(60);
    let many: Vec<String> = (0..6).map(|i| long(&format!("step {i}"))).collect();
    let question = json!({"role": "user", "content": long("A long question.")});
    let in_answer = json!({"id": "a", "messages": [{"role": "user", "content": "Q"},
                           {"role": "assistant", "content": many}]});
    let in_question =
        json!({"id": "q", "messages": [question, {"role": "assistant", "content": ["a", "b"]}]});
    let in_first_turn = json!({"id": "t", "messages": [
        {"role": "user", "content": "Q"}, {"role": "assistant", "content": [long("one step"), long("two steps")]},
        {"role": "user", "content": "R"}, {"role": "assistant", "content": ["z"]}]});
    let limited = |way: &str, record: &Value| {
        score(
            &["--max-length", "150", "--truncation", way],
            std::slice::from_ref(record),
        )
    };
    for (way, record, part) in [
        ("longest-message-middle", &in_answer, "of its 6 steps"),
        (
            "oldest-turns",
            &in_first_turn,
            "would leave 1 of its 3 steps",
        ),
        ("refuse", &in_question, "the limit is 150"),
    ] {
        let output = limited(way, record);
        assert_eq!(output.status.code(), Some(1), "{way}");
        assert!(output.stdout.is_empty());
        assert!(stderr(&output).contains(part), "{way}: {}", stderr(&output));
    }
    let output = limited("longest-message-middle", &in_question);
    let line = &lines(&output)[0];
    assert_eq!(line["truncated"], true);
    assert_eq!(rewards(line).len(), 2);
    assert!(line["tokens"].as_u64().unwrap() <= 150);
}

#[test]
fn the_library_by_step() {
    let bundle = support::bundle(SHAPE, &["--stages", "2"]);
    let open = |options: ScorerOptions| Scorer::open(&bundle, &options);
    let conversation = [Conversation::new(vec![
        Message::new("user", "Q"),
        Message::from_steps(["a", "b"]),
    ])];
    let scorer = open(ScorerOptions::default()).unwrap();
    assert!(!scorer.manifest().text.system_marker);
    let reward = scorer.rewards(&conversation).remove(0).unwrap();
    assert_eq!(steps(&reward).score(), None);
    let error = scorer.score(&conversation).remove(0).unwrap_err();
    assert!(matches!(error, Error::NotOneScore { .. }), "{error}");

    let reduced = open(ScorerOptions::default().with_reduce(Reduction::Min)).unwrap();
    let score = reduced.score(&conversation).remove(0).unwrap();
    let rewards = steps(&reward).rewards();
    assert_eq!(score.score, rewards[0].min(rewards[1]));

    // Another step token is a rule that the model can have; another rule is not.
    let end = scorer.score_ids(&[vec![1, 2, 3]]).remove(0).unwrap_err();
    assert!(matches!(end, Error::NoSteps { id: 151_651, .. }), "{end}");
    let other = Pooling::EachToken { token_id: 151_645 };
    let scorer = open(ScorerOptions::default().with_pooling(other)).unwrap();
    let reward = scorer
        .rewards(&[Conversation::exchange("Q", "A")])
        .remove(0)
        .unwrap();
    assert_eq!(
        steps(&reward).rewards().len(),
        2,
        "one <|im_end|> a message"
    );
    for options in [
        ScorerOptions::default().with_pooling(Pooling::Last),
        ScorerOptions::default().with_pooling(Pooling::EachToken { token_id: 999_999 }),
    ] {
        assert!(open(options).is_err());
    }
}

/// What only models that score steps have is refused elsewhere.
#[test]
fn steps_for_a_model_that_scores_whole_answers() {
    let shape = &[
        "--shape",
        "tiny",
        "--num-hidden-layers",
        "2",
        "--seed",
        "52",
    ];
    let bundle = support::bundle(shape, &[]);
    let model = ["score", "--model", bundle.to_str().unwrap()];
    let output = run_with_input(&[&model[..], &["--reduce", "min"]].concat(), b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("`reduce`"), "{}", stderr(&output));

    let record = answer("x", json!(["a", "b"])).to_string();
    let output = run_with_input(&model, record.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("messages[1].content is a list of steps"),
        "{message}"
    );

    let rule = Pooling::EachToken { token_id: 151_651 };
    let options = ScorerOptions::default().with_pooling(rule);
    let error = Scorer::open(&bundle, &options).map(drop).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Option {
                option: "pooling",
                ..
            }
        ),
        "{error}"
    );
}

fn export(checkpoint: &Path, flags: &[&str]) -> (tempfile::TempDir, std::process::Output) {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    let paths = [checkpoint, out.as_path()].map(|path| path.to_str().unwrap());
    let args = ["export", "--checkpoint", paths[0], "--out", paths[1]];
    let output = run(&[&args[..], flags].concat());
    (place, output)
}

#[test]
fn exports_of_step_models() {
    let process = support::checkpoint(SHAPE);
    let plain = support::checkpoint(&[
        "--shape",
        "tiny",
        "--num-hidden-layers",
        "2",
        "--seed",
        "52",
    ]);
    for (checkpoint, flags, part) in [
        (
            &process,
            ["--step-token", "<step>"],
            "no special token <step>",
        ),
        (&process, ["--pooling", "last"], "every step token"),
        (&process, ["--interface", "padded"], "the padded interface"),
        (&plain, ["--step-token", "<|im_end|>"], "`step_token`"),
    ] {
        let (place, output) = export(checkpoint, &flags);
        assert_eq!(output.status.code(), Some(1), "{flags:?}");
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
    let (place, output) = export(&process, &["--step-token", "<|im_end|>"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let path = place.path().join("bundle/manifest.json");
    let manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        manifest["pooling"],
        json!({"rule": "each_token", "token_id": 151_645})
    );
    assert_eq!(
        manifest["activation"],
        json!({"function": "softmax", "label": 1})
    );
    assert_eq!(manifest["model"]["labels"], json!(["LABEL_0", "LABEL_1"]));

    // A manifest in which pooling and activation do not fit each other is not used.
    for (field, value) in [
        ("activation", json!({"function": "softmax", "label": 2})),
        ("activation", json!({"function": "none"})),
        ("pooling", json!({"rule": "last"})),
    ] {
        let mut spoiled = manifest.clone();
        spoiled[field] = value;
        fs::write(&path, spoiled.to_string()).unwrap();
        let bundle = place.path().join("bundle");
        let output = run_with_input(&["score", "--model", bundle.to_str().unwrap()], b"");
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("`activation`"),
            "{}",
            stderr(&output)
        );
    }
}
