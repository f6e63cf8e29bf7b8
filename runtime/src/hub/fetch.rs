//! One file: resumed, repeated and checked, also where a server says less than it should.

use std::time::Instant;

use super::{
    HubError,
    answer::Head,
    cache::{Cache, fault},
    fault::{Fault, Passing},
    hash::Promise,
    http::Client,
    meter::Meter,
    pace::Pace,
    partial::Partial,
    remote::{Remote, Size},
    response::Response,
    tree::Tree,
};

/// An attempt that brings this much has got somewhere, and repeats are counted anew.
const PROGRESS: u64 = 1 << 20;
/// Names of blobs are hashes; nothing longer is a file name.
const MAX_ETAG: usize = 128;

/// Asks the hub what a file is.
pub(super) fn describe_file(
    client: &Client<'_>,
    tree: &Tree,
    commit: &str,
    file: &str,
) -> Result<Remote, HubError> {
    let url = client.file_url(commit, file);
    let response = client.repeat(&url, || client.head(&url, &named(client, file)))?;
    let (etag, mut size) = announced(&response);
    let answer = |problem| HubError::Answer {
        url: url.clone(),
        problem,
    };
    let listed = match etag.is_none() || size == Size::Unknown {
        true => tree.find(client, commit, file),
        false => None,
    };
    if let (Some(entry), Size::Unknown) = (&listed, size) {
        size = Size::Promised(entry.size);
    }
    let etag = etag.or_else(|| listed.map(|entry| entry.etag));
    let etag = etag.ok_or_else(|| answer("the answer has no ETag".to_owned()))?;
    let etag = etag.trim_start_matches("W/").trim_matches('"');
    let is_name = etag.len() <= MAX_ETAG
        && etag.starts_with(|c: char| c.is_ascii_alphanumeric())
        && etag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !is_name {
        return Err(answer(format!("the ETag `{etag}` cannot name a file")));
    }
    Ok(Remote {
        file: file.to_owned(),
        etag: etag.to_owned(),
        size,
    })
}

/// What the head of an answer says of a file: its ETag and size.
fn announced(response: &Response) -> (Option<String>, Size) {
    let number = |name| response.header(name)?.trim().parse::<u64>().ok();
    let etag = response.header("x-linked-etag");
    let etag = etag.or_else(|| response.header("etag"));
    // Of a redirect, or of something packed, it is another length.
    let is_own = (200..300).contains(&response.status) && response.packed().is_none();
    let size = match (number("x-linked-size"), number("content-length")) {
        (Some(size), _) => Size::Promised(size),
        (None, Some(size)) if is_own => Size::Supposed(size),
        (None, _) => Size::Unknown,
    };
    (etag.map(str::to_owned), size)
}

/// How a file is called in an error.
fn named(client: &Client<'_>, file: &str) -> String {
    format!("file `{file}` in {}", client.repository)
}

/// Brings a file into the snapshot of `commit`.
pub(super) fn fetch(
    client: &Client<'_>,
    cache: &Cache,
    commit: &str,
    remote: &Remote,
    meter: &Meter<'_>,
) -> Result<(), HubError> {
    if !is_here(cache, remote, meter)? {
        let _lock = cache.lock(&remote.etag, &client.stop)?;
        // Another process may have brought it meanwhile.
        if !is_here(cache, remote, meter)? {
            download(client, cache, commit, remote, meter)?;
        }
    }
    cache.link(commit, &remote.file, &remote.etag)?;
    meter.file_done();
    Ok(())
}

/// Whether the cache has the whole file.
fn is_here(cache: &Cache, remote: &Remote, meter: &Meter<'_>) -> Result<bool, HubError> {
    let blob = cache.blob(&remote.etag);
    let Ok(metadata) = blob.metadata() else {
        return Ok(false);
    };
    let promise = Promise::of(&remote.etag);
    let is_whole = if remote.size.known() == Some(metadata.len()) {
        true
    } else if promise == Promise::Nothing {
        remote.size == Size::Unknown
    } else {
        // The hash knows better than a header.
        let hash = promise.of_file(&blob);
        let hash = hash.map_err(|e| fault(&blob, "read it", e))?;
        hash.is_some_and(|hash| hash.eq_ignore_ascii_case(&remote.etag))
    };
    if is_whole {
        meter.add(metadata.len());
        meter.resize(remote.size.known().unwrap_or(0), metadata.len());
    }
    Ok(is_whole)
}

/// How a server has to be asked.
struct Way {
    /// Whether it understands requests for parts.
    ranges: bool,
    /// Bytes that were here before the first part whose place was taken for granted.
    sure: Option<u64>,
}

fn download(
    client: &Client<'_>,
    cache: &Cache,
    commit: &str,
    remote: &Remote,
    meter: &Meter<'_>,
) -> Result<(), HubError> {
    let (path, aside) = (cache.incomplete(&remote.etag), cache.aside(&remote.etag));
    let mut partial = Partial::open(path, aside, remote, meter)?;
    let outcome = complete(client, commit, remote, &mut partial);
    if outcome.is_err() {
        partial.keep()?;
    }
    outcome?;
    partial.finish(&cache.blob(&remote.etag), remote.size.known().unwrap_or(0))
}

/// Downloads what is still missing and checks the whole; where that is wrong, again without what may be the reason.
fn complete(
    client: &Client<'_>,
    commit: &str,
    remote: &Remote,
    partial: &mut Partial<'_, '_>,
) -> Result<(), HubError> {
    let found = partial.bytes;
    let mut way = Way {
        ranges: true,
        sure: None,
    };
    let mut wrong = bring(client, commit, remote, partial, &mut way)?;
    if let (Some(_), Some(sure)) = (&wrong, way.sure.take()) {
        partial.truncate(sure)?;
        way.ranges = false;
        wrong = bring(client, commit, remote, partial, &mut way)?;
    }
    if wrong.is_some() && found > 0 {
        // What an earlier run left may be at fault, or the server.
        partial.truncate(found)?;
        partial.set_aside()?;
        wrong = bring(client, commit, remote, partial, &mut way)?;
    }
    let Some(problem) = wrong else { return Ok(()) };
    partial.truncate(0)?;
    Err(mismatch(
        client,
        remote,
        format!("{problem}; it was removed"),
    ))
}

fn mismatch(client: &Client<'_>, remote: &Remote, problem: String) -> HubError {
    HubError::Mismatch {
        file: remote.file.clone(),
        repository: client.repository.to_string(),
        problem,
    }
}

/// Downloads what is missing. Returns what is wrong with the hash of the whole.
fn bring(
    client: &Client<'_>,
    commit: &str,
    remote: &Remote,
    partial: &mut Partial<'_, '_>,
    way: &mut Way,
) -> Result<Option<String>, HubError> {
    let is_whole = match remote.size {
        Size::Promised(size) => partial.bytes == size,
        Size::Supposed(size) => {
            partial.bytes == size && partial.is_promised() && partial.wrong(&remote.etag)?.is_none()
        }
        Size::Unknown => false,
    };
    if !is_whole {
        let url = client.file_url(commit, &remote.file);
        client.repeat(&url, || {
            let before = partial.bytes;
            let end = attempt(client, &url, remote, partial, way);
            end.map_err(|fault| match fault {
                Fault::Passing(passing) => Fault::Passing(Passing {
                    problem: format!("{} at {}", passing.problem, place(partial)),
                    progress: partial.bytes.saturating_sub(before) >= PROGRESS,
                    ..passing
                }),
                other => other,
            })
        })?;
    }
    partial.wrong(&remote.etag)
}

fn place(partial: &Partial<'_, '_>) -> String {
    match partial.size() {
        Some(size) => format!("{} of {size} bytes", partial.bytes),
        None => format!("{} bytes", partial.bytes),
    }
}

/// Asks until the file has come to its end, or the server fails.
fn attempt(
    client: &Client<'_>,
    url: &str,
    remote: &Remote,
    partial: &mut Partial<'_, '_>,
    way: &mut Way,
) -> Result<(), Fault> {
    let answer = |problem: String| HubError::Answer {
        url: url.to_owned(),
        problem,
    };
    let promised = remote.size.promised();
    let mut pace = Pace::new(client.timeout());
    loop {
        let before = partial.bytes;
        let from = if way.ranges { before } else { 0 };
        let start = Instant::now();
        let response = client.get(url, from, &named(client, &remote.file))?;
        pace.took(start, 0).map_err(Fault::passing)?;
        if let Some(packed) = response.packed() {
            let problem = format!("the file is sent packed ({packed}), which was not asked for");
            return Err(answer(problem).into());
        }
        let head = Head::of(&response, from);
        let Some(part) = head.part(partial.size()) else {
            if from == 0 {
                return Err(answer(format!("status {} is no answer to it", head.status)).into());
            }
            way.ranges = false;
            continue;
        };
        let sent = part
            .total
            .or(part.end.filter(|end| promised.is_some_and(|p| *end > p)));
        match (promised, sent) {
            (Some(size), Some(sent)) if sent != size => {
                let problem = format!(
                    "the hub announced {size} bytes and sends {sent}; what has arrived is kept"
                );
                return Err(mismatch(client, remote, problem).into());
            }
            (None, Some(sent)) => partial.learn_size(sent)?,
            _ => {}
        }
        if !part.is_told && part.start > 0 {
            way.sure.get_or_insert(before);
        }
        partial.receive(client, response, &part, promised, &mut pace)?;

        match promised.or(part.total) {
            Some(size) if partial.bytes >= size => return Ok(()),
            // A server may send less than it is asked for at a time.
            Some(_) if part.total != part.end && partial.bytes > before => {}
            Some(_) => return Err(Fault::passing("the connection was cut")),
            None if partial.is_promised() => {
                let wrong = partial.wrong(&remote.etag)?;
                return match wrong.is_none() || part.has_end {
                    true => Ok(()),
                    false => Err(Fault::passing("the connection ended before the file")),
                };
            }
            None if part.has_end || partial.size() == Some(partial.bytes) => return Ok(()),
            None if partial.size().is_some() => {
                return Err(Fault::passing("the connection was cut"));
            }
            None => {
                let problem = "neither a size nor a hash nor the end of the answer says that the file is whole";
                return Err(answer(problem.to_owned()).into());
            }
        }
    }
}
