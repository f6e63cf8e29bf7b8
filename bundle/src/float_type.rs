//! The three floating-point types that weights are stored in, as slices of bytes.
//!
//! The loops are written so that the compiler vectorises them.

use half::{f16, slice::HalfFloatSliceExt};

use crate::{
    proto::ElementType,
    safetensors::Dtype,
    vocabulary::{Overflow, Precision},
};

/// Elements that are worked on at a time where a conversion needs a buffer of its own.
const LANE: usize = 512;

/// A type that weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl FloatType {
    /// `None` for a type that no weight may have.
    #[must_use]
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::Bf16 => Some(Self::Bf16),
            Dtype::F16 => Some(Self::F16),
            Dtype::F32 => Some(Self::F32),
            _ => None,
        }
    }

    /// What it is called in a safetensors file.
    #[must_use]
    pub fn dtype(self) -> Dtype {
        match self {
            Self::Bf16 => Dtype::Bf16,
            Self::F16 => Dtype::F16,
            Self::F32 => Dtype::F32,
        }
    }

    /// What it is called in a graph.
    #[must_use]
    pub fn element(self) -> ElementType {
        match self {
            Self::Bf16 => ElementType::BFloat16,
            Self::F16 => ElementType::Float16,
            Self::F32 => ElementType::Float,
        }
    }

    /// Bytes of one element.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// The smallest magnitude, as bits of a 32-bit float, that rounds to infinity.
    fn overflow_bits(self) -> u32 {
        match self {
            // Halfway between the largest finite value and the power of two after it.
            Self::F16 => 65520_f32.to_bits(),
            Self::Bf16 => 0x7f7f_8000,
            Self::F32 => INFINITY_BITS,
        }
    }

    fn largest(self) -> f32 {
        match self {
            Self::F16 => f16::MAX.to_f32(),
            Self::Bf16 => half::bf16::MAX.to_f32(),
            Self::F32 => f32::MAX,
        }
    }
}

impl From<FloatType> for Precision {
    fn from(float: FloatType) -> Self {
        match float {
            FloatType::Bf16 => Self::Bf16,
            FloatType::F16 => Self::Fp16,
            FloatType::F32 => Self::Fp32,
        }
    }
}

const INFINITY_BITS: u32 = 0x7f80_0000;
const SIGN_BIT: u32 = 0x8000_0000;

/// Little-endian elements of type `from`, as 32-bit floats. `bytes` holds as many elements as `values`.
pub fn decode(from: FloatType, bytes: &[u8], values: &mut [f32]) {
    match from {
        FloatType::Bf16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            }
        }
        FloatType::F16 => {
            let mut halves = [f16::ZERO; LANE];
            let bytes = bytes.as_chunks::<2>().0.chunks(LANE);
            for (values, bytes) in values.chunks_mut(LANE).zip(bytes) {
                for (half, bytes) in halves.iter_mut().zip(bytes) {
                    *half = f16::from_le_bytes(*bytes);
                }
                if let Some(halves) = halves.get(..values.len()) {
                    halves.convert_to_f32_slice(values);
                }
            }
        }
        FloatType::F32 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
    }
}

/// Index of the first element that is infinite or not a number.
#[must_use]
pub fn first_not_finite(from: FloatType, bytes: &[u8]) -> Option<usize> {
    match from {
        FloatType::F32 => {
            let bits =
                |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) & INFINITY_BITS == INFINITY_BITS;
            first(bytes.as_chunks::<4>().0, bits)
        }
        FloatType::Bf16 | FloatType::F16 => {
            let exponent = match from {
                FloatType::F16 => 0x7c00,
                _ => 0x7f80,
            };
            let bits = |bytes: &[u8; 2]| u16::from_le_bytes(*bytes) & exponent == exponent;
            first(bytes.as_chunks::<2>().0, bits)
        }
    }
}

/// The first element that `is` true of. There hardly ever is one, so whole stretches are looked at without a branch.
fn first<T>(elements: &[T], is: impl Fn(&T) -> bool) -> Option<usize> {
    for (number, stretch) in elements.chunks(LANE).enumerate() {
        if stretch
            .iter()
            .fold(false, |found, element| found | is(element))
        {
            let within = stretch.iter().position(&is)?;
            return Some(number * LANE + within);
        }
    }
    None
}

/// The finite values that were infinite in the type they were converted to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overflowed {
    /// How many there are.
    pub count: u64,
    /// Largest magnitude of them.
    pub largest: f32,
}

impl Overflowed {
    /// Counts others too.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.largest = self.largest.max(other.largest);
    }
}

/// `values` as little-endian elements of type `to`, rounded to nearest, ties to even. Tells which overflowed;
/// with [`Overflow::Clamp`] those become the largest finite value of their sign. NaN stays NaN, and an
/// infinity stays one.
pub fn encode(
    to: FloatType,
    values: &mut [f32],
    bytes: &mut [u8],
    overflow: Overflow,
) -> Overflowed {
    let found = overflowed(to, values);
    if found.count > 0 && overflow == Overflow::Clamp {
        let largest = to.largest();
        for value in values.iter_mut().filter(|value| value.is_finite()) {
            *value = value.clamp(-largest, largest);
        }
    }
    match to {
        FloatType::Bf16 => {
            for (value, bytes) in values.iter().zip(bytes.as_chunks_mut::<2>().0) {
                *bytes = bf16_bits(*value).to_le_bytes();
            }
        }
        FloatType::F16 => {
            let mut halves = [f16::ZERO; LANE];
            let bytes = bytes.as_chunks_mut::<2>().0.chunks_mut(LANE);
            for (values, bytes) in values.chunks(LANE).zip(bytes) {
                if let Some(halves) = halves.get_mut(..values.len()) {
                    halves.convert_from_f32_slice(values);
                }
                for (half, bytes) in halves.iter().zip(bytes) {
                    *bytes = half.to_le_bytes();
                }
            }
        }
        FloatType::F32 => {
            for (value, bytes) in values.iter().zip(bytes.as_chunks_mut::<4>().0) {
                *bytes = value.to_le_bytes();
            }
        }
    }
    found
}

fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    // Adds one half of the last place kept, or just less when that place is even.
    let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
    // A NaN keeps its upper bits; one more keeps it from becoming an infinity.
    let nan = (bits >> 16) as u16 | 0x40;
    if bits & !SIGN_BIT > INFINITY_BITS {
        nan
    } else {
        rounded
    }
}

fn overflowed(to: FloatType, values: &[f32]) -> Overflowed {
    let limit = to.overflow_bits();
    // The common case is that there are none: then one pass without branches says so.
    let mut largest = 0;
    for value in values {
        largest = largest.max((value.to_bits() & !SIGN_BIT).cast_signed());
    }
    if largest < limit.cast_signed() || to == FloatType::F32 {
        return Overflowed::default();
    }
    let mut found = Overflowed::default();
    for value in values {
        let bits = value.to_bits() & !SIGN_BIT;
        if (limit..INFINITY_BITS).contains(&bits) {
            found.add(Overflowed {
                count: 1,
                largest: f32::from_bits(bits),
            });
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use half::bf16;
    use proptest::prelude::*;

    use super::*;

    fn round_trip(to: FloatType, value: f32) -> f32 {
        let mut bytes = vec![0; to.bytes()];
        encode(to, &mut [value], &mut bytes, Overflow::Refuse);
        let mut back = [0.0];
        decode(to, &bytes, &mut back);
        back[0]
    }

    fn same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    proptest! {
        /// Any bit pattern, against the `half` crate's conversions of single values.
        #[test]
        fn as_single_values(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assert!(same(round_trip(FloatType::F32, value), value));
            prop_assert!(same(round_trip(FloatType::Bf16, value), bf16::from_f32(value).to_f32()));
            prop_assert!(same(round_trip(FloatType::F16, value), f16::from_f32_const(value).to_f32_const()));
        }

        /// A slice of any length is converted as its elements are.
        #[test]
        fn slices(values in prop::collection::vec(-70000_f32..70000.0, 0..1300)) {
            for to in [FloatType::Bf16, FloatType::F16, FloatType::F32] {
                let mut bytes = vec![0; values.len() * to.bytes()];
                let found = encode(to, &mut values.clone(), &mut bytes, Overflow::Refuse);
                let mut back = vec![0.0; values.len()];
                decode(to, &bytes, &mut back);
                let infinite = back.iter().filter(|value| value.is_infinite()).count();
                prop_assert_eq!(found.count, infinite as u64);
                for (value, back) in values.iter().zip(back) {
                    prop_assert!(same(back, round_trip(to, *value)));
                }
            }
        }
    }

    #[test]
    fn where_half_precision_ends() {
        let mut bytes = [0; 2];
        for (value, count) in [
            (65519.99_f32, 0),
            (65520.0, 1),
            (-1e6, 1),
            (f32::INFINITY, 0),
        ] {
            let found = encode(FloatType::F16, &mut [value], &mut bytes, Overflow::Refuse);
            assert_eq!(found.count, count, "{value}");
            if count > 0 {
                assert_eq!(found.largest, value.abs());
                encode(FloatType::F16, &mut [value], &mut bytes, Overflow::Clamp);
                assert_eq!(
                    f16::from_le_bytes(bytes).to_f32(),
                    65504_f32.copysign(value)
                );
            }
        }
        // The halfway case of bfloat16.
        let last = f32::from_bits(0x7f7f_7fff);
        for (value, count) in [(last, 0), (last.next_up(), 1), (f32::MAX, 1), (f32::NAN, 0)] {
            let found = encode(FloatType::Bf16, &mut [value], &mut bytes, Overflow::Refuse);
            assert_eq!(found.count, count, "{value}");
        }
    }
}
