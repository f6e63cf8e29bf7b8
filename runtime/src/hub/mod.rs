//! Models and data sets from the Hugging Face hub, or from any server that speaks its protocol.
//!
//! [`download`] brings the files of a model that an export needs into the cache that `huggingface_hub` and
//! `transformers` use, in their layout, so that no tool downloads what another one has. Several files come at a time.
//! A file that was interrupted goes on where it stopped, also in a later run. Every file is compared with what the
//! hub says of it, size and hash, before it gets its name.
//!
//! The protocol is spoken here, over `ureq`, and not by the crate `hf-hub`. As of version 1.0 that crate downloads
//! every file from its start again after an interruption, compares no hash, does not heed `Retry-After`, has no
//! offline mode for a whole model, and always brings the Xet transfer library: 170 more crates to build, where `ureq`
//! brings 17, and two of them (`option-ext`, `colored`) under the MPL, which this project's licence policy does not
//! allow. What would be left for it to do is one request for the list of files. Repositories that the hub stores with Xet are served over plain
//! HTTP all the same.
//!
//! ```no_run
//! # use worldpm_ort_runtime as worldpm_ort;
//! use worldpm_ort::hub::{self, HubOptions, Repository};
//!
//! let repository: Repository = "Qwen/WorldPM-72B".parse()?;
//! let snapshot = hub::download(&repository, &HubOptions::from_env()?, &|progress| {
//!     eprintln!("{} of {} bytes", progress.bytes_done, progress.bytes);
//! })?;
//! println!("{} at {}", snapshot.path.display(), snapshot.commit);
//! # Ok::<(), hub::HubError>(())
//! ```

mod address;
mod answer;
mod bring;
mod cache;
mod data_set;
mod error;
mod expand;
mod fault;
mod fetch;
mod files;
mod hash;
mod http;
mod meter;
mod options;
mod pace;
mod partial;
mod remote;
mod repository;
mod response;
mod tree;

use std::{collections::BTreeSet, path::PathBuf};

use worldpm_ort_bundle::checkpoint_files::{INDEX_FILE, WeightsChoice};

use bring::{Description, bring, describe_repository, instead};
use cache::Cache;
use error::is_unwritable;
use http::Client;
use tree::Tree;

pub use data_set::{DataSetFiles, DataSetName, SplitPart, SplitSlice, download_data_set};
pub use error::HubError;
pub use meter::DownloadProgress;
pub use options::{HubOptions, Token};
pub use repository::Repository;

/// A model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The directory of its files, which are links.
    pub path: PathBuf,
    /// The commit that it is of.
    pub commit: String,
    /// Where the hub could not be asked, and the cache stands in for it: why, in a sentence.
    pub warning: Option<String>,
}

/// Downloads what an export needs of a model: `config.json`, safetensors weights, tokenizer and chat template, and an
/// adapter's configuration and weights. What the cache has is not downloaded again.
///
/// Where a hub cannot be reached, does not answer in time, or answers with an error of its own, a cache with all files of
/// the revision stands in for it, as with `huggingface_hub`, and [`Snapshot::warning`] says so. A hub that answers that it
/// has no such model, or refuses access, is believed.
///
/// `progress` is called often, from several threads but never from two at once; not at all when nothing is missing.
///
/// # Errors
/// Any [`HubError`]. What has arrived stays in the cache, and the next call goes on from there; a file whose hash differs
/// from the hub's is removed. A revision in the cache is only replaced when its files are complete. A cache that has all
/// files need not be writable.
pub fn download(
    repository: &Repository,
    options: &HubOptions,
    progress: &(dyn Fn(DownloadProgress) + Sync),
) -> Result<Snapshot, HubError> {
    let cache = Cache::new(&options.cache, repository);
    if options.offline {
        return find_offline(repository, options, &cache);
    }
    let client = Client::new(options, repository)?;
    let Description { sha, siblings } = match describe_repository(&client) {
        Ok(description) => description,
        Err(error @ (HubError::Unreachable { .. } | HubError::RateLimited { .. })) => {
            return instead_of_hub(repository, options, &cache, error);
        }
        Err(error) => return Err(error),
    };
    let listed: BTreeSet<String> = siblings.into_iter().map(|file| file.rfilename).collect();
    let content = |problem| HubError::Content {
        repository: repository.to_string(),
        problem,
    };

    let tree = Tree::default();
    let mut was_complete = true;
    let mut wanted = files::text_files(&listed);
    match files::weights(&listed).map_err(content)? {
        one @ (WeightsChoice::Single | WeightsChoice::Adapter) => {
            wanted.push(one.file().to_owned());
        }
        WeightsChoice::Sharded => {
            let index = [INDEX_FILE.to_owned()];
            was_complete &= bring(&client, &cache, &tree, &sha, &index, &|_| {})?;
            let indexed = files::indexed(&cache.snapshot(&sha)).map_err(content)?;
            if let Some(lost) = indexed.iter().find(|name| !listed.contains(*name)) {
                return Err(content(format!(
                    "`{INDEX_FILE}` places weights in `{lost}`, which the repository does not have"
                )));
            }
            wanted.extend(indexed);
        }
    }
    was_complete &= bring(&client, &cache, &tree, &sha, &wanted, progress)?;
    if !repository.is_pinned() {
        match cache.set_commit(repository.revision(), &sha) {
            // Nothing is missing but the note of which commit is meant, which the hub has just said.
            Err(HubError::Cache { source, .. }) if was_complete && is_unwritable(&source) => {}
            noted => noted?,
        }
    }
    Ok(Snapshot {
        path: cache.snapshot(&sha),
        commit: sha,
        warning: None,
    })
}

/// What the cache has of the repository, without asking the hub.
fn find_offline(
    repository: &Repository,
    options: &HubOptions,
    cache: &Cache,
) -> Result<Snapshot, HubError> {
    let offline = |problem: String| HubError::Offline {
        repository: repository.to_string(),
        problem,
        cache: options.cache.clone(),
    };
    let commit = cache
        .commit_of(repository.revision())?
        .ok_or_else(|| offline("it is not".to_owned()))?;
    let path = cache.snapshot(&commit);
    if !path.is_dir() {
        return Err(offline(format!("commit {commit} is not")));
    }
    let missing = files::missing(&path).map_err(|problem| HubError::Content {
        repository: repository.to_string(),
        problem,
    })?;
    match missing {
        Some(file) => Err(offline(format!("`{file}` is not"))),
        None => Ok(Snapshot {
            path,
            commit,
            warning: None,
        }),
    }
}

/// What the cache has, where the hub gives no answer because of `error`.
fn instead_of_hub(
    repository: &Repository,
    options: &HubOptions,
    cache: &Cache,
    error: HubError,
) -> Result<Snapshot, HubError> {
    let Ok(found) = find_offline(repository, options, cache) else {
        return Err(error);
    };
    Ok(Snapshot {
        warning: Some(instead(repository, &found.commit, &error)),
        ..found
    })
}
