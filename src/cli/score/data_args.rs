//! What `worldpm-ort score` accepts of data sets.

use worldpm_ort_data::Format;

use crate::cli::common::heading;

/// How data sets are read and written.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct DataArgs {
    /// Format of the input: jsonl, json, csv, tsv, parquet, arrow or arrow-stream [default: as the file begins, and its name]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) input_format: Option<Format>,
    /// Format of the output, of the same ones [default: as its name says, which may also end in .gz or .zst, or the input's]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output_format: Option<Format>,
    /// Keep all columns of a row, with the scores in columns of their own, where both sides are JSON Lines. Other formats keep
    /// them anyway
    #[arg(long)]
    pub(crate) keep_columns: bool,
    /// Keep none of the columns but `id`
    #[arg(long, conflicts_with = "keep_columns")]
    pub(crate) only_scores: bool,
    /// What the names of added columns begin with, as in model_ for model_score
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) added_prefix: String,
    /// Let an added column take the place of one of the input that has its name
    #[arg(long)]
    pub(crate) overwrite_columns: bool,
}
