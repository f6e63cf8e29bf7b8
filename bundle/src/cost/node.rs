//! What one node of a graph costs: the bytes of its values, its work, and what its kernel takes for itself, in a run of
//! given sizes.

use crate::{
    error::{Error, Result},
    names::WIDE_COLUMNS,
    proto::{
        NodeProto,
        view::{Size, View, element_bits, int, operator},
    },
    vocabulary::Device,
};

/// The sizes of one run of a model, for which its memory and its work are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunSizes {
    /// Unique tokens, `T`.
    pub tokens: u64,
    /// Attention rows, `B`.
    pub rows: u64,
    /// Tokens of the longest row, `S`.
    pub columns: u64,
    /// Scored tokens, `N`.
    pub scored: u64,
    /// The squares of the rows' lengths, padding left out, added up: what attention has to compute is in proportion.
    pub row_squares: u64,
}

impl RunSizes {
    /// A pack whose rows all have `columns` tokens.
    #[must_use]
    pub fn of_even_rows(tokens: u64, rows: u64, columns: u64, scored: u64) -> Self {
        Self {
            tokens,
            rows,
            columns,
            scored,
            row_squares: product(&[rows, columns, columns]),
        }
    }

    fn size(&self, size: Size<'_>) -> Option<u64> {
        Some(match size {
            Size::Fixed(size) => size,
            Size::Named("T") => self.tokens,
            Size::Named("N") => self.scored,
            Size::Named("B" | "batch") => self.rows,
            Size::Named("S" | "sequence") => self.columns,
            Size::Named("W") => self.columns.max(WIDE_COLUMNS),
            Size::Named("B*S" | "batch*sequence") => self.rows.saturating_mul(self.columns),
            Size::Named(_) => return None,
        })
    }
}

/// The sizes of a value.
fn shape(view: &View<'_>, name: &str, pack: RunSizes) -> Result<Vec<u64>> {
    let shape = view.value(name).and_then(|value| value.shape.as_ref());
    let sizes = shape.map(|sizes| sizes.iter().map(|&size| pack.size(size)).collect());
    sizes.flatten().ok_or_else(|| Error::Graph {
        node: name.to_owned(),
        problem: "the shape of this value is not known".into(),
    })
}

pub(super) fn bytes(view: &View<'_>, name: &str, pack: RunSizes) -> Result<u64> {
    let element = view.value(name).map_or("undefined", |value| value.element);
    let elements = product(&shape(view, name, pack)?);
    Ok(elements.saturating_mul(element_bits(element)).div_ceil(8))
}

fn product(sizes: &[u64]) -> u64 {
    sizes.iter().fold(1, |all, &size| all.saturating_mul(size))
}

fn input(node: &NodeProto, index: usize) -> &str {
    node.input.get(index).map_or("", String::as_str)
}

/// Multiplications and additions of a node.
pub(super) fn flops(view: &View<'_>, node: &NodeProto, pack: RunSizes) -> Result<u64> {
    let rows_and_depth = || -> Result<(u64, u64)> {
        let x = shape(view, input(node, 0), pack)?;
        let (depth, rows) = x
            .split_last()
            .map_or((0, 0), |(k, rows)| (*k, product(rows)));
        Ok((rows, depth))
    };
    let width = || -> Result<u64> {
        let y = shape(view, node.output.first().map_or("", String::as_str), pack)?;
        Ok(y.last().copied().unwrap_or(0))
    };
    Ok(match operator(node).as_str() {
        "Gemm"
        | "MatMul"
        | "MatMulInteger"
        | "com.microsoft.FusedMatMul"
        | "com.microsoft.MatMulNBits"
        | "com.microsoft.QGemm"
        | "com.microsoft.MatMulIntegerToFloat" => {
            let (rows, depth) = rows_and_depth()?;
            product(&[2, rows, depth, width()?])
        }
        "Attention" | "com.microsoft.GroupQueryAttention" | "com.microsoft.MultiHeadAttention" => {
            let query = attention_sizes(view, node, pack)?;
            // For a row of S tokens two products of [S, d] and [d, S], of which causality needs half.
            product(&[2, pack.row_squares, query.width])
        }
        _ => 0,
    })
}

struct AttentionSizes {
    rows: u64,
    columns: u64,
    heads: u64,
    width: u64,
}

/// Of queries `[B, S, heads * size]`, or `[B, heads, S, size]`.
fn attention_sizes(view: &View<'_>, node: &NodeProto, pack: RunSizes) -> Result<AttentionSizes> {
    let heads = ["num_heads", "q_num_heads"]
        .iter()
        .find_map(|name| int(node, name))
        .unwrap_or(1);
    match *shape(view, input(node, 0), pack)?.as_slice() {
        [rows, columns, width] => Ok(AttentionSizes {
            rows,
            columns,
            heads: heads.unsigned_abs(),
            width,
        }),
        [rows, heads, columns, size] => Ok(AttentionSizes {
            rows,
            columns,
            heads,
            width: heads.saturating_mul(size),
        }),
        _ => Err(Error::Graph {
            node: node.name.clone().unwrap_or_default(),
            problem: "the queries of an attention have three or four dimensions".into(),
        }),
    }
}

/// Bytes that a kernel takes for itself.
pub(super) fn workspace(
    view: &View<'_>,
    node: &NodeProto,
    device: Device,
    pack: RunSizes,
) -> Result<u64> {
    let operator = operator(node);
    Ok(match (operator.as_str(), device) {
        ("Attention", Device::Cpu) => {
            let sizes = attention_sizes(view, node, pack)?;
            product(&[2, 4, sizes.rows, sizes.heads, sizes.columns, sizes.columns])
        }
        ("Attention" | "com.microsoft.GroupQueryAttention", Device::Cuda) => {
            let sizes = attention_sizes(view, node, pack)?;
            product(&[4, sizes.rows, sizes.heads, sizes.columns])
        }
        ("com.microsoft.MatMulNBits", Device::Cuda) => {
            let element = view.value(input(node, 0)).map_or("float", |v| v.element);
            let size = |name| int(node, name).unwrap_or(0).unsigned_abs();
            product(&[size("N"), size("K"), element_bits(element) / 8])
        }
        _ => 0,
    })
}
