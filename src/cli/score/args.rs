//! What `worldpm-ort score` accepts.

use std::path::PathBuf;

use super::{data_args::DataArgs, job_args::JobArgs};
#[cfg(feature = "remote")]
use crate::cli::common::remote_args::RemoteArgs;
use crate::cli::common::{
    heading, hub_data::HubDataArgs, records::RecordArgs, scorer_args::ScorerArgs,
    scoring_args::ScoringArgs,
};

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct ScoreArgs {
    /// Directory of the bundle
    #[arg(long, value_name = "DIR")]
    #[cfg_attr(not(feature = "remote"), arg(required = true))]
    pub(crate) model: Option<PathBuf>,
    /// Conversations: a file of JSON Lines, JSON, CSV, Parquet or Arrow, also with gzip or zstd; a pattern such as
    /// 'data/*.parquet'; a folder of such files, or one of `datasets.save_to_disk`; s3://BUCKET/KEY, gs://BUCKET/KEY or
    /// az://CONTAINER/KEY, also with a pattern, or a `/` at the end for a folder; - for standard input. May be given several
    /// times, and is read in order
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) input: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) hub: HubDataArgs,
    /// Where the scores go; - for standard output. A file is written as FILE.partial, which takes the place of what is there
    /// when all is scored; after a failure or a signal it has what was scored until then. An object, as in
    /// s3://BUCKET/scores.parquet, is written as scores.parquet.partial here, and uploaded when all is scored
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Add the scores to the end of the output file as they come, instead of replacing it at the end
    #[arg(long)]
    pub(crate) append: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[cfg(feature = "remote")]
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    #[command(flatten)]
    pub(crate) records: RecordArgs,
    #[command(flatten)]
    pub(crate) scorer: ScorerArgs,
    #[command(flatten)]
    pub(crate) scoring: ScoringArgs,
    /// Go on after a record that cannot be scored: it becomes an {"id","error"} line, or a row with an `error`, and the exit
    /// status is 1
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(crate) keep_going: bool,
}
