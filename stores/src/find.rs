//! What URLs stand for.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::{
    error::{StoreError, StoreErrorKind},
    object::Object,
    runtime::wait,
    store::{Store, no_runtime},
    told::told,
    url::Url,
};

/// What a URL stands for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found {
    /// The object that it names.
    Object(Object),
    /// Those that match its pattern, in order of their keys.
    Matches(Vec<Object>),
    /// Those of the folder that it names, in order of their keys, and how many folders are in it.
    Folder(Vec<Object>, usize),
}

/// Stores that are open, so that each is asked by one client.
#[derive(Debug, Default)]
struct Stores(BTreeMap<String, Arc<Store>>);

impl Stores {
    fn of(&mut self, url: &Url) -> Result<Arc<Store>, StoreError> {
        if let Some(store) = self.0.get(&url.bucket) {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(Store::open(url)?);
        self.0.insert(url.bucket.clone(), Arc::clone(&store));
        Ok(store)
    }
}

/// Finds what URLs stand for: an object, a pattern such as `s3://BUCKET/data/*.parquet`, or a folder, whose URL ends with `/`.
///
/// # Errors
///
/// A URL that stands for nothing, and any [`StoreError`].
pub fn find<'u>(urls: impl IntoIterator<Item = &'u str>) -> Result<Vec<Found>, StoreError> {
    let mut stores = Stores::default();
    urls.into_iter()
        .map(|text| {
            let url = Url::parse(text)?;
            let store = stores.of(&url)?;
            let found = wait(find_one(&store, &url));
            found.map_err(|error| no_runtime(&url, &error))?
        })
        .collect()
}

async fn find_one(store: &Arc<Store>, url: &Url) -> Result<Found, StoreError> {
    if url.key.is_empty() || url.key.ends_with('/') {
        return folder(store, url).await;
    }
    let is_pattern = url.key.contains(['*', '?', '[']);
    // A key that looks like a pattern may be one of an object.
    match store.first.head(&url.path()?).await {
        Ok(meta) => Ok(Found::Object(Object::new(store, url.clone(), &meta))),
        Err(object_store::Error::NotFound { .. }) if is_pattern => matches(store, url).await,
        Err(error) => {
            let told = told(url, &error);
            let may_be_folder =
                [StoreErrorKind::NotFound, StoreErrorKind::Refused].contains(&told.kind());
            Err(match may_be_folder {
                true => missing(store, url, told).await,
                false => told,
            })
        }
    }
}

/// What there is where there is no object.
async fn missing(store: &Store, url: &Url, error: StoreError) -> StoreError {
    let none =
        |problem: String| StoreError::new(&url.to_string(), StoreErrorKind::NotFound, &problem);
    let Ok(path) = url.path() else {
        return error;
    };
    let mut below = store.first.list(Some(&path));
    match below.try_next().await {
        Ok(Some(_)) => none(format!(
            "it is a folder, not an object: end it with a `/`, as in {url}/, or give a pattern, as in {url}/*.jsonl"
        )),
        Ok(None) if error.kind() == StoreErrorKind::NotFound => {
            none("there is no such object: check its name".to_owned())
        }
        Ok(None) => error,
        // Who may read an object may not be allowed to list them.
        Err(listing) => match told(url, &listing) {
            listing if listing.kind() == StoreErrorKind::NotFound => listing,
            _ => error,
        },
    }
}

async fn object(store: &Arc<Store>, url: &Url, meta: ObjectMeta) -> Result<Object, StoreError> {
    let url = url.at(meta.location.as_ref());
    // Some stores do not say in a list which version of an object is there.
    let meta = match meta.e_tag {
        Some(_) => meta,
        None => {
            let asked = store.first.head(&meta.location).await;
            asked.map_err(|error| told(&url, &error))?
        }
    };
    Ok(Object::new(store, url, &meta))
}

async fn folder(store: &Arc<Store>, url: &Url) -> Result<Found, StoreError> {
    let path = match url.key.as_str() {
        "" => None,
        key => Some(url.path_of(key)?),
    };
    let listed = store.first.list_with_delimiter(path.as_ref()).await;
    let listed = listed.map_err(|error| told(url, &error))?;
    let mut objects = Vec::with_capacity(listed.objects.len());
    for meta in listed.objects {
        // What other tools put there to stand for the folder itself.
        if Some(&meta.location) != path.as_ref() {
            objects.push(object(store, url, meta).await?);
        }
    }
    objects.sort_by(|a, b| a.url().cmp(b.url()));
    Ok(Found::Folder(objects, listed.common_prefixes.len()))
}

async fn matches(store: &Arc<Store>, url: &Url) -> Result<Found, StoreError> {
    let none = |problem: &str| StoreError::new(&url.to_string(), StoreErrorKind::NotFound, problem);
    let pattern = Pattern::new(&url.key)
        .map_err(|error| none(&format!("not a pattern that keys can match: {error}")))?;
    let options = MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..MatchOptions::default()
    };
    let plain = url.key.find(['*', '?', '[']).unwrap_or_default();
    let folder = url.key[..plain].rsplit_once('/').map(|(folder, _)| folder);
    let folder = folder.map(|folder| url.path_of(folder)).transpose()?;
    let mut listed = store.first.list(folder.as_ref());
    let mut objects = Vec::new();
    loop {
        let next = listed.try_next().await;
        let Some(meta) = next.map_err(|error| told(url, &error))? else {
            break;
        };
        if pattern.matches_with(meta.location.as_ref(), options) {
            objects.push(object(store, url, meta).await?);
        }
    }
    if objects.is_empty() {
        return Err(none("no object matches this pattern"));
    }
    objects.sort_by(|a, b| a.url().cmp(b.url()));
    Ok(Found::Matches(objects))
}
