//! The inputs of a graph that works on packed tokens.
//!
//! A batch is a flat list of unique tokens (`T`); only attention sees the conversations as rows
//! (`B` rows, the longest of `S` tokens). `N` tokens are scored.

use worldpm_ort_bundle::{
    Result,
    graph::{Dim, GraphBuilder, Value},
    names,
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

/// The inputs of a model: packed tokens, as graph inputs or computed from the padded ones
/// ([`super::padded`]).
#[derive(Debug)]
pub(crate) struct PackedTokens {
    /// Token ids, `[T]`.
    pub(crate) input_ids: Value,
    /// Position of each token in its conversation, `[T]`.
    pub(crate) position_ids: Value,
    /// How attention lays the tokens out in rows.
    pub(crate) rows: PackedRows,
    /// The packed tokens that are scored, one for each score.
    pub(crate) score_tokens: Value,
}

/// How attention lays packed tokens out in rows.
#[derive(Debug)]
pub(crate) struct PackedRows {
    /// The packed token that each attention cell reads, `[rows, columns]`.
    pub(crate) row_tokens: Value,
    /// The flattened cell where each token's attention output is read back, `[T]`.
    pub(crate) token_cells: Value,
    /// Present when the target's attention operator takes row lengths.
    pub(crate) lengths: Option<RowLengths>,
}

impl PackedTokens {
    /// Declares the inputs of the packed interface. `row_lengths` says whether the attention operator takes them.
    pub(crate) fn declare(b: &mut GraphBuilder, row_lengths: bool) -> Result<Self> {
        let int64 = ElementType::Int64;
        let input_ids = b.input(names::INPUT_IDS, int64, [TOKENS])?;
        let position_ids = b.input(names::POSITION_IDS, int64, [TOKENS])?;
        let row_tokens = b.input(names::ROW_TOKENS, int64, [ROWS, COLUMNS])?;
        let token_cells = b.input(names::TOKEN_CELLS, int64, [TOKENS])?;
        let lengths = if row_lengths {
            let int32 = ElementType::Int32;
            Some(RowLengths {
                seqlens_k: b.input(names::SEQLENS_K, int32, [ROWS])?,
                total_sequence_length: b.input(names::TOTAL_SEQUENCE_LENGTH, int32, [])?,
            })
        } else {
            None
        };
        Ok(Self {
            input_ids,
            position_ids,
            rows: PackedRows {
                row_tokens,
                token_cells,
                lengths,
            },
            score_tokens: b.input(names::SCORE_TOKENS, int64, [SCORED])?,
        })
    }
}
