//! Which data sets are read and written.

use std::path::PathBuf;

use anyhow::Result;
use worldpm_ort_data::Files;

use super::{format_args::FormatArgs, heading, hub_data::HubDataArgs};

/// What is read and written, by commands that make a data set of another.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct FilesArgs {
    /// What is read: files, patterns, folders or objects of any format, as for `score`; - for standard input. May be given
    /// several times, and is read in order
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) input: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) hub: HubDataArgs,
    /// Where the rows go, in any format that is read; - for standard output. A file is written as FILE.partial, which takes
    /// the place of what is there when all is done
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) formats: FormatArgs,
}

impl FilesArgs {
    /// The files that are read.
    pub(crate) fn find(&self) -> Result<Files> {
        self.hub.find(&self.input)
    }
}
