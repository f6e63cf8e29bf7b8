//! Linear layers, by how their weights are stored.

use super::{
    nodes::Nodes,
    operators::{EXACT, LINEAR_BLOCKS, LINEAR_ROWS, SHORT, ZERO_POINTS},
    replacement::{Replacement, integer, node},
};
use crate::proto::{
    AttributeProto, ElementType, NodeProto,
    view::{float, int},
};

/// What blocks of integers must be a multiple of.
const BLOCK_MULTIPLE: i64 = 32;
/// What stands for zero in rows of unsigned bytes.
const MIDDLE: u8 = 128;

/// Those with weights of 16 bits.
pub(super) fn of_floats(nodes: &Nodes<'_>) -> Vec<Replacement> {
    nodes
        .all("Gemm")
        .filter_map(|(place, gemm)| short(nodes, place, gemm))
        .collect()
}

/// Those with integers in blocks.
pub(super) fn of_blocks(nodes: &Nodes<'_>) -> Vec<Replacement> {
    nodes
        .all("MatMulNBits")
        .filter_map(|(place, product)| blocks(nodes, place, product))
        .collect()
}

/// Those with integers that have a scale for each row.
pub(super) fn of_rows(nodes: &Nodes<'_>) -> Vec<Replacement> {
    nodes
        .all("QGemm")
        .filter_map(|(place, product)| rows(nodes, place, product))
        .collect()
}

fn short(nodes: &Nodes<'_>, place: usize, gemm: &NodeProto) -> Option<Replacement> {
    let plain = int(gemm, "transB") == Some(1)
        && int(gemm, "transA").unwrap_or(0) == 0
        && float(gemm, "alpha").is_none_or(|alpha| alpha == 1.0)
        && float(gemm, "beta").is_none_or(|beta| beta == 1.0);
    let (_, cast) = nodes.maker(gemm.input.get(1)?, "Cast")?;
    let weight = cast.input.first()?;
    let (_, operator) = SHORT
        .into_iter()
        .find(|&(element, _)| nodes.is_constant(weight, element, 2))?;
    if !plain || int(cast, "to") != Some(ElementType::Float as i64) {
        return None;
    }
    let mut input = vec![gemm.input.first()?.clone(), weight.clone()];
    input.extend(gemm.input.get(2).cloned());
    let exact = is_exact(weight);
    Some(Replacement {
        node: node(operator, gemm, input, vec![exact]),
        places: vec![place],
    })
}

fn blocks(nodes: &Nodes<'_>, place: usize, product: &NodeProto) -> Option<Replacement> {
    let part = |at: usize| product.input.get(at).map_or("", String::as_str);
    let (bits, block_size) = (int(product, "bits")?, int(product, "block_size")?);
    let fits = nodes.is_constant(part(1), ElementType::Uint8, 3)
        && nodes.is_constant(part(2), ElementType::Float, 2)
        && (part(3).is_empty() || nodes.is_constant(part(3), ElementType::Uint8, 2))
        && part(4).is_empty()
        && matches!(bits, 4 | 8)
        && block_size > 0
        && block_size % BLOCK_MULTIPLE == 0;
    if !fits {
        return None;
    }
    let has_zero_points = !part(3).is_empty();
    let zero_points = if has_zero_points { 3 } else { 1 };
    let input = [0, 1, 2, zero_points, 5].map(|at| part(at).to_owned());
    let attributes = vec![
        is_exact(part(1)),
        integer("bits", bits),
        integer("block_size", block_size),
        integer(ZERO_POINTS, has_zero_points.into()),
    ];
    Some(Replacement {
        node: node(LINEAR_BLOCKS, product, input.into(), attributes),
        places: vec![place],
    })
}

/// A product of rows that are made integers for it, which get their scales back afterwards.
fn rows(nodes: &Nodes<'_>, place: usize, product: &NodeProto) -> Option<Replacement> {
    let [made, one, middle, integers, scales, zero_points] = product.input.as_slice() else {
        return None;
    };
    let (_, quantize) = nodes.maker(made, "QuantizeLinear")?;
    let [x, row_scales, row_zero_points] = quantize.input.as_slice() else {
        return None;
    };
    let (_, reshape) = nodes.maker(row_scales, "Reshape")?;
    let (_, expand) = nodes.maker(row_zero_points, "Expand")?;
    let sums = product.output.first()?;
    let (scaled_place, scaled) = nodes.reader(sums, "Mul")?;
    let [first, second] = scaled.input.as_slice() else {
        return None;
    };
    let plain = int(product, "transB") == Some(1)
        && int(product, "transA").unwrap_or(0) == 0
        && float(product, "alpha").is_none_or(|alpha| alpha == 1.0);
    let fits = plain
        && nodes.is_value(one, ElementType::Float, &1.0_f32.to_le_bytes())
        && nodes.is_value(middle, ElementType::Uint8, &[MIDDLE])
        && expand.input.first() == Some(middle)
        && int(quantize, "axis") == Some(0)
        && nodes.is_constant(integers, ElementType::Int8, 2)
        && nodes.is_constant(scales, ElementType::Float, 1)
        && nodes.is_constant(zero_points, ElementType::Int8, 1)
        && first == sums
        && Some(second) == reshape.input.first();
    if !fits {
        return None;
    }
    let mut input = vec![x, integers, scales, zero_points];
    let mut places = vec![place, scaled_place];
    let mut last = scaled;
    if let Some((place, add)) = nodes.reader(scaled.output.first()?, "Add")
        && let [sum, bias] = add.input.as_slice()
        && scaled.output.first() == Some(sum)
        && nodes.is_constant(bias, ElementType::Float, 1)
    {
        input.push(bias);
        places.push(place);
        last = add;
    }
    let input = input.into_iter().cloned().collect();
    Some(Replacement {
        node: node(LINEAR_ROWS, last, input, vec![is_exact(integers)]),
        places,
    })
}

fn is_exact(weight: &str) -> AttributeProto {
    integer(EXACT, (!weight.contains("layers.")).into())
}
