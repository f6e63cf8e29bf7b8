//! Gathers what goes into the linear layers of a checkpoint over some conversations, which weights are then rounded for.

use std::{
    fmt::{self, Display},
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use worldpm_ort_bundle::{
    Bytes, Manifest, Pooling, files, hash::sha256_hex, manifest::CalibrationData,
};
use worldpm_ort_export::{
    Calibration, CalibrationNeeds, CalibrationWriter, Checkpoint, ExportOptions,
};
use worldpm_ort_runtime::{
    Conversation, Error, ErrorKind, Scorer, ScorerOptions, available_memory,
    engine::LinearInputs,
    verify::{scorer_options, scores_of_ids},
};

use crate::references::{Asked, Exact, ReferenceError};

/// Conversations to round weights for.
#[derive(Clone, Debug)]
pub struct CalibrationSet {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// SHA-256 of what they were read from, for the manifest.
    pub sha256: String,
    /// Whether those that the model does not take are left out. Else they are errors.
    pub may_be_refused: bool,
}

/// Conversations of many kinds, with good and bad answers.
const BUILT_IN: &str = include_str!("../models/calibration/conversations.jsonl");

impl CalibrationSet {
    /// Conversations that the program has with it: of many kinds and in some languages, with good and bad answers. Those that
    /// the model does not take are left out.
    ///
    /// # Errors
    /// [`CalibrationError::BuiltIn`], which its tests exclude.
    pub fn built_in() -> Result<Self, CalibrationError> {
        let conversation = |line: &str| {
            let fault = |problem: &dyn Display| CalibrationError::BuiltIn(problem.to_string());
            let record: Value = serde_json::from_str(line).map_err(|problem| fault(&problem))?;
            Conversation::from_value(record).map_err(|problem| fault(&problem))
        };
        Ok(Self {
            conversations: BUILT_IN
                .lines()
                .map(conversation)
                .collect::<Result<_, _>>()?,
            sha256: sha256_hex(BUILT_IN.as_bytes()),
            may_be_refused: true,
        })
    }
}

/// Weights cannot be rounded for conversations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// The checkpoint cannot be exported without rounding, or its scores not be computed.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A conversation cannot be scored.
    #[error("conversation {number}: {source}")]
    Conversation {
        /// Its number, from 1.
        number: usize,
        /// Why.
        source: Error,
    },
    /// The model cannot be loaded.
    #[error(transparent)]
    Score(#[from] Error),
    /// There are no conversations.
    #[error("there are no conversations that the model takes")]
    Empty,
    /// The conversations of [`CalibrationSet::built_in`] cannot be read.
    #[error("the built-in conversations: {0}")]
    BuiltIn(String),
    /// There is not enough memory to round with what would be gathered.
    #[error(
        "rounding for conversations takes {needed} of memory for the widest layer, and there are {available}",
        needed = Bytes(*needed), available = Bytes(*available)
    )]
    Memory {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// There is not enough room for what goes into the layers.
    #[error(
        "what goes into the layers takes {needed} in {}, and {free} are free: fewer tokens take less",
        path.display(), needed = Bytes(*needed), free = Bytes(*free)
    )]
    Space {
        /// Where it would be.
        path: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// What was gathered cannot be written.
    #[error("cannot write what goes into the layers: {0}")]
    Write(#[from] io::Error),
}

/// How far a calibration is.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The conversations are known, and will be scored.
    Begun {
        /// How many there are.
        conversations: usize,
        /// Of all of them.
        tokens: usize,
        /// Bytes on the disk that what goes into the layers will take at most: less where conversations share tokens.
        disk: u64,
        /// About how long weights will be rounded after that.
        rounding: Duration,
    },
    /// So many bytes of those are written.
    Gathered(u64),
}

/// What is called at each step, on any thread.
pub type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

/// What was gathered, for as long as it is needed, and the scores without rounding.
#[derive(Debug)]
pub struct Gathered {
    ids: Vec<Vec<u32>>,
    scores: Vec<Vec<f32>>,
    _place: tempfile::TempDir,
}

impl Gathered {
    /// Whether a checkpoint takes seconds or minutes, with at most 4 GB of weights in fp32.
    #[must_use]
    pub fn is_quick(checkpoint: &Checkpoint) -> bool {
        Exact::is_quick(checkpoint)
    }

    /// Scores `set` with the weights of `checkpoint` as they are, and keeps what goes into the linear layers: of the first
    /// conversations, up to `max_tokens` tokens of them, in the directory `beside`, or that for temporary files. `options`
    /// are those of the bundle; of `scorer`, the library, the number of threads and the memory count.
    ///
    /// # Memory
    /// 1.1 times the weights in fp32, or of one layer where that is more than there is; then what [`CalibrationNeeds`] says,
    /// and on the disk as well. Both are looked at beforehand.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub fn new(
        checkpoint: &Checkpoint,
        options: &ExportOptions,
        scorer: &ScorerOptions,
        (set, max_tokens): (&CalibrationSet, usize),
        beside: &Path,
        on_step: &OnStep,
    ) -> Result<(Self, Calibration), CalibrationError> {
        let needs = CalibrationNeeds::new(checkpoint.config());
        check_memory(&needs, scorer)?;
        let mut place = tempfile::Builder::new();
        place.prefix(".worldpm-ort-calibration-");
        let place = place.tempdir_in(beside).or_else(|_| place.tempdir())?;
        let exact = Exact::export(checkpoint, options, scorer, Asked::Yes)?;
        let writer = Arc::new(Inputs {
            writer: CalibrationWriter::new(place.path()),
            written: AtomicU64::new(0),
            on_step: Arc::clone(on_step),
        });
        let mut own = scorer_options(exact.scorer().clone());
        own.linear_inputs = Some(Arc::<Inputs>::clone(&writer));
        let opened = Scorer::open(exact.bundle(), &own)?;
        let (mut ids, mut tokens) = (Vec::new(), 0);
        for (index, conversation) in set.conversations.iter().enumerate() {
            let found = match opened.token_ids(conversation) {
                Err(_) if set.may_be_refused => continue,
                found => found.map_err(at(index))?,
            };
            if !ids.is_empty() && tokens + found.len() > max_tokens {
                break;
            }
            tokens += found.len();
            ids.push(found);
        }
        let disk = needs.disk(tokens as u64);
        check_space(place.path(), beside, disk)?;
        on_step(Step::Begun {
            conversations: ids.len(),
            tokens,
            disk,
            rounding: needs.time(tokens as u64, threads(options)),
        });
        let mut scores = Vec::new();
        let mut taken = Vec::new();
        for (index, found) in scores_of_ids(&opened, &ids).into_iter().enumerate() {
            match found {
                Err(error) if set.may_be_refused && error.kind() == ErrorKind::InvalidInput => {}
                found => {
                    scores.push(found.map_err(at(index))?);
                    taken.push(index);
                }
            }
        }
        let ids: Vec<_> = taken
            .into_iter()
            .map(|index| std::mem::take(&mut ids[index]))
            .collect();
        if ids.is_empty() {
            return Err(CalibrationError::Empty);
        }
        let tokens: usize = ids.iter().map(Vec::len).sum();
        drop(opened);
        let calibration = writer.writer.finish(CalibrationData {
            conversations: ids.len() as u64,
            tokens: tokens as u64,
            sha256: set.sha256.clone(),
            correction: Vec::new(),
        });
        let gathered = Self {
            ids,
            scores,
            _place: place,
        };
        Ok((gathered, calibration))
    }

    /// What has to be added to the scores of each label of the bundle in `bundle`, which has this manifest, so that those of
    /// the conversations have the mean that they have without rounding. `None` for a model that scores steps: their rewards
    /// are shares.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub fn correction(
        &self,
        bundle: &Path,
        manifest: &Manifest,
        scorer: &ScorerOptions,
    ) -> Result<Option<Vec<f32>>, CalibrationError> {
        if matches!(manifest.pooling, Pooling::EachToken { .. }) {
            return Ok(None);
        }
        let opened = Scorer::open(bundle, &scorer_options(scorer.clone()))?;
        let labels = self.scores.first().map_or(0, Vec::len);
        let mut sums = vec![0.0; labels];
        for (index, scores) in scores_of_ids(&opened, &self.ids).into_iter().enumerate() {
            let scores = scores.map_err(at(index))?;
            for ((sum, exact), score) in sums.iter_mut().zip(&self.scores[index]).zip(scores) {
                *sum += f64::from(*exact) - f64::from(score);
            }
        }
        let count = self.ids.len() as f64;
        Ok(Some(sums.iter().map(|sum| (sum / count) as f32).collect()))
    }
}

fn at(index: usize) -> impl Fn(Error) -> CalibrationError {
    move |source| CalibrationError::Conversation {
        number: index + 1,
        source,
    }
}

/// Those that weights are converted on.
fn threads(options: &ExportOptions) -> NonZeroUsize {
    let all = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    options.threads.unwrap_or_else(all)
}

fn check_memory(needs: &CalibrationNeeds, scorer: &ScorerOptions) -> Result<(), CalibrationError> {
    let needed = needs.memory();
    match scorer.memory.or_else(available_memory) {
        Some(available) if needed > available => {
            Err(CalibrationError::Memory { needed, available })
        }
        _ => Ok(()),
    }
}

/// Looks whether `dir` has room for so many bytes; an error names `shown`.
fn check_space(dir: &Path, shown: &Path, needed: u64) -> Result<(), CalibrationError> {
    // Where the system does not say, writing will show it.
    match files::free_bytes(dir) {
        Ok(free) if needed > free => Err(CalibrationError::Space {
            path: shown.to_owned(),
            needed,
            free,
        }),
        _ => Ok(()),
    }
}

struct Inputs {
    writer: CalibrationWriter,
    /// Bytes.
    written: AtomicU64,
    on_step: OnStep,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.writer.fmt(f)
    }
}

impl LinearInputs for Inputs {
    fn see(&self, weights: &[&str], inputs: &[f32], width: usize) -> io::Result<()> {
        self.writer.add(weights, inputs, width)?;
        let bytes = 2 * inputs.len() as u64;
        (self.on_step)(Step::Gathered(
            bytes + self.written.fetch_add(bytes, Relaxed),
        ));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room() {
        let dir = tempfile::tempdir().unwrap();
        check_space(dir.path(), Path::new("shown"), 1).unwrap();
        let error = check_space(dir.path(), Path::new("shown"), u64::MAX).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("shown") && said.contains("fewer tokens"),
            "{said}"
        );
    }
}
