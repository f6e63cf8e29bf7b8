//! How far the margins of pairs are apart, and which pairs change their order.

use super::{
    RecordName,
    stats::{self, Differences},
};

/// How far margins, `chosen - rejected`, are apart.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PairDrift {
    /// Margins of the first bundle less those of the second.
    pub margins: Differences,
    /// Share of the pairs whose chosen answer scores higher, of the first bundle and of the second. A tie
    /// is not a win.
    pub accuracy: [f64; 2],
    /// Pairs whose answers stand in another order, a tie being an order of its own.
    pub flips: Vec<Flip>,
}

/// A pair whose answers stand in another order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Flip {
    /// The record.
    pub record: RecordName,
    /// The margins of the first bundle and of the second.
    pub margins: [f64; 2],
}

impl PairDrift {
    /// From `(record, margin of the first bundle, margin of the second)`; `None` when there are no pairs.
    pub(super) fn new<'r>(pairs: impl Iterator<Item = (&'r RecordName, f64, f64)>) -> Option<Self> {
        let (mut a, mut b, mut flips) = (Vec::new(), Vec::new(), Vec::new());
        for (record, first, second) in pairs {
            a.push(first);
            b.push(second);
            if first.partial_cmp(&0.0) != second.partial_cmp(&0.0) {
                flips.push(Flip {
                    record: record.clone(),
                    margins: [first, second],
                });
            }
        }
        let margins = stats::differences(&a, &b)?;
        #[allow(clippy::cast_precision_loss)]
        let accuracy = |margins: &[f64]| {
            margins.iter().filter(|&&margin| margin > 0.0).count() as f64 / margins.len() as f64
        };
        Some(Self {
            margins,
            accuracy: [accuracy(&a), accuracy(&b)],
            flips,
        })
    }
}
