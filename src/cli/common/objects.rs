//! Objects of stores that results go to.

use std::path::Path;

use anyhow::Result;

/// The URL that a path stands for, where it is one of an object.
#[cfg(feature = "object-store")]
pub(crate) fn url(path: &Path) -> Option<&str> {
    path.to_str().filter(|_| worldpm_ort_stores::is_url(path))
}

/// Finds out whether an object can be written.
#[cfg(feature = "object-store")]
pub(crate) fn check_upload(url: &str) -> Result<()> {
    use anyhow::Context;

    worldpm_ort_stores::check_upload(url).context("cannot write the output")
}

/// Makes an object of a file.
#[cfg(feature = "object-store")]
pub(crate) fn upload(path: &Path, url: &str) -> Result<()> {
    Ok(worldpm_ort_stores::upload(
        &mut std::fs::File::open(path)?,
        url,
    )?)
}

#[cfg(not(feature = "object-store"))]
pub(crate) fn url(path: &Path) -> Option<&str> {
    let schemes = ["s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://"];
    path.to_str()
        .filter(|text| schemes.iter().any(|scheme| text.starts_with(scheme)))
}

#[cfg(not(feature = "object-store"))]
pub(crate) fn check_upload(url: &str) -> Result<()> {
    anyhow::bail!("cannot write {url}: this program was built without the feature `object-store`")
}

#[cfg(not(feature = "object-store"))]
pub(crate) fn upload(_: &Path, url: &str) -> Result<()> {
    check_upload(url)
}
