//! Which libraries a library needs, and which of them cannot be found.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use libloading::Library;

const SECTION_DYNAMIC: u32 = 6;
const TAG_NEEDED: u64 = 1;
/// Far above what a real file has: a bound for files that are no such thing.
const MAX_TABLE: u64 = 1 << 20;

/// The libraries that the library in `file` needs and that the system does not find: beside it, on `LD_LIBRARY_PATH`, or
/// where the system keeps libraries. What those need in turn counts as well, since they cannot be loaded without it.
///
/// It tries to load them, which runs their initialisers, as loading `file` would.
///
/// # Errors
/// When `file` cannot be read or is not a 64-bit ELF library of a little-endian machine.
#[allow(unsafe_code)]
pub fn missing_libraries(file: &Path) -> io::Result<Vec<String>> {
    let mut missing = needed(file)?;
    missing.retain(|name| {
        let beside = file.with_file_name(name);
        // SAFETY: loading runs the library's initialisers. These are the libraries that ONNX Runtime loads with the
        // provider, and trying them one by one differs from that in nothing.
        let found = unsafe { Library::new(name.as_str()).or_else(|_| Library::new(&beside)) };
        found.is_err()
    });
    Ok(missing)
}

/// The names in the dynamic section of an ELF file.
fn needed(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let header = read(&mut file, 0, 64)?;
    if header[..6] != [0x7f, b'E', b'L', b'F', 2, 1] {
        return Err(io::Error::other("is no 64-bit little-endian ELF file"));
    }
    let (start, size) = (u64_at(&header, 0x28)?, u64::from(u16_at(&header, 0x3a)?));
    let count = u64::from(u16_at(&header, 0x3c)?);
    let sections = read(&mut file, start, size * count)?;
    let section = |index: u64| {
        let from = usize::try_from(index * size).map_err(io::Error::other)?;
        sections
            .get(from..)
            .filter(|rest| rest.len() >= 64)
            .ok_or_else(damaged)
    };
    for index in 0..count {
        let dynamic = section(index)?;
        if u32_at(dynamic, 4)? != SECTION_DYNAMIC {
            continue;
        }
        let names = section(u64::from(u32_at(dynamic, 0x28)?))?;
        let names = read(&mut file, u64_at(names, 0x18)?, u64_at(names, 0x20)?)?;
        let entries = read(&mut file, u64_at(dynamic, 0x18)?, u64_at(dynamic, 0x20)?)?;
        let mut found = Vec::new();
        for entry in entries.chunks_exact(16) {
            if u64_at(entry, 0)? == TAG_NEEDED {
                let from = usize::try_from(u64_at(entry, 8)?).map_err(io::Error::other)?;
                let name = names.get(from..).ok_or_else(damaged)?;
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                found.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        return Ok(found);
    }
    Ok(Vec::new())
}

fn read(file: &mut File, from: u64, size: u64) -> io::Result<Vec<u8>> {
    if size > MAX_TABLE {
        return Err(damaged());
    }
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    let read = file.take(size).read_to_end(&mut bytes)?;
    if read as u64 == size {
        Ok(bytes)
    } else {
        Err(damaged())
    }
}

fn damaged() -> io::Error {
    io::Error::other("is a damaged ELF file")
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    bytes
        .get(at..at + N)
        .and_then(|part| part.try_into().ok())
        .ok_or_else(damaged)
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> io::Result<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_library_without_what_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, flags: &[&str]| {
            let source = folder.path().join("empty.c");
            fs::write(&source, "int nothing;\n").unwrap();
            let status = Command::new("cc")
                .args([
                    "-shared",
                    "-fPIC",
                    "-o",
                    name,
                    "empty.c",
                    "-Wl,--no-as-needed",
                ])
                .args(flags)
                .current_dir(folder.path())
                .status()
                .unwrap();
            assert!(status.success());
        };
        link(
            "libabsent-part.so.13",
            &["-Wl,-soname,libabsent-part.so.13"],
        );
        link(
            "libpresent-part.so.1",
            &["-Wl,-soname,libpresent-part.so.1"],
        );
        link(
            "provider.so",
            &["./libabsent-part.so.13", "./libpresent-part.so.1"],
        );
        let provider = folder.path().join("provider.so");
        assert_eq!(missing_libraries(&provider).unwrap(), [""; 0]);
        fs::remove_file(folder.path().join("libabsent-part.so.13")).unwrap();
        assert_eq!(
            missing_libraries(&provider).unwrap(),
            ["libabsent-part.so.13"]
        );
    }

    #[test]
    fn files_that_are_no_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provider.so");
        assert!(missing_libraries(&path).is_err(), "no file");
        let mut elf = vec![0_u8; 64];
        elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        elf[0x28..0x30].copy_from_slice(&u64::MAX.to_le_bytes());
        elf[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        elf[0x3c..0x3e].copy_from_slice(&9_u16.to_le_bytes());
        for bytes in [&b""[..], b"not ELF", &[0_u8; 64], &elf] {
            fs::write(&path, bytes).unwrap();
            assert!(missing_libraries(&path).is_err(), "{bytes:?}");
        }
    }
}
