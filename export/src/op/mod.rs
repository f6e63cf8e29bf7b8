//! One typed constructor per operator: it checks its operands and gives the output its type and shape.

pub mod contrib;
pub mod index;
pub mod onnx;

use crate::{
    error::{Error, Result},
    graph::{Dim, Value},
};

/// Head counts of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub query: u64,
    /// Key and value heads; divides `query`.
    pub key_value: u64,
    /// Elements of one head.
    pub size: u64,
}

impl Heads {
    /// Width of the queries of all heads.
    #[must_use]
    pub fn query_width(&self) -> u64 {
        self.query * self.size
    }

    /// Width of the keys (or the values) of all heads.
    #[must_use]
    pub fn key_value_width(&self) -> u64 {
        self.key_value * self.size
    }
}

fn misfit<T>(node: &str, operands: &[&Value], expected: &str) -> Result<T> {
    let operands: Vec<String> = operands.iter().map(ToString::to_string).collect();
    Err(Error::Graph {
        node: node.to_owned(),
        problem: format!(
            "operands {} do not fit: expected {expected}",
            operands.join("; ")
        ),
    })
}

fn with_last(shape: &[Dim], last: Dim) -> Vec<Dim> {
    let mut shape = shape.to_vec();
    if let Some(dim) = shape.last_mut() {
        *dim = last;
    }
    shape
}
