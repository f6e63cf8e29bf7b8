//! Probes: short inputs that a bundle carries, so that it can be seen to give the scores it should.
//!
//! They are fixed, so the same checkpoint and options give the same probes: a few conversations, which go
//! through the bundle's own template and tokenizer, and sequences of token ids, which need neither. The
//! sequences are beginnings of one another but for their last token, as answers to one prompt are, so that
//! they also exercise shared prefixes. One is longer than 256 tokens, past the block sizes of attention
//! kernels.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::{token::Token, vocabulary::Pooling};

/// The file in a bundle that has the reference scores of its probes.
pub const FILE_NAME: &str = "probes.json";

/// Lengths of the sequences of token ids.
const LENGTHS: [usize; 5] = [2, 17, 128, 257, 300];

/// Names and messages of the conversations. They alternate between user and assistant and have no system
/// message, which every chat template takes.
const CONVERSATIONS: [(&str, &[&str]); 4] = [
    (
        "sleep-routine",
        &[
            "Tips for better sleep?",
            "Keep a regular bedtime, keep the room dark, and put screens away an hour before.",
        ],
    ),
    (
        "sleep-shrug",
        &["Tips for better sleep?", "just sleep earlier lol"],
    ),
    (
        "two-turns",
        &[
            "Is 91 a prime number?",
            "Yes, 91 is prime.",
            "Are you sure? What is 7 times 13?",
            "7 × 13 = 91, so I was wrong: 91 is not prime.",
        ],
    ),
    (
        "scripts",
        &[
            "Translate \"good night\" into French, Chinese, Russian and Arabic.",
            "Bonne nuit · 晚安 · Спокойной ночи · تصبح على خير 🌙\n\n```python\nprint(\"\\t\".join(words))\n```",
        ],
    ),
];

/// A short input whose score shows whether a bundle works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Its name, unique in the bundle.
    pub name: String,
    /// What is scored.
    #[serde(flatten)]
    pub input: ProbeInput,
}

/// What a probe has scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeInput {
    /// A conversation, for the bundle's template and tokenizer.
    Messages(Vec<ProbeMessage>),
    /// Token ids as they are.
    Ids(Vec<u32>),
}

/// A message of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeMessage {
    /// Who speaks.
    pub role: String,
    /// The text.
    pub content: String,
}

/// The probes of a model.
#[must_use]
pub fn probes(
    vocab_size: usize,
    max_length: usize,
    pooling: Pooling,
    end_token: Option<&Token>,
    step_token: Option<&Token>,
) -> Vec<Probe> {
    let conversations = CONVERSATIONS.iter().map(|&(name, texts)| Probe {
        name: name.to_owned(),
        input: ProbeInput::Messages(messages(texts, step_token)),
    });
    let last = match (end_token, pooling) {
        (Some(end), _) => Some(end.id),
        (None, Pooling::BeforeFirstPad { pad_token_id }) => Some(pad_token_id),
        (None, Pooling::EachToken { token_id }) => Some(token_id),
        (None, Pooling::Last | Pooling::LastNonPad { .. }) => None,
    };
    let sequences = LENGTHS
        .into_iter()
        .filter(|&length| length <= max_length)
        .map(|length| Probe {
            name: format!("tokens-{length}"),
            input: ProbeInput::Ids(sequence(vocab_size, length, last)),
        });
    conversations.chain(sequences).collect()
}

fn messages(texts: &[&str], step_token: Option<&Token>) -> Vec<ProbeMessage> {
    texts
        .iter()
        .zip(["user", "assistant"].into_iter().cycle())
        .map(|(&content, role)| ProbeMessage {
            role: role.to_owned(),
            content: match step_token {
                Some(step) if role == "assistant" => in_steps(content, &step.text),
                _ => content.to_owned(),
            },
        })
        .collect()
}

/// An answer whose clauses are its steps.
fn in_steps(answer: &str, step: &str) -> String {
    format!("{}{step}", answer.replace(", ", &format!(",{step} ")))
}

/// `length` token ids that end with `last`, which stands nowhere else.
///
/// The others are from the first half of the vocabulary, less its first sixteenth: vocabularies list common
/// tokens first and special ones at either end, and rare tokens have weights that were hardly trained.
fn sequence(vocab_size: usize, length: usize, last: Option<u32>) -> Vec<u32> {
    let (low, high) = (vocab_size / 16, (vocab_size / 2).max(vocab_size / 16 + 1));
    let span = (high - low) as u64;
    let token = |place: usize| {
        let drawn = low as u64 + scrambled(place as u64) % span;
        let id = u32::try_from(drawn).unwrap_or(0);
        match last {
            // The one before it is in the vocabulary too, unless that is a single token.
            Some(last) if last == id => id.checked_sub(1).unwrap_or(id + 1),
            _ => id,
        }
    };
    let mut ids: Vec<u32> = (0..length).map(token).collect();
    if let (Some(last), Some(place)) = (last, ids.last_mut()) {
        *place = last;
    } else if let Some(place) = ids.last_mut() {
        // Without it a sequence would be a beginning of the next one, and not part from it.
        *place = token(1000 + length);
    }
    ids
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014).
fn scrambled(counter: u64) -> u64 {
    let z = counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Where a probe is wrong, under its place in the list, and how.
type Fault = (String, String);

impl Probe {
    /// Reads a probe of a manifest.
    pub(crate) fn from_value(value: &Value) -> Result<Self, Fault> {
        let here = |problem: String| (String::new(), problem);
        let Some(fields) = value.as_object() else {
            return Err(here("is not an object".into()));
        };
        if let Some(unknown) = fields
            .keys()
            .find(|name| !["name", "messages", "ids"].contains(&name.as_str()))
        {
            return Err((format!(".{unknown}"), "is no field of a probe".into()));
        }
        let name = match fields.get("name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => return Err((".name".into(), "must be a text that is not empty".into())),
        };
        let input = match (fields.get("messages"), fields.get("ids")) {
            (Some(messages), None) => ProbeInput::Messages(list(messages, "messages")?),
            (None, Some(ids)) => ProbeInput::Ids(list(ids, "ids")?),
            _ => {
                return Err(here("must have either `messages` or `ids`".into()));
            }
        };
        Ok(Self { name, input })
    }

    /// Whether a model with this vocabulary and limit can score the probe.
    pub(crate) fn check(&self, vocab_size: usize, max_length: usize) -> Result<(), Fault> {
        let ids = match &self.input {
            ProbeInput::Messages(messages) if messages.is_empty() => {
                return Err((".messages".into(), "is empty".into()));
            }
            ProbeInput::Messages(_) => return Ok(()),
            ProbeInput::Ids(ids) => ids,
        };
        if ids.is_empty() || ids.len() > max_length {
            return Err((
                ".ids".into(),
                format!(
                    "has {} token ids, and must have 1 to {max_length}",
                    ids.len()
                ),
            ));
        }
        match ids.iter().position(|&id| id as usize >= vocab_size) {
            Some(at) => Err((
                format!(".ids[{at}]"),
                format!(
                    "is {}, outside the vocabulary of {vocab_size} tokens",
                    ids[at]
                ),
            )),
            None => Ok(()),
        }
    }
}

fn list<T: de::DeserializeOwned>(value: &Value, field: &str) -> Result<Vec<T>, Fault> {
    let Some(items) = value.as_array() else {
        return Err((format!(".{field}"), "is not a list".into()));
    };
    items
        .iter()
        .enumerate()
        .map(|(at, item)| {
            T::deserialize(item).map_err(|error| (format!(".{field}[{at}]"), error.to_string()))
        })
        .collect()
}

impl<'de> Deserialize<'de> for Probe {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        Self::from_value(&value)
            .map_err(|(field, problem)| de::Error::custom(format!("a probe's {field} {problem}")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn ids(probe: &Probe) -> Option<&[u32]> {
        match &probe.input {
            ProbeInput::Ids(ids) => Some(ids),
            ProbeInput::Messages(_) => None,
        }
    }

    #[test]
    fn every_model_gets_probes_that_it_can_score() {
        let end = Token {
            id: 3,
            text: "<end>".into(),
        };
        let before_pad = Pooling::BeforeFirstPad { pad_token_id: 5 };
        let each = Pooling::EachToken { token_id: 6 };
        let step = Token {
            id: 6,
            text: "<step>".into(),
        };
        for vocab_size in [8, 17, 300, 152_064] {
            for max_length in [1, 2, 130, 32_768] {
                for (pooling, end_token, last) in [
                    (Pooling::Last, None, None),
                    (Pooling::Last, Some(&end), Some(3)),
                    (before_pad, None, Some(5)),
                    (each, None, Some(6)),
                ] {
                    let step_token = Some(&step).filter(|_| pooling == each);
                    let probes = probes(vocab_size, max_length, pooling, end_token, step_token);
                    let names: BTreeSet<&str> = probes.iter().map(|p| p.name.as_str()).collect();
                    assert_eq!(names.len(), probes.len());
                    for probe in &probes {
                        probe.check(vocab_size, max_length).unwrap();
                        let value = serde_json::to_value(probe).unwrap();
                        assert_eq!(&Probe::from_value(&value).unwrap(), probe);
                        let Some(ids) = ids(probe) else { continue };
                        let (end, before) = ids.split_last().unwrap();
                        if let Some(last) = last {
                            assert_eq!(*end, last);
                            assert!(!before.contains(&last));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn answers_have_steps_for_a_model_that_scores_them() {
        let step = Token {
            id: 6,
            text: "<step>".into(),
        };
        let each = Pooling::EachToken { token_id: 6 };
        let mut steps = Vec::new();
        for probe in probes(152_064, 32_768, each, None, Some(&step)) {
            let ProbeInput::Messages(messages) = probe.input else {
                continue;
            };
            let count = |m: &ProbeMessage| m.content.matches("<step>").count();
            assert!(
                messages
                    .iter()
                    .all(|m| (m.role == "user") == (count(m) == 0))
            );
            assert!(messages.last().unwrap().content.ends_with("<step>"));
            steps.push(messages.iter().map(count).sum::<usize>());
        }
        assert!(steps.iter().any(|&count| count > 2), "{steps:?}");
    }

    #[test]
    fn sequences_share_their_beginnings_and_differ() {
        let probes = probes(152_064, 32_768, Pooling::Last, None, None);
        let sequences: Vec<&[u32]> = probes.iter().filter_map(ids).collect();
        assert_eq!(sequences.len(), LENGTHS.len());
        assert!(sequences.iter().any(|ids| ids.len() > 256));
        for pair in sequences.windows(2) {
            let shared = pair[0].len() - 1;
            assert_eq!(pair[0][..shared], pair[1][..shared]);
            assert_ne!(pair[0][shared], pair[1][shared]);
        }
        let different: BTreeSet<u32> = sequences[4].iter().copied().collect();
        assert!(different.len() > 250, "{}", different.len());
    }

    #[test]
    fn malformed_probes_are_named() {
        for (value, field, problem) in [
            (json!(3), "", "is not an object"),
            (json!({"ids": [1]}), ".name", "must be a text"),
            (json!({"name": "", "ids": [1]}), ".name", "must be a text"),
            (json!({"name": "a"}), "", "either `messages` or `ids`"),
            (
                json!({"name": "a", "ids": [1], "messages": []}),
                "",
                "either `messages` or `ids`",
            ),
            (
                json!({"name": "a", "ids": [1], "score": 2}),
                ".score",
                "is no field",
            ),
            (json!({"name": "a", "ids": 1}), ".ids", "is not a list"),
            (json!({"name": "a", "ids": [1, -1]}), ".ids[1]", "invalid"),
            (
                json!({"name": "a", "ids": [4294967296_u64]}),
                ".ids[0]",
                "invalid",
            ),
            (
                json!({"name": "a", "messages": [{"role": "user"}]}),
                ".messages[0]",
                "content",
            ),
        ] {
            let (found, why) = Probe::from_value(&value).unwrap_err();
            assert_eq!(found, field, "{value}: {why}");
            assert!(why.contains(problem), "{value}: {why}");
        }
        for (value, field, problem) in [
            (json!({"name": "a", "ids": []}), ".ids", "1 to 4"),
            (
                json!({"name": "a", "ids": [1, 1, 1, 1, 1]}),
                ".ids",
                "has 5",
            ),
            (json!({"name": "a", "ids": [1, 10]}), ".ids[1]", "outside"),
            (
                json!({"name": "a", "messages": []}),
                ".messages",
                "is empty",
            ),
        ] {
            let probe = Probe::from_value(&value).unwrap();
            let (found, why) = probe.check(10, 4).unwrap_err();
            assert_eq!(found, field, "{value}: {why}");
            assert!(why.contains(problem), "{value}: {why}");
        }
    }
}
