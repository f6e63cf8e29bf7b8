//! Which tokens of its row a token sees, for attention operators that take a mask.

use std::collections::{BTreeMap, BTreeSet};

use worldpm_ort_bundle::{
    Error, Result,
    graph::{Dim, GraphBuilder, Value},
    op::{
        index::{both, less, range, size, sub},
        onnx::reshape,
    },
};

/// Masks `[1, 1, S, S]` of truth values by the number of latest tokens that a token sees, itself among
/// them; `None` stands for all.
///
/// They are computed once for all layers of a stage. Cells of a row are positions of a conversation, so
/// one mask serves all rows.
#[derive(Debug)]
pub(crate) struct Masks(BTreeMap<Option<u64>, Value>);

impl Masks {
    /// Masks for `windows`, of the length of `row_tokens` `[B, S]`.
    pub(crate) fn new(
        b: &mut GraphBuilder,
        row_tokens: &Value,
        windows: BTreeSet<Option<u64>>,
    ) -> Result<Self> {
        if windows.is_empty() {
            return Ok(Self(BTreeMap::new()));
        }
        b.scope("masks", |b| {
            let zero = b.constant_i64("zero", &[], &[0])?;
            let one = b.constant_i64("one", &[], &[1])?;
            let columns = row_tokens.shape().get(1).copied().unwrap_or(Dim::Fixed(0));
            let length = size(b, "length", row_tokens, 1)?;
            let places = range(b, "places", &zero, &length, &one, columns)?;
            let single = Dim::Fixed(1);
            let row = vec![single, single, single, columns];
            let key = reshape(b, "key", &places, &[1, 1, 1, -1], row)?;
            let column = vec![single, single, columns, single];
            let query = reshape(b, "query", &places, &[1, 1, -1, 1], column)?;
            let distance = sub(b, "distance", &query, &key)?;
            let ahead = b.constant_i64("ahead", &[], &[-1])?;
            let causal = less(b, "causal", &ahead, &distance)?;
            let mut masks = BTreeMap::new();
            for window in windows {
                let mask = match window {
                    None => causal.clone(),
                    Some(window) => b.scope(format!("window.{window}"), |b| {
                        let size = b.constant_i64("size", &[], &[window.cast_signed()])?;
                        let near = less(b, "near", &distance, &size)?;
                        both(b, "mask", &causal, &near)
                    })?,
                };
                masks.insert(window, mask);
            }
            Ok(Self(masks))
        })
    }

    /// The mask for a window, which must have been asked for.
    pub(crate) fn get(&self, window: Option<u64>) -> Result<&Value> {
        self.0.get(&window).ok_or_else(|| Error::Graph {
            node: "masks".into(),
            problem: format!("no mask was made for window {window:?}"),
        })
    }
}
