//! Checkpoints with seeded random weights, in the true Hugging Face layout:
//! for tests, benchmarks and trying out an export without 145 GB at hand.

mod config;
mod layout;
mod options;
#[cfg(test)]
mod tests;
mod values;

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::Value;
use worldpm_ort_bundle::{
    Error as BundleError,
    checkpoint_files::{CONFIG_FILE, INDEX_FILE},
};

use crate::{
    arch::Architecture,
    checkpoint::{Checkpoint, ModelConfig},
    error::{Error, Result},
    output::{OutputKind, StagedDir, output_error},
};

pub use options::{ConfigStyle, Head, ModelShape, Preset, SynthOptions};

use layout::{ELEMENT_BYTES, Shard};

/// The real Qwen2.5 tokenizer. It is part of the program so that a checkpoint
/// can be made wherever the program is installed.
const TOKENIZER: &str = include_str!("../../assets/tokenizer.json");
const TOKENIZER_CONFIG: &str = include_str!("../../assets/tokenizer_config.json");
/// The token of id 151651 in the tokenizer, and what that id is in Qwen2.5-Math-PRM's.
const UNUSED_TOKEN: &str = "<|quad_end|>";
const STEP_TOKEN: &str = "<extra_0>";
/// One more than the tokenizer's highest id.
const TOKENIZER_SIZE: usize = 151_665;

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SynthReport {
    /// The checkpoint directory.
    pub path: PathBuf,
    /// Number of weight files.
    pub files: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: u64,
    /// Size of all weights, in bytes; holes included.
    pub bytes: u64,
}

/// Makes a checkpoint in `out`: `config.json`, bf16 weights with their index,
/// the Qwen2.5 tokenizer, and a chat template: WorldPM's for Qwen2, plain ChatML for other decoders.
///
/// The same options make the same bytes on every machine. A weight depends only
/// on the seed and on its tensor's name, shape and place in it. The work goes to
/// all cores, with a few MB of memory for each. `out` appears when everything is
/// written; until then the files are in a hidden directory beside it.
///
/// # Errors
/// [`Error::Option`] for dimensions that make no model; [`Error::OutputTaken`] when
/// `out` exists and is not an empty directory; [`Error::Write`] when it cannot be
/// written. Nothing is left behind.
///
/// # Example
/// ```
/// use worldpm_ort_export::checkpoint::Checkpoint;
/// use worldpm_ort_export::synth::{Preset, SynthOptions, synth};
///
/// # let dir = tempfile::tempdir()?;
/// # let out = dir.path().join("full-size");
/// let options = SynthOptions { sparse: true, ..Preset::Qwen72B.options() };
/// let report = synth(&out, &options)?;
/// assert_eq!(Checkpoint::open(&out)?.files().len(), report.files);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn synth(out: &Path, options: &SynthOptions) -> Result<SynthReport> {
    let (config_json, config) = config::config(options)?;
    check(options, &config)?;
    let tensors = layout::tensors(&config, options);
    let shards = layout::shards(tensors, options)?;

    let staged = StagedDir::new(out, KIND)?;
    write_json(&staged, CONFIG_FILE, &config_json)?;
    write_tokenizer(&staged, options, config.architecture)?;
    if shards.len() > 1 {
        write_json(&staged, INDEX_FILE, &layout::index(&shards))?;
    }
    for shard in &shards {
        lay_out(&staged, shard)?;
    }
    if !options.sparse {
        values::fill(staged.path(), &shards, options.seed)?;
    }
    staged.commit()?;

    let sizes = || shards.iter().flat_map(|s| &s.tensors).map(|(_, t)| t.bytes);
    let bytes: u64 = sizes().sum();
    Ok(SynthReport {
        path: out.to_owned(),
        files: shards.len(),
        tensors: sizes().count(),
        parameters: bytes / ELEMENT_BYTES,
        bytes,
    })
}

/// A checkpoint of this shape that exists in name only: to plan with, before there are weights. Nothing is written;
/// it can't be exported.
///
/// # Errors
/// [`Error::Option`] for dimensions that make no model.
pub fn outline(options: &SynthOptions) -> Result<Checkpoint> {
    let (_, config) = config::config(options)?;
    let tensors = layout::tensors(&config, options);
    Ok(Checkpoint::outline(
        config,
        tensors
            .into_iter()
            .map(|tensor| (tensor.name, tensor.shape)),
    ))
}

/// What the configuration's own rules do not cover.
fn check(options: &SynthOptions, config: &ModelConfig) -> Result<()> {
    let fail = |option: &str, problem: String| {
        Err(Error::Option {
            option: option.to_owned(),
            problem,
        })
    };
    let vocab_size = config.vocab_size;
    if vocab_size < TOKENIZER_SIZE {
        return fail(
            "vocab_size",
            format!("is {vocab_size}; the tokenizer needs at least {TOKENIZER_SIZE}"),
        );
    }
    let labels = options.label_names().len();
    if let Some(fixed) = options.fixed_labels().filter(|&fixed| fixed != labels) {
        return fail("labels", format!("are {labels}; this head gives {fixed}"));
    }
    if options.class().is_none() {
        return fail(
            "head",
            format!(
                "is of two layers, which no class of {} models has",
                options.backbone.as_str()
            ),
        );
    }
    if options.shard_bytes == 0 {
        return fail("shard_bytes", "is 0; it must be at least 1".to_owned());
    }
    Ok(())
}

/// A checkpoint that can be made again replaces nothing, and nobody waits for the disk.
const KIND: OutputKind = OutputKind {
    last: CONFIG_FILE,
    durable: false,
    owned: |_| None,
    hint: "remove it, or choose another directory",
};

/// Writes the header of a weight file, and makes the rest of it a hole.
fn lay_out(staged: &StagedDir, shard: &Shard) -> Result<()> {
    let path = staged.file(&shard.name)?;
    let write = || {
        let mut file = File::create_new(&path)?;
        file.write_all(&shard.head)?;
        file.set_len(shard.bytes)
    };
    write().map_err(|e| output_error(&path, "write it", e))
}

/// The tokenizer, with the step token in the place of another one for a head that scores steps: the id is
/// that of Qwen2.5-Math-PRM.
fn write_tokenizer(
    staged: &StagedDir,
    options: &SynthOptions,
    architecture: Architecture,
) -> Result<()> {
    let template = architecture.class().chat_template;
    let named = |text: &str| match options.head {
        Head::Process => text.replace(UNUSED_TOKEN, STEP_TOKEN),
        Head::TwoLayer | Head::OneLayer { .. } => text.to_owned(),
    };
    staged.write("tokenizer.json", named(TOKENIZER))?;
    staged.write("chat_template.jinja", template)?;
    let mut config: Value = serde_json::from_str(&named(TOKENIZER_CONFIG)).map_err(|e| {
        Error::Bundle(BundleError::Tokenizer {
            path: staged.path().join("tokenizer_config.json"),
            problem: format!("the built-in file is not valid JSON: {e}"),
        })
    })?;
    if let Value::Object(map) = &mut config {
        map.insert("chat_template".to_owned(), template.into());
    }
    write_json(staged, "tokenizer_config.json", &config)
}

/// Writes JSON as `transformers` does: two spaces, and a newline at the end.
fn write_json(staged: &StagedDir, name: &str, value: &Value) -> Result<()> {
    staged.write(name, format!("{value:#}\n"))
}
