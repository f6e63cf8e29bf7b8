//! On the CPU a conversation's scores have the same bits alone, in any batch, in any order, under any budget,
//! and for any number of stages: the one score, the scores of several labels, and the rewards of steps.

use std::sync::OnceLock;

use proptest::prelude::*;
use worldpm_ort::{Output, Scorer, ScorerOptions, batch::Budget};

use crate::support::{self, Passing};

const SHAPE: &[&str] = &[
    "--shape",
    "tiny",
    "--num-hidden-layers",
    "4",
    "--seed",
    "11",
];
const LAYERS: usize = 4;

/// Whose kernels compute: our own, where the processor has a unit for them, or ONNX Runtime's.
pub(crate) const KERNELS: [bool; 2] = [true, false];

pub(crate) fn options(budget: Budget, kernels: bool) -> ScorerOptions {
    let mut options = ScorerOptions::default().with_budget(budget);
    options.kernels = kernels;
    options
}

fn scorer(stages: usize, target: &str, budget: Budget, kernels: bool) -> Scorer {
    let stages = stages.to_string();
    let bundle = support::bundle(
        SHAPE,
        &["--stages", &stages, "--target", target, "--end-token", ""],
    );
    Scorer::open(&bundle, &options(budget, kernels)).unwrap()
}

/// One scorer per number of stages, opened once.
fn scorers(kernels: bool) -> &'static [Scorer] {
    static SCORERS: [OnceLock<Vec<Scorer>>; 2] = [OnceLock::new(), OnceLock::new()];
    SCORERS[usize::from(kernels)].get_or_init(|| {
        let budgets = [(2048, 16384), (300, 900), (64, 4096), (700, 700)];
        [1, 2, 3, LAYERS]
            .iter()
            .zip(budgets)
            .map(|(&stages, (tokens, cells))| {
                let budget = Budget::default()
                    .with_max_tokens(tokens)
                    .with_max_cells(cells);
                scorer(stages, "ort", budget, kernels)
            })
            .collect()
    })
}

pub(crate) fn bits(scorer: &Scorer, sequences: &[Vec<u32>]) -> Vec<u32> {
    scorer
        .score_ids(sequences)
        .into_iter()
        .map(|score| score.unwrap().score.to_bits())
        .collect()
}

/// Sequences that share beginnings, repeat, and extend one another.
fn sequences() -> impl Strategy<Value = Vec<Vec<u32>>> {
    let token = 0_u32..150_000;
    let stems = prop::collection::vec(prop::collection::vec(token.clone(), 1..120), 1..4);
    let tails = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            prop::collection::vec(token, 0..90),
        ),
        1..9,
    );
    (stems, tails).prop_map(|(stems, tails)| {
        tails
            .into_iter()
            .map(|(stem, cut, tail)| {
                let stem = &stems[stem.index(stems.len())];
                let kept = &stem[..=cut.index(stem.len())];
                [kept, &tail].concat()
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_score_has_the_same_bits_in_any_company(
        sequences in sequences(),
        order in Just(()).prop_perturb(|(), mut rng| rng.next_u64()),
        kernels in any::<bool>(),
    ) {
        let scorers = scorers(kernels);
        let alone: Vec<u32> = sequences
            .iter()
            .flat_map(|one| bits(&scorers[0], std::slice::from_ref(one)))
            .collect();
        let mut shuffled: Vec<usize> = (0..sequences.len()).collect();
        shuffled.sort_by_key(|i| (*i as u64 + 1).wrapping_mul(order | 1));
        let reordered: Vec<Vec<u32>> = shuffled.iter().map(|&i| sequences[i].clone()).collect();
        for (index, scorer) in scorers.iter().enumerate() {
            prop_assert_eq!(&bits(scorer, &sequences), &alone, "scorer {}", index);
            let expected: Vec<u32> = shuffled.iter().map(|&i| alone[i]).collect();
            prop_assert_eq!(bits(scorer, &reordered), expected, "scorer {}, reordered", index);
        }
    }
}

const STEP: u32 = 151_651;

/// The bits of all that a model gives: raw scores by label, or the logits and rewards of each step.
fn all_bits(scorer: &Scorer, sequences: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
    let rewards = scorer.rewards_of_ids(sequences).into_iter();
    rewards
        .map(|reward| match reward.unwrap().output {
            Output::Labels(labels) => bits(labels.values()),
            Output::Steps(steps) => bits(&[steps.rewards(), steps.logits()].concat()),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Scorers of one small model, for several stages, both targets and budgets that cut.
fn scorers_of(shape: &[&str]) -> Vec<Scorer> {
    let shape = [
        &[
            "--shape",
            "tiny",
            "--num-hidden-layers",
            "2",
            "--seed",
            "12",
        ],
        shape,
    ]
    .concat();
    let forms: [(&[&str], usize); 3] = [
        (&["--stages", "1"], 2048),
        (&["--stages", "2"], 150),
        (&["--stages", "2", "--target", "onnx"], 700),
    ];
    forms
        .iter()
        .map(|(form, tokens)| {
            let budget = Budget::default().with_max_tokens(*tokens);
            let bundle = support::bundle(&shape, form);
            Scorer::open(&bundle, &ScorerOptions::default().with_budget(budget)).unwrap()
        })
        .collect()
}

/// Each scorer gives the same bits for sequences together and alone; the targets differ by rounding.
fn check_company(scorers: &[Scorer], sequences: &[Vec<u32>]) -> Result<(), TestCaseError> {
    for scorer in scorers {
        let alone = |one| all_bits(scorer, std::slice::from_ref(one));
        let alone: Vec<_> = sequences.iter().flat_map(alone).collect();
        prop_assert_eq!(&all_bits(scorer, sequences), &alone);
        let reversed: Vec<Vec<u32>> = sequences.iter().rev().cloned().collect();
        let expected: Vec<_> = alone.into_iter().rev().collect();
        prop_assert_eq!(all_bits(scorer, &reversed), expected);
    }
    // Stages and budgets, which the first two differ in, change nothing.
    prop_assert_eq!(
        all_bits(&scorers[0], sequences),
        all_bits(&scorers[1], sequences)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Step tokens all over the sequences, in what they share and in what is their own.
    #[test]
    fn rewards_of_steps_have_the_same_bits_in_any_company(
        sequences in sequences(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        static SCORERS: OnceLock<Vec<Scorer>> = OnceLock::new();
        let scorers = SCORERS.get_or_init(|| scorers_of(&["--head", "process"]));
        let sequences: Vec<Vec<u32>> = sequences
            .into_iter()
            .map(|mut ids| {
                // The same places in all, so that shared beginnings stay shared.
                for place in &places {
                    let place = place.index(200);
                    if let Some(id) = ids.get_mut(place) {
                        *id = STEP;
                    }
                }
                ids.push(STEP);
                ids
            })
            .collect();
        check_company(scorers, &sequences)?;
    }

    #[test]
    fn labels_have_the_same_bits_in_any_company(sequences in sequences()) {
        static SCORERS: OnceLock<Vec<Scorer>> = OnceLock::new();
        let scorers = SCORERS.get_or_init(|| scorers_of(&["--head", "one", "--labels", "a,b,c,d,e"]));
        check_company(scorers, &sequences)?;
    }
}

/// Lengths at which matrix kernels change their ways: one row, few rows, whole blocks, long rows.
const EDGES: [usize; 19] = [
    1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 17, 31, 64, 65, 256, 257, 1000, 1500,
];

/// Two sequences of every length in `EDGES`: beginnings of one text, which share what they have in common,
/// and ends of it.
pub(crate) fn edges() -> Vec<Vec<u32>> {
    let text: Vec<u32> = (0..1500).map(|i| (i * 7919) % 150_000).collect();
    EDGES
        .iter()
        .flat_map(|&length| [text[..length].to_vec(), text[1500 - length..].to_vec()])
        .collect()
}

fn assert_same_alone(scorer: &Scorer, longest: usize, what: &str) {
    let mut sequences = edges();
    sequences.retain(|sequence| sequence.len() <= longest);
    let together = bits(scorer, &sequences);
    for (sequence, expected) in sequences.iter().zip(together) {
        let alone = bits(scorer, std::slice::from_ref(sequence))[0];
        assert_eq!(alone, expected, "{what}, {} tokens", sequence.len());
    }
}

#[test]
fn edge_lengths() {
    for kernels in KERNELS {
        for target in ["ort", "onnx"] {
            let scorer = scorer(1, target, Budget::default(), kernels);
            assert_same_alone(&scorer, usize::MAX, &format!("{target}, ours {kernels}"));
        }
    }
}

/// Windows shorter and longer than rows, capped scores, and heads wide enough that their products are
/// summed in several blocks.
#[test]
fn edge_lengths_of_other_decoders() {
    let decoders: [&[&str]; 5] = [
        &["--architecture", "qwen3"],
        &["--architecture", "mistral", "--config", "sliding_window=37"],
        &["--architecture", "gemma2", "--config", "sliding_window=100"],
        &["--architecture", "gemma2", "--head-dim", "256"],
        &[
            "--architecture",
            "gemma2",
            "--head-dim",
            "256",
            "--config",
            "attn_logit_softcapping=null",
        ],
    ];
    for decoder in decoders {
        let synth = [
            &[
                "--shape",
                "tiny",
                "--seed",
                "12",
                "--pad-token-id",
                "151643",
            ],
            decoder,
        ]
        .concat();
        let checkpoint = Passing::checkpoint(&synth);
        for target in ["ort", "onnx"] {
            let bundle = Passing::bundle(&checkpoint, &["--target", target]);
            for kernels in KERNELS {
                let scorer = Scorer::open(&bundle, &options(Budget::default(), kernels)).unwrap();
                let what = format!("{decoder:?}, target {target}, ours {kernels}");
                assert_same_alone(&scorer, 300, &what);
            }
        }
    }
}

/// Quantised weights have kernels of their own in ONNX Runtime, some of which work on two rows at a time.
#[test]
fn quantised_weights() {
    let text: Vec<u32> = (0..300).map(|i| (i * 7919) % 150_000).collect();
    let lengths = [1, 2, 3, 5, 8, 9, 64, 127, 128, 129, 130, 257, 300];
    let sequences: Vec<Vec<u32>> = lengths
        .iter()
        .flat_map(|&length| [text[..length].to_vec(), text[300 - length..].to_vec()])
        .collect();
    for flags in [
        &["int8"][..],
        &["int8", "--block-size", "128", "--asymmetric"],
        &["int4"],
        &["int4", "--block-size", "64"],
        &["int4", "--block-size", "128", "--asymmetric"],
        &["int4", "--target", "onnx"],
        &["w8a8"],
    ] {
        let open = |stages: &str, tokens: usize| {
            let common = [
                "--probes",
                "off",
                "--end-token",
                "",
                "--stages",
                stages,
                "--precision",
            ];
            let bundle = support::bundle(SHAPE, &[&common, flags].concat());
            let budget = Budget::default().with_max_tokens(tokens);
            Scorer::open(&bundle, &options(budget, false)).unwrap()
        };
        let whole = open("1", 2048);
        let together = bits(&whole, &sequences);
        for (sequence, expected) in sequences.iter().zip(&together) {
            let alone = bits(&whole, std::slice::from_ref(sequence))[0];
            assert_eq!(alone, *expected, "{flags:?}, {} tokens", sequence.len());
        }
        for (stages, tokens) in [("2", 300), ("4", 700)] {
            let found = bits(&open(stages, tokens), &sequences);
            assert_eq!(found, together, "{flags:?}, {stages} stages");
        }
    }
}

/// Several threads that share a scorer get what they would get alone.
#[test]
fn a_scorer_is_shared_between_threads() {
    let sequences: Vec<Vec<u32>> = (1..40)
        .map(|n: u32| (0..n * 3).map(|i| (i * 31 + n) % 150_000).collect())
        .collect();
    let scorer = &scorers(true)[1];
    let expected = bits(scorer, &sequences);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (sequences, expected) = (&sequences, &expected);
            scope.spawn(move || {
                for start in (worker..sequences.len()).step_by(4) {
                    let got = bits(scorer, &sequences[start..]);
                    assert_eq!(got, expected[start..], "from {start}");
                }
            });
        }
    });
}
