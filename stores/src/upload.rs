//! Files that become objects: whole, or not at all.

use std::{
    fs::File,
    io::{self, Read},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use crate::{
    error::{StoreError, StoreErrorKind},
    runtime::wait,
    store::{Store, no_runtime},
    told::told,
    url::{Kind, Url},
};

/// The least bytes of a part; what is no larger is sent at once.
const PART: u64 = 8 << 20;
/// No store takes more parts than 10,000.
const MOST_PARTS: u64 = 9_000;
/// Parts that are under way at a time.
const AT_ONCE: usize = 4;

/// Finds out whether an object can be written, as far as that shows without writing any: an upload is begun and given up.
///
/// # Errors
///
/// Any [`StoreError`], of a URL that ends with `/` too.
pub fn check_upload(url: &str) -> Result<(), StoreError> {
    let (url, store) = target(url)?;
    let path = url.path()?;
    let check = async {
        match url.kind {
            // There an upload is begun with its first part.
            Kind::Azure => store.first.list(Some(&path)).try_next().await.map(drop),
            Kind::S3 | Kind::Google => store.first.put_multipart(&path).await?.abort().await,
        }
    };
    let checked = wait(check).map_err(|error| no_runtime(&url, &error))?;
    checked.map_err(|error| told(&url, &error))
}

fn target(text: &str) -> Result<(Url, Store), StoreError> {
    let url = Url::parse(text)?;
    if url.key.is_empty() || url.key.ends_with('/') {
        let problem = "it names a folder: give the whole name of the object, as in s3://BUCKET/scores.parquet";
        return Err(StoreError::new(text, StoreErrorKind::Url, problem));
    }
    let store = Store::open(&url)?;
    Ok((url, store))
}

/// Makes an object of a file, in place of one that is there. It is to be seen when all of it is there, and after a failure not
/// at all.
///
/// # Errors
///
/// Any [`StoreError`], or an error in reading the file.
pub fn upload(file: &mut File, url: &str) -> io::Result<()> {
    let (url, store) = target(url).map_err(io::Error::other)?;
    let path = url.path().map_err(io::Error::other)?;
    let failed = |error: object_store::Error| io::Error::other(told(&url, &error));
    let bytes = file.metadata()?.len();
    if bytes <= PART {
        let mut whole = Vec::new();
        file.read_to_end(&mut whole)?;
        let sent = wait(store.patient.put(&path, PutPayload::from(whole)))?;
        return sent.map(drop).map_err(failed);
    }
    let begun = wait(store.patient.put_multipart(&path))?;
    let mut upload = begun.map_err(failed)?;
    let sent = send(file, bytes, upload.as_mut()).and_then(|sent| match sent {
        Ok(()) => wait(upload.complete())?.map(drop).map_err(failed),
        Err(error) => Err(failed(error)),
    });
    if sent.is_err() {
        // Parts that nobody asks for any more cost money. What cannot be given up now, a rule of the bucket removes.
        let _ = wait(upload.abort());
    }
    sent
}

/// Sends the parts of a file, some at a time.
fn send(
    file: &mut File,
    bytes: u64,
    upload: &mut dyn MultipartUpload,
) -> io::Result<object_store::Result<()>> {
    let part = PART.max(bytes.div_ceil(MOST_PARTS));
    let mut failure = None;
    let parts = std::iter::from_fn(|| {
        let mut block = Vec::new();
        match (&mut *file).take(part).read_to_end(&mut block) {
            Ok(0) => None,
            Ok(_) => Some(upload.put_part(PutPayload::from(Bytes::from(block)))),
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    });
    let sent = stream::iter(parts)
        .buffered(AT_ONCE)
        .try_collect::<Vec<()>>();
    let sent = wait(sent)?;
    match failure {
        Some(error) => Err(error),
        None => Ok(sent.map(drop)),
    }
}
