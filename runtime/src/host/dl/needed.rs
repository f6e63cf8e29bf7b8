//! Which other libraries a library needs, read from the file: loading it for that would run its code.

use std::{fs::File, path::Path};

use libloading::Library;
use object::{
    Endianness,
    elf::{DT_NEEDED, FileHeader64},
    read::{
        ReadCache,
        elf::{Dyn, FileHeader},
    },
};

use super::problem;

/// The names of the libraries that `path` asks the dynamic loader for.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    read(file).map_err(|error| format!("it is no 64-bit ELF library: {error}"))
}

fn read(file: File) -> object::Result<Vec<String>> {
    // Reads what is asked for: a provider has hundreds of megabytes.
    let data = &ReadCache::new(file);
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let Some((entries, link)) = sections.dynamic(endian, data)? else {
        return Ok(Vec::new());
    };
    let strings = sections.strings(endian, data, link)?;
    entries
        .iter()
        .filter(|entry| entry.tag(endian) == DT_NEEDED)
        .map(|entry| Ok(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned()))
        .collect()
}

/// Why a library cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// What the dynamic loader says.
    pub(crate) problem: String,
    /// Another major version of it that is here.
    pub(crate) other: Option<String>,
}

/// Whether the dynamic loader finds a library, in the folder of the one that needs it or where it looks by itself.
pub(crate) fn probe(name: &str, folder: &Path) -> Result<(), Missing> {
    let beside = folder.join(name);
    // What belongs to ONNX Runtime is loaded by ONNX Runtime alone, in an order of its own.
    if name.starts_with("libonnxruntime") && beside.is_file() {
        return Ok(());
    }
    if loads(name).is_ok() || (beside.is_file() && loads(&beside.to_string_lossy()).is_ok()) {
        return Ok(());
    }
    let problem = loads(name).err().unwrap_or_default();
    let other = others(name).into_iter().find(|other| loads(other).is_ok());
    Err(Missing { problem, other })
}

/// The libraries that the one in `path` needs and that the dynamic loader does not find.
pub(crate) fn missing(path: &Path) -> Result<Vec<String>, String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut names = names(path)?;
    names.retain(|name| probe(name, folder).is_err());
    Ok(names)
}

/// `libcudart.so.12` and the like for `libcudart.so.13`.
fn others(name: &str) -> Vec<String> {
    let split = name.rsplit_once(".so.");
    let Some((stem, major)) =
        split.and_then(|(stem, major)| Some((stem, major.parse::<u32>().ok()?)))
    else {
        return Vec::new();
    };
    (major.saturating_sub(3)..=major + 3)
        .filter(|other| *other != major)
        .map(|other| format!("{stem}.so.{other}"))
        .collect()
}

/// Loads a library and lets it go.
#[allow(unsafe_code)]
fn loads(name: &str) -> Result<(), String> {
    // SAFETY: these are libraries of the system, of CUDA and of its driver, made for being loaded into any process; their
    // initialisers touch no device. Symbols stay private to the handle (RTLD_LAZY and RTLD_LOCAL are the defaults).
    unsafe { Library::new(name) }
        .map(drop)
        .map_err(|error| problem(&error))
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    /// Builds a library that needs another one, which goes away.
    fn build(place: &Path) -> std::path::PathBuf {
        fs::write(
            place.join("a.c"),
            "int other(void); int f(void) { return other(); }",
        )
        .unwrap();
        fs::write(place.join("b.c"), "int other(void) { return 1; }").unwrap();
        let cc = |args: &[&str]| {
            let status = Command::new("cc").current_dir(place).args(args).status();
            assert!(status.unwrap().success());
        };
        cc(&[
            "-shared",
            "-fPIC",
            "-Wl,-soname,libneeded.so.13",
            "-o",
            "libneeded.so.13",
            "b.c",
        ]);
        cc(&[
            "-shared",
            "-fPIC",
            "-o",
            "liba.so",
            "a.c",
            "./libneeded.so.13",
        ]);
        place.join("liba.so")
    }

    #[test]
    fn names_are_read_from_the_file() {
        let place = tempfile::tempdir().unwrap();
        let library = build(place.path());
        let found = names(&library).unwrap();
        assert!(found.contains(&"libneeded.so.13".to_owned()), "{found:?}");
        fs::write(place.path().join("text.so"), "not a library").unwrap();
        assert!(
            names(&place.path().join("text.so"))
                .unwrap_err()
                .contains("no 64-bit ELF")
        );
        assert!(
            names(&place.path().join("nothing.so"))
                .unwrap_err()
                .contains("No such file")
        );
    }

    #[test]
    fn a_library_without_what_it_needs() {
        let place = tempfile::tempdir().unwrap();
        let library = build(place.path());
        assert_eq!(missing(&library).unwrap(), [""; 0]);
        fs::remove_file(place.path().join("libneeded.so.13")).unwrap();
        assert_eq!(missing(&library).unwrap(), ["libneeded.so.13"]);
    }

    #[test]
    fn damaged_files() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("damaged.so");
        let mut elf = vec![0_u8; 64];
        elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        elf[0x28..0x30].copy_from_slice(&u64::MAX.to_le_bytes());
        elf[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        elf[0x3c..0x3e].copy_from_slice(&9_u16.to_le_bytes());
        for bytes in [&b""[..], &[0_u8; 64], &elf] {
            fs::write(&path, bytes).unwrap();
            assert!(missing(&path).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let place = tempfile::tempdir().unwrap();
        build(place.path());
        assert_eq!(probe("libneeded.so.13", place.path()), Ok(()));
        assert_eq!(probe("libc.so.6", place.path()), Ok(()));
        let elsewhere = tempfile::tempdir().unwrap();
        let missing = probe("libneeded.so.13", elsewhere.path()).unwrap_err();
        assert!(missing.problem.contains("libneeded.so.13"), "{missing:?}");
        assert_eq!(missing.other, None);
        // The C library has one major version: another is found to be here.
        let missing = probe("libc.so.7", elsewhere.path()).unwrap_err();
        assert_eq!(missing.other.as_deref(), Some("libc.so.6"));
    }

    #[test]
    fn neighbouring_versions() {
        assert_eq!(
            others("libcuda.so.1"),
            [
                "libcuda.so.0",
                "libcuda.so.2",
                "libcuda.so.3",
                "libcuda.so.4"
            ]
        );
        assert!(others("libdl.so").is_empty());
        assert!(others("libx.so.1.2").is_empty());
    }
}
