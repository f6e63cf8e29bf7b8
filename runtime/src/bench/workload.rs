//! What is scored: one's own records, or text made for the purpose.

use std::{fmt, num::NonZeroUsize, str::FromStr};

use fastrand::Rng;

use super::{BenchError, words::WORDS};
use crate::{Conversation, Message};

/// Tokens that a chat template and a system prompt may add to those of the messages.
const TEMPLATE_TOKENS: usize = 64;
/// Tokens of a step, where the model scores steps.
const STEP_TOKENS: usize = 40;

/// Records to score, each of one conversation or several.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it is called in the report.
    pub name: String,
    /// The records.
    pub records: Vec<Vec<Conversation>>,
}

/// A kind of work that reward models are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkloadKind {
    /// Eight answers to each prompt.
    #[default]
    BestOf8,
    /// A chosen and a rejected answer to each prompt.
    Pairs,
    /// Single conversations whose answers have from a tenth of the tokens to twice as many.
    Mixed,
    /// Single conversations of one length.
    Single,
    /// One long conversation.
    Long,
}

/// How a workload is made up. What is `None` has the default of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkloadSpec {
    /// What kind of work it is.
    pub kind: WorkloadKind,
    /// How many records.
    pub records: Option<NonZeroUsize>,
    /// About how many tokens a prompt has.
    pub prompt_tokens: Option<NonZeroUsize>,
    /// About how many tokens an answer has.
    pub answer_tokens: Option<NonZeroUsize>,
    /// The same seed gives the same text.
    pub seed: u64,
}

/// What a workload is to be scored with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Most tokens of a conversation.
    pub(super) max_tokens: usize,
    /// Whether answers are given step by step.
    pub(super) steps: bool,
}

impl WorkloadKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::BestOf8,
        Self::Pairs,
        Self::Mixed,
        Self::Single,
        Self::Long,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::BestOf8 => "best-of-8",
            Self::Pairs => "pairs",
            Self::Mixed => "mixed",
            Self::Single => "single",
            Self::Long => "long",
        }
    }

    /// Records, tokens of a prompt, tokens of an answer.
    fn defaults(self) -> (usize, usize, usize) {
        match self {
            Self::BestOf8 => (4, 200, 150),
            Self::Pairs => (16, 150, 200),
            Self::Mixed => (64, 50, 200),
            Self::Single => (8, 100, 150),
            Self::Long => (1, 100, 8000),
        }
    }
}

impl WorkloadSpec {
    /// Makes the text.
    ///
    /// # Errors
    /// [`BenchError::TooLong`] when a conversation would be longer than the model takes.
    pub(super) fn make(&self, limits: Limits) -> Result<Workload, BenchError> {
        let (records, prompt, answer) = self.kind.defaults();
        let number =
            |given: Option<NonZeroUsize>, default| given.map_or(default, NonZeroUsize::get);
        let records = number(self.records, records);
        let prompt = number(self.prompt_tokens, prompt);
        let mut answer = number(self.answer_tokens, answer);
        let with_answer = |answer: usize| {
            let messages = prompt.saturating_add(answer);
            messages.saturating_add(TEMPLATE_TOKENS)
        };
        let longest = |answer: usize| match self.kind {
            WorkloadKind::Mixed => with_answer(answer.saturating_mul(2)),
            _ => with_answer(answer),
        };
        if self.answer_tokens.is_none() {
            // The defaults are for models that take long conversations.
            while longest(answer) > limits.max_tokens && answer > 1 {
                answer /= 2;
            }
        }
        if longest(answer) > limits.max_tokens {
            return Err(BenchError::TooLong {
                tokens: longest(answer),
                limit: limits.max_tokens,
            });
        }
        let mut text = Text(Rng::with_seed(self.seed));
        let records = (0..records)
            .map(|_| {
                let prompt = text.words(prompt);
                let conversation = |tokens: usize, text: &mut Text| {
                    Conversation::new(vec![
                        Message::new("user", prompt.as_str()),
                        text.answer(tokens, limits.steps),
                    ])
                };
                match self.kind {
                    WorkloadKind::BestOf8 => {
                        (0..8).map(|_| conversation(answer, &mut text)).collect()
                    }
                    WorkloadKind::Pairs => {
                        (0..2).map(|_| conversation(answer, &mut text)).collect()
                    }
                    WorkloadKind::Mixed => {
                        let tokens = text.0.usize((answer / 10).max(1)..=2 * answer);
                        vec![conversation(tokens, &mut text)]
                    }
                    WorkloadKind::Single | WorkloadKind::Long => {
                        vec![conversation(answer, &mut text)]
                    }
                }
            })
            .collect();
        Ok(Workload {
            name: self.kind.to_string(),
            records,
        })
    }
}

impl Workload {
    /// All conversations, in order.
    pub(super) fn conversations(&self) -> impl Iterator<Item = &Conversation> {
        self.records.iter().flatten()
    }
}

/// Makes text up.
struct Text(Rng);

impl Text {
    fn words(&mut self, count: usize) -> String {
        let words: Vec<&str> = (0..count)
            .map(|_| WORDS[self.0.usize(0..WORDS.len())])
            .collect();
        words.join(" ")
    }

    fn answer(&mut self, tokens: usize, steps: bool) -> Message {
        if !steps {
            return Message::new("assistant", self.words(tokens));
        }
        let count = tokens.div_ceil(STEP_TOKENS).max(1);
        Message::from_steps((0..count).map(|_| self.words(tokens / count)))
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WorkloadKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("give one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_tokens: 32768,
        steps: false,
    };

    fn spec(kind: WorkloadKind) -> WorkloadSpec {
        WorkloadSpec {
            kind,
            ..WorkloadSpec::default()
        }
    }

    /// Words of the prompt and of the answer.
    fn words(conversation: &Conversation) -> [usize; 2] {
        [0, 1].map(|index| {
            let content = conversation.messages[index].content().unwrap();
            content.split(' ').count()
        })
    }

    #[test]
    fn the_seed_decides() {
        for kind in WorkloadKind::ALL {
            let make = |seed| {
                let spec = WorkloadSpec { seed, ..spec(kind) };
                spec.make(LIMITS).unwrap().records
            };
            assert_eq!(make(1), make(1), "{kind}");
            assert_ne!(make(1), make(2), "{kind}");
        }
    }

    #[test]
    fn answers_share_their_prompt() {
        for (kind, answers) in [(WorkloadKind::BestOf8, 8), (WorkloadKind::Pairs, 2)] {
            for record in spec(kind).make(LIMITS).unwrap().records {
                assert_eq!(record.len(), answers);
                assert!(
                    record
                        .iter()
                        .all(|c| c.messages[0] == record[0].messages[0])
                );
                assert_ne!(record[0], record[1]);
            }
        }
    }

    #[test]
    fn the_numbers_are_as_asked() {
        let spec = WorkloadSpec {
            records: NonZeroUsize::new(40),
            prompt_tokens: NonZeroUsize::new(30),
            answer_tokens: NonZeroUsize::new(20),
            ..spec(WorkloadKind::Mixed)
        };
        let records = spec.make(LIMITS).unwrap().records;
        assert_eq!(records.len(), 40);
        for record in &records {
            let [prompt, answer] = words(&record[0]);
            assert_eq!(prompt, 30);
            assert!((2..=40).contains(&answer), "{answer}");
        }
    }

    #[test]
    fn lengths_keep_to_the_limit() {
        let limits = Limits {
            max_tokens: 1024,
            ..LIMITS
        };
        let long = spec(WorkloadKind::Long);
        let [prompt, answer] = words(&long.make(limits).unwrap().records[0][0]);
        assert_eq!((prompt, answer), (100, 500));
        let asked = WorkloadSpec {
            answer_tokens: NonZeroUsize::new(1000),
            ..long
        };
        let error = asked.make(limits).unwrap_err();
        assert!(matches!(
            error,
            BenchError::TooLong {
                tokens: 1164,
                limit: 1024
            }
        ));
    }

    #[test]
    fn no_number_is_too_large_for_an_error() {
        for kind in WorkloadKind::ALL {
            for (prompt, answer) in [(30, usize::MAX), (usize::MAX, 30), (30, usize::MAX / 2)] {
                let spec = WorkloadSpec {
                    prompt_tokens: NonZeroUsize::new(prompt),
                    answer_tokens: NonZeroUsize::new(answer),
                    ..spec(kind)
                };
                let error = spec.make(LIMITS).unwrap_err();
                assert!(
                    matches!(error, BenchError::TooLong { .. }),
                    "{kind}: {error}"
                );
            }
        }
    }

    #[test]
    fn models_of_steps_get_steps() {
        let limits = Limits {
            steps: true,
            ..LIMITS
        };
        let made = spec(WorkloadKind::Single).make(limits).unwrap();
        assert_eq!(made.records[0][0].messages[1].steps().unwrap().count(), 4);
    }

    #[test]
    fn names() {
        for kind in WorkloadKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "none".parse::<WorkloadKind>().unwrap_err();
        assert!(error.contains("best-of-8, pairs"), "{error}");
    }
}
