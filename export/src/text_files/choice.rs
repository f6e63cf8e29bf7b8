//! Whose text files an export uses, when an adapter has some too.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{TOKENIZER, TextFiles};
use crate::{
    error::{Error, Result},
    options::ExportOptions,
};

/// Where the tokenizer and the chat template of a bundle come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextFrom {
    /// The checkpoint.
    #[default]
    Base,
    /// The adapter that is merged into it.
    Adapter,
}

/// The text files of an export.
///
/// PEFT and TRL save the tokenizer with an adapter, which may have other tokens or another template than the model's: it
/// is what the adapter was trained with, and is taken unless `options` say otherwise.
pub(crate) fn choose(dir: &Path, options: &ExportOptions) -> Result<(TextFrom, TextFiles)> {
    let fault = |problem: String| {
        Err(Error::Option {
            option: "text_from".into(),
            problem,
        })
    };
    let base = || Ok((TextFrom::Base, TextFiles::of_checkpoint(dir)?));
    let adapter = match (&options.adapter, options.text_from) {
        (_, Some(TextFrom::Base)) | (None, None) => return base(),
        (None, Some(TextFrom::Adapter)) => {
            return fault("is adapter, and no adapter is given".into());
        }
        (Some(adapter), _) => adapter,
    };
    let mut own = TextFiles::of_checkpoint(adapter)?;
    if own.files.is_empty() {
        return match options.text_from {
            None => base(),
            Some(_) => fault(format!(
                "is adapter, and {} has no {TOKENIZER}",
                adapter.display()
            )),
        };
    }
    let of_base = TextFiles::of_checkpoint(dir)?;
    let differs: Vec<&str> = own
        .files
        .iter()
        .filter(|(name, bytes)| of_base.get(name) != Some(bytes.as_slice()))
        .map(|(name, _)| name.as_str())
        .collect();
    if differs.is_empty() && options.text_from.is_none() {
        return Ok((TextFrom::Base, of_base));
    }
    if own.get(TOKENIZER).is_none() {
        return fault(format!(
            "cannot be told: {} has {} of its own, unlike the checkpoint's, but no {TOKENIZER}; give base \
             (`--text-from base`) to use the checkpoint's, or complete the adapter's directory",
            adapter.display(),
            differs.join(", ")
        ));
    }
    own.require()?;
    own.notes.push(format!(
        "tokenizer and chat template are those of the adapter ({}); `--text-from base` takes the checkpoint's",
        match differs.is_empty() {
            true => "the same as the checkpoint's".to_owned(),
            false => format!("unlike the checkpoint's: {}", differs.join(", ")),
        }
    ));
    Ok((TextFrom::Adapter, own))
}
