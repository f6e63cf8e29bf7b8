//! A data set on the hub, in place of files.

use std::path::PathBuf;

use anyhow::Result;
use worldpm_ort_data::Files;
#[cfg(feature = "hub")]
use worldpm_ort_data::{DataSet, Part, ReadOptions};

use super::heading;

/// Which data set of the hub is read.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct HubDataArgs {
    /// A data set on the Hugging Face hub, in place of --input: OWNER/NAME, or OWNER/NAME:CONFIG. It is downloaded into the
    /// cache that Python's tools use, unless that has it
    #[arg(long, value_name = "NAME", conflicts_with = "input")]
    pub(crate) dataset: Option<String>,
    /// Its split, as in train, or rows of it as `datasets` has them, as in train[:1000], train[-100:] or train[10%:20%]; with +
    /// for several, as in train+test [default: the only one]
    #[arg(long, value_name = "NAME", requires = "dataset")]
    pub(crate) split: Option<String>,
    /// Its branch, tag or commit [default: main]
    #[arg(long, value_name = "REVISION", requires = "dataset")]
    pub(crate) revision: Option<String>,
}

impl HubDataArgs {
    /// The files that are read: those of the data set where one is named, else the `input`.
    pub(crate) fn find(&self, input: &[PathBuf]) -> Result<Files> {
        match &self.dataset {
            Some(name) => self.download(name),
            None => Ok(Files::find(input)?),
        }
    }

    #[cfg(feature = "hub")]
    fn download(&self, name: &str) -> Result<Files> {
        use anyhow::bail;

        use super::checkpoint::bar::Bar;
        use crate::hub::{DataSetName, HubOptions, download_data_set};

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
        let files = Files::find(&found.files)?;
        if found.parts.iter().all(|part| part.slice.is_none()) {
            return Ok(files);
        }
        let mut at = 0;
        let mut parts = Vec::with_capacity(found.parts.len());
        for part in found.parts {
            let of_split = &found.files[at..at + part.files];
            at += part.files;
            let rows = match &part.slice {
                None => None,
                Some(slice) => Some(rows_of(&part.split, slice, of_split)?),
            };
            let files = part.files;
            parts.push(Part { files, rows });
        }
        Ok(files.with_parts(parts))
    }

    #[cfg(not(feature = "hub"))]
    fn download(&self, _: &str) -> Result<Files> {
        anyhow::bail!("this program was built without the feature `hub`, and downloads nothing")
    }
}

/// The rows of a split that a part of it is. All are counted where that depends on it.
#[cfg(feature = "hub")]
fn rows_of(
    split: &str,
    slice: &crate::hub::SplitSlice,
    files: &[PathBuf],
) -> Result<std::ops::Range<u64>> {
    let count = match slice.needs_count() {
        true => Some(DataSet::count_rows(
            Files::find(files)?,
            &ReadOptions::default(),
        )?),
        false => None,
    };
    let rows = slice.rows(count.unwrap_or(u64::MAX))?;
    let of = count.map_or_else(String::new, |count| format!(" of its {count}"));
    report!(
        "{split}: the rows from {} up to {}{of}",
        rows.start,
        rows.end
    );
    Ok(rows)
}
