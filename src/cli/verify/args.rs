//! What `worldpm-ort verify` accepts.

use std::path::PathBuf;

use crate::cli::common::{
    choices::{ReduceWay, TruncationWay},
    heading,
    records::RecordArgs,
    scorer_args::ScorerArgs,
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::COMPARISON)]
pub(crate) struct VerifyArgs {
    /// Directory of the bundle
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) scorer: ScorerArgs,
    /// Largest difference to a reference score, in proportion to scores beyond 1 and -1
    /// [default: by the precision of the bundle]
    #[arg(long, help_heading = heading::SCORING, value_name = "X", value_parser = tolerance)]
    pub(crate) tolerance: Option<f64>,
    /// Also compare whole weight files with the hashes that `export --checksum` recorded (reads all of them)
    #[arg(long, help_heading = heading::SCORING)]
    pub(crate) checksum: bool,
    /// Compare with the scores that the authors of this model have published: a recipe, by its name or in a JSON file
    /// [default: the recipe of the repository that the bundle was exported from]
    #[arg(long, help_heading = heading::PROBES, value_name = "NAME_OR_FILE", conflicts_with_all = ["record", "against"])]
    pub(crate) recipe: Option<PathBuf>,
    /// Score the probes in fp32 on this machine's CPU, and keep the scores in the bundle as its reference
    #[arg(long, help_heading = heading::PROBES, conflicts_with_all = ["tolerance", "checksum"])]
    pub(crate) record: bool,
    /// The checkpoint that --record scores [default: where the bundle's weights are]
    #[arg(long, help_heading = heading::PROBES, value_name = "DIR", requires = "record")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// The adapter that was merged into the bundle, for --record
    #[arg(long, help_heading = heading::PROBES, value_name = "DIR", requires = "record")]
    pub(crate) adapter: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) records: RecordArgs,
    /// Another bundle: report how far its scores of --data are from those of --model
    #[arg(long, help_heading = heading::COMPARISON, value_name = "DIR", requires = "data",
          conflicts_with_all = ["record", "checksum", "tolerance"])]
    pub(crate) against: Option<PathBuf>,
    /// Records as for `score`, in a file: it is read once for each bundle
    #[arg(long, help_heading = heading::COMPARISON, value_name = "FILE", requires = "against")]
    pub(crate) data: Option<PathBuf>,
    /// Folder of the other bundle's weights, when its checkpoint has moved
    #[arg(long, help_heading = heading::COMPARISON, value_name = "DIR", requires = "against")]
    pub(crate) against_weights_dir: Option<PathBuf>,
    /// Most tokens of a conversation of --data [default and upper bound: the lower of the bundles' limits]
    #[arg(long, help_heading = heading::COMPARISON, value_name = "TOKENS", requires = "against")]
    pub(crate) max_length: Option<usize>,
    /// What happens to a longer conversation of --data [default: refuse]
    #[arg(long, help_heading = heading::COMPARISON, value_name = "WAY", value_enum, requires = "against")]
    pub(crate) truncation: Option<TruncationWay>,
    /// What makes one score of the steps of an answer of --data, for models that score steps
    #[arg(long, help_heading = heading::COMPARISON, value_name = "WAY", value_enum, requires = "against")]
    pub(crate) reduce: Option<ReduceWay>,
    /// Go on after a record of --data that a bundle cannot score: it is counted, and the exit status is 1
    #[arg(long, help_heading = heading::COMPARISON, requires = "against")]
    pub(crate) keep_going: bool,
    /// Print one JSON object instead of tables
    #[arg(long, help_heading = heading::OUTPUT_FORMAT, conflicts_with = "record")]
    pub(crate) json: bool,
}

/// A number that a difference can be compared with.
fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("give a number, 0 or more".into()),
    }
}
