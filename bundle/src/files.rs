//! Opens files that come from outside: regular ones only, and never more of them than a limit.
//!
//! A checkpoint or a bundle may hold a named pipe, which would be waited for, or a link to a device, which never ends.
//! Also how much room there is for new ones.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

/// Most bytes of a configuration or a manifest; real ones have some KB.
pub const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// Most bytes of a tokenizer's or a template's file; that of Gemma has 34 MB.
pub const MAX_TEXT_BYTES: u64 = 256 << 20;
/// Most bytes of a graph, which Protocol Buffers limit to 2 GiB.
pub const MAX_GRAPH_BYTES: u64 = (2 << 30) - 1;

/// Opens a regular file for reading.
///
/// # Errors
/// The operating system's, and [`ErrorKind::InvalidInput`] for a folder, a named pipe, a device or a socket.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe that nobody writes to opens at once, and is refused below.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let found = if kind.is_dir() {
        "a folder"
    } else {
        "a pipe, a device or a socket"
    };
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        format!("it is {found}, not a regular file"),
    ))
}

/// The content of a regular file.
///
/// # Errors
/// As [`open_regular`], and [`ErrorKind::FileTooLarge`] for one of more than `limit` bytes.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more, since a file may have grown, or say that it is empty as those of `/proc` do.
    open_regular(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// As [`read_limited`], for UTF-8 text.
///
/// # Errors
/// As [`read_limited`], and [`ErrorKind::InvalidData`] for other bytes.
pub fn read_text_limited(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_limited(path, limit)?)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

/// What is wrong with a Git LFS pointer.
pub const LFS_PROBLEM: &str =
    "is a Git LFS pointer, not the file itself: run `git lfs pull` in the checkpoint";

/// Whether this is what a clone without Git LFS has in place of a file.
#[must_use]
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    let starts = [
        "version https://git-lfs.github.com/spec/",
        "version https://hawser.github.com/spec/",
    ];
    starts
        .iter()
        .any(|start| bytes.starts_with(start.as_bytes()))
}

/// `name` as a path inside of a directory: no root, no `..`.
#[must_use]
pub fn inside(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    (!name.is_empty() && path.components().all(normal)).then(|| path.components().collect())
}

/// Bytes that may be written to the file system of a path that exists.
///
/// # Errors
/// What the system says.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_and_not_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert_eq!(
            read_limited(&path, 4).unwrap_err().kind(),
            ErrorKind::FileTooLarge
        );
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(
            read_text_limited(&path, 9).unwrap_err().kind(),
            ErrorKind::InvalidData
        );

        let pipe = dir.path().join("pipe");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(status.unwrap().success());
        let endless = dir.path().join("endless");
        std::os::unix::fs::symlink("/dev/zero", &endless).unwrap();
        for (path, found) in [
            (pipe, "a pipe"),
            (endless, "a device"),
            (dir.path().to_owned(), "a folder"),
        ] {
            let error = read_limited(&path, 100).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(found), "{error}");
        }
    }
}
