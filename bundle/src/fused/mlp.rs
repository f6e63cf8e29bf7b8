//! A gated layer, and the linear layer that reads it.

use super::{
    nodes::Nodes,
    operators::{ACTIVATION, BLOCK_ATTRIBUTES, EXACT, FORMS, GATED_BLOCKS, GATED_ROWS},
    replacement::{Replacement, integer, node},
};
use crate::proto::{NodeProto, view::int};

pub(super) fn find(nodes: &Nodes<'_>) -> Vec<Replacement> {
    let forms = FORMS.into_iter();
    forms
        .flat_map(|(linear, gated, mlp)| {
            let downs = nodes.all(linear);
            downs.filter_map(move |(place, down)| mlp_of(nodes, (place, down), (gated, mlp)))
        })
        .collect()
}

fn mlp_of(
    nodes: &Nodes<'_>,
    (place, down): (usize, &NodeProto),
    (gated, operator): (&'static str, &str),
) -> Option<Replacement> {
    let hidden = down.input.first()?;
    let (gated_place, gate) = nodes.maker(hidden, gated)?;
    nodes.only_reader(hidden)?;
    let same = |name: &str| int(gate, name) == int(down, name);
    if int(down, EXACT) != Some(0) || !BLOCK_ATTRIBUTES.into_iter().all(same) {
        return None;
    }
    let (parts, zero_points) = match gated {
        GATED_BLOCKS | GATED_ROWS => (2, 1),
        _ => (1, 0),
    };
    // Without the tokens: values and scales of each weight, then zero points, then biases.
    let (gate_input, down_input) = (gate.input.get(1..)?, down.input.get(1..)?);
    let (gate_values, gate_rest) = gate_input.split_at_checked(2 * parts)?;
    let (gate_zeros, gate_biases) = gate_rest.split_at_checked(2 * zero_points)?;
    let (down_values, down_rest) = down_input.split_at_checked(parts)?;
    let (down_zeros, down_biases) = down_rest.split_at_checked(zero_points)?;
    // All have a bias, or none: no input is left out before one that is there.
    if gate_biases.is_empty() != down_biases.is_empty() {
        return None;
    }
    let tokens = &gate.input[..1];
    let values = [tokens, gate_values, down_values];
    let rest = [gate_zeros, down_zeros, gate_biases, down_biases];
    let input = values.into_iter().chain(rest).flatten().cloned().collect();
    let attributes = [ACTIVATION].into_iter().chain(BLOCK_ATTRIBUTES);
    let attributes = attributes.filter_map(|name| Some(integer(name, int(gate, name)?)));
    Some(Replacement {
        node: node(operator, down, input, attributes.collect()),
        places: vec![gated_place, place],
    })
}
