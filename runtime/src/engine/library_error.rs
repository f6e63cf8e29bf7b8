use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::library_search::FILE_NAME;

/// Why ONNX Runtime's library cannot be used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LibraryError {
    /// It was found nowhere.
    NotFound {
        /// Where it was looked for, and how to get it.
        looked: String,
    },
    /// What was named is no file.
    NotAFile {
        /// Who named it: empty, or `ORT_DYLIB_PATH names `.
        named_by: String,
        /// The path.
        path: PathBuf,
        /// The library in it, where it is a folder that has one.
        inside: Option<PathBuf>,
    },
    /// A path cannot be followed.
    Path {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// Another library was loaded by this process before.
    AnotherLoaded {
        /// The library that was asked for.
        path: PathBuf,
        /// The one that is loaded.
        loaded: PathBuf,
    },
    /// The file is no ONNX Runtime, or cannot be loaded.
    Unusable {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        problem: String,
    },
    /// It is older than this program, or the bundle, needs.
    TooOld {
        /// The library.
        path: PathBuf,
        /// Its version.
        version: String,
        /// The version that is needed.
        needed: String,
        /// Whether it is the bundle that needs it.
        by_bundle: bool,
    },
    /// It does not say which execution providers it has.
    NoProviders {
        /// The library.
        path: PathBuf,
    },
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { looked } => f.write_str(looked),
            Self::NotAFile {
                named_by,
                path,
                inside,
            } => {
                write!(f, "{named_by}{}, which ", path.display())?;
                write_not_a_file(f, path, inside.as_deref())
            }
            Self::Path { path, source } => write!(f, "{}: {source}", path.display()),
            Self::AnotherLoaded { path, loaded } => write!(
                f,
                "{} cannot be loaded: this process uses {} already, and there can be only one",
                path.display(),
                loaded.display()
            ),
            Self::Unusable { path, problem } => {
                write!(
                    f,
                    "{} cannot be used as ONNX Runtime: {problem}",
                    path.display()
                )
            }
            Self::TooOld {
                path,
                version,
                needed,
                by_bundle: true,
            } => write!(
                f,
                "{} is ONNX Runtime {version}, and the bundle needs {needed} or newer",
                path.display()
            ),
            Self::TooOld {
                path,
                version,
                needed,
                by_bundle: false,
            } => write!(
                f,
                "{} cannot be used as ONNX Runtime: it is version {version}, and {needed} or newer is needed",
                path.display()
            ),
            Self::NoProviders { path } => write!(
                f,
                "{} does not say which execution providers it has",
                path.display()
            ),
        }
    }
}

fn write_not_a_file(f: &mut fmt::Formatter<'_>, path: &Path, inside: Option<&Path>) -> fmt::Result {
    if !path.is_dir() {
        let what = match path.exists() {
            true => "is not a file",
            false => "is not a file: there is nothing of that name",
        };
        return write!(
            f,
            "{what}; name ONNX Runtime's library ({FILE_NAME}), which the Python package onnxruntime has in its folder capi"
        );
    }
    match inside {
        Some(library) => write!(
            f,
            "is not a file but a folder; name the library in it, {}",
            library.display()
        ),
        None => write!(
            f,
            "is not a file but a folder, and holds no {FILE_NAME}; name the file of ONNX Runtime's library"
        ),
    }
}

impl std::error::Error for LibraryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Path { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
