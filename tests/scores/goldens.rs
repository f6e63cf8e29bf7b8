//! Scores equal Hugging Face `transformers` in fp32.
//!
//! The golden files are made by `tests/fixtures/scores/make_score_goldens.py`. Each names the flags of the
//! `synth` command that its checkpoint was made with, so the checkpoint is made again here.

use serde::Deserialize;
use serde_json::Value;
use worldpm_ort::{Conversation, Output, Reward, Scorer, ScorerOptions};

use crate::{golden_files, support::Passing};

/// Largest difference to the reference, absolute.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    synth: Vec<String>,
    conversations: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Value,
    input_ids: Vec<u32>,
    /// Where the model has one label.
    score: Option<f64>,
    /// Where it has several.
    #[serde(default)]
    scores: serde_json::Map<String, Value>,
}

impl Case {
    /// What the model should give: names and scores.
    fn expected(&self) -> Vec<(&str, f64)> {
        let named = self.scores.iter();
        let named = named.map(|(label, score)| (label.as_str(), score.as_f64().unwrap()));
        named.chain(self.score.map(|score| ("", score))).collect()
    }
}

/// What it gives, in the same form.
fn found(reward: &Reward) -> Vec<(&str, f64)> {
    match &reward.output {
        Output::Score(score) => vec![("", f64::from(*score))],
        Output::Labels(labels) => labels.iter().map(|(l, s)| (l, f64::from(s))).collect(),
        other => panic!("{other:?}"),
    }
}

fn goldens() -> Vec<(String, Golden)> {
    golden_files("scores")
}

/// The forms of bundle that each checkpoint is scored with.
const FORMS: [&[&str]; 3] = [
    &["--target", "ort"],
    &["--target", "onnx"],
    &["--target", "ort", "--weights", "copy", "--stages", "all"],
];

#[test]
fn scores_equal_transformers() {
    let goldens = goldens();
    assert!(goldens.len() >= 9, "golden files are missing");
    let mut worst = (0.0, String::new());
    for (name, golden) in &goldens {
        assert!(golden.conversations.len() >= 20, "{name}");
        let conversations: Vec<Conversation> = golden
            .conversations
            .iter()
            .map(|case| Conversation::from_value(case.messages.clone()).unwrap())
            .collect();
        let sequences: Vec<Vec<u32>> = golden
            .conversations
            .iter()
            .map(|case| case.input_ids.clone())
            .collect();
        let synth: Vec<&str> = golden.synth.iter().map(String::as_str).collect();
        let layers = flag(&synth, "--num-hidden-layers");
        let checkpoint = Passing::checkpoint(&synth);
        for form in FORMS {
            let form: Vec<&str> = form
                .iter()
                .map(|&flag| if flag == "all" { layers } else { flag })
                .collect();
            let bundle = Passing::bundle(&checkpoint, &form);
            let scorer = Scorer::open(
                &bundle,
                &ScorerOptions::default().with_allow_no_answer(true),
            )
            .unwrap();
            let from_text = scorer.rewards(&conversations);
            let from_ids = scorer.rewards_of_ids(&sequences);
            for (i, case) in golden.conversations.iter().enumerate() {
                let what = format!("{name} {form:?}, conversation {i}");
                let reward = from_text[i].as_ref().unwrap();
                assert_eq!(reward.tokens, case.input_ids.len(), "{what}");
                assert_eq!(reward, from_ids[i].as_ref().unwrap(), "{what}");
                let (found, expected) = (found(reward), case.expected());
                assert_eq!(found.len(), expected.len(), "{what}");
                for (found, expected) in found.into_iter().zip(expected) {
                    assert_eq!(found.0, expected.0, "{what}");
                    let difference = (found.1 - expected.1).abs();
                    assert!(
                        difference <= TOLERANCE,
                        "{what}: {found:?} and not {expected:?}"
                    );
                    if difference > worst.0 {
                        worst = (difference, what.clone());
                    }
                }
            }
        }
    }
    eprintln!("largest difference {:.1e}: {}", worst.0, worst.1);
}

/// A golden whose scores hardly differ would pass whatever is computed.
#[test]
fn golden_scores_differ_clearly() {
    for (name, golden) in goldens() {
        let cases: Vec<_> = golden.conversations.iter().map(Case::expected).collect();
        for label in 0..cases[0].len() {
            let scores = || cases.iter().map(|case| case[label].1);
            let low = scores().fold(f64::INFINITY, f64::min);
            let high = scores().fold(f64::NEG_INFINITY, f64::max);
            assert!(high - low > 0.5, "{name}: scores from {low} to {high}");
        }
    }
}

/// Goldens, and what takes one of their features away. The weights stay the same, since they depend on the
/// seed and on their names and shapes alone.
const FEATURES: [(&str, &str); 10] = [
    ("qwen3-h32-l4-yarn-window-bias", "sliding_window=null"),
    ("qwen3-h32-l4-yarn-window-bias", "rope_scaling=null"),
    ("llama-h32-g3-l3-rope-bias", "rope_scaling=null"),
    (
        "llama-h64-g1-l2-linear-tied",
        r#"rope_parameters={"rope_theta":10000.0}"#,
    ),
    ("mistral-h48-g2-l3-window", "sliding_window=null"),
    ("mistral-h48-g2-l3-window", "sliding_window=21"),
    ("gemma2-h64-g2-l4-window-cap", "sliding_window=4096"),
    ("gemma2-h64-g2-l4-window-cap", "attn_logit_softcapping=null"),
    ("gemma2-h64-g2-l4-window-cap", "query_pre_attn_scalar=64"),
    ("gemma2-h256-g1-l3-window-bias", "sliding_window=34"),
];

/// A golden that passed without the feature that it is there for would not test it.
#[test]
fn features_change_the_scores() {
    let goldens = goldens();
    for (name, without) in FEATURES {
        let (_, golden) = goldens.iter().find(|(found, _)| found == name).unwrap();
        let mut synth: Vec<&str> = golden.synth.iter().map(String::as_str).collect();
        synth.extend(["--config", without]);
        let checkpoint = Passing::checkpoint(&synth);
        let bundle = Passing::bundle(&checkpoint, &[]);
        let scorer = Scorer::open(&bundle, &ScorerOptions::default());
        let sequences: Vec<Vec<u32>> = golden
            .conversations
            .iter()
            .map(|case| case.input_ids.clone())
            .collect();
        let changed = golden
            .conversations
            .iter()
            .zip(scorer.unwrap().score_ids(&sequences))
            .map(|(case, score)| (f64::from(score.unwrap().score) - case.score.unwrap()).abs())
            .fold(0.0, f64::max);
        assert!(
            changed > 1000.0 * TOLERANCE,
            "{name} with {without}: scores change by {changed:.1e} at most"
        );
    }
}

fn flag<'a>(flags: &[&'a str], name: &str) -> &'a str {
    let at = flags.iter().position(|flag| *flag == name).unwrap();
    flags[at + 1]
}
