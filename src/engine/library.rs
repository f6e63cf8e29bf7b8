//! Finds ONNX Runtime's library and loads it, once per process.

use std::{
    env,
    ffi::CStr,
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use libloading::Library;
use ort::environment::{Environment, GlobalThreadPoolOptions};

use super::EngineError;
use crate::dl;

/// File name of the library.
const FILE_NAME: &str = if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else if cfg!(windows) {
    "onnxruntime.dll"
} else {
    "libonnxruntime.so"
};

/// Oldest version that has the operators and session options in use.
const MIN_VERSION: &str = "1.23";

/// Folder that `make library` fills.
const PROJECT_FOLDER: &str = ".onnxruntime";

/// Where Linux packages and NVIDIA's containers keep the library.
const SYSTEM_FOLDERS: [&str; 5] = [
    "/opt/tritonserver/backends/onnxruntime",
    "/opt/onnxruntime/lib",
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib",
];

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
    /// `explicit` names the file; without it the first of [`library_candidates`] that exists is taken.
    /// `threads` is how many threads compute on the CPU for all sessions together; default: as many as the process may
    /// use. Whoever loads the library first decides.
    /// The library's usage events to its vendor are switched off before it is loaded.
    ///
    /// # Errors
    /// [`EngineError::Library`] when no file is found (with the places looked at and the command that
    /// fetches it), when the file is no ONNX Runtime or too old, or when another file was loaded before.
    pub fn load(
        explicit: Option<&Path>,
        threads: Option<NonZeroUsize>,
    ) -> Result<Self, EngineError> {
        let explicit = explicit.map(absolute).transpose()?;
        let explicit = explicit.as_deref();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return match explicit {
                Some(path) if path != runtime.path => Err(EngineError::Library(format!(
                    "{} cannot be loaded: this process uses {} already, and there can be only one",
                    path.display(),
                    runtime.path.display()
                ))),
                _ => Ok(runtime.clone()),
            };
        }
        let path = absolute(&find(explicit)?)?;
        disable_telemetry();
        let fault = |problem: String| {
            EngineError::Library(format!(
                "{} cannot be used as ONNX Runtime: {problem}",
                path.display()
            ))
        };
        let version = version_of(&path).map_err(&fault)?;
        if !at_least(&version, MIN_VERSION) {
            return Err(fault(format!(
                "it is version {version}, and {MIN_VERSION} or newer is needed"
            )));
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
        Err(EngineError::Library(format!(
            "{} is ONNX Runtime {}, and the bundle needs {needed} or newer",
            self.path.display(),
            self.version
        )))
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// The files that are tried, in order: `ORT_DYLIB_PATH`, beside the executable, the project's set-up
/// folder, then where systems and containers keep the library.
#[must_use]
pub fn library_candidates() -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        candidates.push(PathBuf::from(path));
        // Whoever sets the variable means that file and no other.
        return candidates;
    }
    if let Ok(executable) = env::current_exe() {
        let folder = executable.parent().unwrap_or(Path::new("/"));
        candidates.push(folder.join(FILE_NAME));
        // `target/release/` and `target/debug/deps/` are two and three levels below the project.
        for ancestor in folder.ancestors().skip(1).take(3) {
            candidates.push(ancestor.join(PROJECT_FOLDER).join(FILE_NAME));
        }
    }
    candidates.extend(
        SYSTEM_FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(FILE_NAME)),
    );
    candidates
}

/// A name without a folder, or a path from the current one, would be looked for elsewhere too when it is loaded.
fn absolute(path: &Path) -> Result<PathBuf, EngineError> {
    std::path::absolute(path)
        .map_err(|error| EngineError::Library(format!("{}: {error}", path.display())))
}

fn find(explicit: Option<&Path>) -> Result<PathBuf, EngineError> {
    if let Some(path) = explicit {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(EngineError::Library(format!(
                "{} is not a file; name ONNX Runtime's library ({FILE_NAME})",
                path.display()
            )))
        };
    }
    let candidates = library_candidates();
    if let Some(path) = candidates.iter().find(|path| path.is_file()) {
        return Ok(path.clone());
    }
    let places: Vec<String> = candidates
        .iter()
        .map(|path| format!("  {}", path.display()))
        .collect();
    Err(EngineError::Library(format!(
        "no ONNX Runtime library found. Looked for:\n{}\n\
         Run `make library` in the project to fetch it, or name the file with --ort-lib or \
         ORT_DYLIB_PATH",
        places.join("\n")
    )))
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
