//! One typed constructor per operator: it checks its operands and gives the output its type and shape.

pub mod contrib;
pub mod index;
pub mod matrix;
pub mod onnx;
pub mod quantized;

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

/// What attention works on, and how it is divided into heads.
#[derive(Clone, Copy, Debug)]
pub struct Projections<'a> {
    /// `[batch, sequence, query heads * size]`.
    pub query: &'a Value,
    /// `[batch, sequence, key-value heads * size]`.
    pub key: &'a Value,
    /// `[batch, sequence, key-value heads * size]`.
    pub value: &'a Value,
    /// The heads.
    pub heads: Heads,
}

impl Projections<'_> {
    fn check(&self, name: &str) -> Result<()> {
        let Self {
            query,
            key,
            value,
            heads,
        } = self;
        let wide = |x: &Value, width: u64| {
            x.shape().len() == 3
                && x.shape() == with_last(query.shape(), Dim::Fixed(width))
                && x.element() == query.element()
        };
        if wide(query, heads.query_width())
            && wide(key, heads.key_value_width())
            && wide(value, heads.key_value_width())
        {
            return Ok(());
        }
        misfit(
            name,
            &[query, key, value],
            &format!(
                "[batch, sequence, …] of {} query and {} key-value heads of {}",
                heads.query, heads.key_value, heads.size
            ),
        )
    }
}

/// What attention does with the products of queries and keys, beyond leaving out later tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// What they are multiplied by; `1 / sqrt(size of a head)` when `None`.
    pub scale: Option<f32>,
    /// What they are kept below in magnitude, as `cap * tanh(x / cap)`.
    pub softcap: Option<f32>,
    /// How many of the latest tokens a token sees, itself among them; all when `None`.
    pub window: Option<u64>,
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
