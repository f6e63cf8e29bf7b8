//! What the parts of a model cost, added up over the nodes of its graph: bytes of weights, work, and memory while they
//! run. Read from the graphs themselves, so that it holds for every architecture, precision and interface.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::node::{RunSizes, bytes, flops, workspace};
use crate::{
    error::Result,
    proto::{
        ModelProto, NodeProto,
        view::{Source, View},
    },
    vocabulary::Device,
};

/// What a part of a model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Bytes of its weights in their files.
    pub stored: u64,
    /// Bytes of its weights in memory: after the casts that are done once, when the model is loaded.
    pub resident: u64,
    /// Multiplications and additions in matrix products and attention.
    pub flops: u64,
    /// What is in memory when it needs the most.
    pub peak: Peak,
}

/// Memory besides the weights, at one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// Values that have been computed and are still needed, with the inputs and outputs of the graph.
    pub activations: u64,
    /// What the node's kernel takes for itself.
    pub workspace: u64,
}

impl Peak {
    /// Both together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.activations.saturating_add(self.workspace)
    }
}

/// The parts of a graph, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// What comes before the layers: the embedding, and the tables of positions.
    pub first: Part,
    /// The layers, by number.
    pub layers: BTreeMap<usize, Part>,
    /// What comes after the layers: the last norm and the head.
    pub last: Part,
}

impl Costs {
    /// All parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        [&self.first]
            .into_iter()
            .chain(self.layers.values())
            .chain([&self.last])
    }

    /// The sums of all parts, and the highest peak.
    #[must_use]
    pub fn total(&self) -> Part {
        let mut total = Part::default();
        for part in self.parts() {
            total.stored = total.stored.saturating_add(part.stored);
            total.resident = total.resident.saturating_add(part.resident);
            total.flops = total.flops.saturating_add(part.flops);
            if part.peak.bytes() > total.peak.bytes() {
                total.peak = part.peak;
            }
        }
        total
    }

    /// Counts the costs of `model` on `device` for a run of the sizes of `pack`.
    ///
    /// - *Weights*: a node that reads nothing but constants is computed once, at load, and what it gives stays in
    ///   memory in place of what it read.
    /// - *Work*: 2 m k n for a matrix product; 4 d / 2 times the squares of the rows' lengths for causal attention of query
    ///   width d. The padding of rows is no work, whatever a kernel makes of it.
    /// - *Memory*: nodes run in the order of the graph, a value is in memory from the node that computes it to the last
    ///   one that reads it, and a reshape takes no memory. That some operators work in place is left out. Workspace
    ///   is that of the attention (`B S heads` floats of sums on CUDA; two matrices of scores for the standard
    ///   operator on the CPU) and, on CUDA, of quantised products (the weight, unpacked).
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) when the shape of a value is not known.
    pub fn of(model: &ModelProto, device: Device, pack: RunSizes) -> Result<Self> {
        let view = View::new(model)?;
        let mut costs = Self::default();
        let folded = folded(&view);
        let mut seen_layer = false;
        let groups: Vec<Group> = view
            .nodes()
            .iter()
            .map(|node| {
                let group = layer_of(node).map_or(
                    if seen_layer {
                        Group::Last
                    } else {
                        Group::First
                    },
                    Group::Layer,
                );
                seen_layer |= matches!(group, Group::Layer(_));
                group
            })
            .collect();
        costs.add_weights(&view, &folded, &groups, pack)?;
        costs.add_work(&view, &folded, &groups, pack)?;
        costs.add_memory(&view, &folded, &groups, device, pack)?;
        Ok(costs)
    }

    fn part(&mut self, group: Group) -> &mut Part {
        match group {
            Group::First => &mut self.first,
            Group::Layer(layer) => self.layers.entry(layer).or_default(),
            Group::Last => &mut self.last,
        }
    }

    fn add_weights(
        &mut self,
        view: &View<'_>,
        folded: &HashSet<&str>,
        groups: &[Group],
        pack: RunSizes,
    ) -> Result<()> {
        let mut counted: HashSet<&str> = HashSet::new();
        let stored: HashMap<&str, u64> = view
            .graph()
            .initializer
            .iter()
            .filter(|tensor| tensor.data_location == Some(1))
            .filter_map(|tensor| {
                let length = tensor
                    .external_data
                    .iter()
                    .find(|entry| entry.key.as_deref() == Some("length"))
                    .and_then(|entry| entry.value.as_deref()?.parse().ok())?;
                Some((tensor.name.as_deref()?, length))
            })
            .collect();
        for (node, &group) in view.nodes().iter().zip(groups) {
            let is_folded = is_folded(node, folded);
            for name in inputs(node) {
                let constant = folded.contains(name)
                    || matches!(
                        view.value(name).map(|v| v.source),
                        Some(Source::Constant(_))
                    );
                if !constant || !counted.insert(name) {
                    continue;
                }
                let part = self.part(group);
                let bytes_stored = stored.get(name).copied().unwrap_or(0);
                part.stored = part.stored.saturating_add(bytes_stored);
                // What a folded node reads is let go once it has been read.
                if !is_folded {
                    let resident = match stored.get(name) {
                        Some(&length) => length,
                        None => bytes(view, name, pack)?,
                    };
                    let part = self.part(group);
                    part.resident = part.resident.saturating_add(resident);
                }
            }
        }
        Ok(())
    }

    fn add_work(
        &mut self,
        view: &View<'_>,
        folded: &HashSet<&str>,
        groups: &[Group],
        pack: RunSizes,
    ) -> Result<()> {
        for (node, &group) in view.nodes().iter().zip(groups) {
            if !is_folded(node, folded) {
                let part = self.part(group);
                part.flops = part.flops.saturating_add(flops(view, node, pack)?);
            }
        }
        Ok(())
    }

    fn add_memory(
        &mut self,
        view: &View<'_>,
        folded: &HashSet<&str>,
        groups: &[Group],
        device: Device,
        pack: RunSizes,
    ) -> Result<()> {
        let storage = storage(view);
        let root = |name: &str| storage.get(name).copied();
        let mut last_use: HashMap<&str, usize> = HashMap::new();
        for (index, node) in view.nodes().iter().enumerate() {
            for name in inputs(node).filter_map(root) {
                last_use.insert(name, index);
            }
        }
        let mut live: u64 = 0;
        for info in &view.graph().input {
            let size = bytes(view, info.name.as_deref().unwrap_or_default(), pack)?;
            live = live.saturating_add(size);
        }
        let outputs: HashSet<&str> = view
            .graph()
            .output
            .iter()
            .filter_map(|info| root(info.name.as_deref()?))
            .collect();
        let mut dying: HashMap<usize, u64> = HashMap::new();
        for (index, (node, &group)) in view.nodes().iter().zip(groups).enumerate() {
            if is_folded(node, folded) {
                continue;
            }
            for name in node.output.iter().map(String::as_str) {
                if name.is_empty() || root(name) != Some(name) {
                    continue;
                }
                let size = bytes(view, name, pack)?;
                live = live.saturating_add(size);
                if !outputs.contains(name) {
                    let end = last_use.get(name).copied().unwrap_or(index);
                    let dying = dying.entry(end).or_default();
                    *dying = dying.saturating_add(size);
                }
            }
            let peak = Peak {
                activations: live,
                workspace: workspace(view, node, device, pack)?,
            };
            let part = self.part(group);
            if peak.bytes() > part.peak.bytes() {
                part.peak = peak;
            }
            live = live.saturating_sub(dying.remove(&index).unwrap_or(0));
        }
        Ok(())
    }
}

/// Which part of the model a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    First,
    Layer(usize),
    Last,
}

/// The layer that a node's name begins with: `layers.3/…`.
fn layer_of(node: &NodeProto) -> Option<usize> {
    let (scope, _) = node.name.as_deref()?.split_once('/')?;
    scope.strip_prefix("layers.")?.parse().ok()
}

/// The outputs of the nodes that are computed once, when the model is loaded.
fn folded<'a>(view: &View<'a>) -> HashSet<&'a str> {
    let mut folded: HashSet<&str> = HashSet::new();
    for node in view.nodes() {
        let constant = inputs(node).all(|name| {
            folded.contains(name)
                || matches!(
                    view.value(name).map(|v| v.source),
                    Some(Source::Constant(_))
                )
        });
        if constant && !node.input.is_empty() {
            folded.extend(node.output.iter().map(String::as_str));
        }
    }
    folded
}

fn is_folded(node: &NodeProto, folded: &HashSet<&str>) -> bool {
    node.output
        .first()
        .is_some_and(|name| folded.contains(name.as_str()))
}

/// For every computed value, the value whose memory it is in: its own, or that of the value it is another shape of.
/// Inputs and constants are left out: they are there all the time.
fn storage<'a>(view: &View<'a>) -> HashMap<&'a str, &'a str> {
    let mut storage: HashMap<&str, &str> = HashMap::new();
    let fixed = |name: &str| view.value(name).is_some_and(|v| v.source != Source::Node);
    let mut borrowed: HashSet<&str> = HashSet::new();
    for node in view.nodes() {
        let reshapes = matches!(
            node.op_type.as_deref(),
            Some("Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Identity")
        );
        for name in node.output.iter().map(String::as_str) {
            match node.input.first().map(String::as_str) {
                Some(from) if reshapes && (fixed(from) || borrowed.contains(from)) => {
                    borrowed.insert(name);
                }
                Some(from) if reshapes => {
                    let root = storage.get(from).copied().unwrap_or(name);
                    storage.insert(name, root);
                }
                _ => {
                    storage.insert(name, name);
                }
            }
        }
    }
    storage
}

fn inputs(node: &NodeProto) -> impl Iterator<Item = &str> {
    node.input
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
}
