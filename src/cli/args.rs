//! What the command line accepts.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use clap::{
    Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use worldpm_ort_bundle::{
    Bytes, Device, Interface, Overflow, Precision, Target, TextFrom, WeightsMode,
};
use worldpm_ort_export::{
    checkpoint::Backbone,
    plan::{GpuCount, Stages},
};

use super::{
    bench_args::BenchArgs, doctor::DoctorArgs, heading, records::RecordArgs,
    scorer_args::ScorerArgs, serving_args::ServingArgs, simulate::SimulateArgs,
};
use crate::{Reduction, Truncation};

/// Score conversations with large reward models through ONNX Runtime.
#[derive(Debug, Parser)]
#[command(name = "worldpm-ort", version)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Turn a Hugging Face checkpoint into a bundle of ONNX graphs
    Export(ExportArgs),
    /// Score conversations with a bundle
    Score(ScoreArgs),
    /// List the recipes: published reward models, and how they are exported
    Recipes(RecipesArgs),
    /// Make a checkpoint with random weights, for tests and benchmarks
    Synth(Box<SynthArgs>),
    /// Check that a bundle gives the scores it should
    Verify(VerifyArgs),
    /// Show what a bundle or a checkpoint holds, and where its nodes run
    Inspect(InspectArgs),
    /// Estimate what a model needs on given devices, how fast it could be there, and what a data set would cost
    Plan(Box<PlanArgs>),
    /// List what this machine has and lacks for scoring, and what to do about it
    Doctor(DoctorArgs),
    /// Measure how fast a bundle scores here, and what its stages do meanwhile
    Bench(BenchArgs),
    /// Read the text files of a checkpoint under limits; `export` runs it
    #[command(hide = true)]
    CheckText(CheckTextArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckTextArgs {
    /// The directory of the files
    pub(super) directory: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(super) struct ExportArgs {
    /// Directory of the checkpoint (config.json, safetensors, tokenizer), or a repository on the Hugging Face hub,
    /// OWNER/NAME or OWNER/NAME@REVISION, which is downloaded into the cache that other tools use
    /// [default: the recipe's repository]
    #[arg(long, value_name = "DIR_OR_REPO", required_unless_present = "recipe")]
    pub(super) checkpoint: Option<PathBuf>,
    /// A recipe, by its name (`worldpm-ort recipes` lists them) or in a JSON file: gives repository, device, precision
    /// and stages, unless other options do. The checkpoint must be of that model
    #[arg(long, value_name = "NAME_OR_FILE")]
    pub(super) recipe: Option<PathBuf>,
    /// Branch, tag or commit of a repository [default: the recipe's, or main]
    #[arg(long, help_heading = heading::HUB, value_name = "REVISION")]
    pub(super) revision: Option<String>,
    /// Directory of the bundle to make; a bundle that is already there is replaced, unless the directory holds anything else
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Kind of device the bundle is for: cpu or cuda [default: the recipe's, or cpu]
    #[arg(long, help_heading = heading::GRAPHS, value_name = "DEVICE")]
    pub(super) device: Option<Device>,
    /// Operators to use: ort (ONNX Runtime on CPU and CUDA) or onnx (standard only, for TensorRT)
    #[arg(long, help_heading = heading::GRAPHS, value_name = "TARGET", default_value_t)]
    pub(super) target: Target,
    /// Inputs of the graphs: packed (tokens and indices, as `score` makes them) or padded (input_ids and
    /// attention_mask) [default: packed; padded with --layout triton or kserve]
    #[arg(long, help_heading = heading::GRAPHS, value_name = "INTERFACE")]
    pub(super) interface: Option<Interface>,
    #[command(flatten)]
    pub(super) serving: ServingArgs,
    /// Number of pipeline stages, or auto: as few as fit the devices of --device-memory [default: the recipe's, or 1]
    #[arg(long, help_heading = heading::STAGES, value_name = "N")]
    pub(super) stages: Option<Stages>,
    /// Memory of each device, as in 80GiB; several, in order, for devices that differ: 80GiB,80GiB,48GiB
    #[arg(
        long, help_heading = heading::STAGES,
        value_name = "SIZE",
        value_delimiter = ',',
        required_if_eq("stages", "auto")
    )]
    pub(super) device_memory: Vec<Bytes>,
    /// Most unique tokens in one run of the model, which the memory of activations follows from: the --max-batch-tokens of
    /// `score`, or the length of the longest conversation if that is more [default: 2048]
    #[arg(long, help_heading = heading::STAGES, value_name = "TOKENS")]
    pub(super) max_batch_tokens: Option<NonZeroU64>,
    /// What the weights are stored as: bf16, fp16, fp32, int8, int4 or w8a8 (8-bit weights and activations, for
    /// the CPU) [default: the recipe's, or as in the checkpoint]. Any but the checkpoint's makes new weight files in the
    /// bundle. On trained weights int8 moves scores 2 to 3 times as far as bf16 does (as far, where score has its own
    /// kernels), w8a8 6 to 12 times, int4 14 times and more (docs/precision.md); --probes measures it
    #[arg(long, help_heading = heading::PRECISION, value_name = "PRECISION")]
    pub(super) precision: Option<Precision>,
    /// Weights that share a scale, for int8 and int4: 32, 64 or 128 [default: 32]
    #[arg(long, help_heading = heading::PRECISION, value_name = "N")]
    pub(super) block_size: Option<u64>,
    /// Give each block a zero point of its own, for int8 and int4
    #[arg(long, help_heading = heading::PRECISION)]
    pub(super) asymmetric: bool,
    /// Linear layers that are not quantised, for example layers.0.* or *.down_proj; may be given more than once
    #[arg(long, help_heading = heading::PRECISION, value_name = "PATTERN")]
    pub(super) keep: Vec<String>,
    /// Directory of a LoRA adapter, as PEFT saves it, to merge into the weights: adapter_config.json and
    /// adapter_model.safetensors. Makes new weight files in the bundle. A checkpoint without a reward head, such as a
    /// language model, takes the adapter's
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(super) adapter: Option<PathBuf>,
    /// Whose tokenizer and chat template the bundle gets: base or adapter [default: the adapter's, when its directory
    /// has any that are unlike the checkpoint's]
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "WHOSE", requires = "adapter")]
    pub(super) text_from: Option<TextFrom>,
    /// What happens to weights that are too large for the precision: refuse (an error that names the tensors) or
    /// clamp (to the largest value there is)
    #[arg(long, help_heading = heading::PRECISION, value_name = "WAY", default_value_t)]
    pub(super) overflow: Overflow,
    /// Threads that convert weights [default: all cores]
    #[arg(long, help_heading = heading::PRECISION, value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,
    /// Where the weights are: reference (stay in the checkpoint), hardlink or copy (beside the graphs). Converted
    /// weights are always beside the graphs
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "MODE", default_value_t)]
    pub(super) weights: WeightsMode,
    /// Record the SHA-256 of every weight file (reads all of them)
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(super) checksum: bool,
    /// Which token is scored [default: what the checkpoint's own code does]
    #[arg(long, help_heading = heading::SCORING, value_name = "RULE")]
    pub(super) pooling: Option<PoolingRule>,
    /// The padding token that the pooling rule refers to [default: the configuration's]
    #[arg(long, help_heading = heading::SCORING, value_name = "ID")]
    pub(super) pad_token_id: Option<u32>,
    /// The special token that every rendered conversation must end with, or "" for any
    /// [default: <|endoftext|> for Qwen2ForRewardModel, else any]
    #[arg(long, help_heading = heading::SCORING, value_name = "TOKEN")]
    pub(super) end_token: Option<String>,
    /// The special token behind every step, for a model that scores steps
    /// [default: <extra_0> for Qwen2ForProcessRewardModel]
    #[arg(long, help_heading = heading::SCORING, value_name = "TOKEN")]
    pub(super) step_token: Option<String>,
    /// Whether a conversation without a system message gets an empty one in front
    /// [default: true for Qwen2ForRewardModel, else false]
    #[arg(long, help_heading = heading::SCORING, value_name = "BOOL")]
    pub(super) system_marker: Option<bool>,
    /// Whether to score the bundle's probes in fp32 on this machine's CPU, for `verify` to compare with;
    /// of fp16 and integer weights also how far they move the scores of the probes, beside how far bf16 does
    #[arg(long, help_heading = heading::PROBES, value_name = "WHEN", value_enum, default_value_t)]
    pub(super) probes: ProbeScores,
    /// ONNX Runtime's library, for the probes [default: looked for beside the program and in the usual
    /// places]
    #[arg(long, help_heading = heading::PROBES, value_name = "FILE")]
    pub(super) ort_lib: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ProbeScores {
    /// When the weights take at most 4 GB in fp32 and fit in memory, and the library is found
    #[default]
    Auto,
    /// Always: the export fails when they cannot be scored
    On,
    /// Never: no model is loaded
    Off,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::OUTPUT_FORMAT)]
pub(super) struct RecipesArgs {
    /// Print one JSON array, with everything that the recipes hold
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::OUTPUT_FORMAT)]
pub(super) struct InspectArgs {
    /// Directory of a bundle or of a checkpoint
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
    /// Folder of a bundle's weights, when the checkpoint has moved since the export
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(super) weights_dir: Option<PathBuf>,
    /// Print every node with the provider that runs it
    #[arg(long)]
    pub(super) nodes: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::MODEL)]
#[command(group = clap::ArgGroup::new("subject").required(true))]
#[command(group = clap::ArgGroup::new("devices").required(true))]
pub(super) struct PlanArgs {
    /// Directory of a checkpoint
    #[arg(long, value_name = "DIR", group = "subject")]
    pub(super) checkpoint: Option<PathBuf>,
    /// Directory of a bundle, with the stages that it has
    #[arg(long, value_name = "DIR", group = "subject", conflicts_with_all = ["precision", "stages", "target", "device"])]
    pub(super) model: Option<PathBuf>,
    /// Dimensions of a model, without weights
    #[arg(long, value_name = "SHAPE", group = "subject")]
    pub(super) shape: Option<Shape>,
    /// The model of a recipe, by its name or in a JSON file, without weights
    #[arg(long, value_name = "NAME_OR_FILE", group = "subject")]
    pub(super) recipe: Option<PathBuf>,
    /// GPUs: 4xh100, h100,h100,l40s, or one name for as many as are needed
    #[arg(long, help_heading = heading::DEVICES, value_name = "GPU", value_delimiter = ',', group = "devices")]
    pub(super) gpus: Vec<GpuCount>,
    /// Memory of each device, as in 80GiB; one size for as many devices as are needed
    #[arg(long, help_heading = heading::DEVICES, value_name = "SIZE", value_delimiter = ',', group = "devices")]
    pub(super) device_memory: Vec<Bytes>,
    /// List the GPUs that are known by name
    #[arg(long, help_heading = heading::DEVICES, group = "subject", group = "devices", exclusive = true)]
    pub(super) list_gpus: bool,
    /// What the weights are stored as [default: as in the checkpoint]
    #[arg(long, value_name = "PRECISION")]
    pub(super) precision: Option<Precision>,
    /// Kind of device: cuda or cpu
    #[arg(long, help_heading = heading::DEVICES, value_name = "DEVICE", default_value_t = Device::Cuda)]
    pub(super) device: Device,
    /// Operators: ort or onnx
    #[arg(long, value_name = "TARGET", default_value_t)]
    pub(super) target: Target,
    /// Number of pipeline stages, or auto: as few as fit
    #[arg(long, help_heading = heading::STAGES, value_name = "N", default_value_t = Stages::Auto)]
    pub(super) stages: Stages,
    /// Most unique tokens in one run of the model [default: 2048]
    #[arg(long, help_heading = heading::STAGES, value_name = "TOKENS")]
    pub(super) max_batch_tokens: Option<NonZeroU64>,
    /// Tokens of a conversation, on average
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "TOKENS", default_value = "512")]
    pub(super) mean_tokens: NonZeroU64,
    /// Expected share of the GPU's arithmetic rate, up to 1
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "SHARE", default_value = "0.5", value_parser = share)]
    pub(super) efficiency: f64,
    /// Expected share of the GPU's memory bandwidth, up to 1
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "SHARE", default_value = "0.8", value_parser = share)]
    pub(super) bandwidth_efficiency: f64,
    /// Unique tokens of a data set, as in 1e9: how long it takes
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    pub(super) tokens: Option<f64>,
    /// Price of a GPU for an hour: what the data set costs
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "PRICE", value_parser = positive, allow_negative_numbers = true, requires = "tokens")]
    pub(super) price_per_hour: Option<f64>,
    #[command(flatten)]
    pub(super) simulation: SimulateArgs,
    /// Print JSON
    #[arg(long, help_heading = heading::OUTPUT_FORMAT)]
    pub(super) json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && number > 0.0 => Ok(number),
        _ => Err("give a number above 0".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|share| *share <= 1.0)
        .ok_or_else(|| "give a number above 0, up to 1".to_owned())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum PoolingRule {
    Last,
    BeforeFirstPad,
    LastNonPad,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(super) struct ScoreArgs {
    /// Directory of the bundle
    #[arg(long, value_name = "DIR")]
    pub(super) model: PathBuf,
    /// Conversations: JSON Lines or a JSON array; - for standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(super) input: PathBuf,
    /// Where the scores go, one JSON object a line; - for standard output. A file is written as FILE.partial, which takes
    /// the place of what is there when all is scored; after a failure or a signal it has what was scored until then
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(super) output: PathBuf,
    /// Add the scores to the end of the output file as they come, instead of replacing it at the end
    #[arg(long)]
    pub(super) append: bool,
    #[command(flatten)]
    pub(super) records: RecordArgs,
    #[command(flatten)]
    pub(super) scorer: ScorerArgs,
    /// Most tokens of a conversation [default and upper bound: the bundle's limit]
    #[arg(long, help_heading = heading::SCORING, value_name = "TOKENS")]
    pub(super) max_length: Option<usize>,
    /// What happens to a longer conversation
    #[arg(long, help_heading = heading::SCORING, value_name = "WAY", value_enum, default_value_t)]
    pub(super) truncation: TruncationWay,
    /// Make one score of the scores of an answer's steps, for a model that scores steps
    #[arg(long, help_heading = heading::SCORING, value_name = "WAY", value_enum)]
    pub(super) reduce: Option<ReduceWay>,
    /// Go on after a record that cannot be scored: it becomes an {"id","error"} line, and the exit status
    /// is 1
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(super) keep_going: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum TruncationWay {
    /// Refuse it with an error
    #[default]
    Refuse,
    /// Leave out the oldest turns
    OldestTurns,
    /// Cut out the middle of the longest message
    LongestMessageMiddle,
}

impl From<TruncationWay> for Truncation {
    fn from(way: TruncationWay) -> Self {
        match way {
            TruncationWay::Refuse => Self::Refuse,
            TruncationWay::OldestTurns => Self::OldestTurns,
            TruncationWay::LongestMessageMiddle => Self::LongestMessageMiddle,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ReduceWay {
    /// The lowest: an answer is as good as its worst step
    Min,
    /// Their product: the probability that all are right, were they independent
    Product,
    /// The last one
    Last,
}

impl From<ReduceWay> for Reduction {
    fn from(way: ReduceWay) -> Self {
        match way {
            ReduceWay::Min => Self::Min,
            ReduceWay::Product => Self::Product,
            ReduceWay::Last => Self::Last,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::COMPARISON)]
pub(super) struct VerifyArgs {
    /// Directory of the bundle
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(super) model: PathBuf,
    #[command(flatten)]
    pub(super) scorer: ScorerArgs,
    /// Largest difference to a reference score, in proportion to scores beyond 1 and -1
    /// [default: by the precision of the bundle]
    #[arg(long, help_heading = heading::SCORING, value_name = "X", value_parser = tolerance)]
    pub(super) tolerance: Option<f64>,
    /// Also compare whole weight files with the hashes that `export --checksum` recorded (reads all of them)
    #[arg(long, help_heading = heading::SCORING)]
    pub(super) checksum: bool,
    /// Compare with the scores that the authors of this model have published: a recipe, by its name or in a JSON file
    /// [default: the recipe of the repository that the bundle was exported from]
    #[arg(long, help_heading = heading::PROBES, value_name = "NAME_OR_FILE", conflicts_with_all = ["record", "against"])]
    pub(super) recipe: Option<PathBuf>,
    /// Score the probes in fp32 on this machine's CPU, and keep the scores in the bundle as its reference
    #[arg(long, help_heading = heading::PROBES, conflicts_with_all = ["tolerance", "checksum"])]
    pub(super) record: bool,
    /// The checkpoint that --record scores [default: where the bundle's weights are]
    #[arg(long, help_heading = heading::PROBES, value_name = "DIR", requires = "record")]
    pub(super) checkpoint: Option<PathBuf>,
    /// The adapter that was merged into the bundle, for --record
    #[arg(long, help_heading = heading::PROBES, value_name = "DIR", requires = "record")]
    pub(super) adapter: Option<PathBuf>,
    #[command(flatten)]
    pub(super) records: RecordArgs,
    /// Another bundle: report how far its scores of --data are from those of --model
    #[arg(long, help_heading = heading::COMPARISON, value_name = "DIR", requires = "data",
          conflicts_with_all = ["record", "checksum", "tolerance"])]
    pub(super) against: Option<PathBuf>,
    /// Records as for `score`, in a file: it is read once for each bundle
    #[arg(long, help_heading = heading::COMPARISON, value_name = "FILE", requires = "against")]
    pub(super) data: Option<PathBuf>,
    /// Folder of the other bundle's weights, when its checkpoint has moved
    #[arg(long, help_heading = heading::COMPARISON, value_name = "DIR", requires = "against")]
    pub(super) against_weights_dir: Option<PathBuf>,
    /// Most tokens of a conversation of --data [default and upper bound: the lower of the bundles' limits]
    #[arg(long, help_heading = heading::COMPARISON, value_name = "TOKENS", requires = "against")]
    pub(super) max_length: Option<usize>,
    /// What happens to a longer conversation of --data [default: refuse]
    #[arg(long, help_heading = heading::COMPARISON, value_name = "WAY", value_enum, requires = "against")]
    pub(super) truncation: Option<TruncationWay>,
    /// What makes one score of the steps of an answer of --data, for models that score steps
    #[arg(long, help_heading = heading::COMPARISON, value_name = "WAY", value_enum, requires = "against")]
    pub(super) reduce: Option<ReduceWay>,
    /// Go on after a record of --data that a bundle cannot score: it is counted, and the exit status is 1
    #[arg(long, help_heading = heading::COMPARISON, requires = "against")]
    pub(super) keep_going: bool,
    /// Print one JSON object instead of tables
    #[arg(long, help_heading = heading::OUTPUT_FORMAT, conflicts_with = "record")]
    pub(super) json: bool,
}

/// A number that a difference can be compared with.
fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("give a number, 0 or more".into()),
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::MODEL)]
pub(super) struct SynthArgs {
    /// Directory of the checkpoint to make
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Dimensions to start from; the flags below change single ones
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t)]
    pub(super) shape: Shape,
    /// Lay the weights out as holes: full size, no disk used, every weight zero
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(super) sparse: bool,
    /// Seed of the random weights: the same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    #[arg(long, value_name = "N")]
    pub(super) hidden_size: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(super) intermediate_size: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(super) num_hidden_layers: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(super) num_attention_heads: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(super) num_key_value_heads: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(super) head_dim: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(super) vocab_size: Option<usize>,
    #[arg(long, value_name = "N")]
    pub(super) max_position_embeddings: Option<usize>,
    #[arg(long, value_name = "X")]
    pub(super) rope_theta: Option<f64>,
    /// The decoder
    #[arg(long, default_value = Backbone::Qwen2.as_str(), value_parser = decoder())]
    pub(super) architecture: Backbone,
    /// Reward head: two layers (Qwen2ForRewardModel), two layers for each step (Qwen2ForProcessRewardModel) or one layer
    /// (…ForSequenceClassification) [default: two for qwen2, else one]
    #[arg(long, value_enum)]
    pub(super) head: Option<HeadLayers>,
    /// Give a one-layer head a bias
    #[arg(long)]
    pub(super) head_bias: bool,
    /// Names of the scores of a one-layer head, with commas between them [default: LABEL_0]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) labels: Option<Vec<String>>,
    /// Set pad_token_id in the configuration
    #[arg(long, value_name = "ID")]
    pub(super) pad_token_id: Option<u32>,
    #[arg(long)]
    pub(super) tie_word_embeddings: bool,
    /// One model.safetensors without an index
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(super) single_file: bool,
    /// Most bytes of a shard
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "BYTES")]
    pub(super) shard_bytes: Option<u64>,
    /// Spelling of config.json
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_enum, default_value_t)]
    pub(super) config_style: ConfigSpelling,
    /// A further field of config.json, such as attention_bias=true; may be repeated. The weights follow it
    #[arg(long, value_name = "FIELD=JSON", value_parser = config_field)]
    pub(super) config: Vec<(String, serde_json::Value)>,
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
pub(super) enum Shape {
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
pub(super) enum HeadLayers {
    One,
    Two,
    Process,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum ConfigSpelling {
    /// rope_theta, torch_dtype
    #[default]
    #[value(name = "transformers4")]
    Transformers4,
    /// rope_parameters, dtype
    #[value(name = "transformers5")]
    Transformers5,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::{super::heading, Args};

    #[test]
    fn every_option_of_every_verb_has_a_heading() {
        let command = Args::command();
        let mut options = 0;
        for verb in command.get_subcommands() {
            for option in verb.get_opts().filter(|option| option.get_long().is_some()) {
                let name = option.get_id();
                let heading = option.get_help_heading();
                assert!(heading.is_some(), "{} --{name}", verb.get_name());
                options += 1;
            }
        }
        assert!(options > 100, "{options} options seen");

        // The heading of flattened options would go on to what comes after them.
        for (verb, option, heading) in [
            ("score", "keep_going", heading::INPUT_OUTPUT),
            ("export", "stages", heading::STAGES),
            ("verify", "record", heading::PROBES),
            ("verify", "data", heading::COMPARISON),
            ("bench", "workload", heading::WORKLOAD),
        ] {
            let mut options = command.find_subcommand(verb).unwrap().get_opts();
            let found = options.find(|found| found.get_id() == option).unwrap();
            assert_eq!(found.get_help_heading(), Some(heading), "{verb} {option}");
        }
    }
}
