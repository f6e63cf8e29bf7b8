//! Standard ONNX operators on indices, shapes and masks, operator set 23. They broadcast.

use super::{misfit, onnx::single};
use crate::{
    error::Result,
    graph::{Attribute, Dim, GraphBuilder, Operator, Value},
    proto::ElementType,
};

/// The shape that two shapes broadcast to; sizes known only at run time match by name.
pub(super) fn broadcast_shape(x: &[Dim], y: &[Dim]) -> Option<Vec<Dim>> {
    let (long, short) = if x.len() < y.len() { (y, x) } else { (x, y) };
    let missing = long.len() - short.len();
    let padded = std::iter::repeat_n(&Dim::Fixed(1), missing).chain(short);
    long.iter()
        .zip(padded)
        .map(|pair| match pair {
            (a, b) if a == b => Some(*a),
            (a, Dim::Fixed(1)) => Some(*a),
            (Dim::Fixed(1), b) => Some(*b),
            _ => None,
        })
        .collect()
}

fn binary(
    b: &mut GraphBuilder,
    name: &str,
    op: &'static str,
    x: &Value,
    y: &Value,
    element: ElementType,
) -> Result<Value> {
    let shape = broadcast_shape(x.shape(), y.shape()).filter(|_| x.element() == y.element());
    let Some(shape) = shape else {
        return misfit(name, &[x, y], "two values of one type that broadcast");
    };
    let out = ("", element, shape);
    let inputs = [Some(x), Some(y)];
    single(
        b.node(name, Operator::onnx(op), &inputs, vec![], vec![out])?,
        name,
    )
}

macro_rules! binaries {
    ($($(#[$doc:meta])* $name:ident $op:literal;)+) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`crate::Error::Graph`] when the operands do not fit.
        pub fn $name(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
            binary(b, name, $op, x, y, x.element())
        }
    )+};
}

binaries! {
    /// `x + y`.
    add "Add";
    /// `x - y`.
    sub "Sub";
    /// `x * y`.
    mul "Mul";
    /// `x / y`; of integers, rounded towards zero.
    div "Div";
    /// The smaller of `x` and `y`.
    min "Min";
    /// The larger of `x` and `y`.
    max "Max";
    /// Whether both of the truth values `x` and `y` hold.
    both "And";
}

/// Whether `x` and `y` are equal.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn equal(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
    binary(b, name, "Equal", x, y, ElementType::Bool)
}

/// Whether `x` is smaller than `y`.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn less(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
    binary(b, name, "Less", x, y, ElementType::Bool)
}

/// `x` where `condition` holds, else `y`.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn select(
    b: &mut GraphBuilder,
    name: &str,
    condition: &Value,
    x: &Value,
    y: &Value,
) -> Result<Value> {
    let shape = broadcast_shape(x.shape(), y.shape())
        .and_then(|shape| broadcast_shape(condition.shape(), &shape))
        .filter(|_| condition.element() == ElementType::Bool && x.element() == y.element());
    let Some(shape) = shape else {
        return misfit(
            name,
            &[condition, x, y],
            "a condition and two values of one type that broadcast",
        );
    };
    let out = ("", x.element(), shape);
    let inputs = [Some(condition), Some(x), Some(y)];
    single(
        b.node(name, Operator::onnx("Where"), &inputs, vec![], vec![out])?,
        name,
    )
}

/// The size of `x` along `axis`, as a 64-bit scalar on the host.
///
/// # Errors
/// [`crate::Error::Graph`] when `x` has no such axis.
pub fn size(b: &mut GraphBuilder, name: &str, x: &Value, axis: u32) -> Result<Value> {
    if x.shape().len() <= axis as usize {
        return misfit(name, &[x], &format!("an axis {axis}"));
    }
    let attributes = vec![
        ("end", Attribute::Int(i64::from(axis) + 1)),
        ("start", Attribute::Int(i64::from(axis))),
    ];
    let out = ("", ElementType::Int64, vec![Dim::Fixed(1)]);
    let shape = single(
        b.node(
            &format!("{name}/shape"),
            Operator::onnx("Shape"),
            &[Some(x)],
            attributes,
            vec![out],
        )?,
        name,
    )?;
    let axes = b.constant_i64(&format!("{name}/axes"), &[1], &[0])?;
    let out = ("", ElementType::Int64, vec![]);
    let inputs = [Some(&shape), Some(&axes)];
    single(
        b.node(name, Operator::onnx("Squeeze"), &inputs, vec![], vec![out])?,
        name,
    )
}

/// `start, start + step, …` up to `limit`, which is left out: 64-bit integers, `length` of them.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands are no 64-bit scalars.
pub fn range(
    b: &mut GraphBuilder,
    name: &str,
    start: &Value,
    limit: &Value,
    step: &Value,
    length: Dim,
) -> Result<Value> {
    let scalar = |x: &&Value| x.shape().is_empty() && x.element() == ElementType::Int64;
    if ![start, limit, step].iter().all(scalar) {
        return misfit(name, &[start, limit, step], "three int64 scalars");
    }
    let out = ("", ElementType::Int64, vec![length]);
    let inputs = [Some(start), Some(limit), Some(step)];
    single(
        b.node(name, Operator::onnx("Range"), &inputs, vec![], vec![out])?,
        name,
    )
}

/// Columns of a matrix `x` `[n, m]` picked by `indices` `[k]`: `[n, k]`.
///
/// # Errors
/// [`crate::Error::Graph`] when `x` is no matrix, or `indices` are no vector of 64-bit integers.
pub fn columns(b: &mut GraphBuilder, name: &str, x: &Value, indices: &Value) -> Result<Value> {
    let (&[n, _], &[k], ElementType::Int64) = (x.shape(), indices.shape(), indices.element())
    else {
        return misfit(name, &[x, indices], "a matrix and an int64 vector");
    };
    let out = ("", x.element(), vec![n, k]);
    let inputs = [Some(x), Some(indices)];
    let attributes = vec![("axis", Attribute::Int(1))];
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

/// Sums of the rows of `x` `[n, m]`: `[n, 1]`.
///
/// # Errors
/// [`crate::Error::Graph`] when `x` is no matrix.
pub fn row_sums(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    let &[n, _] = x.shape() else {
        return misfit(name, &[x], "a matrix");
    };
    let axes = b.constant_i64(&format!("{name}/axes"), &[1], &[1])?;
    let out = ("", x.element(), vec![n, Dim::Fixed(1)]);
    let inputs = [Some(x), Some(&axes)];
    let attributes = vec![("keepdims", Attribute::Int(1))];
    single(
        b.node(
            name,
            Operator::onnx("ReduceSum"),
            &inputs,
            attributes,
            vec![out],
        )?,
        name,
    )
}

/// Running sums of `x` along `axis`, each with its own element counted.
///
/// # Errors
/// [`crate::Error::Graph`] when `x` has no such axis.
pub fn running_sums(b: &mut GraphBuilder, name: &str, x: &Value, axis: u32) -> Result<Value> {
    if x.shape().len() <= axis as usize {
        return misfit(name, &[x], &format!("an axis {axis}"));
    }
    let axis = b.constant_i64(&format!("{name}/axis"), &[], &[i64::from(axis)])?;
    let out = ("", x.element(), x.shape().to_vec());
    let inputs = [Some(x), Some(&axis)];
    single(
        b.node(name, Operator::onnx("CumSum"), &inputs, vec![], vec![out])?,
        name,
    )
}

/// The indices of the elements of a vector `x` that are not zero, in order: `[count]`, 64-bit integers.
///
/// # Errors
/// [`crate::Error::Graph`] when `x` is no vector.
pub fn non_zero(b: &mut GraphBuilder, name: &str, x: &Value, count: Dim) -> Result<Value> {
    if x.shape().len() != 1 {
        return misfit(name, &[x], "a vector");
    }
    let out = ("", ElementType::Int64, vec![Dim::Fixed(1), count]);
    let inputs = [Some(x)];
    let indices = single(
        b.node(
            &format!("{name}/indices"),
            Operator::onnx("NonZero"),
            &inputs,
            vec![],
            vec![out],
        )?,
        name,
    )?;
    super::onnx::reshape(b, name, &indices, &[-1], vec![count])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_onnx_says() {
        const N: Dim = Dim::Named("n");
        const M: Dim = Dim::Named("m");
        const ONE: Dim = Dim::Fixed(1);
        type Case<'a> = (&'a [Dim], &'a [Dim], Option<&'a [Dim]>);
        let cases: [Case<'_>; 6] = [
            (&[N, ONE], &[ONE, M], Some(&[N, M])),
            (&[N, M], &[], Some(&[N, M])),
            (&[M], &[N, M], Some(&[N, M])),
            (&[N], &[ONE], Some(&[N])),
            (&[N], &[M], None),
            (&[N, M], &[M, N], None),
        ];
        for (x, y, expected) in cases {
            assert_eq!(broadcast_shape(x, y).as_deref(), expected, "{x:?} {y:?}");
        }
    }
}
