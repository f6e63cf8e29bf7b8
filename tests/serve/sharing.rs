//! One conversation a request is the normal case: requests share packs and prompts, and have the scores of a batch.

use std::{sync::Barrier, thread, time::Duration};

use serde_json::json;
use worldpm_ort::{Conversation, Scorer, ScorerOptions, queue::QueueOptions};
use worldpm_ort_serve::ModelOptions;

use crate::served::{Served, bundle, local};

#[test]
fn clients_with_one_conversation_each_share_packs_and_prompts() {
    let mut options = ScorerOptions::default();
    options.queue = QueueOptions::default().with_max_delay(Duration::from_millis(200));
    let served = Served::start(local(), vec![ModelOptions::new("pm", bundle(), options)]);
    let prompt = "Why is the sky blue? ".repeat(20);
    let answers: Vec<String> = (0..16).map(|index| format!("Answer {index}.")).collect();
    let scorer = Scorer::open(&bundle(), &ScorerOptions::default()).unwrap();
    let conversations: Vec<_> = answers
        .iter()
        .map(|answer| Conversation::exchange(prompt.clone(), answer.clone()))
        .collect();
    let expected = scorer.score(&conversations);
    let together = Barrier::new(answers.len());
    thread::scope(|scope| {
        for ((index, answer), expected) in answers.iter().enumerate().zip(expected) {
            let (served, prompt, together) = (&served, &prompt, &together);
            let text = scorer.render(&conversations[index]).unwrap();
            scope.spawn(move || {
                together.wait();
                let expected = f64::from(expected.unwrap().score);
                // Trainers of different kinds at once.
                let score = match index % 4 {
                    0 => served
                        .post("/v1/score", &json!({"prompt": prompt, "response": answer}))
                        .ok()["score"]
                        .clone(),
                    1 => served.post("/classify", &json!({"input": text})).ok()["data"][0]["probs"]
                        [0]
                    .clone(),
                    2 => served.post("/get_reward", &json!({"query": [text]})).ok()["rewards"][0]
                        .clone(),
                    _ => served
                        .post(
                            "/rerank",
                            &json!({"query": prompt, "texts": [answer], "raw_scores": true}),
                        )
                        .ok()[0]["score"]
                        .clone(),
                };
                assert_eq!(score, expected);
            });
        }
    });
    let planned = served.planned();
    assert!(
        planned.packs < 16,
        "{} packs for 16 requests",
        planned.packs
    );
    assert!(
        planned.unique_tokens < planned.tokens / 2,
        "{} of {} tokens",
        planned.unique_tokens,
        planned.tokens
    );
}
