//! What a repository holds, and several of its files at a time.

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::Deserialize;

use super::{
    DownloadProgress, HubError, Repository,
    cache::{Cache, free_bytes},
    fetch::{describe_file, fetch},
    http::Client,
    meter::Meter,
    remote::Remote,
    repository::is_commit,
    tree::{MAX_DESCRIPTION, Tree},
};

/// The hub's description of a repository; other fields are not needed.
#[derive(Deserialize)]
pub(super) struct Description {
    pub(super) sha: String,
    pub(super) siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
pub(super) struct Sibling {
    pub(super) rfilename: String,
}

pub(super) fn describe_repository(client: &Client<'_>) -> Result<Description, HubError> {
    let url = client.description_url();
    let text = client.repeat(&url, || {
        let repository = format!("repository {}, or no such revision", client.repository);
        client.get_small(&url, MAX_DESCRIPTION, &repository)
    })?;
    let answer = |problem| HubError::Answer {
        url: url.clone(),
        problem,
    };
    let description: Description = serde_json::from_slice(&text)
        .map_err(|e| answer(format!("the answer does not describe a repository: {e}")))?;
    // It becomes the name of a directory.
    if !is_commit(&description.sha) {
        return Err(answer(format!("`{}` is not a commit", description.sha)));
    }
    Ok(description)
}

/// Brings files into the snapshot of `commit`, unless they are there. Returns whether they all were.
pub(super) fn bring(
    client: &Client<'_>,
    cache: &Cache,
    tree: &Tree,
    commit: &str,
    wanted: &[String],
    progress: &(dyn Fn(DownloadProgress) + Sync),
) -> Result<bool, HubError> {
    let snapshot = cache.snapshot(commit);
    let absent: Vec<&String> = wanted
        .iter()
        .filter(|file| !snapshot.join(file).exists())
        .collect();
    if absent.is_empty() {
        return Ok(true);
    }
    let remotes = in_parallel(client, &absent, |file| {
        describe_file(client, tree, commit, file)
    })?;
    let size = |remote: &Remote| remote.size.known().unwrap_or(0);

    let missing = |remote: &Remote| {
        let here = |path: PathBuf| path.metadata().map_or(0, |m| m.len());
        let arrived = here(cache.blob(&remote.etag)).max(here(cache.incomplete(&remote.etag)));
        size(remote).saturating_sub(arrived)
    };
    let needed = remotes.iter().map(missing).fold(0, u64::saturating_add);
    let free = free_bytes(&client.options.cache)?;
    if needed > free {
        return Err(HubError::Space {
            path: client.options.cache.clone(),
            needed,
            free,
        });
    }

    let bytes = remotes.iter().map(size).fold(0, u64::saturating_add);
    let meter = Meter::new(remotes.len(), bytes, progress);
    in_parallel(client, &remotes, |remote| {
        fetch(client, cache, commit, remote, &meter)
    })?;
    Ok(false)
}

/// Works on several items at a time. After the first error no other item is begun, and those under way stop.
fn in_parallel<T: Sync, R: Send>(
    client: &Client<'_>,
    items: &[T],
    work: impl Fn(&T) -> Result<R, HubError> + Sync,
) -> Result<Vec<R>, HubError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        while client.stop.check().is_ok() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some(item), Some(result)) = (items.get(index), results.get(index)) else {
                return;
            };
            match work(item) {
                Ok(value) => *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value),
                Err(error) => {
                    // The others stop because of this one: theirs comes later.
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                    client.stop.now();
                    return;
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..client.options.workers.clamp(1, items.len().max(1)) {
            scope.spawn(worker);
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let value =
        |result: Mutex<Option<R>>| result.into_inner().unwrap_or_else(PoisonError::into_inner);
    results
        .into_iter()
        .map(|result| value(result).ok_or(HubError::Stopped))
        .collect()
}

/// What is said where the cache stands in for the hub.
pub(super) fn instead(repository: &Repository, commit: &str, error: &HubError) -> String {
    let reason = match error {
        HubError::Unreachable { url, problem, .. } => format!("{url}: {problem}"),
        other => other.to_string(),
    };
    let newer = match repository.is_pinned() {
        true => "",
        false => ", though there may be a newer one",
    };
    format!(
        "the hub cannot be asked for {repository}, so commit {commit} from the cache is used{newer} ({reason})"
    )
}
