//! Finds ONNX Runtime's library and loads it, once per process.

use std::{
    env,
    ffi::CStr,
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use libloading::Library;
use ort::environment::{Environment, GlobalThreadPoolOptions};

use super::{
    EngineError, LibraryError,
    library_search::{FILE_NAME, Place, Search, VARIABLE, library_in},
};
use crate::host::dl;

/// Oldest version that has the operators and session options in use.
const MIN_VERSION: &str = "1.23";

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct OnnxRuntime {
    environment: Environment,
    path: PathBuf,
    version: String,
    threads: NonZeroUsize,
}

impl fmt::Debug for OnnxRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxRuntime")
            .field("path", &self.path)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The library stays loaded until the process ends; there can be only one.
static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

impl OnnxRuntime {
    /// Loads the library, or returns the one that is loaded already.
    ///
    /// `explicit` names the file; without it the first of [`library_candidates`] is taken.
    /// `threads` is how many threads compute on the CPU for all sessions together; default: as many as the process may
    /// use. Whoever loads the library first decides.
    /// The library's usage events to its vendor are switched off before it is loaded.
    ///
    /// # Errors
    /// [`EngineError::Library`] when no file is found (with the places looked at and how to get one), when the file is no ONNX Runtime or too old, or when another file was loaded before.
    pub fn load(
        explicit: Option<&Path>,
        threads: Option<NonZeroUsize>,
    ) -> Result<Self, EngineError> {
        let explicit = explicit.map(absolute).transpose()?;
        let explicit = explicit.as_deref();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return match explicit {
                Some(path) if path != runtime.path => Err(LibraryError::AnotherLoaded {
                    path: path.to_owned(),
                    loaded: runtime.path.clone(),
                }
                .into()),
                _ => Ok(runtime.clone()),
            };
        }
        let path = absolute(&find(explicit)?)?;
        disable_telemetry();
        let fault = |problem: String| LibraryError::Unusable {
            path: path.clone(),
            problem,
        };
        let version = version_of(&path).map_err(&fault)?;
        if !at_least(&version, MIN_VERSION) {
            return Err(LibraryError::TooOld {
                path,
                version,
                needed: MIN_VERSION.to_owned(),
                by_bundle: false,
            }
            .into());
        }
        let threads = threads
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN);
        let environment = ort::init_from(&path)
            .map_err(|error| fault(error.to_string()))?
            .with_name("worldpm-ort")
            .with_telemetry(false);
        let build = || {
            let pool = GlobalThreadPoolOptions::default()
                .with_intra_threads(threads.get())?
                .with_inter_threads(1)?;
            environment.with_global_thread_pool(pool).build()
        };
        let environment = build().map_err(|error: ort::Error| fault(error.to_string()))?;
        let runtime = Self {
            environment,
            path,
            version,
            threads,
        };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The file that was loaded.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The threads that sessions on the CPU share.
    #[must_use]
    pub fn threads(&self) -> NonZeroUsize {
        self.threads
    }

    /// The library's version, for example `1.32.0`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Checks that the library is at least version `needed` (`major.minor`).
    ///
    /// # Errors
    /// [`EngineError::Library`] names both versions.
    pub fn require(&self, needed: &str) -> Result<(), EngineError> {
        if at_least(&self.version, needed) {
            return Ok(());
        }
        Err(LibraryError::TooOld {
            path: self.path.clone(),
            version: self.version.clone(),
            needed: needed.to_owned(),
            by_bundle: true,
        }
        .into())
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// The libraries that are found, the one that is taken first: the file that `ORT_DYLIB_PATH` names, and no other; or
/// else those beside the executable, of the project that a program in its `target` folder belongs to, of the active
/// Python environment, of the folders in `LD_LIBRARY_PATH`, and of the system. Files that other users can change are
/// left out, unless they are named.
#[must_use]
pub fn library_candidates() -> Vec<PathBuf> {
    let search = Search::here();
    if let Some(path) = search.named() {
        return vec![path];
    }
    let places = search.places();
    let libraries = places.iter().filter_map(Place::library);
    libraries.map(Path::to_owned).collect()
}

/// A name without a folder, or a path from the current one, would be looked for elsewhere too when it is loaded.
fn absolute(path: &Path) -> Result<PathBuf, LibraryError> {
    std::path::absolute(path).map_err(|source| LibraryError::Path {
        path: path.to_owned(),
        source: Arc::new(source),
    })
}

fn find(explicit: Option<&Path>) -> Result<PathBuf, LibraryError> {
    if let Some(path) = explicit {
        return named(path, "");
    }
    let search = Search::here();
    if let Some(path) = search.named() {
        return named(&path, &format!("{VARIABLE} names "));
    }
    let places = search.places();
    let Some(found) = places.iter().position(|place| place.library().is_some()) else {
        return Err(LibraryError::NotFound {
            looked: search.nothing_found(&places),
        });
    };
    for place in places.iter().take(found) {
        if let Some(refusal) = place.refusal() {
            tracing::warn!("{refusal}");
        }
    }
    let library = places.get(found).and_then(Place::library);
    Ok(library.unwrap_or(Path::new(FILE_NAME)).to_owned())
}

/// The file that the user named, whoever can write to it; `how` goes before it in an error.
fn named(path: &Path, how: &str) -> Result<PathBuf, LibraryError> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    Err(LibraryError::NotAFile {
        named_by: how.to_owned(),
        path: path.to_owned(),
        inside: library_in(path),
    })
}

/// Whether `version` is `needed` or newer, by major and minor number.
fn at_least(version: &str, needed: &str) -> bool {
    let numbers = |text: &str| {
        let mut parts = text.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    match (numbers(version), numbers(needed)) {
        (Some(version), Some(needed)) => version >= needed,
        _ => false,
    }
}

/// What the library calls its version.
#[allow(unsafe_code)]
fn version_of(path: &Path) -> Result<String, String> {
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: loading runs the library's initialisers, as loading it for use does a moment later.
    let library = unsafe { Library::new(path) }.map_err(|error| dl::problem(&error))?;
    // SAFETY: the symbol has this type in every version of ONNX Runtime.
    let base = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase") }
        .map_err(|_| "it has no entry point OrtGetApiBase".to_owned())?;
    // SAFETY: the function takes nothing and returns a table with static lifetime; the version is a
    // static string. Both are read while the library is loaded.
    let version = unsafe {
        let base = base().as_ref().ok_or("its entry point returns nothing")?;
        CStr::from_ptr((base.GetVersionString)())
            .to_string_lossy()
            .into_owned()
    };
    // It is about to be used: unloading it in between would run its initialisers twice.
    std::mem::forget(library);
    Ok(version)
}

/// The vendor's builds send usage events unless this is set before the library is loaded.
#[allow(unsafe_code)]
fn disable_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if env::var_os(VARIABLE).is_none() {
        // SAFETY: changing the environment is unsound only while foreign code on another thread reads
        // it. This runs once per process, under a lock, before ONNX Runtime or any thread of ours exists.
        // Programs with such threads of their own set the variable themselves, and nothing is changed.
        unsafe { env::set_var(VARIABLE, "1") };
    }
}

#[cfg(test)]
mod tests {
    use super::at_least;

    #[test]
    fn versions() {
        for (version, needed, expected) in [
            ("1.32.0", "1.23", true),
            ("1.23.2", "1.23", true),
            ("2.0.0", "1.23", true),
            ("1.9.0", "1.23", false),
            ("1.22.1", "1.23", false),
            ("", "1.23", false),
            ("one.two", "1.23", false),
        ] {
            assert_eq!(
                at_least(version, needed),
                expected,
                "{version} for {needed}"
            );
        }
    }
}
