//! JSON values that come out as they came in.
//!
//! Records and conversations are made of these: a [`Number`] keeps its text, so an `id` is given back byte for byte and a
//! chat template sees what Python would read; and an object has each of its keys once, in the order given.

mod number;
mod parse;
mod value;

pub use number::Number;
pub(crate) use parse::Parser;
pub use parse::{JsonError, JsonErrorKind};
pub use value::{Json, Object};

#[cfg(test)]
mod tests;
