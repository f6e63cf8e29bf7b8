//! Stores, and what is found in them.

use std::{fmt, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
};

use crate::{
    error::{StoreError, StoreErrorKind},
    told::told,
    url::{Kind, Url},
};

/// How often a request is repeated before the store has answered once: what is wrong then is likely to stay.
const FIRST_RETRIES: usize = 1;
/// And afterwards, with waits of up to ten seconds between: about a minute.
const RETRIES: usize = 12;

/// Longest silence of a connection.
const SILENCE: &str = "30 seconds";
/// Longest time for the whole of an answer, which may be a large file.
const WHOLE: &str = "7 days";

/// A bucket of a store.
pub(crate) struct Store {
    /// Gives up soon.
    pub(crate) first: Arc<dyn ObjectStore>,
    /// Waits for a store that went away.
    pub(crate) patient: Arc<dyn ObjectStore>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    pub(crate) fn open(url: &Url) -> Result<Self, StoreError> {
        let build = |retries| -> Result<Arc<dyn ObjectStore>, object_store::Error> {
            let retry = RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(200),
                    max_backoff: Duration::from_secs(10),
                    base: 2.0,
                },
                max_retries: retries,
                retry_timeout: Duration::from_secs(180),
            };
            let limits = [
                (ClientConfigKey::Timeout, WHOLE),
                (ClientConfigKey::ReadTimeout, SILENCE),
            ];
            Ok(match url.kind {
                Kind::S3 => {
                    let bucket = url.bucket.replace("s3a://", "s3://");
                    let builder = AmazonS3Builder::from_env()
                        .with_url(bucket)
                        .with_retry(retry);
                    let builder = limits.into_iter().fold(builder, |builder, (key, value)| {
                        builder.with_config(AmazonS3ConfigKey::Client(key), value)
                    });
                    Arc::new(builder.build()?)
                }
                Kind::Google => {
                    let builder = GoogleCloudStorageBuilder::from_env()
                        .with_url(&url.bucket)
                        .with_retry(retry);
                    let builder = limits.into_iter().fold(builder, |builder, (key, value)| {
                        builder.with_config(GoogleConfigKey::Client(key), value)
                    });
                    Arc::new(builder.build()?)
                }
                Kind::Azure => {
                    let builder = MicrosoftAzureBuilder::from_env()
                        .with_url(&url.bucket)
                        .with_retry(retry);
                    let builder = limits.into_iter().fold(builder, |builder, (key, value)| {
                        builder.with_config(AzureConfigKey::Client(key), value)
                    });
                    Arc::new(builder.build()?)
                }
            })
        };
        let build = |retries| {
            // Clients are made where their connections will run.
            let built = crate::runtime::runtime().map(|runtime| {
                let _inside = runtime.enter();
                build(retries)
            });
            match built {
                Ok(built) => built.map_err(|error| setting(url, &error)),
                Err(error) => Err(no_runtime(url, &error)),
            }
        };
        Ok(Self {
            first: build(FIRST_RETRIES)?,
            patient: build(RETRIES)?,
        })
    }
}

/// A client cannot be made: the environment says too little, or what makes no sense.
fn setting(url: &Url, error: &object_store::Error) -> StoreError {
    let said = told(url, error);
    match said.kind() {
        StoreErrorKind::Refused => {
            let text = error.to_string();
            let shown = match text.contains("key") || text.contains("://") {
                true => "one of them makes no sense".to_owned(),
                false => text,
            };
            let problem = format!(
                "the settings of the environment cannot be used ({shown}): check {} and {}",
                url.kind.credentials(),
                url.kind.endpoint()
            );
            StoreError::new(&url.to_string(), StoreErrorKind::Setting, &problem)
        }
        _ => said,
    }
}

pub(crate) fn no_runtime(url: &Url, error: &std::io::Error) -> StoreError {
    let problem = format!("no thread can be started to ask for it: {error}");
    StoreError::new(&url.to_string(), StoreErrorKind::Refused, &problem)
}
