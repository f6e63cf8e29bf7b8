//! Which GPU holds which stage, by their free memory.

use std::{cmp::Reverse, ops::Range};

use serde::Serialize;
use worldpm_ort_bundle::Bytes;

use crate::host::gpu::Gpu;

/// Where stages go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// For each copy of the model, the position in the list of GPUs of each stage's GPU.
    pub replicas: Vec<Vec<usize>>,
    /// Why, in words.
    pub reason: String,
}

/// Stages that cannot be placed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceError {
    /// There is no GPU.
    #[error("there is no GPU that this process may use; see CUDA_VISIBLE_DEVICES and nvidia-smi")]
    NoGpus,
    /// There is nothing to place.
    #[error("the bundle has no stages; export the checkpoint again")]
    NoStages,
    /// The GPUs have too little free memory.
    #[error(
        "the model does not fit: its stages need {needed}, and free are {free}; stop what else uses the GPUs, give more \
         of them, or export the checkpoint with more stages or in a narrower precision"
    )]
    NoFit {
        /// Bytes of each stage, in words.
        needed: String,
        /// Free bytes of each GPU, in words.
        free: String,
    },
}

/// Places stages that take so many bytes on GPUs.
///
/// As many copies of the model as fit, each on GPUs of its own that stand side by side in the list: copies work
/// independently of each other, with nothing to hand over. Within a copy, each GPU has a run of stages, in order; a GPU may
/// have none. Of the ways to do so, the one whose fullest GPU has the least; of those, the most even one.
///
/// # Errors
/// [`PlaceError::NoFit`] lists what is needed and what is free.
pub fn place(stages: &[u64], gpus: &[Gpu]) -> Result<Placement, PlaceError> {
    if gpus.is_empty() {
        return Err(PlaceError::NoGpus);
    }
    if stages.is_empty() {
        return Err(PlaceError::NoStages);
    }
    let free: Vec<u64> = gpus.iter().map(|gpu| gpu.free).collect();
    let copies = most_copies(stages, &free);
    let groups = (copies > 0)
        .then(|| groups(stages, &free, copies))
        .flatten()
        .ok_or_else(|| no_fit(stages, gpus))?;
    let replicas = groups
        .into_iter()
        .map(|group| {
            let start = group.start;
            let runs = runs(stages, &free[group]).unwrap_or_default();
            let on_gpu = |(gpu, run): (usize, Range<usize>)| run.map(move |_| start + gpu);
            runs.into_iter().enumerate().flat_map(on_gpu).collect()
        })
        .collect::<Vec<Vec<usize>>>();
    Ok(Placement {
        reason: reason(stages, gpus, &replicas),
        replicas,
    })
}

/// How many copies fit, each on GPUs side by side. Taking for each the shortest run of GPUs that does leaves the most for
/// the others.
fn most_copies(stages: &[u64], free: &[u64]) -> usize {
    let (mut copies, mut placed) = (0, 0);
    for &free in free {
        let mut left = free;
        while let Some(rest) = stages
            .get(placed)
            .and_then(|&stage| left.checked_sub(stage))
        {
            left = rest;
            placed += 1;
        }
        if placed == stages.len() {
            copies += 1;
            placed = 0;
        }
    }
    copies
}

/// Divides all GPUs into a group for each copy, so that the fullest GPU has the least; of those ways, the one with the
/// least sum of squares.
fn groups(stages: &[u64], free: &[u64], copies: usize) -> Option<Vec<Range<usize>>> {
    let count = free.len();
    let cost = |start: usize, end: usize| {
        let runs = runs(stages, &free[start..end])?;
        Some(load(stages, &runs))
    };
    let costs: Vec<Vec<Option<Load>>> = (0..count)
        .map(|start| {
            (0..=count)
                .map(|end| if end > start { cost(start, end) } else { None })
                .collect()
        })
        .collect();
    let fullest = |limit: u64| divide(count, copies, &costs, limit).is_some();
    let mut limits: Vec<u64> = costs
        .iter()
        .flatten()
        .flatten()
        .map(|load| load.most)
        .collect();
    limits.sort_unstable();
    limits.dedup();
    let limit = limits.into_iter().find(|&limit| fullest(limit))?;
    divide(count, copies, &costs, limit)
}

/// What the GPUs of a copy hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Load {
    most: u64,
    squares: u128,
}

fn load(stages: &[u64], runs: &[Range<usize>]) -> Load {
    let sums = runs
        .iter()
        .map(|run| stages[run.clone()].iter().sum::<u64>());
    sums.fold(
        Load {
            most: 0,
            squares: 0,
        },
        |load, sum| Load {
            most: load.most.max(sum),
            squares: load.squares + u128::from(sum) * u128::from(sum),
        },
    )
}

/// The division into `copies` groups of no more than `limit` on a GPU with the least sum of squares.
fn divide(
    count: usize,
    copies: usize,
    costs: &[Vec<Option<Load>>],
    limit: u64,
) -> Option<Vec<Range<usize>>> {
    // For so many groups on the first so many GPUs: the least sum, and where the last group starts.
    let mut table: Vec<Vec<Option<(u128, usize)>>> = vec![vec![None; count + 1]; copies + 1];
    table[0][0] = Some((0, 0));
    for group in 1..=copies {
        for end in 1..=count {
            table[group][end] = (0..end)
                .filter_map(|start| {
                    let (before, _) = table[group - 1][start]?;
                    let load = costs[start][end].filter(|load| load.most <= limit)?;
                    Some((before + load.squares, start))
                })
                .min();
        }
    }
    let mut end = count;
    let mut groups = Vec::with_capacity(copies);
    for group in (1..=copies).rev() {
        let (_, start) = table[group][end]?;
        groups.push(start..end);
        end = start;
    }
    groups.reverse();
    Some(groups)
}

/// The run of stages of each GPU of a copy: the fullest has the least, and of those ways the most even.
fn runs(stages: &[u64], free: &[u64]) -> Option<Vec<Range<usize>>> {
    let mut sums = vec![0_u64];
    for stage in stages {
        sums.push(sums.last()?.checked_add(*stage)?);
    }
    let whole = *sums.last()?;
    even_runs(&sums, free, whole)?;
    let (mut low, mut high) = (0, whole);
    while low < high {
        let middle = low + (high - low) / 2;
        match even_runs(&sums, free, middle) {
            Some(_) => high = middle,
            None => low = middle + 1,
        }
    }
    even_runs(&sums, free, low)
}

/// The runs with the least sum of squares of those with no more than `limit` on a GPU. `sums` has the bytes before each
/// stage, and of all.
fn even_runs(sums: &[u64], free: &[u64], limit: u64) -> Option<Vec<Range<usize>>> {
    let count = sums.len() - 1;
    // For the first so many GPUs and stages: the least sum, and the first stage of the last GPU.
    let mut table: Vec<Vec<Option<(u128, usize)>>> = vec![vec![None; count + 1]; free.len() + 1];
    table[0][0] = Some((0, 0));
    for (gpu, free) in free.iter().enumerate() {
        for end in 0..=count {
            table[gpu + 1][end] = (0..=end)
                .filter_map(|start| {
                    let (before, _) = table[gpu][start]?;
                    let bytes = sums[end] - sums[start];
                    let fits = start == end || bytes <= limit.min(*free);
                    fits.then(|| (before + u128::from(bytes) * u128::from(bytes), start))
                })
                .min_by_key(|&(squares, start)| (squares, Reverse(start)));
        }
    }
    let mut end = count;
    let mut runs = Vec::with_capacity(free.len());
    for gpu in (0..free.len()).rev() {
        let (_, start) = table[gpu + 1][end]?;
        runs.push(start..end);
        end = start;
    }
    runs.reverse();
    Some(runs)
}

fn no_fit(stages: &[u64], gpus: &[Gpu]) -> PlaceError {
    let of_stage = |(index, &bytes): (usize, &u64)| format!("stage {index} {}", Bytes(bytes));
    let of_gpu = |gpu: &Gpu| format!("{} of {} on {gpu}", Bytes(gpu.free), Bytes(gpu.memory));
    let needed: Vec<String> = stages.iter().enumerate().map(of_stage).collect();
    let total = stages
        .iter()
        .fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    PlaceError::NoFit {
        needed: format!("{} ({})", Bytes(total), needed.join(", ")),
        free: gpus.iter().map(of_gpu).collect::<Vec<_>>().join(", "),
    }
}

fn reason(stages: &[u64], gpus: &[Gpu], replicas: &[Vec<usize>]) -> String {
    let total: u64 = stages.iter().sum();
    let parts: Vec<String> = replicas.iter().map(|copy| in_words(copy, gpus)).collect();
    let mut text = match replicas.len() {
        1 => format!(
            "the model needs {} and fits once: {}",
            Bytes(total),
            parts[0]
        ),
        copies => format!(
            "the model needs {} and fits {copies} times, in copies that work side by side: {}",
            Bytes(total),
            parts.join("; ")
        ),
    };
    let used = |gpu: &usize| replicas.iter().flatten().any(|position| position == gpu);
    let left: Vec<String> = (0..gpus.len())
        .filter(|gpu| !used(gpu))
        .map(|gpu| {
            format!(
                "cuda:{}, {} free",
                gpus[gpu].device_id,
                Bytes(gpus[gpu].free)
            )
        })
        .collect();
    if !left.is_empty() {
        text.push_str(&format!("; not used: {}", left.join("; ")));
    }
    text
}

/// `stages 0 to 2 on cuda:0, stage 3 on cuda:1`.
fn in_words(copy: &[usize], gpus: &[Gpu]) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut start = 0;
    for run in copy.chunk_by(|a, b| a == b) {
        let end = start + run.len() - 1;
        let stages = match run.len() {
            1 => format!("stage {start}"),
            _ => format!("stages {start} to {end}"),
        };
        words.push(format!("{stages} on cuda:{}", gpus[run[0]].device_id));
        start = end + 1;
    }
    words.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gpus(free: &[u64]) -> Vec<Gpu> {
        let gpu = |(device_id, &free): (u16, &u64)| Gpu {
            device_id,
            name: "H100".into(),
            uuid: format!("GPU-{device_id}"),
            memory: 100,
            free,
            capability: (9, 0),
        };
        (0..).zip(free).map(gpu).collect()
    }

    /// As `0011 | 2233`.
    fn placed(stages: &[u64], free: &[u64]) -> String {
        match place(stages, &gpus(free)) {
            Ok(placement) => {
                let copy =
                    |copy: &Vec<usize>| copy.iter().map(usize::to_string).collect::<String>();
                placement
                    .replicas
                    .iter()
                    .map(copy)
                    .collect::<Vec<_>>()
                    .join(" | ")
            }
            Err(PlaceError::NoFit { .. }) => "no".to_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn stages_and_devices_in_any_numbers() {
        for (stages, free, expected) in [
            // As many stages as devices.
            (&[10, 10][..], &[12, 12][..], "01"),
            (&[10], &[12], "0"),
            // More stages than devices: runs.
            (&[10, 10, 10, 10], &[25, 25], "0011"),
            (&[10, 10, 10], &[25, 25], "001"),
            (&[10, 10, 10], &[15, 25], "011"),
            (&[5, 5, 5, 5, 20], &[20, 20], "00001"),
            (&[20, 5, 5, 5, 5], &[20, 20], "01111"),
            // The model fits several times.
            (&[10, 10], &[25, 25], "00 | 11"),
            (&[10, 10], &[15, 15, 15, 15], "01 | 23"),
            (&[10], &[15, 15, 15], "0 | 1 | 2"),
            (&[10, 10], &[25, 15, 15, 25], "00 | 12 | 33"),
            // More devices than a copy needs.
            (&[10, 10, 10], &[25, 25, 25], "012"),
            (&[10, 10], &[15, 15, 15], "01"),
            (&[10, 10, 10, 10], &[25, 25, 25], "0012"),
            // Devices that hold nothing.
            (&[10, 10], &[5, 12, 5, 12], "13"),
            (&[10], &[5, 12], "1"),
            // Nothing fits.
            (&[10, 10], &[12], "no"),
            (&[10, 10], &[5, 12, 5], "no"),
            (&[13], &[12, 12], "no"),
            (&[u64::MAX, u64::MAX], &[12, 12], "no"),
        ] {
            let found = placed(stages, free);
            assert_eq!(found, expected, "{stages:?} on {free:?}");
        }
    }

    #[test]
    fn reasons_are_in_words() {
        let words = |stages: &[u64], free: &[u64]| place(stages, &gpus(free)).unwrap().reason;
        assert_eq!(
            words(&[10, 10, 10], &[25, 15]),
            "the model needs 30 B and fits once: stages 0 to 1 on cuda:0, stage 2 on cuda:1"
        );
        assert_eq!(
            words(&[10], &[12, 5, 12]),
            "the model needs 10 B and fits 2 times, in copies that work side by side: stage 0 on cuda:0; stage 0 on \
             cuda:2; not used: cuda:1, 5 B free"
        );
        let error = place(&[10, 20], &gpus(&[12, 12])).unwrap_err().to_string();
        assert!(
            error.contains(
                "its stages need 30 B (stage 0 10 B, stage 1 20 B), and free are 12 B of 100 B on cuda:0 (H100), \
                 12 B of 100 B on cuda:1 (H100); "
            ),
            "{error}"
        );
        assert_eq!(place(&[1], &[]), Err(PlaceError::NoGpus));
        assert_eq!(place(&[], &gpus(&[1])), Err(PlaceError::NoStages));
    }

    /// Every way to place `copies` copies in order, one after the other: stages never go back in the list of GPUs, and
    /// copies share none. Returns the highest number of copies, and for it the least (most on a GPU).
    fn best(stages: &[u64], free: &[u64]) -> Option<(usize, u64)> {
        type Found = (usize, u64);
        fn go(
            (stages, free): (&[u64], &[u64]),
            (stage, gpu, here): (usize, usize, u64),
            (copies, most): Found,
            best: &mut Option<Found>,
        ) {
            let all = (stages, free);
            if stage == stages.len() {
                let found = (copies + 1, most.max(here));
                let better = best.is_none_or(|(n, m)| found.0 > n || (found.0 == n && found.1 < m));
                if better {
                    *best = Some(found);
                }
                if gpu + 1 < free.len() {
                    go(all, (0, gpu + 1, 0), found, best);
                }
                return;
            }
            if here + stages[stage] <= free[gpu] {
                go(
                    all,
                    (stage + 1, gpu, here + stages[stage]),
                    (copies, most),
                    best,
                );
            }
            if gpu + 1 < free.len() {
                go(all, (stage, gpu + 1, 0), (copies, most.max(here)), best);
            }
        }
        let mut found = None;
        go((stages, free), (0, 0, 0), (0, 0), &mut found);
        found
    }

    proptest! {
        #[test]
        fn sound_and_as_good_as_any(
            stages in prop::collection::vec(1_u64..12, 1..6),
            free in prop::collection::vec(0_u64..40, 1..6),
        ) {
            let found = place(&stages, &gpus(&free));
            let best = best(&stages, &free);
            let Ok(placement) = found else {
                prop_assert_eq!(best, None);
                return Ok(());
            };
            let mut loads = vec![0_u64; free.len()];
            let mut last = None;
            for copy in &placement.replicas {
                // Every stage once, in order, and on GPUs behind those of the copy before.
                prop_assert_eq!(copy.len(), stages.len());
                prop_assert!(copy.is_sorted());
                prop_assert!(last.is_none_or(|last| last < copy[0]));
                last = copy.last().copied();
                for (stage, &gpu) in stages.iter().zip(copy) {
                    loads[gpu] += stage;
                }
            }
            for (load, free) in loads.iter().zip(&free) {
                prop_assert!(load <= free);
            }
            let most = loads.iter().copied().max().unwrap();
            prop_assert_eq!(Some((placement.replicas.len(), most)), best);
        }
    }
}
