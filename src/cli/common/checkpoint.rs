//! What `--checkpoint` names: a directory, or a repository on the hub.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The directory of the checkpoint that the user named. A repository is downloaded, unless the cache has it.
///
/// An existing directory wins over a repository of the same name.
pub(crate) fn resolve(named: &Path, revision: Option<&str>) -> Result<PathBuf> {
    if !named.exists() {
        return from_hub(named, revision);
    }
    if let Some(revision) = revision {
        bail!(
            "--revision {revision} is for a repository, and {} is here on disk; leave it out, or go to another directory",
            named.display()
        );
    }
    Ok(named.to_owned())
}

/// The directory of a recipe's repository, `OWNER/NAME`, downloaded unless the cache has it.
pub(crate) fn repository(id: &str, revision: Option<&str>) -> Result<PathBuf> {
    hub::download(id, revision)
}

fn from_hub(named: &Path, revision: Option<&str>) -> Result<PathBuf> {
    let text = named.to_string_lossy();
    hub::download(&text, revision)
        .with_context(|| format!("there is no directory `{text}`, so it is looked up on the hub"))
}

#[cfg(not(feature = "hub"))]
mod hub {
    use super::{PathBuf, Result, bail};

    pub(crate) fn download(_id: &str, _revision: Option<&str>) -> Result<PathBuf> {
        bail!("this program was built without the feature `hub`, and downloads nothing")
    }
}

#[cfg(feature = "hub")]
mod hub {
    use super::{PathBuf, Result, bail, bar};
    use crate::hub::{HubOptions, Repository, Snapshot, download as download_snapshot};

    pub(crate) fn download(id: &str, revision: Option<&str>) -> Result<PathBuf> {
        let mut repository: Repository = id.parse()?;
        if let Some(revision) = revision {
            if id.contains('@') {
                bail!("`{id}` names a revision, and --revision another; give one of them");
            }
            repository = repository.at(revision)?;
        }
        let options = HubOptions::from_env()?;
        let bar = bar::Bar::default();
        let snapshot = download_snapshot(&repository, &options, &|progress| bar.show(progress));
        bar.finish();
        let Snapshot { path, warning, .. } = snapshot?;
        if let Some(warning) = warning {
            alert!("warning: {warning}");
        }
        report!("{repository}: {}", path.display());
        Ok(path)
    }
}

#[cfg(feature = "hub")]
pub(crate) mod bar {
    use std::sync::OnceLock;

    use indicatif::{DecimalBytes, ProgressBar};

    use crate::{cli::common::progress, hub::DownloadProgress};

    /// A bar on a terminal; elsewhere one line at the start.
    #[derive(Default)]
    pub(crate) struct Bar(OnceLock<ProgressBar>);

    impl Bar {
        pub(crate) fn show(&self, progress: DownloadProgress) {
            let bar = self.0.get_or_init(|| start(progress));
            bar.set_position(progress.bytes_done);
            bar.set_message(format!(
                "{} of {} files",
                progress.files_done, progress.files
            ));
        }

        pub(crate) fn finish(&self) {
            if let Some(bar) = self.0.get() {
                bar.finish_and_clear();
            }
        }
    }

    fn start(progress: DownloadProgress) -> ProgressBar {
        report!(
            "downloading {} files, {}",
            progress.files,
            DecimalBytes(progress.bytes)
        );
        let template = "{wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left, {msg}";
        progress::bar(progress.bytes, template)
    }
}
