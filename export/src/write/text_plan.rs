//! How an export makes text and tokens of conversations.

use worldpm_ort_bundle::{
    Activation, Pooling, TextFrom,
    manifest::Token,
    probes::{self, Probe},
    text_files::TextFiles,
};

use crate::{
    checkpoint::{Checkpoint, ModelConfig},
    error::Result,
    options::ExportOptions,
    pooling, text,
};

/// How an export makes text and tokens of conversations, and what is scored of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TextPlan {
    /// Whose files they are.
    pub from: TextFrom,
    /// Tokenizer and chat template.
    pub files: TextFiles,
    /// Whether a conversation without a system message gets an empty one in front.
    pub system_marker: bool,
    /// Which tokens are scored.
    pub pooling: Pooling,
    /// What makes rewards of the numbers that the graph gives.
    pub activation: Activation,
    /// The token that every rendered conversation must end with.
    pub end_token: Option<Token>,
    /// Short inputs, some of them conversations.
    pub probes: Vec<Probe>,
}

impl TextPlan {
    pub(super) fn new(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Self> {
        let (from, files) = text::choose(checkpoint.dir(), options)?;
        files.require()?;
        let scoring = pooling::resolve(checkpoint, &files, options)?;
        Ok(Self {
            from,
            files,
            system_marker: options
                .system_marker
                .unwrap_or_else(|| checkpoint.config().architecture.class().system_marker),
            probes: probes_of(checkpoint.config(), &scoring),
            pooling: scoring.pooling,
            activation: scoring.activation,
            end_token: scoring.end_token,
        })
    }
}

/// The text files that an export with these options uses.
///
/// # Errors
/// As [`TextFiles::of_checkpoint`]; [`Error::Option`](crate::Error::Option) when an adapter has only some text files, see
/// [`ExportOptions::text_from`].
pub fn text_files(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<TextFiles> {
    let (_, files) = text::choose(checkpoint.dir(), options)?;
    files.require()?;
    Ok(files)
}

fn probes_of(config: &ModelConfig, scoring: &pooling::Scoring) -> Vec<Probe> {
    probes::probes(
        config.vocab_size,
        config.max_position_embeddings,
        scoring.pooling,
        scoring.end_token.as_ref(),
        scoring.step_token.as_ref(),
    )
}
