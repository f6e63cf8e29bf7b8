//! What `worldpm-ort score` accepts of data sets.

use crate::cli::common::{format_args::FormatArgs, heading};

/// How data sets are read and written.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct DataArgs {
    #[command(flatten)]
    pub(crate) formats: FormatArgs,
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
