//! What ONNX Runtime's CPU provider lacks for reward models: products of floats with weights of few bits on the units of
//! x86 processors that multiply bfloat16 numbers (AMX, AVX-512 BF16), and attention that computes the queries of a
//! shared prompt once.
//!
//! Weights are used where they are, row by row as they are stored: as bfloat16 or half numbers, or as integers with scales.
//! Nothing is converted or packed at load, and a weight file that is mapped into memory is all the memory that they take.
//!
//! # Precision
//! A float has 24 significant bits, a bfloat16 number 8. [`Precision`] says into how many bfloat16 numbers each float is
//! split before it is multiplied; products are summed in floats. Weights are not rounded. Attention splits both sides of its
//! products where it is computed on AMX tiles, and multiplies floats elsewhere. The names are
//! those of `torch.set_float32_matmul_precision`.
//!
//! # The same bits in any batch
//! A result depends on its own inputs only. Each element of a product is summed over the inner dimension from its
//! beginning, in one order, whatever the number of rows, columns or threads and however they are divided. Attention goes
//! through the keys of a row from its beginning, in blocks of one size, and no query reads a key behind its own.

mod kernels;
mod operands;
mod precision;
mod shape_error;
mod threads;
mod weight;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86;

pub use kernels::Kernels;
pub use operands::{Activation, Attention, Mask};
pub use precision::Precision;
pub use shape_error::ShapeError;
pub use threads::{OneThread, Threads};
pub use weight::{Blocks, Rows, Values, Weight};
