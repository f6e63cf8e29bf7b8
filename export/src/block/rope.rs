//! Rotary position embedding: the tables of cosines and sines, and their use.

use worldpm_ort_bundle::{
    Result,
    graph::{Dim, GraphBuilder, Value},
    op::onnx::{cast, cos, outer, reshape, rotary_embedding, scale, sin},
    proto::ElementType,
};

use super::{packed::TOKENS, rope_frequencies::Frequencies};

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
        frequencies: &Frequencies,
        element: ElementType,
    ) -> Result<Self> {
        b.scope("rotary", |b| {
            let half = frequencies.inverse.len() as u64;
            let inv_freq = b.constant_f32("inv_freq", &[1, half], &frequencies.inverse)?;
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
                let value = match frequencies.magnitude {
                    1.0 => value,
                    magnitude => scale(b, &format!("{name}/scaled"), &value, magnitude)?,
                };
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
