//! The tokenizer and the chat template of a bundle.

use std::path::Path;

use super::{read, sha256_hex};
use crate::{
    error::{Error, Result},
    manifest::{Text, TextFile},
    output::StagedDir,
};

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// Reads the text files of the checkpoint in `dir`.
pub(super) fn collect(dir: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mut files = Vec::new();
    for name in [TOKENIZER, TOKENIZER_CONFIG, CHAT_TEMPLATE] {
        if dir.join(name).exists() {
            files.push((name, read(&dir.join(name))?));
        }
    }
    let has = |wanted: &str| files.iter().any(|(name, _)| *name == wanted);
    if !has(TOKENIZER) {
        return Err(Error::Tokenizer {
            path: dir.join(TOKENIZER),
            problem: "is missing; a bundle needs the checkpoint's fast tokenizer".into(),
        });
    }
    let template_in_config = files
        .iter()
        .find(|(name, _)| *name == TOKENIZER_CONFIG)
        .map(|(name, text)| {
            serde_json::from_slice::<serde_json::Value>(text).map_err(|error| Error::Tokenizer {
                path: dir.join(name),
                problem: format!("is not JSON: {error}"),
            })
        })
        .transpose()?
        .is_some_and(|config| config.get("chat_template").is_some_and(|t| !t.is_null()));
    if !template_in_config && !has(CHAT_TEMPLATE) {
        return Err(Error::Tokenizer {
            path: dir.join(CHAT_TEMPLATE),
            problem: format!(
                "is missing, and {TOKENIZER_CONFIG} has no chat_template; \
                 put the model's chat template there"
            ),
        });
    }
    Ok(files)
}

/// Puts the files into the bundle.
pub(super) fn write(
    output: &StagedDir,
    files: &[(&'static str, Vec<u8>)],
    system_marker: bool,
) -> Result<Text> {
    let files = files
        .iter()
        .map(|(name, bytes)| {
            output.write(name, bytes)?;
            Ok(TextFile {
                name: (*name).into(),
                sha256: sha256_hex(bytes),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Text {
        system_marker,
        files,
    })
}
