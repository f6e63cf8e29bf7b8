//! Where an input is: a file here, or an object of a store.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(feature = "object-store")]
use worldpm_ort_stores::Object;

/// Where an input is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A file, or `-` for standard input.
    Path(PathBuf),
    #[cfg(feature = "object-store")]
    Object(Object),
}

impl Place {
    /// Its name, for messages.
    pub(crate) fn name(&self) -> Arc<str> {
        match self {
            Self::Path(path) if path == Path::new("-") => "standard input".into(),
            Self::Path(path) => path.display().to_string().into(),
            #[cfg(feature = "object-store")]
            Self::Object(object) => object.url().into(),
        }
    }

    /// Its path, or its URL as one.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Path(path) => path,
            #[cfg(feature = "object-store")]
            Self::Object(object) => Path::new(object.url()),
        }
    }

    /// Its size; `None` where that is not known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self {
            Self::Path(path) => {
                let found = fs::metadata(path).ok();
                let found = found.filter(|_| path != Path::new("-"));
                found.filter(fs::Metadata::is_file).map(|found| found.len())
            }
            #[cfg(feature = "object-store")]
            Self::Object(object) => Some(object.bytes()),
        }
    }

    /// Whether it can be opened again, and reading never waits for someone to write.
    pub(crate) fn is_regular(&self) -> bool {
        self.bytes().is_some()
    }
}
