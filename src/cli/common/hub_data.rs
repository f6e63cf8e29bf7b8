//! A data set on the hub, in place of files.

use std::path::PathBuf;

use anyhow::Result;

use super::heading;

/// Which data set of the hub is read.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct HubDataArgs {
    /// A data set on the Hugging Face hub, in place of --input: OWNER/NAME, or OWNER/NAME:CONFIG. It is downloaded into the
    /// cache that Python's tools use, unless that has it
    #[arg(long, value_name = "NAME", conflicts_with = "input")]
    pub(crate) dataset: Option<String>,
    /// Its split, as in train; with + for several, as in train+test [default: the only one]
    #[arg(long, value_name = "NAME", requires = "dataset")]
    pub(crate) split: Option<String>,
    /// Its branch, tag or commit [default: main]
    #[arg(long, value_name = "REVISION", requires = "dataset")]
    pub(crate) revision: Option<String>,
}

impl HubDataArgs {
    /// The files that the data set stands for, where one is named.
    #[cfg(feature = "hub")]
    pub(crate) fn files(&self) -> Result<Option<Vec<PathBuf>>> {
        use anyhow::bail;

        use super::checkpoint::bar::Bar;
        use crate::hub::{DataSetName, HubOptions, download_data_set};

        let Some(name) = &self.dataset else {
            return Ok(None);
        };
        if let Some(split) = self.split.as_deref().filter(|split| split.contains('[')) {
            bail!(
                "--split {split}: a split is read whole; name it without the part in brackets, and take rows of it with \
                 `datasets`"
            );
        }
        let mut named: DataSetName = name.parse()?;
        if let Some(revision) = &self.revision {
            if name.split(':').next().is_some_and(|id| id.contains('@')) {
                bail!("`{name}` names a revision, and --revision another; give one of them");
            }
            named.repository = named.repository.at(revision)?;
        }
        let options = HubOptions::from_env()?;
        let bar = Bar::default();
        let found = download_data_set(&named, self.split.as_deref(), &options, &|progress| {
            bar.show(progress);
        });
        bar.finish();
        let found = found?;
        for note in &found.notes {
            report!("{note}");
        }
        report!(
            "{}, config {}, split {}, commit {}: {} files",
            named.repository.id(),
            found.config,
            found.splits.join("+"),
            found.commit,
            found.files.len()
        );
        Ok(Some(found.files))
    }

    #[cfg(not(feature = "hub"))]
    pub(crate) fn files(&self) -> Result<Option<Vec<PathBuf>>> {
        match &self.dataset {
            None => Ok(None),
            Some(_) => anyhow::bail!(
                "this program was built without the feature `hub`, and downloads nothing"
            ),
        }
    }
}
