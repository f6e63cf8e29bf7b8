//! The element types of a safetensors file.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The element type of a stored tensor.
///
/// Every type of the format is known, so that any well-formed file can be
/// described. Weights may only be [`Bf16`](Dtype::Bf16), [`F16`](Dtype::F16) or
/// [`F32`](Dtype::F32): see [`Dtype::is_weight`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Dtype {
    /// bfloat16.
    #[serde(rename = "BF16")]
    Bf16,
    /// IEEE half precision.
    #[serde(rename = "F16")]
    F16,
    /// IEEE single precision.
    #[serde(rename = "F32")]
    F32,
    /// IEEE double precision.
    #[serde(rename = "F64")]
    F64,
    /// 8-bit float, 4 exponent and 3 mantissa bits.
    #[serde(rename = "F8_E4M3")]
    F8E4M3,
    /// 8-bit float, 5 exponent and 2 mantissa bits.
    #[serde(rename = "F8_E5M2")]
    F8E5M2,
    /// 8-bit power-of-two scale.
    #[serde(rename = "F8_E8M0")]
    F8E8M0,
    /// 6-bit float, 2 exponent and 3 mantissa bits.
    #[serde(rename = "F6_E2M3")]
    F6E2M3,
    /// 6-bit float, 3 exponent and 2 mantissa bits.
    #[serde(rename = "F6_E3M2")]
    F6E3M2,
    /// 4-bit float.
    #[serde(rename = "F4")]
    F4,
    /// Complex number of two single-precision floats.
    #[serde(rename = "C64")]
    C64,
    /// 64-bit signed integer.
    #[serde(rename = "I64")]
    I64,
    /// 64-bit unsigned integer.
    #[serde(rename = "U64")]
    U64,
    /// 32-bit signed integer.
    #[serde(rename = "I32")]
    I32,
    /// 32-bit unsigned integer.
    #[serde(rename = "U32")]
    U32,
    /// 16-bit signed integer.
    #[serde(rename = "I16")]
    I16,
    /// 16-bit unsigned integer.
    #[serde(rename = "U16")]
    U16,
    /// 8-bit signed integer.
    #[serde(rename = "I8")]
    I8,
    /// 8-bit unsigned integer.
    #[serde(rename = "U8")]
    U8,
    /// One byte, 0 or 1.
    #[serde(rename = "BOOL")]
    Bool,
}

impl Dtype {
    /// The size of one element, in bits: two of the types are narrower than a byte.
    pub fn bits(self) -> u64 {
        match self {
            Self::F4 => 4,
            Self::F6E2M3 | Self::F6E3M2 => 6,
            Self::Bool | Self::U8 | Self::I8 | Self::F8E4M3 | Self::F8E5M2 | Self::F8E8M0 => 8,
            Self::Bf16 | Self::F16 | Self::I16 | Self::U16 => 16,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F64 | Self::I64 | Self::U64 | Self::C64 => 64,
        }
    }

    /// Whether a weight may be stored in this type.
    pub fn is_weight(self) -> bool {
        matches!(self, Self::Bf16 | Self::F16 | Self::F32)
    }

    /// The name in a safetensors header, as in `BF16`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::F8E8M0 => "F8_E8M0",
            Self::F6E2M3 => "F6_E2M3",
            Self::F6E3M2 => "F6_E3M2",
            Self::F4 => "F4",
            Self::C64 => "C64",
            Self::I64 => "I64",
            Self::U64 => "U64",
            Self::I32 => "I32",
            Self::U32 => "U32",
            Self::I16 => "I16",
            Self::U16 => "U16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
