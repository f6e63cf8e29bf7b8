//! Tensors by name, with those that differ in the number of their layer only taken together.

use serde::Serialize;

/// Tensors of the same name, but for the number of the layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorGroup {
    /// The name; `*` stands for the layers.
    pub name: String,
    /// The layers, first and one past the last; `None` for a single tensor.
    pub layers: Option<(usize, usize)>,
    /// Element type.
    #[serde(rename = "type")]
    pub element: String,
    /// Shape of each.
    pub shape: Vec<u64>,
    /// How many there are.
    pub count: usize,
    /// Bytes of all together.
    pub bytes: u64,
}

/// Layers that take the same number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LayerInfo {
    /// First layer, and one past the last.
    pub layers: (usize, usize),
    /// Bytes of the weights of each, in their files.
    pub stored: u64,
    /// Bytes of the weights of each, in memory.
    pub resident: u64,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) element: String,
    pub(super) shape: Vec<u64>,
    pub(super) bytes: u64,
}

/// Takes tensors of consecutive layers together, in the order of the first of each.
pub(super) fn group(tensors: impl IntoIterator<Item = Tensor>) -> Vec<TensorGroup> {
    let mut numbered: Vec<(Option<usize>, String, Tensor)> = tensors
        .into_iter()
        .map(|tensor| {
            let (layer, name) = without_layer(&tensor.name);
            (layer, name, tensor)
        })
        .collect();
    numbered.sort_by(|a, b| (a.0.unwrap_or(0), &a.2.name).cmp(&(b.0.unwrap_or(0), &b.2.name)));
    let mut groups: Vec<TensorGroup> = Vec::new();
    for (layer, name, tensor) in numbered {
        let continued = layer.and_then(|layer| {
            groups.iter_mut().find(|group| {
                group.name == name
                    && group.element == tensor.element
                    && group.shape == tensor.shape
                    && group.layers.is_some_and(|(_, end)| end == layer)
            })
        });
        match continued {
            Some(group) => {
                group.count += 1;
                group.bytes += tensor.bytes;
                group.layers = group.layers.map(|(start, end)| (start, end + 1));
            }
            None => groups.push(TensorGroup {
                name,
                layers: layer.map(|layer| (layer, layer + 1)),
                element: tensor.element,
                shape: tensor.shape,
                count: 1,
                bytes: tensor.bytes,
            }),
        }
    }
    groups
}

/// `model.layers.3.mlp.up_proj.weight` → (3, `model.layers.*.mlp.up_proj.weight`).
fn without_layer(name: &str) -> (Option<usize>, String) {
    let Some((before, rest)) = name.split_once("layers.") else {
        return (None, name.to_owned());
    };
    let Some((number, after)) = rest.split_once('.') else {
        return (None, name.to_owned());
    };
    match number.parse() {
        Ok(layer) => (Some(layer), format!("{before}layers.*.{after}")),
        Err(_) => (None, name.to_owned()),
    }
}

/// Takes consecutive layers of equal size together.
pub(super) fn runs(layers: impl IntoIterator<Item = (usize, u64, u64)>) -> Vec<LayerInfo> {
    let mut runs: Vec<LayerInfo> = Vec::new();
    for (layer, stored, resident) in layers {
        match runs.last_mut() {
            Some(run)
                if run.layers.1 == layer && (run.stored, run.resident) == (stored, resident) =>
            {
                run.layers.1 += 1;
            }
            _ => runs.push(LayerInfo {
                layers: (layer, layer + 1),
                stored,
                resident,
            }),
        }
    }
    runs
}
