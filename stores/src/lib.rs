//! Files of object stores: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.
//!
//! An object has a URL: `s3://BUCKET/KEY`, `gs://BUCKET/KEY`, `az://CONTAINER/KEY`, or
//! `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/KEY`. [`find`] looks for what one stands for, an [`Object`] is read from any
//! byte on, and [`upload`] makes one of a file. Who asks, and whom, the environment says: `AWS_*`, `GOOGLE_*`, `AZURE_*`, as
//! the crate [`object_store`] reads them.
//!
//! Nothing here is asynchronous to be seen, and nothing may be called where something asynchronous runs.

mod error;
mod find;
mod object;
mod ranges;
mod runtime;
mod store;
mod told;
mod upload;
mod url;

pub use error::{StoreError, StoreErrorKind};
pub use find::{Found, find};
pub use object::{Object, ObjectReader};
pub use ranges::Ranges;
pub use upload::{check_upload, upload};
pub use url::is_url;
