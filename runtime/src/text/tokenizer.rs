//! The tokenizer library: loading, and keeping its panics from going further.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use tokenizers::{Encoding, ModelWrapper, Tokenizer};

use super::{error::TextError, pipeline, special::Addition};

/// Reads `tokenizer.json`, with what a user should know of it.
pub(super) fn load_tokenizer(
    path: &Path,
    bytes: &[u8],
) -> Result<(Tokenizer, Vec<String>), TextError> {
    let bad = |message: String| TextError::Tokenizer {
        path: path.to_owned(),
        message,
    };
    pipeline::check(path, bytes)?;
    let load = || -> tokenizers::Result<(Tokenizer, Vec<String>)> {
        let mut tokenizer = Tokenizer::from_bytes(bytes)?;
        // Some checkpoints carry settings for training here; `transformers` encodes without truncation and padding.
        tokenizer.with_truncation(None)?;
        let mut notes = Vec::new();
        if let ModelWrapper::BPE(model) = tokenizer.get_model()
            && let Some(dropout) = model.dropout
        {
            let mut model = model.clone();
            model.dropout = None;
            tokenizer.with_model(model);
            if dropout > 0.0 {
                notes.push(format!(
                    "tokenizer.json has a dropout of {dropout}, which is for training and is off: with it every run \
                     would give other ids"
                ));
            }
        }
        Ok((tokenizer, notes))
    };
    match catch(load) {
        Ok(loaded) => loaded.map_err(|error| bad(error.to_string())),
        Err(panic) => Err(bad(panic)),
    }
}

/// Adds tokens in their order, and checks that each gets the id that a file gives it.
pub(super) fn add_tokens(
    path: &Path,
    tokenizer: &mut Tokenizer,
    additions: Vec<Addition>,
) -> Result<(), TextError> {
    let (tokens, expected): (Vec<_>, Vec<_>) = additions
        .into_iter()
        .map(|addition| {
            let content = addition.token.content.clone();
            (addition.token, (content, addition.expected))
        })
        .unzip();
    // One call for each would build its search tree anew as often.
    match catch(|| tokenizer.add_tokens(tokens)) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            return Err(TextError::Tokenizer {
                path: path.to_owned(),
                message: error.to_string(),
            });
        }
        Err(message) => {
            return Err(TextError::Tokenizer {
                path: path.to_owned(),
                message,
            });
        }
    }
    for (content, expected) in expected {
        let Some((id, path, field)) = expected else {
            continue;
        };
        let found = tokenizer.token_to_id(&content);
        if found != Some(id) {
            let found = found.map_or("no id".to_owned(), |id| format!("id {id}"));
            return Err(TextError::Config {
                path,
                field,
                problem: format!(
                    "token {content:?} has {found} in tokenizer.json; the two files are not of the same checkpoint"
                ),
            });
        }
    }
    Ok(())
}

/// Runs what may panic on files or texts that it was not made for; the panic's message.
fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(message), _) => message.clone(),
            (None, Some(message)) => (*message).to_owned(),
            (None, None) => "it stopped without a reason".to_owned(),
        }
    })
}

/// Runs the tokenizer so that a panic in its regular expression engine, which gives up on very long runs of white space
/// that way, is an error of this one text.
pub(super) fn guarded(
    text: &str,
    encode: impl FnOnce() -> tokenizers::Result<Encoding>,
) -> Result<Encoding, TextError> {
    let failed = |message: String| TextError::Encode {
        bytes: text.len(),
        message,
    };
    match catch(encode) {
        Ok(Ok(encoding)) => Ok(encoding),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(panic) => Err(failed(panic)),
    }
}
