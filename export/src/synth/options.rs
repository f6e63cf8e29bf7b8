//! What a made-up checkpoint is like.

use std::str::FromStr;

use serde_json::{Map, Value};

use crate::{
    arch::{self, Architecture, Backbone, Scored},
    error::{Error, Result},
};

/// The default of `transformers`.
pub(super) const DEFAULT_SHARD_BYTES: u64 = 5_000_000_000;

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

impl SynthOptions {
    /// The model class of the decoder under the head; `None` where no class has both.
    pub(super) fn class(&self) -> Option<Architecture> {
        let has_head = |class: &Architecture| match (class.class().head, class.class().scored) {
            (arch::Head::OneLayer, _) => matches!(self.head, Head::OneLayer { .. }),
            (arch::Head::TwoLayer, Scored::Steps { .. }) => self.head == Head::Process,
            (arch::Head::TwoLayer, _) => self.head == Head::TwoLayer,
        };
        let classes = Architecture::ALL.into_iter();
        let mut classes = classes.filter(|class| class.backbone() == self.backbone);
        classes.find(has_head)
    }

    /// The name of the class. A head that no class has is refused later, with the other options; until then it goes by
    /// the decoder's first class.
    pub(super) fn class_name(&self) -> &'static str {
        let mut classes = Architecture::ALL.into_iter();
        let first = || classes.find(|class| class.backbone() == self.backbone);
        self.class().or_else(first).map_or("", Architecture::as_str)
    }

    /// How many scores the class always gives.
    pub(super) fn fixed_labels(&self) -> Option<usize> {
        let labels = self.class()?.class().labels?;
        usize::try_from(labels).ok()
    }

    /// The names of the scores, by default those that `transformers` gives.
    pub(super) fn label_names(&self) -> Vec<String> {
        if !self.labels.is_empty() {
            return self.labels.clone();
        }
        (0..self.fixed_labels().unwrap_or(1))
            .map(|number| format!("LABEL_{number}"))
            .collect()
    }
}
