//! The integers that values are rounded to.

/// Adding it rounds a small value to an integer, ties to even, and leaves that in the lowest bits: 1.5 * 2^23.
const ROUND: f32 = 12_582_912.0;

/// Integers from `least` to `most`, each of which stands for itself times `step`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) step: f32,
    inverse: f32,
    least: f32,
    most: f32,
}

impl Grid {
    #[inline]
    pub(super) fn new(step: f32, least: f32, most: f32) -> Self {
        Self {
            step,
            // A step this small is taken for zero, and so is every value.
            inverse: if step.abs() < f32::MIN_POSITIVE {
                0.0
            } else {
                1.0 / step
            },
            least,
            most,
        }
    }

    /// The nearest integer to `value / step` that there is, in the lowest bits of the result's.
    #[inline]
    fn shifted(&self, value: f32) -> f32 {
        let scaled = value * self.inverse;
        let scaled = if scaled > self.least {
            scaled
        } else {
            self.least
        };
        let scaled = if scaled < self.most {
            scaled
        } else {
            self.most
        };
        scaled + ROUND
    }

    /// The integer for a value: its lowest eight bits, in two's complement.
    #[inline]
    pub(super) fn integer(&self, value: f32) -> u8 {
        self.shifted(value).to_bits() as u8
    }

    /// What the integer for a value stands for, and the integer.
    #[inline]
    pub(super) fn nearest(&self, value: f32) -> (f32, u8) {
        let shifted = self.shifted(value);
        ((shifted - ROUND) * self.step, shifted.to_bits() as u8)
    }

    /// `value` in steps, as an integer that may be out of range.
    #[inline]
    pub(super) fn steps(&self, value: f32) -> f32 {
        (value * self.inverse + ROUND) - ROUND
    }
}
