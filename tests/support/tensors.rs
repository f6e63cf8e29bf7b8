//! Safetensors files, read and written whole.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Map, Value, json};

#[derive(Clone)]
pub struct Tensor {
    pub dtype: String,
    pub shape: Vec<u64>,
    pub data: Vec<u8>,
}

pub type Tensors = BTreeMap<String, Tensor>;

pub fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let (header, data) = bytes[8..].split_at(usize::try_from(length).unwrap());
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            let at = |end: usize| entry["data_offsets"][end].as_u64().unwrap() as usize;
            let tensor = Tensor {
                dtype: entry["dtype"].as_str().unwrap().into(),
                shape: serde_json::from_value(entry["shape"].clone()).unwrap(),
                data: data[at(0)..at(1)].to_vec(),
            };
            (name, tensor)
        })
        .collect()
}

pub fn write(path: &Path, tensors: &Tensors) {
    write_with(path, tensors, Map::new());
}

/// As [`write`], with further entries of the header.
pub fn write_with(path: &Path, tensors: &Tensors, mut header: Map<String, Value>) {
    let mut data = Vec::<u8>::new();
    for (name, tensor) in tensors {
        let begin = data.len();
        data.extend_from_slice(&tensor.data);
        let offsets = [begin, data.len()];
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

/// Tensors of these shapes with the values that `pattern` of `make_adapter_goldens.py` gives the tensor at its place
/// in the order of names.
pub fn pattern(shapes: &BTreeMap<String, Vec<u64>>) -> Tensors {
    let tensors = shapes.iter().zip(0_u64..);
    let tensors = tensors.map(|((name, shape), salt)| {
        let count: u64 = shape.iter().product();
        let value =
            |number: u64| ((number * 2_654_435_761 % (1 << 32)) >> 20) as f32 / 4096.0 - 0.5;
        let data = (salt..salt + count).flat_map(|number| value(number).to_le_bytes());
        let tensor = Tensor {
            dtype: "F32".into(),
            shape: shape.clone(),
            data: data.collect(),
        };
        (name.clone(), tensor)
    });
    tensors.collect()
}
