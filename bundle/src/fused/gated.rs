//! Two linear layers of which one opens and shuts the other.

use super::{
    nodes::Nodes,
    operators::{
        ACTIVATION, BLOCK_ATTRIBUTES, EXACT, FORMS, GATED_BLOCKS, GATED_ROWS, GELU_TANH, SILU,
    },
    replacement::{Replacement, integer, node},
};
use crate::proto::{
    NodeProto,
    view::{attribute, int},
};

/// The linear layer that makes a value, its place, and its gated form.
fn linear_maker<'a>(nodes: &Nodes<'a>, name: &str) -> Option<(usize, &'a NodeProto, &'static str)> {
    FORMS.into_iter().find_map(|(linear, gated, _)| {
        let (place, node) = nodes.maker(name, linear)?;
        Some((place, node, gated))
    })
}

pub(super) fn find(nodes: &Nodes<'_>) -> Vec<Replacement> {
    nodes
        .all("Mul")
        .filter_map(|(place, product)| gate_of(nodes, place, product))
        .collect()
}

fn gate_of(nodes: &Nodes<'_>, place: usize, product: &NodeProto) -> Option<Replacement> {
    let [activated, up] = product.input.as_slice() else {
        return None;
    };
    let (up_place, up_node, operator) = linear_maker(nodes, up)?;
    nodes.only_reader(up)?;
    nodes.only_reader(activated)?;
    let mut places = vec![place, up_place];
    let (gate, activation) = match nodes.maker(activated, "Gelu") {
        Some((gelu_place, gelu)) => {
            let form = attribute(gelu, "approximate").and_then(|form| form.s.as_deref());
            if form != Some(b"tanh") {
                return None;
            }
            places.push(gelu_place);
            let gate = gelu.input.first()?;
            nodes.only_reader(gate)?;
            (gate, GELU_TANH)
        }
        None => {
            let (silu_place, silu) = nodes.maker(activated, "Mul")?;
            let [gate, sigmoid] = silu.input.as_slice() else {
                return None;
            };
            let (sigmoid_place, node) = nodes.maker(sigmoid, "Sigmoid")?;
            nodes.only_reader(sigmoid)?;
            if node.input.first() != Some(gate) || nodes.readers(gate) != (2, false) {
                return None;
            }
            places.extend([silu_place, sigmoid_place]);
            (gate, SILU)
        }
    };
    let (gate_place, gate_node, gate_operator) = linear_maker(nodes, gate)?;
    places.push(gate_place);
    let same = |name: &str| int(gate_node, name) == int(up_node, name);
    // Both have a bias, or none: no input is left out before one that is there.
    let alike = operator == gate_operator
        && BLOCK_ATTRIBUTES.into_iter().all(same)
        && gate_node.input.len() == up_node.input.len();
    // Gates of the head, were there any, would not be computed as exactly.
    let in_layers = [gate_node, up_node]
        .iter()
        .all(|node| int(node, EXACT) == Some(0));
    if gate_node.input.first() != up_node.input.first() || !alike || !in_layers {
        return None;
    }
    let both = |places: &[usize]| {
        let part = |node: &NodeProto, at: usize| node.input.get(at).cloned().unwrap_or_default();
        let parts = places
            .iter()
            .map(|&at| [part(gate_node, at), part(up_node, at)]);
        parts.collect::<Vec<_>>()
    };
    let mut input = vec![up_node.input.first()?.clone()];
    let mut attributes = vec![integer(ACTIVATION, activation)];
    if matches!(operator, GATED_BLOCKS | GATED_ROWS) {
        let [integers, scales] = <[_; 2]>::try_from(both(&[1, 2])).ok()?;
        let ([gate, up], [gate_scales, up_scales]) = (integers, scales);
        input.extend([gate, gate_scales, up, up_scales]);
        input.extend(both(&[3, 4]).into_iter().flatten());
        let sizes = BLOCK_ATTRIBUTES.into_iter();
        attributes.extend(sizes.filter_map(|name| Some(integer(name, int(up_node, name)?))));
    } else {
        input.extend(both(&[1, 2]).into_iter().flatten());
    }
    Some(Replacement {
        node: node(operator, product, input, attributes),
        places,
    })
}
