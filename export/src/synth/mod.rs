//! Checkpoints with seeded random weights, in the true Hugging Face layout:
//! for tests, benchmarks and trying out an export without 145 GB at hand.

mod config;
mod layout;
#[cfg(test)]
mod tests;
mod values;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::checkpoint::index::INDEX_FILE;
use crate::checkpoint::{Backbone, CONFIG_FILE, Checkpoint, ModelConfig};
use crate::error::{Error, Result};
use crate::output::{Kind, StagedDir, output_error};
use layout::{ELEMENT_BYTES, Shard};

/// The real Qwen2.5 tokenizer. It is part of the program so that a checkpoint
/// can be made wherever the program is installed.
const TOKENIZER: &str = include_str!("../../assets/tokenizer.json");
const TOKENIZER_CONFIG: &str = include_str!("../../assets/tokenizer_config.json");
/// Ends the last message with the token that is scored, and keeps an empty system block.
const WORLDPM_TEMPLATE: &str = include_str!("../../assets/worldpm.jinja");
/// Every message in a block of its own, and nothing else.
const CHATML_TEMPLATE: &str = include_str!("../../assets/chatml.jinja");
/// The token of id 151651 in the tokenizer, and what that id is in Qwen2.5-Math-PRM's.
const UNUSED_TOKEN: &str = "<|quad_end|>";
const STEP_TOKEN: &str = "<extra_0>";
/// One more than the tokenizer's highest id.
const TOKENIZER_SIZE: usize = 151_665;
/// What `transformers` uses unless told otherwise.
const DEFAULT_SHARD_BYTES: u64 = 5_000_000_000;

/// The dimensions of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShape {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; must divide `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; `hidden_size / num_attention_heads` when `None`.
    pub head_dim: Option<usize>,
    /// Rows of the embedding; at least 151665, to cover every id of the tokenizer.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f64,
}

/// A named set of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preset {
    /// `tiny`: three layers of width 256, 5 MB apart from the embedding's 78 MB.
    Tiny,
    /// `0.5b`: Qwen2.5-0.5B, 1 GB.
    Qwen0_5B,
    /// `7b`: Qwen2.5-7B, 14 GB.
    Qwen7B,
    /// `72b`: Qwen2.5-72B, which is WorldPM's shape, 143 GB.
    Qwen72B,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Tiny, Self::Qwen0_5B, Self::Qwen7B, Self::Qwen72B];

    /// The name on the command line, as in `0.5b`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Qwen0_5B => "0.5b",
            Self::Qwen7B => "7b",
            Self::Qwen72B => "72b",
        }
    }

    /// The dimensions.
    pub fn shape(self) -> ModelShape {
        let (hidden_size, intermediate_size, num_hidden_layers) = match self {
            Self::Tiny => (256, 704, 3),
            Self::Qwen0_5B => (896, 4864, 24),
            Self::Qwen7B => (3584, 18944, 28),
            Self::Qwen72B => (8192, 29568, 80),
        };
        let (num_attention_heads, num_key_value_heads) = match self {
            Self::Tiny => (4, 2),
            Self::Qwen0_5B => (14, 2),
            Self::Qwen7B => (28, 4),
            Self::Qwen72B => (64, 8),
        };
        let (vocab_size, max_position_embeddings, rms_norm_eps) = match self {
            Self::Tiny | Self::Qwen0_5B => (151_936, 32_768, 1e-6),
            Self::Qwen7B => (152_064, 32_768, 1e-6),
            Self::Qwen72B => (152_064, 32_768, 1e-5),
        };
        ModelShape {
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim: None,
            vocab_size,
            max_position_embeddings,
            rope_theta: 1e6,
            rms_norm_eps,
        }
    }

    /// Options for this shape, all others at their defaults, except for the size
    /// of weight files: small enough that even `tiny` has several, and `72b` as
    /// many as the real one.
    pub fn options(self) -> SynthOptions {
        let shard_bytes = match self {
            Self::Tiny => 2_000_000,
            Self::Qwen0_5B => 400_000_000,
            Self::Qwen7B | Self::Qwen72B => 4_000_000_000,
        };
        SynthOptions {
            shard_bytes,
            ..SynthOptions::new(self.shape())
        }
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.as_str() == name)
            .ok_or_else(|| Error::Option {
                option: "shape".to_owned(),
                problem: format!(
                    "`{name}` is none of {}",
                    Self::ALL.map(Self::as_str).join(", ")
                ),
            })
    }
}

/// The reward head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// `Linear -> ReLU -> Linear`, both with bias (`Qwen2ForRewardModel`).
    TwoLayer,
    /// `Linear -> ReLU -> Linear` with two outputs, both with bias, for each step
    /// (`Qwen2ForProcessRewardModel`).
    Process,
    /// One `Linear` (`Qwen2ForSequenceClassification`).
    OneLayer {
        /// Whether it has a bias; the class in `transformers` has none.
        bias: bool,
    },
}

/// How `config.json` is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigStyle {
    /// `rope_theta`, `rope_scaling`, `torch_dtype`.
    Transformers4,
    /// `rope_parameters`, `dtype`.
    Transformers5,
}

/// What to make.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthOptions {
    /// The model's dimensions.
    pub shape: ModelShape,
    /// The decoder; [`Backbone::Qwen2`] by default.
    pub backbone: Backbone,
    /// The reward head; [`Head::TwoLayer`] by default, which only Qwen2 has.
    pub head: Head,
    /// Names of the scores. Empty by default, for `LABEL_0`, and `LABEL_1` in a head that has two. Only a
    /// one-layer head may have another number of them.
    pub labels: Vec<String>,
    /// Written to `config.json` when set, `None` by default; decides which token is scored.
    pub pad_token_id: Option<u32>,
    /// Written to `config.json`, `false` by default; without effect on a score.
    pub tie_word_embeddings: bool,
    /// Largest weight file, in bytes, 5 GB by default; a tensor larger than this
    /// gets a file of its own. Weights that fit one file become a plain
    /// `model.safetensors`, without an index.
    pub shard_bytes: u64,
    /// Put all weights in one file, whatever their size; `false` by default.
    pub single_file: bool,
    /// Decides every value, together with the tensor's name; 0 by default.
    pub seed: u64,
    /// Leave the weights as holes, which read as zeros: files of full size that
    /// take no disk. `false` by default.
    pub sparse: bool,
    /// The spelling of `config.json`; [`ConfigStyle::Transformers4`] by default, as in WorldPM.
    pub config_style: ConfigStyle,
    /// Further fields of `config.json`, which replace others of the same name; none by default. The
    /// weights follow them.
    pub config: Map<String, Value>,
}

impl SynthOptions {
    /// The defaults, for a model of this shape.
    pub fn new(shape: ModelShape) -> Self {
        Self {
            shape,
            backbone: Backbone::Qwen2,
            head: Head::TwoLayer,
            labels: Vec::new(),
            pad_token_id: None,
            tie_word_embeddings: false,
            shard_bytes: DEFAULT_SHARD_BYTES,
            single_file: false,
            seed: 0,
            sparse: false,
            config_style: ConfigStyle::Transformers4,
            config: Map::new(),
        }
    }
}

impl Head {
    /// How many scores it gives, where that is not for the configuration to say.
    fn fixed_labels(self) -> Option<usize> {
        match self {
            Self::TwoLayer => Some(1),
            Self::Process => Some(2),
            Self::OneLayer { .. } => None,
        }
    }
}

impl SynthOptions {
    /// The names of the scores, by default those that `transformers` gives.
    fn label_names(&self) -> Vec<String> {
        if !self.labels.is_empty() {
            return self.labels.clone();
        }
        (0..self.head.fixed_labels().unwrap_or(1))
            .map(|number| format!("LABEL_{number}"))
            .collect()
    }
}

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
/// [`Error::Option`] for dimensions that make no model; [`Error::Output`] when
/// `out` exists and is not an empty directory, or cannot be written. Nothing is
/// left behind.
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
    write_tokenizer(&staged, options)?;
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
    if let Some(fixed) = options.head.fixed_labels().filter(|&fixed| fixed != labels) {
        return fail("labels", format!("are {labels}; this head gives {fixed}"));
    }
    if !matches!(options.head, Head::OneLayer { .. }) && options.backbone != Backbone::Qwen2 {
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
const KIND: Kind = Kind {
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
    write().map_err(|e| output_error(&path, "write it", &e))
}

/// The tokenizer, with the step token in the place of another one for a head that scores steps: the id is
/// that of Qwen2.5-Math-PRM.
fn write_tokenizer(staged: &StagedDir, options: &SynthOptions) -> Result<()> {
    let template = match options.backbone {
        Backbone::Qwen2 => WORLDPM_TEMPLATE,
        _ => CHATML_TEMPLATE,
    };
    let named = |text: &str| match options.head {
        Head::Process => text.replace(UNUSED_TOKEN, STEP_TOKEN),
        Head::TwoLayer | Head::OneLayer { .. } => text.to_owned(),
    };
    staged.write("tokenizer.json", named(TOKENIZER))?;
    staged.write("chat_template.jinja", template)?;
    let mut config: Value =
        serde_json::from_str(&named(TOKENIZER_CONFIG)).map_err(|e| Error::Tokenizer {
            path: staged.path().join("tokenizer_config.json"),
            problem: format!("the built-in file is not valid JSON: {e}"),
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
