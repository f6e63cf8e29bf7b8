//! What the parts of a model cost: bytes of weights, work, and memory while they run. Read from the graphs
//! themselves, so that it holds for every architecture, precision and interface.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    error::{Error, Result},
    names::WIDE_COLUMNS,
    proto::{
        ModelProto, NodeProto,
        view::{Size, Source, View, element_bits, int, operator},
    },
    vocabulary::Device,
};

/// The sizes of one run of a model, for which its memory and its work are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunSizes {
    /// Unique tokens, `T`.
    pub tokens: u64,
    /// Attention rows, `B`.
    pub rows: u64,
    /// Tokens of the longest row, `S`.
    pub columns: u64,
    /// Scored tokens, `N`.
    pub scored: u64,
    /// The squares of the rows' lengths, padding left out, added up: what attention has to compute is in proportion.
    pub row_squares: u64,
}

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
    /// [`Error::Graph`] when the shape of a value is not known.
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

/// The sizes of a value.
fn shape(view: &View<'_>, name: &str, pack: RunSizes) -> Result<Vec<u64>> {
    let shape = view.value(name).and_then(|value| value.shape.as_ref());
    let sizes = shape.map(|sizes| sizes.iter().map(|&size| pack.size(size)).collect());
    sizes.flatten().ok_or_else(|| Error::Graph {
        node: name.to_owned(),
        problem: "the shape of this value is not known".into(),
    })
}

impl RunSizes {
    /// A pack whose rows all have `columns` tokens.
    #[must_use]
    pub fn of_even_rows(tokens: u64, rows: u64, columns: u64, scored: u64) -> Self {
        Self {
            tokens,
            rows,
            columns,
            scored,
            row_squares: product(&[rows, columns, columns]),
        }
    }

    fn size(&self, size: Size<'_>) -> Option<u64> {
        Some(match size {
            Size::Fixed(size) => size,
            Size::Named("T") => self.tokens,
            Size::Named("N") => self.scored,
            Size::Named("B" | "batch") => self.rows,
            Size::Named("S" | "sequence") => self.columns,
            Size::Named("W") => self.columns.max(WIDE_COLUMNS),
            Size::Named("B*S" | "batch*sequence") => self.rows.saturating_mul(self.columns),
            Size::Named(_) => return None,
        })
    }
}

fn bytes(view: &View<'_>, name: &str, pack: RunSizes) -> Result<u64> {
    let element = view.value(name).map_or("undefined", |value| value.element);
    let elements = product(&shape(view, name, pack)?);
    Ok(elements.saturating_mul(element_bits(element)).div_ceil(8))
}

fn product(sizes: &[u64]) -> u64 {
    sizes.iter().fold(1, |all, &size| all.saturating_mul(size))
}

fn input(node: &NodeProto, index: usize) -> &str {
    node.input.get(index).map_or("", String::as_str)
}

/// Multiplications and additions of a node.
fn flops(view: &View<'_>, node: &NodeProto, pack: RunSizes) -> Result<u64> {
    let rows_and_depth = || -> Result<(u64, u64)> {
        let x = shape(view, input(node, 0), pack)?;
        let (depth, rows) = x
            .split_last()
            .map_or((0, 0), |(k, rows)| (*k, product(rows)));
        Ok((rows, depth))
    };
    let width = || -> Result<u64> {
        let y = shape(view, node.output.first().map_or("", String::as_str), pack)?;
        Ok(y.last().copied().unwrap_or(0))
    };
    Ok(match operator(node).as_str() {
        "Gemm"
        | "MatMul"
        | "MatMulInteger"
        | "com.microsoft.FusedMatMul"
        | "com.microsoft.MatMulNBits"
        | "com.microsoft.QGemm"
        | "com.microsoft.MatMulIntegerToFloat" => {
            let (rows, depth) = rows_and_depth()?;
            product(&[2, rows, depth, width()?])
        }
        "Attention" | "com.microsoft.GroupQueryAttention" | "com.microsoft.MultiHeadAttention" => {
            let query = attention_sizes(view, node, pack)?;
            // For a row of S tokens two products of [S, d] and [d, S], of which causality needs half.
            product(&[2, pack.row_squares, query.width])
        }
        _ => 0,
    })
}

struct AttentionSizes {
    rows: u64,
    columns: u64,
    heads: u64,
    width: u64,
}

/// Of queries `[B, S, heads * size]`, or `[B, heads, S, size]`.
fn attention_sizes(view: &View<'_>, node: &NodeProto, pack: RunSizes) -> Result<AttentionSizes> {
    let heads = ["num_heads", "q_num_heads"]
        .iter()
        .find_map(|name| int(node, name))
        .unwrap_or(1);
    match *shape(view, input(node, 0), pack)?.as_slice() {
        [rows, columns, width] => Ok(AttentionSizes {
            rows,
            columns,
            heads: heads.unsigned_abs(),
            width,
        }),
        [rows, heads, columns, size] => Ok(AttentionSizes {
            rows,
            columns,
            heads,
            width: heads.saturating_mul(size),
        }),
        _ => Err(Error::Graph {
            node: node.name.clone().unwrap_or_default(),
            problem: "the queries of an attention have three or four dimensions".into(),
        }),
    }
}

/// Bytes that a kernel takes for itself.
fn workspace(view: &View<'_>, node: &NodeProto, device: Device, pack: RunSizes) -> Result<u64> {
    let operator = operator(node);
    Ok(match (operator.as_str(), device) {
        ("Attention", Device::Cpu) => {
            let sizes = attention_sizes(view, node, pack)?;
            product(&[2, 4, sizes.rows, sizes.heads, sizes.columns, sizes.columns])
        }
        ("Attention" | "com.microsoft.GroupQueryAttention", Device::Cuda) => {
            let sizes = attention_sizes(view, node, pack)?;
            product(&[4, sizes.rows, sizes.heads, sizes.columns])
        }
        ("com.microsoft.MatMulNBits", Device::Cuda) => {
            let element = view.value(input(node, 0)).map_or("float", |v| v.element);
            let size = |name| int(node, name).unwrap_or(0).unsigned_abs();
            product(&[size("N"), size("K"), element_bits(element) / 8])
        }
        _ => 0,
    })
}
