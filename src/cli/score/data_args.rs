//! What `worldpm-ort score` accepts of data sets.

use worldpm_ort_data::Format;

use crate::cli::common::heading;

/// How data sets are read and written.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct DataArgs {
    /// Format of the input: jsonl, json, csv, tsv, parquet, arrow or arrow-stream [default: as the file begins, and its name]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) input_format: Option<Format>,
    /// Format of the output, of the same ones [default: as its name says, which may also end in .gz or .zst, or the input's]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output_format: Option<Format>,
    /// Keep none of the columns but `id`, in place of all of them. As JSON Lines: the short form, in which the answer to a pair
    /// is {"id","chosen":{"score","tokens"},"rejected":{…},"margin","probability"}
    #[arg(long)]
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
