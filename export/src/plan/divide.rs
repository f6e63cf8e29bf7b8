//! Divides the layers of a model among stages.

use std::ops::Range;

/// What a layer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Work, in any unit: the stages of a pipeline work at the same time, and the slowest sets its pace.
    pub(super) work: u64,
    /// Memory.
    pub(super) bytes: u64,
}

/// Divides a row of layers among stages, one for each of `limits`: the most bytes that the stage may have. [`u64::MAX`] is
/// no limit.
///
/// Of all divisions within the limits it is one whose slowest stage has the least work; of those, one whose largest stage
/// has the fewest bytes; and the cuts are then as even as these two allow. Every stage gets a layer or more. The same
/// arguments give the same division.
///
/// `None` when no division is within the limits.
#[must_use]
pub(super) fn divide(layers: &[Cost], limits: &[u64]) -> Option<Vec<Range<usize>>> {
    let row = Row::new(layers, limits)?;
    let whole = row.cost(&(0..layers.len()));
    let work = least(whole.work, |work| row.suffixes(work, u64::MAX).is_some())?;
    let bytes = least(whole.bytes, |bytes| row.suffixes(work, bytes).is_some())?;
    row.even_cuts(work, bytes)
}

/// The layers and the stages that share them.
struct Row<'a> {
    /// Cost of the layers before each one, and of all.
    before: Vec<Cost>,
    limits: &'a [u64],
}

/// For each stage, and after the last one: whether it and those after it can hold the layers from each one on.
type Suffixes = Vec<Vec<bool>>;

impl<'a> Row<'a> {
    fn new(layers: &[Cost], limits: &'a [u64]) -> Option<Self> {
        let mut sum = Cost::default();
        let mut before = vec![sum];
        for layer in layers {
            sum.work = sum.work.checked_add(layer.work)?;
            sum.bytes = sum.bytes.checked_add(layer.bytes)?;
            before.push(sum);
        }
        Some(Self { before, limits })
    }

    fn layers(&self) -> usize {
        self.before.len() - 1
    }

    fn cost(&self, layers: &Range<usize>) -> Cost {
        let (before, after) = (self.before[layers.start], self.before[layers.end]);
        Cost {
            work: after.work - before.work,
            bytes: after.bytes - before.bytes,
        }
    }

    /// What can be held when no stage has more than `work` and `bytes`, nor its own limit; `None` when not all layers
    /// can.
    fn suffixes(&self, work: u64, bytes: u64) -> Option<Suffixes> {
        let layers = self.layers();
        let mut held = vec![
            (0..=layers)
                .map(|start| start == layers)
                .collect::<Vec<_>>(),
        ];
        for limit in self.limits.iter().rev() {
            let next = &held[held.len() - 1];
            // Number of starts up to each one from which the next stages can go on.
            let mut count = 0_usize;
            let counts: Vec<usize> = next
                .iter()
                .map(|&good| {
                    count += usize::from(good);
                    count
                })
                .collect();
            let mut end = 0;
            let stage = (0..=layers)
                .map(|start| {
                    end = end.max(start);
                    while end < layers && {
                        let cost = self.cost(&(start..end + 1));
                        cost.work <= work && cost.bytes <= bytes.min(*limit)
                    } {
                        end += 1;
                    }
                    counts[end] > counts[start]
                })
                .collect();
            held.push(stage);
        }
        held.reverse();
        held[0][0].then_some(held)
    }

    /// Cuts where the work would be even, as far as the limits let it.
    fn even_cuts(&self, work: u64, bytes: u64) -> Option<Vec<Range<usize>>> {
        let suffixes = self.suffixes(work, bytes)?;
        let mut start = 0;
        let mut plan = Vec::with_capacity(self.limits.len());
        for (stage, limit) in self.limits.iter().enumerate() {
            let left = self.limits.len() - stage;
            let share = self.cost(&(start..self.layers())).work / left as u64;
            let end = (start + 1..=self.layers())
                .take_while(|&end| {
                    let cost = self.cost(&(start..end));
                    cost.work <= work && cost.bytes <= bytes.min(*limit)
                })
                .filter(|&end| suffixes[stage + 1][end])
                .min_by_key(|&end| self.cost(&(start..end)).work.abs_diff(share))?;
            plan.push(start..end);
            start = end;
        }
        Some(plan)
    }
}

/// The least number up to `most` that `holds`, where every number above one that holds does too.
fn least(most: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if !holds(most) {
        return None;
    }
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(high)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FREE: u64 = u64::MAX;

    fn ends(layers: &[(u64, u64)], limits: &[u64]) -> Option<Vec<usize>> {
        let layers: Vec<Cost> = layers
            .iter()
            .map(|&(work, bytes)| Cost { work, bytes })
            .collect();
        let plan = divide(&layers, limits)?;
        Some(plan.iter().map(|stage| stage.end).collect())
    }

    #[test]
    fn work_first_then_bytes_then_evenness() {
        let equal = [(10, 1); 8];
        assert_eq!(ends(&equal, &[FREE]), Some(vec![8]));
        assert_eq!(ends(&equal, &[FREE; 4]), Some(vec![2, 4, 6, 8]));
        // 10 layers in 4 stages: the slowest has three whatever is done; two have.
        assert_eq!(ends(&[(10, 1); 10], &[FREE; 4]), Some(vec![2, 5, 7, 10]));
        // An embedding weighs on the first layer and costs no work: the work stays even,
        assert_eq!(
            ends(&[(10, 9), (10, 1), (10, 1), (10, 1)], &[FREE; 2]),
            Some(vec![2, 4])
        );
        // and where the work leaves a choice, the first stage gets less.
        assert_eq!(
            ends(&[(10, 9), (10, 1), (10, 1)], &[FREE; 2]),
            Some(vec![1, 3])
        );
        // A short last layer is work that the last stage has to spare.
        assert_eq!(
            ends(&[(10, 1), (10, 1), (10, 1), (10, 1), (1, 1)], &[FREE; 2]),
            Some(vec![2, 5])
        );
    }

    #[test]
    fn limits_are_kept_in_the_order_of_the_devices() {
        let layers = [(10, 10); 6];
        assert_eq!(ends(&layers, &[40, 20]), Some(vec![4, 6]));
        assert_eq!(ends(&layers, &[20, 40]), Some(vec![2, 6]));
        assert_eq!(ends(&layers, &[30, 30]), Some(vec![3, 6]));
        assert_eq!(ends(&layers, &[30, 29]), None);
        assert_eq!(ends(&layers, &[59]), None);
        // A small device in the middle, beside layers that it cannot hold.
        assert_eq!(
            ends(&[(1, 50), (1, 50), (1, 1), (1, 1)], &[100, 1, 10]),
            Some(vec![2, 3, 4])
        );
    }

    #[test]
    fn a_stage_without_a_layer_is_none() {
        assert_eq!(ends(&[(1, 1); 3], &[FREE; 3]), Some(vec![1, 2, 3]));
        assert_eq!(ends(&[(1, 1); 3], &[FREE; 4]), None);
        assert_eq!(ends(&[(1, 1); 3], &[]), None);
        assert_eq!(ends(&[], &[FREE]), None);
    }

    #[test]
    fn sums_that_overflow_are_refused() {
        assert_eq!(ends(&[(1, u64::MAX), (1, 1)], &[FREE; 2]), None);
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

    /// Work of the slowest stage and bytes of the largest; `None` when a limit is passed.
    fn quality(plan: &[Range<usize>], layers: &[Cost], limits: &[u64]) -> Option<(u64, u64)> {
        let stages: Vec<Cost> = plan
            .iter()
            .map(|stage| Cost {
                work: layers[stage.clone()].iter().map(|l| l.work).sum(),
                bytes: layers[stage.clone()].iter().map(|l| l.bytes).sum(),
            })
            .collect();
        let within = stages
            .iter()
            .zip(limits)
            .all(|(stage, limit)| stage.bytes <= *limit);
        let slowest = stages.iter().map(|stage| stage.work).max()?;
        let largest = stages.iter().map(|stage| stage.bytes).max()?;
        within.then_some((slowest, largest))
    }

    proptest! {
        #[test]
        fn no_other_division_is_better(
            layers in prop::collection::vec((0_u64..40, 0_u64..40), 1..9),
            limits in prop::collection::vec(prop_oneof![Just(FREE), 0_u64..160], 1..6),
        ) {
            let layers: Vec<Cost> = layers
                .into_iter()
                .map(|(work, bytes)| Cost { work, bytes })
                .collect();
            prop_assume!(limits.len() <= layers.len());
            let best = cuts(layers.len(), limits.len())
                .iter()
                .filter_map(|plan| quality(plan, &layers, &limits))
                .min();
            match divide(&layers, &limits) {
                None => prop_assert_eq!(best, None),
                Some(plan) => {
                    prop_assert_eq!(plan.len(), limits.len());
                    prop_assert_eq!(plan[0].start, 0);
                    prop_assert_eq!(plan[plan.len() - 1].end, layers.len());
                    for pair in plan.windows(2) {
                        prop_assert_eq!(pair[0].end, pair[1].start);
                    }
                    prop_assert!(plan.iter().all(|stage| !stage.is_empty()));
                    prop_assert_eq!(quality(&plan, &layers, &limits), best);
                }
            }
        }

        #[test]
        fn equal_layers_are_within_one_of_each_other(layers in 1_usize..200, stages in 1_usize..17) {
            prop_assume!(stages <= layers);
            let plan = divide(&vec![Cost { work: 7, bytes: 3 }; layers], &vec![FREE; stages]).unwrap();
            let lengths = plan.iter().map(ExactSizeIterator::len);
            let (least, most) = (lengths.clone().min().unwrap(), lengths.max().unwrap());
            prop_assert!(most - least <= 1, "{plan:?}");
        }
    }
}
