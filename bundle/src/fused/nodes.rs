//! Looking around in a graph.

use std::collections::{HashMap, HashSet};

use crate::proto::{ElementType, GraphProto, NodeProto, TensorProto};

/// The nodes of a graph, by what they make and read.
pub(super) struct Nodes<'a> {
    graph: &'a GraphProto,
    makers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    constants: HashMap<&'a str, &'a TensorProto>,
    outputs: HashSet<&'a str>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(graph: &'a GraphProto) -> Self {
        let mut makers = HashMap::new();
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, node) in graph.node.iter().enumerate() {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                makers.insert(name.as_str(), place);
            }
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(place);
            }
        }
        let constants = graph.initializer.iter().filter_map(|tensor| {
            let name = tensor.name.as_deref()?;
            Some((name, tensor))
        });
        Self {
            makers,
            readers,
            constants: constants.collect(),
            outputs: graph
                .output
                .iter()
                .filter_map(|output| output.name.as_deref())
                .collect(),
            graph,
        }
    }

    /// The node that makes a value, when it is such an operator, and its place.
    pub(super) fn maker(&self, name: &str, operator: &str) -> Option<(usize, &'a NodeProto)> {
        let place = *self.makers.get(name)?;
        let node = &self.graph.node[place];
        (node.op_type.as_deref() == Some(operator)).then_some((place, node))
    }

    /// The one node that reads a value, when it is such an operator.
    pub(super) fn reader(&self, name: &str, operator: &str) -> Option<(usize, &'a NodeProto)> {
        let place = self.only_reader(name)?;
        let node = &self.graph.node[place];
        (node.op_type.as_deref() == Some(operator)).then_some((place, node))
    }

    pub(super) fn only_reader(&self, name: &str) -> Option<usize> {
        match self.readers.get(name).map(Vec::as_slice) {
            Some(&[place]) if !self.outputs.contains(name) => Some(place),
            _ => None,
        }
    }

    /// Nodes of an operator.
    pub(super) fn all(&self, operator: &str) -> impl Iterator<Item = (usize, &'a NodeProto)> {
        let nodes = self.graph.node.iter().enumerate();
        nodes.filter(move |(_, node)| node.op_type.as_deref() == Some(operator))
    }

    /// Whether a value is a constant of this type and number of dimensions.
    pub(super) fn is_constant(&self, name: &str, element: ElementType, dimensions: usize) -> bool {
        self.constants.get(name).is_some_and(|tensor| {
            tensor.data_type == Some(element as i32) && tensor.dims.len() == dimensions
        })
    }

    /// Whether a value is a constant of this type that the graph itself holds, with these bytes.
    pub(super) fn is_value(&self, name: &str, element: ElementType, bytes: &[u8]) -> bool {
        self.constants.get(name).is_some_and(|tensor| {
            tensor.data_type == Some(element as i32) && tensor.raw_data.as_deref() == Some(bytes)
        })
    }

    /// The nodes that read a value, and whether the graph gives it out.
    pub(super) fn readers(&self, name: &str) -> (usize, bool) {
        let readers = self.readers.get(name).map_or(0, Vec::len);
        (readers, self.outputs.contains(name))
    }
}
