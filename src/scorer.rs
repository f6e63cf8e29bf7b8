//! From conversations to scores: the façade over text, batching and the engine.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use worldpm_ort_export::{Device, Interface, Manifest, Pooling};

use crate::{
    batch::{Budget, PlanStats, plan},
    bundle::Bundle,
    engine::{EngineError, OnnxRuntime, Pending, Pipeline, SessionStage, StageSetup},
    ep::Provider,
    error::{Error, Result},
    evaluation::{Evaluation, Reading, Score},
    options::ScorerOptions,
    pooling::scored_position,
    stream::ScoreStream,
    text::{ChatEncoder, Conversation, Encoded, LengthRule, TextOptions},
};

/// Scores conversations with an exported model.
///
/// It may be shared between threads: each call puts its work in line and waits for its own results.
///
/// ```no_run
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
    bundle: Bundle,
    encoder: ChatEncoder,
    pipeline: Pipeline<SessionStage>,
    providers: Vec<Provider>,
    budget: Budget,
    length: LengthRule,
    pooling: Pooling,
    reading: Reading,
}

impl Scorer {
    /// Opens the bundle in `directory` and loads all its stages.
    ///
    /// # Memory
    /// On the CPU, about 4 bytes per parameter of the layers and 2 of the embedding.
    ///
    /// # Errors
    /// Whatever is wrong with the bundle, the library or the devices.
    pub fn open(directory: &Path, options: &ScorerOptions) -> Result<Self> {
        let bundle = Bundle::open(directory, options.weights_dir.as_deref())?;
        let manifest = bundle.manifest();
        if manifest.interface != Interface::Packed {
            return Err(Error::Bundle {
                path: directory.to_owned(),
                problem: format!(
                    "has the {} interface, which is for other servers; \
                     export the checkpoint with --interface packed to score with it here",
                    manifest.interface
                ),
            });
        }
        let text = TextOptions::default()
            .with_system_marker(manifest.text.system_marker)
            .with_now(options.now);
        let encoder = ChatEncoder::open_with(directory, text)?;
        let providers = options
            .devices
            .assign(manifest.device, manifest.stages.len())?;
        let runtime = OnnxRuntime::load(options.ort_library.as_deref())?;
        runtime.require(&manifest.min_ort_version)?;
        let threads = options
            .threads
            .or_else(|| thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let pipeline = Pipeline::start(load_stages(&runtime, &bundle, &providers, threads)?)?;
        let limit = manifest.max_length;
        Ok(Self {
            encoder,
            pipeline,
            providers,
            budget: options.budget,
            length: LengthRule {
                max_tokens: options.max_length.map_or(limit, |wanted| wanted.min(limit)),
                truncation: options.truncation,
            },
            pooling: options.pooling.unwrap_or(manifest.pooling),
            reading: Reading::of(manifest),
            bundle,
        })
    }

    /// The manifest of the bundle.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    /// The device of each stage.
    #[must_use]
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// Scores conversations; the results are in their order.
    ///
    /// Conversations that share a beginning are computed once up to where they part. On the CPU, a
    /// conversation's score has the same bits whatever it is scored with.
    ///
    /// # Errors
    /// Each result is its own: a conversation that cannot be scored does not touch the others.
    /// [`Error::NotOneScore`] when the model gives several scores: see [`Scorer::evaluate`].
    #[must_use = "scores are returned, not stored"]
    pub fn score(&self, conversations: &[Conversation]) -> Vec<Result<Score>> {
        single(self.evaluate(conversations))
    }

    /// All that the model says of conversations, for models of every kind: [`Scorer::score`] is for those
    /// that give one score. The results are in the order of the conversations.
    ///
    /// # Errors
    /// Each result is its own: a conversation that cannot be scored does not touch the others.
    #[must_use = "scores are returned, not stored"]
    pub fn evaluate(&self, conversations: &[Conversation]) -> Vec<Result<Evaluation>> {
        self.submit(conversations).wait()
    }

    /// Puts conversations in line and returns without waiting for their scores.
    #[must_use = "the scores come from `Batch::wait`"]
    pub fn submit(&self, conversations: &[Conversation]) -> Batch {
        let encoded = self
            .encoder
            .ids_within_batch(conversations, &self.length)
            .into_iter()
            .map(|encoded| encoded.map_err(Error::from))
            .collect();
        self.submit_encoded(encoded)
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
        single(self.evaluate_ids(sequences))
    }

    /// [`Scorer::evaluate`] of token sequences that were templated elsewhere.
    ///
    /// # Errors
    /// As [`Scorer::evaluate`]; a sequence over the length limit is refused, never truncated.
    #[must_use = "scores are returned, not stored"]
    pub fn evaluate_ids(&self, sequences: &[Vec<u32>]) -> Vec<Result<Evaluation>> {
        let encoded = sequences
            .iter()
            .map(|ids| {
                let (tokens, limit) = (ids.len(), self.length.max_tokens);
                if tokens > limit {
                    return Err(Error::TooLong { tokens, limit });
                }
                Ok(Encoded {
                    ids: ids.clone(),
                    truncated: false,
                    full_tokens: tokens,
                })
            })
            .collect();
        self.submit_encoded(encoded).wait()
    }

    /// Scores a stream of items, each with any number of conversations, in order and in bounded memory.
    ///
    /// Items are taken in windows of a few hundred conversations. While one window is computed the next
    /// is read and tokenised. `T` is whatever the caller wants back with the scores.
    pub fn stream<T, I>(&self, items: I) -> ScoreStream<'_, T, I::IntoIter>
    where
        I: IntoIterator<Item = (T, Vec<Conversation>)>,
    {
        ScoreStream::new(self, items.into_iter())
    }

    fn submit_encoded(&self, encoded: Vec<Result<Encoded>>) -> Batch {
        let mut sequences = Vec::with_capacity(encoded.len());
        let mut places = Vec::with_capacity(encoded.len());
        let mut outcomes = Vec::with_capacity(encoded.len());
        for (place, encoded) in encoded.into_iter().enumerate() {
            let checked = encoded.and_then(|encoded| {
                let sequence = self.scored_part(&encoded.ids)?;
                Ok((sequence, encoded.ids.len(), encoded.truncated))
            });
            outcomes.push(match checked {
                Ok((sequence, tokens, truncated)) => {
                    sequences.push(sequence);
                    places.push(place);
                    Outcome::Waiting { tokens, truncated }
                }
                Err(error) => Outcome::Failed(error),
            });
        }
        let mut batch = Batch {
            outcomes,
            packs: Vec::new(),
            stats: PlanStats::default(),
            reading: self.reading.clone(),
        };
        match plan(&sequences, &self.budget) {
            Ok(plan) => {
                batch.stats = plan.stats;
                for pack in &plan.packs {
                    let members: Vec<usize> = pack.members.iter().map(|&m| places[m]).collect();
                    match pack.inputs(&sequences) {
                        Ok(inputs) => batch.packs.push((members, self.pipeline.submit(inputs))),
                        Err(error) => batch.fail(&members, &error.into()),
                    }
                }
            }
            Err(error) => batch.fail(&places, &error.into()),
        }
        batch
    }

    /// The tokens up to the scored one: attention is causal, so what follows has no say.
    fn scored_part(&self, ids: &[u32]) -> Result<Vec<u32>> {
        let manifest = self.bundle.manifest();
        let vocab_size = manifest.model.vocab_size;
        if let Some(position) = ids.iter().position(|&id| id as usize >= vocab_size) {
            return Err(Error::TokenId {
                id: ids[position],
                position,
                vocab_size,
            });
        }
        let scored = scored_position(ids, self.pooling, manifest.end_token.as_ref(), |id| {
            self.encoder.token_text(id)
        })?;
        Ok(ids[..=scored].to_vec())
    }
}

fn single(evaluations: Vec<Result<Evaluation>>) -> Vec<Result<Score>> {
    evaluations
        .into_iter()
        .map(|evaluation| evaluation?.score())
        .collect()
}

/// Loads the stages; those on different devices at the same time.
fn load_stages(
    runtime: &OnnxRuntime,
    bundle: &Bundle,
    providers: &[Provider],
    threads: usize,
) -> Result<Vec<SessionStage>, EngineError> {
    let mut turns: Vec<(&Provider, Arc<Mutex<()>>)> = Vec::new();
    let mut setups = Vec::with_capacity(providers.len());
    for (stage, provider) in bundle.manifest().stages.iter().zip(providers) {
        let turn = match turns.iter().find(|(known, _)| *known == provider) {
            Some((_, turn)) => Arc::clone(turn),
            None => {
                turns.push((provider, Arc::default()));
                turns
                    .last()
                    .map(|(_, turn)| Arc::clone(turn))
                    .unwrap_or_default()
            }
        };
        setups.push(StageSetup {
            stage: stage.clone(),
            graph: bundle.directory().join(&stage.graph),
            weights: bundle.weights().to_owned(),
            provider: provider.clone(),
            threads,
            turn,
            shared: providers.iter().filter(|other| *other == provider).count() > 1,
        });
    }
    let load = |setup| SessionStage::load(runtime, setup);
    if providers
        .iter()
        .all(|provider| provider.device() == Device::Cpu)
    {
        // Loading works all cores already, and one stage at a time needs the least memory.
        return setups.into_iter().map(load).collect();
    }
    thread::scope(|scope| {
        let loads: Vec<_> = setups
            .into_iter()
            .map(|setup| scope.spawn(move || load(setup)))
            .collect();
        loads
            .into_iter()
            .map(|load| {
                load.join().unwrap_or_else(|_| {
                    Err(EngineError::Stopped("loading a stage panicked".into()))
                })
            })
            .collect()
    })
}

/// Conversations whose scores are being computed.
#[derive(Debug)]
pub struct Batch {
    outcomes: Vec<Outcome>,
    packs: Vec<(Vec<usize>, Pending)>,
    stats: PlanStats,
    reading: Reading,
}

#[derive(Debug)]
enum Outcome {
    Waiting { tokens: usize, truncated: bool },
    Done(Evaluation),
    Failed(Error),
}

impl Batch {
    /// How many tokens there are, how many are computed, and how many attention cells are padding.
    #[must_use]
    pub fn stats(&self) -> &PlanStats {
        &self.stats
    }

    fn fail(&mut self, members: &[usize], error: &Error) {
        for &member in members {
            self.outcomes[member] = Outcome::Failed(error.clone());
        }
    }

    /// Waits for all scores, in the order of the conversations.
    #[must_use = "scores are returned, not stored"]
    pub fn wait(mut self) -> Vec<Result<Evaluation>> {
        for (members, pending) in std::mem::take(&mut self.packs) {
            let width = self.reading.width();
            let expected = members.len() * width;
            match pending.wait() {
                Ok(scores) if scores.len() != expected => {
                    let found = scores.len();
                    self.fail(&members, &EngineError::Scores { found, expected }.into());
                }
                Ok(scores) => {
                    for (member, values) in members.into_iter().zip(scores.chunks_exact(width)) {
                        self.outcomes[member].finish(&self.reading, values);
                    }
                }
                Err(error) => self.fail(&members, &error.into()),
            }
        }
        self.outcomes
            .into_iter()
            .map(Outcome::into_result)
            .collect()
    }
}

impl Outcome {
    fn finish(&mut self, reading: &Reading, values: &[f32]) {
        if let Self::Waiting { tokens, truncated } = *self {
            *self = match reading.output(values) {
                Ok(output) => Self::Done(Evaluation {
                    output,
                    tokens,
                    truncated,
                }),
                Err(error) => Self::Failed(error),
            };
        }
    }

    fn into_result(self) -> Result<Evaluation> {
        match self {
            Self::Done(evaluation) => Ok(evaluation),
            Self::Failed(error) => Err(error),
            Self::Waiting { .. } => Err(Error::Engine(EngineError::Stopped(
                "no pack held this conversation".into(),
            ))),
        }
    }
}
