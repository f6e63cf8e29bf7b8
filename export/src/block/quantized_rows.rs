//! Activations as 8-bit integers, with a scale for each token.

use worldpm_ort_bundle::{
    Result,
    graph::{Dim, GraphBuilder, Value},
    op::{onnx::reshape, quantized},
    proto::ElementType,
};

/// Where a row's largest magnitude goes: 127 steps from the zero point.
const STEPS: f32 = 127.0;
/// The least scale, which keeps a row of zeros from dividing by zero.
const LEAST_SCALE: f32 = 1e-30;

/// The rows of `x` `[n, in]`: `x ≈ (values - 128) * scale`.
///
/// A row depends on nothing but itself, so a token's is the same in any batch.
#[derive(Clone, Debug)]
pub(crate) struct QuantizedRows {
    /// `[n, in]` unsigned bytes, in 1 to 255.
    pub(crate) values: Value,
    /// `[n, 1]` floats.
    pub(crate) scale: Value,
}

impl QuantizedRows {
    /// Quantises each row of `x` `[n, in]`, floats, by its largest magnitude.
    pub(crate) fn new(b: &mut GraphBuilder, name: &str, x: &Value) -> Result<Self> {
        let float = |b: &mut GraphBuilder, name: &str, value: f32| {
            b.shared_constant(
                name,
                ElementType::Float,
                &[1, 1],
                value.to_le_bytes().to_vec(),
            )
        };
        b.scope(name, |b| {
            let high = quantized::row_max(b, "max", x)?;
            let low = quantized::row_min(b, "min", x)?;
            let low = quantized::neg(b, "neg_min", &low)?;
            let largest = quantized::max_repeated(b, "largest", &high, &low)?;
            let step = float(b, "row_step", 1.0 / STEPS)?;
            let scale = quantized::mul_repeated(b, "steps", &largest, &step)?;
            let least = float(b, "least_row_scale", LEAST_SCALE)?;
            let scale = quantized::max_repeated(b, "scale", &scale, &least)?;
            let rows: Vec<Dim> = x.shape().first().copied().into_iter().collect();
            let scales = reshape(b, "scales", &scale, &[-1], rows)?;
            let zero_points = quantized::row_zero_points(b, "zero_points", &scales)?;
            let values = quantized::quantize_rows(b, "values", x, &scales, &zero_points)?;
            Ok(Self { values, scale })
        })
    }
}
