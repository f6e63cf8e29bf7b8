//! Cuts a part out of a graph.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Value,
    model::{Graph, Initializer, Node},
};
use crate::error::Result;

/// A value at which a graph is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// The value.
    pub value: &'a Value,
    /// Its name in the part that begins or ends there.
    pub name: &'a str,
}

impl Graph {
    /// The part called `name` that computes `to` out of `from` and the inputs of the graph, with no node, weight or
    /// input that it does not need. Without `to` it computes the outputs of the graph.
    ///
    /// `from` becomes the first input and `to` the only output. Everything else keeps its name and its order, except for
    /// [shared constants](super::GraphBuilder::shared_constant), which stand where the part uses them first: a part is
    /// the same as if it had been built alone.
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) when the part is not well formed, as when `to` does not depend on `from`;
    /// see [`Graph::check`].
    pub fn part(&self, name: &str, from: Option<Cut<'_>>, to: Option<Cut<'_>>) -> Result<Self> {
        let outputs: Vec<Value> = match to {
            Some(cut) => vec![cut.value.clone()],
            None => self.outputs.clone(),
        };
        let nodes = self.nodes_between(from, &outputs);
        let renamed: HashMap<&str, Arc<str>> = from
            .iter()
            .chain(&to)
            .map(|cut| (cut.value.name(), cut.name.into()))
            .collect();
        let rename = |name: &Arc<str>| renamed.get(&**name).unwrap_or(name).clone();
        let rename_value = |value: &Value| Value {
            name: rename(&value.name),
            ..value.clone()
        };
        let used: HashSet<&str> = nodes
            .iter()
            .flat_map(|node| node.inputs.iter().flatten().map(|name| &**name))
            .collect();
        let inputs = from.iter().map(|cut| cut.value).chain(
            self.inputs
                .iter()
                .filter(|input| used.contains(input.name())),
        );
        let part = Self {
            name: name.to_owned(),
            inputs: inputs.map(rename_value).collect(),
            outputs: outputs.iter().map(rename_value).collect(),
            initializers: self.initializers_of(&nodes),
            nodes: nodes
                .into_iter()
                .map(|node| Node {
                    inputs: node
                        .inputs
                        .iter()
                        .map(|input| input.as_ref().map(rename))
                        .collect(),
                    outputs: node.outputs.iter().map(rename_value).collect(),
                    ..node.clone()
                })
                .collect(),
        };
        part.check()?;
        Ok(part)
    }

    /// The nodes that `outputs` depend on, back to `from`.
    fn nodes_between(&self, from: Option<Cut<'_>>, outputs: &[Value]) -> Vec<&Node> {
        let mut needed: HashSet<&str> = outputs.iter().map(Value::name).collect();
        let mut nodes = Vec::new();
        for node in self.nodes.iter().rev() {
            let is_given = |value: &Value| from.is_some_and(|cut| cut.value.name == value.name);
            let gives = |value: &Value| needed.contains(value.name()) && !is_given(value);
            if node.outputs.iter().any(gives) {
                needed.extend(node.inputs.iter().flatten().map(|name| &**name));
                nodes.push(node);
            }
        }
        nodes.reverse();
        nodes
    }

    /// The initializers of `nodes`, in the order in which a builder that adds these nodes alone makes them.
    fn initializers_of(&self, nodes: &[&Node]) -> Vec<Initializer> {
        let mut first_use: HashMap<&str, usize> = HashMap::new();
        for node in nodes {
            for input in node.inputs.iter().flatten() {
                first_use.entry(input).or_insert(node.initializers);
            }
        }
        let mut used: Vec<(usize, bool, &Initializer)> = self
            .initializers
            .iter()
            .enumerate()
            .filter_map(|(index, initializer)| {
                let &first = first_use.get(initializer.value.name())?;
                Some(match initializer.shared {
                    true => (first, false, initializer),
                    false => (index, true, initializer),
                })
            })
            .collect();
        used.sort_by_key(|&(position, own, _)| (position, own));
        used.into_iter()
            .map(|(.., initializer)| initializer.clone())
            .collect()
    }
}
