//! Attention over packed tokens.

use super::{
    nodes::Nodes,
    operators::ATTENTION,
    replacement::{Replacement, node},
};
use crate::proto::{NodeProto, view::int};

/// The attributes of `GroupQueryAttention` that are known here.
const ATTENTION_ATTRIBUTES: [&str; 6] = [
    "do_rotary",
    "num_heads",
    "kv_num_heads",
    "scale",
    "softcap",
    "local_window_size",
];

pub(super) fn find(nodes: &Nodes<'_>) -> Vec<Replacement> {
    let found = nodes
        .all("GroupQueryAttention")
        .filter_map(|(place, attention)| attention_at(nodes, place, attention));
    found.collect()
}

fn attention_at(nodes: &Nodes<'_>, place: usize, attention: &NodeProto) -> Option<Replacement> {
    let known = attention.attribute.iter().all(|attribute| {
        let name = attribute.name.as_deref().unwrap_or_default();
        ATTENTION_ATTRIBUTES.contains(&name)
    });
    let (operands, rest) = attention.input.split_at_checked(3)?;
    // Past keys and values, and what is given after the row lengths.
    let has_past = rest.iter().take(2).any(|name| !name.is_empty());
    let has_more = rest.iter().skip(4).any(|name| !name.is_empty());
    let (out, present) = attention.output.split_first()?;
    let is_read = present.iter().any(|name| nodes.readers(name).0 > 0);
    if !known || has_past || has_more || is_read || int(attention, "do_rotary").unwrap_or(0) != 0 {
        return None;
    }
    let mut places = vec![place];
    let mut input = Vec::new();
    let mut rows = None;
    for operand in operands {
        let (place, gather) = nodes.maker(operand, "Gather")?;
        nodes.only_reader(operand)?;
        let [packed, indices] = gather.input.as_slice() else {
            return None;
        };
        if int(gather, "axis").unwrap_or(0) != 0 || *rows.get_or_insert(indices) != indices {
            return None;
        }
        places.push(place);
        input.push(packed.clone());
    }
    let (reshape_place, reshape) = nodes.reader(out, "Reshape")?;
    let (gather_place, gather) = nodes.reader(reshape.output.first()?, "Gather")?;
    let [flat, cells] = gather.input.as_slice() else {
        return None;
    };
    if int(gather, "axis").unwrap_or(0) != 0 || Some(flat) != reshape.output.first() {
        return None;
    }
    places.extend([reshape_place, gather_place]);
    input.extend([rows?.clone(), cells.clone()]);
    Some(Replacement {
        node: node(ATTENTION, gather, input, attention.attribute.clone()),
        places,
    })
}
