//! The manifest's file.

use std::path::Path;

use super::{FILE_NAME, FORMAT, FORMAT_VERSION, Manifest, validate};
use crate::{
    error::{Error, Result},
    files, json,
    probes::Probe,
};

impl Manifest {
    /// Reads the manifest of the bundle in `dir`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Manifest`] when it is not a manifest, of another version, or when a
    /// field has a value that makes no sense, by itself or beside the others.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let text = files::read_limited(&path, files::MAX_CONFIG_BYTES)
            .map_err(|source| Error::io("read", &path, source))?;
        let fault = |field: &str, problem: String| Error::Manifest {
            path: path.clone(),
            field: Some(field.to_owned()).filter(|field| !field.is_empty()),
            problem,
        };
        // The version comes first: a later format may differ in everything else.
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| fault("", format!("is not JSON: {error}")))?;
        if value.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
            return Err(fault(
                "format",
                format!("is not \"{FORMAT}\"; this is no bundle of ours"),
            ));
        }
        match value
            .get("format_version")
            .and_then(serde_json::Value::as_u64)
        {
            Some(version) if version == u64::from(FORMAT_VERSION) => {}
            found => {
                let found = found.map_or_else(|| "missing".to_owned(), |v| v.to_string());
                return Err(fault(
                    "format_version",
                    format!(
                        "is {found}, and this program reads version {FORMAT_VERSION}; \
                         export the checkpoint again"
                    ),
                ));
            }
        }
        let probe_fault =
            |at: usize, (place, problem)| fault(&format!("probes[{at}]{place}"), problem);
        // Ahead of the rest, for errors that say where in the list they are.
        let listed = value.get("probes").and_then(serde_json::Value::as_array);
        for (at, probe) in listed.into_iter().flatten().enumerate() {
            Probe::from_value(probe).map_err(|found| probe_fault(at, found))?;
        }
        let manifest: Self = serde_path_to_error::deserialize(&value).map_err(|error| {
            let field = error.path().to_string();
            let field = if field == "." { "" } else { &field };
            // The message may repeat what stands there.
            let problem: String = (error.inner().to_string().chars())
                .flat_map(|c| match c.is_control() {
                    true => c.escape_default().collect::<Vec<_>>(),
                    false => vec![c],
                })
                .collect();
            fault(field, format!("{problem}; export the checkpoint again"))
        })?;
        validate::validate(&manifest).map_err(|(field, problem)| fault(&field, problem))?;
        Ok(manifest)
    }

    /// The text of the file: the same bytes for the same manifest.
    ///
    /// # Errors
    /// [`Error::Manifest`] if a value cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let value = serde_json::to_value(self).map_err(|error| Error::Manifest {
            path: FILE_NAME.into(),
            field: None,
            problem: error.to_string(),
        })?;
        Ok(json::pretty(&value).into_bytes())
    }
}
