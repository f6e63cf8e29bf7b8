//! How far single scores are apart.

use super::{
    RecordName, Side,
    stats::{self, Differences},
};

/// Scores that are listed as furthest apart.
const LISTED: usize = 10;

/// How far scores are apart, conversation by conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScoreDrift {
    /// Scores of the first bundle less those of the second.
    pub differences: Differences,
    /// Pearson's correlation; `None` when all scores of a bundle are equal.
    pub pearson: Option<f64>,
    /// Spearman's rank correlation; `None` as for `pearson`.
    pub spearman: Option<f64>,
    /// The ten scores that are furthest apart, the furthest first.
    pub largest: Vec<Largest>,
}

/// A score that is far from the other bundle's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Largest {
    /// The record.
    pub record: RecordName,
    /// Which of its conversations.
    pub side: Side,
    /// The scores of the first bundle and of the second.
    pub scores: [f64; 2],
}

impl ScoreDrift {
    /// `None` when there are no scores. `name` gives the conversation at a place.
    pub(super) fn new(
        a: &[f64],
        b: &[f64],
        name: impl Fn(usize) -> Option<(RecordName, Side)>,
    ) -> Option<Self> {
        let differences = stats::differences(a, b)?;
        let distance = |&place: &usize| (a[place] - b[place]).abs();
        let mut places: Vec<usize> = (0..differences.n).collect();
        // Of equal ones the first in the data come first.
        places.sort_by(|i, j| distance(j).total_cmp(&distance(i)));
        let largest = places
            .into_iter()
            .take(LISTED)
            .take_while(|place| distance(place) > 0.0)
            .filter_map(|place| {
                let (record, side) = name(place)?;
                let scores = [a[place], b[place]];
                Some(Largest {
                    record,
                    side,
                    scores,
                })
            })
            .collect();
        Some(Self {
            differences,
            pearson: stats::pearson(a, b),
            spearman: stats::spearman(a, b),
            largest,
        })
    }
}
