//! From conversations to scores: the façade over text, batching and the engine.

mod about;
mod open;

use std::{ops::Range, sync::Arc, time::Instant};

use worldpm_ort_bundle::Pooling;

use crate::{
    batch::plan,
    bundle::Bundle,
    deploy::load::Loaded,
    engine::EngineError,
    error::{Error, Result},
    pooling::scored_positions,
    queue::{Queue, RequestOptions, Sequence, Ticket},
    reward::{Reward, Score},
    submitted::{Entered, Finishing, PendingScore, PendingScores, ScoredToken},
    templated::{Templated, of_text},
    text::{ChatEncoder, Conversation, Encoded, LengthRule, TextError},
};

/// Scores conversations with an exported model.
///
/// It may be shared between threads: each call puts its work in line and waits for its own results.
///
/// ```no_run
/// # use worldpm_ort_runtime as worldpm_ort;
/// use worldpm_ort::{Conversation, Scorer, ScorerOptions};
///
/// let scorer = Scorer::open("bundle".as_ref(), &ScorerOptions::default())?;
/// let good = Conversation::exchange("Tips for better sleep?", "Keep a regular bedtime.");
/// let bad = Conversation::exchange("Tips for better sleep?", "just sleep lol");
/// for score in scorer.score(&[good, bad]) {
///     println!("{}", score?.score);
/// }
/// # Ok::<(), worldpm_ort::Error>(())
/// ```
pub struct Scorer {
    // First, so that it is dropped while all else is there: it computes what is still waited for.
    queue: Queue,
    bundle: Bundle,
    encoder: ChatEncoder,
    templated: Templated,
    loaded: Loaded,
    length: LengthRule,
    pooling: Pooling,
    finishing: Arc<Finishing>,
    allow_no_answer: bool,
}

/// What a chat template makes of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// The token at which it is scored; the last one, of a model that scores steps.
    pub scored: ScoredToken,
    /// The bytes of that token in the text.
    pub range: Range<usize>,
}

/// A conversation that is ready to be put in line.
struct Waiting {
    sequence: Sequence,
    entered: Entered,
}

impl Scorer {
    /// Scores conversations; the results are in their order.
    ///
    /// Conversations that share a beginning are computed once up to where they part. On the CPU, a
    /// conversation's score has the same bits whatever it is scored with.
    ///
    /// # Errors
    /// Each result is its own: a conversation that cannot be scored does not touch the others. One that does not end with
    /// an assistant's message is such, unless [`ScorerOptions::allow_no_answer`](crate::ScorerOptions::allow_no_answer) is
    /// set.
    /// [`Error::NotOneScore`] when the model gives several scores: see [`Scorer::rewards`].
    #[must_use = "scores are returned, not stored"]
    pub fn score(&self, conversations: &[Conversation]) -> Vec<Result<Score>> {
        single(self.rewards(conversations))
    }

    /// All that the model says of conversations, for models of every kind: [`Scorer::score`] is for those
    /// that give one score. The results are in the order of the conversations.
    ///
    /// # Errors
    /// Each result is its own: a conversation that cannot be scored does not touch the others.
    #[must_use = "scores are returned, not stored"]
    pub fn rewards(&self, conversations: &[Conversation]) -> Vec<Result<Reward>> {
        self.submit(conversations).wait()
    }

    /// Puts conversations in line and returns without waiting for their scores.
    #[must_use = "the scores come from `PendingScores::wait`"]
    pub fn submit(&self, conversations: &[Conversation]) -> PendingScores {
        self.submit_as(conversations, &RequestOptions::default())
    }

    /// As [`submit`](Self::submit), on behalf of a caller.
    #[must_use = "the scores come from `PendingScores::wait`"]
    pub fn submit_as(
        &self,
        conversations: &[Conversation],
        request: &RequestOptions,
    ) -> PendingScores {
        self.submit_sequences(self.sequences(self.encode(conversations)), request)
    }

    /// As [`submit`](Self::submit), and says how many unique tokens the conversations come to by themselves.
    pub(crate) fn submit_counted(&self, conversations: &[Conversation]) -> (PendingScores, usize) {
        let waiting = self.sequences(self.encode(conversations));
        let sequences: Vec<&[u32]> = waiting
            .iter()
            .flatten()
            .map(|waiting| waiting.sequence.ids.as_slice())
            .collect();
        let tokens = plan(&sequences, &self.loaded.budget);
        let tokens = tokens.map_or(0, |plan| plan.stats.unique_tokens);
        (
            self.submit_sequences(waiting, &RequestOptions::default()),
            tokens,
        )
    }

    fn encode(&self, conversations: &[Conversation]) -> Vec<Result<Encoded>> {
        let span = tracing::debug_span!("tokenise", conversations = conversations.len());
        let begun = Instant::now();
        let holding = conversations
            .iter()
            .filter(|conversation| self.encoder.holds_special_token(conversation))
            .count();
        let encoded = span.in_scope(|| {
            let encoded = self.encoder.ids_within_batch(conversations, &self.length);
            let both = conversations.iter().zip(encoded);
            both.map(|(conversation, encoded)| {
                let encoded = encoded?;
                if !self.allow_no_answer {
                    conversation.check_answer().map_err(TextError::from)?;
                }
                Ok(encoded)
            })
            .collect()
        });
        self.finishing.tally.count(|counters| {
            counters.tokenising += begun.elapsed();
            counters.special_tokens_in_content += holding as u64;
        });
        encoded
    }

    /// The token ids of a conversation, as they would be scored were there no length limit.
    ///
    /// # Errors
    /// [`Error::Text`] for a conversation that the chat template or the tokenizer refuses.
    pub fn token_ids(&self, conversation: &Conversation) -> Result<Vec<u32>> {
        Ok(self.encoder.conversation_ids(conversation)?)
    }

    /// Scores token sequences that were templated elsewhere; the results are in their order.
    ///
    /// # Errors
    /// As [`Scorer::score`]; a sequence over the length limit is refused, never truncated.
    #[must_use = "scores are returned, not stored"]
    pub fn score_ids(&self, sequences: &[Vec<u32>]) -> Vec<Result<Score>> {
        single(self.rewards_of_ids(sequences))
    }

    /// [`Scorer::rewards`] of token sequences that were templated elsewhere.
    ///
    /// # Errors
    /// As [`Scorer::rewards`]; a sequence over the length limit is refused, never truncated.
    #[must_use = "scores are returned, not stored"]
    pub fn rewards_of_ids(&self, sequences: &[Vec<u32>]) -> Vec<Result<Reward>> {
        let encoded = sequences.iter().map(|ids| self.encoded_ids(ids)).collect();
        self.submit_sequences(self.sequences(encoded), &RequestOptions::default())
            .wait()
    }

    fn encoded_ids(&self, ids: &[u32]) -> Result<Encoded> {
        let (tokens, limit) = (ids.len(), self.length.max_tokens);
        if tokens > limit {
            return Err(Error::TooLong { tokens, limit });
        }
        Ok(Encoded {
            ids: ids.to_vec(),
            truncated: false,
            full_tokens: tokens,
        })
    }

    /// Puts one conversation in line, on behalf of a caller, and returns without waiting for its score.
    ///
    /// Conversations of different callers are scored together. They are turned into tokens on the thread that makes this
    /// call.
    ///
    /// # Errors
    /// [`QueueError::Full`](crate::queue::QueueError::Full) in [`Error::Queue`] when as much waits as
    /// [`ScorerOptions::queue`](crate::ScorerOptions::queue) permits; whatever is wrong with the conversation.
    pub fn enqueue(
        &self,
        conversation: &Conversation,
        request: &RequestOptions,
    ) -> Result<PendingScore> {
        let encoded = self.encode(std::slice::from_ref(conversation)).pop();
        let encoded = encoded.unwrap_or(Err(EngineError::Cancelled.into()))?;
        self.enqueue_encoded(encoded, request)
    }

    /// [`Scorer::enqueue`] of a token sequence that was templated elsewhere.
    ///
    /// # Errors
    /// As [`Scorer::enqueue`]; a sequence over the length limit is refused, never truncated.
    pub fn enqueue_ids(&self, ids: &[u32], request: &RequestOptions) -> Result<PendingScore> {
        self.enqueue_encoded(self.encoded_ids(ids)?, request)
    }

    /// [`Scorer::enqueue`] of a text that was made by the model's chat template elsewhere. See
    /// [`ScorerOptions::system_default`](crate::ScorerOptions::system_default) and
    /// [`ScorerOptions::append_end_token`](crate::ScorerOptions::append_end_token) for texts that were not quite made so.
    ///
    /// # Errors
    /// As [`Scorer::enqueue_ids`].
    pub fn enqueue_text(&self, text: &str, request: &RequestOptions) -> Result<PendingScore> {
        let begun = Instant::now();
        let found = self.templated.ids(&self.encoder, text);
        self.finishing.tally.count(|counters| {
            counters.tokenising += begun.elapsed();
            let is_foreign = found.as_ref().is_ok_and(|found| found.is_foreign);
            counters.foreign_system_prompts += u64::from(is_foreign);
        });
        self.enqueue_ids(&found?.ids, request).map_err(of_text)
    }

    /// The text of a token, as it stands in the vocabulary; `None` for an id that is not there.
    #[must_use]
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.encoder.token_text(id)
    }

    /// The text that the chat template makes of a conversation.
    ///
    /// # Errors
    /// [`Error::Text`] for a conversation that the chat template refuses.
    pub fn render(&self, conversation: &Conversation) -> Result<String> {
        Ok(self.encoder.render(conversation)?)
    }

    /// The text that the chat template makes of a conversation, with the token at which it is scored; no length limit is kept.
    ///
    /// # Errors
    /// Those of a conversation that cannot be scored.
    pub fn rendered(&self, conversation: &Conversation) -> Result<Rendered> {
        let text = self.encoder.render(conversation)?;
        let tokens = self.encoder.encode_with_ranges(&text)?;
        let waiting = self.waiting(Encoded {
            full_tokens: tokens.len(),
            ids: tokens.iter().map(|(id, _)| *id).collect(),
            truncated: false,
        })?;
        let scored = waiting.entered.scored;
        let range = tokens.get(scored.position).map(|(_, range)| range.clone());
        Ok(Rendered {
            tokens: tokens.len(),
            range: range.unwrap_or_default(),
            scored,
            text,
        })
    }

    fn enqueue_encoded(&self, encoded: Encoded, request: &RequestOptions) -> Result<PendingScore> {
        let waiting = self.waiting(encoded)?;
        let ticket = self.queue.submit(waiting.sequence, request)?;
        Ok(self.pending(ticket, waiting.entered))
    }

    fn sequences(&self, encoded: Vec<Result<Encoded>>) -> Vec<Result<Waiting>> {
        let encoded = encoded.into_iter();
        let waiting = encoded.map(|encoded| encoded.and_then(|encoded| self.waiting(encoded)));
        waiting.collect()
    }

    fn waiting(&self, encoded: Encoded) -> Result<Waiting> {
        let positions = self.scored_positions(&encoded.ids)?;
        let position = positions.last().copied().unwrap_or_default();
        let entered = Entered {
            tokens: encoded.ids.len(),
            truncated: encoded.truncated,
            scored: ScoredToken {
                position,
                id: encoded.ids.get(position).copied().unwrap_or_default(),
            },
        };
        Ok(Waiting {
            sequence: Sequence::new(encoded.ids, positions),
            entered,
        })
    }

    fn submit_sequences(
        &self,
        waiting: Vec<Result<Waiting>>,
        request: &RequestOptions,
    ) -> PendingScores {
        let mut sequences = Vec::with_capacity(waiting.len());
        let known: Vec<_> = waiting
            .into_iter()
            .map(|waiting| {
                waiting.map(|waiting| {
                    sequences.push(waiting.sequence);
                    waiting.entered
                })
            })
            .collect();
        let tickets = self.queue.submit_all(sequences, request);
        let mut tickets = tickets.into_iter();
        let outcomes = known.into_iter().map(|known| {
            let entered = known?;
            let ticket = tickets.next().ok_or(EngineError::Cancelled)?;
            Ok(self.pending(ticket, entered))
        });
        PendingScores::new(outcomes.collect(), Arc::clone(&self.finishing))
    }

    fn pending(&self, ticket: Ticket, entered: Entered) -> PendingScore {
        PendingScore::new(ticket, entered, Arc::clone(&self.finishing))
    }

    /// Which tokens are scored, of a sequence whose tokens the model knows.
    fn scored_positions(&self, ids: &[u32]) -> Result<Vec<usize>> {
        let manifest = self.bundle.manifest();
        let vocab_size = manifest.model.vocab_size;
        if let Some(position) = ids.iter().position(|&id| id as usize >= vocab_size) {
            return Err(Error::TokenId {
                id: ids[position],
                position,
                vocab_size,
            });
        }
        scored_positions(ids, self.pooling, manifest.end_token.as_ref(), |id| {
            self.encoder.token_text(id)
        })
    }
}

fn single(rewards: Vec<Result<Reward>>) -> Vec<Result<Score>> {
    rewards.into_iter().map(|reward| reward?.score()).collect()
}
