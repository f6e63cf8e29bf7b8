//! Which token is scored, and how a rendered conversation has to end.
//!
//! The published code of `Qwen2ForRewardModel` scores the last token when its configuration has no
//! `pad_token_id`, else the token before the first padding token. `*ForSequenceClassification` in
//! `transformers` scores the rightmost token that is not padding, or the last one when there is no
//! `pad_token_id`.
//!
//! For `Qwen2ForRewardModel` the template puts `<|endoftext|>` last: that is the end token unless the
//! user names another. A conversation that ends otherwise would be scored at a token that the model was
//! not trained on. Other models have no end token unless the user names one.

use std::path::Path;

use serde::Deserialize;

use crate::{
    checkpoint::{Architecture, Checkpoint},
    error::{Error, Result},
    manifest::Token,
    options::{ExportOptions, Pooling},
};

const END_OF_TEXT: &str = "<|endoftext|>";

/// The pooling rule and the end token of an export.
pub(crate) fn resolve(
    checkpoint: &Checkpoint,
    options: &ExportOptions,
) -> Result<(Pooling, Option<Token>)> {
    let config = checkpoint.config();
    let pooling = options
        .pooling
        .unwrap_or_else(|| default_rule(config.architecture, config.pad_token_id));
    let text = match (&options.end_token, config.architecture) {
        (Some(text), _) if text.is_empty() => None,
        (Some(text), _) => Some(text.as_str()),
        (None, Architecture::Qwen2ForRewardModel) => Some(END_OF_TEXT),
        (None, _) => None,
    };
    let end_token = text
        .map(|text| special_token(checkpoint.dir(), text))
        .transpose()?;
    Ok((pooling, end_token))
}

fn default_rule(architecture: Architecture, pad_token_id: Option<u32>) -> Pooling {
    match (architecture, pad_token_id) {
        (_, None) => Pooling::Last,
        (Architecture::Qwen2ForRewardModel, Some(pad_token_id)) => {
            Pooling::BeforeFirstPad { pad_token_id }
        }
        (
            Architecture::Qwen2ForSequenceClassification
            | Architecture::Qwen3ForSequenceClassification
            | Architecture::LlamaForSequenceClassification,
            Some(pad_token_id),
        ) => Pooling::LastNonPad { pad_token_id },
    }
}

#[derive(Deserialize)]
struct AddedTokens {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

fn special_token(dir: &Path, text: &str) -> Result<Token> {
    let path = dir.join("tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|source| Error::io("read", &path, source))?;
    let tokenizer: AddedTokens =
        serde_json::from_slice(&bytes).map_err(|error| Error::Tokenizer {
            path: path.clone(),
            problem: format!("is not a tokenizer: {error}"),
        })?;
    let token = tokenizer
        .added_tokens
        .into_iter()
        .find(|t| t.content == text);
    match token {
        Some(AddedToken { id, content }) => Ok(Token { id, text: content }),
        None => Err(Error::Tokenizer {
            path,
            problem: format!(
                "has no special token {text}, with which conversations should end; \
                 name the right one with --end-token (or \"\" for any)"
            ),
        }),
    }
}
