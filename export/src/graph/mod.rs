//! A small intermediate form of an ONNX graph: typed values, a builder and a checker.
//!
//! It knows no checkpoint and no model; [`crate::op`] adds single operators to it, `block` whole
//! parts of a transformer.

mod builder;
mod dump;
mod model;
mod value;

#[cfg(test)]
mod tests;

pub use builder::GraphBuilder;
pub(crate) use builder::Operator;
pub(crate) use model::Attribute;
pub use model::{ExternalData, Graph};
pub use value::{Dim, Value};

/// Domain of the operators that ONNX Runtime adds to the standard ones.
pub const MICROSOFT_DOMAIN: &str = "com.microsoft";
