//! Weights as integers of 4 or 8 bits, with a scale for each block of a row.
//!
//! A weight is `(q - zero point) * scale`. Symmetric blocks have the zero point `2^(bits - 1)`, and the range of `q`
//! reaches one step further below it than above. Their scale, which may be negative, puts the value of the largest
//! magnitude at that lower end: with 4 bits and normally distributed weights the error is 11% less than when the
//! shorter side decides. Asymmetric blocks map the range of their values, widened to include 0, to all of
//! `0..2^bits`.
//!
//! The loops are written so that the compiler vectorises them.

use half::{bf16, f16};
use worldpm_ort_bundle::float_type::FloatType;

/// Adding it rounds a small value to an integer, ties to even, and leaves that in the lowest bits: 1.5 * 2^23.
const ROUND: f32 = 12_582_912.0;
/// Elements that are compared at a time.
const LANES: usize = 8;

/// Width of a quantised weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    Four,
    Eight,
}

impl Bits {
    pub(crate) fn count(self) -> u64 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The zero point of symmetric blocks: also the number of values below zero.
    fn half(self) -> f32 {
        match self {
            Self::Four => 8.0,
            Self::Eight => 128.0,
        }
    }
}

/// How blocks are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As `com.microsoft.MatMulNBits` takes them: unsigned, the last block of a row filled up with zeros.
    Filled,
    /// As `DequantizeLinear` takes symmetric ones: signed, rows end where they end.
    Signed,
}

/// Quantisation in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) bits: Bits,
    /// Values of a block: 32, 64 or 128.
    pub(crate) size: u64,
    pub(crate) symmetric: bool,
    /// Type of the scales.
    pub(crate) scale: FloatType,
    pub(crate) layout: Layout,
}

impl Blocks {
    /// Blocks in a row of `width` values.
    pub(crate) fn in_row(&self, width: u64) -> u64 {
        width.div_ceil(self.size)
    }

    /// Bytes of a row's integers.
    pub(crate) fn row_bytes(&self, width: u64) -> u64 {
        let values = match self.layout {
            Layout::Filled => self.in_row(width) * self.size,
            Layout::Signed => width,
        };
        values * self.bits.count() / 8
    }

    /// Bytes of a row's zero points.
    pub(crate) fn zero_point_bytes(&self, width: u64) -> u64 {
        (self.in_row(width) * self.bits.count()).div_ceil(8)
    }

    /// Quantises one row. `zero_points` is empty for symmetric blocks.
    pub(crate) fn encode(
        &self,
        row: &[f32],
        integers: &mut [u8],
        scales: &mut [u8],
        zero_points: &mut [u8],
    ) {
        match self.size {
            32 => self.encode_row::<32>(row, integers, scales, zero_points),
            64 => self.encode_row::<64>(row, integers, scales, zero_points),
            _ => self.encode_row::<128>(row, integers, scales, zero_points),
        }
    }

    fn encode_row<const SIZE: usize>(
        &self,
        row: &[f32],
        integers: &mut [u8],
        scales: &mut [u8],
        zero_points: &mut [u8],
    ) {
        zero_points.fill(0);
        let block_bytes = SIZE * self.bits.count() as usize / 8;
        let (whole, rest) = row.as_chunks::<SIZE>();
        let mut last = [0.0; SIZE];
        if let Some(filled) = last.get_mut(..rest.len()) {
            filled.copy_from_slice(rest);
        }
        let blocks = whole.iter().chain((!rest.is_empty()).then_some(&last));
        let integers = integers.chunks_mut(block_bytes);
        let scales = scales.chunks_exact_mut(self.scale.bytes());
        for (index, ((block, integers), scale)) in blocks.zip(integers).zip(scales).enumerate() {
            let (q, zero_point) = self.quantise(block, scale);
            match self.bits {
                Bits::Eight => {
                    let count = integers.len();
                    integers.copy_from_slice(q.get(..count).unwrap_or_default());
                }
                Bits::Four => {
                    for (byte, pair) in integers.iter_mut().zip(q.as_chunks::<2>().0) {
                        let pair = u16::from_le_bytes(*pair) & 0x0f0f;
                        *byte = (pair | pair >> 4) as u8;
                    }
                }
            }
            match self.bits {
                Bits::Eight => {
                    if let Some(byte) = zero_points.get_mut(index) {
                        *byte = zero_point;
                    }
                }
                Bits::Four => {
                    if let Some(byte) = zero_points.get_mut(index / 2) {
                        *byte |= zero_point << (4 * (index % 2));
                    }
                }
            }
        }
    }

    /// The integers and the zero point of a block; writes its scale.
    #[inline]
    fn quantise<const SIZE: usize>(
        &self,
        block: &[f32; SIZE],
        scale: &mut [u8],
    ) -> ([u8; SIZE], u8) {
        let (low, high) = range(block);
        let half = self.bits.half();
        let step = match self.symmetric {
            true => (if high >= -low { high } else { low }) / -half,
            false => (high - low) / (2.0 * half - 1.0),
        };
        let step = write_scale(self.scale, step, scale);
        // A scale this small is taken for zero, and so is the block.
        let inverse = if step.abs() < f32::MIN_POSITIVE {
            0.0
        } else {
            1.0 / step
        };
        let zero_point = match self.symmetric {
            true => half,
            false => ((-low * inverse + ROUND) - ROUND).min(2.0 * half - 1.0),
        };
        let (least, most) = (-zero_point, 2.0 * half - 1.0 - zero_point);
        // Signed integers are stored as they are, the others from zero.
        let base = match self.layout {
            Layout::Filled => zero_point as u8,
            Layout::Signed => 0,
        };
        let mut q = [0; SIZE];
        for (q, x) in q.iter_mut().zip(block) {
            let scaled = x * inverse;
            let scaled = if scaled > least { scaled } else { least };
            let scaled = if scaled < most { scaled } else { most };
            *q = ((scaled + ROUND).to_bits() as u8).wrapping_add(base);
        }
        (q, zero_point as u8)
    }
}

/// The least and the largest of the values and 0.
#[inline]
fn range<const SIZE: usize>(block: &[f32; SIZE]) -> (f32, f32) {
    let (mut low, mut high) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for values in block.as_chunks::<LANES>().0 {
        for ((low, high), &x) in low.iter_mut().zip(&mut high).zip(values) {
            *low = if x < *low { x } else { *low };
            *high = if x > *high { x } else { *high };
        }
    }
    (
        low.into_iter().fold(0.0, f32::min),
        high.into_iter().fold(0.0, f32::max),
    )
}

/// Writes a scale, and returns it as it can be read back.
#[inline]
fn write_scale(float: FloatType, scale: f32, bytes: &mut [u8]) -> f32 {
    match float {
        FloatType::F32 => {
            bytes.copy_from_slice(&scale.to_le_bytes());
            scale
        }
        FloatType::Bf16 => {
            let rounded = bf16::from_f32(scale);
            bytes.copy_from_slice(&rounded.to_le_bytes());
            rounded.to_f32()
        }
        FloatType::F16 => {
            let rounded = f16::from_f32(scale);
            bytes.copy_from_slice(&rounded.to_le_bytes());
            rounded.to_f32()
        }
    }
}

/// One row as signed 8-bit integers, `q * scale`, with the scale `largest magnitude / 127` in 32-bit floats.
pub(crate) fn encode_channel(row: &[f32], integers: &mut [u8], scale: &mut [u8]) {
    let mut largest = [0.0_f32; LANES];
    let (lanes, rest) = row.as_chunks::<LANES>();
    for values in lanes {
        for (largest, x) in largest.iter_mut().zip(values) {
            let magnitude = x.abs();
            *largest = if magnitude > *largest {
                magnitude
            } else {
                *largest
            };
        }
    }
    let largest = largest.into_iter().chain(rest.iter().map(|x| x.abs()));
    let step = largest.fold(0.0, f32::max) / 127.0;
    scale.copy_from_slice(&step.to_le_bytes());
    let inverse = if step < f32::MIN_POSITIVE {
        0.0
    } else {
        1.0 / step
    };
    for (q, x) in integers.iter_mut().zip(row) {
        let scaled = x * inverse;
        let scaled = if scaled > -127.0 { scaled } else { -127.0 };
        let scaled = if scaled < 127.0 { scaled } else { 127.0 };
        *q = (scaled + ROUND).to_bits() as u8;
    }
}
