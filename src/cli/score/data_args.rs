//! What `worldpm-ort score` accepts of data sets.

use crate::cli::common::{added_args::AddedArgs, format_args::FormatArgs, heading};

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
    #[command(flatten)]
    pub(crate) added: AddedArgs,
}
