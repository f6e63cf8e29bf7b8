//! Standard ONNX operators on stacks of matrices, and attention, which is made of them; operator set 23.

use super::{Projections, index::broadcast_shape, misfit, onnx::single};
use crate::{
    error::Result,
    graph::{Attribute, Dim, GraphBuilder, Operator, Value},
    proto::ElementType,
};

/// The product of every pair of matrices of `x` `[…, n, k]` and `y` `[…, k, m]`: `[…, n, m]`. The dimensions
/// before the matrices broadcast.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn matmul(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
    let shape = match (x.shape(), y.shape()) {
        ([stack @ .., n, k], [other @ .., inner, m])
            if k == inner && x.element() == y.element() =>
        {
            broadcast_shape(stack, other).map(|stack| [&stack, [*n, *m].as_slice()].concat())
        }
        _ => None,
    };
    let Some(shape) = shape else {
        return misfit(name, &[x, y], "[…, n, k] and […, k, m] of one type");
    };
    let out = ("", x.element(), shape);
    let inputs = [Some(x), Some(y)];
    single(
        b.node(name, Operator::onnx("MatMul"), &inputs, vec![], vec![out])?,
        name,
    )
}

/// `x` with its dimensions in another order.
///
/// # Errors
/// [`crate::Error::Graph`] when `order` does not name every dimension of `x` once.
pub fn transpose(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    order: &'static [i64],
) -> Result<Value> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted
        .into_iter()
        .eq(0..x.shape().len().cast_signed() as i64)
    {
        return misfit(name, &[x], &format!("the dimensions {order:?}"));
    }
    let shape: Vec<Dim> = order
        .iter()
        .filter_map(|&axis| x.shape().get(axis.cast_unsigned() as usize).copied())
        .collect();
    let out = ("", x.element(), shape);
    let attributes = vec![("perm", Attribute::Ints(order))];
    single(
        b.node(
            name,
            Operator::onnx("Transpose"),
            &[Some(x)],
            attributes,
            vec![out],
        )?,
        name,
    )
}

/// Exponentials over the last dimension, divided by their sum.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn softmax(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    let out = ("", x.element(), x.shape().to_vec());
    let attributes = vec![("axis", Attribute::Int(-1))];
    single(
        b.node(
            name,
            Operator::onnx("Softmax"),
            &[Some(x)],
            attributes,
            vec![out],
        )?,
        name,
    )
}

/// Attention over rows, the products of queries and keys times `scale`, or `1 / sqrt(size)`.
///
/// A token sees what `mask` `[1, 1, sequence, sequence]` has true in its row or, without a mask, itself and
/// what is before it.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn attention(
    b: &mut GraphBuilder,
    name: &str,
    projections: Projections<'_>,
    mask: Option<&Value>,
    scale: Option<f32>,
) -> Result<Value> {
    projections.check(name)?;
    let Projections {
        query,
        key,
        value,
        heads,
    } = projections;
    let mut attributes = vec![
        (
            "kv_num_heads",
            Attribute::Int(heads.key_value.cast_signed()),
        ),
        ("q_num_heads", Attribute::Int(heads.query.cast_signed())),
    ];
    let mut inputs = vec![Some(query), Some(key), Some(value)];
    match mask {
        Some(mask) => {
            let length = query.shape()[1];
            let square = [Dim::Fixed(1), Dim::Fixed(1), length, length];
            if mask.element() != ElementType::Bool || mask.shape() != square {
                return misfit(name, &[query, mask], "a bool [1, 1, sequence, sequence]");
            }
            inputs.push(Some(mask));
        }
        None => attributes.insert(0, ("is_causal", Attribute::Int(1))),
    }
    if let Some(scale) = scale {
        attributes.push(("scale", Attribute::Float(scale)));
    }
    let out = ("", query.element(), query.shape().to_vec());
    single(
        b.node(
            name,
            Operator::onnx("Attention"),
            &inputs,
            attributes,
            vec![out],
        )?,
        name,
    )
}
