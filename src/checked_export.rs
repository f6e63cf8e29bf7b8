//! Exports a checkpoint and makes sure that its bundle can turn conversations into tokens.
//!
//! [`worldpm_ort_export::export`] knows no tokenizer. What is here opens tokenizer and chat template before anything is
//! written, and takes a probe through them, so that nothing of that is found out at scoring.

use std::path::Path;

use worldpm_ort_bundle::{Manifest, probes::ProbeInput};
use worldpm_ort_export::{
    Calibration, Checkpoint, Error as ExportError, ExportOptions, ExportPlan, ExportStage,
    Progress, TextPlan, plan::PlacedStage, text_files,
};

use worldpm_ort_runtime::{
    BundleProblem, Conversation, Error, Message, Result, scored_positions,
    text::{ChatEncoder, TextOptions},
};

/// What an export made, and what should be known of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exported {
    /// The manifest of the bundle.
    pub manifest: Manifest,
    /// Its stages, with what they take of their devices.
    pub stages: Vec<PlacedStage>,
    /// What a user should know of how the checkpoint was read, each in a sentence.
    pub notes: Vec<String>,
}

/// A checkpoint cannot be exported, or its conversations not be made into tokens: an error for [`export_checked`] where
/// the caller has none of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckedExportError {
    /// The export failed.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// No conversation can be scored with the tokenizer and the chat template.
    #[error(transparent)]
    Text(#[from] Error),
}

/// What [`export_checked`] asks of its caller, which may load models for it. Where options are given, they are complete: with
/// the ids of special tokens.
pub trait Additions<E> {
    /// What weights are rounded for. Default: nothing.
    ///
    /// # Errors
    /// What ends the export.
    fn calibration(&self, options: &ExportOptions) -> Result<Option<Calibration>, E> {
        let _ = options;
        Ok(None)
    }

    /// What is added to the scores of the bundle in `bundle`, see [`ExportPlan::write_then`]. Default: nothing.
    ///
    /// # Errors
    /// What ends the export.
    fn correction(&self, bundle: &Path, manifest: &Manifest) -> Result<Option<Vec<f32>>, E> {
        let _ = (bundle, manifest);
        Ok(None)
    }

    /// Adds files to the bundle in `bundle`. Default: none.
    ///
    /// # Errors
    /// What ends the export.
    fn finish(&self, bundle: &Path, manifest: &Manifest, options: &ExportOptions) -> Result<(), E> {
        let _ = (bundle, manifest, options);
        Ok(())
    }
}

/// No additions.
impl<E> Additions<E> for () {}

/// As [`worldpm_ort_export::export_then`], after a check of tokenizer and chat template: every file is parsed, every
/// template compiled, and at least one of the bundle's probes rendered, tokenised and found to end as it must. A template
/// that refuses every probe, as it would under Python, may still take other conversations: that is a note.
///
/// A damaged tokenizer that makes its library abort, or allocate without bound, is not stopped here but for the known
/// ways: the command runs the same reading in a process of its own first, with a limit of memory.
///
/// # Errors
/// [`Error::Text`] and [`Error::Ending`] for text files with which no probe can be scored; those of the export and of
/// `additions`.
pub fn export_checked<E: From<ExportError> + From<Error>>(
    checkpoint: &Checkpoint,
    out: &Path,
    options: &ExportOptions,
    progress: &(dyn Fn(Progress) + Sync),
    additions: impl Additions<E>,
) -> Result<Exported, E> {
    let files = text_files(checkpoint, options)?;
    let encoder = ChatEncoder::from_files(&files, TextOptions::default()).map_err(Error::from)?;
    let mut options = options.clone();
    options.token_ids = encoder.added_tokens();
    let mut plan = ExportPlan::new(checkpoint, &options)?;
    let text = plan.text();
    if text.files.described() != files.described() {
        return Err(Error::Bundle {
            path: files.dir().to_owned(),
            problem: BundleProblem::ChangedDuringExport,
        }
        .into());
    }
    let mut notes = checkpoint.notes().to_vec();
    notes.extend(encoder.notes().iter().cloned());
    let vocab_size = checkpoint.config().vocab_size;
    notes.extend(beyond_embedding(&encoder, vocab_size));
    notes.extend(check(text, encoder, vocab_size)?);

    if let Some(calibration) = additions.calibration(&options)? {
        plan = plan.with_calibration(calibration)?;
    }
    let manifest = plan.write_then(
        out,
        progress,
        |bundle, manifest| additions.correction(bundle, manifest),
        |bundle, manifest| additions.finish(bundle, manifest, &options),
    )?;
    let stages = plan.stages().iter().map(ExportStage::placed).cloned();
    Ok(Exported {
        manifest,
        stages: stages.collect(),
        notes,
    })
}

/// Takes the plan's probes through template and tokenizer, as the scorer would. One of them must pass, since a template
/// may refuse a conversation of many turns; or the template must refuse each of them by itself, which is logged.
fn check(plan: &TextPlan, encoder: ChatEncoder, vocab_size: usize) -> Result<Option<String>> {
    let encoder = encoder.with_system_marker(plan.system_marker);
    let mut refused = None;
    let mut fault = None;
    for probe in &plan.probes {
        let ProbeInput::Messages(messages) = &probe.input else {
            continue;
        };
        let messages = messages
            .iter()
            .map(|message| Message::new(message.role.as_str(), message.content.as_str()));
        let conversation = Conversation::new(messages.collect());
        let outcome = encoder
            .conversation_ids(&conversation)
            .map_err(Error::from)
            .and_then(|ids| {
                if let Some(position) = ids.iter().position(|&id| id as usize >= vocab_size) {
                    return Err(Error::TokenId {
                        id: ids[position],
                        position,
                        vocab_size,
                    });
                }
                scored_positions(&ids, plan.pooling, plan.end_token.as_ref(), |id| {
                    encoder.token_text(id)
                })
            });
        match outcome {
            Ok(_) => return Ok(None),
            Err(Error::Text(error)) if error.is_templates_own() => {
                refused.get_or_insert(error);
            }
            Err(error) => {
                fault.get_or_insert(error);
            }
        }
    }
    match (fault, refused) {
        (Some(fault), _) => Err(fault),
        (None, Some(refused)) => Ok(Some(format!(
            "WARNING: no conversation could be tried, since the chat template ({}) takes none of the probes: {refused}. \
             Every conversation that it does not take will get such an error instead of a score",
            encoder.template_origin()
        ))),
        (None, None) => Ok(None),
    }
}

/// Tokens that the embedding has no row for: a text with one of them cannot be scored.
fn beyond_embedding(encoder: &ChatEncoder, vocab_size: usize) -> Option<String> {
    const SHOWN: usize = 5;
    let mut beyond: Vec<(u32, String)> = encoder
        .added_tokens()
        .into_iter()
        .map(|(text, id)| (id, text))
        .filter(|(id, _)| *id as usize >= vocab_size)
        .collect();
    beyond.sort();
    let count = beyond.len();
    let shown = beyond
        .into_iter()
        .take(SHOWN)
        .map(|(id, text)| format!("{text} ({id})"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    (count > 0).then(|| {
        format!(
            "{count} of the tokenizer's special tokens are beyond the model's vocabulary of {vocab_size}, and a text \
             that holds one is refused: {shown}"
        )
    })
}
