//! The weights of a node among its inputs: how they are stored, where their parts are, and what the kernels read of them.

use half::{bf16, f16};
use ort::{
    operator::{ComputeContext, KernelContext, OperatorInput},
    value::{PrimitiveTensorElementType, TensorElementType, ValueRef},
};
use worldpm_ort_bundle::fused;
use worldpm_ort_kernels::{Blocks, Precision, Rows, Values, Weight};

pub(super) const FLOAT: TensorElementType = TensorElementType::Float32;
const BF16: TensorElementType = TensorElementType::Bfloat16;
const F16: TensorElementType = TensorElementType::Float16;
const BYTES: TensorElementType = TensorElementType::Uint8;
const SIGNED_BYTES: TensorElementType = TensorElementType::Int8;

/// How the weights of linear layers are stored.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Bf16,
    F16,
    Blocks,
    Rows,
}

/// Where the parts of a weight are among the inputs.
#[derive(Clone, Copy)]
pub(super) struct Places {
    values: usize,
    scales: usize,
    zero_points: usize,
    bias: usize,
}

impl Form {
    pub(super) const ALL: [Self; 4] = [Self::Bf16, Self::F16, Self::Blocks, Self::Rows];

    /// How exactly floats are multiplied where they need not be multiplied exactly. A row of integers stands for 8 bits on
    /// both sides, and a bfloat16 number has 8.
    pub(super) fn precision(self, asked: Precision) -> Precision {
        match self {
            Self::Bf16 | Self::F16 | Self::Blocks => asked,
            Self::Rows => Precision::Medium,
        }
    }

    /// The inputs of an operator with so many weights.
    pub(super) fn inputs(self, weights: usize) -> Vec<OperatorInput> {
        let (parts, zero_points): (&[TensorElementType], &[TensorElementType]) = match self {
            Self::Bf16 => (&[BF16], &[]),
            Self::F16 => (&[F16], &[]),
            Self::Blocks => (&[BYTES, FLOAT], &[BYTES]),
            Self::Rows => (&[SIGNED_BYTES, FLOAT], &[SIGNED_BYTES]),
        };
        let parts = (0..weights).flat_map(|_| parts.iter().copied());
        let zero_points = (0..weights).flat_map(|_| zero_points.iter().copied());
        let biases = (0..weights).map(|_| OperatorInput::optional(FLOAT));
        [FLOAT]
            .into_iter()
            .chain(parts)
            .chain(zero_points)
            .map(OperatorInput::required)
            .chain(biases)
            .collect()
    }

    /// Where the parts of the weight of a number are, of so many.
    pub(super) fn places(self, number: usize, weights: usize) -> Places {
        match self {
            Self::Bf16 | Self::F16 => Places {
                values: 1 + number,
                scales: 0,
                zero_points: 0,
                bias: 1 + weights + number,
            },
            Self::Blocks | Self::Rows => Places {
                values: 1 + 2 * number,
                scales: 2 + 2 * number,
                zero_points: 1 + 2 * weights + number,
                bias: 1 + 3 * weights + number,
            },
        }
    }
}

/// The sizes of a weight's blocks.
#[derive(Clone, Copy, Default)]
pub(super) struct Sizes {
    bits: usize,
    block_size: usize,
    has_zero_points: bool,
}

impl Sizes {
    pub(super) fn read(context: &KernelContext<'_>) -> Self {
        let size = |name: &str| {
            let value = context.get::<i64>(name).map(usize::try_from);
            value.and_then(Result::ok).unwrap_or(0)
        };
        Self {
            bits: size("bits"),
            block_size: size("block_size"),
            has_zero_points: size(fused::ZERO_POINTS) == 1,
        }
    }
}

/// A weight among the inputs of a node.
pub(super) struct Operand<'a> {
    form: Form,
    sizes: Sizes,
    values: ValueRef<'a>,
    scales: Option<ValueRef<'a>>,
    zero_points: Option<ValueRef<'a>>,
    bias: Option<ValueRef<'a>>,
}

impl<'a> Operand<'a> {
    pub(super) fn new(
        context: &'a ComputeContext,
        form: Form,
        sizes: Sizes,
        places: Places,
    ) -> ort::Result<Self> {
        let (scales, zero_points) = match form {
            Form::Bf16 | Form::F16 => (None, None),
            Form::Blocks | Form::Rows => {
                let has_zero_points = sizes.has_zero_points || matches!(form, Form::Rows);
                (
                    Some(required(context, places.scales)?),
                    match has_zero_points {
                        true => Some(required(context, places.zero_points)?),
                        false => None,
                    },
                )
            }
        };
        Ok(Self {
            form,
            sizes,
            values: required(context, places.values)?,
            scales,
            zero_points,
            bias: optional(context, places.bias)?,
        })
    }

    pub(super) fn weight(&self) -> ort::Result<Weight<'_>> {
        let values = match self.form {
            Form::Bf16 => Values::Bf16(self.values.try_extract_tensor::<bf16>()?.1),
            Form::F16 => Values::F16(self.values.try_extract_tensor::<f16>()?.1),
            Form::Blocks => Values::Blocks(Blocks {
                integers: self.values.try_extract_tensor::<u8>()?.1,
                scales: elements::<f32>(self.scales.as_ref())?.unwrap_or_default(),
                zero_points: elements::<u8>(self.zero_points.as_ref())?,
                bits: self.sizes.bits,
                block_size: self.sizes.block_size,
            }),
            Form::Rows => {
                let zero_points = elements::<i8>(self.zero_points.as_ref())?.unwrap_or_default();
                if zero_points.iter().any(|&zero_point| zero_point != 0) {
                    return Err(ort::Error::new("zero points of rows that are not 0"));
                }
                Values::Rows(Rows {
                    integers: self.values.try_extract_tensor::<i8>()?.1,
                    scales: elements::<f32>(self.scales.as_ref())?.unwrap_or_default(),
                })
            }
        };
        let bias = elements::<f32>(self.bias.as_ref())?;
        Ok(Weight { values, bias })
    }
}

pub(crate) fn required(context: &ComputeContext, input: usize) -> ort::Result<ValueRef<'_>> {
    context
        .input(input)?
        .ok_or_else(|| ort::Error::new(format!("input {input} is missing")))
}

/// An input that may be left out, at the end.
fn optional(context: &ComputeContext, input: usize) -> ort::Result<Option<ValueRef<'_>>> {
    match input < context.num_inputs()? {
        true => context.input(input),
        false => Ok(None),
    }
}

fn elements<'a, T: PrimitiveTensorElementType>(
    value: Option<&'a ValueRef<'_>>,
) -> ort::Result<Option<&'a [T]>> {
    Ok(match value {
        Some(value) => Some(value.try_extract_tensor::<T>()?.1),
        None => None,
    })
}
