//! The text files of an export: whose they are, when an adapter has some too, and their copies in the bundle.

use std::{fs, path::Path};

use worldpm_ort_bundle::{
    TextFrom,
    hash::sha256_hex,
    manifest::TextFile,
    text_files::{TOKENIZER, TextFiles},
};

use crate::{
    error::{Error, Result},
    options::ExportOptions,
    output::{StagedDir, output_error},
};

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
    if own.is_empty() {
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
        .iter()
        .filter(|(name, bytes)| of_base.get(name) != Some(*bytes))
        .map(|(name, _)| name)
        .collect();
    if differs.is_empty() && options.text_from.is_none() {
        return Ok((TextFrom::Base, of_base));
    }
    if own.get(TOKENIZER).is_none() {
        return fault(format!(
            "is unclear: {} has {} of its own, unlike the checkpoint's, but no {TOKENIZER}; give base \
             (`--text-from base`) to use the checkpoint's, or complete the adapter's directory",
            adapter.display(),
            differs.join(", ")
        ));
    }
    own.require()?;
    own.add_note(format!(
        "tokenizer and chat template are those of the adapter ({}); `--text-from base` takes the checkpoint's",
        match differs.is_empty() {
            true => "the same as the checkpoint's".to_owned(),
            false => format!("unlike the checkpoint's: {}", differs.join(", ")),
        }
    ));
    Ok((TextFrom::Adapter, own))
}

/// Puts text files into a bundle. `flat` makes the folder of named templates part of their names.
pub(crate) fn write(files: &TextFiles, output: &StagedDir, flat: bool) -> Result<Vec<TextFile>> {
    let mut written = Vec::new();
    for (name, bytes) in files.iter() {
        let name = match flat {
            true => name.replace('/', "."),
            false => name.to_owned(),
        };
        let path = output.path().join(&name);
        if let (true, Some(folder)) = (name.contains('/'), path.parent()) {
            fs::create_dir_all(folder)
                .map_err(|e| output_error(folder, "make this directory", e))?;
        }
        output.write(&name, bytes)?;
        let sha256 = sha256_hex(bytes);
        written.push(TextFile { name, sha256 });
    }
    Ok(written)
}
