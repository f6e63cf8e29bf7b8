use half::{bf16, f16};

use crate::{ShapeError, shape_error::require};

/// A weight of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Weight<'a> {
    /// `[width, inner]`, row by row.
    pub values: Values<'a>,
    /// `[width]`.
    pub bias: Option<&'a [f32]>,
}

/// The values of a weight, as they are stored. None of these forms is rounded before it is multiplied, but blocks are with
/// [`Precision::Medium`](crate::Precision::Medium).
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// bfloat16 numbers.
    Bf16(&'a [bf16]),
    /// IEEE half numbers: each is the sum of two bfloat16 numbers.
    F16(&'a [f16]),
    /// Integers with a scale for each block of a row.
    Blocks(Blocks<'a>),
    /// Integers with a scale for each row.
    Rows(Rows<'a>),
}

/// A weight as `integer * scale`. Integers of 8 bits are bfloat16 numbers, so they are multiplied as they are, and the sums
/// get the scale.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `[width, inner]`, row by row.
    pub integers: &'a [i8],
    /// `[width]`.
    pub scales: &'a [f32],
}

/// A weight as ONNX Runtime's `MatMulNBits` takes it: `(integer - zero point) * scale`. The products with a scale are used
/// as sums of two bfloat16 numbers, which keep 16 of their bits at least, or with
/// [`Precision::Medium`](crate::Precision::Medium) as one, whose rounding is small beside that of the integers.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// `[width, blocks, block_size * bits / 8]`: unsigned integers, from the lowest bits of a byte up.
    pub integers: &'a [u8],
    /// `[width, blocks]`.
    pub scales: &'a [f32],
    /// `[width, blocks * bits / 8]`, packed as the integers are. Default: `2^(bits - 1)`.
    pub zero_points: Option<&'a [u8]>,
    /// Bits of an integer: 4 or 8.
    pub bits: usize,
    /// Integers of a block: a multiple of 32.
    pub block_size: usize,
}

impl Values<'_> {
    /// Bfloat16 numbers that stand for a value, which is multiplied with inputs of `input_parts`.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn parts(&self, input_parts: usize) -> usize {
        match self {
            Self::Bf16(_) | Self::Rows(_) => 1,
            Self::Blocks(_) if input_parts == 1 => 1,
            Self::F16(_) | Self::Blocks(_) => 2,
        }
    }

    /// Whether other numbers are stored than those that are multiplied.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn is_converted(&self) -> bool {
        !matches!(self, Self::Bf16(_))
    }

    /// What the sums of each row are multiplied by.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn row_scales(&self) -> Option<&[f32]> {
        match self {
            Self::Rows(rows) => Some(rows.scales),
            Self::Bf16(_) | Self::F16(_) | Self::Blocks(_) => None,
        }
    }

    /// Number of rows of `inner` values.
    fn rows(&self, inner: usize) -> Result<usize, ShapeError> {
        let elements = match self {
            Self::Bf16(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Rows(rows) => rows.integers.len(),
            Self::Blocks(blocks) => return blocks.rows(inner),
        };
        require(inner > 0 && elements.is_multiple_of(inner.max(1)), || {
            format!("a weight of {elements} elements is not of {inner} columns")
        })?;
        let rows = elements / inner;
        if let Self::Rows(weight) = self {
            require(weight.scales.len() == rows, || {
                format!("{} scales for {rows} rows", weight.scales.len())
            })?;
        }
        Ok(rows)
    }
}

impl Blocks<'_> {
    /// Blocks of a row.
    pub(crate) fn row_blocks(&self, inner: usize) -> usize {
        inner.div_ceil(self.block_size)
    }

    /// Bytes of a row's integers.
    pub(crate) fn row_bytes(&self, inner: usize) -> usize {
        self.row_blocks(inner) * self.block_size * self.bits / 8
    }

    /// Bytes of a row's zero points.
    pub(crate) fn row_zero_points(&self, inner: usize) -> usize {
        (self.row_blocks(inner) * self.bits).div_ceil(8)
    }

    fn rows(&self, inner: usize) -> Result<usize, ShapeError> {
        let &Self {
            bits, block_size, ..
        } = self;
        require(
            matches!(bits, 4 | 8) && block_size > 0 && block_size.is_multiple_of(32) && inner > 0,
            || format!("blocks of {block_size} integers of {bits} bits, for {inner} columns"),
        )?;
        let rows = self.scales.len() / self.row_blocks(inner);
        let zero_points = self.zero_points.map(<[u8]>::len);
        require(
            self.scales.len() == rows * self.row_blocks(inner)
                && self.integers.len() == rows * self.row_bytes(inner)
                && zero_points.is_none_or(|bytes| bytes == rows * self.row_zero_points(inner)),
            || {
                format!(
                    "{} bytes of integers, {} scales and {zero_points:?} bytes of zero points for {inner} columns in \
                     blocks of {block_size}",
                    self.integers.len(),
                    self.scales.len()
                )
            },
        )?;
        Ok(rows)
    }
}

impl Weight<'_> {
    /// Number of its outputs, for inputs of `inner` elements.
    ///
    /// # Errors
    /// [`ShapeError`] for values that are not rows of `inner`, or a bias of another size.
    pub fn width(&self, inner: usize) -> Result<usize, ShapeError> {
        let width = self.values.rows(inner)?;
        if let Some(bias) = self.bias {
            require(bias.len() == width, || {
                format!("a bias of {} elements for {width} outputs", bias.len())
            })?;
        }
        Ok(width)
    }
}
