//! An object, which is read from any byte on.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use object_store::{GetOptions, GetRange, ObjectMeta, path::Path};

use crate::{
    error::{StoreError, StoreErrorKind},
    runtime::wait,
    store::Store,
    told::{changed, told},
    url::Url,
};

/// How often an answer is asked for again that ended before its time, without any byte.
const ATTEMPTS: u32 = 5;

/// An object as it was found. What is read of it later is of the same version, or an error.
#[derive(Clone)]
pub struct Object(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    url: Url,
    text: String,
    path: Path,
    bytes: u64,
    /// What tells this version from others, without quotes.
    tag: Option<String>,
    version: Option<String>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.0.text).finish()
    }
}

impl Object {
    pub(crate) fn new(store: &Arc<Store>, url: Url, meta: &ObjectMeta) -> Self {
        Self(Arc::new(Inner {
            store: Arc::clone(store),
            text: url.to_string(),
            url,
            path: meta.location.clone(),
            bytes: meta.size,
            tag: tag(meta),
            version: meta.version.clone(),
        }))
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.text
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// What tells this version of it from others (its ETag), where the store says so.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.0.tag.as_deref()
    }

    /// The last part of its key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.path.filename().unwrap_or_default()
    }

    /// Its bytes, one after another. Where the connection breaks, they go on from there.
    #[must_use]
    pub fn reader(&self) -> ObjectReader {
        ObjectReader {
            object: self.clone(),
            at: 0,
            end: self.0.bytes,
            stream: None,
            block: Bytes::new(),
        }
    }

    /// The bytes of a range, which must be inside of it.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`], as the cause of an error of reading.
    pub fn read_range(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = usize::try_from(range.end.saturating_sub(range.start));
        let mut bytes = Vec::with_capacity(length.map_err(io::Error::other)?);
        let mut reader = ObjectReader {
            at: range.start,
            end: range.end,
            ..self.reader()
        };
        reader.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// The bytes from one on, as they come.
    async fn stream(&self, range: Range<u64>) -> Result<Answer, StoreError> {
        let inner = &self.0;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            version: inner.version.clone(),
            ..GetOptions::default()
        };
        let got = inner.store.patient.get_opts(&inner.path, options).await;
        let got = got.map_err(|error| self.error(&error))?;
        let is_same = got.meta.size == inner.bytes
            && match (&inner.tag, tag(&got.meta)) {
                (Some(ours), Some(theirs)) => *ours == theirs,
                _ => true,
            };
        if !is_same {
            return Err(changed(&inner.url));
        }
        if got.range != range {
            let problem = "the store sends other bytes than those it was asked for";
            return Err(StoreError::new(
                &inner.text,
                StoreErrorKind::Refused,
                problem,
            ));
        }
        Ok(got.into_stream())
    }

    fn error(&self, error: &object_store::Error) -> StoreError {
        let inner = &self.0;
        match error {
            object_store::Error::Precondition { .. } => changed(&inner.url),
            // It was there.
            object_store::Error::NotFound { .. } => StoreError::new(
                &inner.text,
                StoreErrorKind::Changed,
                "the object was removed while it was read",
            ),
            error => told(&inner.url, error),
        }
    }
}

/// The version of an object, however a store writes it.
fn tag(meta: &ObjectMeta) -> Option<String> {
    let tag = meta.e_tag.as_deref()?.trim_start_matches("W/");
    Some(tag.trim_matches('"').to_owned())
}

type Answer = BoxStream<'static, object_store::Result<Bytes>>;

/// Reads an object, see [`Object::reader`]. Errors have a [`StoreError`] as their cause.
pub struct ObjectReader {
    object: Object,
    at: u64,
    end: u64,
    stream: Option<Answer>,
    block: Bytes,
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectReader")
            .field("object", &self.object)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl ObjectReader {
    async fn next_block(&mut self) -> Result<Bytes, StoreError> {
        let mut failed = 0;
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => none.insert(self.object.stream(self.at..self.end).await?),
            };
            let error = match stream.next().await {
                Some(Ok(block)) if block.is_empty() => continue,
                Some(Ok(block)) => return Ok(block),
                Some(Err(error)) => self.object.error(&error),
                None => StoreError::new(
                    self.object.url(),
                    StoreErrorKind::Unreachable,
                    &format!(
                        "the answer ended at byte {} of {}, before its time",
                        self.at,
                        self.object.bytes()
                    ),
                ),
            };
            self.stream = None;
            failed += 1;
            let may_pass = matches!(
                error.kind(),
                StoreErrorKind::Unreachable | StoreErrorKind::Refused
            );
            if failed == ATTEMPTS || !may_pass {
                return Err(error);
            }
        }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() && self.at < self.end {
            self.block = wait(self.next_block())?.map_err(io::Error::other)?;
        }
        let taken = self.block.split_to(self.block.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        self.at += taken.len() as u64;
        Ok(taken.len())
    }
}
