//! The files of an adapter, before they are held against a checkpoint.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use worldpm_ort_bundle::{
    checkpoint_files::{ADAPTER_CONFIG, ADAPTER_WEIGHTS},
    fingerprint::FileIdentity,
    safetensors::{Header, HeaderTensor, header},
};

use super::{
    config::AdapterConfig,
    names::{self, Role},
};
use crate::{
    checkpoint::tensors::identity,
    error::{Error, Result},
};

/// The weights as older versions saved them.
const PICKLED_FILE: &str = "adapter_model.bin";

/// The two files of an adapter.
pub(super) struct Files {
    pub(super) config: AdapterConfig,
    pub(super) config_sha256: String,
    pub(super) path: PathBuf,
    pub(super) identity: FileIdentity,
    pub(super) header: Header,
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// As for [`Adapter::open`](super::Adapter::open), but for what depends on the checkpoint.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        std::fs::read_dir(dir)
            .map_err(|source| Error::io("open the adapter directory", dir, source))?;
        let (config, config_sha256) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG))?;
        let path = dir.join(ADAPTER_WEIGHTS);
        if !path.exists() && dir.join(PICKLED_FILE).exists() {
            return Err(Error::Unsupported {
                what: format!(
                    "{}: `{PICKLED_FILE}`, weights as Python pickles,",
                    dir.display()
                ),
                hint: "save the adapter again as safetensors, with `safe_serialization=True`"
                    .to_owned(),
            });
        }
        let identity = identity(&path)?;
        let header = header::read(&path, &path)?;
        Ok(Self {
            config,
            config_sha256,
            path,
            identity,
            header,
        })
    }
}

/// The tensors that the adapter in `dir` holds whole and whose names in the model begin with `prefix`, by those names.
///
/// # Errors
/// As for [`Adapter::open`](super::Adapter::open), but for what depends on the checkpoint.
pub(crate) fn head(dir: &Path, prefix: &str) -> Result<BTreeMap<String, HeaderTensor>> {
    let tensors = Files::read(dir)?.header.tensors.into_iter();
    let whole = tensors.filter_map(|tensor| match names::parse(&tensor.name) {
        Ok((name, Role::Whole(_))) if name.starts_with(prefix) => Some((name, tensor)),
        _ => None,
    });
    Ok(whole.collect())
}
