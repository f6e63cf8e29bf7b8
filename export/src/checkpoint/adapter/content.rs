//! Reads an adapter's weights once: their hash, and whether every value is finite.

use std::{
    io::{self, Read},
    path::Path,
};

use crate::error::{Error, Result};
use half::{bf16, f16};
use sha2::{Digest, Sha256};
use worldpm_ort_bundle::{
    files::open_regular,
    safetensors::{Dtype, Header},
};

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;

/// SHA-256 of the file at `path`, whose header is `header`.
///
/// # Errors
/// [`Error::Bundle`] when it cannot be read; [`Error::Tensor`] for a value that is infinite or not a number.
pub(super) fn check(path: &Path, header: &Header) -> Result<String> {
    let fault = |source| Error::io("read", path, source);
    let mut file = open_regular(path).map_err(fault)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut read = |length: u64, look: &mut dyn FnMut(&[u8]) -> Result<()>| -> Result<()> {
        let mut left = length;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let Some(bytes) = block.get_mut(..size) else {
                return Err(fault(io::ErrorKind::InvalidInput.into()));
            };
            file.read_exact(bytes).map_err(fault)?;
            hasher.update(&*bytes);
            look(bytes)?;
            left -= size as u64;
        }
        Ok(())
    };
    // The tensors fill the file from the end of the header, in this order.
    let start = header.tensors.first().map_or(0, |tensor| tensor.offset);
    read(start, &mut |_| Ok(()))?;
    for tensor in &header.tensors {
        read(tensor.bytes, &mut |bytes| {
            if all_finite(tensor.dtype, bytes) {
                return Ok(());
            }
            Err(Error::Tensor {
                tensor: tensor.name.clone(),
                file: path.display().to_string(),
                problem: "holds a value that is infinite or not a number: the training went wrong, or the file is damaged".to_owned(),
            })
        })?;
    }
    Ok(worldpm_ort_bundle::hash::hex(&hasher.finalize()))
}

/// Whether the exponents of all values are below that of infinities and NaN.
fn all_finite(dtype: Dtype, bytes: &[u8]) -> bool {
    let halves = |infinity: u16| {
        let halves = bytes.as_chunks::<2>().0.iter();
        halves.fold(true, |all, half| {
            all & (u16::from_le_bytes(*half) & infinity != infinity)
        })
    };
    match dtype {
        Dtype::Bf16 => halves(bf16::INFINITY.to_bits()),
        Dtype::F16 => halves(f16::INFINITY.to_bits()),
        _ => {
            let infinity = f32::INFINITY.to_bits();
            let values = bytes.as_chunks::<4>().0.iter();
            values.fold(true, |all, value| {
                all & (u32::from_le_bytes(*value) & infinity != infinity)
            })
        }
    }
}
