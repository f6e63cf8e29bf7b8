//! What `worldpm-ort synth` accepts.

use std::path::PathBuf;

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use worldpm_ort_export::checkpoint::Backbone;

use crate::cli::common::heading;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct SynthArgs {
    /// Directory of the checkpoint to make
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Dimensions to start from; the flags below change single ones
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t)]
    pub(crate) shape: Shape,
    /// Lay the weights out as holes: full size, no disk used, every weight zero
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(crate) sparse: bool,
    /// Seed of the random weights: the same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[arg(long, value_name = "N")]
    pub(crate) hidden_size: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(crate) intermediate_size: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(crate) num_hidden_layers: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(crate) num_attention_heads: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(crate) num_key_value_heads: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(crate) head_dim: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(crate) vocab_size: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(crate) max_position_embeddings: Option<usize>,
    #[arg(long, value_name = "X")]
    pub(crate) rope_theta: Option<f64>,
    /// The decoder
    #[arg(long, default_value = Backbone::Qwen2.as_str(), value_parser = decoder())]
    pub(crate) architecture: Backbone,
    /// Reward head: two layers (Qwen2ForRewardModel), two layers for each step (Qwen2ForProcessRewardModel) or one layer
    /// (…ForSequenceClassification) [default: two for qwen2, else one]
    #[arg(long, value_enum)]
    pub(crate) head: Option<HeadLayers>,
    /// Give a one-layer head a bias
    #[arg(long)]
    pub(crate) head_bias: bool,
    /// Names of the scores of a one-layer head, with commas between them [default: LABEL_0]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) labels: Option<Vec<String>>,
    /// Set pad_token_id in the configuration
    #[arg(long, value_name = "ID")]
    pub(crate) pad_token_id: Option<u32>,
    #[arg(long)]
    pub(crate) tie_word_embeddings: bool,
    /// One model.safetensors without an index
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(crate) single_file: bool,
    /// Most bytes of a shard
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "BYTES")]
    pub(crate) shard_bytes: Option<u64>,
    /// Spelling of config.json
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_enum, default_value_t)]
    pub(crate) config_style: ConfigSpelling,
    /// A further field of config.json, such as attention_bias=true; may be repeated. The weights follow it
    #[arg(long, value_name = "FIELD=JSON", value_parser = config_field)]
    pub(crate) config: Vec<(String, serde_json::Value)>,
}

fn config_field(text: &str) -> Result<(String, serde_json::Value), String> {
    let (field, value) = text
        .split_once('=')
        .ok_or("must be the name of a field, `=`, and its value as JSON")?;
    let value = serde_json::from_str(value).map_err(|e| format!("the value is not JSON: {e}"))?;
    Ok((field.to_owned(), value))
}

fn decoder() -> impl TypedValueParser<Value = Backbone> {
    let known = PossibleValuesParser::new(Backbone::ALL.map(Backbone::as_str));
    known.try_map(|name| Backbone::from_name(&name).ok_or("is no decoder of a known family"))
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Shape {
    #[default]
    Tiny,
    #[value(name = "0.5b")]
    Half,
    #[value(name = "7b")]
    Seven,
    #[value(name = "72b")]
    SeventyTwo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HeadLayers {
    One,
    Two,
    Process,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ConfigSpelling {
    /// rope_theta, torch_dtype
    #[default]
    #[value(name = "transformers4")]
    Transformers4,
    /// rope_parameters, dtype
    #[value(name = "transformers5")]
    Transformers5,
}
