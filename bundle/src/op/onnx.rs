//! Standard ONNX operators, operator set 23.

use super::misfit;
use crate::{
    error::Result,
    graph::{Attribute, Dim, GraphBuilder, Operator, Value},
    proto::ElementType,
};

pub(super) fn single(mut values: Vec<Value>, node: &str) -> Result<Value> {
    match values.pop() {
        Some(value) => Ok(value),
        None => misfit(node, &[], "an output"),
    }
}

fn unary(b: &mut GraphBuilder, name: &str, op: &'static str, x: &Value) -> Result<Value> {
    let out = ("", x.element(), x.shape().to_vec());
    single(
        b.node(name, Operator::onnx(op), &[Some(x)], vec![], vec![out])?,
        name,
    )
}

fn binary(
    b: &mut GraphBuilder,
    name: &str,
    op: &'static str,
    x: &Value,
    y: &Value,
) -> Result<Value> {
    if x.element() != y.element() || x.shape() != y.shape() {
        return misfit(name, &[x, y], "two values of the same type and shape");
    }
    let out = ("", x.element(), x.shape().to_vec());
    single(
        b.node(
            name,
            Operator::onnx(op),
            &[Some(x), Some(y)],
            vec![],
            vec![out],
        )?,
        name,
    )
}

/// `x + y`, same shapes.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn add(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
    binary(b, name, "Add", x, y)
}

/// `x * y` element by element, same shapes.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn mul(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
    binary(b, name, "Mul", x, y)
}

/// Every element of `x` times a constant, which is rounded to the type of `x`.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn scale(b: &mut GraphBuilder, name: &str, x: &Value, factor: f32) -> Result<Value> {
    with_constant(b, name, "Mul", x, "factor", factor)
}

/// Every element of `x` plus a constant, which is rounded to the type of `x`.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn offset(b: &mut GraphBuilder, name: &str, x: &Value, summand: f32) -> Result<Value> {
    with_constant(b, name, "Add", x, "summand", summand)
}

fn with_constant(
    b: &mut GraphBuilder,
    name: &str,
    op: &'static str,
    x: &Value,
    role: &str,
    constant: f32,
) -> Result<Value> {
    let constant = b.constant_f32(&format!("{name}/{role}"), &[], &[constant])?;
    let constant = cast(b, &format!("{name}/{role}/cast"), &constant, x.element())?;
    let out = ("", x.element(), x.shape().to_vec());
    let inputs = [Some(x), Some(&constant)];
    single(
        b.node(name, Operator::onnx(op), &inputs, vec![], vec![out])?,
        name,
    )
}

/// The product of a column `[n, 1]` and a row `[1, m]`: `[n, m]`.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn outer(b: &mut GraphBuilder, name: &str, column: &Value, row: &Value) -> Result<Value> {
    match (column.shape(), row.shape()) {
        ([n, Dim::Fixed(1)], [Dim::Fixed(1), m]) if column.element() == row.element() => {
            let out = ("", column.element(), vec![*n, *m]);
            let inputs = [Some(column), Some(row)];
            single(
                b.node(name, Operator::onnx("Mul"), &inputs, vec![], vec![out])?,
                name,
            )
        }
        _ => misfit(name, &[column, row], "[n, 1] and [1, m] of one type"),
    }
}

/// Logistic function.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn sigmoid(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    unary(b, name, "Sigmoid", x)
}

/// `max(x, 0)`.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn relu(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    unary(b, name, "Relu", x)
}

/// Hyperbolic tangent.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn tanh(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    unary(b, name, "Tanh", x)
}

/// Gaussian error linear unit, approximated by a hyperbolic tangent.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn gelu_tanh(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    let out = ("", x.element(), x.shape().to_vec());
    let attributes = vec![("approximate", Attribute::Text("tanh"))];
    single(
        b.node(
            name,
            Operator::onnx("Gelu"),
            &[Some(x)],
            attributes,
            vec![out],
        )?,
        name,
    )
}

/// Cosine.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn cos(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    unary(b, name, "Cos", x)
}

/// Sine.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn sin(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    unary(b, name, "Sin", x)
}

/// `x` in another element type; `x` itself when it has that type already.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn cast(b: &mut GraphBuilder, name: &str, x: &Value, to: ElementType) -> Result<Value> {
    if x.element() == to {
        return Ok(x.clone());
    }
    let out = ("", to, x.shape().to_vec());
    let attributes = vec![("to", Attribute::Int(i64::from(to as i32)))];
    single(
        b.node(
            name,
            Operator::onnx("Cast"),
            &[Some(x)],
            attributes,
            vec![out],
        )?,
        name,
    )
}

/// `x` in another shape. `target` follows `Reshape`: -1 is worked out, 0 keeps the dimension at its place.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken or the ranks of `target` and `shape` differ.
pub fn reshape(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    target: &[i64],
    shape: Vec<Dim>,
) -> Result<Value> {
    if target.len() != shape.len() {
        return misfit(name, &[x], "a target of the rank of the shape");
    }
    let target = b.constant_i64(&format!("{name}/shape"), &[target.len() as u64], target)?;
    let out = ("", x.element(), shape);
    let inputs = [Some(x), Some(&target)];
    single(
        b.node(name, Operator::onnx("Reshape"), &inputs, vec![], vec![out])?,
        name,
    )
}

/// Rows of `table` (its first dimension) picked by `indices`.
///
/// # Errors
/// [`crate::Error::Graph`] when `indices` are not 64-bit integers or `table` has no dimension.
pub fn gather(b: &mut GraphBuilder, name: &str, table: &Value, indices: &Value) -> Result<Value> {
    let Some((_, row)) = table.shape().split_first() else {
        return misfit(name, &[table, indices], "a table of rank 1 or more");
    };
    if indices.element() != ElementType::Int64 {
        return misfit(name, &[table, indices], "int64 indices");
    }
    let shape = [indices.shape(), row].concat();
    let out = ("", table.element(), shape);
    let attributes = vec![("axis", Attribute::Int(0))];
    let inputs = [Some(table), Some(indices)];
    single(
        b.node(
            name,
            Operator::onnx("Gather"),
            &inputs,
            attributes,
            vec![out],
        )?,
        name,
    )
}

/// Linear layer `x · weightᵀ + bias`: `x` is `[n, in]`, `weight` `[out, in]` as checkpoints store it.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn gemm(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    weight: &Value,
    bias: Option<&Value>,
) -> Result<Value> {
    let expected = "[n, in], [out, in] and [out] of one type";
    let (&[n, input], &[output, input_of_weight]) = (x.shape(), weight.shape()) else {
        return misfit(name, &[x, weight], expected);
    };
    let bias_fits =
        bias.is_none_or(|bias| bias.shape() == [output] && bias.element() == x.element());
    if input != input_of_weight || x.element() != weight.element() || !bias_fits {
        return misfit(name, &[x, weight], expected);
    }
    let mut inputs = vec![Some(x), Some(weight)];
    inputs.extend(bias.map(Some));
    let attributes = vec![("transB", Attribute::Int(1))];
    let out = ("", x.element(), vec![n, output]);
    single(
        b.node(name, Operator::onnx("Gemm"), &inputs, attributes, vec![out])?,
        name,
    )
}

/// Root-mean-square normalisation of the last dimension, computed in 32-bit floats.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn rms_normalization(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    scale: &Value,
    epsilon: f32,
) -> Result<Value> {
    if scale.shape() != [x.shape().last().copied().unwrap_or(Dim::Fixed(0))]
        || scale.element() != x.element()
    {
        return misfit(name, &[x, scale], "[…, n] and [n] of one type");
    }
    let attributes = vec![
        ("axis", Attribute::Int(-1)),
        ("epsilon", Attribute::Float(epsilon)),
        ("stash_type", Attribute::Int(1)),
    ];
    let out = ("", x.element(), x.shape().to_vec());
    let inputs = [Some(x), Some(scale)];
    single(
        b.node(
            name,
            Operator::onnx("RMSNormalization"),
            &inputs,
            attributes,
            vec![out],
        )?,
        name,
    )
}

/// Rotary position embedding (half-split layout) of `x` `[batch, sequence, heads * head size]`, with
/// `cos` and `sin` `[batch, sequence, head size / 2]`.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn rotary_embedding(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    cos: &Value,
    sin: &Value,
    heads: u64,
) -> Result<Value> {
    let fits = |table: &Value| {
        table.element() == x.element()
            && table.shape().len() == 3
            && x.shape().len() == 3
            && table.shape()[..2] == x.shape()[..2]
            && table.width().map(|half| half * 2 * heads) == x.width()
    };
    if !fits(cos) || !fits(sin) {
        return misfit(
            name,
            &[x, cos, sin],
            "[batch, sequence, heads * size] and two [batch, sequence, size / 2] of one type",
        );
    }
    let attributes = vec![
        ("interleaved", Attribute::Int(0)),
        ("num_heads", Attribute::Int(heads.cast_signed())),
    ];
    let out = ("", x.element(), x.shape().to_vec());
    let inputs = [Some(x), Some(cos), Some(sin)];
    single(
        b.node(
            name,
            Operator::onnx("RotaryEmbedding"),
            &inputs,
            attributes,
            vec![out],
        )?,
        name,
    )
}
