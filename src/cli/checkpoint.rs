//! What `--checkpoint` names: a directory, or a repository on the hub.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The directory of the checkpoint that the user named. A repository is downloaded, unless the cache has it.
///
/// An existing directory wins over a repository of the same name.
pub(super) fn resolve(named: &Path, revision: Option<&str>) -> Result<PathBuf> {
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

#[cfg(not(feature = "hub"))]
fn from_hub(named: &Path, _revision: Option<&str>) -> Result<PathBuf> {
    bail!(
        "there is no directory `{}`, and this program was built without the feature `hub`, so it downloads nothing",
        named.display()
    )
}

#[cfg(feature = "hub")]
fn from_hub(named: &Path, revision: Option<&str>) -> Result<PathBuf> {
    use anyhow::Context;

    use crate::hub::{self, HubError, HubOptions, Repository};

    let text = named.to_string_lossy();
    let repository: Repository = match text.parse() {
        Ok(repository) => repository,
        Err(HubError::Name { problem, .. }) => bail!(
            "there is no directory `{text}`, and it is not a repository on the hub, OWNER/NAME or \
             OWNER/NAME@REVISION: {problem}"
        ),
        Err(other) => return Err(other.into()),
    };
    let repository = match revision {
        Some(_) if text.contains('@') => {
            bail!("`{text}` names a revision, and --revision another; give one of them")
        }
        Some(revision) => repository.at(revision)?,
        None => repository,
    };
    let options = HubOptions::from_env()?;
    let bar = bar::Bar::default();
    let snapshot = hub::download(&repository, &options, &|progress| bar.show(progress));
    bar.finish();
    let snapshot = match snapshot {
        // What was meant may have been a directory.
        Err(
            error
            @ (HubError::Access { .. } | HubError::NotFound { .. } | HubError::Offline { .. }),
        ) => Err(error).with_context(|| {
            format!("there is no directory `{text}`, so it is looked up on the hub")
        })?,
        other => other?,
    };
    eprintln!("{repository}: {}", snapshot.path.display());
    Ok(snapshot.path)
}

#[cfg(feature = "hub")]
mod bar {
    use std::sync::OnceLock;

    use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

    use crate::hub::Progress;

    /// A bar on a terminal; elsewhere one line at the start.
    #[derive(Default)]
    pub(super) struct Bar(OnceLock<ProgressBar>);

    impl Bar {
        pub(super) fn show(&self, progress: Progress) {
            let bar = self.0.get_or_init(|| start(progress));
            bar.set_position(progress.bytes_done);
            bar.set_message(format!(
                "{} of {} files",
                progress.files_done, progress.files
            ));
        }

        pub(super) fn finish(&self) {
            if let Some(bar) = self.0.get() {
                bar.finish_and_clear();
            }
        }
    }

    fn start(progress: Progress) -> ProgressBar {
        eprintln!(
            "downloading {} files, {}",
            progress.files,
            DecimalBytes(progress.bytes)
        );
        let bar = ProgressBar::new(progress.bytes);
        let template = "{wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    }
}
