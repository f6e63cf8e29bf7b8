//! The runtime's operators: names, inputs and attributes.

use crate::proto::ElementType;

/// Domain of the runtime's operators.
pub const DOMAIN: &str = "worldpm_ort";
/// `x . weight + bias`: `x` `[T, inner]` float, `weight` `[width, inner]` bfloat16, `bias` `[width]` float or none. The
/// attribute [`EXACT`].
pub const LINEAR: &str = "Linear";
/// [`LINEAR`] with a half weight.
pub const LINEAR_F16: &str = "LinearF16";
/// [`LINEAR`] with a weight as `MatMulNBits` has it: `x`, integers, scales, zero points, bias or none. The attributes
/// [`EXACT`], `bits`, `block_size` and [`ZERO_POINTS`].
pub const LINEAR_BLOCKS: &str = "LinearBlocks";
/// [`LINEAR`] with a weight as `QGemm` has it: `x` in floats, signed integers, scales, zero points, which have to be 0, bias
/// or none. The attribute [`EXACT`].
pub const LINEAR_ROWS: &str = "LinearRows";
/// `activation(x . gate + gate bias) * (x . up + up bias)`: `x`, `gate`, `up`, and the biases or none. The attribute
/// [`ACTIVATION`].
pub const GATED: &str = "GatedLinear";
/// [`GATED`] with half weights.
pub const GATED_F16: &str = "GatedLinearF16";
/// [`GATED`] with weights as `MatMulNBits` has them: `x`, integers and scales of `gate`, those of `up`, the zero points of
/// both, the biases of both or none. The attributes [`ACTIVATION`], `bits`, `block_size` and [`ZERO_POINTS`].
pub const GATED_BLOCKS: &str = "GatedLinearBlocks";
/// [`GATED`] with weights as `QGemm` has them: the inputs as those of [`GATED_BLOCKS`]. The attribute [`ACTIVATION`].
pub const GATED_ROWS: &str = "GatedLinearRows";
/// `GatedLinear . down + down bias`: `x`, `gate`, `up`, `down`, and the biases or none. The attribute [`ACTIVATION`].
pub const MLP: &str = "GatedMLP";
/// [`MLP`] with half weights.
pub const MLP_F16: &str = "GatedMLPF16";
/// [`MLP`] with weights as `MatMulNBits` has them: `x`, integers and scales of each, the zero points of all, the biases of all
/// or none. The attributes [`ACTIVATION`], `bits`, `block_size` and [`ZERO_POINTS`].
pub const MLP_BLOCKS: &str = "GatedMLPBlocks";
/// [`MLP`] with weights as `QGemm` has them: the inputs as those of [`MLP_BLOCKS`]. The attribute [`ACTIVATION`].
pub const MLP_ROWS: &str = "GatedMLPRows";
/// Attention: queries, keys and values `[T, heads * size]`, the packed token of each cell `[B, S]`, the cells that attend
/// `[n]`. The attributes of `GroupQueryAttention`.
pub const ATTENTION: &str = "PackedAttention";
/// Whether a product is part of the reward head, which is always computed as exactly as floats are.
pub const EXACT: &str = "exact";
/// Whether a weight has zero points. Without them the integers stand in their place, for nothing: ONNX Runtime 1.23 crashes
/// at an operator of another library that leaves an input out before one that is there.
pub const ZERO_POINTS: &str = "zero_points";
/// [`SILU`] or [`GELU_TANH`].
pub const ACTIVATION: &str = "activation";
/// `x * sigmoid(x)`.
pub const SILU: i64 = 0;
/// Gelu by its approximation with a hyperbolic tangent.
pub const GELU_TANH: i64 = 1;

/// Weights of 16 bits, and their linear layer.
pub(super) const SHORT: [(ElementType, &str); 2] = [
    (ElementType::BFloat16, LINEAR),
    (ElementType::Float16, LINEAR_F16),
];

/// The linear layers, and the gated form and the MLP of each.
pub(super) const FORMS: [(&str, &str, &str); 4] = [
    (LINEAR, GATED, MLP),
    (LINEAR_F16, GATED_F16, MLP_F16),
    (LINEAR_BLOCKS, GATED_BLOCKS, MLP_BLOCKS),
    (LINEAR_ROWS, GATED_ROWS, MLP_ROWS),
];
/// What operators say of blocks.
pub(super) const BLOCK_ATTRIBUTES: [&str; 3] = ["bits", "block_size", ZERO_POINTS];
