//! Rows long enough for wide heads to be summed alike in all of them.
//!
//! On the CPU, ONNX Runtime's matrix products sum over at most 128 elements at a time. With 64 columns or
//! fewer they take 256 at once, which rounds differently: a product of queries and keys of heads wider than
//! 128 would depend on the length of its row. So no row is shorter than that.

use worldpm_ort_bundle::{
    Result,
    graph::{Dim, GraphBuilder},
    names::WIDE_COLUMNS,
    op::{
        contrib::RowLengths,
        index::{add, columns, div, max, min, mul, range, size, sub},
        onnx::cast,
    },
    proto::ElementType,
};

use super::packed::PackedRows;

/// The widest heads that are summed in one go.
const SUMMED_AT_ONCE: u64 = 128;
/// Columns of the rows, at least [`WIDE_COLUMNS`].
const WIDE: Dim = Dim::Named("W");

/// Whether heads of this size need such rows.
pub(crate) fn are_needed(head_size: u64) -> bool {
    head_size > SUMMED_AT_ONCE
}

/// `rows` with at least 66 columns. What is added is padding like any other: it lies behind the row.
pub(crate) fn widen(b: &mut GraphBuilder, rows: &PackedRows) -> Result<PackedRows> {
    b.scope("wide_rows", |b| {
        let zero = b.constant_i64("zero", &[], &[0])?;
        let one = b.constant_i64("one", &[], &[1])?;
        let least = b.constant_i64("least", &[], &[WIDE_COLUMNS.cast_signed()])?;
        let narrow = size(b, "narrow", &rows.row_tokens, 1)?;
        let wide = max(b, "wide", &narrow, &least)?;

        let last = sub(b, "last", &narrow, &one)?;
        let places = range(b, "places", &zero, &wide, &one, WIDE)?;
        let places = min(b, "places/within", &places, &last)?;
        let row_tokens = columns(b, "row_tokens", &rows.row_tokens, &places)?;

        let more = sub(b, "more", &wide, &narrow)?;
        let row = div(b, "row", &rows.token_cells, &narrow)?;
        let shift = mul(b, "shift", &row, &more)?;
        let token_cells = add(b, "token_cells", &rows.token_cells, &shift)?;

        let lengths = match &rows.lengths {
            Some(lengths) => {
                let int32 = ElementType::Int32;
                let total = &lengths.total_sequence_length;
                let least = cast(b, "least/int32", &least, int32)?;
                let least_last =
                    b.constant_i64("least_last", &[], &[WIDE_COLUMNS.cast_signed() - 1])?;
                let least_last = cast(b, "least_last/int32", &least_last, int32)?;
                Some(RowLengths {
                    seqlens_k: max(b, "seqlens_k", &lengths.seqlens_k, &least_last)?,
                    total_sequence_length: max(b, "total_length", total, &least)?,
                })
            }
            None => None,
        };
        Ok(PackedRows {
            row_tokens,
            token_cells,
            lengths,
        })
    })
}
