//! Where ONNX Runtime's library is looked for when nobody names it.

use std::{
    cmp::Reverse,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::trust::{Owners, resolve};

/// File name of the library.
pub(super) const FILE_NAME: &str = if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};
/// Names the library; then nothing else is tried.
pub(super) const VARIABLE: &str = "ORT_DYLIB_PATH";
/// A folder beside the executable, and the one that `make library` fills.
const OWN_FOLDER: &str = ".onnxruntime";
/// Where Python packages keep it in their folder.
const IN_PACKAGES: &str = "onnxruntime/capi";

/// Where Linux packages and NVIDIA's containers keep the library.
const SYSTEM_FOLDERS: [&str; 9] = [
    "/opt/tritonserver/backends/onnxruntime",
    "/opt/onnxruntime/lib",
    "/usr/local/onnxruntime/lib",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];
/// Where the system's Python keeps its packages.
const SYSTEM_PYTHON: [&str; 2] = ["/usr/local/lib", "/usr/lib"];

/// A folder that was looked into.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    /// Why there.
    reason: &'static str,
    found: Found,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Library(PathBuf),
    /// The library is there, and not to be trusted.
    Refused(String),
}

impl Place {
    /// The library, when it is there and nobody else can change it.
    pub(super) fn library(&self) -> Option<&Path> {
        match &self.found {
            Found::Library(path) => Some(path),
            _ => None,
        }
    }

    /// Why the library that is there is not taken.
    pub(super) fn refusal(&self) -> Option<String> {
        match &self.found {
            Found::Refused(problem) => Some(format!(
                "the ONNX Runtime in {} is not used: {problem}",
                self.folder.display()
            )),
            _ => None,
        }
    }
}

/// What the search depends on.
pub(super) struct Search<'a> {
    executable: Option<PathBuf>,
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    owners: Owners,
}

impl<'a> Search<'a> {
    /// Of this process.
    pub(super) fn here() -> Self {
        let executable = env::current_exe().ok();
        Self {
            owners: Owners::of(executable.as_deref()),
            executable,
            variable: &|name| env::var_os(name),
        }
    }

    /// The file that the variable names.
    pub(super) fn named(&self) -> Option<PathBuf> {
        self.value(VARIABLE).map(PathBuf::from)
    }

    fn value(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The folders in the order in which they count, with what is in them.
    pub(super) fn places(&self) -> Vec<Place> {
        let folders = self.folders().into_iter();
        folders
            .map(|(folder, reason)| Place {
                found: self.look_into(&folder),
                folder,
                reason,
            })
            .collect()
    }

    fn folders(&self) -> Vec<(PathBuf, &'static str)> {
        let mut folders = Vec::new();
        if let Some(beside) = self.executable.as_deref().and_then(Path::parent) {
            folders.push((beside.to_owned(), "beside the program"));
            folders.push((beside.join(OWN_FOLDER), "beside the program"));
        }
        if let Some(project) = self.project() {
            folders.push((project.join(OWN_FOLDER), "the project's"));
        }
        for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            if let Some(environment) = self.value(name).map(PathBuf::from) {
                let lib = environment.join("lib");
                let packages = packages(&lib);
                folders.extend(packages.into_iter().map(|folder| (folder, name)));
                folders.push((lib, name));
            }
        }
        let path = self.value("LD_LIBRARY_PATH").unwrap_or_default();
        // The others depend on where the program is started.
        let absolute = env::split_paths(&path).filter(|folder| folder.is_absolute());
        folders.extend(absolute.map(|folder| (folder, "LD_LIBRARY_PATH")));
        let system = SYSTEM_FOLDERS.iter().map(PathBuf::from);
        let python = SYSTEM_PYTHON
            .iter()
            .flat_map(|lib| packages(Path::new(lib)));
        folders.extend(system.chain(python).map(|folder| (folder, "the system's")));
        folders
    }

    /// The folder of this project, for a program that was built in it and lies in its `target` folder.
    pub(super) fn project(&self) -> Option<PathBuf> {
        let above = self.executable.as_deref()?.ancestors();
        let target = above.filter(|folder| folder.file_name().is_some_and(|n| n == "target"));
        let mut projects = target.filter_map(Path::parent);
        projects
            .find(|folder| is_project(folder))
            .map(Path::to_owned)
    }

    fn look_into(&self, folder: &Path) -> Found {
        let Some(path) = library_in(folder) else {
            return Found::Nothing;
        };
        let absolute = match std::path::absolute(&path) {
            Ok(path) => path,
            Err(error) => return Found::Refused(error.to_string()),
        };
        match resolve(&absolute, &self.owners) {
            Ok(_) => Found::Library(absolute),
            Err(problem) => Found::Refused(problem),
        }
    }

    /// What to say when no place has the library.
    pub(super) fn nothing_found(&self, places: &[Place]) -> String {
        let mut lines = vec!["no ONNX Runtime library found. Looked for it in:".to_owned()];
        lines.extend(places.iter().map(|place| {
            let refused = match &place.found {
                Found::Refused(problem) => {
                    format!(": it is there and is not used, since {problem}")
                }
                _ => String::new(),
            };
            format!("  {} ({}){refused}", place.folder.display(), place.reason)
        }));
        if places.iter().any(|place| place.refusal().is_some()) {
            lines.push(format!(
                "A library is code: one is used without being named only from where nobody else can write. Name it with \
                 --ort-lib or {VARIABLE} to use it all the same."
            ));
        }
        if self.project().is_some() {
            lines.push("Run `make library` in the project to fetch it.".to_owned());
        }
        let beside = self.executable.as_deref().and_then(Path::parent);
        let beside = beside.unwrap_or(Path::new(".")).display();
        lines.push(format!(
            "To get it, run `pip install onnxruntime` (for GPUs onnxruntime-gpu) in an active Python environment; or put it \
             beside the program:\n  \
             pip download --no-deps onnxruntime && unzip -j onnxruntime-*.whl 'onnxruntime/capi/libonnxruntime*' -d {beside}\n\
             Or name the file of a library that is elsewhere with --ort-lib or {VARIABLE}"
        ));
        lines.join("\n")
    }
}

/// Whether a folder is that of this project.
fn is_project(folder: &Path) -> bool {
    let name = "name = \"worldpm-ort\"";
    fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == name))
}

/// The folders of the Python package below `lib`, that of the newest Python first.
fn packages(lib: &Path) -> Vec<PathBuf> {
    let mut pythons: Vec<(Vec<u64>, PathBuf)> = fs::read_dir(lib)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            Some((numbers(name.strip_prefix("python")?)?, path))
        })
        .collect();
    pythons.sort_by_key(|(version, _)| Reverse(version.clone()));
    pythons
        .iter()
        .flat_map(|(_, python)| ["site-packages", "dist-packages"].map(|name| python.join(name)))
        .map(|packages| packages.join(IN_PACKAGES))
        .filter(|folder| folder.is_dir())
        .collect()
}

/// The library in a folder: by its short name, or else the newest with a version in its name.
pub(super) fn library_in(folder: &Path) -> Option<PathBuf> {
    let short = folder.join(FILE_NAME);
    if short.is_file() {
        return Some(short);
    }
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let versioned = entries.filter_map(|entry| {
        let name = entry.file_name();
        let version = match FILE_NAME.strip_suffix(".dylib") {
            Some(stem) => name.to_str()?.strip_prefix(stem)?.strip_suffix(".dylib")?,
            None => name.to_str()?.strip_prefix(FILE_NAME)?,
        };
        Some((numbers(version.strip_prefix('.')?)?, entry.path()))
    });
    let files = versioned.filter(|(_, path)| path.is_file());
    files.max().map(|(_, path)| path)
}

/// `1.32.0` as numbers.
fn numbers(version: &str) -> Option<Vec<u64>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::HashMap, os::unix::fs::PermissionsExt};

    use super::*;

    /// Makes a file and its folders.
    fn put(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    struct Machine {
        dir: tempfile::TempDir,
        executable: &'static str,
        variables: HashMap<&'static str, String>,
    }

    impl Machine {
        fn new(executable: &'static str, files: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for file in files {
                put(&dir.path().join(file));
            }
            Self {
                dir,
                executable,
                variables: HashMap::new(),
            }
        }

        fn with<R>(&self, look: impl FnOnce(&Search<'_>) -> R) -> R {
            let variable = |name: &str| self.variables.get(name).map(OsString::from);
            look(&Search {
                executable: Some(self.dir.path().join(self.executable)),
                variable: &variable,
                owners: Owners::of(None),
            })
        }

        /// The first library in this machine's own folder, from there.
        fn first(&self) -> Option<String> {
            let places = self.with(|search| search.places());
            let mut libraries = places.iter().filter_map(Place::library);
            let first = libraries.find_map(|path| path.strip_prefix(self.dir.path()).ok())?;
            Some(first.to_str().unwrap().to_owned())
        }

        fn set(&mut self, name: &'static str, value: &str) {
            let value = value.replace("DIR", self.dir.path().to_str().unwrap());
            self.variables.insert(name, value);
        }

        fn remove(&self, file: &str) {
            fs::remove_file(self.dir.path().join(file)).unwrap();
        }
    }

    #[test]
    fn the_order() {
        let order = [
            "bin/libonnxruntime.so",
            "bin/.onnxruntime/libonnxruntime.so.1.32.0",
            "venv/lib/python3.13/site-packages/onnxruntime/capi/libonnxruntime.so.1.31.0",
            "venv/lib/python3.9/site-packages/onnxruntime/capi/libonnxruntime.so.1.24.0",
            "conda/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.30.1",
            "conda/lib/libonnxruntime.so",
            "one/libonnxruntime.so.1.100.0",
            "one/libonnxruntime.so.1.32.0",
            "two/libonnxruntime.so",
        ];
        let mut machine = Machine::new("bin/worldpm-ort", &order);
        machine.set("VIRTUAL_ENV", "DIR/venv");
        machine.set("CONDA_PREFIX", "DIR/conda");
        machine.set("LD_LIBRARY_PATH", "relative::DIR/nowhere:DIR/one:DIR/two");
        for expected in order {
            assert_eq!(machine.first().as_deref(), Some(expected));
            machine.remove(expected);
        }
        assert_eq!(machine.first(), None);
    }

    #[test]
    fn no_folder_above_but_the_project() {
        let library = "a/.onnxruntime/libonnxruntime.so";
        for executable in [
            "a/worldpm",
            "a/b/worldpm",
            "a/b/c/worldpm",
            "a/target/debug/worldpm",
        ] {
            let machine = Machine::new(executable, &[library]);
            // Beside the program is another place.
            let beside = executable == "a/worldpm";
            assert_eq!(
                machine.first().as_deref(),
                beside.then_some(library),
                "{executable}"
            );
        }
        let manifests = [
            ("[package]\nname = \"worldpm-ort\"\n", true),
            ("[package]\nname = \"other\"\n", false),
            ("", false),
        ];
        for (manifest, ours) in manifests {
            for executable in [
                "a/target/debug/worldpm-ort",
                "a/target/debug/deps/hub-0123",
                "a/target/x86_64-unknown-linux-gnu/release/worldpm-ort",
            ] {
                let machine = Machine::new(executable, &[library]);
                fs::write(machine.dir.path().join("a/Cargo.toml"), manifest).unwrap();
                assert_eq!(
                    machine.first().as_deref(),
                    ours.then_some(library),
                    "{executable}"
                );
            }
            let machine = Machine::new("a/elsewhere/debug/worldpm-ort", &[library]);
            fs::write(machine.dir.path().join("a/Cargo.toml"), manifest).unwrap();
            assert_eq!(machine.first(), None);
        }
    }

    #[test]
    fn what_others_can_write_to_is_named_and_not_used() {
        let (library, other) = ("bin/libonnxruntime.so", "lib/libonnxruntime.so");
        let mut machine = Machine::new("bin/worldpm-ort", &[library, other]);
        machine.set("LD_LIBRARY_PATH", "DIR/lib");
        let bin = machine.dir.path().join("bin");
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(machine.first().as_deref(), Some(other));
        let (refusals, text) = machine.with(|search| {
            let places = search.places();
            let refusals: Vec<String> = places.iter().filter_map(Place::refusal).collect();
            (refusals, search.nothing_found(&places))
        });
        let part = format!("others can write to {} (mode 777)", bin.display());
        assert!(
            refusals.iter().any(|refusal| refusal.contains(&part)),
            "{refusals:?}"
        );
        for part in [
            &part,
            "pip install onnxruntime",
            "pip download",
            "--ort-lib",
            VARIABLE,
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("make library"), "{text}");
    }

    #[test]
    fn only_the_librarys_own_names() {
        let none = [
            "a/libonnxruntime_providers_cuda.so",
            "a/libonnxruntime.so.old",
            "a/libonnxruntime.so.1.32.0.bak",
            "a/libonnxruntime.so.",
            "a/xlibonnxruntime.so",
        ];
        let machine = Machine::new("a/worldpm-ort", &none);
        fs::create_dir(machine.dir.path().join("a/libonnxruntime.so")).unwrap();
        assert_eq!(machine.first(), None);
        put(&machine.dir.path().join("a/libonnxruntime.so.1"));
        assert_eq!(machine.first().as_deref(), Some("a/libonnxruntime.so.1"));
    }
}
