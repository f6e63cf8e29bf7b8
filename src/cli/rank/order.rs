//! Which candidates come first, and which two make a pair. Pure functions over scores.

use super::args::PairsWay;

/// The places of scores, the highest first; equal ones in the order given.
pub(super) fn ranked(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&one, &other| scores[other].total_cmp(&scores[one]));
    order
}

/// The places of the chosen and the rejected of each pair, in the order of their ranks. Equal scores make no pair.
pub(super) fn pairs(
    scores: &[f64],
    way: PairsWay,
    margin: Option<f64>,
    threshold: Option<f64>,
) -> Vec<(usize, usize)> {
    let order = ranked(scores);
    let is_pair = |&(chosen, rejected): &(usize, usize)| {
        let apart = scores[chosen] - scores[rejected];
        apart > 0.0
            && margin.is_none_or(|margin| apart >= margin)
            && threshold.is_none_or(|threshold| scores[chosen] >= threshold)
    };
    let all: Vec<(usize, usize)> = match (way, order.as_slice()) {
        (PairsWay::BestWorst, [best, .., worst]) => vec![(*best, *worst)],
        (PairsWay::BestWorst, _) => Vec::new(),
        (PairsWay::All, order) => order
            .iter()
            .enumerate()
            .flat_map(|(rank, &chosen)| {
                let lower = order[rank + 1..].iter();
                lower.map(move |&rejected| (chosen, rejected))
            })
            .collect(),
    };
    all.into_iter().filter(is_pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_come_first() {
        assert!(ranked(&[]).is_empty());
        assert_eq!(ranked(&[1.0, 3.0, -2.0, 3.0]), [1, 3, 0, 2]);
        assert_eq!(ranked(&[0.5, 0.5]), [0, 1]);
    }

    #[test]
    fn pairs_are_of_scores_that_differ() {
        use PairsWay::{All, BestWorst};
        let scores = [1.0, 3.0, -2.0, 3.0];
        for (way, margin, threshold, expected) in [
            (BestWorst, None, None, &[(1, 2)][..]),
            (BestWorst, Some(5.0), None, &[(1, 2)]),
            (BestWorst, Some(5.5), None, &[]),
            (BestWorst, None, Some(3.5), &[]),
            (All, None, None, &[(1, 0), (1, 2), (3, 0), (3, 2), (0, 2)]),
            (All, Some(3.0), None, &[(1, 2), (3, 2), (0, 2)]),
            (All, None, Some(2.0), &[(1, 0), (1, 2), (3, 0), (3, 2)]),
        ] {
            assert_eq!(
                pairs(&scores, way, margin, threshold),
                expected,
                "{way:?} {margin:?}"
            );
        }
        for way in [BestWorst, All] {
            for none in [&[][..], &[1.0], &[1.0, 1.0]] {
                assert!(pairs(none, way, Some(0.0), None).is_empty());
            }
        }
    }
}
