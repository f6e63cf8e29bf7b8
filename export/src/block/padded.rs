//! The padded interface: rows of token ids and a mask, from which the graph computes the packed tokens.
//!
//! The mask alone says which tokens are real. A token id never does: in Qwen's vocabulary the padding token
//! is also the token that ends, and is scored in, a conversation.
//!
//! Padding is dropped, so that the linear layers work on real tokens only. Each row is a conversation of
//! its own; beginnings that rows share are not merged. Where a model is cut into stages, every stage computes the
//! indices anew from the mask: that is a few operations on `[batch, sequence]` integers, where handing them on would be
//! six more tensors to copy between devices, one of which must be on the host.

use worldpm_ort_bundle::{
    Result,
    graph::{Dim, GraphBuilder, Value},
    names,
    op::{
        contrib::RowLengths,
        index,
        onnx::{cast, gather, reshape},
    },
    proto::ElementType,
};

use super::packed::{COLUMNS, PackedRows, PackedTokens, TOKENS};

/// Conversations of a request.
const BATCH: Dim = Dim::Named("batch");
/// Length that the rows of a request are padded to.
const SEQUENCE: Dim = Dim::Named("sequence");
const CELLS: Dim = Dim::Named("batch*sequence");
const ONE: Dim = Dim::Fixed(1);

/// The packed form of the padded inputs.
#[derive(Debug)]
pub(crate) struct PaddedTokens {
    pub(crate) tokens: PackedTokens,
    /// Rows without a single real token, `[batch, 1]`.
    empty_rows: Value,
}

impl PaddedTokens {
    /// Declares the inputs of the padded interface and packs them. `row_lengths` says whether the attention operator
    /// takes them.
    pub(crate) fn declare(b: &mut GraphBuilder, row_lengths: bool) -> Result<Self> {
        let int64 = ElementType::Int64;
        let input_ids = b.input(names::INPUT_IDS, int64, [BATCH, SEQUENCE])?;
        let mask = b.input(names::ATTENTION_MASK, int64, [BATCH, SEQUENCE])?;
        b.scope("packing", |b| pack(b, &input_ids, &mask, row_lengths))
    }

    /// The scores `[batch, labels]`, with not-a-number for rows that hold no token.
    pub(crate) fn mark_empty_rows(&self, b: &mut GraphBuilder, scores: &Value) -> Result<Value> {
        b.scope("empty_rows", |b| {
            let nan = b.constant_f32("nan", &[1, 1], &[f32::NAN])?;
            index::select(b, "scores", &self.empty_rows, &nan, scores)
        })
    }
}

fn pack(
    b: &mut GraphBuilder,
    input_ids: &Value,
    mask: &Value,
    row_lengths: bool,
) -> Result<PaddedTokens> {
    let zero = b.constant_i64("zero", &[], &[0])?;
    let one = b.constant_i64("one", &[], &[1])?;
    let batch = index::size(b, "batch", mask, 0)?;
    let sequence = index::size(b, "sequence", mask, 1)?;
    let columns = even(b, &sequence, &one)?;

    let real = cast(b, "mask", mask, ElementType::Bool)?;
    let real = cast(b, "real", &real, ElementType::Int64)?;
    let length = index::row_sums(b, "real_length", &real)?;
    let empty = index::equal(b, "empty", &length, &zero)?;
    // A row without tokens would have no cell that attention could read: its first cell stands in for one.
    let stand_ins = first_cells(b, &empty, [&zero, &sequence, &one])?;
    let used = index::add(b, "used", &real, &stand_ins)?;
    let length = index::max(b, "length", &length, &one)?;
    let last = index::sub(b, "last", &length, &one)?;
    let countable_length = countable(b, "length", &length, row_lengths)?;
    let ends = running_sums(b, "ends", &countable_length, 0)?;
    let starts = index::sub(b, "starts", &ends, &length)?;

    let used = countable(b, "used", &used, row_lengths)?;
    let count = running_sums(b, "count", &used, 1)?;
    let positions = index::sub(b, "positions", &count, &one)?;
    let cell_count = index::mul(b, "cell_count", &batch, &columns)?;
    let offsets = index::range(b, "offsets", &zero, &cell_count, &columns, BATCH)?;
    let offsets = reshape(b, "offsets/column", &offsets, &[-1, 1], vec![BATCH, ONE])?;
    let cells = index::add(b, "cells", &offsets, &positions)?;
    let column = index::range(b, "column", &zero, &columns, &one, COLUMNS)?;
    let column = reshape(b, "column/row", &column, &[1, -1], vec![ONE, COLUMNS])?;
    let column = index::min(b, "column/within", &column, &last)?;
    let row_tokens = index::add(b, "row_tokens", &starts, &column)?;

    let used = flat(b, "used/flat", &used, CELLS)?;
    let chosen = index::non_zero(b, "chosen", &used, TOKENS)?;
    let choose = |b: &mut GraphBuilder, name: &str, grid: &Value| -> Result<Value> {
        let cells = flat(b, &format!("{name}/flat"), grid, CELLS)?;
        gather(b, name, &cells, &chosen)
    };
    let input_ids = choose(b, "input_ids", input_ids)?;
    let position_ids = choose(b, "position_ids", &positions)?;
    let token_cells = choose(b, "token_cells", &cells)?;

    let lengths = if row_lengths {
        let last = flat(b, "last/flat", &last, BATCH)?;
        Some(RowLengths {
            seqlens_k: cast(b, "seqlens_k", &last, ElementType::Int32)?,
            total_sequence_length: cast(b, "total_length", &columns, ElementType::Int32)?,
        })
    } else {
        None
    };
    let scored = index::sub(b, "scored", &ends, &one)?;
    let score_tokens = flat(b, "score_tokens", &scored, BATCH)?;
    Ok(PaddedTokens {
        tokens: PackedTokens {
            input_ids,
            position_ids,
            rows: PackedRows {
                row_tokens,
                token_cells,
                lengths,
            },
            score_tokens,
        },
        empty_rows: empty,
    })
}

/// The sequence length rounded up to an even number, as the runtime of this project pads its rows: on the
/// CPU a block of a single query would be computed by another kernel, with other last bits.
fn even(b: &mut GraphBuilder, sequence: &Value, one: &Value) -> Result<Value> {
    let two = b.constant_i64("two", &[], &[2])?;
    let more = index::add(b, "columns/more", sequence, one)?;
    let half = index::div(b, "columns/half", &more, &two)?;
    index::mul(b, "columns", &half, &two)
}

/// One at the first cell of each of the rows `[batch, 1]`, else zero: `[batch, sequence]`.
fn first_cells(
    b: &mut GraphBuilder,
    rows: &Value,
    [zero, sequence, one]: [&Value; 3],
) -> Result<Value> {
    b.scope("first_cells", |b| {
        let rows = cast(b, "rows", rows, ElementType::Int64)?;
        let column = index::range(b, "column", zero, sequence, one, SEQUENCE)?;
        let first = index::equal(b, "first", &column, zero)?;
        let first = cast(b, "first/cast", &first, ElementType::Int64)?;
        index::mul(b, "cells", &rows, &first)
    })
}

/// Counts in a type that can be summed and searched everywhere. TensorRT's parser names floats alone for these
/// operators, so graphs of standard operators count in floats, which is exact up to 2^24 tokens in a request.
fn countable(b: &mut GraphBuilder, name: &str, x: &Value, row_lengths: bool) -> Result<Value> {
    let element = match row_lengths {
        true => ElementType::Int64,
        false => ElementType::Float,
    };
    cast(b, &format!("{name}/countable"), x, element)
}

fn running_sums(b: &mut GraphBuilder, name: &str, x: &Value, axis: u32) -> Result<Value> {
    let sums = index::running_sums(b, name, x, axis)?;
    cast(b, &format!("{name}/whole"), &sums, ElementType::Int64)
}

fn flat(b: &mut GraphBuilder, name: &str, x: &Value, length: Dim) -> Result<Value> {
    reshape(b, name, x, &[-1], vec![length])
}
