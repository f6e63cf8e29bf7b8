//! Where the engines of a stage are kept, and that none is used which is not the stage's.
//!
//! ONNX Runtime names an engine by its graph and by versions, not by the weights that are in it. So every stage has a
//! folder of its own, whose name depends on all that goes into the engine.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use sha2::{Digest, Sha256};
use worldpm_ort_bundle::manifest::WeightFile;

use crate::ep::{ProviderError, StageContext};

/// Beginning of the names of engine files.
pub(super) const PREFIX: &str = "engine";
/// Held by the program that loads or builds the stage. While it does, the file lists what was in the folder before.
const LOCK: &str = "lock";

/// The folder of a stage's engines.
pub(super) struct StageCache {
    folder: PathBuf,
}

impl StageCache {
    /// Makes the stage's folder under `root`, unless it is there. `settings` are what is passed to TensorRT.
    pub(super) fn at(
        root: &Path,
        context: &StageContext<'_>,
        settings: &BTreeMap<String, String>,
    ) -> Result<Self, ProviderError> {
        let name = Path::new(&context.stage.graph)
            .file_stem()
            .map_or("stage".into(), |stem| stem.to_string_lossy());
        let folder = root.join(format!("{name}-{}", key(context, settings)?));
        fs::create_dir_all(&folder).map_err(|error| fault(&folder, "made", &error))?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn folder_name(&self) -> Result<&str, ProviderError> {
        self.folder.to_str().ok_or_else(|| ProviderError::File {
            path: self.folder.clone(),
            problem: "is not UTF-8; name another folder with --ep-option trt_engine_cache_path=DIR"
                .into(),
        })
    }

    /// Waits until no other program loads or builds this stage, and removes what a killed one left half written.
    pub(super) fn lock(self, on_wait: impl FnOnce()) -> Result<Guard, ProviderError> {
        let path = self.folder.join(LOCK);
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = open.map_err(|error| fault(&path, "opened", &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                on_wait();
                file.lock()
                    .map_err(|error| fault(&path, "locked", &error))?;
            }
            Err(TryLockError::Error(error)) => return Err(fault(&path, "locked", &error)),
        }
        let mut noted = String::new();
        file.read_to_string(&mut noted)
            .map_err(|error| fault(&path, "read", &error))?;
        let mut files = self.files()?;
        if !noted.is_empty() {
            let intact: Vec<&str> = noted.lines().collect();
            for (name, state) in &files {
                if !intact.contains(&format!("{state} {name}").as_str()) {
                    let path = self.folder.join(name);
                    fs::remove_file(&path).map_err(|error| fault(&path, "removed", &error))?;
                }
            }
            files = self.files()?;
        }
        // Never empty, so that a build that is killed in an empty folder is noticed too.
        let mut list = String::from("files before:\n");
        for (name, state) in &files {
            list.push_str(&format!("{state} {name}\n"));
        }
        let guard = Guard {
            cache: self,
            file,
            before: files,
        };
        guard.note(&list)?;
        Ok(guard)
    }

    /// Size and time of every file.
    fn files(&self) -> Result<BTreeMap<String, String>, ProviderError> {
        let list = || -> std::io::Result<BTreeMap<String, String>> {
            let mut files = BTreeMap::new();
            for entry in fs::read_dir(&self.folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name != LOCK {
                    let metadata = entry.metadata()?;
                    files.insert(
                        name,
                        format!("{} {}", metadata.len(), nanoseconds(&metadata)?),
                    );
                }
            }
            Ok(files)
        };
        list().map_err(|error| fault(&self.folder, "read", &error))
    }
}

/// What has come of loading a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// An engine was built.
    Built,
    /// One that was there was used.
    Loaded,
    /// There is none.
    NoEngine,
}

/// A stage's folder while the stage is loaded or built.
pub(super) struct Guard {
    cache: StageCache,
    file: File,
    before: BTreeMap<String, String>,
}

impl Guard {
    pub(super) fn has_engine(&self) -> bool {
        self.before.keys().any(|name| is_engine(name))
    }

    /// Removes the engines, and what belongs to them: they cannot be used here.
    pub(super) fn discard(&self) -> Result<(), ProviderError> {
        for name in self.before.keys() {
            let of_engine = [".profile", "_ctx.onnx"];
            if is_engine(name) || of_engine.iter().any(|end| name.ends_with(end)) {
                let path = self.cache.folder.join(name);
                fs::remove_file(&path).map_err(|error| fault(&path, "removed", &error))?;
            }
        }
        Ok(())
    }

    /// The model that refers to the engine in place of a graph.
    pub(super) fn context_model(&self) -> Option<PathBuf> {
        let mut names = self.before.keys();
        names
            .find(|name| name.ends_with("_ctx.onnx"))
            .filter(|_| self.has_engine())
            .map(|name| self.cache.folder.join(name))
    }

    /// The program is alive, so what is in the folder is whole.
    pub(super) fn finish(self) -> Result<Finished, ProviderError> {
        self.note("")?;
        let engines = |mut files: BTreeMap<String, String>| {
            files.retain(|name, _| is_engine(name));
            files
        };
        let now = engines(self.cache.files()?);
        Ok(match now.is_empty() {
            true => Finished::NoEngine,
            false if now == engines(self.before) => Finished::Loaded,
            false => Finished::Built,
        })
    }

    fn note(&self, text: &str) -> Result<(), ProviderError> {
        let write = || -> std::io::Result<()> {
            let mut file = &self.file;
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| fault(&self.cache.folder.join(LOCK), "written", &error))
    }
}

fn is_engine(name: &str) -> bool {
    name.ends_with(".engine")
}

/// A hash of what goes into the stage's engine.
fn key(
    context: &StageContext<'_>,
    settings: &BTreeMap<String, String>,
) -> Result<String, ProviderError> {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(&context.stage.sha256);
    add(context.library_version);
    for (key, value) in settings {
        add(key);
        add(value);
    }
    for file in &context.manifest.weights.files {
        add(&identity(file, context.bundle)?);
    }
    let digest = hash.finalize();
    Ok(digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// What identifies the content of a weight file: its hash if the export recorded it. The hash of its header does not, since
/// two fine-tunes of one model have the same header; then it is the file itself, by its place, size and time.
fn identity(file: &WeightFile, bundle: &Path) -> Result<String, ProviderError> {
    if let Some(sha256) = &file.sha256 {
        return Ok(format!("{} {sha256}", file.name));
    }
    let path = bundle.join(&file.name);
    let look = || -> std::io::Result<String> {
        let metadata = fs::metadata(&path)?;
        Ok(format!(
            "{} {} {} {}",
            path.canonicalize()?.display(),
            file.header_sha256,
            metadata.len(),
            nanoseconds(&metadata)?
        ))
    };
    look().map_err(|error| fault(&path, "read", &error))
}

fn nanoseconds(metadata: &fs::Metadata) -> std::io::Result<u128> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH);
    Ok(since.map_or(0, |time| time.as_nanos()))
}

fn fault(path: &Path, what: &str, error: &std::io::Error) -> ProviderError {
    ProviderError::File {
        path: path.to_owned(),
        problem: format!(
            "cannot be {what}: {error}; engines can be kept elsewhere with --ep-option trt_engine_cache_path=DIR"
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::{
        batch::Budget,
        ep::{
            TensorRtOptions,
            tensorrt::{BAD_ENGINE, profile},
            tests::Model,
        },
    };

    fn at(root: &Path, context: &StageContext<'_>) -> Result<StageCache, ProviderError> {
        with(root, context, &[])
    }

    /// With these options.
    fn with(
        root: &Path,
        context: &StageContext<'_>,
        options: &[(&str, &str)],
    ) -> Result<StageCache, ProviderError> {
        let mut settings = TensorRtOptions::new(0);
        settings.cache = Some(root.to_owned());
        for (key, value) in options {
            settings.set(key, value).unwrap();
        }
        settings.stage_cache(context)
    }

    fn lock(root: &Path, context: &StageContext<'_>) -> Guard {
        let cache = at(root, context).unwrap();
        cache.lock(|| panic!("nobody else is there")).unwrap()
    }

    /// What a build leaves when its engine is written.
    fn write(guard: &Guard, name: &str, text: &str) {
        fs::write(guard.cache.folder.join(name), text).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != LOCK)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_folder_depends_on_all_that_goes_into_an_engine() {
        let model = Model::new();
        let root = tempfile::tempdir().unwrap();
        let folder = |context: &StageContext<'_>| at(root.path(), context).unwrap().folder;
        let mut bundle = model.for_tensorrt("bundle", false);
        let first = folder(&bundle.context());
        assert_eq!(folder(&bundle.context()), first, "repeatable");
        assert!(first.is_dir());
        let name = first.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.starts_with("stage-00-"), "{name}");

        let longer = StageContext {
            max_length: 2048,
            ..bundle.context()
        };
        assert_ne!(folder(&longer), first, "another length limit");
        let wider = StageContext {
            budget: Budget::default().with_max_tokens(8192),
            ..bundle.context()
        };
        assert_ne!(folder(&wider), first, "another budget");
        let newer = StageContext {
            library_version: "1.99.0",
            ..bundle.context()
        };
        assert_ne!(folder(&newer), first, "another ONNX Runtime");
        let other_kernels = StageContext {
            budget: Budget::default().with_max_tokens(256),
            ..bundle.context()
        };
        let most = |context: &StageContext<'_>| {
            let shapes = profile::of(&context.stage.inputs, context.budget, context.max_length);
            shapes.unwrap().most
        };
        let longest = StageContext {
            max_length: 4096,
            ..bundle.context()
        };
        let usual = StageContext {
            max_length: 4096,
            ..other_kernels
        };
        assert_eq!(most(&longest), most(&usual));
        assert_ne!(folder(&longest), folder(&usual), "other usual shapes");
        for option in [
            ("trt_builder_optimization_level", "5"),
            ("trt_max_workspace_size", "1000"),
            ("trt_sparsity_enable", "1"),
            ("trt_dump_ep_context_model", "1"),
        ] {
            let other = with(root.path(), &bundle.context(), &[option]).unwrap();
            assert_ne!(other.folder, first, "{option:?}");
        }
        bundle.manifest.stages[0].sha256.replace_range(..1, "x");
        assert_ne!(folder(&bundle.context()), first, "another graph");
    }

    #[test]
    fn other_weights_with_the_same_header_have_another_folder() {
        let model = Model::new();
        let root = tempfile::tempdir().unwrap();
        let folder = |context: &StageContext<'_>| at(root.path(), context).unwrap().folder;
        let bundle = model.for_tensorrt("bundle", false);
        let first = folder(&bundle.context());
        // The last byte of the file is a weight: size and header stay as they are.
        let path = bundle.path.join(&bundle.manifest.weights.files[0].name);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_ne!(folder(&bundle.context()), first);

        // A recorded hash is all that counts, wherever the files are.
        let here = model.for_tensorrt("here", true);
        let there = model.for_tensorrt("there", true);
        assert_eq!(folder(&here.context()), folder(&there.context()));
        let mut other = model.for_tensorrt("other", true);
        other.manifest.weights.files[0].sha256 = Some("0".repeat(64));
        assert_ne!(folder(&here.context()), folder(&other.context()));
    }

    #[test]
    fn an_engine_is_kept_and_what_a_killed_build_left_is_removed() {
        let model = Model::new();
        let bundle = model.for_tensorrt("bundle", false);
        let root = tempfile::tempdir().unwrap();
        let lock = || lock(root.path(), &bundle.context());

        // Killed while it wrote into an empty folder.
        let guard = lock();
        let folder = guard.cache.folder.clone();
        write(&guard, "engine_a_sm90.engine", "half");
        drop(guard);
        let guard = lock();
        assert_eq!(names(&folder), [""; 0]);
        assert!(!guard.has_engine());

        // Built to its end.
        write(&guard, "engine_a_sm90.engine", "whole");
        write(&guard, "stage-00_ctx.onnx", "refers to it");
        assert_eq!(guard.finish().unwrap(), Finished::Built);
        let guard = lock();
        assert!(guard.has_engine());
        let model = guard.context_model().unwrap();
        assert_eq!(model, folder.join("stage-00_ctx.onnx"));
        assert_eq!(guard.finish().unwrap(), Finished::Loaded);

        // Killed while it wrote an engine for another GPU: the first is whole.
        let guard = lock();
        write(&guard, "engine_a_sm120.engine", "half");
        drop(guard);
        let guard = lock();
        assert_eq!(
            names(&folder),
            ["engine_a_sm90.engine", "stage-00_ctx.onnx"]
        );

        // Killed while it wrote the same engine anew.
        write(&guard, "engine_a_sm90.engine", "half of another");
        drop(guard);
        drop(lock());
        assert_eq!(names(&folder), ["stage-00_ctx.onnx"]);
        assert!(lock().context_model().is_none(), "it refers to nothing");
    }

    #[test]
    fn one_program_builds_and_another_waits() {
        let model = Model::new();
        let bundle = model.for_tensorrt("bundle", false);
        let root = tempfile::tempdir().unwrap();
        let cache = || at(root.path(), &bundle.context()).unwrap();
        let first = cache().lock(|| {}).unwrap();
        let (waits, waiting) = mpsc::channel();
        let second = cache();
        let second = thread::spawn(move || {
            let guard = second.lock(move || waits.send(()).unwrap()).unwrap();
            guard.has_engine()
        });
        waiting.recv().unwrap();
        write(&first, "engine_a_sm90.engine", "whole");
        first.finish().unwrap();
        assert!(second.join().unwrap(), "the second uses the first's engine");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let model = Model::new();
        let bundle = model.for_tensorrt("bundle", false);
        let error = at(bundle.context().graph, &bundle.context());
        let error = error.err().unwrap().to_string();
        for says in ["stage-00", "trt_engine_cache_path=DIR"] {
            assert!(error.contains(says), "{error}");
        }
    }
    #[test]
    fn an_engine_that_cannot_be_used_is_built_anew() {
        use crate::ep::tensorrt::load;

        let model = Model::new();
        let bundle = model.for_tensorrt("bundle", false);
        let root = tempfile::tempdir().unwrap();
        let lock = || lock(root.path(), &bundle.context());
        let guard = lock();
        for name in [
            "engine_a_sm90.engine",
            "engine_a.profile",
            "a_ctx.onnx",
            "a.timing",
        ] {
            write(&guard, name, "of another TensorRT");
        }
        guard.finish().unwrap();

        let (context_model, graph) = (Path::new("a_ctx.onnx"), Path::new("a.onnx"));
        // What is wrong with something else is left alone.
        let guard = lock();
        let refused = |_: &Path| -> Result<(), String> { Err("out of memory".into()) };
        let failed = load(&guard, None, graph, refused, |_| {
            panic!("nothing is rebuilt")
        });
        assert_eq!(failed, Err(ProviderError::Runtime("out of memory".into())));
        assert_eq!(guard.finish().unwrap(), Finished::Loaded);

        for problem in BAD_ENGINE {
            let guard = lock();
            let folder = guard.cache.folder.clone();
            let (mut tried, mut reported) = (Vec::new(), 0);
            let commit = |path: &Path| {
                tried.push(path.to_owned());
                if tried.len() == 1 {
                    return Err(format!("TensorRT EP {problem}: engine_a_sm90.engine"));
                }
                assert_eq!(names(&folder), ["a.timing"]);
                write(&guard, "engine_a_sm90.engine", "new");
                Ok("loaded")
            };
            let loaded = load(&guard, Some(context_model), graph, commit, |_| {
                reported += 1
            });
            assert_eq!(loaded, Ok("loaded"));
            assert_eq!(reported, 1);
            assert_eq!(tried, [context_model, graph]);
            assert_eq!(guard.finish().unwrap(), Finished::Built);
        }
    }

    #[test]
    fn a_stage_without_an_engine_is_told() {
        let model = Model::new();
        let bundle = model.for_tensorrt("bundle", false);
        let root = tempfile::tempdir().unwrap();
        let guard = lock(root.path(), &bundle.context());
        write(&guard, "a.timing", "times");
        assert_eq!(guard.finish().unwrap(), Finished::NoEngine);
    }
}
