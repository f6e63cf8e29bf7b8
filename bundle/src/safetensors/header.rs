//! The header of a safetensors file: 8 bytes of length, then JSON that says
//! where each tensor lies in the rest of the file.

use std::{collections::HashSet, fmt, io::Read, path::Path};

use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor},
};

use super::Dtype;
use crate::{
    error::{Error, Result},
    files::open_regular,
};

/// The format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The bytes before the header.
pub const LENGTH_BYTES: u64 = 8;
/// The key that is not a tensor.
const METADATA: &str = "__metadata__";
/// How a Git LFS pointer starts: what a clone without LFS has in place of a weight file.
const LFS_POINTER: &[u8; 8] = b"version ";

/// A tensor, as the header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTensor {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Length, in bytes.
    pub bytes: u64,
}

/// A checked header.
#[derive(Debug)]
pub struct Header {
    /// Size of the file.
    pub file_bytes: u64,
    /// In the order of their bytes.
    pub tensors: Vec<HeaderTensor>,
}

/// One entry of the JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct TensorEntry<D> {
    /// Element type.
    pub dtype: D,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// First byte and one past the last, counted from the end of the header.
    pub data_offsets: (u64, u64),
}

/// Reads and checks the header at `path`; `shown` names the file in errors.
///
/// Beyond what the entries say, it checks that they cover the rest of the file
/// exactly: without overlap, without gap, to its last byte.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Safetensors`] when it is broken.
pub fn read(path: &Path, shown: &Path) -> Result<Header> {
    let io_error = |action| {
        move |source| Error::Io {
            path: shown.to_owned(),
            action,
            source,
        }
    };
    let fail = |problem: String| Error::Safetensors {
        path: shown.to_owned(),
        problem,
    };

    let metadata = std::fs::metadata(path).map_err(io_error("open"))?;
    // Opening a pipe would wait for a writer.
    if !metadata.is_file() {
        return Err(fail("is not a regular file".to_owned()));
    }
    let file_bytes = metadata.len();
    if file_bytes < LENGTH_BYTES {
        return Err(fail(format!(
            "has {file_bytes} bytes, too few for a safetensors file: it is truncated"
        )));
    }
    let mut file = open_regular(path).map_err(io_error("open"))?;
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(io_error("read"))?;
    if &length == LFS_POINTER {
        return Err(fail(
            "is a Git LFS pointer, not the weights: run `git lfs pull` in the checkpoint"
                .to_owned(),
        ));
    }
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > file_bytes - LENGTH_BYTES {
        return Err(fail(format!(
            "the header should have {header_bytes} bytes, but only {} follow its length: \
             the file is truncated, or is not safetensors",
            file_bytes - LENGTH_BYTES
        )));
    }
    if header_bytes > MAX_HEADER_BYTES {
        return Err(fail(format!(
            "the header has {header_bytes} bytes, over the limit of {MAX_HEADER_BYTES}"
        )));
    }
    let mut json = vec![0; header_bytes as usize];
    file.read_exact(&mut json).map_err(io_error("read"))?;
    let tensors = parse(&json, file_bytes).map_err(fail)?;
    Ok(Header {
        file_bytes,
        tensors,
    })
}

/// Checks the header's JSON against the size of the whole file.
fn parse(json: &[u8], file_bytes: u64) -> Result<Vec<HeaderTensor>, String> {
    if json.first() != Some(&b'{') {
        return Err("the header is not a JSON object".to_owned());
    }
    let entries: UniqueMap<Value> =
        serde_json::from_slice(json).map_err(|e| format!("the header is not valid: {e}"))?;

    let data_start = LENGTH_BYTES + json.len() as u64;
    let mut tensors = Vec::with_capacity(entries.0.len());
    for (name, value) in entries.0 {
        if let Value::Tensor(entry) = value {
            tensors.push(check_entry(name, entry, data_start)?);
        }
    }
    tensors.sort_by_key(|t| (t.offset, t.bytes));
    check_cover(&tensors, data_start, file_bytes)?;
    Ok(tensors)
}

fn check_entry(
    name: String,
    entry: TensorEntry<String>,
    data_start: u64,
) -> Result<HeaderTensor, String> {
    let TensorEntry {
        dtype,
        shape,
        data_offsets: (begin, end),
    } = entry;
    let dtype =
        parse_dtype(&dtype).ok_or_else(|| format!("tensor `{name}`: unknown dtype `{dtype}`"))?;
    let bytes = end.checked_sub(begin).ok_or_else(|| {
        format!("tensor `{name}`: data_offsets [{begin}, {end}] end before they begin")
    })?;
    let bits = shape
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size))
        .and_then(|elements| elements.checked_mul(dtype.bits()))
        .ok_or_else(|| format!("tensor `{name}`: the size of shape {shape:?} overflows"))?;
    if !bits.is_multiple_of(8) || bits / 8 != bytes {
        return Err(format!(
            "tensor `{name}`: data_offsets [{begin}, {end}] hold {bytes} bytes, but {dtype} {shape:?} needs {}",
            bits.div_ceil(8)
        ));
    }
    let offset = data_start
        .checked_add(begin)
        .filter(|offset| offset.checked_add(bytes).is_some())
        .ok_or_else(|| format!("tensor `{name}`: data_offsets [{begin}, {end}] overflow"))?;
    Ok(HeaderTensor {
        name,
        dtype,
        shape,
        offset,
        bytes,
    })
}

/// Checks that sorted tensors fill the file from `data_start` to its end.
fn check_cover(tensors: &[HeaderTensor], data_start: u64, file_bytes: u64) -> Result<(), String> {
    let mut end = data_start;
    let mut previous: Option<&HeaderTensor> = None;
    for tensor in tensors {
        if tensor.offset < end {
            let previous = previous.map_or("", |t| &t.name);
            return Err(format!(
                "tensors `{previous}` and `{}` overlap: the second begins at byte {}, the first ends at {end}",
                tensor.name, tensor.offset
            ));
        }
        if tensor.offset > end {
            return Err(format!(
                "tensor `{}` begins at byte {}, but the data before it ends at {end}: the format allows no gaps",
                tensor.name, tensor.offset
            ));
        }
        end += tensor.bytes;
        previous = Some(tensor);
    }
    if end > file_bytes {
        let name = previous.map_or("", |t| &t.name);
        return Err(format!(
            "the file has {file_bytes} bytes, but its last tensor, `{name}`, ends at byte {end}: it is truncated"
        ));
    }
    if end < file_bytes {
        return Err(format!(
            "the file has {file_bytes} bytes, but its tensors end at byte {end}"
        ));
    }
    Ok(())
}

fn parse_dtype(name: &str) -> Option<Dtype> {
    let name: de::value::StrDeserializer<'_, de::value::Error> =
        de::IntoDeserializer::into_deserializer(name);
    Dtype::deserialize(name).ok()
}

/// What a key of the header may hold.
enum Value {
    Tensor(TensorEntry<String>),
    Metadata,
}

/// A JSON object whose keys all differ, in the order of the file.
///
/// The usual maps keep the last of two equal keys, and so hide a broken file.
pub(crate) struct UniqueMap<V>(pub(crate) Vec<(String, V)>);

/// How to read the value of a key.
pub(crate) trait FromKey: Sized {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error>;
}

impl FromKey for Value {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        if key == METADATA {
            named::<Option<UniqueMap<String>>, A>(key, map).map(|_| Self::Metadata)
        } else {
            named(key, map).map(Self::Tensor)
        }
    }
}

impl FromKey for String {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        named(key, map)
    }
}

fn named<'de, T: DeserializeOwned, A: MapAccess<'de>>(
    key: &str,
    map: &mut A,
) -> Result<T, A::Error> {
    map.next_value()
        .map_err(|e| de::Error::custom(format!("`{key}`: {e}")))
}

impl<'de, V: FromKey> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(std::marker::PhantomData<V>);

        impl<'de, V: FromKey> Visitor<'de> for Entries<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut seen = HashSet::new();
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!("`{key}` is there twice")));
                    }
                    let value = V::next(&key, &mut map)?;
                    entries.push((key, value));
                }
                Ok(UniqueMap(entries))
            }
        }

        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}
