//! Text files that are JSON.

use serde_json::{Map, Value};
use worldpm_ort_bundle::text_files::TextFiles;

use super::error::TextError;

/// A JSON object that may be there.
pub(super) fn object(
    files: &TextFiles,
    name: &str,
) -> Result<Option<Map<String, Value>>, TextError> {
    let Some(bytes) = files.get(name) else {
        return Ok(None);
    };
    let parsed = serde_json::from_slice(bytes).map_err(|source| TextError::Json {
        path: files.dir().join(name),
        source,
    })?;
    Ok(Some(parsed))
}
