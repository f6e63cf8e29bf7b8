//! How far a score may be from its reference.

use worldpm_ort_bundle::{Device, Manifest, Precision};

use super::{MeasuredDrift, exact::is_reference};
use crate::MatmulPrecision;

/// fp32: what the scores of this project are held to against `transformers`. Between processors, versions of
/// ONNX Runtime and stages they differ by 1e-5 at most.
const FP32: f64 = 1e-4;

/// bf16: three times the largest difference, 0.063, between `transformers` in bf16 and in fp32 over the probes
/// of three random checkpoints (3, 8 and 24 layers; `scripts/probe-drift.py`).
const BF16: f64 = 0.2;

/// fp16: three times the largest difference, 0.0081, measured as for bf16.
const FP16: f64 = 0.025;

/// Our own kernels where they split floats into two bfloat16 numbers, which have 7 bits less than floats.
const HIGH: f64 = 1e-3;

/// int8, int4 and w8a8 of a bundle whose drift was not measured at export: three times the largest difference (0.127, 1.64
/// and 0.153) to fp32 over the probes of three random checkpoints, in every form of blocks (`scripts/quantised-drift.py`). How
/// far such weights move the scores of trained models is the model's own affair; `verify --against` measures it on the
/// user's data, and `--tolerance` sets another limit.
const INT8: f64 = 0.4;
const INT4: f64 = 5.0;
const W8A8: f64 = 0.5;

/// A limit on the difference between a score and its reference, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limit {
    /// The largest difference of a score between -1 and 1; of a larger one, in proportion to it. Scores of
    /// some models are in the tens, and rounding errors grow with them.
    pub value: f64,
    /// Where it comes from.
    pub source: String,
}

impl Limit {
    /// The limit for the arithmetic of a bundle, whose drift was `measured` at export or not, when our own kernels multiply
    /// as exactly as `matmul` says.
    #[must_use]
    pub fn of(
        manifest: &Manifest,
        measured: Option<&MeasuredDrift>,
        matmul: MatmulPrecision,
    ) -> Self {
        let integers = matches!(
            manifest.precision,
            Precision::Int8 | Precision::Int4 | Precision::W8a8
        );
        let own = match measured {
            _ if is_reference(manifest) => Self {
                value: FP32,
                source: "fp32 on the CPU".into(),
            },
            Some(measured) if integers => Self {
                value: measured.limit,
                source: format!("{}, twice the drift at export", manifest.precision),
            },
            _ => Self::of_precision(manifest.precision),
        };
        let products = match matmul {
            MatmulPrecision::High if manifest.device == Device::Cpu => HIGH,
            MatmulPrecision::Medium if manifest.device == Device::Cpu => BF16,
            _ => return own,
        };
        if own.value >= products {
            return own;
        }
        Self {
            value: products,
            source: format!("--float32-matmul-precision {matmul}"),
        }
    }

    /// The limit for weights of a precision.
    #[must_use]
    pub fn of_precision(precision: Precision) -> Self {
        Self {
            value: match precision {
                Precision::Fp32 => FP32,
                Precision::Fp16 => FP16,
                Precision::Bf16 => BF16,
                Precision::Int8 => INT8,
                Precision::Int4 => INT4,
                Precision::W8a8 => W8A8,
            },
            source: precision.to_string(),
        }
    }

    /// A limit that the user gave.
    #[must_use]
    pub fn given(value: f64) -> Self {
        Self {
            value,
            source: "as given".into(),
        }
    }

    /// The largest difference to this reference.
    #[must_use]
    pub fn for_reference(&self, reference: f32) -> f64 {
        self.value * f64::from(reference.abs()).max(1.0)
    }
}
