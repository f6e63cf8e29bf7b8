//! What `worldpm-ort plan` accepts.

use std::{num::NonZeroU64, path::PathBuf};

use worldpm_ort_bundle::{Bytes, Device, Precision, Target};
use worldpm_ort_export::plan::{GpuCount, Stages};

use super::simulate::SimulateArgs;
use crate::cli::{common::heading, synth::Shape};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::MODEL)]
#[command(group = clap::ArgGroup::new("subject").required(true))]
#[command(group = clap::ArgGroup::new("devices").required(true))]
pub(crate) struct PlanArgs {
    /// Directory of a checkpoint
    #[arg(long, value_name = "DIR", group = "subject")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Directory of a bundle, with the stages that it has
    #[arg(long, value_name = "DIR", group = "subject", conflicts_with_all = ["precision", "stages", "target", "device"])]
    pub(crate) model: Option<PathBuf>,
    /// Dimensions of a model, without weights
    #[arg(long, value_name = "SHAPE", group = "subject")]
    pub(crate) shape: Option<Shape>,
    /// The model of a recipe, by its name or in a JSON file, without weights
    #[arg(long, value_name = "NAME_OR_FILE", group = "subject")]
    pub(crate) recipe: Option<PathBuf>,
    /// GPUs: 4xh100, h100,h100,l40s, or one name for as many as are needed
    #[arg(long, help_heading = heading::DEVICES, value_name = "GPU", value_delimiter = ',', group = "devices")]
    pub(crate) gpus: Vec<GpuCount>,
    /// Memory of each device, as in 80GiB; one size for as many devices as are needed
    #[arg(long, help_heading = heading::DEVICES, value_name = "SIZE", value_delimiter = ',', group = "devices")]
    pub(crate) device_memory: Vec<Bytes>,
    /// List the GPUs that are known by name
    #[arg(long, help_heading = heading::DEVICES, group = "subject", group = "devices", exclusive = true)]
    pub(crate) list_gpus: bool,
    /// What the weights are stored as [default: as in the checkpoint]
    #[arg(long, value_name = "PRECISION")]
    pub(crate) precision: Option<Precision>,
    /// Kind of device: cuda or cpu
    #[arg(long, help_heading = heading::DEVICES, value_name = "DEVICE", default_value_t = Device::Cuda)]
    pub(crate) device: Device,
    /// Operators: ort or onnx
    #[arg(long, value_name = "TARGET", default_value_t)]
    pub(crate) target: Target,
    /// Number of pipeline stages, or auto: as few as fit
    #[arg(long, help_heading = heading::STAGES, value_name = "N", default_value_t = Stages::Auto)]
    pub(crate) stages: Stages,
    /// Most unique tokens in one run of the model [default: 2048]
    #[arg(long, help_heading = heading::STAGES, value_name = "TOKENS")]
    pub(crate) max_batch_tokens: Option<NonZeroU64>,
    /// Tokens of a conversation, on average
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "TOKENS", default_value = "512")]
    pub(crate) mean_tokens: NonZeroU64,
    /// Expected share of the GPU's arithmetic rate, up to 1
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "SHARE", default_value = "0.5", value_parser = share)]
    pub(crate) efficiency: f64,
    /// Expected share of the GPU's memory bandwidth, up to 1
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "SHARE", default_value = "0.8", value_parser = share)]
    pub(crate) bandwidth_efficiency: f64,
    /// Unique tokens of a data set, as in 1e9: how long it takes
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) tokens: Option<f64>,
    /// Price of a GPU for an hour: what the data set costs
    #[arg(long, help_heading = heading::ESTIMATE, value_name = "PRICE", value_parser = positive, allow_negative_numbers = true, requires = "tokens")]
    pub(crate) price_per_hour: Option<f64>,
    #[command(flatten)]
    pub(crate) simulation: SimulateArgs,
    /// Print JSON
    #[arg(long, help_heading = heading::OUTPUT_FORMAT)]
    pub(crate) json: bool,
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
