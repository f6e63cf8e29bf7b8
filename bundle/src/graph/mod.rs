//! A small intermediate form of an ONNX graph: typed values, a builder and a checker.
//!
//! It knows no checkpoint and no model; [`crate::op`] adds single operators to it, `block` whole
//! parts of a transformer.

mod builder;
mod dump;
mod model;
mod part;
mod value;

#[cfg(test)]
mod tests;

pub use builder::GraphBuilder;
pub(crate) use builder::Operator;
pub(crate) use model::Attribute;
pub use model::{ExternalData, Graph, MICROSOFT_DOMAIN};
pub use part::Cut;
pub use value::{Dim, Value};
