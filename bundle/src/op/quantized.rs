//! Operators on integers that stand for floats, and what scales need.

use super::{misfit, onnx::single};
use crate::{
    error::Result,
    graph::{Attribute, Dim, GraphBuilder, Operator, Value},
    proto::ElementType,
};

/// A weight `[out, in]` as integers with a scale for each block of a row, laid out for [`matmul_nbits`].
#[derive(Clone, Debug)]
pub struct BlockWeight {
    /// Bits of an integer: 4 or 8.
    pub bits: u64,
    /// Values of a block.
    pub block_size: u64,
    /// The integers: `[out, blocks, block size * bits / 8]`, bytes.
    pub integers: Value,
    /// The scales: `[out, blocks]`, of the type of the activations.
    pub scales: Value,
    /// The zero points, packed like the integers: `[out, blocks * bits / 8]`, bytes. Without them they are
    /// `2^(bits - 1)`.
    pub zero_points: Option<Value>,
}

/// `x · weightᵀ + bias` with a weight of 4-bit or 8-bit integers: ONNX Runtime's `MatMulNBits`. `x` is `[n, in]`.
///
/// `accuracy_level` 4 lets the CPU provider work with 8-bit integers, which it makes of each block of a row of `x`.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn matmul_nbits(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    weight: &BlockWeight,
    bias: Option<&Value>,
    accuracy_level: Option<i64>,
) -> Result<Value> {
    let BlockWeight {
        bits,
        block_size,
        integers,
        scales,
        zero_points,
    } = weight;
    let expected = "[n, in], [out, blocks, bytes] and [out, blocks]";
    let (&[n, Dim::Fixed(input)], &[Dim::Fixed(output), ..]) = (x.shape(), integers.shape()) else {
        return misfit(name, &[x, integers, scales], expected);
    };
    let blocks = input.div_ceil(*block_size);
    let fits = is(
        integers,
        ElementType::Uint8,
        &[output, blocks, block_size * bits / 8],
    ) && is(scales, x.element(), &[output, blocks])
        && zero_points.as_ref().is_none_or(|zero_points| {
            is(
                zero_points,
                ElementType::Uint8,
                &[output, (blocks * bits).div_ceil(8)],
            )
        })
        && bias.is_none_or(|bias| is(bias, x.element(), &[output]));
    if !fits {
        return misfit(name, &[x, integers, scales], expected);
    }
    let mut attributes = vec![
        ("K", Attribute::Int(input.cast_signed())),
        ("N", Attribute::Int(output.cast_signed())),
        ("bits", Attribute::Int(bits.cast_signed())),
        ("block_size", Attribute::Int(block_size.cast_signed())),
    ];
    attributes.extend(accuracy_level.map(|level| ("accuracy_level", Attribute::Int(level))));
    let mut inputs = vec![Some(x), Some(integers), Some(scales)];
    if zero_points.is_some() || bias.is_some() {
        inputs.push(zero_points.as_ref());
    }
    if bias.is_some() {
        inputs.extend([None, bias]);
    }
    let out = ("", x.element(), vec![n, Dim::Fixed(output)]);
    let operator = Operator::microsoft("MatMulNBits");
    single(
        b.node(name, operator, &inputs, attributes, vec![out])?,
        name,
    )
}

/// Floats of signed integers with a scale for each block of a row: `integers` `[out, in]`, `scales`
/// `[out, blocks]`.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn dequantize_blocks(
    b: &mut GraphBuilder,
    name: &str,
    integers: &Value,
    scales: &Value,
    block_size: u64,
) -> Result<Value> {
    let expected = "int8 or int4 [out, in] and [out, blocks]";
    let &[Dim::Fixed(output), Dim::Fixed(input)] = integers.shape() else {
        return misfit(name, &[integers, scales], expected);
    };
    let signed = matches!(integers.element(), ElementType::Int8 | ElementType::Int4);
    if !signed
        || !is(
            scales,
            scales.element(),
            &[output, input.div_ceil(block_size)],
        )
    {
        return misfit(name, &[integers, scales], expected);
    }
    let attributes = vec![
        ("axis", Attribute::Int(1)),
        ("block_size", Attribute::Int(block_size.cast_signed())),
    ];
    let out = ("", scales.element(), integers.shape().to_vec());
    let inputs = [Some(integers), Some(scales)];
    let operator = Operator::onnx("DequantizeLinear");
    single(
        b.node(name, operator, &inputs, attributes, vec![out])?,
        name,
    )
}

/// `x` `[n, in]` as unsigned 8-bit integers: `round(x / scale) + zero point`, with a scale `[n]` and a zero point
/// `[n]` for each row.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn quantize_rows(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    scales: &Value,
    zero_points: &Value,
) -> Result<Value> {
    if x.shape().len() != 2
        || scales.shape() != &x.shape()[..1]
        || scales.element() != x.element()
        || zero_points.shape() != scales.shape()
        || zero_points.element() != ElementType::Uint8
    {
        return misfit(
            name,
            &[x, scales, zero_points],
            "[n, in], [n] and uint8 [n]",
        );
    }
    let out = ("", ElementType::Uint8, x.shape().to_vec());
    let inputs = [Some(x), Some(scales), Some(zero_points)];
    let attributes = vec![("axis", Attribute::Int(0))];
    let operator = Operator::onnx("QuantizeLinear");
    single(
        b.node(name, operator, &inputs, attributes, vec![out])?,
        name,
    )
}

/// A weight `[out, in]` as signed integers with a scale for each row, for [`qgemm`].
#[derive(Clone, Debug)]
pub struct ChannelWeight {
    /// The integers: `[out, in]`, signed bytes.
    pub integers: Value,
    /// The scales: `[out]` floats.
    pub scales: Value,
    /// Zeros, because the operator wants as many zero points as scales: `[out]` signed bytes. No two weights may share
    /// them: ONNX Runtime converts them together with the weight on some processors, and fails to do it twice.
    pub zero_points: Value,
}

/// `(x - 128) · weightᵀ`, scaled by the weight's scales, in 32-bit floats: ONNX Runtime's `QGemm`. `x` is `[n, in]`
/// unsigned bytes. The products are summed exactly, in 32-bit integers.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn qgemm(b: &mut GraphBuilder, name: &str, x: &Value, weight: &ChannelWeight) -> Result<Value> {
    let ChannelWeight {
        integers,
        scales,
        zero_points,
    } = weight;
    let expected = "uint8 [n, in], int8 [out, in] and float [out]";
    let (&[n, Dim::Fixed(input)], &[Dim::Fixed(output), _]) = (x.shape(), integers.shape()) else {
        return misfit(name, &[x, integers, scales], expected);
    };
    if x.element() != ElementType::Uint8
        || !is(integers, ElementType::Int8, &[output, input])
        || !is(scales, ElementType::Float, &[output])
        || !is(zero_points, ElementType::Int8, &[output])
    {
        return misfit(name, &[x, integers, scales], expected);
    }
    let one = 1.0_f32.to_le_bytes().to_vec();
    let one = b.shared_constant("one", ElementType::Float, &[], one)?;
    let middle = row_zero_point(b)?;
    let inputs = [
        Some(x),
        Some(&one),
        Some(&middle),
        Some(integers),
        Some(scales),
        Some(zero_points),
    ];
    let attributes = vec![("transB", Attribute::Int(1))];
    let out = ("", ElementType::Float, vec![n, Dim::Fixed(output)]);
    let operator = Operator::microsoft("QGemm");
    single(
        b.node(name, operator, &inputs, attributes, vec![out])?,
        name,
    )
}

/// What stands for zero in rows of unsigned bytes: 128, a scalar.
fn row_zero_point(b: &mut GraphBuilder) -> Result<Value> {
    b.shared_constant("middle", ElementType::Uint8, &[], vec![128])
}

/// The zero points of rows of unsigned bytes, `[n]`, as many as there are `scales`.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn row_zero_points(b: &mut GraphBuilder, name: &str, scales: &Value) -> Result<Value> {
    let rank = Dim::Fixed(scales.shape().len() as u64);
    let out = ("", ElementType::Int64, vec![rank]);
    let shape = format!("{name}/shape");
    let shape = b.node(
        &shape,
        Operator::onnx("Shape"),
        &[Some(scales)],
        vec![],
        vec![out],
    )?;
    let shape = single(shape, name)?;
    let middle = row_zero_point(b)?;
    let out = ("", ElementType::Uint8, scales.shape().to_vec());
    let inputs = [Some(&middle), Some(&shape)];
    single(
        b.node(name, Operator::onnx("Expand"), &inputs, vec![], vec![out])?,
        name,
    )
}

/// The largest value of each row of `x` `[n, in]`: `[n, 1]`.
///
/// # Errors
/// [`crate::Error::Graph`] when `x` has another rank.
pub fn row_max(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    reduce_rows(b, name, "ReduceMax", x)
}

/// The least value of each row of `x` `[n, in]`: `[n, 1]`.
///
/// # Errors
/// [`crate::Error::Graph`] when `x` has another rank.
pub fn row_min(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    reduce_rows(b, name, "ReduceMin", x)
}

fn reduce_rows(b: &mut GraphBuilder, name: &str, op: &'static str, x: &Value) -> Result<Value> {
    let &[n, _] = x.shape() else {
        return misfit(name, &[x], "[n, in]");
    };
    let last = 1_i64.to_le_bytes().to_vec();
    let axes = b.shared_constant("last_axis", ElementType::Int64, &[1], last)?;
    let out = ("", x.element(), vec![n, Dim::Fixed(1)]);
    let inputs = [Some(x), Some(&axes)];
    let attributes = vec![("keepdims", Attribute::Int(1))];
    single(
        b.node(name, Operator::onnx(op), &inputs, attributes, vec![out])?,
        name,
    )
}

/// `-x`.
///
/// # Errors
/// [`crate::Error::Graph`] when the name is taken.
pub fn neg(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Value> {
    let out = ("", x.element(), x.shape().to_vec());
    single(
        b.node(name, Operator::onnx("Neg"), &[Some(x)], vec![], vec![out])?,
        name,
    )
}

/// The larger of `x` and `y`, which is repeated along dimensions where it has 1.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn max_repeated(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
    repeated(b, name, "Max", x, y)
}

/// `x * y`; `y` is repeated along dimensions where it has 1.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn mul_repeated(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
    repeated(b, name, "Mul", x, y)
}

/// `x + y`; `y` is repeated along dimensions that it lacks or where it has 1.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn add_repeated(b: &mut GraphBuilder, name: &str, x: &Value, y: &Value) -> Result<Value> {
    repeated(b, name, "Add", x, y)
}

fn repeated(
    b: &mut GraphBuilder,
    name: &str,
    op: &'static str,
    x: &Value,
    y: &Value,
) -> Result<Value> {
    let dims = x.shape().iter().rev().zip(y.shape().iter().rev());
    let fits = y.shape().len() <= x.shape().len()
        && x.element() == y.element()
        && dims.into_iter().all(|(x, y)| x == y || *y == Dim::Fixed(1));
    if !fits {
        return misfit(
            name,
            &[x, y],
            "two of one type, the second repeated to the first's shape",
        );
    }
    let out = ("", x.element(), x.shape().to_vec());
    let inputs = [Some(x), Some(y)];
    single(
        b.node(name, Operator::onnx(op), &inputs, vec![], vec![out])?,
        name,
    )
}

fn is(value: &Value, element: ElementType, shape: &[u64]) -> bool {
    value.element() == element
        && value.shape().len() == shape.len()
        && value
            .shape()
            .iter()
            .zip(shape)
            .all(|(dim, &size)| *dim == Dim::Fixed(size))
}
