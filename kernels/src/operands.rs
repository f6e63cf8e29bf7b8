use crate::{ShapeError, shape_error::require};

/// What a gated layer does with its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// Gelu by its approximation with a hyperbolic tangent.
    GeluTanh,
}

/// Which keys a query sees, and what is done with their scores.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    /// What the products of queries and keys are multiplied by.
    pub scale: f32,
    /// `softcap * tanh(score / softcap)`, where there is one.
    pub softcap: Option<f32>,
    /// How many keys a query sees, with its own: those at its column and before. Default: all.
    pub window: Option<usize>,
}

/// The operands of attention over packed tokens.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// `[tokens, heads * size]`.
    pub query: &'a [f32],
    /// `[tokens, key_value_heads * size]`.
    pub key: &'a [f32],
    /// `[tokens, key_value_heads * size]`.
    pub value: &'a [f32],
    /// Number of heads of queries, a multiple of `key_value_heads`.
    pub heads: usize,
    /// Number of heads of keys and values.
    pub key_value_heads: usize,
    /// Width of a head: a multiple of 16.
    pub size: usize,
    /// `[rows, columns]`: the token that each cell holds.
    pub row_tokens: &'a [i64],
    /// Cells of a row.
    pub columns: usize,
    /// The cells whose tokens attend, as positions in `row_tokens`: each to the cells of its row up to itself.
    pub cells: &'a [i64],
    /// What it sees.
    pub mask: Mask,
}

/// What the kernels rely on.
pub(crate) fn check_attention(attention: &Attention<'_>, out: &[f32]) -> Result<(), ShapeError> {
    let &Attention {
        query,
        key,
        value,
        heads,
        key_value_heads,
        size,
        row_tokens,
        columns,
        cells,
        mask,
    } = attention;
    require(
        size > 0 && size.is_multiple_of(16) && key_value_heads > 0,
        || format!("{key_value_heads} heads of {size} elements"),
    )?;
    require(heads > 0 && heads.is_multiple_of(key_value_heads), || {
        format!("{heads} heads of queries for {key_value_heads} of keys")
    })?;
    let tokens = query.len() / (heads * size);
    let (width, narrow) = (heads * size, key_value_heads * size);
    require(
        query.len() == tokens * width
            && key.len() == tokens * narrow
            && value.len() == tokens * narrow,
        || {
            format!(
                "queries, keys and values of {}, {} and {} elements, {width} and {narrow} for a token",
                query.len(),
                key.len(),
                value.len()
            )
        },
    )?;
    require(columns > 0 || row_tokens.is_empty(), || {
        "rows of no columns".to_owned()
    })?;
    require(
        row_tokens.len().is_multiple_of(columns.max(1)) && out.len() == cells.len() * width,
        || {
            format!(
                "{} cells in rows of {columns}, and {} outputs of {width} for {} of them",
                row_tokens.len(),
                out.len(),
                cells.len()
            )
        },
    )?;
    require(mask.window != Some(0), || "a window of no keys".to_owned())?;
    let inside =
        |index: &i64, count: usize| usize::try_from(*index).is_ok_and(|index| index < count);
    let stray = row_tokens.iter().find(|token| !inside(token, tokens));
    require(stray.is_none(), || {
        format!("token {} of {tokens}", stray.unwrap_or(&0))
    })?;
    let stray = cells.iter().find(|cell| !inside(cell, row_tokens.len()));
    require(stray.is_none(), || {
        format!("cell {} of {}", stray.unwrap_or(&0), row_tokens.len())
    })
}
