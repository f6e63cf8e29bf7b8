//! Hashes of files, as a manifest has them.

use std::{
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    files::open_regular,
};

/// SHA-256 of `bytes`, as hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `digest` as hexadecimal digits.
#[must_use]
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of the 8 bytes of length and the header after them, which say where every tensor is.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read that far.
pub fn header_sha256(path: &Path) -> Result<String> {
    let fault = |source| Error::io("read", path, source);
    let mut file = open_regular(path).map_err(fault)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(fault)?;
    let mut hasher = Sha256::new();
    hasher.update(length);
    let header = u64::from_le_bytes(length);
    let read = io::copy(&mut file.take(header), &mut HashWriter(&mut hasher)).map_err(fault)?;
    if read < header {
        return Err(Error::Safetensors {
            path: path.to_owned(),
            problem: format!("ends inside its header of {header} bytes"),
        });
    }
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 of a whole file, as hexadecimal digits.
///
/// # Errors
/// [`Error::Io`] when it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String> {
    let fault = |source| Error::io("read", path, source);
    let mut file = open_regular(path).map_err(fault)?;
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut HashWriter(&mut hasher)).map_err(fault)?;
    Ok(hex(&hasher.finalize()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
