//! Weight files of a checkpoint as `transformers` writes them: their names, headers and index.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use worldpm_ort_bundle::{
    checkpoint_files::SINGLE_FILE,
    safetensors::{
        Dtype,
        header::{LENGTH_BYTES, TensorEntry},
    },
};

/// The name of the file of a number, from 0, among so many.
pub(crate) fn file_name(number: usize, count: usize) -> String {
    match count {
        1 => SINGLE_FILE.to_owned(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
    }
}

/// Divides tensors of these sizes among files: in order, a new file whenever the next tensor would make the current one
/// larger than `limit`. Returns how many are in each.
pub(crate) fn divide(sizes: impl IntoIterator<Item = u64>, limit: u64) -> Vec<usize> {
    let mut counts: Vec<usize> = Vec::new();
    let mut room = 0;
    for bytes in sizes {
        match counts.last_mut() {
            Some(count) if bytes <= room => {
                room -= bytes;
                *count += 1;
            }
            _ => {
                room = limit.saturating_sub(bytes);
                counts.push(1);
            }
        }
    }
    counts
}

/// The length of the header and the header of a file with these tensors, one after the other, and the first byte of each.
pub(crate) fn head<'a>(
    tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [u64])>,
) -> (Vec<u8>, Vec<u64>) {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let (mut end, mut offsets) = (0, Vec::new());
    for (name, dtype, shape) in tensors {
        let begin = end;
        end += shape.iter().product::<u64>() * dtype.bits() / 8;
        let entry = TensorEntry {
            dtype,
            shape: shape.to_vec(),
            data_offsets: (begin, end),
        };
        header.insert(name.to_owned(), json!(entry));
        offsets.push(begin);
    }
    let mut json = Value::Object(header).to_string();
    // Aligned data is faster to map into memory; the format pads with spaces.
    while !json.len().is_multiple_of(LENGTH_BYTES as usize) {
        json.push(' ');
    }
    let mut head = (json.len() as u64).to_le_bytes().to_vec();
    head.extend_from_slice(json.as_bytes());
    let data_start = head.len() as u64;
    let offsets = offsets.into_iter().map(|offset| data_start + offset);
    (head, offsets.collect())
}

/// The index of weights in several files: the file of each tensor, and the size of all.
pub(crate) fn index(files: &BTreeMap<&str, &str>, parameters: u64, bytes: u64) -> Value {
    json!({
        "metadata": {
            "total_parameters": parameters,
            "total_size": bytes,
        },
        "weight_map": files,
    })
}
