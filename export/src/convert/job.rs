//! What has to be done to one tensor.

use std::sync::Arc;

use worldpm_ort_bundle::{
    Overflow,
    float_type::{self, FloatType, Overflowed},
    safetensors::Dtype,
};

use super::{
    LowRank,
    blocks::{self, Bits, Blocks, Layout},
};

/// What the name of a weight's scales adds to the weight's.
const SCALES: &str = ".scales";
/// What the name of a weight's zero points adds to the weight's.
const ZERO_POINTS: &str = ".zero_points";

/// Where a tensor's values come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its name in the checkpoint, for messages.
    pub(crate) tensor: String,
    /// Index into [`Checkpoint::files`](crate::Checkpoint::files).
    pub(crate) file: usize,
    /// First byte in that file.
    pub(crate) offset: u64,
    /// Stored type.
    pub(crate) float: FloatType,
    /// Dimensions.
    pub(crate) shape: Vec<u64>,
    /// What is added to the values before they are encoded. Not with [`Encoding::Copy`].
    pub(crate) update: Option<Arc<LowRank>>,
}

impl Source {
    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.elements() * self.float.bytes() as u64
    }
}

/// How values become what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// The bytes as they are.
    Copy,
    /// One value after the other, in another type.
    Float(FloatType),
    /// Integers with a scale for each block of a row.
    Blocks(Blocks),
    /// Signed 8-bit integers with a scale for each row.
    Channels,
}

/// A tensor that an [`Encoding`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// What its name adds to the source's.
    pub(crate) suffix: &'static str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    /// Bytes that one unit of the source becomes in it.
    pub(crate) unit_bytes: u64,
}

impl Encoding {
    /// Values that are encoded together: the units of a tensor are independent of each other.
    pub(crate) fn unit(self, shape: &[u64]) -> u64 {
        match self {
            Self::Copy | Self::Float(_) => 1,
            Self::Blocks(_) | Self::Channels => width(shape),
        }
    }

    /// Whether values are rounded to a few bits.
    pub(crate) fn is_rounded(self) -> bool {
        matches!(self, Self::Blocks(_) | Self::Channels)
    }

    /// What a tensor becomes.
    pub(crate) fn outputs(self, source: &Source) -> Vec<Made> {
        let shape = &source.shape;
        let (rows, width) = (source.elements() / width(shape).max(1), width(shape));
        let floats = |float: FloatType| Made {
            suffix: "",
            dtype: float.dtype(),
            shape: shape.clone(),
            unit_bytes: float.bytes() as u64,
        };
        match self {
            Self::Copy => vec![floats(source.float)],
            Self::Float(float) => vec![floats(float)],
            Self::Channels => vec![
                Made {
                    suffix: "",
                    dtype: Dtype::I8,
                    shape: shape.clone(),
                    unit_bytes: width,
                },
                Made {
                    suffix: SCALES,
                    dtype: Dtype::F32,
                    shape: vec![rows],
                    unit_bytes: 4,
                },
                Made {
                    suffix: ZERO_POINTS,
                    dtype: Dtype::I8,
                    shape: vec![rows],
                    unit_bytes: 1,
                },
            ],
            Self::Blocks(blocks) => {
                let count = blocks.in_row(width);
                let bytes = blocks.row_bytes(width);
                let (dtype, integers) = match (blocks.layout, blocks.bits) {
                    (Layout::Filled, _) => (Dtype::U8, vec![rows, count, bytes / count.max(1)]),
                    (Layout::Signed, Bits::Eight) => (Dtype::I8, vec![rows, bytes]),
                    (Layout::Signed, Bits::Four) => (Dtype::U8, vec![rows, bytes]),
                };
                let mut made = vec![
                    Made {
                        suffix: "",
                        dtype,
                        shape: integers,
                        unit_bytes: bytes,
                    },
                    Made {
                        suffix: SCALES,
                        dtype: blocks.scale.dtype(),
                        shape: vec![rows, count],
                        unit_bytes: count * blocks.scale.bytes() as u64,
                    },
                ];
                if !blocks.symmetric {
                    let bytes = blocks.zero_point_bytes(width);
                    made.push(Made {
                        suffix: ZERO_POINTS,
                        dtype: Dtype::U8,
                        shape: vec![rows, bytes],
                        unit_bytes: bytes,
                    });
                }
                made
            }
        }
    }

    /// Encodes whole units: `values` into one slice of bytes for each output.
    pub(crate) fn encode(
        self,
        values: &mut [f32],
        unit: usize,
        outputs: &mut [&mut [u8]],
        overflow: Overflow,
    ) -> Overflowed {
        match (self, outputs) {
            (Self::Float(to), [bytes]) => return float_type::encode(to, values, bytes, overflow),
            (Self::Channels, [integers, scales, zero_points]) => {
                zero_points.fill(0);
                let integers = integers.chunks_exact_mut(unit);
                let scales = scales.chunks_exact_mut(4);
                for ((row, integers), scale) in values.chunks_exact(unit).zip(integers).zip(scales)
                {
                    blocks::encode_channel(row, integers, scale);
                }
            }
            (Self::Blocks(blocks), [integers, scales, zero_points @ ..]) => {
                let rows = values.len() / unit;
                let zero_points = zero_points.first_mut();
                let mut zero_points = zero_points.into_iter().flat_map(|all| {
                    let bytes = all.len() / rows;
                    all.chunks_exact_mut(bytes)
                });
                let integers = integers.chunks_exact_mut(integers.len() / rows);
                let scales = scales.chunks_exact_mut(scales.len() / rows);
                for ((row, integers), scales) in values.chunks_exact(unit).zip(integers).zip(scales)
                {
                    let zero_points = zero_points.next().unwrap_or_default();
                    blocks.encode(row, integers, scales, zero_points);
                }
            }
            _ => {}
        }
        Overflowed::default()
    }
}

/// Length of the last dimension.
fn width(shape: &[u64]) -> u64 {
    shape.last().copied().unwrap_or(1)
}

/// A tensor to convert, and where its outputs go.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) source: Source,
    pub(crate) encoding: Encoding,
    pub(crate) outputs: Vec<Output>,
}

/// The place of an output of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// First byte, counted from where the tensors of the file begin.
    pub(crate) offset: u64,
    /// Bytes of one unit.
    pub(crate) unit_bytes: u64,
}
