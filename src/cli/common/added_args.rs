//! What columns of scores are called.

use super::heading;

/// How columns of scores are added to those of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct AddedArgs {
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
