//! What `worldpm-ort rank` accepts.

use std::{num::NonZeroUsize, path::PathBuf};

#[cfg(feature = "remote")]
use crate::cli::common::remote_args::RemoteArgs;
use crate::cli::common::{
    choices::number,
    files_args::FilesArgs,
    heading,
    records::RecordArgs,
    scorer_args::{ScorerArgs, at_least_one},
    scoring_args::ScoringArgs,
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct RankArgs {
    /// Directory of the bundle
    #[arg(long, value_name = "DIR")]
    #[cfg_attr(not(feature = "remote"), arg(required = true))]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    /// Go on after a record that cannot be scored: it becomes an {"id","line","error"} line, and the exit status is 1
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(crate) keep_going: bool,
    /// Rank conversations that are records of their own: those that follow one another with the same value in this column,
    /// and begin with the same prompt. Records of a prompt that are apart in the input are groups of their own: sort it first
    #[arg(long, help_heading = heading::RANKING, value_name = "NAME")]
    pub(crate) group_by: Option<String>,
    /// Only the K best candidates of a prompt
    #[arg(long, help_heading = heading::RANKING, value_name = "K", value_parser = at_least_one,
          conflicts_with_all = ["best", "pairs"])]
    pub(crate) top: Option<NonZeroUsize>,
    /// The best candidate of a prompt, as a record of TRL: prompt, completion, and its score
    #[arg(long, help_heading = heading::RANKING, conflicts_with = "pairs")]
    pub(crate) best: bool,
    /// Leave out candidates that score less. Of a pair, the chosen one must score as much
    #[arg(long, help_heading = heading::RANKING, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,
    /// Pairs of candidates for training, as records of TRL: prompt, chosen, rejected, score_chosen, score_rejected
    #[arg(long, help_heading = heading::RANKING, value_name = "WAY", value_enum)]
    pub(crate) pairs: Option<PairsWay>,
    /// Only pairs whose scores are at least so far apart [default: any that differ]
    #[arg(long, help_heading = heading::RANKING, value_name = "X", value_parser = margin, requires = "pairs")]
    pub(crate) margin: Option<f64>,
    #[cfg(feature = "remote")]
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    #[command(flatten)]
    pub(crate) records: RecordArgs,
    #[command(flatten)]
    pub(crate) scorer: ScorerArgs,
    #[command(flatten)]
    pub(crate) scoring: ScoringArgs,
}

/// Which pairs are made of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PairsWay {
    /// The best and the worst
    BestWorst,
    /// Every two whose scores differ
    All,
}

fn margin(text: &str) -> Result<f64, String> {
    match number(text) {
        Ok(value) if value >= 0.0 => Ok(value),
        _ => Err("give a number, 0 or more".into()),
    }
}
