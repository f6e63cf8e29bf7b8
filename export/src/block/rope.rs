//! Rotary position embedding: the tables of cosines and sines, and their use.

use super::packed::TOKENS;
use crate::{
    error::Result,
    graph::{Dim, GraphBuilder, Value},
    op::onnx::{cast, cos, outer, reshape, rotary_embedding, sin},
    proto::ElementType,
};

/// Cosine and sine of every token's angles, `[1, T, head size / 2]`.
///
/// They are computed in the graph from `position_ids`, in 32-bit floats, so that no table has to be as
/// long as the longest conversation.
#[derive(Debug)]
pub(crate) struct RotaryTables {
    cos: Value,
    sin: Value,
}

impl RotaryTables {
    pub(crate) fn new(
        b: &mut GraphBuilder,
        position_ids: &Value,
        inverse_frequencies: &[f32],
        element: ElementType,
    ) -> Result<Self> {
        b.scope("rotary", |b| {
            let half = inverse_frequencies.len() as u64;
            let inv_freq = b.constant_f32("inv_freq", &[1, half], inverse_frequencies)?;
            let positions = cast(b, "positions", position_ids, ElementType::Float)?;
            let column = reshape(
                b,
                "column",
                &positions,
                &[-1, 1],
                vec![TOKENS, Dim::Fixed(1)],
            )?;
            let angles = outer(b, "angles", &column, &inv_freq)?;
            let table = |b: &mut GraphBuilder, name: &str, value: Value| -> Result<Value> {
                let value = cast(b, &format!("{name}/cast"), &value, element)?;
                reshape(
                    b,
                    &format!("{name}/table"),
                    &value,
                    &[1, -1, half.cast_signed()],
                    vec![Dim::Fixed(1), TOKENS, Dim::Fixed(half)],
                )
            };
            let cosine = cos(b, "cos", &angles)?;
            let sine = sin(b, "sin", &angles)?;
            Ok(Self {
                cos: table(b, "cos", cosine)?,
                sin: table(b, "sin", sine)?,
            })
        })
    }

    /// Rotates `x` `[T, heads * head size]`.
    pub(crate) fn rotate(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        x: &Value,
        heads: u64,
    ) -> Result<Value> {
        let width = x.width().unwrap_or(0);
        let signed = width.cast_signed();
        b.scope(name, |b| {
            let batch = vec![Dim::Fixed(1), TOKENS, Dim::Fixed(width)];
            let x = reshape(b, "batch", x, &[1, -1, signed], batch)?;
            let x = rotary_embedding(b, "rotary", &x, &self.cos, &self.sin, heads)?;
            reshape(
                b,
                "flat",
                &x,
                &[-1, signed],
                vec![TOKENS, Dim::Fixed(width)],
            )
        })
    }
}

/// `theta^(-2i/d)` for `i` in `0..d/2`, rounded where `transformers` rounds
/// (`ROPE_INIT_FUNCTIONS["default"]`): the exponent, the power and its inverse are 32-bit floats.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
pub(crate) fn inverse_frequencies(theta: f64, head_size: u64) -> Vec<f32> {
    (0..head_size / 2)
        .map(|i| {
            let exponent = (2 * i) as f32 / head_size as f32;
            let power = f64::from(theta as f32).powf(f64::from(exponent)) as f32;
            1.0 / power
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::inverse_frequencies;

    #[test]
    fn frequencies_fall_from_one_by_equal_ratios() {
        let f = inverse_frequencies(10_000.0, 64);
        assert_eq!(f.len(), 32);
        assert_eq!(f[0], 1.0);
        for pair in f.windows(2) {
            let ratio = f64::from(pair[1]) / f64::from(pair[0]);
            assert!(
                (ratio - 10_000f64.powf(-1.0 / 32.0)).abs() < 1e-6,
                "{ratio}"
            );
        }
    }
}
