//! The hashes that a hub promises.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::http::BLOCK;

/// What an ETag says of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// The SHA-256 of a large file's bytes.
    Sha256,
    /// Git's hash of a small file: SHA-1 of `blob SIZE`, a zero byte, and the bytes.
    Git,
    /// Nothing.
    Nothing,
}

impl Promise {
    pub(super) fn of(etag: &str) -> Self {
        match etag.len() {
            _ if !etag.bytes().all(|b| b.is_ascii_hexdigit()) => Self::Nothing,
            64 => Self::Sha256,
            40 => Self::Git,
            _ => Self::Nothing,
        }
    }

    /// The hash's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Git => "Git hash",
            Self::Nothing => "hash",
        }
    }

    /// The hash of a whole file, where one is promised.
    pub(super) fn of_file(self, path: &Path) -> io::Result<Option<String>> {
        let mut file = File::open(path)?;
        let mut hash = Hash::new(self, Some(file.metadata()?.len()));
        let mut block = vec![0; BLOCK];
        loop {
            let read = file.read(&mut block)?;
            match block.get(..read) {
                Some(bytes) if !bytes.is_empty() => hash.update(bytes),
                _ => return Ok(hash.finish()),
            }
        }
    }
}

/// A promised hash of bytes that come one after another.
#[derive(Clone)]
pub(super) enum Hash {
    Sha256(Sha256),
    Git(Sha1),
    /// Nothing is promised, or it needs the size, which is not known.
    None,
}

impl Hash {
    /// `size` is that of the whole file.
    pub(super) fn new(promise: Promise, size: Option<u64>) -> Self {
        match (promise, size) {
            (Promise::Sha256, _) => Self::Sha256(Sha256::new()),
            (Promise::Git, Some(size)) => {
                Self::Git(Sha1::new_with_prefix(format!("blob {size}\0")))
            }
            _ => Self::None,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
            Self::None => {}
        }
    }

    /// The hash of what came so far.
    pub(super) fn finish(&self) -> Option<String> {
        match self {
            Self::Sha256(hash) => Some(hex(&hash.clone().finalize())),
            Self::Git(hash) => Some(hex(&hash.clone().finalize())),
            Self::None => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        // As `printf abc | git hash-object --stdin` says.
        let git = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        for expected in [sha256, git] {
            let promise = Promise::of(expected);
            let mut hash = Hash::new(promise, Some(3));
            assert_ne!(hash.finish().as_deref(), Some(expected));
            hash.update(b"abc");
            assert_eq!(hash.finish().as_deref(), Some(expected));
            assert_eq!(promise.of_file(&path).unwrap().as_deref(), Some(expected));
        }
        assert_eq!(Hash::new(Promise::Git, None).finish(), None);
        for other in ["0-15", "", "5d41402abc4b2a76b9719d911017c592"] {
            assert_eq!(Promise::of(other), Promise::Nothing);
        }
    }
}
