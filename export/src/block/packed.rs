//! The inputs of a graph that works on packed tokens.
//!
//! A batch is a flat list of unique tokens (`T`); only attention sees the conversations as rows
//! (`B` rows, the longest of `S` tokens). `N` tokens are scored.

use crate::{
    error::Result,
    graph::{Dim, GraphBuilder, Value},
    op::contrib::RowLengths,
    proto::ElementType,
};

/// Unique tokens of a pack.
pub(crate) const TOKENS: Dim = Dim::Named("T");
/// Attention rows of a pack.
pub(crate) const ROWS: Dim = Dim::Named("B");
/// Tokens of the longest row.
pub(crate) const COLUMNS: Dim = Dim::Named("S");
/// Scored tokens of a pack.
pub(crate) const SCORED: Dim = Dim::Named("N");

/// Names of the graph inputs.
pub mod names {
    /// Token ids, `[T]` int64; first stage.
    pub const INPUT_IDS: &str = "input_ids";
    /// Position of each token in its conversation, `[T]` int64.
    pub const POSITION_IDS: &str = "position_ids";
    /// The packed token that each attention cell reads, `[B, S]` int64.
    pub const ROW_TOKENS: &str = "row_tokens";
    /// The flattened cell where each token's attention output is read back, `[T]` int64.
    pub const TOKEN_CELLS: &str = "token_cells";
    /// The packed tokens that are scored, `[N]` int64; last stage.
    pub const SCORE_TOKENS: &str = "score_tokens";
    /// Row length less one, `[B]` int32; target `ort`.
    pub const SEQLENS_K: &str = "seqlens_k";
    /// `S`, a scalar int32; target `ort`.
    pub const TOTAL_SEQUENCE_LENGTH: &str = "total_sequence_length";
    /// The residual stream, `[T, hidden]`; every stage but the first.
    pub const HIDDEN_STATES: &str = "hidden_states";
    /// The residual stream after the stage, `[T, hidden]`; every stage but the last.
    pub const NEXT_HIDDEN_STATES: &str = "next_hidden_states";
    /// The scores, `[N, labels]` float; last stage.
    pub const SCORES: &str = "scores";
}

/// The index inputs that attention needs.
#[derive(Debug)]
pub(crate) struct PackedRows {
    pub(crate) row_tokens: Value,
    pub(crate) token_cells: Value,
    /// Present when the target's attention operator takes row lengths.
    pub(crate) lengths: Option<RowLengths>,
}

impl PackedRows {
    /// Declares the inputs.
    pub(crate) fn declare(b: &mut GraphBuilder, with_lengths: bool) -> Result<Self> {
        let row_tokens = b.input(names::ROW_TOKENS, ElementType::Int64, [ROWS, COLUMNS])?;
        let token_cells = b.input(names::TOKEN_CELLS, ElementType::Int64, [TOKENS])?;
        let lengths = if with_lengths {
            Some(RowLengths {
                seqlens_k: b.input(names::SEQLENS_K, ElementType::Int32, [ROWS])?,
                total_sequence_length: b.input(
                    names::TOTAL_SEQUENCE_LENGTH,
                    ElementType::Int32,
                    [],
                )?,
            })
        } else {
            None
        };
        Ok(Self {
            row_tokens,
            token_cells,
            lengths,
        })
    }
}
