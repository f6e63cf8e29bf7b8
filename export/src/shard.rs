//! Divides the layers of a model among stages.

use std::ops::Range;

use crate::error::{Error, Result};

/// Divides layers into `stages` runs so that the heaviest stage weighs as little as possible.
///
/// `layers` holds the bytes of each layer; `before` (the embedding) weighs on the first stage and `after`
/// (the head) on the last. Every stage gets at least one layer. Among equal divisions the one that fills
/// earlier stages first is taken, so the result is always the same.
///
/// # Errors
/// [`Error::Stages`] when there are no stages or more stages than layers.
pub fn divide(layers: &[u64], before: u64, after: u64, stages: usize) -> Result<Vec<Range<usize>>> {
    if stages == 0 || stages > layers.len() {
        return Err(Error::Stages {
            stages,
            layers: layers.len(),
        });
    }
    let mut weights = layers.to_vec();
    if let Some(first) = weights.first_mut() {
        *first += before;
    }
    if let Some(last) = weights.last_mut() {
        *last += after;
    }
    let mut low = weights.iter().copied().max().unwrap_or(0);
    let mut high = weights.iter().sum::<u64>();
    while low < high {
        let middle = low + (high - low) / 2;
        if fill(&weights, middle, stages).is_some() {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    fill(&weights, high, stages).ok_or(Error::Stages {
        stages,
        layers: layers.len(),
    })
}

/// Fills stages in order up to `limit` bytes each, keeping a layer for every stage still to come.
fn fill(weights: &[u64], limit: u64, stages: usize) -> Option<Vec<Range<usize>>> {
    let mut plan = Vec::with_capacity(stages);
    let mut start = 0;
    for stage in 0..stages {
        let left = stages - stage - 1;
        let latest_end = weights.len() - left;
        let mut end = start;
        let mut bytes = 0;
        while end < latest_end && bytes + weights[end] <= limit {
            bytes += weights[end];
            end += 1;
        }
        if end == start {
            return None;
        }
        plan.push(start..end);
        start = end;
    }
    (start == weights.len()).then_some(plan)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn embedding_and_head_count() {
        // (layers, before, after, end of each stage)
        type Case<'a> = (&'a [u64], u64, u64, &'a [usize]);
        let cases: [Case<'_>; 5] = [
            (&[1; 4], 0, 0, &[4]),
            (&[1; 4], 0, 0, &[2, 4]),
            (&[1; 4], 2, 0, &[1, 4]),
            (&[1; 4], 0, 2, &[3, 4]),
            (&[10; 3], 0, 0, &[1, 2, 3]),
        ];
        for (layers, before, after, ends) in cases {
            let plan = divide(layers, before, after, ends.len()).unwrap();
            let found: Vec<usize> = plan.iter().map(|stage| stage.end).collect();
            assert_eq!(found, ends);
        }
    }

    #[test]
    fn too_many_stages_is_an_error() {
        for stages in [0, 4] {
            let error = divide(&[1, 1, 1], 0, 0, stages).unwrap_err().to_string();
            assert!(error.contains(&format!("{stages} stages")), "{error}");
        }
    }

    fn heaviest(plan: &[Range<usize>], weights: &[u64]) -> u64 {
        plan.iter()
            .map(|range| weights[range.clone()].iter().sum())
            .max()
            .unwrap()
    }

    /// Every way to cut `n` layers into `stages` runs.
    fn cuts(n: usize, stages: usize) -> Vec<Vec<Range<usize>>> {
        if stages == 1 {
            return vec![vec![0..n]];
        }
        (stages - 1..n)
            .flat_map(|cut| {
                cuts(cut, stages - 1).into_iter().map(move |mut plan| {
                    plan.push(cut..n);
                    plan
                })
            })
            .collect()
    }

    proptest! {
        #[test]
        fn no_other_division_is_lighter(
            layers in prop::collection::vec(1_u64..100, 1..9),
            before in 0_u64..100,
            after in 0_u64..100,
            stages in 1_usize..9,
        ) {
            prop_assume!(stages <= layers.len());
            let plan = divide(&layers, before, after, stages).unwrap();
            prop_assert_eq!(plan.len(), stages);
            prop_assert_eq!(plan[0].start, 0);
            prop_assert_eq!(plan[stages - 1].end, layers.len());
            for pair in plan.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
            }
            let mut weights = layers.clone();
            weights[0] += before;
            *weights.last_mut().unwrap() += after;
            let best = cuts(layers.len(), stages)
                .iter()
                .map(|plan| heaviest(plan, &weights))
                .min()
                .unwrap();
            prop_assert_eq!(heaviest(&plan, &weights), best);
        }
    }
}
