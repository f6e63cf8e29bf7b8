//! The reference scores of a bundle's probes, and the file that keeps them.
//!
//! They are kept out of the manifest because they are measured. Two machines, or two versions of ONNX
//! Runtime, may differ in the last bits of a score, and the manifest has the same bytes wherever the same
//! checkpoint is exported with the same options. On one machine the scores have the same bits every time,
//! for any number of threads.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use worldpm_ort_bundle::{
    Device, Manifest, Precision, files,
    json::pretty,
    probes::{Probe, ProbeInput},
};

pub use super::exact::is_reference;
use super::{
    MeasuredDrift, VerifyError,
    scoring::{scorer_options, scores_of_ids},
};
use crate::{
    Bundle, Conversation, Error, Message, Scorer, ScorerOptions,
    batch::Budget,
    engine::{EngineError, OnnxRuntime},
    host::memory,
};

/// Name of the file in a bundle.
pub const FILE_NAME: &str = worldpm_ort_bundle::probes::FILE_NAME;

/// What the field `format` of the file says.
const FORMAT: &str = "worldpm-ort-probes";

/// The version of the file that is written and read.
const FORMAT_VERSION: u64 = 1;

/// Most tokens of a pack of probes: they are short, and the less there is in a pack, the less memory it takes.
const PACK_TOKENS: usize = 512;

/// What a loaded model takes: its weights in fp32 and a tenth more (measured at the 0.5B shape), and
/// activations of the probes.
const OVERHEAD_BYTES: u64 = 300_000_000;

/// Scores on the reference path, and how they were made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reference {
    /// How they were made.
    pub made_with: MadeWith,
    /// A score for each probe that the model takes.
    pub probes: Vec<ProbeScores>,
    /// How far the bundle was from them at export, where its weights are integers or fp16 and that was measured.
    pub drift: Option<MeasuredDrift>,
}

/// How reference scores were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MadeWith {
    /// Name and version of this program.
    pub producer: String,
    /// Version of ONNX Runtime.
    pub onnxruntime: String,
    /// The device: always `cpu`.
    pub device: String,
    /// The arithmetic: always `fp32`, over the checkpoint's own weights.
    pub precision: String,
}

/// The reference of one probe.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ProbeScores {
    /// Name of the probe, as in the manifest.
    pub name: String,
    /// The token ids that were scored.
    pub ids: Vec<u32>,
    /// What the model gave: a score, or one for each label; for each step, before the softmax.
    pub scores: Vec<f32>,
}

/// A probe that the model does not take, such as a conversation that its template refuses.
#[derive(Debug)]
#[non_exhaustive]
pub struct Skipped {
    /// Name of the probe.
    pub name: String,
    /// Why.
    pub problem: Error,
}

/// Makes reference scores with a bundle that is itself on the reference path, see [`is_reference`].
///
/// # Memory
/// 1.1 times the weights in fp32, or of the largest stage where there are several and not all fit.
///
/// # Errors
/// [`VerifyError::Memory`] when there is not enough; [`VerifyError::Probe`] when the model gives no finite number; and
/// whatever is wrong with the bundle or ONNX Runtime's library.
pub fn of_bundle(
    bundle: &Bundle,
    scorer: &ScorerOptions,
) -> Result<(Reference, Vec<Skipped>), VerifyError> {
    let manifest = bundle.manifest();
    let stored: u64 = manifest.stages.iter().map(|stage| stage.weight_bytes).sum();
    let widening = if manifest.precision == Precision::Fp32 {
        1
    } else {
        2
    };
    let needed = memory_needed(stored * widening);
    match scorer.memory.or_else(memory::available) {
        // A bundle with more stages is streamed.
        Some(limit) if limit < needed && manifest.stages.len() == 1 => {
            return Err(VerifyError::Memory {
                needed,
                limit,
                what: "available",
            });
        }
        _ => {}
    }
    let mut scorer = scorer.clone();
    scorer.weights_dir = Some(bundle.weights().to_owned());
    of_probes(bundle.directory(), scorer)
}

/// Scores the probes of the bundle in `bundle`, which is itself on the reference path, without a look at the memory that
/// takes.
///
/// # Errors
/// [`VerifyError::Probe`] when the model gives no finite number, and whatever is wrong with the bundle or ONNX Runtime's
/// library.
pub fn of_probes(
    bundle: &Path,
    options: ScorerOptions,
) -> Result<(Reference, Vec<Skipped>), VerifyError> {
    let runtime =
        OnnxRuntime::load(options.ort_library.as_deref(), options.threads).map_err(Error::from)?;
    let scorer = Scorer::open(bundle, &scorer_options(for_references(options)))?;
    let probes = &scorer.manifest().probes;
    let ids: Vec<_> = probes
        .iter()
        .map(|probe| token_ids(&scorer, probe))
        .collect();
    // Together, for weights that are streamed; each has an outcome of its own.
    let sequences: Vec<_> = ids.iter().flatten().cloned().collect();
    let mut scores = scores_of_ids(&scorer, &sequences).into_iter();
    let mut taken = Vec::new();
    let mut skipped = Vec::new();
    for (probe, ids) in probes.iter().zip(ids) {
        let name = probe.name.clone();
        let outcome = ids.and_then(|ids| {
            let missing = || Err(EngineError::Stopped("no scores came".into()).into());
            Ok((ids, scores.next().unwrap_or_else(missing)?))
        });
        match outcome {
            Ok((ids, scores)) => taken.push(ProbeScores { name, ids, scores }),
            Err(
                problem @ (Error::Text(_)
                | Error::Ending(_)
                | Error::NoSteps { .. }
                | Error::TooLong { .. }),
            ) => {
                skipped.push(Skipped { name, problem });
            }
            Err(problem) => return Err(VerifyError::Probe { name, problem }),
        }
    }
    match (taken.is_empty(), skipped.pop()) {
        (true, Some(Skipped { name, problem })) => Err(VerifyError::Probe { name, problem }),
        (true, None) => Err(VerifyError::NoProbes {
            bundle: bundle.to_owned(),
        }),
        (false, last) => {
            skipped.extend(last);
            let made_with = MadeWith {
                producer: concat!("worldpm-ort ", env!("CARGO_PKG_VERSION")).into(),
                onnxruntime: runtime.version().into(),
                device: Device::Cpu.to_string(),
                precision: "fp32".into(),
            };
            let probes = taken;
            let drift = None;
            let reference = Reference {
                made_with,
                probes,
                drift,
            };
            Ok((reference, skipped))
        }
    }
}

/// ONNX Runtime computes references, so that they have the same bits whatever the weights are stored as, and say something
/// of our own kernels too.
pub(super) fn for_references(mut options: ScorerOptions) -> ScorerOptions {
    options.kernels = false;
    options.with_budget(
        Budget::default()
            .with_max_tokens(PACK_TOKENS)
            .with_max_cells(PACK_TOKENS),
    )
}

/// The token ids of a probe, as the scorer's template and tokenizer make them.
pub(super) fn token_ids(scorer: &Scorer, probe: &Probe) -> crate::Result<Vec<u32>> {
    match &probe.input {
        ProbeInput::Ids(ids) => Ok(ids.clone()),
        ProbeInput::Messages(messages) => {
            let messages = messages
                .iter()
                .map(|message| Message::new(message.role.as_str(), message.content.as_str()));
            scorer.token_ids(&Conversation::new(messages.collect()))
        }
    }
}

/// Bytes of memory that the reference path takes for a model with these bytes of fp32 weights, all of it loaded.
#[must_use]
pub fn memory_needed(weights: u64) -> u64 {
    weights / 10 * 11 + OVERHEAD_BYTES
}

impl Reference {
    /// Reads the reference scores of the bundle in `dir`, which has this manifest.
    ///
    /// # Errors
    /// [`VerifyError::NoProbes`] and [`VerifyError::NoReference`] when there are none;
    /// [`VerifyError::Reference`] when they are malformed or not of this bundle's probes.
    pub fn read(dir: &Path, manifest: &Manifest) -> Result<Self, VerifyError> {
        if manifest.probes.is_empty() {
            return Err(VerifyError::NoProbes {
                bundle: dir.to_owned(),
            });
        }
        let path = dir.join(FILE_NAME);
        let fault = |problem: String| VerifyError::Reference {
            path: path.clone(),
            problem,
        };
        let text = match files::read_limited(&path, files::MAX_CONFIG_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(VerifyError::NoReference {
                    path: path.clone(),
                    bundle: dir.to_owned(),
                });
            }
            Err(error) => return Err(fault(format!("cannot be read: {error}"))),
        };
        parse(&text).and_then(|reference| {
            reference.check(manifest)?;
            Ok(reference)
        })
        .map_err(|problem| {
            fault(format!(
                "{problem}; make the reference scores again with `worldpm-ort verify --record --model {}`",
                dir.display()
            ))
        })
    }

    /// Writes `probes.json` into a bundle that is not finished, such as an export gives before it
    /// ends.
    ///
    /// # Errors
    /// [`VerifyError::Write`].
    pub fn write_into_unfinished(&self, dir: &Path) -> Result<(), VerifyError> {
        let path = dir.join(FILE_NAME);
        fs::write(&path, self.to_json()).map_err(|source| VerifyError::Write { path, source })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_json(&self) -> String {
        pretty(&self.to_value())
    }

    fn to_value(&self) -> Value {
        let probes = self.probes.iter().map(
            |ProbeScores { name, ids, scores }| json!({"name": name, "ids": ids, "scores": scores}),
        );
        let mut value = json!({
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "made_with": self.made_with,
            "probes": probes.collect::<Vec<_>>(),
        });
        if let Some(drift) = &self.drift {
            value["drift"] = json!(drift);
        }
        value
    }

    /// Whether these are scores of the probes of `manifest`.
    fn check(&self, manifest: &Manifest) -> Result<(), String> {
        if self.probes.is_empty() {
            return Err("`probes` is empty".into());
        }
        if let Some(drift) = &self.drift {
            drift.check()?;
        }
        let mut names = BTreeSet::new();
        for (at, ProbeScores { name, ids, scores }) in self.probes.iter().enumerate() {
            let fault = |problem: String| Err(format!("`probes[{at}]`, {name:?}: {problem}"));
            let Some(probe) = manifest.probes.iter().find(|probe| probe.name == *name) else {
                return fault("the bundle's manifest has no such probe".into());
            };
            if !names.insert(name) {
                return fault("is there twice".into());
            }
            let vocab_size = manifest.model.vocab_size;
            if let Some(at) = ids.iter().position(|&id| id as usize >= vocab_size) {
                return fault(format!(
                    "`ids[{at}]` is {}, outside the vocabulary of {vocab_size} tokens",
                    ids[at]
                ));
            }
            match &probe.input {
                ProbeInput::Ids(own) if own != ids => {
                    return fault("`ids` are not those of the bundle's manifest".into());
                }
                _ if ids.is_empty() || ids.len() > manifest.max_length => {
                    return fault(format!("has {} token ids", ids.len()));
                }
                _ => {}
            }
            if scores.is_empty() || scores.iter().any(|score| !score.is_finite()) {
                return fault("`scores` must be finite numbers, at least one".into());
            }
        }
        Ok(())
    }
}

fn parse(text: &[u8]) -> Result<Reference, String> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        format_version: u64,
    }
    #[derive(Deserialize)]
    struct Body {
        made_with: MadeWith,
        probes: Vec<ProbeScores>,
        drift: Option<MeasuredDrift>,
    }
    // The version comes first: a later format may differ in everything else.
    let head: Head = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if head.format != FORMAT || head.format_version != FORMAT_VERSION {
        return Err(format!(
            "is of format {:?}, version {}, and this program reads {FORMAT:?}, version {FORMAT_VERSION}",
            head.format, head.format_version
        ));
    }
    let Body {
        made_with,
        probes,
        drift,
    } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    Ok(Reference {
        made_with,
        probes,
        drift,
    })
}
